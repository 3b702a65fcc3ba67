"""The numbers of a duel, worked by hand, and what has to hold for any duel.

C the challenger won a metric, K the king, D a draw; five letters are the five metrics of one judge in one order.
"""
from __future__ import annotations

import random
import time
import tracemalloc
from dataclasses import asdict

import numpy as np
import pytest

from codedata.duel.scoring import (
    EXACT_TURNS,
    aggregate,
    bootstrap_lcb,
    combine_orders,
    decide,
    delta,
    gate,
    means_by_count,
    means_by_position,
    scores_of,
    turn_score,
)
from codedata.duel.verdict import METRICS

DEFAULTS = {"win_margin": 2.0, "gate_alpha": 0.05, "bootstrap_resamples": 10_000, "min_valid_turn_frac": 0.5,
            "min_turns": 5, "seed": 0}
WORDS = {"C": "challenger", "K": "king", "D": "draw"}
VALUES = {"C": 1, "K": 0, "D": 0.5}


def entry(judge: str, order: str, letters: str) -> dict:
    """A stored entry. "-": the reply held no verdict. "!": the call failed."""
    if letters in ("-", "!"):
        return {"judge": judge, "order": order, "parse_ok": False, "verdict": {}, "scores": {}, "raw": "?",
                "error": "HTTP 500" if letters == "!" else ""}
    return {"judge": judge, "order": order, "parse_ok": True, "raw": "{…}", "error": "",
            "verdict": {metric: WORDS[letter] for metric, letter in zip(METRICS, letters, strict=True)},
            "scores": {metric: VALUES[letter] for metric, letter in zip(METRICS, letters, strict=True)}}


def asked(**judges: str) -> list[dict]:
    """The entries of a turn: asked(a="CCCCC/DDDDD", b="-"): king first / challenger first, or the same in both."""
    return [entry(name, order, letters) for name, both in judges.items()
            for order, letters in zip(("king_first", "challenger_first"), (both.split("/") * 2)[:2], strict=True)]


def rules(**changed) -> dict:
    return {**DEFAULTS, **changed}


# ---- one verdict

@pytest.mark.parametrize("order, rival, verdict, scores", [
    # MODEL 1 was the king: 1 is the king's, 2 the challenger's
    ("king_first", "king", ["king", "challenger", "draw", "king", "challenger"], [0, 1, 0.5, 0, 1]),
    ("challenger_first", "king", ["challenger", "king", "draw", "challenger", "king"], [1, 0, 0.5, 1, 0]),
    ("king_first", "reference", ["reference", "challenger", "draw", "reference", "challenger"], [0, 1, 0.5, 0, 1]),
    ("reference_first", "reference", ["reference", "challenger", "draw", "reference", "challenger"], [0, 1, 0.5, 0, 1]),
    ("challenger_first", "reference", ["challenger", "reference", "draw", "challenger", "reference"],
     [1, 0, 0.5, 1, 0]),
])
def test_picks_become_sides_and_values(order, rival, verdict, scores):
    picks = dict(zip(METRICS, (1, 2, 0, 1, 2), strict=True))
    assert scores_of(picks, order, rival) == (dict(zip(METRICS, verdict, strict=True)),
                                              dict(zip(METRICS, scores, strict=True)))


def test_a_misspelt_order_raises_and_turns_no_verdict_round():
    with pytest.raises(ValueError, match="challenger-first"):
        scores_of(dict.fromkeys(METRICS, 1), "challenger-first")
    with pytest.raises(ValueError, match="kings_first"):
        combine_orders([entry("a", "kings_first", "CCCCC")])
    with pytest.raises(ValueError, match="challenger_first"):
        combine_orders(asked(a="CCCCC"), "challenger_first")


# ---- one judge in one turn: (king first / challenger first, values in both orders, values the classic way)
ORDERS = [
    ("CKDCK/CKDCK", "CKDCK", "CKDCK"),   # the same in both: as it is
    ("CCCCC/KKKKK", "DDDDD", "CCCCC"),   # differs everywhere: MODEL 2 always, the position decides
    ("KKKKK/CCCCC", "DDDDD", "KKKKK"),   # MODEL 1 always
    ("CCKDD/CKKDC", "CDKDD", "CCKDD"),   # C+C, C+K, K+K, D+D, D+C
    ("DDDDD/KKKKK", "DDDDD", "DDDDD"),   # a draw and a loss are a draw, not 0.25
    ("CCCCC/-", None, "CCCCC"),          # both orders have to be there
    ("CCCCC/!", None, "CCCCC"),
    ("-/CCCCC", None, None),
    ("!/CCCCC", None, None),
    ("-/-", None, None),
]


@pytest.mark.parametrize("both, combined, classic", ORDERS)
def test_the_two_orders_of_a_judge(both, combined, classic):
    def values(letters):
        return letters and dict(zip(METRICS, (VALUES[letter] for letter in letters), strict=True))
    assert combine_orders(asked(a=both)) == values(combined)
    assert combine_orders(asked(a=both)[::-1]) == values(combined)
    assert combine_orders(asked(a=both), "king_first") == values(classic)


def test_one_order_alone_or_none():
    assert combine_orders(asked(a="CCCCC")[:1]) is None
    assert combine_orders(asked(a="CCCCC")[1:], "king_first") is None
    assert combine_orders(asked(a="CCCCC")[:1], "king_first") == dict.fromkeys(METRICS, 1)
    assert combine_orders([]) is combine_orders([], "king_first") is None


def test_an_error_beats_a_parse_ok_that_someone_left_standing():
    entries = asked(a="CCCCC")
    entries[0]["error"] = "timeout"
    assert combine_orders(entries) is None


def test_the_last_entry_of_an_order_counts():
    assert combine_orders([*asked(a="-"), *asked(a="CCCCC")]) == dict.fromkeys(METRICS, 1)


def test_the_reference_may_give_its_name_to_the_order():
    entries = asked(a="CCCCC")
    entries[0]["order"] = "reference_first"
    assert combine_orders(entries) == combine_orders(entries, "king_first") == dict.fromkeys(METRICS, 1)


# ---- one turn: (judges, panel, order, score, metrics, parsed judges, every judge parsed)
TURNS = {
    "all won": ({"a": "CCCCC"}, "a", "both", 100, [100] * 5, "a", True),
    "all lost": ({"a": "KKKKK"}, "a", "both", 0, [0] * 5, "a", True),
    "all draws": ({"a": "DDDDD"}, "a", "both", 50, [50] * 5, "a", True),
    # (1 + 1 + 0 + 0.5 + 0.5) / 5 = 3 / 5
    "some of each": ({"a": "CCKDD"}, "a", "both", 60, [100, 100, 0, 50, 50], "a", True),
    # combined 1, 0.5, 0, 0.5, 0.5: 2.5 / 5
    "orders differ in part": ({"a": "CCKDD/CKKDC"}, "a", "both", 50, [100, 50, 0, 50, 50], "a", True),
    "the same, the classic way": ({"a": "CCKDD/CKKDC"}, "a", "king_first", 60, [100, 100, 0, 50, 50], "a", True),
    # (0.6 + 0.8) / 2; metrics (1+1)/2, (1+1)/2, (0+1)/2, (0.5+1)/2, (0.5+0)/2
    "two judges": ({"a": "CCKDD", "b": "CCCCK"}, "ab", "both", 70, [100, 100, 50, 75, 25], "ab", True),
    # b is left out, not counted as 0
    "one judge dead": ({"a": "CCKDD", "b": "-"}, "ab", "both", 60, [100, 100, 0, 50, 50], "a", False),
    "one judge dead in one order": ({"a": "CCKDD", "b": "CCCCC/!"}, "ab", "both", 60,
                                    [100, 100, 0, 50, 50], "a", False),
    "the same, the classic way, has both": ({"a": "CCKDD", "b": "CCCCC/!"}, "ab", "king_first", 80,
                                            [100, 100, 50, 75, 75], "ab", True),
    "one judge never asked": ({"a": "CCKDD"}, "ab", "both", 60, [100, 100, 0, 50, 50], "a", False),
    "one judge removed from the panel": ({"a": "CCKDD", "b": "KKKKK"}, "a", "both", 60,
                                         [100, 100, 0, 50, 50], "a", True),
    "a dead judge removed": ({"a": "CCKDD", "b": "-"}, "a", "both", 60, [100, 100, 0, 50, 50], "a", True),
    # (1 + 1 + 0) / 3
    "three judges": ({"a": "CCCCC", "b": "CCCCC", "c": "KKKKK"}, "abc", "both", 200 / 3, [200 / 3] * 5, "abc", True),
    # 0.8 three times is 0.8 and not 0.8000000000000002: a bucket starts at 80
    "three judges at the border": ({"a": "CCCCK", "b": "CCCKC", "c": "KCCCC"}, "abc", "both", 80,
                                   [200 / 3, 100, 100, 200 / 3, 200 / 3], "abc", True),
    # 0.6 + 0.6 + 0.7 + 0.7 + 0.7 = 3.3 of 5: 66, where a bucket starts too
    "five judges at the border": ({"a": "CCCKK", "b": "CCCKK", "c": "CCCDK", "d": "CCCDK", "e": "CCCDK"}, "abcde",
                                  "both", 66, [100, 100, 100, 30, 0], "abcde", True),
    "all dead": ({"a": "-", "b": "!"}, "ab", "both", None, [], "", False),
    "nobody asked": ({}, "ab", "both", None, [], "", False),
    "no panel": ({"a": "CCCCC"}, "", "both", None, [], "", False),
}


@pytest.mark.parametrize("name", TURNS)
def test_a_turn(name):
    judges, panel, order, score, metrics, parsed, parse_ok = TURNS[name]
    turn = turn_score(asked(**judges), list(panel), order)
    assert turn.score == score and list(turn.by_judge) == list(parsed) and turn.parse_ok is parse_ok
    assert turn.metrics == dict(zip(METRICS, metrics, strict=bool(metrics)))


@pytest.mark.parametrize("judges, expected", [
    ({"a": "CCCCC"}, 0.5), ({"a": "KKKKK"}, -0.5), ({"a": "DDDDD"}, 0.0), ({"a": "-"}, -0.5),
    ({"a": "CCDDD"}, 0.2),   # (2 + 1.5) / 5 = 0.7
])
def test_a_turn_without_a_verdict_counts_as_lost(judges, expected):
    assert delta(turn_score(asked(**judges), ["a"])) == pytest.approx(expected, abs=1e-15)


# ---- duels. `turns` is a list of (how many, judges); the panel is every letter of `panel`.
def turns_of(turns: list[tuple[int, dict]], panel: str, order: str = "both"):
    return [turn_score(asked(**judges), list(panel), order) for count, judges in turns for _ in range(count)]


WON, LOST, DRAWN, DEAD = {"a": "CCCCC"}, {"a": "KKKKK"}, {"a": "DDDDD"}, {"a": "-"}
NUDGED = {"a": "CDDDD"}   # (1 + 4 * 0.5) / 5 = 0.6
TEN = dict.fromkeys("abcdefghij", "DDDDD")
TWENTY = dict.fromkeys("abcdefghijklmnopqrst", "DDDDD")

# name: (turns, panel, order, changed rules, challenger, king, margin, LCB, what each reason holds; none: accepted)
DUELS = {
    # 0 < 2 and 0 is not above 0
    "all draws": ([(6, DRAWN)], "a", "both", {}, 50, 50, 0, 0, ["margin 0.0000 < win_margin 2", "LCB"]),
    "all won": ([(6, WON)], "a", "both", {}, 100, 0, 100, 0.5, []),
    "all lost": ([(6, LOST)], "a", "both", {}, 0, 100, -100, -0.5, ["margin -100.0000", "LCB -0.5"]),
    # (9 * 0.5 + 0.6) / 10 = 0.51: the margin is 51 - 49. Without the nudged turn a resample has the mean 0, and
    # 0.9 ** 10 = 35 % of them are without it.
    "exact margin, one turn makes it": ([(9, DRAWN), (1, NUDGED)], "a", "both", {}, 51, 49, 2, 0, ["LCB 0.000000"]),
    # ten judges, one of fifty metrics won: 25.5 / 50 = 0.51 in every turn
    "exact margin in every turn": ([(5, {**TEN, "a": "CDDDD"})], "abcdefghij", "both", {}, 51, 49, 2, 0.01, []),
    "a hair below the margin": ([(5, {**TEN, "a": "CDDDD"})], "abcdefghij", "both", {"win_margin": 2.0001}, 51, 49, 2,
                                0.01, ["margin 2.0000 < win_margin 2.0001"]),
    # twenty judges, one of a hundred metrics won: 50.5
    "half the margin, but surely": ([(8, {**TWENTY, "a": "CDDDD"})], "abcdefghijklmnopqrst", "both", {}, 50.5, 49.5, 1,
                                    0.005, ["margin 1.0000"]),
    # (77 * 0.5 + 23 * 0.6) / 100 = 0.523; as floats 52.3 - 47.7 is 4.599999999999994. LCB: resamples hold 23 +- 4.2
    # nudged turns, at 5 % 16, each worth 0.1 / 100.
    "exact margin of 4.6": ([(77, DRAWN), (23, NUDGED)], "a", "both", {"win_margin": 4.6}, 52.3, 47.7, 4.6, 0.016, []),
    # 5 / 10 is not below 0.5. Where b is dead, a alone makes the turn: every delta is 0.5.
    "exactly half parsed": ([(5, {"a": "CCCCC", "b": "CCCCC"}), (5, {"a": "CCCCC", "b": "-"})], "ab", "both", {},
                            100, 0, 100, 0.5, []),
    "less than half parsed": ([(4, {"a": "CCCCC", "b": "CCCCC"}), (6, {"a": "CCCCC", "b": "-"})], "ab", "both", {},
                              None, None, None, None, ["4 of 10 turns: 0.4 < min_valid_turn_frac 0.5"]),
    "exactly four of five parsed": ([(4, WON), (1, DEAD)], "a", "both", {"min_valid_turn_frac": 0.8, "min_turns": 4},
                                    # Bin(5, 0.2) dead ones: P(>= 3) = 5.8 %, P(>= 4) = 0.7 %, so (2 - 3) / 2 / 5
                                    100, 0, 100, -0.1, ["LCB -0.1"]),
    "one judge dead all along": ([(8, {"a": "CCCCC", "b": "-"})], "ab", "both", {}, None, None, None, None,
                                 ["0 of 8 turns"]),
    # 0 is not below 0: judged by a alone
    "one judge dead, and that allowed": ([(8, {"a": "CCCCC", "b": "-"})], "ab", "both", {"min_valid_turn_frac": 0},
                                         100, 0, 100, 0.5, []),
    "one judge dead in one order": ([(8, {"a": "CCCCC", "b": "CCCCC/-"})], "ab", "both", {}, None, None, None, None,
                                    ["0 of 8 turns"]),
    "the same, the classic way": ([(8, {"a": "CCCCC", "b": "CCCCC/-"})], "ab", "king_first", {}, 100, 0, 100, 0.5, []),
    # The five dead turns are in no mean, but are -0.5 each in the bootstrap. Of 10, Bin(10, 0.5) are won:
    # P(<= 1) = 1.1 %, P(<= 2) = 5.5 %, so 2 won and 8 dead: (2 - 8) / 2 / 10.
    "half of the turns dead": ([(5, WON), (5, DEAD)], "a", "both", {}, 100, 0, 100, -0.3, ["LCB -0.3"]),
    "more than half dead": ([(5, WON), (6, DEAD)], "a", "both", {}, None, None, None, None, ["5 of 11 turns"]),
    # 18 won, 2 dead, Bin(20, 0.1) dead ones: P(>= 4) = 13 %, P(>= 5) = 4.3 %: (16 - 4) / 2 / 20
    "a few turns dead": ([(18, WON), (2, DEAD)], "a", "both", {}, 100, 0, 100, 0.3, []),
    # a: (1 + 1 + 1 + 1) / 4 = 1, b: 0 / 1 = 0, and the mean of both is 0.5, not 4 / 5. The turns: 0.5, 1, 1, 1, the
    # deltas 0, 0.5, 0.5, 0.5; Bin(4, 0.25) zeros: P(>= 3) = 5.1 %, P(4) = 0.4 %: 0.5 / 4
    "uneven coverage": ([(1, {"a": "CCCCC", "b": "KKKKK"}), (3, {"a": "CCCCC", "b": "-"})], "ab", "both",
                        {"min_valid_turn_frac": 0.25, "min_turns": 4}, 50, 50, 0, 0.125, ["margin 0.0000"]),
    # a: (1 + 0) / 2 = 0.5, b: (0.6 + 0.6 + 0.6) / 3 = 0.6: 0.55. Every turn but the first two has one judge.
    "uneven coverage of three turns": ([(1, {"a": "CCCCC", "b": "CDDDD"}), (1, {"a": "KKKKK", "b": "CDDDD"}),
                                        (1, {"a": "-", "b": "CDDDD"})], "ab", "both", {"min_turns": 3}, 55, 45, 10,
                                       # deltas 0.3, -0.2, 0.1; 1 / 27 = 3.7 % are -0.2 three times, 3 / 27 = 11 %
                                       # more are -0.2, -0.2, 0.1: -0.3 / 3
                                       -0.1, ["LCB -0.1"]),
    # Bin(20, 0.6) won: P(<= 7) = 2.1 %, P(<= 8) = 5.7 %: (8 - 12) / 2 / 20
    "huge variance": ([(12, WON), (8, LOST)], "a", "both", {}, 60, 40, 20, -0.1, ["LCB -0.1"]),
    "one turn": ([(1, WON)], "a", "both", {}, 100, 0, 100, 0.5, ["only 1 turn with a verdict < min_turns 5"]),
    "one turn, and that enough": ([(1, WON)], "a", "both", {"min_turns": 1}, 100, 0, 100, 0.5, []),
    "one turn, dead": ([(1, DEAD)], "a", "both", {"min_turns": 1}, None, None, None, None,
                       ["no verdict was parsed in 1"]),
    "no turn": ([], "a", "both", {}, None, None, None, None, ["no verdict was parsed because there are no turns"]),
    "no turn, and nothing asked for": ([], "a", "both", {"min_turns": 0, "min_valid_turn_frac": 0}, None, None, None,
                                       None, ["no turns"]),
    "all dead": ([(6, DEAD)], "a", "both", {}, None, None, None, None, ["no verdict was parsed in 6 turns"]),
    "all dead, and that allowed": ([(6, DEAD)], "a", "both", {"min_valid_turn_frac": 0}, None, None, None, None,
                                   ["no verdict was parsed in 6 turns"]),
    "no panel": ([(6, WON)], "", "both", {}, None, None, None, None, ["no verdict was parsed in 6 turns"]),
    "four turns": ([(4, WON)], "a", "both", {}, 100, 0, 100, 0.5, ["only 4 turns"]),
    "five turns, just enough": ([(5, WON)], "a", "both", {}, 100, 0, 100, 0.5, []),
    # a dead turn is no evidence; the LCB as above, with Bin(5, 0.2)
    "five turns, one dead": ([(4, WON), (1, DEAD)], "a", "both", {}, 100, 0, 100, -0.1, ["only 4 turns", "LCB -0.1"]),
    # MODEL 2 whatever it is: the challenger in one order, the king in the other
    "the position decides": ([(6, {"a": "CCCCC/KKKKK"})], "a", "both", {}, 50, 50, 0, 0, ["margin", "LCB"]),
    "the position decides, the classic way": ([(6, {"a": "CCCCC/KKKKK"})], "a", "king_first", {}, 100, 0, 100, 0.5, []),
    # agreement on the first metric only: (1 + 4 * 0.5) / 5
    "orders differ on four metrics": ([(6, {"a": "CCCCC/CKKKK"})], "a", "both", {}, 60, 40, 20, 0.1, []),
    "one judge agrees with itself, one does not": ([(6, {"a": "CCCCC", "b": "KKKKK/CCCCC"})], "ab", "both", {},
                                                   # (1 + 0.5) / 2
                                                   75, 25, 50, 0.25, []),
    # (0.6 + 0.5 + 0.5) / 3 = 0.53333: rounded, then subtracted. LCB: (2 / 3) ** 3 = 30 % hold none that is nudged
    "a third": ([(1, NUDGED), (2, DRAWN)], "a", "both", {"min_turns": 3}, 53.3333, 46.6667, 6.6666, 0, ["LCB"]),
    # 2 / 3; LCB: 1 / 27 = 3.7 % are lost three times, 6 / 27 more twice: (0.5 - 1) / 3
    "two thirds": ([(2, WON), (1, LOST)], "a", "both", {"min_turns": 3}, 66.6667, 33.3333, 33.3334, -1 / 6, ["LCB"]),
    # (63 * 0.5 + 0.6) / 64 = 0.5015625: 50.15625 and 49.84375 are both ties, and go to the even digit
    "a tie in the fourth decimal": ([(63, DRAWN), (1, NUDGED)], "a", "both", {"win_margin": 0.3}, 50.1562, 49.8438,
                                    0.3124, 0, ["LCB"]),   # 63 / 64 to the 64th is 37 %
    "the tie from the other side": ([(63, DRAWN), (1, {"a": "KDDDD"})], "a", "both", {}, 49.8438, 50.1562, -0.3124,
                                    # 64 draws of 1 / 64: none 36 %, one 37 %, two 18 %, three 6 %, four 1.5 %. P(>= 3)
                                    # = 8 %, P(>= 4) = 1.9 %: -0.1 * 3 / 64
                                    -0.3 / 64, ["margin", "LCB"]),
}


@pytest.mark.parametrize("name", DUELS)
def test_a_duel(name):
    turns, panel, order, changed, challenger, king, margin, lcb, reasons = DUELS[name]
    outcome = decide(turns_of(turns, panel, order), list(panel), **rules(**changed))
    total = outcome.total
    assert (total.challenger_score, total.king_score, total.margin) == (challenger, king, margin)
    assert outcome.lcb == (None if lcb is None else pytest.approx(lcb, abs=1e-12))
    assert outcome.accepted is (not reasons)
    assert len(outcome.reasons) == len(reasons), outcome.reasons
    assert all(part in said for part, said in zip(reasons, outcome.reasons, strict=True)), outcome.reasons


def test_there_are_enough_cases_by_hand():
    assert len(DUELS) + len(TURNS) + len(ORDERS) >= 60 and len(DUELS) >= 35


def test_the_numbers_by_judge_and_by_metric():
    turns = turns_of([(1, {"a": "CCKDD", "b": "KKKKK"}), (1, {"a": "CKKDC", "b": "-"}), (1, {"a": "CKKDK", "b": "!"})],
                     "abc")
    total = aggregate(turns, ["a", "b", "c"])
    # a: 3 / 3, 1 / 3, 0, 1.5 / 3, 1.5 / 3 and their mean 7 / 15; b: 0 in its one turn; c: never asked
    assert asdict(total.judges["a"]) == {
        "score": 46.6667, "metrics": dict(zip(METRICS, (100, 33.3333, 0, 50, 50), strict=True)), "parse_rate": 1}
    assert asdict(total.judges["b"]) == {"score": 0, "metrics": dict.fromkeys(METRICS, 0), "parse_rate": 1 / 3}
    assert asdict(total.judges["c"]) == {"score": None, "metrics": {}, "parse_rate": 0}
    # over the judges that have a verdict: (1 + 0) / 2, (1/3 + 0) / 2, 0, (0.5 + 0) / 2 …; 7 / 30 in all
    assert total.metrics == dict(zip(METRICS, (50, 16.6667, 0, 25, 25), strict=True))
    assert (total.challenger_score, total.king_score, total.margin) == (23.3333, 76.6667, -53.3334)
    assert (total.turns, total.turns_judged, total.turns_parsed, total.parsed_frac) == (3, 3, 0, 0)
    without_c = aggregate([turn_score(asked(a="CCKDD", b="KKKKK"), ["a", "b"])], ["a", "b"])
    assert (without_c.turns_parsed, without_c.parsed_frac) == (1, 1)


def test_too_little_parsed_shows_no_score_anywhere_but_says_who_was_unreadable():
    outcome = decide(turns_of([(1, {"a": "CCCCC", "b": "CCCCC"}), (3, {"a": "CCCCC", "b": "-"})], "ab"), ["a", "b"],
                     **DEFAULTS)
    assert outcome.total.metrics == {} and outcome.total.parsed_frac == 0.25 and outcome.lcb is None
    assert {name: asdict(judge) for name, judge in outcome.total.judges.items()} == {
        "a": {"score": None, "metrics": {}, "parse_rate": 1}, "b": {"score": None, "metrics": {}, "parse_rate": 0.25}}


@pytest.mark.parametrize("lcb, accepted", [(0.0, False), (1e-13, False), (-1e-13, False), (1e-11, True),
                                           (-1e-11, False)])
def test_dust_does_not_decide(lcb, accepted):
    total = aggregate(turns_of([(6, WON)], "a"), ["a"])
    assert gate(total, lcb, win_margin=2.0, min_valid_turn_frac=0.5, min_turns=5).accepted is accepted


# ---- swap the sides

def random_duel(draw: random.Random, n: int, names: str) -> list[dict[str, str]]:
    """Turns of letters: judges with a lean, who now and then contradict themselves or say nothing."""
    turns = []
    for _ in range(n):
        judges = {}
        for name in names:
            first = "".join(draw.choices("CKD", (5, 3, 2), k=5))
            last = "".join(letter if draw.random() < 0.8 else draw.choice("CKD") for letter in first)
            judges[name] = f"{'-' if draw.random() < 0.05 else first}/{'-' if draw.random() < 0.05 else last}"
        turns.append(judges)
    return turns


def swapped(judges: dict[str, str], order: str) -> dict[str, str]:
    """The same replies if the two sides change places. Each letter turns round; and the call that showed the old king
    first is the one that shows the new challenger first. The classic way has no other order to change with."""
    turn = str.maketrans("CK", "KC")
    return {name: "/".join(both.translate(turn).split("/")[::-1 if order == "both" else 1])
            for name, both in judges.items()}


@pytest.mark.parametrize("order", ["both", "king_first"])
@pytest.mark.parametrize("seed", range(12))
def test_swap_the_sides_and_the_verdict_mirrors(seed, order):
    draw = random.Random(seed)
    names = "abcde"[:1 + seed % 5]
    duel = random_duel(draw, draw.randint(5, 40), names)
    there = [turn_score(asked(**judges), list(names), order) for judges in duel]
    back = [turn_score(asked(**swapped(judges, order)), list(names), order) for judges in duel]
    a, b = aggregate(there, list(names)), aggregate(back, list(names))
    assert (a.challenger_score, a.king_score, a.margin) == (b.king_score, b.challenger_score, -b.margin)   # exactly
    assert (a.turns, a.turns_judged, a.parsed_frac) == (b.turns, b.turns_judged, b.parsed_frac)
    for name in names:
        assert a.judges[name].parse_rate == b.judges[name].parse_rate
        assert a.judges[name].score == pytest.approx(100 - b.judges[name].score, abs=1e-9)
    for one, other in zip(there, back, strict=True):
        assert one.parse_ok == other.parse_ok and (one.score is None) == (other.score is None)
        if one.score is not None:
            assert one.score == pytest.approx(100 - other.score, abs=1e-12)
    # a turn without any verdict counts against whoever is the challenger; over the others, the lower bound of the one
    # is the upper bound of the other, from the same draws
    judged = [delta(turn) for turn in there if turn.score is not None]
    lost = [delta(turn) for turn in back if turn.score is not None]
    assert bootstrap_lcb(judged, 0.05, 500, seed) == pytest.approx(-bootstrap_lcb(lost, 0.95, 500, seed), abs=1e-12)
    assert not (decide(there, list(names), **DEFAULTS).accepted and decide(back, list(names), **DEFAULTS).accepted)


def test_a_won_duel_swapped_is_lost_and_the_other_way_round():
    duel = [{"a": "CCCDK/CCCDD", "b": "CCDDD"}] * 10
    there = decide([turn_score(asked(**judges), ["a", "b"]) for judges in duel], ["a", "b"], **DEFAULTS)
    back = decide([turn_score(asked(**swapped(judges, "both")), ["a", "b"]) for judges in duel], ["a", "b"], **DEFAULTS)
    # a: 1, 1, 1, 0.5, 0.5 = 0.8; b: 1, 1, 0.5, 0.5, 0.5 = 0.7
    assert (there.total.challenger_score, there.lcb, there.accepted) == (75, pytest.approx(0.25), True)
    assert (back.total.challenger_score, back.lcb, back.accepted) == (25, pytest.approx(-0.25), False)


# ---- the bootstrap

def generator(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(seed)))


def some_deltas(n: int, seed: int = 0) -> np.ndarray:
    """As three judges of five metrics give them: multiples of 1 / 30."""
    return generator(seed).integers(0, 31, n) / 30 - 0.5


@pytest.mark.parametrize("deltas, expected", [([], 0.0), ([0.3], 0.3), ([-0.5], -0.5), ([0.0], 0.0), ([0.2] * 9, 0.2),
                                              ([1e-13] * 9, 0.0), ([-1e-13], 0.0), ([0.1 + 0.2 - 0.3] * 4, 0.0),
                                              ([-0.5, 0.5], -0.5)])   # a quarter of the resamples is -0.5, -0.5
def test_small_samples(deltas, expected):
    assert bootstrap_lcb(deltas, 0.05, 1000, 0) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("n", [1, 2, 7, 64, 1000, 15_000])
def test_the_bound_is_that_of_one_draw(n):
    """As the issue writes it, in one piece. 15,000 turns are more than one block."""
    deltas = some_deltas(n)
    means = deltas[generator(5).integers(0, n, (300, n))].mean(axis=1)
    assert bootstrap_lcb(list(deltas), 0.05, 300, 5) == np.quantile(means, 0.05)


@pytest.mark.parametrize("means", [means_by_position, means_by_count])
@pytest.mark.parametrize("n", [1, 3, 17, 200, 1001])
def test_blocks_of_any_size_give_the_same_numbers(means, n):
    deltas = some_deltas(n)
    whole = means(generator(), deltas, 101, 10**9)
    assert len(whole) == 101
    for cells in (1, 5, n, 3 * n, 31 * 7, 10 * n + 1):
        assert np.array_equal(means(generator(), deltas, 101, cells), whole)


def test_the_seed_decides_and_the_order_of_turns_matters():
    deltas = some_deltas(40)
    assert bootstrap_lcb(deltas, 0.05, 500, 1) == bootstrap_lcb(deltas, 0.05, 500, 1)
    assert len({bootstrap_lcb(deltas, 0.05, 500, seed) for seed in range(5)}) > 1
    assert bootstrap_lcb(deltas, 0.05, 500, 1) != bootstrap_lcb(deltas[::-1], 0.05, 500, 1)


def test_a_smaller_alpha_gives_a_lower_bound():
    deltas = some_deltas(40)
    bounds = [bootstrap_lcb(deltas, alpha, 2000, 0) for alpha in (0.001, 0.05, 0.5, 0.95)]
    assert bounds == sorted(bounds) and bounds[0] < bounds[-1]
    assert bounds[2] == pytest.approx(deltas.mean(), abs=0.02)


@pytest.mark.parametrize("deltas", [some_deltas(300), np.array([0.5] * 90 + [-0.5] * 10), np.array([0.1] * 50)],
                         ids=["many values", "wins and losses", "one value"])
def test_counting_draws_from_the_same_law(deltas):
    resamples, n = 20_000, len(deltas)
    one, other = means_by_position(generator(1), deltas, resamples), means_by_count(generator(2), deltas, resamples)
    error = deltas.std() / np.sqrt(n)   # of a mean; over `resamples` means, a moment or quantile is 100 times surer
    assert abs(one.mean() - other.mean()) <= 5 * error * np.sqrt(2 / resamples) + 1e-12
    assert one.std() == pytest.approx(other.std(), rel=0.03, abs=1e-12)
    for alpha in (0.01, 0.05, 0.5, 0.95):
        # wins and losses: means lie on a grid of 1 / n, so two quantiles may be one step apart
        apart = 1 / n if len(set(deltas)) == 2 else 1e-12
        assert abs(np.quantile(one, alpha) - np.quantile(other, alpha)) <= 0.1 * error + apart


def test_beyond_the_limit_the_bound_is_where_theory_has_it():
    """The mean of many turns is normal: the bound is 1.645 standard errors below it."""
    deltas = some_deltas(EXACT_TURNS + 1)
    error = deltas.std() / np.sqrt(len(deltas))
    for seed in range(3):
        lcb = bootstrap_lcb(deltas, 0.05, 10_000, seed)
        assert (deltas.mean() - lcb) / error == pytest.approx(1.645, abs=0.1)
    assert bootstrap_lcb(deltas[::-1], 0.05, 1000, 0) == bootstrap_lcb(deltas, 0.05, 1000, 0)   # positions no more
    exact = bootstrap_lcb(deltas[:EXACT_TURNS], 0.05, 300, 0)
    assert exact == np.quantile(means_by_position(generator(), deltas[:EXACT_TURNS], 300), 0.05)


def test_memory_stays_small():
    deltas = some_deltas(EXACT_TURNS)
    tracemalloc.start()
    bootstrap_lcb(deltas, 0.05, 400, 0)   # in one piece 64 MB of indices and 64 MB of deltas
    bootstrap_lcb(generator().random(EXACT_TURNS + 1), 0.05, 100, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6


def test_ten_thousand_turns_of_three_judges_are_counted_quickly():
    draw = random.Random(0)
    duel = random_duel(draw, 500, "abc")
    stored = [asked(**judges) for judges in duel] * 20
    before = time.thread_time()
    turns = [turn_score(judges, ["a", "b", "c"]) for judges in stored]
    aggregate(turns, ["a", "b", "c"])
    assert len(turns) == 10_000 and time.thread_time() - before < 3
