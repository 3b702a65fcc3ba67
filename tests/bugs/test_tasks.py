"""Check what the steps of bug_inject.py make of tasks that others put into task/, and of edits
there: nothing of what a person wrote goes, and only what a step has made is its orphan."""
from __future__ import annotations

import shutil

import pytest
from a_task import BUG_PATCH, write_foreign
from a_task import write_task as write_by_hand
from conftest import REPO, edit, run_here, write_json
from proven import a_bug, write_bug, write_candidate
from scaled import a_candidate, write_judged

import bug_inject
from codedata.records import BUG, Task
from codedata.store import all_readable
from codedata.tasks.folder import edited_parts, task_problem

GOOD, GONE, DELETED = (f"heron.agent-{n}.0123abcd" for n in (1, 2, 4))
SCALES = "heron.negated.0123abcd"
HERE = "--sandbox", "local"   # these steps open no container
OTHERS = {SCALES, "theirs", "heron.agent-3.0123abcd", "heron.by-hand.0123abcd"}


@pytest.fixture
def run(tmp_path, capsys):
    """Return a function: run steps of a word; it returns what was printed."""
    def run(word: str, steps: str, *flags) -> str:
        assert run_here(bug_inject.main, tmp_path, word, *HERE, "--steps", steps, *flags) == 0
        return capsys.readouterr().err
    return run


def names(root) -> set[str]:
    return {path.name for path in (root / "task").glob("[!_]*")}


def test_a_task_is_an_orphan_of_the_step_that_made_it_alone(tmp_path, run):
    write_candidate(tmp_path, "heron.agent-1", BUG_PATCH, symbol="", summary="")
    write_bug(tmp_path, GOOD)
    write_bug(tmp_path, GONE, is_good=False)
    write_bug(tmp_path, DELETED)   # its candidate is gone
    write_bug(tmp_path, SCALES, is_good=False)
    write_foreign(tmp_path)
    for name in OTHERS - {SCALES, "theirs"}:
        write_by_hand(tmp_path, a_bug(name))
    assert "done 2" in (printed := run("agent", "instances")) and f"orphan: {GONE}" in printed
    assert f"orphan: {SCALES}" in run("scale", "report")
    run("agent", "prove", "--prune")
    assert names(tmp_path) == OTHERS | {GOOD}
    assert (tmp_path / f"task/_replaced/{GONE}.1/task.toml").exists()
    write_judged(tmp_path, "heron.9", [a_candidate("1")])   # another one
    assert "heron.agent" not in run("scale", "all", "--status")
    run("scale", "report", "--prune")
    assert names(tmp_path) == OTHERS - {SCALES} | {GOOD}


def test_a_name_that_somebody_else_has_taken_is_left_alone(tmp_path, run, capsys):
    write_bug(tmp_path, GOOD)
    shutil.rmtree(tmp_path / f"task/{GOOD}")
    write_foreign(tmp_path, GOOD)
    assert run_here(bug_inject.main, tmp_path, "agent", *HERE, "--steps", "instances") == 1
    assert f"no task of the kind {BUG!r}" in capsys.readouterr().err
    assert "theirs" in (tmp_path / f"task/{GOOD}/task.toml").read_text()


def test_the_instruction_follows_the_report_until_a_person_writes_it(tmp_path, run):
    write_bug(tmp_path, GOOD, instruction=None)
    report, task = tmp_path / f"bug/{GOOD}.json", tmp_path / f"task/{GOOD}"
    assert "no bug/ yet: bug_inject.py agent --steps issue" in run("agent", "instruct")
    write_json(report, {"instance_id": GOOD, "repo": "birds/heron", "problem_statement": "Deep."})
    assert "1 bug proven (agent 1), 1 with a text" in run("agent", "instruct")
    edit(report, problem_statement="Too deep.")
    assert "stale 1" in run("agent", "instruct")
    assert (task / "instruction.md").read_text() == "Too deep."
    assert "done 1" in run("agent", "instances")   # it leaves the instruction as it is
    (task / "instruction.md").write_text("Mine.")
    edit(report, problem_statement="Not theirs.")
    assert "edited 1" in run("agent", "instruct")
    assert (task / "instruction.md").read_text() == "Mine."


@pytest.mark.parametrize("path", ["../../gone", "/tmp/gone", "a/../../../gone"])
def test_no_path_in_a_verdict_leads_out_of_the_task(tmp_path, path):
    write_bug(tmp_path, GOOD)
    shutil.rmtree(tmp_path / f"task/{GOOD}")
    edit(tmp_path / "bug/_verdicts/heron.agent-1.json", lambda record: (
        record["verdicts"][0]["instance"]["tests"].update({path: "x"})))
    assert run_here(bug_inject.main, tmp_path, "agent", *HERE, "--steps", "instances") == 1
    assert not names(tmp_path) and not [*tmp_path.rglob("gone")]


def test_the_sample_bugs_are_tasks_as_they_were_proven_and_as_their_reports_say(tmp_path, run):
    for place, folder in (("task", "tasks"), ("bug", "bugs")):
        shutil.copytree(REPO / "samples" / folder, tmp_path / place)
    assert "6 bugs proven (agent 6), 6 with a text" in run("agent", "instruct", "--force")
    tasks = all_readable(tmp_path, Task, BUG)
    assert len(tasks) == 6 and not [*filter(edited_parts, tasks)]
    assert [*map(task_problem, tasks)] == [None] * 6
