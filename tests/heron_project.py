"""Provide a small project, heron, as a folder and as a repository, and containers for it."""
import os
import subprocess
from pathlib import Path

import pytest
from projects import make_lean
from root import write_files

from codedata.sandbox import open_sandbox

RUN = "test-verify"


def opener(image: str):
    return open_sandbox("docker", image=image or make_lean(), workdir="/testbed", scripts=[],
                        run_label=RUN)


@pytest.fixture
def source(tmp_path):
    return write_source(tmp_path / "heron")


def write_source(folder: Path) -> Path:
    """Write a small module with a test, as a folder without a history."""
    write_files(folder, {"heron.py": "def wade():\n    return 'slowly'\n",
                         "tests/test_heron.py": "import heron\n"})
    add_test(folder, "def test_wade():\n    assert heron.wade() == 'slowly'")
    return folder


def add_test(source: Path, body: str) -> None:
    with open(source / "tests" / "test_heron.py", "a") as file:
        file.write(f"\n\n{body}\n")


@pytest.fixture
def image_name():
    name = f"codedata-test/verify:{os.getpid()}"   # one for each worker
    yield name
    subprocess.run(["docker", "rmi", "-f", name], capture_output=True)


def git(folder: Path, *words: str) -> str:
    me = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    return subprocess.run(["git", *me, *words], cwd=folder, check=True, capture_output=True,
                          text=True).stdout.strip()


def commit_all(folder: Path) -> None:
    """Make a repository of a folder, with one commit of all that is in it."""
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")


@pytest.fixture
def repository(source):
    """Make a repository with the fix after the base commit, in every corner that git has."""
    commit_all(source)
    git(source, "tag", "v1.0")
    (source / "heron.py").write_text("def wade():\n    return 'slowly'  # base\n")
    git(source, "commit", "-qam", "base")
    base = git(source, "rev-parse", "HEAD")
    for where in ("later", "dangling", "tagged"):
        (source / "heron.py").write_text(f"def wade():\n    return 'the fix of 2f8c, {where}'\n")
        git(source, "commit", "-qam", where)
        if where == "dangling":
            git(source, "reset", "-q", "--hard", "HEAD~1")
    git(source, "tag", "-a", "v2.0", "-m", "the fix of 2f8c")
    git(source, "branch", "future")
    git(source, "remote", "add", "origin", "https://example.org/heron.git")
    (source / "heron.py").write_text("stashed fix\n")
    git(source, "stash", "-q")
    git(source, "gc", "-q")
    return source, base
