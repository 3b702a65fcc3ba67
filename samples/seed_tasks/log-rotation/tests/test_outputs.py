import gzip
import subprocess


def rotate(folder, keep):
    subprocess.run(["bash", "/app/rotate.sh", folder, str(keep)], timeout=30)


def contents(folder):
    found = {}
    for path in folder.iterdir():
        data = path.read_bytes()
        found[path.name] = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    return found


def test_four_rotations_keep_three(tmp_path):
    log = tmp_path / "my app.log"
    for day in range(1, 6):
        log.write_text(f"day {day}\n")
        log.chmod(0o640)
        rotate(tmp_path, 3)
    assert contents(tmp_path) == {"my app.log": "", "my app.log.1": "day 5\n",
                                  "my app.log.2.gz": "day 4\n", "my app.log.3.gz": "day 3\n"}
    assert log.stat().st_mode & 0o777 == 0o640


def test_empty_logs_are_left_alone(tmp_path):
    (tmp_path / "a.log").write_text("")
    (tmp_path / "a.log.1").write_text("old\n")
    (tmp_path / "b.log").write_text("b\n")
    rotate(tmp_path, 2)
    assert contents(tmp_path) == {"a.log": "", "a.log.1": "old\n", "b.log": "", "b.log.1": "b\n"}
