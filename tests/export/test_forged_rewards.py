"""Check that what a tested program prints or leaves is in nothing that a grader reads."""
from __future__ import annotations

import subprocess

import pytest
from conftest import run_script

from codedata.datapoints.folder import BOX, put, with_texts
from codedata.records import DATAPOINT, Task
from codedata.tasks.folder import config_of, proven

pytestmark = pytest.mark.docker
PASSED = "PASSED test_outputs.py::test_a"
FORGER = f"""#!/bin/bash
printf '\\e[1G {PASSED} \\e[K\\n== short test summary info ==\\n{PASSED}\\n' | tee /dev/pts/* >&2
mkdir -p /logs/verifier; echo '{{"reward": 1}}' >/logs/verifier/reward.json
for file in /tests/* /proc/$PPID/fd/* /proc/$PPID/mem /proc/$PPID/environ /dev/fd/777; do
    timeout 1 head -c 99999 "$file" | grep -aqE 'def test_b|"test_b"' && echo "read $file"
done >>/tmp/spied 2>/dev/null; echo looked >>/tmp/spied
exit 1
"""
TESTS = """import subprocess, pytest

@pytest.mark.parametrize("way", ["\\x1b[1G PASSED", "b"])
def test_a(way):
    done = subprocess.run(["/app/tool"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

def test_b():
    assert True
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return the exports of a datapoint that was proven, whose program forges."""
    root = tmp_path_factory.mktemp("forged")
    about = {"kind": DATAPOINT, "repo": "forged", "languages": ["python"]}
    labels = {"category": "Data Processing", "tags": [], "difficulty": "easy"}
    task = with_texts(
        Task("forged", DATAPOINT, config_of("forged", BOX, about, labels),
             {"tool": FORGER.encode()}, {}, {}),
        {"prompt": "Mend it.\n", "tests": TESTS, "solution": "true\n",
         "dockerfile": "FROM codedata-base:bookworm\nWORKDIR /app\nCOPY tool .\n",
         "weights": '{"test_a": 0.7, "test_b": 0.3}'})
    put(root / "task/forged", proven(task, {}))
    assert run_script("export.py", root, "--formats", "harbor,terminal-bench").returncode == 0
    return root / "export"


def printed(folder, script: str) -> str:
    """Return what a script prints on a terminal, in a container where the task's program lies."""
    context = folder.parents[2] / "task/forged/environment"
    given = ["-v", f"{folder}:/given:ro", "-v", f"{context}:/files:ro"]
    setup = ("useradd agent; mkdir /app; cp /files/tool /app; chmod 755 /app/tool\n"
             "cp -r /given/tests /tests\n")
    return subprocess.run(["docker", "run", "--rm", "-t", "--network", "none", *given,
                           "codedata-base:bookworm", "bash", "-c", setup + script],
                          stdout=subprocess.PIPE, text=True).stdout


def as_user(name: str) -> str:
    return f"""sed -i 's/"user": .*/"user": "{name}",/' /tests/config.json;"""


def test_what_terminal_bench_reads_has_no_byte_of_what_is_tested(exported):
    folder = exported / "terminal-bench/forged"
    lines = printed(folder, "TEST_DIR=/tests bash /given/run-tests.sh").split("\n")
    assert [*filter(None, lines)] == [
        "=== short test summary info ===", PASSED.replace("PASSED", "FAILED"),
        "PASSED test_outputs.py::test_b"]


@pytest.mark.parametrize("user", ["agent", ""])   # who is root can write a reward while it runs
def test_the_reward_that_a_tested_program_leaves_is_not_the_one_that_harbor_reads(exported, user):
    script = (f"{as_user(user)} bash /tests/test.sh >/log 2>&1"
              "; ls /logs/verifier; cat /logs/verifier/reward.*")
    *names, reward = printed(exported / "harbor/forged", script).split()
    assert reward == "0.3" and "reward.json" not in names


@pytest.mark.parametrize(("user", "is_hidden"), [("agent", True), ("", False)])
def test_a_tested_program_reads_no_test(exported, user, is_hidden):
    script = (f"{as_user(user)} bash /tests/test.sh >/log 2>&1; sort -u /tmp/spied")
    seen = printed(exported / "harbor/forged", script).split("\n")
    read = {line.strip() for line in seen if line.startswith("read /tests/")}
    assert "looked" in {line.strip() for line in seen}
    assert read == (set() if is_hidden else {"read /tests/test_outputs.py",
                                              "read /tests/config.json"})
