"""Check bug_inject.py as a user runs it, on a small repository in containers, with a model that
plays a script: rows to bugs, again, edited, exported."""
import json
import subprocess

import pytest
from conftest import flags_for, run_script
from heron_environment import an_environment
from projects import Project, docker
from proven import bug_images
from root import Root, read_json
from scenario import Scenario
from setups import CA_FLAGS

from codedata.disk.store import Store
from codedata.records import Task
from codedata.tasks.folder.task_folder import image_of

PROJECT = Project("heron")
DEEP, THIRDS = "2 * depth + (depth > 14)", "2 * depth - (depth % 3 == 0)"
ROW = ("repo", "repo_name", "image_name", "base_commit", "test_case_result")
def an_agent(new: str) -> list[dict]:
    edited = {"path": "heron.py", "old": "2 * depth", "new": new}
    return [{"calls": [["get_hotspots", {}], ["inspect_symbol", {"name": "wade"}]]},
            {"calls": [["edit_file", edited]],
             "after": "20 tests ran it:"},
            {"calls": [["submit", {"answer": "One step is too many."}]]}]


def a_reproduction(call: str) -> list[str]:
    return [f"```python\nimport heron\nprint({call})\n```"]


def a_report(printed: str) -> list[str]:
    return [f"<report>\nOff by one\n\nI ran it and got `{printed}`, one more or less than the "
            "README says.\n</report>"]


SCENES = [   # the first whose `when` stands in the task
    {"when": "none yet", "native": an_agent(DEEP)},
    {"when": "hand it in with submit", "native": an_agent(THIRDS)},
    {"when": THIRDS, "text": a_reproduction("heron.wade(3)")},
    {"when": DEEP, "text": a_reproduction("heron.wade(20)")},
    {"when": "heron.wade(3)", "text": a_report("5")},
    {"when": "heron.wade(20)", "text": a_report("41")}]


@pytest.fixture
def root(tmp_path):
    """Return a root with a row of somebody else; the images of all bugs go in the end."""
    PROJECT.make()
    record = an_environment("bittern", base_commit="", install_script="true\n",
                            image_name=PROJECT.image)
    row = {key: record[key] for key in ROW} | {"note": "mine"}
    (tmp_path / "input.jsonl").write_text(json.dumps(row) + "\n")
    yield Root(tmp_path)
    images = bug_images(tmp_path.parent)
    subprocess.run(["docker", "image", "rm", "-f", *images], capture_output=True)


def bug_inject(root, model, *flags):
    """Run the step of agents on what stands in input.jsonl."""
    return run_script("bug_inject.py", root, "agent", *CA_FLAGS, "--input", root / "input.jsonl",
                      *flags_for(model, *flags), timeout_s=300)


def bugs(root) -> dict[str, Task]:
    """Return {item: bug} of a root, all of whose tasks can be read."""
    store = Store(root, Task).open()
    assert not store.broken
    return {name.rpartition(".")[0]: store.read(name) for name in store.names()}


@pytest.mark.docker
def test_a_repository_comes_to_bugs_with_reports_in_images_of_one_commit(root):
    rows = root / "enriched.jsonl"
    with Scenario({"scenes": SCENES}) as model:
        for flags in (["--steps", "preprocess", "--output", rows],
                      ["--steps", "bug_issue", "--input", rows, "--limit", 2]):
            done = bug_inject(root, model, *flags)
            assert done.returncode == 0, done.stderr
        before = model.n_requests
        done = bug_inject(root, model, "--limit", 2)
        assert done.stderr.count("nothing to do") == 7 and model.n_requests == before
    assert read_json(rows) == read_json(root / "input.jsonl") | {
        "analysis": "analysis/bittern.json", "tests": "coverage/bittern.json"}
    found = bugs(root)
    assert [*found] == ["bittern.agent-1", "bittern.agent-2"]
    assert [(bug.about["symbol"], bug.proof["hunks"])
            for bug in found.values()] == [("heron.py::wade", 1)] * 2
    for name, bug in found.items():
        assert "Off by one" in bug.instruction
        log = docker("run", "--rm", image_of(bug), "git", "log", "--all", "--format=%H")
        assert log.split() == [bug.about["task_commit"]]
        assert bug.about["made_from"]["item"] == bug.instance_id
        made = read_json(root / f"bug/_candidates/{name}.json")
        assert (root / made["trajectory"]).is_file()
