"""Check statistics about judges, worked by hand, and the bound from instances drawn whole."""
import numpy as np
import pytest
from line_tables import rows
from test_score import asked, generator

from codedata.duel.judge_stats import (
    JudgedTurn,
    family,
    same_family,
    share,
    statistics,
    wilson,
)
from codedata.duel.scoring import BOTH, cluster_means, decide, turn_score
from codedata.settings import DuelSettings


def turn(instance_id: str = "i", **judges) -> JudgedTurn:
    """Return a turn: turn(a="CCCCC/KKKKK") has a's verdicts king first / challenger first; "-"
    could not be read.
    """
    return JudgedTurn(instance_id, asked(" ".join(map("=".join, judges.items()))))


def turns(n: int, **judges) -> list[JudgedTurn]:
    """Return `n` such turns, of an instance each."""
    return [turn(f"i{k}", **judges) for k in range(n)]


def of(turns, panel="a", kin=None) -> dict:
    return statistics(turns, list(panel), kin or {}, BOTH)


@pytest.mark.parametrize("verdicts, changes, prefers_first, low, n", [
    ("KKKKK/CCCCC", 1, 1, 0.8, 200),   # always the first
    ("CCCKD", 0, 0.5, 0.2, 160),       # sees only the answers
    ("CCKKD/CCKKK", 0.2, 4 / 9, 0.2, 180)])
def test_how_often_a_judge_changes_with_the_order_and_prefers_the_first(
        verdicts, changes, prefers_first, low, n):
    judge = of(turns(20, a=verdicts))["judges"]["a"]
    first = judge["prefers_first"]
    assert judge["changes_with_order"]["value"] == changes
    assert first["value"] == pytest.approx(prefers_first, abs=1e-4)
    assert low < first["low"] <= first["high"] <= 1 and first["n"] == n


def test_draws_say_nothing_of_the_place_and_one_order_nothing_of_changes():
    judge = of(turns(3, a="DDDDD/-"))["judges"]["a"]
    assert judge["prefers_first"] is None and judge["changes_with_order"] is None
    assert judge["calls"] == {"replies": 6, "errors": 0, "unread": 3, "truncated": 0, "retries": 6,
                              "timeouts": 3, "throttled": 0}


def test_alpha_against_a_hand_worked_table_and_none_where_nobody_differs_and_for_one_judge():
    # two judges, four judged, nominal in effect (no draws): 3 agreements, 1 disagreement
    pairs = [("C", "C"), ("K", "K"), ("C", "C"), ("C", "K")]
    judged = [turn(f"i{k}", a=x + "DDDD", b=y + "DDDD") for k, (x, y) in enumerate(pairs)]
    # observed 2/8 of pairable values off; expected 2 * 5 * 3 / (8 * 7): alpha = 1 - (2/8) / (30/56)
    alpha = of(judged, "ab")["alpha"]
    assert alpha.pop("correctness") == pytest.approx(1 - (2 / 8) / (30 / 56), abs=1e-4)
    assert {*alpha.values()} == {*of(judged)["alpha"].values()} == {None}


@pytest.mark.parametrize("model, kin", rows("""
Qwen/Qwen3-235B-A22B-Thinking-2507 | qwen
moonshotai/Kimi-K2.6-TEE           | kimi
deepseek-ai/DeepSeek-V3.2-TEE      | deepseek
gpt-5-mini                         | gpt
meta-llama/Llama-4-Scout           | llama
claude-sonnet-4-5                  | claude
"""))
def test_the_family_of_a_model_is_read_from_its_name(model, kin):
    assert family(model) == kin


def test_a_judge_of_the_challenger_s_family_is_flagged_beside_the_others():
    kin = same_family({"a": "Qwen/Qwen3-8B", "b": "gpt-5"},
                      {"king": {"kimi-k2"}, "challenger": {"qwen2.5-coder"}})
    assert kin == {"a": ["challenger"]}
    judged = [turn(f"i{k}", a="CCCCD", b="CKKKD" if k % 2 else "KKKKD") for k in range(10)]
    judge = of(judged, "ab", kin)["judges"]["a"]
    beside = judge["beside_the_others"]
    assert judge["kin_of"] == ["challenger"] and (beside["own"], beside["others"]) == (90.0, 20.0)
    assert beside["difference"]["value"] == 70
    assert beside["difference"]["low"] < 70 < beside["difference"]["high"]
    assert "kin_of" not in of(judged, "ab", kin)["judges"]["b"]


def test_wilson_s_interval():
    assert wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson(0.0, 10)[0] == 0 and wilson(1.0, 10)[1] == pytest.approx(1)


def test_turns_of_one_instance_do_not_make_an_interval_narrower():
    apart = share((f"i{k}", k % 2, 1) for k in range(60))
    copies = share((f"i{k % 20}", k % 20 % 2, 1) for k in range(60))   # each said three times
    assert apart["value"] == copies["value"] == 0.5 and apart["n"] == copies["n"]
    assert copies["high"] - copies["low"] > 1.6 * (apart["high"] - apart["low"])


# the bound ---------------------------------------------------------------------------------------


def test_clusters_are_drawn_whole_in_the_order_of_their_first_turn():
    deltas, clusters = [0.5, -0.5, 0.1, 0.3], ["x", "y", "x", "x"]
    sums, counts = np.array([0.9, -0.5]), np.array([3, 1])
    drawn = generator(7).integers(0, 2, (300, 2))
    expected = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    assert cluster_means(deltas, clusters, 300, 7) == pytest.approx(expected)


def test_turns_of_one_instance_decide_as_one_and_the_bound_lies_in_the_interval():
    judged = [turn_score(turn(a="CCCCC" if k % 7 > 2 else "KKKKK").judges, ["a"])
              for k in range(30)]
    apart, together = (decide(judged, ["a"], DuelSettings(), clusters)
                       for clusters in (None, [f"i{k // 8}" for k in range(30)]))
    assert apart.lcb != together.lcb
    assert "only 4 instances with a verdict < min_instances 5" in together.reasons[0]
    low, high = together.interval
    assert low < together.total.margin < high
