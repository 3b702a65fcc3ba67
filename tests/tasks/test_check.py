"""Check what `python -m codedata.tasks check` says of a folder: one broken folder a fault."""
import json
import shutil
from pathlib import Path

import line_tables
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

from codedata.records import KINDS, Task
from codedata.tasks.__main__ import main
from codedata.tasks.folder.task_folder import HOW_TO_PROVE, task_problem

KEY = "T = 'ghp_" + "a8Kx93LmQz71TbVw4RpYs6NcJe2HdF05Gu1o'\n"
BUG, DATAPOINT = a_bug(), a_datapoint()
WHOLE = {"bug": BUG, "strip": a_strip(), "datapoint": DATAPOINT,
         "with an edited instruction": edited(BUG, instruction="Mail eve.miller@wetlands.org."),
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
    assert (code, faults) == (0, []) and "--formats harbor" in said


def test_the_samples_have_no_fault(check):
    assert [check(folder)[1] for folder in (REPO / "samples/tasks").iterdir()] == [[]] * 6


def test_each_kind_says_how_it_is_proven_again():
    assert HOW_TO_PROVE.keys() == {*KINDS}


EDITS = line_tables.rows(Path(__file__).with_name("edits.txt").read_text())
LONG = {   # texts of EDITS
    "DEEP": "x = 1" + 50_000 * "+1", "SECRET": KEY, "OF TESTS": f"{BUG_PATCH}--- /dev/null\n"
    "+++ b/tests/test_words.py\n@@ -0,0 +1 @@\n+x\n"}
KINDS_OF_TASKS = {"bug": BUG, "strip": a_strip(), "dp": DATAPOINT}


def edited_task(kind: str, part: str, text: str) -> Task:
    """Return a task with an edit of EDITS."""
    task, edit = KINDS_OF_TASKS[kind], json.loads(text)
    if part == "about":
        return edited(task, edit)
    if part == "config.json":
        settings = json.loads(file_of(task, "tests", part)) | edit
        settings = {key: value for key, value in settings.items() if edit.get(key, 0) is not None}
        part, edit = "tests", {part: json.dumps(settings)}
    if part in ("tests", "solution", "environment"):
        edit = {name: text if text is None else LONG.get(text, text).encode()
                for name, text in edit.items()}
    return edited(task, **{part: edit})


def test_a_secret_in_a_file_that_was_proven_is_a_reason_too():
    leaky = proven_again(BUG, tests={"hidden/tests/test_a.py": KEY.encode()})
    assert task_problem(leaky) == (
        "secret in a file", "tests/hidden/tests/test_a.py: has a secret: GitHub token. Remove "
        "it, and revoke it if it is a real secret. If it is made up for a test: [export] "
        "secrets_in_tests.")
    assert task_problem(leaky, secrets_in_tests=True) is None
    worse = proven_again(leaky, solution={"gold.patch": KEY.encode()})
    assert task_problem(worse, secrets_in_tests=True)[0] == "secret in a file"


@pytest.mark.parametrize(("reason", "kind", "part", "edit", "fault"), EDITS)
def test_a_fault_is_named_with_its_file_and_the_way_out(
        tmp_path, check, reason, kind, part, edit, fault):
    task = edited_task(kind, part, edit)
    assert task_problem(task)[0] == reason   # for which exports leave it out
    code, lines, said = check(write_task(tmp_path, task))
    others = [line for line in lines if not line.startswith(fault)]
    assert code == 1 and len(others) < len(lines), lines
    # the same edit is seen once more, as one of what was proven
    assert [line for line in others if ": was edited since its runs" not in line] == []
    assert f"{len(lines)} fault" in said and "python -m codedata.tasks check" in said


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
def test_a_task_of_somebody_else_has_what_harbor_needs(tmp_path, check, gone, fault):
    folder = write_foreign(tmp_path)
    code, faults, _ = check(folder)
    assert (code, faults) == (0, [])
    place = folder / gone
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    code, lines, _ = check(folder)
    assert (code, len(lines)) == (bool(fault),) * 2 and "".join(lines).startswith(fault)


def test_what_is_no_folder_of_a_task_is_named(tmp_path, check):
    (tmp_path / "old.json").write_text("{}")
    (tmp_path / "link").symlink_to(write_task(tmp_path, BUG))
    for name in ("old.json", "link", "nowhere"):
        code, [line], _ = check(tmp_path / name)
        assert code == 1 and ": is not a folder. " in line
    odd = write_foreign(tmp_path, "an odd\nname")
    assert "is not a name that Harbor accepts" in check(odd)[1][0] and "check '" in check(odd)[2]
