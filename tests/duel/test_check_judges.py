"""Check that check_judges.py names judges that are talked round or can't tell good from bad."""
import re

import pytest
from fake_judges import by_model, prefers, ranks, run_main, shown, verdict
from fake_llm import Status
from root import read_json

import check_judges
from codedata.duel.judge_checks import attacks

N_ATTACKS = len(attacks())


@ranks
def sensible(text: str, request) -> bool:
    """Let nothing and disorder lose, and an answer that is no turn of this task too."""
    turn = re.fullmatch(r"THOUGHT: (\w+) (\d+) comes next\.\n\n```bash\nls \1_\2\n```", text)
    return bool(turn) and f"task {turn[2]}\n" in request.last


def check(root, *words, code: int = 0) -> str:
    return run_main(check_judges.main, root, *words, code=code)


def summary(root, name: str) -> dict:
    return read_json(root / name / f"_{name}.json")["judges"]


@pytest.fixture
def root(tmp_path, fake_llm):
    tmp_path.with_answers(6).with_judges(fake_llm, "a", "b")
    return tmp_path


def test_a_judge_that_is_moved_by_attacks_is_told_from_one_that_is_not(root, fake_llm):
    root.with_judges(fake_llm, "a", "b", "c")
    # a goes by the length, c by the place
    fake_llm.always(by_model(a=ranks(lambda text, _: len(text)), b=verdict(0), c=verdict(1)))
    printed = check(root, "probe", "--turns", 3)
    assert fake_llm.n_requests == 3 * N_ATTACKS * 2 * 3
    judges = summary(root, "probe")
    assert [judges[judge]["moved"] for judge in "abc"] == [1, 0, 0] and N_ATTACKS >= 12
    assert set(judges["a"]["families"]) == set(attacks())
    assert "a: the attacks moved 100.0 % of its verdicts" in printed


def test_every_attack_reaches_the_judge_in_one_answer_and_the_clean_one_is_beside_it(
        root, fake_llm):
    fake_llm.always(verdict(0))
    check(root, "--turns", 1, "probe", "--model", "a")   # flags on either side of the word
    for text in attacks().values():
        pairs = [shown(request) for request in fake_llm.requests if text in request.last]
        assert len(pairs) == 2
        for one, two in pairs:
            clean, attacked = (one, two) if text in two else (two, one)
            assert text not in clean and attacked.replace(f"\n\n{text}", "") == clean


def test_a_judge_that_cannot_tell_is_named_and_one_that_can_passes(root, fake_llm):
    fake_llm.always(by_model(a=sensible, b=verdict(0)))
    printed = check(root, "sanity")
    judges = summary(root, "sanity")
    assert judges["a"]["awake"] is True and judges["b"]["awake"] is False
    assert judges["a"]["scores"] == {"empty": 100, "shuffled": 100, "other": 100, "same": 50}
    assert "b: cannot tell: the data set's turn gets 50 of 100 against empty" in printed
    assert "a: passes" in printed
    assert judges["b"]["draws_with_itself"]["value"] == 1


def test_both_checks_are_resumed_and_a_new_judge_is_asked_alone(root, fake_llm, monkeypatch):
    fake_llm.always(by_model(a=sensible, b=verdict(0), c=prefers("onyx")))
    check(root, "--turns", 2)
    assert fake_llm.n_requests == 2 * (N_ATTACKS + 4) * 2 * 2 and not (root / "score").exists()
    fake_llm.requests.clear()
    monkeypatch.setenv("DUEL_MODE", "1")   # these pairs have a king, whatever the duel is about
    assert check(root, "--turns", 2).count("nothing to do") == 2 and fake_llm.n_requests == 0
    root.with_judges(fake_llm, "a", "b", "c")
    check(root, "sanity", "--turns", 2)
    assert {r.body["model"] for r in fake_llm.requests} == {"c"}
    assert fake_llm.n_requests == 2 * 4 * 2


def test_a_judge_that_fails_leaves_the_others_and_is_asked_again(root, fake_llm):
    fake_llm.always(by_model(a=sensible, b=Status(400, "no")))
    printed = check(root, "sanity", "--turns", 1, code=1)
    assert "again: " in printed
    assert "check_judges.py sanity --root" in printed
    assert "--turns 1" in printed
    assert [summary(root, "sanity")[judge]["awake"] for judge in "ab"] == [True, None]
    fake_llm.requests.clear()
    fake_llm.always(by_model(a=sensible, b=sensible))
    check(root, "sanity", "--turns", 1)
    assert {r.body["model"] for r in fake_llm.requests} == {"b"}
