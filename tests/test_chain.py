"""Check that tools/chain runs the stages in order with their flags; a fake python notes them."""
from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from conftest import (
    REPO,
    a_prompt,
    edit,
    run_script,
    write_commits,
    write_json,
    write_prompts,
    write_toml,
    write_toml_for,
)
from scored import write_answer
from tool_turns import TOOLS, calls, tool_history

NOTES = ('#!/bin/sh\nscript=${1##*/}\nshift\nset -- "$script" "$@"\n'
         'printf "%s|" "$@" >> called; echo >> called\n'
         'case $1 in "$FAILS") exit "$CODE" ;; esac\n')


@pytest.fixture
def chain(tmp_path):
    def run(stages: str, *flags: str, fails: str = "", code: int = 0):
        (tmp_path / "python").write_text(NOTES)
        (tmp_path / "python").chmod(0o755)
        env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "FAILS": fails,
                            "CODE": str(code)}
        done = subprocess.run([REPO / "tools/chain", stages, *flags], cwd=tmp_path, env=env,
                              capture_output=True, text=True, timeout=30)
        return done, [line.split("|")[:-1]
                      for line in (tmp_path / "called").read_text().splitlines()]
    return run


def test_what_narrows_goes_to_no_stage_that_is_of_all(chain):
    done, called = chain("king report export", "--root", "a b", "--limit", "3", "--only=x*",
                         "--only", "y z", "--quiet")
    assert done.returncode == 0 and called == [
        ["king.py", "--root", "a b", "--limit", "3", "--only=x*", "--only", "y z", "--quiet"],
        ["report.py", "--root", "a b", "--quiet"], ["export.py", "--root", "a b", "--quiet"],
        ["status.py", "--root", "a b", "--html"]]
    assert [one[1:] for one in chain("prompt king ch", "--dry-run")[1][4:]] == [
        ["prompt king ch", "--dry-run"]]   # all of a duel is priced at once


def test_a_stage_may_have_flags_of_its_own_and_the_loop_is_priced(chain):
    assert chain("prompt:--trajectories prompt", "--limit", "3")[1] == [
        ["prompt.py", "--limit", "3", "--trajectories"], ["prompt.py", "--limit", "3"]]
    solve, (_, *duel) = chain("solve prompt:--trajectories king ch", "--dry-run")[1][2:]
    assert solve == ["solve.py", "--dry-run"] and duel == ["king ch", "--dry-run"]


@pytest.mark.parametrize("code, n_run, says", [(1, 2, "king"), (2, 1, "exit 2"),
                                               (130, 1, "exit 130")])
def test_failed_items_are_named_at_the_end_and_anything_else_stops_the_chain(
        chain, code, n_run, says):
    done, called = chain("king ch", "--root", "r", fails="king.py", code=code)
    assert done.returncode == code and says in done.stderr and len(called) == n_run


def price(root) -> tuple[list[int], str]:
    """Return (the calls of king, ch, validate and all, what was printed)."""
    done = subprocess.run([sys.executable, REPO / "tools/price", "prompt king ch validate report",
                           "--root", root, "--dry-run"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [*map(int, re.findall("to come: (\\d+) call", done.stderr))], done.stderr


PRICED = """
[judge]
models = ["a", "b"]
[prices]
m = { in = 1, out = 1 }
a = { in = 1, out = 1 }
b = { in = 1, out = 1 }
[prompt]
count = 6
source = "samples/trajectories.json"
"""


def test_a_duel_is_priced_from_wherever_its_root_is(tmp_path):
    """Of six turns that nobody has drawn; then of three, one answered and one by the king alone."""
    write_toml(tmp_path, {"model": "m"}, PRICED)
    n_calls, printed = price(tmp_path)
    assert n_calls == [6, 6, 24, 36] and "as if the 6 turns were there" in printed
    each = [float(usd) for usd in re.findall(r"at most \$([\d.]+)", printed)]
    assert each[3] == pytest.approx(sum(each[:3]), abs=0.001) and each[0] > 0
    write_toml(tmp_path, {"model": "m"}, PRICED.replace("count = 6", "count = 401").replace(
        "samples/", "missing/"))
    assert "\nall    to come: 2,406 calls" in price(tmp_path)[1]   # prompts of several files
    root = tmp_path / "half"
    names = write_prompts(root, 3)
    write_commits(root, 3)
    write_toml(root, {"model": "m"}, PRICED.replace("count = 6", "count = 3"))
    for name, challenger in zip(names, ("make test", None), strict=False):
        write_answer(root, name, challenger=challenger, instance_id=f"proj__repo-{name[-1]}")
    before = sorted(root.rglob("*"))
    assert price(root)[0] == [1, 2, 12, 15]
    assert sorted(root.rglob("*")) == before


def test_a_turn_with_tools_is_priced_with_one_leak_verdict(tmp_path):
    write_toml(tmp_path, {"model": "m"}, PRICED.replace("count = 6", "count = 1")
               + '[leak]\nmodels = ["a"]\nking_share = 0.0\n')
    write_json(tmp_path / "prompt/prompts_1_1.json", [a_prompt(
        1, messages=tool_history("t"), tools=TOOLS, assistant=calls(command="make"))])
    write_commits(tmp_path, 1)
    assert price(tmp_path)[0] == [1, 2, 4, 7]


def test_the_price_of_an_edited_prompt_goes_through_all_stages(tmp_path, fake_llm):
    write_toml_for(tmp_path, fake_llm, PRICED.replace("count = 6", "count = 3"))
    write_prompts(tmp_path, 3)
    write_commits(tmp_path, 3)
    for stage in ("king", "ch", "validate"):
        run_script(f"{stage}.py", tmp_path)
    assert "all    to come: no calls" in price(tmp_path)[1]
    edit(next(tmp_path.glob("prompt/[!_]*.json")),
         lambda prompts: prompts[0]["messages"][-1].update(content="Another question."))
    n_calls, printed = price(tmp_path)
    assert n_calls == [1, 1, 4, 6] and "as if the 1 turn were there" in printed
