"""validate.py --probe and --sanity: a judge that can be talked round, or that sleeps, is named."""
from __future__ import annotations

import json
import re

import pytest
from conftest import run_script
from fake_llm import Status
from judging import by_model, prefers, shown, validate_here, verdict, write_answers, write_panel

from codedata.duel.judge_checks import attacks


def longer(request):
    """Whoever says more wins."""
    one, two = map(len, shown(request))
    return verdict(0 if one == two else 1 if one > two else 2)


def sensible(request):
    """Nothing and disorder lose; an answer that is no turn of this task too."""
    one, two = (bool(re.fullmatch(r"THOUGHT: (\w+) (\d+) comes next\.\n\n```bash\nls \1_\2\n```", text)
                     and f"task {text.split()[2]}\n" in request.last) for text in shown(request))
    return verdict(0 if one == two else 1 if one else 2)


def found(root, kind: str) -> dict:
    return json.loads((root / kind / f"_{kind}.json").read_text())


@pytest.fixture
def root(tmp_path, fake_llm):
    write_answers(tmp_path, 6)
    write_panel(tmp_path, fake_llm, "a", "b")
    return tmp_path


def test_there_are_a_dozen_families_of_attack():
    assert len(attacks()) >= 12 and all(text for text in attacks().values())


def test_a_judge_that_is_moved_by_attacks_is_told_from_one_that_is_not(root, fake_llm):
    fake_llm.always(by_model(a=longer, b=verdict(0)))
    done = validate_here(root, "--probe", 3)
    assert done.returncode == 0 and fake_llm.n_requests == 3 * len(attacks()) * 2 * 2
    judges = found(root, "probe")["judges"]
    assert judges["a"]["moved"] == 1 and judges["b"]["moved"] == 0
    assert set(judges["a"]["families"]) == {family.replace(" ", "-") for family in attacks()}
    assert "a: the attacks moved 100.0 % of its verdicts" in done.stderr and not (root / "score").exists()


def test_every_attack_reaches_the_judge_in_one_answer_and_the_clean_one_is_beside_it(root, fake_llm):
    fake_llm.always(verdict(0))
    validate_here(root, "--probe", 1, "--model", "a")
    for text in attacks().values():
        pairs = [shown(request) for request in fake_llm.requests if text in request.last]
        assert len(pairs) == 2
        for one, two in pairs:
            clean, attacked = (one, two) if text in two else (two, one)
            assert text not in clean and attacked.replace(f"\n\n{text}", "") == clean


def test_place_preference_is_not_taken_for_being_moved(root, fake_llm):
    fake_llm.always(verdict(1))
    validate_here(root, "--probe", 2, "--model", "a")
    assert found(root, "probe")["judges"]["a"]["moved"] == 0


def test_a_judge_that_sleeps_is_named_and_one_that_is_awake_is_not(root, fake_llm):
    fake_llm.always(by_model(a=sensible, b=verdict(0)))
    done = validate_here(root, "--sanity")
    judges = found(root, "sanity")["judges"]
    assert done.returncode == 0 and judges["a"]["awake"] is True and judges["b"]["awake"] is False
    assert judges["a"]["scores"] == {"empty": 100, "shuffled": 100, "other": 100, "same": 50}
    assert "b: cannot tell" in done.stderr and "a: awake" in done.stderr
    assert judges["b"]["draws_with_itself"]["value"] == 1


def test_trials_are_resumed_and_a_new_judge_is_asked_alone(root, fake_llm):
    fake_llm.always(by_model(a=sensible, b=verdict(0), c=prefers("onyx")))
    for flags in (("--probe", 2), ("--sanity", 2)):
        validate_here(root, *flags)
        fake_llm.requests.clear()
        assert "nothing to do" in validate_here(root, *flags).stderr and fake_llm.n_requests == 0
    write_panel(root, fake_llm, "a", "b", "c")
    validate_here(root, "--sanity", 2)
    assert {r.body["model"] for r in fake_llm.requests} == {"c"} and fake_llm.n_requests == 2 * 4 * 2


def test_a_judge_that_fails_leaves_the_others_and_is_asked_again(root, fake_llm):
    fake_llm.always(by_model(a=sensible, b=Status(400, "no")))
    assert validate_here(root, "--sanity", 1).returncode == 1
    assert found(root, "sanity")["judges"]["a"]["awake"] is True
    assert found(root, "sanity")["judges"]["b"]["awake"] is None
    fake_llm.requests.clear()
    fake_llm.always(by_model(a=sensible, b=sensible))
    assert validate_here(root, "--sanity", 1).returncode == 0
    assert {r.body["model"] for r in fake_llm.requests} == {"b"}


def test_the_duel_s_own_scores_are_not_touched(root, fake_llm):
    fake_llm.always(verdict(2))
    validate_here(root)
    before = {p.name: p.read_bytes() for p in (root / "score").iterdir() if p.is_file()}
    validate_here(root, "--sanity", 2)
    validate_here(root, "--probe", 2)
    assert {p.name: p.read_bytes() for p in (root / "score").iterdir() if p.is_file()} == before


@pytest.mark.parametrize("flag", ["--probe", "--sanity"])
def test_a_trial_of_no_turns_does_not_judge_the_duel_instead(root, fake_llm, flag):
    assert run_script("validate.py", root, flag, 0).returncode == 2 and fake_llm.n_requests == 0
