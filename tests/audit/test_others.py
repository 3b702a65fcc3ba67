"""Read tasks from elsewhere: folders of Harbor, our own, rows of Parquet, and folders and
archives made to do harm."""
import gzip
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import duckdb
import pytest
from a_task import DOCKERFILE, FOREIGN, a_bug, read_task, write_task
from conftest import REPO
from root import write_files

from codedata.audit.others import copy_tasks, task_name, tasks_in
from codedata.disk.layouts import MAX_FILES, MAX_FOLDER_BYTES
from codedata.disk.store import Store
from codedata.errors import ItemFailed, Trouble
from codedata.records import Task
from codedata.run.states import Selection
from codedata.tasks.folder.task_folder import text_in, workdir_of

HARBOR = {"task.toml": FOREIGN, "instruction.md": "Do it.\n", "environment/Dockerfile": DOCKERFILE,
          "tests/test.sh": "echo 1 >/logs/verifier/reward.txt\n"}


def one(source: Path) -> Task:
    [task] = tasks_in(source)
    assert isinstance(task, Task), str(task)
    return task


def test_a_harbor_folder_is_a_task_as_it_is_and_says_where_it_was_read(tmp_path):
    task = one(write_files(tmp_path / "theirs", HARBOR))
    assert (task.kind, task.instance_id, workdir_of(task)) == ("", "theirs", "/app")
    assert text_in(task.tests, "test.sh") == HARBOR["tests/test.sh"]
    assert task.config["metadata"]["author"] == "Them"
    made_from = task.about["made_from"]
    assert (made_from["directory"], made_from["item"]) == (tmp_path.name, "theirs")
    write_task(tmp_path / "root", task)
    assert one(tmp_path / "root/task/theirs").config["task"] == {"name": "them/theirs"}


def test_a_kind_and_a_proof_that_a_folder_brings_are_not_believed(tmp_path):
    write_task(tmp_path, a_bug())
    task = one(tmp_path / "task")
    assert (task.kind, "kind" in task.about, task.proof) == ("", False, None)


@pytest.mark.parametrize("path, text, said", [
    ("docker-compose.yaml", "[" * 90_000, "maximum recursion depth"),
    ("Dockerfile", f"FROM a\nWORKDIR /a\n{'#' * 100_000}", "more than 100,000 characters")])
def test_a_foreign_file_that_costs_too_much_to_read_is_named(tmp_path, path, text, said):
    write_files(tmp_path / "theirs", {**HARBOR, f"environment/{path}": text})
    [failed] = map(str, tasks_in(tmp_path))
    assert said in failed and "\n" not in failed


def rows_of(place: Path, rows: dict[str, bytes | None]) -> Path:
    with duckdb.connect() as db:
        db.execute("create table t (path varchar, task_binary blob)")
        db.executemany("insert into t values (?, ?)", [*rows.items()])
        db.execute(f"copy t to '{place}' (format parquet)")
    return place


def tar_of(files: dict[str, str], name: str = "", **attributes) -> bytes:
    """Return a tar with files, and behind them a member with attributes and without content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
        last = tarfile.TarInfo(name)
        for key, value in attributes.items():
            setattr(last, key, value)
        if name:
            tar.addfile(last)
    return out.getvalue()


def test_rows_of_a_parquet_file_are_tasks_packed_or_not_and_only_narrows(tmp_path):
    inner = tar_of({f"b/{name}": text for name, text in HARBOR.items()})
    a = gzip.compress(tar_of(HARBOR | {"rivals/wrong-1.sh": "true\n"}))
    place = rows_of(tmp_path / "set.parquet", {
        "a": a, "deep/b": inner, "c": tar_of({"task.toml": FOREIGN}),
        "d": b"no tar", "e": None, "": inner})
    copy_tasks(place, tmp_path, Selection(only=["[ac]"]))
    assert Store(tmp_path, Task).open().names() == ["a"]
    assert (tmp_path / "task/a/rivals/wrong-1.sh").exists()
    *faults, _ = copy_tasks(place, tmp_path, Selection())
    task = read_task(tmp_path, "deep-b")
    assert task.about["made_from"]["item"] == "deep/b" and len(faults) == 4
    assert text_in(task.tests, "test.sh") == HARBOR["tests/test.sh"]
    place.write_bytes(b"PAR1")
    with pytest.raises(Trouble, match="too small to be a Parquet file"):
        copy_tasks(place, tmp_path, Selection())


def test_a_small_parquet_file_of_large_rows_does_not_fill_the_memory(tmp_path):
    with duckdb.connect() as db:
        db.execute(f"""copy (select 'a' as path, repeat('a', 50000000)::blob as task_binary
                             from range(100)) to '{tmp_path}/a.parquet' (format parquet)""")
    read = f"""import resource
from pathlib import Path
from codedata.audit.others import rows_in
resource.setrlimit(resource.RLIMIT_AS, (4_000_000_000,) * 2)
print(sum(1 for _ in rows_in(Path("{tmp_path}/a.parquet"))))"""
    assert subprocess.check_output([sys.executable, "-c", read], cwd=REPO) == b"100\n"


def test_of_many_faults_the_first_are_named(tmp_path):
    place = rows_of(tmp_path / "set.parquet", {f"{n}": None for n in range(30)})
    assert copy_tasks(place, tmp_path, Selection())[21:] == ["      and 10 more"]


def test_archives_made_to_do_harm_are_named_and_nothing_is_written_outside(tmp_path):
    bad = {
        "absolute": tar_of({**HARBOR, f"{tmp_path}/absolute": "x"}),
        "up": tar_of({**HARBOR, "../../up": "x"}),
        "link": tar_of(HARBOR, "tests/out", type=tarfile.SYMTYPE, linkname="../../.."),
        "pipe": tar_of(HARBOR, "tests/pipe", type=tarfile.FIFOTYPE),
        "bomb": gzip.compress(tar_of(HARBOR, "tests/zeros", size=MAX_FOLDER_BYTES + 1)),
        "many": tar_of({**HARBOR, **{f"tests/{n}": "" for n in range(MAX_FILES)}}),
        "cut": gzip.compress(tar_of(HARBOR))[:-60], "rubbish": b"\x1f\x8brubbish"}
    place = rows_of(tmp_path / "set.parquet", {**bad, "good": tar_of(HARBOR)})
    *failed, good = tasks_in(place)
    assert good.instance_id == "good" and [one.where for one in failed] == [*bad]
    assert [*tmp_path.iterdir()] == [place]


def test_folders_made_to_do_harm_are_named_and_the_next_is_read(tmp_path):
    for name in ("link", "huge", "toml", "nul", "fifo", "steps", "whole"):
        write_files(tmp_path / name, HARBOR)
    (tmp_path / "link/tests/passwd").symlink_to("/etc/passwd")
    os.truncate(tmp_path / "huge/tests/test.sh", 60_000_000)
    (tmp_path / "toml/task.toml").write_text("a = [")
    (tmp_path / "nul/task.toml").write_text("a = '\0'")
    os.mkfifo(tmp_path / "fifo/tests/pipe")
    (tmp_path / "steps/task.toml").write_text(f'{FOREIGN}[[steps]]\nname = "a"\n')
    (tmp_path / "out").symlink_to("/etc")
    results = [*tasks_in(tmp_path)]
    assert [one.instance_id for one in results if isinstance(one, Task)] == ["whole"]
    assert [one.where.split("/")[0] for one in results if isinstance(one, ItemFailed)] == [
        "fifo", "huge", "link", "nul", "out", "steps", "toml"]
    for source in ("fifo/tests/pipe", "whole/tests"):
        with pytest.raises(Trouble, match=r"not a folder|no task folder"):
            [*tasks_in(tmp_path / source)]


def test_names_become_those_that_a_task_may_have():
    names = ["../x", "a b", "_a", "django__django-1", "a..b", "x" * 300]
    assert [*map(task_name, names)] == ["x", "a-b", "a", "django__django-1", "a.b", "x" * 200]
