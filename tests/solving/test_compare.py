"""Check solve.py compare, by the script, on attempts that are written as solve.py leaves them."""
from itertools import product

import pytest
from a_task import a_bug, write_task
from an_attempt import write_attempt
from conftest import run_script
from root import read_json

from codedata.tasks.rates import counted


def write_tries(root, task: str, model: str, solved: str, **outcome) -> None:
    """Write an attempt for each letter of `solved`, "s" or another."""
    for k, letter in enumerate(solved, 1):
        write_attempt(root, task, k, "solved" if letter == "s" else "wrong", agent=f"own-{model}-1",
                      model=model, **outcome)


@pytest.fixture
def root(tmp_path):
    """Return a root where A solves 20 tasks once in two attempts, and B half of them twice."""
    write_task(tmp_path, a_bug("t0", tier="agent"))
    for i in range(20):
        write_tries(tmp_path, f"t{i}", "a", "s-", kind="bug" if i else "")
        write_tries(tmp_path, f"t{i}", "b", "ss" if i < 10 else "--", kind="bug" if i else "")
    for model in "ab":   # at different versions of a task
        write_tries(tmp_path, "edited", model, "s", content=model * 16)
    return tmp_path


def test_two_models_are_compared_on_the_tasks_that_both_attempted(root):
    said = run_script("solve.py", root, "compare", "a", "own-b-1")
    assert said.returncode == 0, said.stderr
    assert "20 tasks attempted by both; not used: 1 only by A, 1 only by B" in said.stdout
    assert "-0.0" not in said.stdout and "holds zero" in said.stdout
    assert "gained: B solved, A never: 0 tasks" in said.stdout
    assert "lost: A solved, B never: 10 tasks\n  t10: A 1 of 2, B 0 of 2\n" in said.stdout
    found = read_json(root / "attempt/_compare/own-a-1_vs_own-b-1.json")
    rows = {(row["group"], row["k"]): row for row in found["rows"]}
    one, two = rows["all", 1], rows["all", 2]
    assert (one["rates"], one["steps"], one["cost_usd"]) == ([0.5, 0.5], [4, 4], [1, 1])
    assert one["interval"][0] < 0 < one["interval"][1]
    # Student's interval of 10 times 0 and 10 times -1
    assert two["rates"] == [1, 0.5] and two["interval"] == pytest.approx([-0.74, -0.26], abs=0.02)
    assert rows["kind: bug", 1]["tasks"] == 19 and rows["kind: bug", 1]["interval"] == []
    assert rows["tier: agent", 1]["tasks"] == 1
    run_script("status.py", root, "--html")
    assert "own-a-1_vs_own-b-1" in (page := (root / "index.html").read_text())
    assert "lost: A solved, B never: 10 tasks" in page


@pytest.mark.parametrize(("names", "reason"), [
    (("a", "b"), "names b, a model of several agents"), (("a", "c"), "names c, which has no"),
    (("a", "own-a-1"), "are one agent"), (("a", "gold-1"), "no task that is the same"),
    (("a",), "two names"), (("a", "b", "--n", 2), "--n does not go with compare")])
def test_what_cannot_be_compared_is_named(root, names, reason):
    write_attempt(root, "t0", agent="own-b-2", model="b")
    write_attempt(root, "other", agent="gold-1", model="")
    said = run_script("solve.py", root, "compare", *names)
    assert said.returncode == 2 and reason in said.stderr
    assert reason != "names b, a model of several agents" or "own-b-1, own-b-2" in said.stderr
    assert not (root / "attempt/_compare").exists()


@pytest.mark.parametrize("until", [[1, 1], [2, 2], [1, 3]])
def test_a_rate_is_unbiased_also_where_until_has_ended_the_attempts(until):
    mean, ended = 0.0, {}
    for letters in product((True, False), repeat=9):
        n = next((n for n in range(10) if sum(letters[:n]) >= until[0]
                  and n - sum(letters[:n]) >= until[1]), 9)
        ended[letters[:n]] = None
    for letters in ended:
        n, solved = counted([{"status": "solved" if one else "wrong", "until": until}
                             for one in letters])
        mean += 0.3 ** sum(letters) * 0.7 ** (len(letters) - sum(letters)) * solved / n
    assert mean == pytest.approx(0.3)
