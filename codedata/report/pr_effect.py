"""Measure the effect of knowing the pull request: leaks, false alarms, and a comparison of
variants.

Everything is computed from the rows of a report. Margins are in points of 100, like the duel's,
with 95 % intervals from a bootstrap over instances. The content of a section is empty if there is
nothing to report.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from codedata.conversation.commands import INSTALL, UNKNOWN
from codedata.duel.judge_stats import share
from codedata.duel.scoring import cluster_means
from codedata.records import Share
from codedata.report.content import Section, interval_text, percent_text
from codedata.report.turn_rows import TurnRow
from codedata.settings import DuelSettings
from codedata.terminal import money, plural

MIN_KINGS = 20             # minimum number of judged kings for a rate of false alarms
MAX_FALSE_ALARMS = 0.05    # a leak judge is not trusted if the interval's lower end is above this
RESAMPLES = 2_000          # number of bootstrap resamples for an interval


def pr_effect(rows: list[TurnRow], others: dict[str, list[TurnRow]], settings: DuelSettings,
              costs: dict[str, str], how: str) -> list[Section]:
    """Return the sections that have content, in the order of the report.

    `how` is the variant of `rows`. `others` maps each other variant that was judged to its rows,
    `costs` a variant to its cost as text.
    """
    variants = {how: rows, **others}
    unread = ("What the commands do is not known, nor are all that repeat or stall: the reader of "
              f"bash is not installed: {INSTALL}")
    sections = [
        ("Leaks", _leaks(rows)),
        ("What knowing the pull request was worth", _variants(variants, settings.seed, costs)),
        ("Steps", [unread] if any(UNKNOWN in row.styles for row in rows) else [])]
    return [section for section in sections if section[1]]


def _leaks(rows: list[TurnRow]) -> list:
    """Return the shares of turns with leaks and of kings with false alarms, by kind of leak."""
    judged = _leak_judged(rows)
    if not judged:
        return []
    kings = [row for row in rows if row.leaks.of_king is not None]
    kinds = sorted({one["kind"] for row in rows
                    for one in (*(row.leaks.found or ()), *(row.leaks.of_king or ()))})
    lines = [[kind or "any", percent_text(_share(judged, "found", kind)),
              percent_text(_share(kings, "of_king", kind))] for kind in ("", *kinds)]
    items = [(["kind", f"challengers that leak (of {len(judged)})",
               f"kings in which the same is found (of {len(kings)}): false alarms"], lines, "lrr")]
    alarms = _share(kings, "of_king")
    if 0 < len(kings) < MIN_KINGS:
        items.append(f"{plural(len(kings), 'king')} were looked at: too few to say how often the "
                     "leak judge is wrong.")
    elif alarms and alarms["low"] > MAX_FALSE_ALARMS:
        items.append("**The leak judge cannot be trusted: it finds leaks in kings, who know "
                     "nothing.**")
    costs = [row.leaks.cost_usd for row in rows if row.leaks.cost_usd is not None]
    spent = money(sum(costs), len(rows) - len(costs), len(rows))
    items.append(f"The verdicts on these turns: {spent}.")
    return items + _refused(rows)


def _leak_judged(rows: list[TurnRow]) -> list[TurnRow]:
    """Return the rows whose challenger was checked for leaks by every leak judge."""
    return [row for row in rows if row.leaks.found is not None and not row.leaks.lacks_verdict]


def _refused(rows: list[TurnRow]) -> list[str]:
    """Return [a sentence on the turns that were asked for again], or []."""
    again = [row for row in rows if row.leaks.asked_again]
    if not again:
        return []
    wins = [row for row in rows if (row.score or 0) > 50]
    kinds = Counter(one["kind"] for row in again for attempt in row.leaks.tries()
                    for one in attempt["findings"])
    listed = ", ".join(f"{kind} {n}" for kind, n in kinds.most_common())
    n_calls = sum(row.leaks.asked_again for row in again)
    n_won = sum(bool(row.leaks.asked_again) for row in wins)
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
        leaky = _share(_leak_judged(rows), "found")
        chars = np.mean([row.chars[1] for row in scored] or [0])
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


# figures

def _scored(rows: Iterable[TurnRow]) -> list[TurnRow]:
    """Return the rows that have a score."""
    return [row for row in rows if row.score is not None]


def _margin(rows: list[TurnRow], seed: int) -> Share:
    """Return the challenger's mean lead in points and its interval."""
    return _interval([(row.instance_id, 2 * row.score - 100) for row in rows], seed)


def _interval(values: list[tuple[str, float]], seed: int) -> Share:
    """Return the mean of (instance id, value) and its 95 % interval from a cluster bootstrap."""
    clusters, numbers = zip(*values or [("", 0.0)], strict=True)
    low, high = np.quantile(cluster_means(numbers, clusters, RESAMPLES, seed), [0.025, 0.975])
    return {"value": np.mean(numbers), "low": low, "high": high, "n": len(values)}


def _share(rows: list[TurnRow], field: str, kind: str = "") -> Share | None:
    """Return the share of the rows that have a finding of this kind, or of any, in `field`."""
    found = [(row.instance_id, getattr(row.leaks, field)) for row in rows]
    return share((instance, any(kind in ("", one["kind"]) for one in leaks), 1)
                 for instance, leaks in found)
