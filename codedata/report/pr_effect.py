"""Measure the effect of knowing the pull request: leaks, false alarms, drift, length, and a
comparison of variants.

Everything is computed from the rows of a report. Margins are in points of 100, like the duel's,
with 95 % intervals from a bootstrap over instances. The content of a section is empty if there is
nothing to report.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from codedata.code.commands import EXPLORE, INSTALL, UNKNOWN
from codedata.duel.judge_stats import share
from codedata.duel.scoring import cluster_means
from codedata.progress import money, plural
from codedata.records import METRICS, Share
from codedata.report.content import Section, interval_text, percent_text
from codedata.report.turn_rows import TurnRow, mean_of
from codedata.settings import DuelSettings

MIN_KINGS = 20             # minimum number of judged kings for a rate of false alarms
MAX_FALSE_ALARMS = 0.05    # a leak judge is not trusted if the interval's lower end is above this
MAX_DRIFT = 0.2            # relative change of a figure of style, up or down, that is shown in bold
SAME_LENGTH = 0.2          # maximum difference of equal lengths, as a share of the longer one
SHOWN = ((0.0, "nothing"), (0.5, "up to half"), (0.999, "more than half"), (1.0, "all of it"))
MIN_PAIRS = 5              # minimum number of turns for a correlation
RESAMPLES = 2_000          # number of bootstrap resamples for an interval
FIGURES = {                # of style: (king's value, challenger's value) of a row, or None
    "characters": lambda row: row.chars,
    "source files named that the history has not": lambda row: row.n_new_files,
    "steps that only look": lambda row: [float(style == EXPLORE) for style in row.styles],
    "claims made as a guess": lambda row: None if None in row.hedged else row.hedged}


def pr_effect(rows: list[TurnRow], others: dict[str, list[TurnRow]], settings: DuelSettings,
              costs: dict[str, str], how: str) -> list[Section]:
    """Return the sections that have content, in the order of the report.

    `how` is the variant of `rows`. `others` maps each other variant that was judged to its rows,
    `costs` a variant to its cost as text.
    """
    variants = {how: rows, **others}
    seed = settings.seed
    sections = [
        ("Leaks", _leaks(rows)),
        ("What knowing the pull request was worth", _variants(variants, seed, costs)),
        ("By how much of the patch the history had shown", _by_shown(rows, seed)),
        ("Margin at equal length", _length(rows, seed)),
        *((f"Drift of the {name} challenger against the king", _drift(of_variant))
          for name, of_variant in variants.items()),
        ("Metrics", _metrics(rows)), ("Steps", _unknown_steps(rows))]
    return [section for section in sections if section[1]]


def _unknown_steps(rows: list[TurnRow]) -> list[str]:
    """Return a note if the commands of the turns could not be read."""
    note = ("What the commands do is not known, nor are all that repeat or stall: the reader of "
            f"bash is not installed. Run: {INSTALL}")
    return [note] if any(UNKNOWN in row.styles for row in rows) else []


def _leaks(rows: list[TurnRow]) -> list:
    """Return the shares of turns with leaks and of kings with false alarms, by kind of leak."""
    judged = _leak_judged(rows)
    if not judged:
        return []
    kings = [row for row in rows if row.king_leaks is not None]
    kinds = sorted({one["kind"] for row in rows
                    for one in (*(row.leaks or ()), *(row.king_leaks or ()))})
    lines = []
    for kind in ("", *kinds):
        lines.append([kind or "any", percent_text(_share(judged, "leaks", kind)),
                      percent_text(_share(kings, "king_leaks", kind))])
    items = [(["kind", f"challengers that leak (of {len(judged)})",
               f"kings in which the same is found (of {len(kings)}): false alarms"], lines, "lrr")]
    alarms = _share(kings, "king_leaks")
    if 0 < len(kings) < MIN_KINGS:
        items.append(f"{plural(len(kings), 'king')} were looked at: too few to say how often the "
                     "leak judge is wrong.")
    elif alarms and alarms["low"] > MAX_FALSE_ALARMS:
        items.append("**The leak judge cannot be trusted: it finds leaks in kings, who know "
                     "nothing.**")
    costs = [row.leak_cost for row in rows if row.leak_cost is not None]
    spent = money(sum(costs), len(rows) - len(costs), len(rows))
    items.append(f"The verdicts on these turns: {spent}.")
    return items + _refused(rows)


def _leak_judged(rows: list[TurnRow]) -> list[TurnRow]:
    """Return the rows whose challenger was checked for leaks by every leak judge."""
    return [row for row in rows if row.leaks is not None and not row.lacks_verdict]


def _refused(rows: list[TurnRow]) -> list[str]:
    """Return [a sentence on the turns that were asked for again], or []."""
    again = [row for row in rows if row.asked_again]
    if not again:
        return []
    wins = [row for row in rows if (row.score or 0) > 50]
    kinds = Counter(one["kind"] for row in again for attempt in row.tries()
                    for one in attempt["findings"])
    listed = ", ".join(f"{kind} {n}" for kind, n in kinds.most_common())
    n_calls = sum(row.asked_again for row in again)
    n_won = sum(bool(row.asked_again) for row in wins)
    return [f"Asked for again because of leaks: {plural(len(again), 'turn')} "
            f"({plural(n_calls, 'call')}); {n_won} of the {plural(len(wins), 'turn')} that the "
            "challenger wins are among them." + (f" Found, by kind: {listed}." if listed else "")]


def _variants(variants: dict[str, list[TurnRow]], seed: int, costs: dict[str, str]) -> list:
    """Return a table of the variants, and the lead of each over the placebo."""
    if len(variants) < 2:
        return []
    lines = []
    for how, rows in variants.items():
        scored = _scored(rows)
        leaky = _share(_leak_judged(rows), "leaks")
        chars = mean_of(row.chars[1] for row in scored) or 0
        n_unpicked = sum(row.is_unpicked for row in scored)
        note = f" ({plural(n_unpicked, 'draw')}: none was picked)" if n_unpicked else ""
        lines.append([how, f"{len(scored)}{note}", interval_text(_margin(scored, seed), 1),
                      percent_text(leaky), costs.get(how, ""), f"{chars:.0f}"])
    items = [(["challenger", "turns", "margin", "leaks", "cost", "characters"], lines, "lrrrrr")]
    placebo = {row.name: row for row in _scored(variants.get("placebo", []))}
    for how, rows in variants.items():
        pairs = [(row, placebo[row.name]) for row in _scored(rows) if row.name in placebo]
        if how == "placebo" or not pairs:
            continue
        lead = _interval([(row.instance_id, 2 * (row.score - control.score))
                          for row, control in pairs], seed)
        name = "knowing the pull request" if how == "informed" else f"the way `{how}`"
        value, interval = interval_text(lead, 1).split(" ", 1)
        items.append(f"On the {plural(len(pairs), 'turn')} that both have, {name} is worth {value} "
                     f"points {interval} beside the placebo.")
        if lead["low"] <= 0 and _margin([row for row, _ in pairs], seed)["value"] > 0:
            items.append(f"The placebo has the margin of `{how}` as well, as far as can be seen: "
                         "the prompt won it.")
    return items


def _by_shown(rows: list[TurnRow], seed: int) -> list:
    """Return the margin by the share of the patch that the history shows."""
    groups: dict[str, list[TurnRow]] = {name: [] for _, name in SHOWN}
    for row in _scored(rows):
        if row.shown_share is not None:
            name = next(name for limit, name in SHOWN if row.shown_share <= limit)
            groups[name].append(row)
    return _margins(["shown", "turns", "margin"], groups, seed)


def _length(rows: list[TurnRow], seed: int) -> list:
    """Return the margin over all turns and over those whose two sides have equal length."""
    scored = _scored(rows)
    equal = [row for row in scored
             if abs(row.chars[1] - row.chars[0]) <= SAME_LENGTH * max(*row.chars, 1)]
    groups = {"all": scored, "of equal length (within 20 %)": equal}
    return _margins(["turns", "number", "margin"], groups, seed)


def _margins(columns: list[str], groups: dict[str, list[TurnRow]], seed: int) -> list:
    """Return [a table of the margin of each group], or [] if all groups are empty."""
    lines = [[name, str(len(rows)), interval_text(_margin(rows, seed), 1)]
             for name, rows in groups.items() if rows]
    return [(columns, lines, "lrr")] if lines else []


def _drift(rows: list[TurnRow]) -> list:
    """Return how the challengers' style differs from the kings'; training teaches that style."""
    lines = []
    for name, figure in FIGURES.items():
        pairs = [(row.instance_id, values) for row in _scored(rows)
                 if (values := figure(row)) is not None]
        king = mean_of(values[0] for _, values in pairs)
        if not king:
            continue
        change = _interval([(instance_id, (values[1] - values[0]) / king)
                            for instance_id, values in pairs])
        value, low, high = (f"{100 * change[key]:+.0f}" for key in ("value", "low", "high"))
        text = f"{value} % ({low} to {high})"
        lines.append([name, str(len(pairs)), f"{king:.2f}",
                      f"**{text}**" if abs(change["value"]) > MAX_DRIFT else text])
    return [(["figure", "turns", "king", "challenger"], lines, "lrrr"),
            "Differences of more than 20 % either way are bold."] if lines else []


def _metrics(rows: list[TurnRow]) -> list:
    """Return the share of draws of each metric and its correlations."""
    scored = [row for row in _scored(rows) if row.metrics]
    if len(scored) < MIN_PAIRS:
        return []
    longer = [row.chars[1] - row.chars[0] for row in scored]
    values = {metric: [row.metrics[metric] for row in scored] for metric in METRICS}
    lines = []
    for metric, scores in values.items():
        others = ["" if other == metric else _correlation(scores, values[other])
                  for other in METRICS]
        lines.append([metric, f"{100 * scores.count(50) / len(scores):.0f} %",
                      _correlation(scores, longer),
                      *others])
    return [(["metric", "draws", "with length", *METRICS], lines, "lrr" + "r" * len(METRICS)),
            "The correlations are over turns: with the challenger's additional length, and between "
            "the metrics."]


# figures

def _scored(rows: Iterable[TurnRow]) -> list[TurnRow]:
    """Return the rows that have a score."""
    return [row for row in rows if row.score is not None]


def _margin(rows: list[TurnRow], seed: int) -> Share:
    """Return the challenger's mean lead in points and its interval."""
    return _interval([(row.instance_id, 2 * row.score - 100) for row in rows], seed)


def _interval(values: list[tuple[str, float]], seed: int = 0) -> Share:
    """Return the mean of (instance id, value) and its 95 % interval from a cluster bootstrap."""
    clusters, numbers = zip(*values or [("", 0.0)], strict=True)
    low, high = np.quantile(cluster_means(numbers, clusters, RESAMPLES, seed), [0.025, 0.975])
    return {"value": np.mean(numbers), "low": low, "high": high, "n": len(values)}


def _share(rows: list[TurnRow], field: str, kind: str = "") -> Share | None:
    """Return the share of the rows that have a finding of this kind, or of any, in `field`."""
    return share((row.instance_id, any(kind in ("", one["kind"]) for one in getattr(row, field)), 1)
                 for row in rows)


def _correlation(a: list[float], b: list[float]) -> str:
    """Return Pearson's correlation as text, "-" without variation."""
    if np.std(a) < 1e-12 or np.std(b) < 1e-12:
        return "-"
    return f"{np.corrcoef(a, b)[0, 1]:+.2f}"
