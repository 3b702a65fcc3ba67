"""Compute the outcome of a duel from the judges' verdicts. Read no files and call no models.

A turn's `judges`, as score/<stem>.json stores them, have one entry per judge and order:

    {"judge": name, "order": "king_first" | "challenger_first", "parse_ok": True | False,
     "verdict": {metric: "king" | "challenger" | "draw"}, "scores": {metric: 1 | 0.5 | 0},
     "error": "", …}

`scores` holds the challenger's value per metric (won 1, draw 0.5, lost 0); everything here is
computed from it. In a duel against the reference, "reference" takes the place of "king": a verdict
says "reference", an order may be "reference_first", and `king_score` below is the score of the
reference.

The argument `order` is [judge] order. With "both", a judge counts if the replies in both orders
were parsed; if their verdicts on a metric differ, the metric is a draw. With "king_first" (the
classic way), only that order counts, even if verdicts in both orders are stored.

Turns must come in natural order of their names, because the bootstrap draws positions. The numbers
do not show how good the judges are: a panel of one noisy judge gives numbers just as smooth.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import mean

from codedata.checks.resampling import DUST, RESAMPLES, SEED, bound, cluster_means
from codedata.records import METRICS
from codedata.settings import DuelSettings
from codedata.terminal import plural

BOTH, CHALLENGER_FIRST = "both", "challenger_first"   # codedata.records checks stored orders
POINTS = 200              # points of the margin for a lead of 1


@dataclass(frozen=True)
class TurnScore:
    """Hold the challenger's score for one turn, and the values that the score is computed from."""

    score: float | None                     # 0..100; None: no judge of the panel has a verdict
    metrics: dict[str, float]               # metric: 0..100; empty without a verdict
    by_judge: dict[str, dict[str, float]]   # only judges with a verdict: {metric: 1 | 0.5 | 0}
    parse_ok: bool                          # every judge of the panel has a verdict


@dataclass(frozen=True)
class JudgeScore:
    """Hold one judge's scores over all turns; None and empty without any verdict."""

    score: float | None
    metrics: dict[str, float]
    parse_rate: float                       # share of turns, 0..1, with the judge's verdict


@dataclass(frozen=True)
class Aggregate:
    """Hold the scores over all turns: 0..100, rounded to 4 decimals.

    They are None and empty if no verdict was parsed.
    """

    challenger_score: float | None
    king_score: float | None
    margin: float | None
    judges: dict[str, JudgeScore]           # every judge of the panel
    metrics: dict[str, float]               # the challenger's, mean over the judges
    turns: int
    turns_judged: int                       # turns on which at least one judge has a verdict
    turns_parsed: int                       # turns on which every judge has a verdict
    parsed_frac: float                      # turns_parsed / turns; 0 without turns


@dataclass(frozen=True)
class DuelOutcome:
    """Hold the outcome of a duel: scores, confidence bounds and the decision."""

    total: Aggregate
    lcb: float | None                       # for the margin in points, from resampled instances
    interval: list[float] | None            # 95 % interval of the margin in points
    reasons: list[str]                      # why the duel is not accepted; [] if it is accepted


def sides_shown(order: str, rival: str) -> tuple[str, str]:
    """Return the sides that a judge sees as (MODEL 1, MODEL 2)."""
    return ("challenger", rival) if order == CHALLENGER_FIRST else (rival, "challenger")


def scores_of(picks: dict[str, int], order: str,
              rival: str = "king") -> tuple[dict[str, str], dict[str, float]]:
    """Return (verdict, scores) for a judge's picks of MODEL 1 and MODEL 2.

    The verdict is {metric: side that won, or "draw"}, the scores are {metric: the challenger's
    value}.
    """
    sides = ("draw", *sides_shown(order, rival))
    values = {"challenger": 1, "draw": 0.5, rival: 0}
    verdict = {metric: sides[picks[metric]] for metric in METRICS}
    return verdict, {metric: values[side] for metric, side in verdict.items()}


def combine_orders(entries: list[dict], order: str = BOTH) -> dict[str, float] | None:
    """Return one judge's {metric: 1 | 0.5 | 0} of a turn; None if a needed order was not parsed.

    If an order has several entries, the last one counts. "king_first" ignores the other order.
    """
    scores = {entry["order"] == CHALLENGER_FIRST: is_parsed(entry) and entry["scores"]
              for entry in entries}
    one = scores.get(False)
    other = scores.get(True) if order == BOTH else one
    if not one or not other:
        return None
    return {metric: one[metric] if one[metric] == other[metric] else 0.5 for metric in METRICS}


def turn_score(judges: list[dict], panel: list[str], order: str = BOTH) -> TurnScore:
    """Return the score of a turn from the stored entries of the judges in the panel."""
    by_judge = {name: scores for name in panel if (scores := combine_orders(
        [entry for entry in judges if entry["judge"] == name], order))}
    if not by_judge:
        return TurnScore(None, {}, {}, False)
    # every judge has five metrics: one division is enough, and sums of halves are exact
    totals = {metric: sum(scores[metric] for scores in by_judge.values()) for metric in METRICS}
    return TurnScore(100 * sum(totals.values()) / (len(METRICS) * len(by_judge)),
                     {metric: 100 * total / len(by_judge) for metric, total in totals.items()},
                     by_judge, len(by_judge) == len(panel))


def delta(turn: TurnScore) -> float:
    """Return the challenger's lead in a turn, -0.5..0.5; a turn without a verdict is lost."""
    return -0.5 if turn.score is None else turn.score / 100 - 0.5


def aggregate(turns: list[TurnScore], panel: list[str],
              min_valid_turn_frac: float = 0.0) -> Aggregate:
    """Return the scores of a duel: means over turns per judge and metric, then metrics, then
    judges.

    No score is shown if the share of turns on which every judge has a verdict is below
    `min_valid_turn_frac`. The arithmetic is exact up to the final rounding, so swapping the sides
    swaps the two scores to the last digit.
    """
    n_turns = max(1, len(turns))
    n_judged = sum(bool(turn.by_judge) for turn in turns)
    n_parsed = sum(turn.parse_ok for turn in turns)
    parsed_frac = n_parsed / n_turns
    judges, of_all = {}, []
    for name in panel:
        judged = [turn.by_judge[name] for turn in turns if name in turn.by_judge]
        of_judge = []
        if judged and parsed_frac >= min_valid_turn_frac:
            of_judge = [{metric: Fraction(100 * sum(scores[metric] for scores in judged))
                         / len(judged) for metric in METRICS}]
        judges[name] = JudgeScore(*_mean_scores(of_judge), len(judged) / n_turns)
        of_all += of_judge
    score, metrics = _mean_scores(of_all)
    king = margin = None
    if of_all:   # rounding removes float error: 52.3 - 47.7 is 4.6
        king = round(100 - score, 4)
        margin = round(score - king, 4)
    return Aggregate(score, king, margin, judges, metrics, len(turns), n_judged, n_parsed,
                     parsed_frac)


def _mean_scores(judges: list[dict[str, Fraction]]) -> tuple[float | None, dict[str, float]]:
    """Return the means over judges as (score, {metric: score}), both rounded to 4 decimals.

    `judges` holds the scores of each by metric; without one, return (None, {}).
    """
    if not judges:
        return None, {}
    means = {metric: mean(of_judge[metric] for of_judge in judges) for metric in METRICS}
    return float(round(mean(means.values()), 4)), {
        metric: float(round(score, 4)) for metric, score in means.items()}


def decide(turns: list[TurnScore], panel: list[str], rules: DuelSettings,
           clusters: Sequence | None = None, turns_left: int = 0) -> DuelOutcome:
    """Return the outcome of a duel; scores and bounds are None if too few verdicts were parsed.

    `clusters` are the instances of the turns; without them, each turn is its own cluster.
    """
    total = aggregate(turns, panel, rules.min_valid_turn_frac)
    if total.margin is None:
        return DuelOutcome(total, None, None, [_unreadable(total, rules)])
    clusters = clusters or range(len(turns))
    margins = POINTS * cluster_means([delta(turn) for turn in turns], clusters, RESAMPLES, SEED)
    lcb = bound(margins, rules.gate_alpha)
    interval = [round(bound(margins, q), 4) for q in (0.025, 0.975)]
    judged = {cluster for cluster, turn in zip(clusters, turns, strict=True) if turn.by_judge}
    reasons = objections(total, lcb, rules, len(judged), turns_left)
    return DuelOutcome(total, lcb, interval, reasons)


def _unreadable(total: Aggregate, rules: DuelSettings) -> str:
    """Return why too few verdicts were parsed to show scores."""
    if not total.turns:
        return "no verdict was parsed because there are no turns"
    if not total.turns_judged:
        return f"no verdict was parsed in {plural(total.turns, 'turn')}"
    return (f"every judge parsed in only {total.turns_parsed} of {plural(total.turns, 'turn')}: "
            f"{total.parsed_frac:.4g} < min_valid_turn_frac {rules.min_valid_turn_frac:g}")


def objections(total: Aggregate, lcb: float, rules: DuelSettings, n_instances: int,
               turns_left: int) -> list[str]:
    """Return the objections to the challenger: too little evidence, too small a margin or LCB.

    Turns not judged yet (`turns_left`) do not count against the challenger, but a duel is not
    accepted while there are too many of them.
    """
    n_all = total.turns + turns_left
    checks = (
        (total.turns_judged < rules.min_turns,
         f"only {plural(total.turns_judged, 'turn')} with a verdict < min_turns {rules.min_turns}"),
        (n_instances < rules.min_instances,
         f"only {n_instances} instances with a verdict < min_instances {rules.min_instances}: "
         "turns of one instance are one piece of evidence"),
        (total.turns_parsed < rules.min_valid_turn_frac * n_all,
         f"{plural(turns_left, 'turn')} of {n_all} not judged yet"),
        (total.margin < rules.win_margin,
         f"margin {total.margin:.4f} < win_margin {rules.win_margin:g}"),
        (lcb < DUST, f"LCB {lcb:.4f} is not above 0"))
    return [reason for applies, reason in checks if applies]


def has_reply(entry: dict) -> bool:
    """Return whether a judge replied, even if no verdict could be read."""
    return not entry.get("error") or bool(entry.get("usage"))


def is_parsed(entry: dict) -> bool:
    """Return whether an entry holds a readable verdict."""
    return entry["parse_ok"] and not entry.get("error")
