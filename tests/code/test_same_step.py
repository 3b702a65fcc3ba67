"""Test which commands count as the same step."""
import pytest
from line_tables import rows

from codedata.conversation.steps import same_step, same_turn
from codedata.conversation.tool_calls import Effect

SAME = r"""
cat src/a.py  ~  sed -n '1,80p' src/a.py
head -40 ./src/a.py  ~  nl -ba src/a.py | sed -n 20,60p
cd /testbed && grep -rn 'wade(' src  ~  grep -rn "wade(" src
python -m pytest -q tests/test_a.py  ~  pytest tests/test_a.py -q
sed -i 's/a/b/'  x.py  ~  sed -i 's/a/b/' x.py
echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT  ~  git add a; echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT
"""
OTHERS = r"""
sed -n 1,80p a.py  ~  sed -n 300,380p a.py
cat a.py  ~  cat b.py
cat a.py  ~  python a.py
grep -n wade a.py  ~  grep -n sink a.py
grep -n wade a.py  ~  cat a.py
grep -n wade a.py  ~  grep -vn wade a.py
grep -rn wade src  ~  grep -rn --include=*.py wade src
pytest tests/test_a.py  ~  pytest tests/test_b.py
python -m pytest tests  ~  python -m pytest --collect-only tests
sed -i 's/a/b/' x.py  ~  sed -i 's/a/c/' x.py
ls; pwd  ~  pwd
cat a.py  ~  cat a.py > b.py
"""


@pytest.mark.parametrize(("pair", "is_same"), [
    *((line, True) for line in SAME.strip().splitlines()),
    *((line, False) for line in OTHERS.strip().splitlines())])
def test_two_ways_to_take_a_step_are_the_same_and_other_places_programs_and_edits_are_not(
        pair, is_same):
    one, other = pair.split("  ~  ")
    assert same_step(one, other) == same_step(other, one) == is_same


def test_no_command_is_another_step():
    assert not same_step("", "ls") and not same_step("ls", "")


@pytest.mark.parametrize(("one", "other", "is_same"), rows("""
ls look          | look ls          | same
ls               | ls look          |
ls look          | ls ls            |
edit-a edit-b ls | edit-b ls edit-a | same
edit-a next-a    | next-a edit-a    |
edit-a test      | test edit-a      |
ls unknown       | ls unknown       |
"""))
def test_calls_are_the_same_in_any_order_but_edits_of_one_file_in_theirs(one, other, is_same):
    def edit(path: str, new: str) -> Effect:
        return Effect("replace", path=path, edits=(("x", new, "only"),))
    effects = {"ls": Effect("run", "ls"), "look": Effect("read", path="a.py"),
               "test": Effect("run", "pytest"), "edit-a": edit("a.py", "y"),
               "next-a": edit("a.py", "z"), "edit-b": edit("b.py", "y"), "unknown": None}
    turns = [[effects[name] for name in names.split()] for names in (one, other)]
    assert same_turn(*turns) == same_turn(*turns[::-1]) == bool(is_same)
