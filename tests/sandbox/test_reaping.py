"""Test that clean-up takes what killed runs of its own root have left, and nothing made by hand."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import projects
import pytest
from conftest import REPO, eventually, run_script

from codedata.disk import locks
from codedata.sandbox import local, process_labels
from codedata.sandbox.docker import engine

RUN = "tests-reaping"
IN_ROOT = """import sys, time
from pathlib import Path
from codedata.disk import locks
from codedata.sandbox import process_labels
process_labels.label_with(Path(sys.argv[1]))
"""
TRIES = """from codedata.sandbox.docker.container import SandboxDocker
box = SandboxDocker(run_label="tests-reaping", network=True)
box.commit("codedata-tests/kept")
with SandboxDocker("codedata-tests/kept", run_label="tests-reaping") as other:
    other.commit("codedata-tests/reaped", keep=False)
print(box.id, flush=True)
time.sleep(300)
"""
FOLDERS = """from codedata.sandbox.local import SandboxLocal
box, opened = SandboxLocal(), locks.temporary_folder()
child = box.run("setsid sleep 300 >/dev/null 2>&1 & echo $!").output.strip()
print(f"/proc/{child}", box.workdir, opened.__enter__(), flush=True)
input()
"""
BUILDS = """from codedata.sandbox.images.build_image import BuildLimits, build
text = "FROM codedata-base:bookworm\\nRUN touch /a\\nRUN touch /b\\nRUN sleep 30"
build(Path(sys.argv[1]), text, "codedata-tests/unbuilt:1", BuildLimits(disk_floor="1GB"),
      run_label="tests-reaping")
"""


def started(root: Path, code: str, **env) -> subprocess.Popen:
    root.mkdir()
    return subprocess.Popen([sys.executable, "-c", IN_ROOT + code, root], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True, env={
                                "PYTHONPATH": str(REPO), "PATH": "/usr/bin:/bin", **env})


def docker(*words: str) -> list[str]:
    return projects.docker(*words).split()


def reaped_in(root: Path, **which) -> set[str]:
    process_labels.label_with(root)
    return {*engine.reap(**which)[0]}


def made(kind: str, *more: str) -> list[str]:
    return docker(kind, "ls", "-q", "--filter", f"label=codedata.run={RUN}", *more)


@pytest.mark.docker
def test_what_was_made_by_hand_of_a_kept_image_stays_and_so_does_what_another_root_left(tmp_path):
    process = started(tmp_path / "root", TRIES)
    box = process.stdout.readline().strip()
    by_hand = "codedata-mine/built"
    cut_short, = docker("commit", box)   # has no name, as a commit of ours that a kill hits
    try:
        (tmp_path / "Dockerfile").write_text("FROM codedata-tests/kept\nRUN touch /mine\n")
        docker("build", "-q", "-t", by_hand, str(tmp_path))
        container, = docker("run", "-d", "codedata-tests/kept", "sleep", "300")
        process.kill()
        process.wait()
        ours = {*docker("inspect", "-f", "{{slice .Name 1}}", box), "codedata-tests/reaped:latest",
                cut_short}
        assert not ours & reaped_in(tmp_path / "another")
        assert ours <= reaped_in(tmp_path, all_roots=True, only_list=True)
        assert len(reaped_in(tmp_path / "root")) == 4, "container, network, image with and without"
        assert made("container", "-a", "--no-trunc") == [container] and made("network") == []
        assert len(docker("inspect", "-f", "{{.Id}}", by_hand, "codedata-tests/kept")) == 2
    finally:
        docker("rm", "-f", *made("container", "-a"))
        docker("rmi", by_hand, "codedata-tests/kept")
    assert made("image") == []


@pytest.mark.docker
def test_the_steps_of_a_killed_build_go(tmp_path):
    process = started(tmp_path / "root", BUILDS)
    eventually(lambda: "sleep" in str(docker("ps", "--no-trunc", "--filter",
                                             f"label=codedata.run={RUN}")))
    process.kill()
    process.wait()
    reaped_in(tmp_path / "another")
    assert made("image", "-a")

    def is_clean() -> bool:   # the engine ends the step in its own time
        reaped_in(tmp_path / "root")
        return not (made("image", "-a") or made("container", "-a"))

    eventually(is_clean, timeout_s=60)


def test_folders_whose_process_is_gone_are_listed_and_go_when_any_root_starts_work(tmp_path):
    env = {"TMPDIR": str(tmp_path)}
    roots = [tmp_path / name for name in ("one", "two", "three")]
    processes = [started(root, FOLDERS, **env) for root in roots]
    folders = [{*map(Path, process.stdout.readline().split())} for process in processes]
    for process in processes[:2]:
        process.kill()
        process.wait()

    def run(*flags):
        done = run_script("env_setup.py", roots[0], "--sandbox", "local", *flags, env=env)
        assert done.returncode == ("--input" in flags), done.stderr
        return done, [{*map(Path.exists, found)} for found in folders]

    try:
        done, there = run("--reap")
        assert len(done.stdout.split()) == 4 and there == [{True}] * 3
        rows, empty = tmp_path / "rows", tmp_path / "empty"
        empty.mkdir()
        rows.write_text(json.dumps({"repo": "o/r", "repo_name": "r", "image_name": "r",
                                    "reformat_path": str(empty)}))
        done, there = run("--input", rows, "--planner", "recipe")
        assert "removed leftovers of killed runs: 4 things" in done.stderr
        assert there[2] == {True}, "the third one lives"
        eventually(lambda: run("--reap", "--yes")[1] == [{False}, {False}, {True}])
        assert run("--reap", "--yes")[0].stdout == ""
    finally:
        processes[2].communicate("\n")   # ends as usual, without close()
    eventually(lambda: not any(map(Path.exists, folders[2])))
    assert run_script("env_setup.py", roots[0], "--yes").returncode == 2


def test_a_lock_that_is_no_file_is_not_waited_for_and_a_link_makes_none(tmp_path):
    for make in os.mkfifo, lambda lock: os.symlink(tmp_path / "made", lock):
        folder = Path(tempfile.mkdtemp(prefix=locks.FOLDERS))
        make(folder / locks.FILE)
        assert str(folder) not in local.reap()[0] and not (tmp_path / "made").exists()
        shutil.rmtree(folder)
