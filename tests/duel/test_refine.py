"""Check that refine.py puts better attempts into place, and asks and pays for nothing twice."""
from __future__ import annotations

import json
import re
import signal

import pytest
from conftest import (
    edit,
    kill,
    ledger_lines,
    start_script,
    write_commits,
    write_prompts,
    write_toml,
)
from conftest import turn_of as command
from fake_judges import run_main, shown
from judged import json_lines, read_json

import ch
import king
import refine
import report
import validate
from codedata.records import METRICS

N = 4


def turn(word: str) -> str:
    return command(f"grep -rn {word} .", f"I look {word} before.")


def model(better: int):
    """Play all roles: "worth<k>" wins k metrics over what is worth less."""
    def answer(request):
        if "MODEL 1" not in request.text:
            if "You have answered this turn before" in request.text:
                return turn(f"worth{better}")
            return turn("worth2" if "Private note" in request.text else "worth0")
        one, two = (int(re.search(r"worth(\d)", text)[1]) for text in shown(request))
        pick, n = (0, 0) if one == two else (1, one) if one > two else (2, two)
        return json.dumps({"reason": f"MODEL {pick or 1} reads, MODEL {3 - (pick or 1)} guesses.",
                           **{metric: pick if i < n else 0 for i, metric in enumerate(METRICS)}})
    return answer


@pytest.fixture
def root(tmp_path, fake_llm):
    """Write four turns in refined/, with 70 points each."""
    write_prompts(tmp_path, N)
    write_commits(tmp_path, N)
    toml(tmp_path, fake_llm)
    fake_llm.always(model(better=5))
    for script in (king, ch, validate, report):
        run_main(script.main, tmp_path)
    assert len(list((tmp_path / "refined").glob("p*.json"))) == N
    fake_llm.requests.clear()
    return tmp_path


def toml(root, fake, more: str = "") -> None:
    write_toml(root, {"base_url": fake.base_url, "workers": 4}, f'[judge]\nmodels = ["m"]\n{more}')


def refine_here(root, *flags, code: int = 0) -> str:
    return run_main(refine.main, root, *flags, code=code)


def name(i) -> str:
    return f"prompts_{N}_1_{i}"


def load(root, directory: str, i=1) -> dict:
    return read_json(root / directory / f"{name(i)}.json")


def attempts(root, i: int = 1) -> list[dict]:
    return json_lines(root / f"answer/_attempts/{name(i)}.jsonl")


def test_a_better_attempt_goes_into_place_and_moves_to_final(root, fake_llm):
    refine_here(root)
    assert fake_llm.n_requests == N + 2 * N
    assert load(root, "answer")["challenger"] == turn("worth5")
    assert load(root, "score")["score"] == 100
    run_main(report.main, root)
    assert len(list((root / "final").glob("p*.json"))) == N
    assert not list((root / "refined").glob("p*.json"))
    text = (root / "report/report.md").read_text()
    assert ("4 turns replaced by a refined one: 30.0 points more on the mean, "
            "4 of them in final/") in text
    assert load(root / "answer", "_replaced", "1.1")["challenger"] == turn("worth2")
    assert load(root / "score", "_replaced", "1.1")["score"] == 70


def test_afterwards_every_script_has_nothing_to_do(root, fake_llm):
    refine_here(root)
    run_main(report.main, root)
    fake_llm.requests.clear()
    for script in (king, ch, validate, report, refine):
        printed = run_main(script.main, root)
        assert "edited" not in printed and "stale" not in printed
    assert fake_llm.n_requests == 0


def test_the_steps_go_apart_and_name_each_other(root, fake_llm):
    printed = refine_here(root, "--steps", "answer")
    assert fake_llm.n_requests == N and "refine answer  wrote 4" in printed
    assert "next:  " in printed and "refine.py --steps judge" in printed
    printed = refine_here(root, "--steps", "judge", "--limit", 1)
    assert fake_llm.n_requests == N + 2
    assert "3 more items to do" in printed
    assert "report.py" in printed
    assert "is not one of answer, judge" in refine_here(root, "--steps", "judge,asnwer", code=2)


def test_a_turn_that_is_picked_out_goes_through_both_steps(root, fake_llm):
    refine_here(root, "--only", "*_2")
    assert fake_llm.n_requests == 3 and load(root, "score", 2)["score"] == 100
    refine_here(root, "--only", "proj__repo-3")
    assert fake_llm.n_requests == 6
    assert [load(root, "score", i)["score"] for i in (1, 2, 3)] == [70, 100, 100]


def test_the_ledgers_have_the_keys_of_before_there_was_this_script(root):
    refine_here(root)
    for directory, stage in (("answer", "ch"), ("score", "validate")):
        lines = ledger_lines(root / directory / "_attempts")
        assert {line["stage"] for line in lines} == {stage} and len(lines) == N


@pytest.mark.parametrize("worth", [0, 2])
def test_an_attempt_that_is_no_better_stays_an_attempt(root, fake_llm, worth):
    fake_llm.always(model(better=worth))
    before = load(root, "answer"), load(root, "score")
    refine_here(root)
    assert before == (load(root, "answer"), load(root, "score"))
    assert [one["challenger"] for one in attempts(root)] == [turn(f"worth{worth}")]


def test_the_challenger_is_told_its_turn_and_the_reasons_from_its_side(root, fake_llm):
    refine_here(root, "--steps", "answer")
    for request in fake_llm.requests:
        before, _, note = request.last.partition("You have answered this turn before")
        assert turn("worth2") in note and "your turn reads, the other turn guesses" in note
        # and the PR, under its rule
        assert not re.search(r"\bking\b|\bchallenger\b", note) and "fix " in before
        assert turn("worth0") not in request.text


def test_attempts_add_up_and_the_best_one_counts(root, fake_llm):
    fake_llm.always(model(better=3))
    refine_here(root)
    assert load(root, "score")["score"] == 80
    toml(root, fake_llm, "[report]\nfinal_min = 90.0\n")
    run_main(report.main, root)     # refined again
    fake_llm.always(model(better=4))
    refine_here(root)
    assert [one["score_then"] for one in attempts(root)] == [70, 80]
    assert load(root, "score")["score"] == 90
    assert len(list((root / "score/_attempts").glob("p*.json"))) == 2 * N


def test_an_attempt_at_another_history_is_judged_no_more(root, fake_llm):
    refine_here(root, "--steps", "answer")
    edit(root / f"prompt/prompts_{N}_1.json",
         lambda prompts: prompts[0]["messages"][-1].update(content="Print the date."))
    for script in (king, ch, validate, report):
        run_main(script.main, root)
    fake_llm.requests.clear()
    refine_here(root, "--steps", "judge")
    assert fake_llm.n_requests == 2 * (N - 1)
    assert load(root, "answer")["challenger"] == turn("worth2")


def test_defeat_is_refined_where_asked(root, fake_llm):
    toml(root, fake_llm, "[report]\ndefeat_min = 75.0\n")
    run_main(report.main, root)
    assert "refined/ has nothing" in refine_here(root) and fake_llm.n_requests == 0
    refine_here(root, "--defeat")
    assert fake_llm.n_requests == 3 * N


def test_a_score_edited_by_hand_is_not_replaced(root):
    (root / f"score/{name(2)}.json").write_text(json.dumps({**load(root, "score", 2),
                                                                "score": 71}))
    run_main(report.main, root)
    refine_here(root)
    assert load(root, "score", 2)["score"] == 71
    assert load(root, "answer", 2)["challenger"] == turn("worth2")
    assert load(root, "score", 1)["score"] == 100


@pytest.mark.parametrize("step, calls", [("answer", N), ("judge", 2 * N)])
def test_killed_and_run_again_it_pays_for_nothing_twice_but_what_was_in_flight(
        root, fake_llm, step, calls):
    if step == "judge":
        refine_here(root, "--steps", "answer")
    fake_llm.requests.clear()
    fake_llm.latency_s = 0.2
    process = start_script("refine.py", root, "--steps", step, "--workers", 2)
    fake_llm.wait_for(4)   # two were answered then
    kill(process, signal.SIGKILL)
    fake_llm.latency_s = 0.0
    refine_here(root, "--steps", step)
    assert calls <= fake_llm.n_requests <= calls + 4
    if step == "judge":
        assert [load(root, "score", i)["score"] for i in range(1, N + 1)] == [100] * N


@pytest.mark.parametrize("more, place", [
    ("[duel]\nmode = 'reference'\n", "[duel] mode is not `king`"),
    ("[challenger]\nhow = 'placebo'\n", "[challenger] how is not `informed`")])
def test_what_refining_has_no_meaning_for_is_refused_before_anybody_is_asked(
        root, fake_llm, more, place):
    toml(root, fake_llm, more)
    assert place in refine_here(root, code=2) and fake_llm.n_requests == 0
