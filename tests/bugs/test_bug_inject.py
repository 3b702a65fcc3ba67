"""Check bug_inject.py as a user runs it, on a sample repository in containers, with a model that
plays a script: rows to bugs, again, edited, killed, exported."""
from __future__ import annotations

import json
import random
import shlex
import shutil
import subprocess
import sys
import time

import pytest
from conftest import (
    REPO,
    edit,
    eventually,
    finish,
    flags_for,
    kill,
    run_script,
    start_script,
)
from engine_line import EngineLine
from judged import read_json
from scenario import Scenario
from setups import CA_BUNDLE, set_up, wait_till_reaped

CONTAINS = ("spanset/spans.py", "[0] <= number <", "[0] < number <")
GAPS = ("spanset/spans.py", "(a[1], b[0]) for", "(a[1], b[0] - 1) for")
ROW = ("repo", "repo_name", "image_name", "base_commit", "test_case_result")
# of an agent, and of a report
N_CALLS = 3 + 2


def an_agent(path: str, old: str, new: str) -> list[dict]:
    return [{"calls": [["get_hotspots", {}], ["inspect_symbol", {"name": "SpanSet.gaps"}]]},
            {"calls": [["edit_file", {"path": path, "old": old, "new": new}]],
             "after": "1 tests ran it:"},
            {"calls": [["submit", {"answer": "An end is taken for a member."}]]}]


def a_reproduction(call: str) -> list[str]:
    return [f"```python\nfrom spanset import SpanSet\nprint({call})\n```"]


def a_report(printed: str) -> list[str]:
    return [f"<report>\nOff by one\n\nI ran it and got `{printed}`, one more or less than the "
            "README says.\n</report>"]


IN, BETWEEN = "5 in SpanSet([(5, 9)])", "SpanSet([(1, 4), (7, 9)]).gaps()"
SCENES = [   # the first whose `when` stands in the task
    {"when": "before, each into a clean copy", "native": an_agent(*GAPS)},
    {"when": "hand it in with submit", "native": an_agent(*CONTAINS)},
    {"when": "b[0] - 1", "text": a_reproduction(BETWEEN)},
    {"when": "[0] < number <", "text": a_reproduction(IN)},
    {"when": BETWEEN, "text": a_report("[(4, 6)]")}, {"when": IN, "text": a_report("False")}]


@pytest.fixture(scope="module")
def spanset(tmp_path_factory):
    """Set up the sample repository, and return the root. The images of all bugs go in the end."""
    root = tmp_path_factory.mktemp("set_up")
    row = {"repo": "samples/spanset", "repo_name": "spanset",
           "reformat_path": str(REPO / "samples/repos/spanset")}
    (root / "repos.jsonl").write_text(json.dumps(row) + "\n")
    done = set_up(root)
    assert done.returncode == 0, done.stderr
    yield root
    records = tmp_path_factory.getbasetemp().glob("*/**/bug/[!_]*.json")
    images = {read_json(path)["image"] for path in records}
    subprocess.run(["docker", "image", "rm", "-f", *images], capture_output=True)


@pytest.fixture(scope="module")
def model():
    with Scenario({"scenes": SCENES}) as model:
        yield model


@pytest.fixture(scope="module")
def finished(spanset, model):
    """Run all steps, and return the root with two bugs."""
    done = bug_inject(spanset, model, "--only", "spanset.*", "--limit", 2)
    assert done.returncode == 0, done.stderr
    return spanset


@pytest.fixture
def root(finished, tmp_path):
    """Return a copy of the root with two bugs; as with rsync -a, times are kept."""
    return shutil.copytree(finished, tmp_path / "root")


def bug_inject(root, model, *flags, script=run_script, **options):
    ca = ["--ca-bundle", CA_BUNDLE] if CA_BUNDLE else []
    more = {"timeout_s": 300} if script is run_script else {}
    return script("bug_inject.py", root, "agent", *ca, *flags_for(model, *flags), **more, **options)


def bugs(root) -> dict[str, dict]:
    """Return {item: bug} of a root."""
    return {path.stem.rpartition(".")[0]: read_json(path)
            for path in sorted((root / "bug").glob("[!_]*.json"))}


def no_call(model):
    """Return a function that says whether no call was made since."""
    before = model.n_requests
    return lambda: model.n_requests == before


@pytest.mark.docker
def test_a_repository_comes_to_bugs_with_reports_in_images_of_one_commit(finished, model):
    found = bugs(finished)
    assert [*found] == ["spanset.agent-1", "spanset.agent-2"]
    assert [bug["symbol"].rpartition(".")[2] for bug in found.values()] == ["__contains__", "gaps"]
    for bug in found.values():
        assert bug["grade"] == "subtle" and "Off by one" in bug["problem_statement"]
        log = subprocess.check_output(["docker", "run", "--rm", bug["image"], "git", "log", "--all",
                                       "--format=%H"], text=True)
        assert log.split() == [bug["base_commit"]]
        assert (finished / bug["trajectory"]).is_file()
    is_idle = no_call(model)
    done = bug_inject(finished, model, "--only", "spanset.*", "--limit", 2)
    assert done.stderr.count("nothing to do") == 6 and is_idle()


@pytest.mark.docker
def test_the_three_lines_run_word_for_word(spanset, model, tmp_path):
    record = read_json(spanset / "env/spanset.json")
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
        "analysis": "analysis/spanset.json", "tests": "coverage/spanset.json"}
    run("python bug_inject.py agent --steps bug_issue --input enriched.jsonl "
        "--output-root ./output")
    [bug] = bugs(tmp_path / "output").values()
    assert bug["problem_statement"] and not (tmp_path / "output/analysis/spanset.json").exists()
    is_idle = no_call(model)
    printed = run("python bug_inject.py agent --steps all --input input.jsonl --output "
                  "enriched.jsonl --output-root ./output")
    assert printed.count("nothing to do") == 4 and is_idle()
    assert json.loads((tmp_path / "enriched.jsonl").read_text())["analysis"] == (
        "output/analysis/spanset.json")


@pytest.mark.docker
def test_what_a_person_edits_is_proven_again_kept_or_left_out_by_name(root, model):
    (first, one), (_, two) = bugs(root).items()
    other = one["bug_patch"].replace("[0] < number < ", "[0] < number <= ")
    edit(root / f"bug/_candidates/{first}.json",
         lambda record: record["candidates"][0].update(diff=other))
    edit(root / f"bug/{two['instance_id']}.json", problem_statement="I say so.")
    is_idle = no_call(model)
    printed = bug_inject(root, model, "--steps", "prove,issue", "--issue-writer", "template").stderr
    assert "stale 1" in printed and "orphan 1" in printed and is_idle()
    names = {path.stem for path in (root / "bug").glob("[!_]*.json")}
    [new] = names - {one["instance_id"], two["instance_id"]}
    assert len(names) == 3 and new.startswith(f"{first}.")
    edit(root / f"bug/{new}.json", patch=two["patch"])
    run_script("export.py", root, "--formats", "swebench,swesmith")
    left_out = map(json.loads, (root / "export/left_out.jsonl").read_text().splitlines())
    assert {line["name"]: line["reason"] for line in left_out} == {
        one["instance_id"]: "orphan", new: "not as proven"}
    row = json.loads((root / "export/swebench/train.jsonl").read_text())
    assert (row["instance_id"], row["problem_statement"]) == (two["instance_id"], "I say so.")
    bug_inject(root, model, "--prune")
    assert not (root / f"bug/{one['instance_id']}.json").exists()


@pytest.fixture
def analysed(finished, tmp_path):
    """Return a root in which the repository is analysed, and nothing more is done."""
    for name in ("env", "coverage", "analysis"):
        shutil.copytree(finished / name, tmp_path / name)
    return tmp_path


@pytest.mark.docker
def test_three_kills_leave_whole_records_and_cost_no_more_than_what_was_in_flight(analysed, model):
    before, draw, pids = model.n_requests, random.Random(17), []
    flags = ("--per-repo", 1)
    for _ in range(3):
        process = bug_inject(analysed, model, *flags, script=start_script)
        pids.append(process.pid)
        time.sleep(draw.uniform(2, 9))
        kill(process)
        for path in analysed.glob("bug/**/[!_]*.json"):
            read_json(path)
    assert bug_inject(analysed, model, *flags).returncode == 0
    assert len(bugs(analysed)) == 1 and model.n_requests - before <= N_CALLS + len(pids)
    wait_till_reaped(analysed, pids)


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
    assert (analysed / "bug/_candidates/spanset.agent-1.json").exists()
    assert model.n_requests - before <= N_CALLS + 1


def test_pods_are_named_after_the_script(tmp_path):
    done = run_script("bug_inject.py", tmp_path, "agent", "--show-config")
    assert "sandbox.pod_prefix = code-data-bug-agent" in done.stdout
