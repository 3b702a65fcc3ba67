"""Check tools/convert-root on records as the release before task/ wrote them."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO, edit, ledger_lines, run_script, spent_usd, write_json
from judged import read_json

from codedata.datapoints.folder import content_digest, read_datapoint
from codedata.records import Task
from codedata.states import read_digest
from codedata.store import Store, digest, lock
from codedata.tasks.folder import edited_parts, task_problem, verifier_config

BUG, STRIP = "heron.agent-1.0123abcd", "heron.function.0123abcd"
OLD = {path.stem: read_json(path) for path in (REPO / "tests/records_before").glob("*.json")}
READ_BY_ISSUE = ("base_commit", "patch", "test_patch", "FAIL_TO_PASS", "image_name")
CONTENT = OLD["checks"]["content"]   # of the datapoint, as that release had it
CALL = {"id": "1", "model": "m", "tokens_in": 5, "tokens_out": 5, "cost_usd": 0.5}


def convert(root: Path, code: int = 0) -> str:
    """Run the tool, and return what it prints."""
    done = subprocess.run([sys.executable, REPO / "tools/convert-root", root],
                          capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stderr


def task_in(root: Path, name: str) -> Task:
    return Store(root, Task).open().read(name)


def write_bug(root: Path) -> Path:
    """Write an old bug, with the line of its report, which has cost something."""
    path = root / f"bug/{BUG}.json"
    write_json(path, OLD["bug"])
    digests = {name: digest(value) for name, value in OLD["bug"].items()}
    line = {"stage": "bug_inject.issue", "item": BUG, "state": "done", "calls": [CALL],
            "at": "2024-05-01T00:00:00.000000Z", "read": read_digest(digests, READ_BY_ISSUE),
            "wrote": {name: digests[name] for name in ("problem_statement", "reproduction")}}
    (root / "bug/_ledger.jsonl").write_text(json.dumps(line) + "\n")
    return path


def write_strip(root: Path) -> None:
    write_json(root / f"nl2repo/_patches/{STRIP}.json", OLD["strip"])


def write_datapoint(root: Path, name: str, **meta) -> None:
    folder, texts = root / "dp" / name, {**OLD["datapoint"]}
    write_json(folder / "metadata.json", {**texts.pop("metadata.json"), **meta})
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def everything(root: Path) -> dict[str, bytes]:
    """Return all files but logs of runs and locks."""
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*"))
            if path.is_file() and path.name[0] != "_"}


def status(script: str, root: Path, *words: str) -> str:
    return run_script(script, root, *words, "--status").stderr


def test_an_old_bug_is_a_task_and_its_report_is_not_paid_for_again(tmp_path):
    path = write_bug(tmp_path)
    assert "1 × bug" in convert(tmp_path)
    task = task_in(tmp_path, BUG)
    assert task_problem(task) is None and task.proof["converted"] and not edited_parts(task)
    assert task.instruction == OLD["bug"]["problem_statement"]
    assert task.tests["hidden/tests/test_wade.py"].read_text().startswith("def test_wade")
    config = verifier_config(task)
    assert (config["user"], config["canary"], config["reads"]) == ("root", "", "junit")
    assert read_json(path) == {name: OLD["bug"][name] for name in (
        "instance_id", "repo", "problem_statement", "reproduction", "note")}
    said = status("bug_inject.py", tmp_path, "agent", "--steps", "issue", "--issue-writer",
                  "template")
    assert "issue  task/ 1 → bug/   done 1" in said and spent_usd(tmp_path) == 0.5
    before = everything(tmp_path)
    assert "nothing converted" in convert(tmp_path) and everything(tmp_path) == before
    assert [*(tmp_path / "bug/_replaced").iterdir()]


def test_what_was_edited_or_stale_before_is_so_afterwards(tmp_path):
    path = write_bug(tmp_path)
    edit(path, patch=OLD["bug"]["patch"].replace("+2", "+3"), problem_statement="Mine.\n")
    convert(tmp_path)
    task = task_in(tmp_path, BUG)
    assert task_problem(task)[0] == "not as proven" and task.instruction == "Mine.\n"
    said = status("bug_inject.py", tmp_path, "agent", "--steps", "issue", "--issue-writer",
                  "template")
    assert "edited 1" in said and "stale" in said


def test_an_old_stripped_patch_is_a_task_graded_as_it_was_proven(tmp_path):
    write_strip(tmp_path)
    assert "1 × stripped patch" in convert(tmp_path)
    task = task_in(tmp_path, STRIP)
    config = verifier_config(task)
    assert not edited_parts(task) and task.proof["runs"] == OLD["strip"]["proof"]["runs"]
    assert (config["user"], config["canary"], config["counts"]) == ("nobody", "tests", ["heron.py"])
    assert "proof" not in read_json(tmp_path / f"nl2repo/_patches/{STRIP}.json")
    convert(tmp_path)


def test_datapoints_keep_their_approval_their_attempts_and_their_place_in_the_queue(tmp_path):
    write_datapoint(tmp_path, "sums"), write_datapoint(tmp_path, "open", status="in_review")
    (tmp_path / "dp/_queue.jsonl").write_text(json.dumps(OLD["queue"]) + "\n")
    write_json(tmp_path / f"dp/_checks/{CONTENT}.json", OLD["checks"])
    attempt = f"sums.{CONTENT[:8]}.m-0.1"
    write_json(tmp_path / f"dp/_attempts/{attempt}.json", OLD["attempt"])
    line = {"stage": "build_dp.calibrate", "item": attempt, "state": "failed", "calls": [CALL]}
    (tmp_path / "dp/_attempts/_ledger.jsonl").write_text(json.dumps(line) + "\n")
    assert "1 × approved datapoint" in convert(tmp_path)
    proven, waiting = task_in(tmp_path, "sums"), read_datapoint(tmp_path / "dp/open")
    new = content_digest(proven)
    assert not edited_parts(proven) and proven.proof["content"] == new == content_digest(waiting)
    assert waiting.about["status"] == "in_review" and waiting.about["repo"] == "sums"
    (made,) = (tmp_path / "dp/_attempts").glob("*.json")
    assert made.stem == f"sums.{new[:8]}.m-0.1" and read_json(made)["content"] == new
    assert ledger_lines(made.parent)[0]["item"] == made.stem and spent_usd(tmp_path) == 0.5
    queue = json.loads((tmp_path / "dp/_queue.jsonl").read_text())
    assert queue["task"]["key"].endswith(new) and queue["data"]["content"] == new
    found = json.loads(run_script("build_dp.py", tmp_path, "--status").stdout)
    assert found["rates"]["sums"]["m"]["passes"] == 1
    assert sum(found["tasks"]["review_datapoint"].values()) == 1   # no further review is queued
    before = everything(tmp_path)
    convert(tmp_path)
    assert everything(tmp_path) == before


def test_a_task_by_hand_is_a_folder_and_what_cannot_be_one_is_named(tmp_path):
    record = OLD["by_hand"]
    write_json(tmp_path / "task/tally.json", record)
    odd = tmp_path / "task/odd.json"
    write_json(odd, {**record, "instance_id": "odd", "tests": {"test.sh": "exit 0"}})
    assert f"{odd} is left as it is" in convert(tmp_path, code=1)
    assert task_problem(task_in(tmp_path, "tally")) is None and odd.exists()
    assert not (tmp_path / "task/tally.json").exists()


@pytest.mark.parametrize("directory", ["bug", "task"])
def test_a_root_in_use_is_refused(tmp_path, directory):
    path = write_bug(tmp_path)
    (tmp_path / "task").mkdir()
    with lock(tmp_path / directory, None, "bug_inject.py"):
        assert "is in use by bug_inject.py" in convert(tmp_path, code=2)
    assert read_json(path)["eval_script"]
