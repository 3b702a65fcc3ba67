"""Make the sections of a report on leaks: what leak judges found, and how far they can be trusted.
A section on steps says if bash commands could not be read. Sections without content are left out.
"""
from __future__ import annotations

from collections import Counter

from codedata.conversation.bash_commands import INSTALL, UNKNOWN
from codedata.duel.judge_stats import share
from codedata.records import Share
from codedata.report.content import Section, percent_text
from codedata.report.turn_rows import TurnRow
from codedata.terminal import Spending, plural

MIN_KINGS = 20             # minimum number of judged kings for a rate of false alarms
MAX_FALSE_ALARMS = 0.05    # a leak judge is not trusted if the interval's lower end is above this


def leak_sections(rows: list[TurnRow]) -> list[Section]:
    """Return the sections that have content, in the order of the report."""
    unread = f"What the commands do is not known: the reader of bash is not installed: {INSTALL}"
    sections = [
        ("Leaks", _leaks(rows)),
        ("Steps", [unread] if any(UNKNOWN in row.styles for row in rows) else [])]
    return [section for section in sections if section[1]]


def _leaks(rows: list[TurnRow]) -> list:
    """Return the shares of turns with leaks and of kings with false alarms, by kind of leak."""
    # checked by every leak judge
    judged = [row for row in rows if row.leaks.found is not None and not row.leaks.lacks_verdict]
    if not judged:
        return []
    kings = [row for row in rows if row.leaks.of_king is not None]
    kinds = sorted({one["kind"] for row in rows
                    for one in (*(row.leaks.found or ()), *(row.leaks.of_king or ()))})
    lines = [[kind or "any", percent_text(_share(judged, "found", kind)),
              percent_text(_share(kings, "of_king", kind))] for kind in ("", *kinds)]
    items = [(["kind", f"challengers that leak (of {len(judged)})",
               f"kings with the same finding (of {len(kings)}): false alarms"], lines, "lrr")]
    alarms = _share(kings, "of_king")
    if 0 < len(kings) < MIN_KINGS:
        items.append(f"{plural(len(kings), 'king')} were looked at: too few to say how often the "
                     "leak judge is wrong.")
    elif alarms and alarms["low"] > MAX_FALSE_ALARMS:
        items.append("**The leak judge cannot be trusted: it finds leaks in kings, although "
                     "they do not know the solution.**")
    costs = [row.leaks.cost_usd for row in rows if row.leaks.cost_usd is not None]
    spent = Spending(len(rows), len(rows) - len(costs), sum(costs))
    items.append(f"The verdicts on these turns: {spent}.")
    return items + _refused(rows)


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


def _share(rows: list[TurnRow], field: str, kind: str = "") -> Share | None:
    """Return the share of the rows that have a finding of this kind, or of any, in `field`."""
    found = [(row.instance_id, getattr(row.leaks, field)) for row in rows]
    return share([(instance, any(kind in ("", one["kind"]) for one in leaks), 1)
                  for instance, leaks in found])
