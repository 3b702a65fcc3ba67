"""Check that what a tested program prints or leaves is in nothing that a grader reads."""
from __future__ import annotations

import subprocess

import pytest
from a_task import a_datapoint, proven_again, write_task
from conftest import run_script

from codedata.tasks.tests_folder import weighted_tests

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
    """Return the exports of a datapoint whose program forges."""
    root = tmp_path_factory.mktemp("forged")
    tests = {**weighted_tests({"test_a": 0.7, "test_b": 0.3}, "agent", "/app", 600),
             "test_outputs.py": TESTS}
    write_task(root, proven_again(
        a_datapoint("forged"), environment={"tool": FORGER.encode()},
        tests={name: text.encode() for name, text in tests.items()}))
    assert run_script("export.py", root, "--formats", "harbor").returncode == 0
    return root / "export"


def printed(folder, script: str) -> str:
    """Return what a script prints on a terminal, in a container where the task's program lies."""
    harbor = folder.parents[1] / "harbor/forged"
    given = ["-v", f"{folder}:/given:ro", "-v", f"{harbor}/environment:/files:ro"]
    setup = ("useradd agent; mkdir /app; cp /files/tool /app; chmod 755 /app/tool\n"
             "cp -r /given/tests /tests\n")
    return subprocess.run(["docker", "run", "--rm", "-t", "--network", "none", *given,
                           "codedata-base:bookworm", "bash", "-c", setup + script],
                          stdout=subprocess.PIPE, text=True).stdout


def as_user(name: str) -> str:
    return f"""sed -i 's/"user": .*/"user": "{name}",/' /tests/config.json;"""


@pytest.mark.parametrize(("user", "is_hidden"), [("agent", True), ("", False)])
def test_a_tested_program_reads_no_test_and_leaves_no_reward(
        exported, user, is_hidden):
    """Who is root reads the tests, and can write a reward while it runs."""
    seen = printed(exported / "harbor/forged", (
        f"{as_user(user)} bash /tests/test.sh >/log 2>&1; sort -u /tmp/spied\n"
        "ls /logs/verifier; cat /logs/verifier/reward.*"))
    *lines, reward = map(str.strip, seen.strip().split("\n"))
    assert reward == "0.3" and "reward.json" not in lines and "looked" in lines
    assert {line for line in lines if line.startswith("read /tests/")} == (
        set() if is_hidden else {"read /tests/test_outputs.py", "read /tests/config.json"})
