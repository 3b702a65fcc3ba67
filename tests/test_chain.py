"""Check that tools/chain runs the stages in order with their flags; a fake python notes them."""
import os
import re
import sys

import pytest
from a_datapoint import write_approved
from an_attempt import write_attempt
from conftest import REPO, edit, run_script
from line_tables import rows
from programs import run_program, write_programs

NOTES = ('#!/bin/sh\nscript=${1##*/}\nshift\nset -- "$script" "$@"\n'
         'printf "%s|" "$@" >> called; echo >> called\n'
         'case $1 in "$FAILS") exit "$CODE" ;; esac\n')


@pytest.fixture
def chain(tmp_path):
    def run(stages: str, *flags: str, **env: str):
        write_programs(tmp_path, {"python": NOTES})
        env = os.environ | {"CODEDATA_PYTHON": str(tmp_path / "python")} | env
        done = run_program(sys.executable, REPO / "tools/chain", stages, *flags, cwd=tmp_path,
                           env=env)
        return done, [line.split("|")[:-1]
                      for line in (tmp_path / "called").read_text().splitlines()]
    return run


def test_a_stage_gets_its_own_flags_and_what_narrows_goes_to_no_stage_that_is_of_all(chain):
    root, words = ["--root", "a b"], ["--limit=3", "--only", "y z", "--n", "2", "--keep-unmatched"]
    done, called = chain("solve prompt:--trajectories report", *root, *words, DUEL_SOURCE="x")
    assert done.returncode == 0 and called == [
        ["solve.py", *root, *words[:-1]],
        ["prompt.py", *root, *words[:3], "--keep-unmatched", "--trajectories"],
        ["report.py", *root], ["status.py", *root, "--html"]]
    assert chain("solve prompt:--trajectories king", "--n", "2", "--dry-run")[1][4:] == [
        ["price", "solve king", "--n", "2", "--dry-run"]]   # all of a chain is priced at once
    assert chain("prompt king ch", "--yes")[1][5:7] == [["prompt.py"], ["king.py"]]
    assert "--lim is no flag" in chain("king", "--lim", "2")[0].stderr


def test_a_mistyped_root_begins_no_default_duel(chain):
    assert "add --yes" in chain("prompt")[0].stderr
    chain("prompt", "--yes")
    assert [one[0] for one in chain("prompt", DUEL_SOURCE="x")[1]] == [
        "price", "prompt.py", "prompt.py"]


@pytest.mark.parametrize("code, n_run, says", rows("""
1   | 2 | king
2   | 1 | exit 2
130 | 1 | exit 130
"""))
def test_failed_items_are_named_at_the_end_and_anything_else_stops_the_chain(
        chain, code, n_run, says):
    done, called = chain("king ch", "--root", "r", FAILS="king.py", CODE=code)
    assert (done.returncode, len(called)) == (int(code), int(n_run)) and says in done.stderr


def test_sigterm_starts_no_further_stage(chain, tmp_path):
    # the stage ends well all the same
    write_programs(tmp_path, {"ends": NOTES + "trap '' TERM\nkill -TERM $PPID\n"})
    assert len(chain("king ch", CODEDATA_PYTHON=str(tmp_path / "ends"))[1]) == 1


def test_a_night_without_attempts_ends_and_posts_though_its_settings_were_spoilt(chain, tmp_path):
    write_programs(tmp_path, {"spoils": NOTES.replace("\n", "\necho '[' > chain.toml\n", 1)})
    done, called = chain("loop", "--notify", "https://127.0.0.1:1", FAILS="solve.py", CODE="1",
                         CODEDATA_PYTHON=str(tmp_path / "spoils"))
    assert (done.returncode, [one[0] for one in called]) == (1, ["solve.py"])
    assert "--notify failed" in done.stderr
    (tmp_path / "chain.toml").unlink()
    assert "goes with single scripts" in chain("loop", "--shard", "0/2")[0].stderr


def price(root, stages: str = "prompt king ch validate report") -> tuple[list[int], str]:
    """Return (the calls of king, ch, validate and all, what was printed)."""
    done = run_program(sys.executable, REPO / "tools/price", stages, "--root", root, "--dry-run")
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
source = "hf:no/where"
"""


def test_a_duel_is_priced_from_wherever_its_root_is(tmp_path):
    """Of six turns that nobody has drawn; then of three, one answered and one by the king alone."""
    tmp_path.with_settings({"model": "m"}, PRICED)
    n_calls, printed = price(tmp_path)
    assert n_calls == [6, 6, 24, 36] and "as if the 6 turns were there" in printed
    each = [float(usd) for usd in re.findall(r"at most \$([\d.]+)", printed)]
    assert each[3] == pytest.approx(sum(each[:3]), abs=0.001) and each[0] > 0
    tmp_path.with_settings({"model": "m"}, PRICED.replace("count = 6", "count = 401"))
    assert "\nall    to come: 2,406 calls" in price(tmp_path)[1]   # prompts of several files
    root = tmp_path / "half"
    root.with_prompts(3).with_commits(3).with_settings(
        {"model": "m"}, PRICED.replace("count = 6", "count = 3"))
    root.with_answer("prompts_3_1_1", instance_id="proj__repo-1")
    root.with_answer("prompts_3_1_2", challenger=None, instance_id="proj__repo-2")
    before = sorted(root.rglob("*"))
    assert price(root)[0] == [1, 2, 12, 15]
    assert sorted(root.rglob("*")) == before


def test_attempts_to_come_are_an_unknown_part_of_the_price(tmp_path):
    """Also after attempts of another agent, from which no turn can be drawn."""
    tmp_path.with_settings({"model": "m"}, PRICED.replace("hf:no/where", "attempt"))
    write_approved(tmp_path / "task/sums")
    write_attempt(tmp_path, "sums", 1, agent="gold")
    total = price(tmp_path, stages="solve prompt king ch validate")[1].rpartition("all ")[2]
    assert "6 calls" in total and "not in this sum: solve: 4 attempts; what" in total
    assert "at most" not in total


def test_the_price_of_an_edited_prompt_goes_through_all_stages(tmp_path, fake_llm):
    tmp_path.with_model(fake_llm, PRICED.replace("count = 6", "count = 3")).with_prompts(3)
    tmp_path.with_commits(3)
    for stage in ("king", "ch", "validate"):
        run_script(f"{stage}.py", tmp_path)
    assert "all    to come: no calls" in price(tmp_path)[1]
    edit(next(tmp_path.glob("prompt/[!_]*.json")),
         lambda prompts: prompts[0]["messages"][-1].update(content="Another question."))
    n_calls, printed = price(tmp_path)
    assert n_calls == [1, 1, 4, 6] and "as if the 1 turn were there" in printed
