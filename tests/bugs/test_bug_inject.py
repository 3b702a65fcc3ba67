"""Check bug_inject.py as a user runs it, on a small repository in containers, with a model that
plays a script: rows to bugs, again, edited, exported."""
from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys

import pytest
from conftest import (
    REPO,
    edit,
    eventually,
    finish,
    flags_for,
    run_script,
    start_script,
)
from engine_line import EngineLine
from heron_environment import PROJECT, an_environment, write_env
from judged import read_json
from proven import bug_images
from scenario import Scenario
from setups import CA_BUNDLE, CA_FLAGS

from codedata.records import Task
from codedata.store import Store
from codedata.tasks.folder import GOLD, REVERSE, image_of, text_in

DEEP, AT_THREE = "2 * depth + (depth > 14)", "2 * depth - (depth == 3)"
ROW = ("repo", "repo_name", "image_name", "base_commit", "test_case_result")
# of an agent, and of a report
N_CALLS = 3 + 2


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
    {"when": "before, each into a clean copy", "native": an_agent(AT_THREE)},
    {"when": "hand it in with submit", "native": an_agent(DEEP)},
    {"when": AT_THREE, "text": a_reproduction("heron.wade(3)")},
    {"when": DEEP, "text": a_reproduction("heron.wade(20)")},
    {"when": "heron.wade(3)", "text": a_report("5")},
    {"when": "heron.wade(20)", "text": a_report("41")}]


@pytest.fixture(scope="module")
def bittern(tmp_path_factory):
    """Return a root with an environment. The images of all bugs go in the end."""
    root = tmp_path_factory.mktemp("set_up")
    PROJECT.make()
    write_env(root, an_environment("bittern", base_commit="", install_script="true\n"))
    yield root
    images = bug_images(tmp_path_factory.getbasetemp())
    subprocess.run(["docker", "image", "rm", "-f", *images], capture_output=True)


@pytest.fixture(scope="module")
def model():
    with Scenario({"scenes": SCENES}) as model:
        yield model


@pytest.fixture(scope="module")
def finished(bittern, model):
    """Run all steps, and return the root with two bugs."""
    done = bug_inject(bittern, model, "--only", "bittern.*", "--limit", 2)
    assert done.returncode == 0, done.stderr
    return bittern


@pytest.fixture
def root(finished, tmp_path):
    """Return a copy of the root with two bugs; as with rsync -a, times are kept."""
    return shutil.copytree(finished, tmp_path / "root")


def bug_inject(root, model, *flags, script=run_script, **options):
    more = {"timeout_s": 300} if script is run_script else {}
    return script("bug_inject.py", root, "agent", *CA_FLAGS, *flags_for(model, *flags), **more,
                  **options)


def bugs(root) -> dict[str, Task]:
    """Return {item: bug} of a root, all of whose tasks can be read."""
    store = Store(root, Task).open()
    assert not store.broken
    return {name.rpartition(".")[0]: store.read(name) for name in store.names()}


def no_call(model):
    """Return a function that says whether no call was made since."""
    before = model.n_requests
    return lambda: model.n_requests == before


@pytest.mark.docker
def test_a_repository_comes_to_bugs_with_reports_in_images_of_one_commit(finished, model):
    found = bugs(finished)
    assert [*found] == ["bittern.agent-1", "bittern.agent-2"]
    assert [bug.about["symbol"] for bug in found.values()] == ["heron.py::wade"] * 2
    for name, bug in found.items():
        assert bug.about["grade"] == "subtle" and "Off by one" in bug.instruction
        log = subprocess.check_output(["docker", "run", "--rm", image_of(bug), "git", "log",
                                       "--all", "--format=%H"], text=True)
        assert log.split() == [bug.about["task_commit"]] and bug.about["made_from"]["item"] == name
        made = read_json(finished / f"bug/_candidates/{name}.json")
        assert (finished / made["trajectory"]).is_file()
    is_idle = no_call(model)
    done = bug_inject(finished, model, "--only", "bittern.*", "--limit", 2)
    assert done.stderr.count("nothing to do") == 6 and is_idle()


@pytest.mark.docker
def test_the_three_lines_run_word_for_word(bittern, model, tmp_path):
    record = read_json(bittern / "env/bittern.json")
    given = {key: record[key] for key in ROW} | {"note": "mine"}
    (tmp_path / "input.jsonl").write_text(json.dumps(given) + "\n")
    (tmp_path / "chain.toml").write_text(
        f'[llm]\nbase_url = "{model.base_url}"\nca_bundle = "{CA_BUNDLE}"\nretry_wait_s = 0.01\n'
        '[bug]\nper_repo = 1\n')

    def run(line: str) -> str:
        words = [sys.executable, str(REPO / "bug_inject.py"), *shlex.split(line)[2:]]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stderr

    run("python bug_inject.py agent --steps preprocess --input input.jsonl --output enriched.jsonl")
    assert json.loads((tmp_path / "enriched.jsonl").read_text()) == given | {
        "analysis": "analysis/bittern.json", "tests": "coverage/bittern.json"}
    run("python bug_inject.py agent --steps bug_issue --input enriched.jsonl "
        "--output-root ./output")
    [bug] = bugs(tmp_path / "output").values()
    assert bug.instruction and not (tmp_path / "output/analysis/bittern.json").exists()
    is_idle = no_call(model)
    printed = run("python bug_inject.py agent --steps all --input input.jsonl --output "
                  "enriched.jsonl --output-root ./output")
    assert printed.count("nothing to do") == 4 and is_idle()
    assert json.loads((tmp_path / "enriched.jsonl").read_text())["analysis"] == (
        "output/analysis/bittern.json")


@pytest.mark.docker
def test_what_a_person_edits_is_proven_again_kept_or_left_out_by_name(root, model):
    (first, one), (_, two) = bugs(root).items()
    old, kept = one.instance_id, two.instance_id
    other = text_in(one.solution, REVERSE).replace("depth > 14", "depth > 15")
    edit(root / f"bug/_candidates/{first}.json",
         lambda record: record["candidates"][0].update(diff=other))
    edit(root / f"bug/{kept}.json", problem_statement="I say so.")
    is_idle = no_call(model)
    printed = bug_inject(root, model, "--steps", "prove,issue", "--issue-writer", "template").stderr
    assert "wrote 1" in printed and "orphan 1" in printed and is_idle()
    names = {path.name for path in (root / "task").glob("[!_]*")}
    [new] = names - {old, kept}
    assert len(names) == 3 and new.startswith(f"{first}.")
    (root / f"task/{new}/solution/{GOLD}").write_text(text_in(two.solution, GOLD))
    run_script("export.py", root, "--formats", "swebench,swesmith")
    left_out = map(json.loads, (root / "export/left_out.jsonl").read_text().splitlines())
    assert {line["name"]: line["reason"] for line in left_out} == {new: "not as proven"}
    rows = map(json.loads, (root / "export/swebench/train.jsonl").read_text().splitlines())
    told = {row["instance_id"]: row["problem_statement"] for row in rows}
    assert told.keys() == {old, kept} and told[kept] == "I say so."   # --prune takes the orphan
    bug_inject(root, model, "--prune")
    assert not (root / f"task/{old}").exists() and not (root / f"bug/{old}.json").exists()


@pytest.fixture
def analysed(finished, tmp_path):
    """Return a root in which the repository is analysed, and nothing more is done."""
    for name in ("env", "coverage", "analysis"):
        shutil.copytree(finished / name, tmp_path / name)
    return tmp_path


@pytest.mark.docker
def test_an_engine_that_goes_away_is_named_and_the_next_run_goes_on(analysed, model):
    before, flags = model.n_requests, ("--per-repo", 1, "--steps", "inject")
    with EngineLine() as line:
        process = bug_inject(analysed, model, *flags, script=start_script,
                             env={"DOCKER_HOST": line.address})
        eventually(lambda: model.n_requests > before, timeout_s=90)
        line.cut()
        done = finish(process, timeout_s=120)
    assert done.returncode == 1 and "engine cannot be reached" in done.stderr
    assert bug_inject(analysed, model, *flags).returncode == 0
    assert (analysed / "bug/_candidates/bittern.agent-1.json").exists()
    assert model.n_requests - before <= N_CALLS + 1
