"""Test which commands count as the same step."""
import pytest

from codedata.code.steps import same_step


@pytest.mark.parametrize(("one", "other"), [
    ("cat src/a.py", "sed -n '1,80p' src/a.py"),
    ("head -40 ./src/a.py", "nl -ba src/a.py | sed -n 20,60p"),
    ("cd /testbed && grep -rn 'wade(' src", "grep -nr \"wade(\" src"),
    ("python -m pytest -q tests/test_a.py", "pytest tests/test_a.py -x"),
    ("grep -rn --color=never wade src", "grep -rnH -C3 wade src"),
    ("python -m pytest --tb=short -x tests", "pytest -vv tests"),
    ("sed -i 's/a/b/'  x.py", "sed -i 's/a/b/' x.py"),
    ("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT",
     "git add -A && echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT")])
def test_two_ways_to_take_a_step_are_the_same(one, other):
    assert same_step(one, other) and same_step(other, one)


@pytest.mark.parametrize(("one", "other"), [
    ("sed -n 1,80p a.py", "sed -n 300,380p a.py"),
    ("cat a.py", "cat b.py"),
    ("cat a.py", "python a.py"),
    ("grep -n wade a.py", "grep -n sink a.py"),
    ("grep -n wade a.py", "cat a.py"),
    ("grep -n wade a.py", "grep -vn wade a.py"),
    ("grep -rn wade src", "grep -rn --include=*.py wade src"),
    ("pytest tests/test_a.py", "pytest tests/test_b.py"),
    ("python -m pytest tests", "python -m pytest --collect-only tests"),
    ("sed -i 's/a/b/' x.py", "sed -i 's/a/c/' x.py"),
    ("ls; pwd", "pwd"),
    ("cat a.py", "cat a.py > b.py"),
    ("", "ls")])
def test_other_places_programs_and_edits_are_others(one, other):
    assert not same_step(one, other) and not same_step(other, one)
