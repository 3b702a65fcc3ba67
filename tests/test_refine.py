"""ch.py --refine and validate.py --refine: better attempts go into place, nothing is asked or paid for twice."""
from __future__ import annotations

import json
import re
import signal

import pytest
from conftest import kill, run_here, run_script, start_script, write_commits, write_prompts, write_toml
from judging import shown, validate_here

import ch
import report
from codedata.records import METRICS

N = 4


def turn(word: str) -> str:
    return f"THOUGHT: I look {word} before.\n\n```bash\ngrep -rn {word} .\n```"


def model(better: int):
    """King, challenger, refiner and judge in one: a turn "worth<k>" wins k metrics over one that is worth less."""
    def answer(request):
        if "MODEL 1" not in request.text:
            refining = "You have answered this turn before" in request.text
            is_challenger = "Private note" in request.text
            return turn(f"worth{better}" if refining else "worth2" if is_challenger else "worth0")
        one, two = (int(re.search(r"worth(\d)", text)[1]) for text in shown(request))
        pick, n = (0, 0) if one == two else (1, one) if one > two else (2, two)
        return json.dumps({"reason": f"MODEL {pick or 1} reads, MODEL {3 - (pick or 1)} guesses.",
                           **{metric: pick if i < n else 0 for i, metric in enumerate(METRICS)}})
    return answer


@pytest.fixture
def root(tmp_path, fake_llm):
    """Four turns in refined/, with 70 points each."""
    write_prompts(tmp_path, N)
    write_commits(tmp_path, N)
    write_toml(tmp_path, {"base_url": fake_llm.base_url, "workers": 4}, '[judge]\nmodels = ["m"]\n')
    fake_llm.always(model(better=5))
    for script in ("king.py", "ch.py", "validate.py", "report.py"):
        assert run_script(script, tmp_path).returncode == 0
    assert len(list((tmp_path / "refined").glob("p*.json"))) == N
    fake_llm.requests.clear()
    return tmp_path


def refine(root) -> None:
    assert run_here(ch.main, root, "--refine") == 0
    assert validate_here(root, "--refine").returncode == 0


def name(i: int) -> str:
    return f"prompts_{N}_1_{i}"


def load(root, directory: str, i: int = 1) -> dict:
    return json.loads((root / directory / f"{name(i)}.json").read_text())


def attempts(root, i: int = 1) -> list[dict]:
    return [json.loads(line) for line in (root / "answer" / "_attempts" / f"{name(i)}.jsonl").read_text().splitlines()]


def test_a_better_attempt_goes_into_place_and_moves_to_final(root, fake_llm):
    refine(root)
    assert fake_llm.n_requests == N + 2 * N
    assert load(root, "answer")["challenger"] == turn("worth5") and load(root, "score")["score"] == 100
    assert run_here(report.main, root) == 0
    assert len(list((root / "final").glob("p*.json"))) == N and not list((root / "refined").glob("p*.json"))
    text = (root / "report" / "report.md").read_text()
    assert "4 turns replaced by a refined one: 30.0 points more on the mean, 4 of them in final/" in text
    assert json.loads((root / "answer" / "_replaced" / f"{name(1)}.1.json").read_text())["challenger"] == turn("worth2")
    assert json.loads((root / "score" / "_replaced" / f"{name(1)}.1.json").read_text())["score"] == 70


def test_afterwards_every_script_has_nothing_to_do(root, fake_llm):
    refine(root)
    run_here(report.main, root)
    fake_llm.requests.clear()
    for script, *flags in (["king.py"], ["ch.py"], ["validate.py"], ["report.py"], ["ch.py", "--refine"],
                           ["validate.py", "--refine"]):
        done = run_script(script, root, *flags)
        assert done.returncode == 0 and "edited" not in done.stderr and "stale" not in done.stderr
    assert fake_llm.n_requests == 0


@pytest.mark.parametrize("worth", [0, 2])
def test_an_attempt_that_is_no_better_stays_an_attempt(root, fake_llm, worth):
    fake_llm.always(model(better=worth))
    before = (root / "answer" / f"{name(1)}.json").read_bytes(), (root / "score" / f"{name(1)}.json").read_bytes()
    refine(root)
    assert before == ((root / "answer" / f"{name(1)}.json").read_bytes(),
                      (root / "score" / f"{name(1)}.json").read_bytes())
    assert [a["challenger"] for a in attempts(root)] == [turn(f"worth{worth}")]


def test_the_challenger_is_told_its_turn_and_the_reasons_from_its_side(root, fake_llm):
    run_here(ch.main, root, "--refine")
    for request in fake_llm.requests:
        before, _, note = request.last.partition("You have answered this turn before")
        assert turn("worth2") in note and "your turn reads, the other turn guesses" in note
        assert not re.search(r"\bking\b|\bchallenger\b", note) and "fix " in before   # and the PR, under its rule
        assert turn("worth0") not in request.text


def test_attempts_add_up_and_the_best_one_counts(root, fake_llm):
    fake_llm.always(model(better=3))
    refine(root)
    run_here(report.main, root)     # 80 points: final
    assert load(root, "score")["score"] == 80
    (root / "chain.toml").write_text((root / "chain.toml").read_text() + "[report]\nfinal_min = 90.0\n")
    run_here(report.main, root)     # refined again
    fake_llm.always(model(better=4))
    refine(root)
    assert [a["score_then"] for a in attempts(root)] == [70, 80] and load(root, "score")["score"] == 90
    assert len(list((root / "score" / "_attempts").glob("p*.json"))) == 2 * N


def test_defeat_is_refined_where_asked(root, fake_llm):
    (root / "chain.toml").write_text((root / "chain.toml").read_text() + "[report]\ndefeat_min = 75.0\n")
    run_here(report.main, root)
    assert "refined/ has nothing" in run_script("ch.py", root, "--refine").stderr and fake_llm.n_requests == 0
    assert run_here(ch.main, root, "--refine", "--defeat") == 0 and fake_llm.n_requests == N


def test_defeat_alone_is_refused(root, fake_llm):
    done = run_script("ch.py", root, "--defeat")
    assert done.returncode == 2 and "--defeat goes with --refine" in done.stderr and fake_llm.n_requests == 0


def test_a_score_edited_by_hand_is_not_replaced(root, fake_llm):
    path = root / "score" / f"{name(2)}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "score": 71}))
    run_here(report.main, root)
    refine(root)
    assert load(root, "score", 2)["score"] == 71 and load(root, "answer", 2)["challenger"] == turn("worth2")
    assert load(root, "score", 1)["score"] == 100


@pytest.mark.parametrize("script", ["ch.py", "validate.py"])
def test_killed_and_run_again_it_pays_for_nothing_twice_but_what_was_in_flight(root, fake_llm, script):
    if script == "validate.py":
        run_here(ch.main, root, "--refine")
    fake_llm.requests.clear()
    fake_llm.latency_s = 0.2
    process = start_script(script, root, "--refine", "--workers", 2)
    fake_llm.wait_for(4)   # two were answered then
    kill(process, signal.SIGKILL)
    fake_llm.latency_s = 0.0
    assert run_script(script, root, "--refine").returncode == 0
    wanted = N if script == "ch.py" else 2 * N
    assert wanted <= fake_llm.n_requests <= wanted + 4
    if script == "validate.py":
        assert [load(root, "score", i)["score"] for i in range(1, N + 1)] == [100] * N


def test_refining_has_no_meaning_against_the_reference(root):
    done = validate_here(root, "--refine", "--mode", "reference")
    assert done.returncode == 2 and "--refine is about the king" in done.stderr
