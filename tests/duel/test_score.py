"""Check a duel's numbers, worked by hand (score_cases.txt), and what holds for any duel."""
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import root as roots
from line_tables import rows

from codedata.duel.scoring import (
    aggregate,
    bound,
    cluster_means,
    combine_orders,
    decide,
    objections,
    scores_of,
    turn_score,
)
from codedata.records import METRICS
from codedata.settings import DuelSettings

RULES = DuelSettings(min_instances=0)
WORDS = {"C": ("challenger", 1), "K": ("king", 0), "D": ("draw", 0.5)}
BY_HAND = (Path(__file__).parent / "score_cases.txt").read_text()


def by_hand(heading: str) -> list:
    """Return the cases below a [heading] of score_cases.txt."""
    cases = rows(BY_HAND.partition(f"[{heading}]\n")[2].partition("\n[")[0])
    return [pytest.param(*case.values[1:], id=case.values[0]) for case in cases]


def number(text: str) -> float | None:
    top, _, bottom = text.partition("/")
    return None if text == "-" else float(top) / float(bottom or 1)


def expand(names: str) -> list[str]:
    """Return ["a", "b", "c"] of "abc" or "a-c"."""
    return [chr(i) for i in range(ord(names[0]), ord(names[2]) + 1)] if "-" in names else list(
        names)


def values(letters: str) -> dict[str, float]:
    return {metric: WORDS[letter][1] for metric, letter in zip(METRICS, letters, strict=True)}


def entry(judge: str, order: str, letters: str) -> dict:
    """Return a stored entry; - could not be read, ! was not answered."""
    is_read = letters not in ("-", "!")
    return roots.entry(judge, order, [*values(letters).values()] if is_read else None,
                       error="HTTP 500" if letters == "!" else "",
                       usage={} if is_read else {"tries": 3, "timeouts": 1})


def asked(judges: str) -> list[dict]:
    """Return the entries of a turn: asked("a=CCCCC/DDDDD b=-") has king first / challenger first,
    or one text for both.
    """
    letters: dict[str, str] = {}
    for names, _, both in (judge.partition("=") for judge in judges.split()):
        letters |= dict.fromkeys(expand(names), both)
    return [entry(name, order, one) for name, both in letters.items() for order, one in zip(
        ("king_first", "challenger_first"), (both.split("/") * 2)[:2], strict=True)]


def turns_of(turns: str, panel: str, order: str = "both") -> list:
    """Return the turns of a text: turns_of("3 x a=CCCCC, 1 x a=-", "a")."""
    kinds = [kind.partition(" x ") for kind in turns.split(", ") if kind]
    return [turn_score(asked(judges), expand(panel), order) for n, _, judges in kinds
            for _ in range(int(n))]


# ---- one verdict

@pytest.mark.parametrize("order, rival, verdict", rows("""
# MODEL 1 was the king: 1 is the king's, 2 the challenger's
king_first       | king      | KCDKC
challenger_first | king      | CKDCK
king_first       | reference | KCDKC
reference_first  | reference | KCDKC
challenger_first | reference | CKDCK
"""))
def test_picks_become_sides_and_values(order, rival, verdict):
    picks = dict(zip(METRICS, (1, 2, 0, 1, 2), strict=True))
    sides = [rival if letter == "K" else WORDS[letter][0] for letter in verdict]
    assert scores_of(picks, order, rival) == (dict(zip(METRICS, sides, strict=True)),
                                              values(verdict))


@pytest.mark.parametrize("both, combined, classic", rows("""
# the same in both: as it is
CKDCK/CKDCK | CKDCK | CKDCK
# differs everywhere: MODEL 2 always, the position decides; or MODEL 1 always
CCCCC/KKKKK | DDDDD | CCCCC
KKKKK/CCCCC | DDDDD | KKKKK
# C+C, C+K, K+K, D+D, D+C
CCKDD/CKKDC | CDKDD | CCKDD
# a draw and a loss are a draw, not 0.25
DDDDD/KKKKK | DDDDD | DDDDD
# both orders have to be there
CCCCC/-     |       | CCCCC
CCCCC/!     |       | CCCCC
-/CCCCC     |       |
!/CCCCC     |       |
-/-         |       |
"""))
def test_the_two_orders_of_a_judge(both, combined, classic):
    entries = asked(f"a={both}")
    found = values(combined) if combined else None
    assert combine_orders(entries) == combine_orders(entries[::-1]) == found
    assert combine_orders(entries, "king_first") == (values(classic) if classic else None)


def test_which_entries_of_a_judge_count():
    won, both = dict.fromkeys(METRICS, 1), asked("a=CCCCC")
    assert combine_orders(both[:1]) is combine_orders(both[1:], "king_first") is combine_orders(
        []) is None
    assert combine_orders(both[:1], "king_first") == won
    assert combine_orders([*asked("a=-"), *both]) == won   # the last one of an order
    # the reference may give its name to the order
    both[0]["order"] = "reference_first"
    assert combine_orders(both) == combine_orders(both, "king_first") == won
    # beats a parse_ok that someone left standing
    both[0]["error"] = "timeout"
    assert combine_orders(both) is None


# ---- turns and duels by hand

@pytest.mark.parametrize("judges, panel, order, score, metrics, parsed", by_hand("turns"))
def test_a_turn(judges, panel, order, score, metrics, parsed):
    turn = turn_score(asked(judges), list(panel), order)
    assert turn.score == number(score) and list(turn.by_judge) == list(parsed)
    assert turn.parse_ok is (parsed == panel != "")
    assert [*turn.metrics.values()] == [*map(number, metrics.split())]
    assert set(turn.metrics) <= set(METRICS)


def swapped(turns: str, order: str) -> str:
    """Return these turns after the two sides change places: each letter turns round, and the call
    that showed the old king first shows the new challenger first (the classic way has no other).
    """
    turned = turns.translate(str.maketrans("CK", "KC"))
    return re.sub(r"=([^\s,/]+)/([^\s,]+)", r"=\2/\1", turned) if order == "both" else turned


@pytest.mark.parametrize("turns, panel, order, changed, challenger, king, margin, lcb, reasons",
                         by_hand("duels"))
def test_a_duel(turns, panel, order, changed, challenger, king, margin, lcb, reasons):
    rules = replace(RULES,
                    **{key: float(value) for key, value in re.findall(r"(\w+)=(\S+)", changed)})
    rules = replace(rules, min_turns=int(rules.min_turns))
    outcome = decide(turns_of(turns, panel, order), expand(panel), rules)
    total = outcome.total
    assert [total.challenger_score, total.king_score, total.margin] == [
        *map(number, (challenger, king, margin))]
    assert outcome.lcb == (None if lcb == "-" else pytest.approx(200 * number(lcb), abs=1e-9))
    wanted = [reason for reason in reasons.split("; ") if reason]
    assert len(outcome.reasons) == len(wanted), outcome.reasons
    assert all(part in reason
               for part, reason in zip(wanted, outcome.reasons, strict=True)), outcome.reasons
    mirror = decide(turns_of(swapped(turns, order), panel, order), expand(panel), rules).total
    assert (mirror.king_score, mirror.challenger_score, mirror.margin) == (
        total.challenger_score, total.king_score, total.margin and -total.margin)


def test_the_numbers_by_judge_and_by_metric():
    turns = turns_of("1 x a=CCKDD b=KKKKK, 1 x a=CKKDC b=-, 1 x a=CKKDK b=!", "abc")
    total = aggregate(turns, ["a", "b", "c"])
    # a: 3 / 3, 1 / 3, 0, 1.5 / 3, 1.5 / 3 and their mean 7 / 15; b: 0 in its one turn; c: never
    # asked
    judges = [(judge.score, [*judge.metrics.values()], judge.parse_rate)
              for judge in total.judges.values()]
    assert judges == [(46.6667, [100, 33.3333, 0, 50, 50], 1), (0, [0] * 5, 1 / 3), (None, [], 0)]
    # over the judges that have a verdict: (1 + 0) / 2, (1/3 + 0) / 2, 0, (0.5 + 0) / 2 …; 7 / 30 in
    # all
    assert total.metrics == dict(zip(METRICS, (50, 16.6667, 0, 25, 25), strict=True))
    assert (total.challenger_score, total.king_score, total.margin) == (23.3333, 76.6667, -53.3334)
    assert (total.turns, total.turns_judged, total.turns_parsed, total.parsed_frac) == (3, 3, 0, 0)
    without_c = aggregate(turns_of("1 x a=CCKDD b=KKKKK", "ab"), ["a", "b"])
    assert (without_c.turns_parsed, without_c.parsed_frac) == (1, 1)


def test_too_little_parsed_shows_no_score_anywhere_but_says_who_was_unreadable():
    outcome = decide(turns_of("1 x a=CCCCC b=CCCCC, 3 x a=CCCCC b=-", "ab"), ["a", "b"], RULES)
    assert outcome.total.metrics == {} and outcome.total.parsed_frac == 0.25 and outcome.lcb is None
    assert {name: asdict(judge) for name, judge in outcome.total.judges.items()} == {
        name: {"score": None, "metrics": {}, "parse_rate": rate}
        for name, rate in (("a", 1), ("b", 0.25))}


def test_dust_does_not_decide():
    total = aggregate(turns_of("6 x a=CCCCC", "a"), ["a"])
    accepted = [lcb for lcb in (0.0, 1e-13, -1e-13, 1e-11, -1e-11)
                if not objections(total, lcb, RULES, 6, 0)]
    assert accepted == [1e-11]


# ---- the bootstrap

def lcb_of(deltas, alpha: float = 0.05, resamples: int = 500, seed: int = 0) -> float:
    return bound(cluster_means(deltas, range(len(deltas)), resamples, seed), alpha)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(seed)))


@pytest.mark.parametrize("deltas, expected", rows("""
                                | 0
0.3                             | 0.3
-0.5                            | -0.5
0.0                             | 0
0.2 0.2 0.2 0.2 0.2             | 0.2
1e-13 1e-13 1e-13 1e-13 1e-13   | 0
-1e-13                          | 0
# 0.1 + 0.2 - 0.3
5.551115123125783e-17 5.551115123125783e-17 5.551115123125783e-17 | 0
# a quarter of the resamples is -0.5, -0.5
-0.5 0.5                        | -0.5
"""))
def test_small_samples(deltas, expected):
    found = lcb_of([*map(float, deltas.split())], resamples=1000)
    assert found == pytest.approx(float(expected), abs=1e-15)


@pytest.mark.parametrize("n, alpha, seed", [(1, 0.05, 5), (2, 0.05, 5), (7, 0.5, 1), (64, 0.01, 0),
                                            (1000, 0.95, 5), (15_000, 0.05, 2)])
def test_the_bound_is_that_of_one_draw(n, alpha, seed):
    """Compare with a bootstrap in one piece. 15,000 turns are more than one block."""
    deltas = generator().integers(0, 31, n) / 30 - 0.5   # as of three judges of five metrics
    means = deltas[generator(seed).integers(0, n, (300, n))].mean(axis=1)
    assert lcb_of(list(deltas), alpha, 300, seed) == np.quantile(means, alpha)
