"""What a panel's verdicts say about the judges themselves: do they agree, do they see the place, the length, their kin?

Pure arithmetic over the turns of a duel, no files, no calls. Every share comes as {value, low, high, n}: a 95 %
interval, and the number of things counted. Turns of one instance, and the five metrics of one verdict, are not
independent: intervals are those of clusters (an instance each), so they do not shrink with the metrics.

Says nothing about whether a judge is right: five judges that make the same mistake agree perfectly.
"""
from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from codedata.duel.score import CHALLENGER_FIRST, combine_orders
from codedata.records import METRICS

Z = 1.959963984540054   # 97.5 % of the normal law


@dataclass(frozen=True)
class JudgedTurn:
    """What is looked at of a turn."""

    instance_id: str
    judges: list[dict]    # as in Score.judges
    longer_by: int        # characters of the challenger's answer less those of its rival


def statistics(turns: list[JudgedTurn], panel: list[str], kin: dict[str, list[str]], order: str) -> dict:
    """The panel's statistics as _duel.json keeps them. `kin`: the judges of a generator's family, and of whose."""
    said = {name: _Said(turns, name) for name in panel}
    means = {name: [_mean_of(combine_orders(of, order)) for of in said[name].entries] for name in panel}
    judges = {name: {**said[name].about_places(), "prefers_longer": _rank_correlation(
        [(turn.longer_by, mean) for turn, mean in zip(turns, means[name], strict=True) if mean is not None]),
        "calls": said[name].calls()} for name in panel}
    for name, sides in kin.items():
        if name in judges:
            judges[name]["kin_of"] = sides
            judges[name]["beside_the_others"] = _beside(name, means, [n for n in panel if n not in kin],
                                                        said[name].instances)
    return {"judges": judges, "alpha": {metric: _alpha(said.values(), metric, order) for metric in METRICS},
            "effective_votes": effective_votes(list(means.values()))}


class _Said:
    """One judge's entries, a list for each turn."""

    def __init__(self, turns: list[JudgedTurn], name: str):
        self.entries = [[e for e in turn.judges if e["judge"] == name] for turn in turns]
        self.instances = [turn.instance_id for turn in turns]

    def about_places(self) -> dict:
        """Over metrics: how often a verdict changes with the order, and how often the first answer wins."""
        changed, first = [], []
        for instance_id, entries in zip(self.instances, self.entries, strict=True):
            by_order = {e["order"] == CHALLENGER_FIRST: e["scores"] for e in entries if e["parse_ok"]
                        and not e.get("error")}
            for is_challenger_first, scores in by_order.items():
                wins = [value == is_challenger_first for value in scores.values() if value != 0.5]
                first.append((instance_id, sum(wins), len(wins)))
            if len(by_order) == 2:
                changed.append((instance_id, sum(by_order[True][m] != by_order[False][m] for m in METRICS),
                                len(METRICS)))
        return {"changes_with_order": share(changed), "prefers_first": share(first)}

    def calls(self) -> dict:
        """{replies, errors, unread, truncated, retries, timeouts, throttled} of the stored entries."""
        flat = [e for entries in self.entries for e in entries]
        usage = [e.get("usage") or {} for e in flat]
        return {"replies": sum(not e.get("error") for e in flat), "errors": sum(bool(e.get("error")) for e in flat),
                "unread": sum(not e["parse_ok"] and not e.get("error") for e in flat),
                "truncated": sum(bool(e.get("truncated")) for e in flat),
                "retries": sum(u.get("tries", 1) - 1 for u in usage),
                "timeouts": sum(u.get("timeouts", 0) for u in usage),
                "throttled": sum(u.get("throttled", 0) for u in usage)}


def share(counts: Iterable[tuple[str, int, int]]) -> dict | None:
    """{value, low, high, n} of (cluster, hits, of) entries, or None where there is nothing to count.

    Wilson's interval at the number of independent things that would scatter as much as the clusters do.
    """
    sums: dict[str, list[int]] = {}
    for cluster, hits, of in counts:
        if of:
            total = sums.setdefault(cluster, [0, 0])
            total[0] += hits
            total[1] += of
    if not sums:
        return None
    hits, of = np.array(list(sums.values()), dtype=float).T
    k, n = len(of), float(of.sum())
    value = float(hits.sum()) / n
    scatter = float((hits - value * of) @ (hits - value * of)) / n**2 * k / max(k - 1, 1)
    independent = value * (1 - value) / scatter if scatter > 0 and k > 1 else float(k)
    low, high = wilson(value, independent, _t(k - 1))
    return {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4), "n": int(n)}


def wilson(value: float, n: float, z: float = Z) -> tuple[float, float]:
    """Wilson's interval of a share out of n."""
    middle = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def effective_votes(values: list[list[float | None]]) -> float | None:
    """How many independent judges the panel is worth: k / (1 + (k - 1) × mean correlation), 1 at the least, k at most.

    `values`: for each judge its mean score by turn, None where it has none. None where no two judges can be compared.
    """
    table = np.array([[np.nan if v is None else v for v in row] for row in values], dtype=float)
    together = [_correlation(a, b) for i, a in enumerate(table) for b in table[i + 1:]]
    together = [r for r in together if r is not None]
    if not together:
        return None
    k, mean = len(values), sum(together) / len(together)
    return round(min(float(k), k / max(1.0, 1 + (k - 1) * mean)), 2)


def family(model: str) -> str:
    """The kin of a model by its name: "Qwen/Qwen3-235B-A22B" is a qwen, "gpt-5-mini" a gpt."""
    found = re.match(r"[a-z]+", model.rpartition("/")[2].lower())
    return found[0] if found else model.lower()


def kin_of(judges: dict[str, str], generators: dict[str, set[str]]) -> dict[str, list[str]]:
    """{judge: the sides whose model is of its family} for {judge: model} and {side: models}."""
    kin = {name: [side for side, models in generators.items() if family(model) in map(family, models)]
           for name, model in judges.items()}
    return {name: sides for name, sides in kin.items() if sides}


def _beside(name: str, means: dict, others: list[str], instances: list[str]) -> dict | None:
    """Its mean score, and that of the judges of no generator's family, on the turns where both have one."""
    pairs = []
    for i, own in enumerate(means[name]):
        rest = [means[other][i] for other in others if means[other][i] is not None]
        if own is not None and rest:
            pairs.append((instances[i], own, sum(rest) / len(rest)))
    if not pairs:
        return None
    apart = [100 * (own - rest) for _, own, rest in pairs]
    by_instance: dict[str, list[float]] = {}
    for (instance_id, *_), value in zip(pairs, apart, strict=True):
        by_instance.setdefault(instance_id, []).append(value)
    mean, k = sum(apart) / len(apart), len(by_instance)
    off = np.array([sum(values) - mean * len(values) for values in by_instance.values()])
    half = _t(k - 1) * math.sqrt(off @ off * k / (k - 1)) / len(apart) if k > 1 else math.inf
    return {"own": round(100 * sum(own for _, own, _ in pairs) / len(pairs), 2),
            "others": round(100 * sum(rest for *_, rest in pairs) / len(pairs), 2),
            "difference": {"value": round(mean, 2), "low": round(max(-100.0, mean - half), 2),
                           "high": round(min(100.0, mean + half), 2), "n": len(pairs)}}


def _rank_correlation(pairs: list[tuple[float, float]]) -> dict | None:
    """Spearman's, with Bonett and Wright's interval; None with fewer than 5 turns or without variation."""
    if len(pairs) < 5:
        return None
    a, b = (_ranks(np.array(column, dtype=float)) for column in zip(*pairs, strict=True))
    r = _correlation(a, b)
    if r is None:
        return None
    r = min(1.0, max(-1.0, r))
    if abs(r) > 1 - 1e-12:
        low = high = r
    else:
        half = Z * math.sqrt((1 + r * r / 2) / (len(pairs) - 3))
        low, high = math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)
    return {"value": round(r, 4), "low": round(low, 4), "high": round(high, 4), "n": len(pairs)}


def _ranks(values: np.ndarray) -> np.ndarray:
    """Mean ranks: equal values share theirs."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[where]


def _correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    both = ~(np.isnan(a) | np.isnan(b))
    a, b = a[both], b[both]
    if len(a) < 3 or a.std() < 1e-12 or b.std() < 1e-12:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _alpha(said: Iterable[_Said], metric: str, order: str) -> float | None:
    """Krippendorff's alpha (ordinal) of the judges' values; None with fewer than two judges, or without variation."""
    table = np.array([[np.nan if (scores := combine_orders(of, order)) is None else scores[metric]
                       for of in one.entries] for one in said], dtype=float)
    if len(table) < 2 or not ((~np.isnan(table)).sum(axis=0) > 1).any():
        return None
    if len(np.unique(table[~np.isnan(table)])) < 2:
        return None   # not defined: all said the same of every turn
    import krippendorff
    return round(float(krippendorff.alpha(reliability_data=table, level_of_measurement="ordinal",
                                          value_domain=[0.0, 0.5, 1.0])), 4)


def _mean_of(scores: dict[str, float] | None) -> float | None:
    return None if scores is None else sum(scores.values()) / len(scores)


def _t(degrees: int) -> float:
    """97.5 % of Student's law, by its expansion around the normal one (within 1 % from 4 degrees of freedom)."""
    v = max(degrees, 2)
    return Z + (Z**3 + Z) / (4 * v) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * v**2)
