"""Check what the demos of the README left: `pytest -m demo --root runs`, after `make demo`,
`make demo-env`, `make demo-bugs`, `make demo-pr` and `make demo-dp`. Their images are there."""
import json
import shutil
import subprocess

import pytest
from conftest import REPO, run_script
from root import read_json
from sample_suites import DEMOS, HEALTHY, PULLS

from codedata.datapoints.approval import is_as_proven
from codedata.datapoints.datapoint_folder import read_datapoint
from codedata.disk.store import all_readable
from codedata.records import BUG, PULL_REQUEST, Task
from codedata.tasks.folder.check import faults_of
from codedata.tasks.folder.eval_script import printed_results
from codedata.tasks.folder.task_folder import edited_parts
from codedata.verifier.junit import escaped_name

pytestmark = pytest.mark.demo


@pytest.fixture
def left(request):
    """Return a function that returns the folder that a demo left."""
    root = request.config.getoption("--root")
    return lambda name: (REPO / root / name).resolve(strict=True)


def records(folder) -> dict[str, dict]:
    return {path.stem: read_json(path) for path in sorted(folder.glob("[!_]*.json"))}


def in_image(image: str, script: str) -> str:
    done = subprocess.run(["docker", "run", "--rm", "-i", "--network=none", image, "bash"],
                          input=script, capture_output=True, text=True, timeout=300)
    return done.stdout


@pytest.mark.parametrize(("demo", "names"), DEMOS.items())
def test_each_repository_became_a_healthy_environment_with_the_first_recipe(left, demo, names):
    found = records(left(demo) / "env")
    assert {*found} == names
    for name, record in found.items():
        n_passed, n_cases, case = HEALTHY[name]
        verified = record["verified"]
        assert (record["status"], verified["healthy"]) == ("success", True), name
        assert len(verified["attempts"]) == 1 and not record["flaky"]
        statuses = {one["name"]: one["status"] for one in record["test_case_result"]}
        assert (len(statuses), [*statuses.values()].count("passed")) == (n_cases, n_passed)
        assert case in statuses
        log = in_image(record["image_name"], "git log --all --format=%H; git status --short -uno")
        assert log == f"{record['base_commit']}\n", name


def test_what_tests_run_and_how_the_source_is_built_is_known(left):
    root = left("demo-env")
    for name in DEMOS["demo-env"]:
        analysed, measured = (read_json(root / f"{folder}/{name}.json")
                              for folder in ("analysis", "coverage"))
        assert len(measured["tests"]) == HEALTHY[name][1] and analysed["entities"]
        assert name == "querywren" or all(
            test["lines"] for test in measured["tests"] if "skipped" not in test["status"]), name


def swebench_rows(root) -> dict[str, dict]:
    """Export the bugs of a root, and return their rows by id."""
    done = run_script("export.py", root, "--formats", "swebench")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for path in root.glob("export/swebench/*.jsonl")
            for line in path.read_text().splitlines()]
    return {row["instance_id"]: row for row in rows}


def test_each_bug_fails_its_tests_in_its_image_and_the_patch_heals_it(left, tmp_path):
    """Grade as others do: an evaluation script and a patch, given to the image from outside."""
    root = shutil.copytree(left("demo-bugs"), tmp_path / "root")
    bugs = {bug.instance_id: bug for bug in all_readable(root, Task, BUG)}
    rows = swebench_rows(root)
    assert len(bugs) >= 3 and rows and rows.keys() <= bugs.keys()   # some have no report
    for id, bug in rows.items():
        task = bugs[id]
        assert bug["problem_statement"] and task.about["method"] == "procedural", id
        assert not edited_parts(task), id
        log = in_image(bug["image"], "git log --all --format=%H; git status --short -uno")
        assert log == f"{bug['base_commit']}\n", id
        heal = f"git apply - <<'END_OF_PATCH'\n{bug['patch']}END_OF_PATCH\n"
        broken, healed = ({escaped_name(name): status for name, status in
                           printed_results(in_image(bug["image"], text)).items()}
                          for text in (bug["eval_script"], heal + bug["eval_script"]))
        assert {broken[name] for name in bug["FAIL_TO_PASS"]} <= {"failed", "error"}, id
        assert {broken[name] for name in bug["PASS_TO_PASS"]} == {"passed"}, id
        for name in bug["FAIL_TO_PASS"] + bug["PASS_TO_PASS"]:
            assert healed[name] == "passed", (id, name)


def test_each_pull_request_became_a_task_in_an_image_without_a_history(left):
    root = left("demo-pr")
    tasks = {task.instance_id: task for task in all_readable(root, Task, PULL_REQUEST)}
    assert tasks.keys() == PULLS.keys()
    for id, task in tasks.items():
        graded = read_json(root / f"task/{id}/tests/config.json")
        assert (len(graded["FAIL_TO_PASS"]), len(graded["PASS_TO_PASS"])) == PULLS[id]
        title, _, body = read_json(root / f"commit/{id}.json")["description"].partition("\n")
        said = f"{title.rpartition(' (#')[0]}\n{body}\n"   # without its number
        assert task.instruction.startswith(said)
        entry = task.instruction.removeprefix(said).strip().split("\n\n")[0]   # or more behind it
        assert entry and entry in (root / "berthbook/CHANGELOG.md").read_text(), id
        assert faults_of(root / f"task/{id}") == []
        log = in_image(task.config["environment"]["docker_image"],
                       "git log --all --format=%s; git status --short")
        assert log == "As it was handed over\n", id


def test_seeds_became_approved_tasks_that_pass_every_check_and_are_audited(left):
    root = left("demo-dp")
    approved = sorted(root.glob("task/*_001_a"))
    for folder in approved:
        proof = read_json(folder / "proof.json")
        assert {one["status"] for one in proof["checks"]} == {"passed"}
        assert is_as_proven(read_datapoint(folder))
        checks = read_json(root / f"audit/{folder.name}.json")["checks"]
        tried, = [one["figures"] for one in checks if one["name"] == "rivals"]
        assert (tried["right"], tried["wrong"], tried["cheat"]) >= (3, 9, 3)
        assert not tried["right refused"] + tried["wrong accepted"] + tried["cheat accepted"]
    assert len(approved) == len((REPO / "samples/dp_trajectories/demo.txt").read_text().split())


@pytest.mark.parametrize("name", ["demo", "demo-env", "demo-bugs", "demo-pr", "demo-dp"])
def test_nothing_failed(left, name):
    seen = json.loads(run_script("status.py", left(name), "--json").stdout)["stages"]
    assert seen and not [one for one in seen if one["counts"].get("failed")]
