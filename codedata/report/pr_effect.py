"""Measure the effect of knowing the pull request: leaks, false alarms, drift, length, and a
comparison of variants.

Everything is computed from the rows of a report. Margins are in points of 100, like the duel's,
with 95 % intervals from a bootstrap over instances. Each section is (heading, content): sentences,
and tables as (columns, rows, alignment), which report.md and report.html render. The content is
empty if there is nothing to report.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

from codedata.code.commands import EXPLORE, INSTALL, UNKNOWN
from codedata.duel.judge_stats import share
from codedata.duel.scoring import cluster_means
from codedata.progress import money, plural
from codedata.records import METRICS
from codedata.report.turn_rows import TurnRow, mean_of
from codedata.settings import DuelSettings

Table = tuple[list[str], list[list[str]], str]
Section = tuple[str, list[str | Table]]
MIN_KINGS = 20             # minimum number of judged kings for a rate of false alarms
MAX_FALSE_ALARMS = 0.05    # a leak judge is not trusted if the interval's lower end is above this
MAX_DRIFT = 0.2            # relative change of a figure of style, up or down, that is shown in bold
SAME_LENGTH = 0.2          # maximum difference of equal lengths, as a share of the longer one
SHOWN = ((0.0, "nothing"), (0.5, "up to half"), (0.999, "more than half"), (1.0, "all of it"))
MIN_PAIRS = 5              # minimum number of turns for a correlation
RESAMPLES = 2_000          # number of bootstrap resamples for an interval


def worth(rows: list[TurnRow], others: dict[str, list[TurnRow]], own: DuelSettings, costs: dict[str, str],
          how: str) -> list[Section]:
    """Return the sections that have content, in the order of the report.

    `others` maps each other variant that was judged to its rows, `costs` a variant to its cost as
    text.
    """
    sections = [_leaks(rows), _variants({how: rows, **others}, own, costs), _by_shown(rows, own), _length(rows, own),
                *(_drift(name, of) for name, of in {how: rows, **others}.items()), _metrics(rows), _unknown_steps(rows)]
    return [section for section in sections if section and section[1]]


def _leaks(rows: list[TurnRow]) -> Section:
    """Return the shares of turns with leaks and of kings with false alarms, by kind of leak."""
    looked = [row for row in rows if row.leaks is not None and not row.lacks_verdict]
    kings = [row for row in rows if row.king_leaks is not None]
    if not looked:
        return "Leaks", []
    rate, alarms = _share(looked, lambda row: row.is_leaky), _share(kings, lambda row: bool(row.king_leaks))
    kinds = sorted({one["kind"] for row in rows for one in (*(row.leaks or ()), *(row.king_leaks or ()))})
    lines = [["any", _percent(rate), _percent(alarms)]] + [
        [kind, _percent(_share(looked, lambda row, kind=kind: any(one["kind"] == kind for one in row.leaks))),
         _percent(_share(kings, lambda row, kind=kind: any(one["kind"] == kind for one in row.king_leaks)))]
        for kind in kinds]
    said = [(["kind", f"challengers that leak (of {len(looked)})",
                   f"kings in which the same is found (of {len(kings)}): false alarms"], lines, "lrr")]
    if kings and len(kings) < MIN_KINGS:
        said.append(f"{plural(len(kings), 'king')} were looked at: too few to say how often the leak judge is wrong.")
    elif alarms and alarms["low"] > MAX_FALSE_ALARMS:
        said.append("**The leak judge cannot be trusted: it finds leaks in kings, who know nothing.**")
    spent = [row.leak_cost for row in rows if row.leak_cost is not None]
    said.append(f"The verdicts on these turns cost {money(sum(spent), len(rows) - len(spent), len(rows))}.")
    again = [row for row in rows if row.asked_again]
    wins = [row for row in rows if (row.score or 0) > 50]
    if again:
        kinds = Counter(one["kind"] for row in again for attempt in row.tries() for one in attempt["findings"])
        listed = ", ".join(f"{kind} {n}" for kind, n in kinds.most_common())
        won = sum(row.asked_again > 0 for row in wins)
        said.append(f"{plural(len(again), 'turn')} asked again for leaks "
                    f"({plural(sum(row.asked_again for row in again), 'call')}); "
                    f"{won} of the {plural(len(wins), 'turn')} that the challenger wins are among them."
                    + (f" What was found: {listed}." if listed else ""))
    return "Leaks", said


def _variants(by_how: dict[str, list[TurnRow]], own: DuelSettings, costs: dict[str, str]) -> Section:
    """Return a table of the variants, and the lead of each over the placebo."""
    if len(by_how) < 2:
        return "What knowing the pull request was worth", []
    lines = []
    for how, rows in by_how.items():
        scored = _scored(rows)
        looked = [row for row in rows if row.leaks is not None and not row.lacks_verdict]
        lines.append([how, str(len(scored)), _points(_margin(scored, own)),
                      _percent(_share(looked, lambda row: row.is_leaky)), costs.get(how, ""),
                      f"{mean_of(row.chars[1] for row in scored) or 0:.0f}"])
    said = [(["challenger", "turns", "margin", "leaks", "cost", "characters"], lines, "lrrrrr")]
    placebo = {row.name: row for row in _scored(by_how.get("placebo", []))}
    for how, rows in by_how.items():
        pairs = [(row, placebo[row.name]) for row in _scored(rows) if row.name in placebo]
        if how == "placebo" or not pairs:
            continue
        value, low, high = _interval([2 * (row.score - control.score) for row, control in pairs],
                                     [row.instance_id for row, _ in pairs], own)
        name = "knowing the pull request" if how == "informed" else f"the way `{how}`"
        said.append(f"On the {plural(len(pairs), 'turn')} that both have, {name} is worth {value:.1f} points "
                    f"({low:.1f} to {high:.1f}) beside the placebo.")
        if low <= 0 and _margin([row for row, _ in pairs], own)[0] > 0:
            said.append(f"The placebo has the margin of `{how}` as well, as far as can be told: the prompt won it.")
    return "What knowing the pull request was worth", said


def _by_shown(rows: list[TurnRow], own: DuelSettings) -> Section:
    """Return the margin by the share of the patch that the history shows."""
    kinds: dict[str, list[TurnRow]] = {}
    for row in _scored(rows):
        if row.shown_share is not None:
            kinds.setdefault(next(name for most, name in SHOWN if row.shown_share <= most), []).append(row)
    lines = [[name, str(len(kinds[name])), _points(_margin(kinds[name], own))] for _, name in SHOWN if name in kinds]
    return "By how much of the patch the history had shown", [(
        ["shown", "turns", "margin"], lines, "lrr")] if lines else []


def _length(rows: list[TurnRow], own: DuelSettings) -> Section:
    """Return the margin over all turns and over those whose two sides have equal length."""
    scored = _scored(rows)
    equal = [row for row in scored if abs(row.chars[1] - row.chars[0]) <= SAME_LENGTH * max(*row.chars, 1)]
    lines = [[name, str(len(of)), _points(_margin(of, own))] for name, of in (
        ("all", scored), ("of equal length (within 20 %)", equal)) if of]
    return "Margin at equal length", [(["turns", "number", "margin"], lines, "lrr")] if lines else []


def _drift(how: str, rows: list[TurnRow]) -> Section:
    """Return how the challengers' style differs from the kings'; training teaches that style."""
    figures = {"characters": (lambda row: row.chars), "source files named that the history has not":
               (lambda row: row.n_new_files), "steps that only look": (lambda row: tuple(
                   float(style == EXPLORE) for style in row.styles)), "claims said as a guess":
               (lambda row: row.hedged if None not in row.hedged else None)}
    lines = []
    for name, of in figures.items():
        pairs = [(found, row.instance_id) for row in _scored(rows) if (found := of(row)) is not None]
        king = mean_of(found[0] for found, _ in pairs)
        if not king:
            continue
        ratio = mean_of(found[1] for found, _ in pairs) / king - 1
        interval = _interval([(found[1] - found[0]) / king for found, _ in pairs], [where for _, where in pairs])
        said = f"{100 * ratio:+.0f} % ({100 * interval[1]:+.0f} to {100 * interval[2]:+.0f})"
        lines.append([name, str(len(pairs)), f"{king:.2f}", f"**{said}**" if abs(ratio) > MAX_DRIFT else said])
    return f"Drift of the `{how}` challenger against the king", [(
        ["figure", "turns", "king", "challenger"], lines, "lrrr"), "Bold: more than 20 % either way."] if lines else []


def _metrics(rows: list[TurnRow]) -> Section:
    """Return the share of draws of each metric and its correlations."""
    scored = [row for row in _scored(rows) if row.metrics]
    if len(scored) < MIN_PAIRS:
        return "Metrics", []
    longer = [row.chars[1] - row.chars[0] for row in scored]
    lines = []
    for metric in METRICS:
        values = [row.metrics[metric] for row in scored]
        lines.append([metric, f"{100 * sum(value == 50 for value in values) / len(values):.0f} %",
                      _correlation(values, longer), *("" if other == metric else _correlation(
                          values, [row.metrics[other] for row in scored]) for other in METRICS)])
    return "Metrics", [(["metric", "draws", "with length", *METRICS], lines, "lrr" + "r" * len(METRICS)),
                       "Correlations over turns: with the challenger's additional length, and between the metrics."]


def _unknown_steps(rows: list[TurnRow]) -> Section:
    """Return a note if the commands of the turns could not be read."""
    note = ("What the commands do is not known, nor are all that repeat or stall: the reader of bash is not installed. "
            f"Run: {INSTALL}")
    return "Steps", [note] if any(UNKNOWN in row.styles for row in rows) else []


# figures

def _scored(rows: Iterable[TurnRow]) -> list[TurnRow]:
    """Return the rows that have a score."""
    return [row for row in rows if row.score is not None]


def _margin(rows: list[TurnRow], own: DuelSettings) -> tuple[float, float, float]:
    """Return the challenger's mean lead in points and its interval, as (mean, low, high)."""
    return _interval([2 * row.score - 100 for row in rows], [row.instance_id for row in rows], own)


def _interval(values: list[float], clusters: list[str], own: DuelSettings | None = None) -> tuple[float, float, float]:
    """Return (mean, low, high): the mean and its 95 % interval from a cluster bootstrap."""
    if not values:
        return 0.0, 0.0, 0.0
    means = cluster_means(values, clusters, RESAMPLES, own.seed if own else 0)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(np.mean(values)), float(low), float(high)


def _share(rows: list[TurnRow], has: Callable[[TurnRow], bool]) -> dict | None:
    """Return share() of the rows for which `has` is true, clustered by instance."""
    counts = Counter(row.instance_id for row in rows)
    hits = Counter(row.instance_id for row in rows if has(row))
    return share((instance, hits[instance], n) for instance, n in counts.items())


def _correlation(a: list[float], b: list[float]) -> str:
    """Return Pearson's correlation as text, "-" without variation."""
    if np.std(a) < 1e-12 or np.std(b) < 1e-12:
        return "-"
    return f"{np.corrcoef(a, b)[0, 1]:+.2f}"


def _percent(found: dict | None) -> str:
    """Return a share with its interval as text, in percent."""
    return f"{100 * found['value']:.1f} % ({100 * found['low']:.1f} to {100 * found['high']:.1f})" if found else "-"


def _points(interval: tuple[float, float, float]) -> str:
    """Return (mean, low, high) as text."""
    return "{:.1f} ({:.1f} to {:.1f})".format(*interval)
