import subprocess


def git(*args):
    done = subprocess.run(["git", "-c", "safe.directory=*", "-C", "/app/site", *args],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_of_the_file_is_left():
    objects = git("cat-file", "--batch-all-objects", "--batch-check").split("\n")
    blobs = [line.split()[0] for line in objects if " blob " in line]
    assert blobs and not any("hunter" in git("cat-file", "blob", one) for one in blobs)
    assert "deploy.env" not in git("log", "--all", "--name-only", "--format=")


def test_the_rest_is_as_it_was():
    log = git("log", "--format=%an %at %s", "main").split("\n")
    assert log[:-1] == [f"dev{n} {1600000000 + n} step {n}" for n in (6, 5, 4, 3, 2, 1)]
    assert git("show", "main:page.txt") == "page 6\n"
    assert git("show", "v1:page.txt") == "page 4\n"
    assert git("show", "topic:topic.txt") == "topic\n"
