"""Check what the steps of bug_inject.py make of tasks that others put into task/, and of edits
there: nothing of what a person wrote goes, and only what a step has made is its orphan."""

import pytest
from a_task import BUG_PATCH, a_bug, write_foreign
from a_task import write_task as write_by_hand
from conftest import edit, run_here
from heron_environment import an_environment
from line_tables import rows
from proven import write_bug
from root import write_json
from scaled import a_candidate, write_judged

import bug_inject
from codedata.code.patches import normalised
from codedata.disk.store import Store, digest
from codedata.issues.issue_facts import CASES
from codedata.records import Task
from codedata.tasks.folder.task_folder import PROOF, PROVEN_FIELDS

GOOD = f"heron.agent-1.{normalised(BUG_PATCH)[:8]}"
GONE, DELETED = "heron.agent-1.0123abcd", "heron.agent-4.0123abcd"
SCALES = "heron.negated.0123abcd"
HERE = "--sandbox", "local"   # these steps open no container
OTHERS = {SCALES, "theirs", "heron.agent-3.0123abcd", "heron.by-hand.0123abcd"}


@pytest.fixture
def run(tmp_path, capsys):
    """Return a function: run steps of a word; it returns what was printed."""
    def run(word: str, steps: str, *flags, code: int = 0) -> str:
        assert run_here(bug_inject.main, tmp_path, word, *HERE, "--steps", steps, *flags) == code
        return capsys.readouterr().err
    return run


def names(root) -> set[str]:
    return {path.name for path in (root / "task").glob("[!_]*")}


def add_candidate(root, k: int = 1, diff: str = BUG_PATCH) -> None:
    """Write a candidate of an agent, with its environment."""
    root.with_env(an_environment())
    root.with_candidates(f"heron.agent-{k}", {"diff": diff})


def test_a_task_is_an_orphan_of_the_step_that_made_it_alone(tmp_path, run):
    add_candidate(tmp_path)
    for name in (GOOD, GONE, DELETED, SCALES):   # of DELETED the candidate is gone, too
        write_bug(tmp_path, name)
    write_foreign(tmp_path)
    for name in OTHERS - {SCALES, "theirs"}:
        write_by_hand(tmp_path, a_bug(name))
    assert "orphan: " not in run("agent", "prove", "--status")   # an earlier root has no candidate/
    run("agent", "candidates")
    assert "orphan 2" in run("agent", "prove", "--status")
    assert f"orphan: {SCALES}" in run("scale", "report")
    run("agent", "prove", "--prune")
    assert names(tmp_path) == OTHERS | {GOOD}
    assert (tmp_path / f"task/_replaced/{GONE}.1/task.toml").exists()
    write_judged(tmp_path, "heron.9", [a_candidate("1")])   # another one
    assert "heron.agent" not in run("scale", "all", "--status")
    run("scale", "candidates")
    run("scale", "report", "--prune")
    assert names(tmp_path) == OTHERS - {SCALES} | {GOOD}


def test_a_proof_of_an_earlier_version_counts_as_made_with_other_settings(tmp_path, run):
    add_candidate(tmp_path)
    write_by_hand(tmp_path, a_bug(GOOD))
    before = {"proof": PROOF - 1, "hide_tests": True, "max_broken_share": 0.5,
              "cases": CASES}
    line = {"stage": "bug_inject.prove", "state": "done", "settings": digest(before)}
    run("agent", "prove")   # adopts it
    store = Store(tmp_path, Task).open()
    read, known = store.ledger.succeeded["bug_inject.prove", GOOD].read, store.facts(GOOD)
    store.note(GOOD, **line, read=read, **known.line(PROVEN_FIELDS))
    assert "made with other settings 1" in run("agent", "prove", "--status")
    store.note(GOOD, **line | {"settings": digest(before | {"proof": PROOF})}, read=read,
               **known.line(PROVEN_FIELDS))
    assert "other settings" not in run("agent", "prove", "--status")


@pytest.mark.parametrize("only, n", rows(f"""
heron              | 2
heron.agent-1      | 1
{GOOD}             | 1
heron.agent-[1-4]* | 2
"""))
def test_only_takes_a_repository_a_file_or_a_candidate(tmp_path, run, only, n):
    add_candidate(tmp_path)
    add_candidate(tmp_path, 2, BUG_PATCH.replace("wade", "fly"))
    assert f"missing {n} " in run("agent", "candidates", "--only", only, "--status")
    run("agent", "candidates")
    lines = run("agent", "prove", "--only", only, "--status").splitlines()
    assert any(f"prove  candidate/ {n} → task/   missing {n} " in line for line in lines), lines


def test_the_instruction_follows_the_report_until_a_person_writes_it(tmp_path, run):
    write_bug(tmp_path, GOOD, instruction=None, proof={"cases": {"none": "no call"}})
    report, task = tmp_path / f"bug/{GOOD}.json", tmp_path / f"task/{GOOD}"
    assert "no bug/ yet: " in run("agent", "instruct")
    write_json(report, {"instance_id": GOOD, "repo": "birds/heron", "problem_statement": "Deep."})
    assert "1 bug proven (agent 1), 1 with a text; 1 no call" in run("agent", "instruct")
    edit(report, problem_statement="Too deep.")
    assert "stale 1" in run("agent", "instruct")
    assert (task / "instruction.md").read_text() == "Too deep."
    (task / "instruction.md").write_text("Mine.")
    edit(report, problem_statement="Not theirs.")
    assert "edited 1" in run("agent", "instruct")
    assert (task / "instruction.md").read_text() == "Mine."
