"""Check solve.py compare, by the script, on attempts that are written as solve.py leaves them."""
import random
from statistics import fmean

import pytest
from a_task import a_bug, a_datapoint, read_task, write_task
from an_attempt import write_attempt
from conftest import run_script
from root import read_json

from codedata.checks.intervals import by_both
from codedata.tasks.compared import compare
from codedata.tasks.folder.task_folder import audited_digest
from codedata.tasks.rates import counted, has_enough, n_solved


@pytest.fixture
def root(tmp_path):
    """Return a root where A solves 20 tasks once in two attempts, and B half of them twice."""
    for i in range(20):
        write_task(tmp_path, a_bug(f"t{i}", tier="tool" if i else "agent"))
        for k in (1, 2):
            for model, solved in (("a", k == 1), ("b", i < 10)):
                attempt(tmp_path, f"t{i}", model, k, "solved" if solved else "wrong")
    for model in "ab":   # each has a task of its own; both have tried an old version of t0
        write_task(tmp_path, a_datapoint(model))
        attempt(tmp_path, model, model)
        write_attempt(tmp_path, "t0", agent=f"own-{model}-1", model=model)
    return tmp_path


def attempt(root, task: str, model: str, k: int = 1, status: str = "solved") -> None:
    write_attempt(root, task, k, status, audited_digest(read_task(root, task)),
                  f"own-{model}-1", model=model)


def test_two_models_are_compared_on_the_tasks_that_both_attempted(root):
    said = run_script("solve.py", root, "compare", "a", "own-b-1").stdout
    assert "20 tasks attempted by both" in said
    assert "holds zero" in said and "0 gained (B solved, A never)" in said
    lost = "10 lost (A solved, B never): t10, t11"
    assert lost in said
    found = read_json(root / "attempt/_compare/own-a-1_vs_own-b-1.json")
    rows = {(row["group"], row["k"]): row for row in found["rows"]}
    one, two = rows["all", 1], rows["all", 2]
    assert (one["rates"], one["steps"], one["cost_usd"]) == ([0.5, 0.5], [4, 4], [1, 1])
    # Student's intervals of 10 values 0.5 and 10 values -0.5, of 10 values 0 and 10 values -1
    assert one["interval"] == pytest.approx([-0.24, 0.24], abs=0.02)
    assert two["rates"] == [1, 0.5] and two["interval"] == pytest.approx([-0.74, -0.26], abs=0.02)
    assert rows["kind: bug", 1]["tasks"] == 20 and rows["tier: agent", 1]["interval"] == []
    said = run_script("solve.py", root, "compare", "a", "b", "--only", "t1*").stdout
    assert "11 tasks" in said and "all tasks" not in said   # and nothing is written:
    assert len(read_json(root / "attempt/_compare/own-a-1_vs_own-b-1.json")["tasks"]) == 20
    run_script("status.py", root, "--html")
    assert lost in (root / "index.html").read_text()


@pytest.mark.parametrize(("name", "reason"), [
    ("b", "names b, which is not one agent with a model.\n  Name one of them: own-b-1, own-b-2"),
    ("own-b-2", "no task in common"), ("own-a-1", "one agent")])
def test_what_cannot_be_compared_is_named(root, name, reason):
    write_attempt(root, "other", agent="own-b-2", model="b")
    said = run_script("solve.py", root, "compare", "a", name)
    assert said.returncode == 2 and reason in said.stderr


def test_no_task_is_left_out_of_a_rate_for_having_few_attempts(root):
    attempt(root, "a", "b")   # one attempt each
    assert {row["k"] for row in compare(root, ["a", "b"])["rows"]} == {1}


@pytest.mark.parametrize(("rate", "until"), [(0.1, [2, 2]), (0.5, [1, 3]), (0.9, [1, 1])])
def test_a_rate_is_unbiased_and_in_its_interval_where_until_has_ended_the_attempts(rate, until):
    draw, rates, held = random.Random(1), [], []
    for _ in range(1000):
        ended = []
        while not has_enough(ended, until):
            ended.append({"status": "solved" if draw.random() < rate else "", "until": until})
        low, high = by_both(n_solved(ended), len(ended) - n_solved(ended), *until)
        held.append(low <= rate <= high)
        n, solved = counted(ended)
        rates.append(solved / n)
    assert fmean(rates) == pytest.approx(rate, abs=0.015) and fmean(held) >= 0.935
