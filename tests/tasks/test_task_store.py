"""Check a directory of items that are folders, which several makers and people fill: whole items
wherever a writer is killed, edits that stay, and nobody's tasks taken for another's."""
import os
import shutil
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from a_task import read_task
from conftest import edit, run_here
from root import files_under, write_json

from codedata.disk.store import Store
from codedata.errors import BrokenRecord, ItemFailed, Trouble
from codedata.records import BUG, DATAPOINT, BugConfig, Task
from codedata.run import cli, start
from codedata.run.stage import Reads, Stage, Writes
from codedata.tasks.folder.task_folder import Container, config_of, edited_parts, from_image, proven

MADE = ("config", "environment", "solution", "tests", "proof")


def a_task(name: str, kind: str, text: str = "echo") -> Task:
    toml = config_of(name, Container("/testbed", "an-image"), {"kind": kind, "repo": "a/b"})
    task = Task(name, kind, toml, from_image("an-image"), {"solve.sh": text.encode()},
                {"test.sh": b"true\n", "cases/1.txt": b"1"})
    return proven(task, {"runs": []})


@pytest.fixture
def maker(tmp_path, capsys):
    """Return a function: run the maker of a kind with flags; it returns (exit code, what it made,
    what was printed). Its inputs are bug/_config/<kind>*.json; `during` is called in the midst."""
    def run(kind: str, *flags, during=lambda: None) -> tuple[int, list[str], str]:
        made = []

        def make(wanted: BugConfig) -> Task:
            during()
            made.append(wanted.repo_name)
            return a_task(wanted.repo_name, kind, wanted.environment)

        def main(argv) -> int:
            settings, options = cli.read(cli.parser("toy.py").parse_args(argv))
            inputs = Store(tmp_path, BugConfig)
            inputs.names = lambda wants=None: [
                name for name in Store.names(inputs, wants) if kind in name]
            stage = Stage(
                f"toy.{kind}", make=make, reads=Reads(inputs, ("environment",)),
                writes=Writes(Store(tmp_path, Task, kind=kind), MADE))
            return start.run(lambda _: stage, settings, options)
        try:   # a script's signals are for the main thread alone
            is_first = threading.current_thread() is threading.main_thread()
            code = run_here(main, tmp_path, *flags) if is_first else main(["--root", str(tmp_path)])
        except Trouble as e:
            return e.exit_code, made, str(e)
        return code, made, capsys.readouterr().err
    return run


def want(root: Path, name: str) -> Path:
    root.put(name, BugConfig("a/b", name, "c" * 40, "true", ["."], [], "none", 1.0, 1, 0))
    return root / f"bug/_config/{name}.json"


def test_two_makers_work_in_one_directory_at_once_and_prune_their_own(tmp_path, maker):
    """See tests/bugs/test_tasks.py for whose orphans are whose."""
    inputs = [want(tmp_path, name) for name in ("bug-1", "datapoint-1")]
    seen = []
    assert maker(BUG, during=lambda: seen.extend([maker(DATAPOINT), maker(BUG)]))[0] == 0
    (code, made, _), (refused, _, printed) = seen
    assert (code, made, refused) == (0, ["datapoint-1"], 2) and "in use by toy.py" in printed
    assert maker(BUG)[1] == maker(DATAPOINT)[1] == []
    for path in inputs:
        path.unlink()
    want(tmp_path, "bug-2"), want(tmp_path, "datapoint-2")
    for kind, left in ((BUG, {"datapoint-1"}), (DATAPOINT, set())):
        assert "moved 1 orphan" in maker(kind, "--prune")[2]
        assert {path.name for path in (tmp_path / "task").glob("[!_]*")} == left


def test_the_id_of_another_makers_task_is_refused_by_name(tmp_path, maker):
    want(tmp_path, "bug-or-datapoint")
    assert maker(BUG)[:2] == (0, ["bug-or-datapoint"])
    task = files_under(tmp_path / "task/bug-or-datapoint")
    code, made, printed = maker(DATAPOINT)
    assert (code, made) == (1, []) and "not a task of the kind 'datapoint'" in printed
    late = Store(tmp_path, Task, kind=DATAPOINT)
    late.into.joinpath("new").mkdir()   # since it looked
    late.open()
    shutil.copytree(tmp_path / "task/bug-or-datapoint", tmp_path / "task/new", dirs_exist_ok=True)
    with pytest.raises(ItemFailed, match="not a task of the kind"):
        late.put("new", a_task("new", DATAPOINT), MADE)
    assert files_under(tmp_path / "task/bug-or-datapoint") == task


def test_a_task_whose_kind_cannot_be_read_is_named_by_every_maker(tmp_path, maker):
    want(tmp_path, "bug-1"), maker(BUG)
    (tmp_path / "task/bug-1/task.toml").write_text("[")
    for kind in (BUG, DATAPOINT):
        code, made, printed = maker(kind)
        assert (code, made) == (1, []) and "bug-1/task.toml is not readable" in printed
        assert "not a task of the kind" not in printed
    write_json(tmp_path / "task/tally.json", {})
    assert "→ task/   broken 2 " in (printed := maker(BUG, "--status")[2])
    assert "tally.json" in printed and "Items are folders here" in printed


def test_an_untouched_folder_is_not_read_and_an_edited_one_is_kept(tmp_path, maker):
    source = want(tmp_path, "bug-1")
    maker(BUG)
    path = tmp_path / "task/bug-1/tests/test.sh"
    facts = path.stat()
    path.write_text("tru\n\n")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))   # as if nobody had touched it
    assert "done 1" in maker(BUG, "--status")[2]
    path.write_text("false")
    assert "edited 1" in maker(BUG, "--status")[2] and maker(BUG)[1] == []
    edit(source, environment="other")
    assert maker(BUG)[1] == [] and path.read_text() == "false"
    task = read_task(tmp_path, "bug-1")
    task.config.setdefault("task", {})["keywords"] = ["of a user"]
    assert edited_parts(task) == ["tests/"]
    assert maker(BUG, "--force")[1] == ["bug-1"] and path.read_text() == "true\n"
    assert "false" in (tmp_path / "task/_replaced/bug-1.1/tests/test.sh").read_text()


def test_a_stage_writes_its_own_parts_alone(tmp_path):
    store = Store(tmp_path, Task, kind=BUG).open()
    store.put("x", a_task("x", BUG), MADE)
    folder = tmp_path / "task/x"
    (folder / "notes.txt").write_text("mine")
    store = Store(tmp_path, Task, kind=BUG).open()
    task = replace(store.read("x"), instruction="Mend it.\n", tests={})
    store.put("x", task, ("instruction",))
    found = files_under(folder)
    assert found["instruction.md"] == b"Mend it.\n" and found["notes.txt"] == b"mine"
    assert found["tests/cases/1.txt"] == b"1" and edited_parts(store.read("x")) == []
    assert os.access(folder / "tests/test.sh", os.X_OK)
    change = store.begin("x", replace(task, instruction="New.\n"), ("instruction",))
    (folder / "instruction.md").write_text("Mine.\n")   # while the new version is flushed
    change.place()
    aside = files_under(tmp_path / "task/_replaced/x.1")
    texts = [one["instruction.md"] for one in (files_under(folder), aside)]
    assert texts == [b"New.\n", b"Mine.\n"]


def test_folders_in_folders_without_end_are_named(tmp_path, monkeypatch):
    (tmp_path / "task/x").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "task/x")
    for _ in range(1200):   # more than a path may have, and than Python recurses into
        os.mkdir("d")
        os.chdir("d")
    store = Store(tmp_path, Task).open()
    with pytest.raises(BrokenRecord, match="/x"):
        raise store.broken[0] if store.broken else store.read("x")
    subprocess.run(["rm", "-rf", tmp_path / "task"], check=True)   # pytest cannot
