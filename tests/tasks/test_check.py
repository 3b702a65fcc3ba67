"""Check what `python -m codedata.tasks check` says of a folder: one broken folder a fault."""
from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from a_task import (
    BUG_PATCH,
    a_bug,
    a_datapoint,
    a_strip,
    edited,
    file_of,
    proven_again,
    write_foreign,
    write_task,
)
from conftest import REPO

from codedata.records import KINDS
from codedata.tasks.__main__ import main
from codedata.tasks.folder import HOW_TO_PROVE, task_problem

KEY = b"T = 'ghp_" + b"a8Kx93LmQz71TbVw4RpYs6NcJe2HdF05Gu1o'\n"
BUG, DATAPOINT = a_bug(), a_datapoint()
OF_TESTS = "+++ b/tests/test_words.py\n@@ -0,0 +1 @@\n+x\n"
WHOLE = {"bug": BUG, "strip": a_strip(), "datapoint": DATAPOINT,
         "whose image is named": edited(DATAPOINT, config={
             "environment": {**DATAPOINT.config["environment"], "docker_image": "a/b:1"}})}


@pytest.fixture
def check(capsys):
    """Return a function of a folder: (exit code, the lines on faults without the folder, what the
    screen says)."""
    def checked(folder) -> tuple[int, list[str], str]:
        code, (out, said) = main(["check", str(folder)]), capsys.readouterr()
        return code, out.replace(f"{folder}", "").splitlines(), said
    return checked


@pytest.mark.parametrize("name", WHOLE)
def test_a_task_as_its_maker_leaves_it_has_no_fault(tmp_path, check, name):
    code, faults, said = check(write_task(tmp_path, WHOLE[name]))
    assert (code, faults) == (0, []) and "next: python export.py" in said


def test_the_sample_by_hand_has_no_fault():
    done = subprocess.run([sys.executable, "-m", "codedata.tasks", "check", "samples/tasks/tally"],
                          cwd=REPO, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "") and "fresh container" in done.stderr


def config(task, **keys) -> dict:
    """Return `tests` of an edit that changes keys of config.json; one that is null falls out."""
    changed = json.loads(file_of(task, "tests", "config.json")) | keys
    changed = {key: value for key, value in changed.items() if keys.get(key, 0) is not None}
    return {"config.json": json.dumps(changed).encode()}


def test_each_kind_says_how_it_is_proven_again():
    assert HOW_TO_PROVE.keys() == {*KINDS}


# name → (an edited task, where and what the fault is)
EDITS = {
    "no instruction": (a_bug(instruction=None), "/instruction.md: is missing or empty. Run: "),
    "a blank one": (a_strip(instruction=" \n"), "/instruction.md: is missing or empty. Run: "),
    "no proof": (edited(BUG, proof=None), "/proof.json: is missing"),
    "edited": (edited(BUG, solution={"notes": b"x"}), "/solution: was edited since its runs"),
    "its name": (edited(BUG, config={"task": {"name": "heron"}}), "/task.toml: [task] name is"),
    "a time": (edited(BUG, config={"agent": {"timeout_sec": "long"}}),
               "/task.toml: [agent] timeout_sec is not a number"),
    "a network": (edited(BUG, config={"environment": {"network_mode": "off"}}),
                  "/task.toml: [environment] network_mode is 'off', not one of"),
    "a hook": (edited(BUG, config={"verifier": {"collect": [{"run": "x"}]}}),
               "/task.toml: [verifier] collect has an entry without a command"),
    "a user": (edited(BUG, config={"agent": {"user": []}}), "/task.toml: [agent] user is neither"),
    "two verifiers": (edited(BUG, config={"verifier": {
        "environment_mode": "shared", "environment": {}}}),
        "/task.toml: [verifier] environment_mode is shared"),
    "no tables": (edited(BUG, config={"agent": "a"}), "/task.toml: agent is a text, not an object"),
    "an artifact": (edited(BUG, config={"artifacts": ["/a/../b"]}),
                    "/task.toml: artifacts has '/a/../b': no path"),
    "tags": (edited(BUG, config={"metadata": {"tags": "a"}}), "/task.toml: metadata: difficulty"),
    "kind": (edited(BUG, {"kind": "bugs"}), "/task.toml: kind 'bugs' is none of bug, "),
    "an image": (edited(BUG, config={"environment": {"docker_image": "a\nRUN id"}}, environment={
        "Dockerfile": b"FROM a\nRUN id\n"}), "/task.toml: docker_image: 'a\\nRUN id' is no name"),
    "workdir": (edited(BUG, config={"environment": {"workdir": "/usr/bin"}}),
                "/task.toml: workdir: '/usr/bin': the verifier would take"),
    "another workdir": (edited(BUG, tests=config(BUG, workdir="/src")),
                        "/tests/config.json: workdir is '/src', in task.toml '/testbed'"),
    "no config": (edited(BUG, tests={"config.json": None}), "/tests/config.json: is missing"),
    "no JSON": (edited(BUG, tests={"config.json": b"["}), "/tests/config.json: is missing, or no"),
    "test user": (edited(BUG, tests=config(BUG, user=3)),
                  "/tests/config.json: user is a number, not a text"),
    "no test user": (edited(BUG, tests=config(BUG, user=None)),
                     "/tests/config.json: user is missing"),
    "reads": (edited(BUG, tests=config(BUG, reads="all")), "/tests/config.json: reads is none of"),
    "a sum": (edited(DATAPOINT, tests=config(DATAPOINT, weights={"test_none": 1, "test_sum": 1})),
              "/tests/config.json: weights are not above 0 with a sum of 1: it is 2"),
    "unknown test": (edited(DATAPOINT, tests=config(DATAPOINT, weights={
        "test_none": 0.3, "test_sum": 0.3, "test_x": 0.4})),
        "/tests/config.json: has weights of no test in test_outputs.py: test_x"),
    "no weight": (edited(DATAPOINT, tests=config(DATAPOINT, weights={"test_sum": 1.0})),
                  "/tests/config.json: has no weight for tests of test_outputs.py: test_none"),
    "odd weights": (edited(DATAPOINT, tests=config(DATAPOINT, weights=["test_sum"])),
                    "/tests/config.json: weights is no object"),
    "no Python": (edited(DATAPOINT, tests={"test_outputs.py": b"def ("}),
                  "/tests/test_outputs.py: is no Python"),
    "deep Python": (edited(DATAPOINT, tests={"test_outputs.py": b"x = 1" + 50_000 * b"+1"}),
                    "/tests/test_outputs.py: is no Python"),
    "F2P": (edited(BUG, tests=config(BUG, FAIL_TO_PASS=[])),
            "/tests/config.json: FAIL_TO_PASS names no test"),
    "F2P in P2P": (edited(BUG, tests=config(BUG, PASS_TO_PASS=["tests/test_words.py::test_none"])),
                   "/tests/config.json: FAIL_TO_PASS and PASS_TO_PASS share a test"),
    "blank": (edited(BUG, tests=config(BUG, PASS_TO_PASS=["a b"])),
              "/tests/config.json: FAIL_TO_PASS and PASS_TO_PASS share a test, or have a name"),
    "no list": (edited(BUG, tests=config(BUG, PASS_TO_PASS="a")),
                "/tests/config.json: PASS_TO_PASS is a text, not a list"),
    "no script": (edited(BUG, tests={"tests.sh": b"\n"}), "/tests/tests.sh: is missing or empty"),
    "hidden": (edited(BUG, tests={"hidden/tests/test_new.py": b"x = 1\n"}),
               "/tests/test.patch: does not make what is in tests/hidden/: tests/test_new.py"),
    "its patch": (edited(BUG, tests={"test.patch": b""}),
                  "/tests/test.patch: does not make what is in tests/hidden/: tests/test_words.py"),
    "verifier": (edited(BUG, tests={"verify.py": b"print(1)\n"}),
                 "/tests: has not the verifier of this version: verify.py. Copy them: cp "
                 "codedata/tasks/verifier/{verify.py} FOLDER/tests/. Then prove it again."),
    "image": (edited(BUG, environment={"Dockerfile": b"FROM other\n"}),
              "/environment/Dockerfile: is FROM other, where task.toml has docker_image ="),
    "Dockerfile": (edited(DATAPOINT, environment={"Dockerfile": b"FROM a\nONBUILD RUN x\n"}),
                   "/environment/Dockerfile: line 2 of the Dockerfile: "),
    "no FROM": (edited(DATAPOINT, environment={"Dockerfile": b"RUN x\n"}),
                "/environment/Dockerfile: has no FROM"),
    "no image": (edited(DATAPOINT, environment={"Dockerfile": None, "amounts.csv": None}),
                 "/environment/Dockerfile: is missing, and task.toml names no docker_image"),
    "no gold": (edited(BUG, solution={"gold.patch": None}), "/solution/gold.patch: is missing"),
    "no solution": (edited(DATAPOINT, solution={"solve.sh": b""}), "/solution/solve.sh: is miss"),
    "odd gold": (edited(BUG, solution={"gold.patch": b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-x\n"}),
                 "/solution/gold.patch: is no patch that git can read"),
    "tests in gold": (edited(BUG, solution={"gold.patch": BUG_PATCH.encode() + (
        "--- /dev/null\n" + OF_TESTS).encode()}),
        "/solution/gold.patch: changes tests: tests/test_words.py"),
    "secret": (edited(DATAPOINT, environment={"amounts.csv": KEY}),
               "/environment/amounts.csv: has a secret: GitHub token. Take it out")}


# why exports leave it out, where that is not that it is not as proven
REASONS = {
    "no instruction": "no instruction", "a blank one": "no instruction", "no proof": "not proven",
    "its name": "task.toml", "a time": "task.toml", "a network": "task.toml", "a hook": "task.toml",
    "a user": "task.toml", "two verifiers": "task.toml", "no tables": "task.toml",
    "an artifact": "task.toml", "tags": "metadata", "kind": "kind", "an image": "docker_image",
    "workdir": "workdir", "no image": "no task of Harbor"}


def test_a_secret_in_a_file_that_was_proven_is_a_reason_too():
    assert task_problem(proven_again(BUG, tests={"hidden/tests/test_a.py": KEY})) == (
        "secret in a file", "tests/hidden/tests/test_a.py: has a secret: GitHub token. Take it "
        "out, and revoke it if it is one.")


@pytest.mark.parametrize("name", EDITS)
def test_a_fault_is_named_with_its_file_and_the_way_out(tmp_path, check, name):
    task, fault = EDITS[name]
    assert task_problem(task)[0] == REASONS.get(name, "not as proven")
    code, lines, said = check(write_task(tmp_path, task))
    others = [line for line in lines if not line.startswith(fault)]
    assert code == 1 and len(others) < len(lines), lines
    # the same edit is seen once more, as one of what was proven
    assert [line for line in others if ": was edited since its runs" not in line] == []
    assert f"{len(lines)} fault" in said and "again: python -m codedata.tasks check" in said


# what is laid into the folder of a bug, or of somebody else → where and what the fault is
FILES = {
    "task.toml": ("task.toml", "[", "/task.toml: is not readable: "),
    "proof.json": ("proof.json", "{", "/proof.json: is not readable: "),
    "bytes": ("instruction.md", b"\xff", "/instruction.md: is not readable: "),
    "many parts": ("task.toml", f"[{'.'.join(2000 * 'a')}]", "/task.toml: is not readable: a"),
    "nested": ("task.toml", "x = " + 60 * "[" + 60 * "]", "/task.toml: is not readable: it is"),
    "nested JSON": ("proof.json", 60 * "[" + 60 * "]", "/proof.json: is not readable: it is"),
    "a number": ("task.toml", f"a = 2001-01-01\nb = {2 ** 64}", "/task.toml: is not readable: a"),
    "NUL": ("instruction.md", b"a\0b", ": is not a Task: `instruction` has a NUL byte. Correct "),
    "a link": ("tests/data", None, "/tests: is not readable: 'data' is a link"),
    "a link beside": ("notes", None, ": is not readable: 'notes' is a link")}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("is_ours", [True, False])
def test_what_cannot_be_read_is_named_alone(tmp_path, check, name, is_ours):
    path, content, fault = FILES[name]
    folder = write_task(tmp_path, BUG) if is_ours else write_foreign(tmp_path)
    if content is None:
        (folder / path).symlink_to("/etc/passwd")
    else:
        (folder / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    code, [line], _ = check(folder)
    assert code == 1 and line.startswith(fault)


@pytest.mark.parametrize("gone, fault", [
    ("task.toml", "/task.toml: is missing. Write it"), ("instruction.md", "/instruction.md: is"),
    ("tests/test.sh", "/tests/test.sh: is missing. Write it"),
    ("environment", "/environment/Dockerfile: is missing, and task.toml names no docker_image"),
    ("solution", "")])
def test_a_task_of_somebody_else_has_what_harbor_needs_and_is_told_how_it_is_graded(
        tmp_path, check, gone, fault):
    folder = write_foreign(tmp_path)
    code, faults, said = check(folder)
    assert (code, faults) == (0, []) and "in the agent's own container" in said
    place = folder / gone
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    code, lines, _ = check(folder)
    assert (code, len(lines)) == (bool(fault),) * 2 and "".join(lines).startswith(fault)


def test_what_is_no_folder_of_a_task_is_named(tmp_path, check):
    (tmp_path / "old.json").write_text("{}")
    (tmp_path / "link").symlink_to(write_task(tmp_path, BUG))
    for name in ("old.json", "link", "nowhere"):
        code, [line], _ = check(tmp_path / name)
        assert code == 1 and ": is no folder. " in line
    odd = write_foreign(tmp_path, "an odd\nname")
    assert "is no name that Harbor takes" in check(odd)[1][0] and "check '" in check(odd)[2]


def test_an_edited_instruction_is_no_fault(tmp_path, check):
    told = edited(BUG, instruction="Mail to eve.miller@wetlands.org.")
    code, faults, said = check(write_task(tmp_path, told))
    assert (code, faults) == (0, []) and "exports mask: e-mail address" in said
