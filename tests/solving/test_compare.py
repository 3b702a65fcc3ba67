"""Check solve.py compare, by the script, on attempts that are written as solve.py leaves them."""
from itertools import product

import pytest
from a_task import a_bug, write_task
from an_attempt import write_attempt
from conftest import run_script
from root import read_json

from codedata.disk.store import Store
from codedata.records import Task
from codedata.tasks.compared import compare, in_words
from codedata.tasks.folder.task_folder import audited_digest
from codedata.tasks.rates import counted


@pytest.fixture
def root(tmp_path):
    """Return a root where A solves 20 tasks once in two attempts, and B half of them twice."""
    write_task(tmp_path, a_bug("t0", tier="agent"))
    content = audited_digest(Store(tmp_path, Task).read("t0"))
    for i in range(20):
        for k in (1, 2):
            for model, solved in (("a", k == 1), ("b", i < 10)):
                write_attempt(tmp_path, f"t{i}", k, "solved" if solved else "wrong",
                              agent=f"own-{model}-1", model=model, kind="bug" if i else "",
                              **({} if i else {"content": content}))
    for model in "ab":   # each has a task of its own; both have tried an old version of t0
        for task in ("t0", model):
            write_attempt(tmp_path, task, agent=f"own-{model}-1", model=model)
    return tmp_path


def test_two_models_are_compared_on_the_tasks_that_both_attempted(root):
    said = run_script("solve.py", root, "compare", "a", "own-b-1").stdout
    assert "20 tasks attempted by both; not used: 1 only by A, 1 only by B, 1 old version" in said
    assert "holds zero" in said and "gained: B solved, A never: 0 tasks" in said
    lost = "lost: A solved, B never: 10 tasks\n  t10: A 1 of 2, B 0 of 2\n"
    assert lost in said
    found = read_json(root / "attempt/_compare/own-a-1_vs_own-b-1.json")
    assert in_words(found, 9)[-1] == "  1 more" and "  1 more" not in in_words(found, 10)
    rows = {(row["group"], row["k"]): row for row in found["rows"]}
    one, two = rows["all", 1], rows["all", 2]
    assert (one["rates"], one["steps"], one["cost_usd"]) == ([0.5, 0.5], [4, 4], [1, 1])
    # Student's intervals of 10 values 0.5 and 10 values -0.5, of 10 values 0 and 10 values -1
    assert one["interval"] == pytest.approx([-0.24, 0.24], abs=0.02)
    assert two["rates"] == [1, 0.5] and two["interval"] == pytest.approx([-0.74, -0.26], abs=0.02)
    assert rows["kind: bug", 1]["tasks"] == 19 and rows["kind: bug", 1]["interval"] == []
    assert rows["tier: agent", 1]["tasks"] == 1
    said = run_script("solve.py", root, "compare", "a", "b", "--only", "t1*").stdout
    assert "11 tasks" in said and "all tasks" not in said   # and nothing is written:
    assert len(read_json(root / "attempt/_compare/own-a-1_vs_own-b-1.json")["tasks"]) == 20
    assert "--prune does not" in run_script("solve.py", root, "compare", "a", "b", "--prune").stderr
    run_script("status.py", root, "--html")
    assert lost in (root / "index.html").read_text()


@pytest.mark.parametrize(("name", "reason"), [
    ("b", "names b, a model of several agents.\n  Name one of them: own-b-1, own-b-2"),
    ("c", "names c, which has no"), ("own-b-2", "no task in common")])
def test_what_cannot_be_compared_is_named(root, name, reason):
    write_attempt(root, "other", agent="own-b-2", model="b")
    said = run_script("solve.py", root, "compare", "a", name)
    assert said.returncode == 2 and reason in said.stderr


def test_no_task_is_left_out_of_a_rate_for_having_few_attempts(root):
    write_attempt(root, "a", agent="own-b-1", model="b")   # one attempt each
    assert {row["k"] for row in compare(root, ["a", "b"])["rows"]} == {1}
    write_attempt(root, "a", content="f" * 16, agent="own-b-1", model="b")
    assert compare(root, ["a", "b"])["old"] == 3   # the task is gone: its last version is unknown


@pytest.mark.parametrize("until", [[1, 1], [2, 2], [1, 3]])
def test_a_rate_is_unbiased_where_until_has_ended_the_attempts(until):
    ended = {letters[:next((n for n in range(9) if letters[:n].count("s") >= until[0]
                            and letters[:n].count("-") >= until[1]), 9)]
             for letters in map("".join, product("s-", repeat=9))}
    mean = 0.0
    for letters in ended:
        n, solved = counted([{"status": "solved" if one == "s" else "", "until": until}
                             for one in letters])
        mean += 0.3 ** letters.count("s") * 0.7 ** letters.count("-") * solved / n
    assert mean == pytest.approx(0.3)
