"""Check which commits are taken back, and whose words become a report."""
from __future__ import annotations

import random

import pytest
from conftest import run_here, write_toml
from heron_environment import an_environment, write_env
from heron_project import commit_all, git
from judged import read_json
from proven import a_bug
from test_model_edits import applied

import bug_inject
from codedata.bugs.history import own_report
from codedata.bugs.instances import ProvenBug
from codedata.bugs.issue_checks import Hidden

POND = "VERSION = 1\n\n\ndef wade(cm):\n    return cm\n\n\ndef fly():\n    return 'up'\n"
# the oldest first: (message, texts of pond.py that are replaced, another file that changes)
COMMITS = [
    ("Wade no deeper (#7)\n\nSigned-off-by: E <e@x>", {"cm\n": "min(cm, 35)\n"}, "test_pond.py"),
    ("Fly away", {"up": "away", "= 1": "= 2"}, "README"), ("Count", {"= 2": "= 3"}, "README"),
    ("Note", {"def fly": "# Of air\ndef fly"}, "README"),
    ("Add a mire", {"away'\n": "away'\n\n\nMIRE = 1\n"}, "mire.py")]


def an_installed(name: str, folder, commit: str) -> dict:
    return an_environment(name, base_commit=commit, image_name="", install_script="true",
                          verified={"healthy": True, "source_path": str(folder)})


@pytest.mark.docker
def test_commits_are_taken_back_where_later_ones_left_their_lines_alone(tmp_path, capsys):
    clone, folder = tmp_path / "clone", tmp_path / "folder"
    for one in (clone, folder):
        one.mkdir()
        (one / "pond.py").write_text(POND)
        commit_all(one)
    text = POND
    for message, changes, other in COMMITS:
        for old, new in changes.items():
            text = text.replace(old, new)
        (clone / "pond.py").write_text(text)
        (clone / other).write_text(f"# {message[:4]}\n")
        git(clone, "add", "-A")
        git(clone, "commit", "-qm", message)
    (clone / "src").mkdir()
    git(clone, "mv", "pond.py", "src")
    git(clone, "commit", "-qm", "Move")
    write_env(tmp_path, *(an_installed(one.name, one, git(one, "rev-parse", "HEAD"))
                          for one in (clone, folder)))
    write_toml(tmp_path, {}, "[bug]\nmax_candidates = 40\n")
    assert run_here(bug_inject.main, tmp_path, "scale", "--steps", "register,generate",
                    "--strategy", "history") == 0
    assert "1 (has no history" in capsys.readouterr().err
    made, = (tmp_path / "bug/_candidates").glob("*.json")
    assert made.stem == "clone.history-1"
    for candidate, (summary, new, old) in zip(read_json(made)["candidates"], [
            ("Wade no deeper", "min(cm, 35)", "cm"), ("Count", "= 3", "= 2")], strict=True):
        assert (candidate["summary"], candidate["operator"]) == (summary, "history")
        assert applied(candidate, text.encode(), clone, "src/pond.py") == text.replace(
            new, old).encode()


@pytest.mark.parametrize(("summary", "operator", "is_told"), [
    ("Wade in deeper water, up to the whole leg of it", "history", True),
    ("Wade in deeper water, up to the whole leg of it", "boundary", False),
    ("Wade deeper", "history", False),
    ("Wade in deeper water, see `_leg_of` in heron.py and its callers", "history", False)])
def test_a_bug_is_told_in_its_commits_words_if_these_say_enough(summary, operator, is_told):
    task = a_bug(proof={"operator": operator, "summary": summary})
    report = own_report(task, Hidden(ProvenBug.of(task), frozenset()), 8, random.Random(0))
    assert is_told == (summary in (report.problem_statement if report else ""))
