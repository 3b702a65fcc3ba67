"""Compute the outcome of a duel from the judges' verdicts. Read no files and call no models.

A turn's `judges`, as score/<stem>.json stores them, have one entry per judge and order:

    {"judge": name, "order": "king_first" | "challenger_first", "parse_ok": True | False,
     "verdict": {metric: "king" | "challenger" | "draw"}, "scores": {metric: 1 | 0.5 | 0}, "error": "", …}

`scores` holds the challenger's value per metric (won 1, draw 0.5, lost 0); everything here is
computed from it. In a duel against the reference, "reference" takes the place of "king": a verdict
says "reference", an order may be "reference_first", and `king_score` below is the score of the
reference.

The argument `order` is [judge] order: "both" (a judge counts if both orders parsed, and a metric on
which they differ is a draw) or "king_first" (the classic way: only that order counts, even if both
are stored).

Turns must come in natural order of their names, because the bootstrap draws positions. The numbers
do not show how good the judges are: a panel of one noisy judge gives numbers just as smooth.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from codedata.records import METRICS

BOTH, KING_FIRST, CHALLENGER_FIRST = "both", "king_first", "challenger_first"
CLUSTER, TURN = "cluster", "turn"
EXACT_TURNS = 20_000      # above this many turns or clusters, resamples are drawn by counts
BLOCK_CELLS = 1 << 20     # cells drawn at a time: 8 MB of indices and 8 MB of deltas
DUST = 1e-12              # an LCB this near to 0 counts as 0: it is rounding error, not evidence


@dataclass(frozen=True)
class TurnScore:
    """Hold the challenger's score of one turn and the values it is computed from."""

    score: float | None                     # 0..100; None: no judge of the panel has a verdict
    metrics: dict[str, float]               # metric: 0..100; empty without a verdict
    by_judge: dict[str, dict[str, float]]   # only judges with a verdict: {metric: 1 | 0.5 | 0}
    parse_ok: bool                          # every judge of the panel has a verdict


@dataclass(frozen=True)
class JudgeScore:
    """Hold one judge's scores over all turns; None and empty without any verdict."""

    score: float | None
    metrics: dict[str, float]
    parse_rate: float                       # share of the turns, 0..1, on which it has a verdict


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
    turns_parsed: int                       # turns on which every judge has one
    parsed_frac: float                      # turns_parsed / turns; 0 without turns


@dataclass(frozen=True)
class Gate:
    """Hold the decision of the gate and the reasons for a rejection."""

    accepted: bool
    reasons: list[str]                      # empty if accepted
    has_scores: bool                        # False: too few verdicts were parsed to show scores


@dataclass(frozen=True)
class DuelOutcome:
    """Hold the outcome of a duel: scores, confidence bounds and the decision."""

    total: Aggregate
    lcb: float | None                       # the one of the next two that decides
    lcb_turn: float | None
    lcb_cluster: float | None
    interval: tuple[float, float] | None    # 95 % interval of the mean lead in points
    accepted: bool
    reasons: list[str]


def scores_of(picks: dict[str, int], order: str, rival: str = "king") -> tuple[dict[str, str], dict[str, float]]:
    """Return (verdict, scores) for a judge's picks of MODEL 1 and MODEL 2.

    The verdict is {metric: side that won, or "draw"}, the scores are {metric: the challenger's
    value}.
    """
    sides = ("draw", "challenger", rival) if _challenger_first(order) else ("draw", rival, "challenger")
    values = {"challenger": 1, "draw": 0.5, rival: 0}
    verdict = {metric: sides[picks[metric]] for metric in METRICS}
    return verdict, {metric: values[side] for metric, side in verdict.items()}


def combine_orders(entries: list[dict], order: str = BOTH) -> dict[str, float] | None:
    """Return one judge's {metric: 1 | 0.5 | 0} of a turn; None if a needed order was not parsed.

    If an order has several entries, the last one counts. "king_first" ignores the other order.
    Raise ValueError for an unknown order.
    """
    if order not in (BOTH, KING_FIRST):
        raise ValueError(f"order is {order!r}, not {BOTH!r} or {KING_FIRST!r}")
    stored = {_challenger_first(entry["order"]): entry for entry in entries}
    wanted = (False, True) if order == BOTH else (False,)
    if not all(which in stored and _parsed(stored[which]) for which in wanted):
        return None
    first, last = (stored[which]["scores"] for which in (wanted[0], wanted[-1]))
    return {metric: first[metric] if first[metric] == last[metric] else 0.5 for metric in METRICS}


def turn_score(judges: list[dict], panel: list[str], order: str = BOTH) -> TurnScore:
    """Return the score of a turn from the stored entries of the judges in the panel."""
    entries = {name: [] for name in panel}
    for entry in judges:
        if entry["judge"] in entries:
            entries[entry["judge"]].append(entry)
    by_judge = {name: scores for name in entries if (scores := combine_orders(entries[name], order)) is not None}
    if not by_judge:
        return TurnScore(None, {}, {}, False)
    # every judge has five metrics: one division is enough, and sums of halves are exact
    totals = {metric: sum(scores[metric] for scores in by_judge.values()) for metric in METRICS}
    return TurnScore(100 * sum(totals.values()) / (len(METRICS) * len(by_judge)),
                     {metric: 100 * total / len(by_judge) for metric, total in totals.items()},
                     by_judge, len(by_judge) == len(entries))


def delta(turn: TurnScore) -> float:
    """Return the challenger's lead in a turn, -0.5..0.5; a turn without a verdict is lost."""
    return -0.5 if turn.score is None else turn.score / 100 - 0.5


def aggregate(turns: list[TurnScore], panel: list[str]) -> Aggregate:
    """Return the scores of a duel: means over turns per judge and metric, then metrics, then
    judges.

    The arithmetic is exact up to the final rounding, so swapping the sides swaps the two scores to
    the last digit.
    """
    means: dict[str, dict[str, Fraction]] = {}
    counts = {name: sum(name in turn.by_judge for turn in turns) for name in panel}
    for name in (name for name, count in counts.items() if count):
        said = [turn.by_judge[name] for turn in turns if name in turn.by_judge]
        means[name] = {metric: Fraction(sum(scores[metric] for scores in said)) / len(said) for metric in METRICS}
    judges = {name: JudgeScore(_percent(_mean(means[name].values())) if name in means else None,
                               {metric: _percent(mean) for metric, mean in means.get(name, {}).items()},
                               counts[name] / len(turns) if turns else 0.0) for name in counts}
    parsed = sum(turn.parse_ok for turn in turns)
    evidence = {"judges": judges, "turns": len(turns), "turns_judged": sum(bool(turn.by_judge) for turn in turns),
                "turns_parsed": parsed, "parsed_frac": parsed / len(turns) if turns else 0.0}
    if not means:
        return Aggregate(None, None, None, metrics={}, **evidence)
    metrics = {metric: _percent(_mean(of[metric] for of in means.values())) for metric in METRICS}
    share = _mean(_mean(of.values()) for of in means.values())
    challenger, king = _percent(share), _percent(1 - share)
    margin = round(challenger - king, 4)   # removes float error: 52.3 - 47.7 is 4.6
    return Aggregate(challenger, king, margin, metrics=metrics, **evidence)


def bootstrap_lcb(deltas: list[float], alpha: float, resamples: int, seed: int) -> float:
    """Return the lower confidence bound of the mean: the alpha quantile of bootstrap means.

    The bound of no deltas is 0, that of a single delta is the delta.
    """
    return bound(turn_means(deltas, resamples, seed), alpha)


def bound(means: np.ndarray, alpha: float) -> float:
    """Return the alpha quantile of resampled means; 0 if there are none or it is nearly 0."""
    value = float(np.quantile(means, alpha)) if len(means) else 0.0
    return 0.0 if abs(value) < DUST else value


def turn_means(deltas: list[float], resamples: int, seed: int) -> np.ndarray:
    """Return the means of bootstrap resamples of the turns; an empty array without turns."""
    deltas = np.asarray(deltas, dtype=float)
    if not len(deltas):
        return deltas
    means = means_by_count if len(deltas) > EXACT_TURNS else means_by_position
    return means(_generator(seed), deltas, resamples)


def cluster_means(deltas: list[float], clusters: list[str], resamples: int, seed: int) -> np.ndarray:
    """Return the means of cluster-bootstrap resamples: turns of one instance are not independent.

    Each resample draws as many whole clusters as there are, and its mean is over all turns drawn.
    The clusters are ordered by their first turn. If every cluster has one turn, the result equals
    that of turn_means().
    """
    sums: dict[str, list[float]] = {}
    for cluster, value in zip(clusters, deltas, strict=True):
        total = sums.setdefault(cluster, [0.0, 0])
        total[0] += value
        total[1] += 1
    if len(sums) == len(deltas):
        return turn_means(deltas, resamples, seed)
    totals, counts = np.array(list(sums.values()), dtype=float).T
    if len(sums) > EXACT_TURNS:
        return _cluster_means_by_count(_generator(seed), totals, counts, resamples)

    def draw(rows: int) -> np.ndarray:
        which = generator.integers(0, len(totals), (rows, len(totals)))
        return totals[which].sum(axis=1) / counts[which].sum(axis=1)

    generator = _generator(seed)
    return _in_blocks(resamples, len(totals), BLOCK_CELLS, draw)


def _cluster_means_by_count(generator, totals: np.ndarray, counts: np.ndarray, resamples: int) -> np.ndarray:
    """Return equally distributed means, in time that grows with the distinct clusters."""
    kinds, times = np.unique(np.stack([totals, counts], axis=1), axis=0, return_counts=True)
    shares = times / len(totals)

    def draw(rows: int) -> np.ndarray:
        drawn = generator.multinomial(len(totals), shares, rows)
        return (drawn * kinds[:, 0]).sum(axis=1) / (drawn * kinds[:, 1]).sum(axis=1)

    return _in_blocks(resamples, len(kinds), BLOCK_CELLS, draw)


def _generator(seed: int) -> np.random.Generator:
    """Return a random generator whose stream is fixed by the seed."""
    return np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(seed)))


def means_by_position(generator: np.random.Generator, deltas: np.ndarray, resamples: int,
                      block_cells: int = BLOCK_CELLS) -> np.ndarray:
    """Return the means of bootstrap resamples, which do not depend on the block size."""
    return _in_blocks(resamples, len(deltas), block_cells, lambda rows: deltas[
        generator.integers(0, len(deltas), (rows, len(deltas)))].mean(axis=1))


def means_by_count(generator: np.random.Generator, deltas: np.ndarray, resamples: int,
                   block_cells: int = BLOCK_CELLS) -> np.ndarray:
    """Return equally distributed means, in time that grows with the distinct deltas.

    The counts of the distinct deltas in a resample are drawn from a multinomial distribution.
    """
    values, counts = np.unique(deltas, return_counts=True)
    shares = counts / len(deltas)
    return _in_blocks(resamples, len(values), block_cells, lambda rows: (   # not @: its rounding depends on the rows
        generator.multinomial(len(deltas), shares, rows) * values).sum(axis=1) / len(deltas))


def _in_blocks(resamples: int, columns: int, block_cells: int, draw) -> np.ndarray:
    """Return the results of draw(rows) for all resamples, drawn in blocks to bound the memory."""
    rows = max(1, block_cells // columns)
    return np.concatenate([draw(min(rows, resamples - first)) for first in range(0, resamples, rows)])


def gate(total: Aggregate, lcb: float, *, win_margin: float, min_valid_turn_frac: float, min_turns: int,
         turns_left: int = 0, n_instances: int = 0, min_instances: int = 0) -> Gate:
    """Accept if enough verdicts of enough turns and instances were parsed, margin >= win_margin and
    LCB > 0.

    Turns that are not judged yet (`turns_left`) do not count against the challenger, but while
    there are too many of them, no duel is accepted.
    """
    if not total.turns_judged:
        seen = f"in {_turns(total.turns)}" if total.turns else "because there are no turns"
        return Gate(False, [f"no verdict was parsed {seen}"], False)
    if total.parsed_frac < min_valid_turn_frac:
        return Gate(False, [f"every judge parsed in only {total.turns_parsed} of {_turns(total.turns)}: "
                            f"{total.parsed_frac:.4g} < min_valid_turn_frac {min_valid_turn_frac:g}"], False)
    reasons = []
    if total.turns_judged < min_turns:
        reasons.append(f"only {_turns(total.turns_judged)} with a verdict < min_turns {min_turns}")
    if n_instances < min_instances:
        reasons.append(f"only {n_instances} instances with a verdict < min_instances {min_instances}: turns of one "
                       "instance are one piece of evidence")
    everything = total.turns + turns_left
    if total.turns_parsed < min_valid_turn_frac * everything:
        reasons.append(f"{_turns(turns_left)} of {everything} not judged yet")
    if total.margin < win_margin:
        reasons.append(f"margin {total.margin:.4f} < win_margin {win_margin:g}")
    if lcb < DUST:
        reasons.append(f"LCB {lcb:.6f} is not above 0")
    return Gate(not reasons, reasons, True)


def decide(turns: list[TurnScore], panel: list[str], *, win_margin: float, gate_alpha: float, bootstrap_resamples: int,
           min_valid_turn_frac: float, min_turns: int, seed: int, clusters: list[str] | None = None,
           bootstrap: str = TURN, turns_left: int = 0, min_instances: int = 0) -> DuelOutcome:
    """Return the outcome of a duel; scores and bounds are None if too few verdicts were parsed.

    `clusters` are the instances of the turns; without them, each turn is a cluster of its own.
    `bootstrap` ("cluster" or "turn") selects the resampling whose bound decides.
    """
    total = aggregate(turns, panel)
    deltas = [delta(turn) for turn in turns]
    means = {TURN: turn_means(deltas, bootstrap_resamples, seed)}
    single = not clusters or len(set(clusters)) == len(clusters)   # both give the same numbers
    means[CLUSTER] = means[TURN] if single else cluster_means(deltas, clusters, bootstrap_resamples, seed)
    lcbs = {kind: bound(of, gate_alpha) for kind, of in means.items()}
    judged = {instance for instance, turn in zip(clusters or range(len(turns)), turns, strict=True) if turn.by_judge}
    said = gate(total, lcbs[bootstrap], win_margin=win_margin, min_valid_turn_frac=min_valid_turn_frac,
                min_turns=min_turns, turns_left=turns_left, n_instances=len(judged), min_instances=min_instances)
    if not said.has_scores:
        judges = {name: JudgeScore(None, {}, judge.parse_rate) for name, judge in total.judges.items()}
        total = replace(total, challenger_score=None, king_score=None, margin=None, judges=judges, metrics={})
        return DuelOutcome(total, None, None, None, None, said.accepted, said.reasons)
    interval = tuple(round(200 * bound(means[bootstrap], side), 4) for side in (0.025, 0.975))
    return DuelOutcome(total, lcbs[bootstrap], lcbs[TURN], lcbs[CLUSTER], interval, said.accepted, said.reasons)


def _challenger_first(order: str) -> bool:
    """Return whether the challenger was MODEL 1.

    Raise ValueError for an unknown order, which would swap the sides.
    """
    if order not in (CHALLENGER_FIRST, KING_FIRST, "reference_first"):
        raise ValueError(f"an order is {order!r}, not {KING_FIRST!r}, 'reference_first' or {CHALLENGER_FIRST!r}")
    return order == CHALLENGER_FIRST


def _parsed(entry: dict) -> bool:
    """Return whether an entry holds a readable verdict."""
    return entry["parse_ok"] and not entry.get("error")


def _mean(values) -> Fraction:
    values = list(values)
    return sum(values, Fraction(0)) / len(values)


def _percent(share: Fraction) -> float:
    """Return a share 0..1 as 0..100, rounded to 4 decimals."""
    return float(round(100 * share, 4))


def _turns(count: int) -> str:
    return f"{count} turn" if count == 1 else f"{count} turns"
