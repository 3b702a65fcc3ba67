"""Gather the content that report.md and report.html both show."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import orjson

from codedata.bounded import read_bounded
from codedata.duel.judge_stats import share
from codedata.llm.costs import Cost
from codedata.records import Duel, Share
from codedata.report.turn_rows import DRAW, ReportTurns, TurnRow
from codedata.terminal import plural

Table = tuple[list[str], list[list[str]], str]   # columns, rows, alignment: "l" or "r" each
Section = tuple[str, list[str | Table]]          # heading, sentences and tables


@dataclass(frozen=True)
class ReportContent:
    """Hold what a report shows beside the turns in full."""

    duel: Duel
    rows: list[TurnRow]
    costs: list[Cost]
    counts: list[tuple[str, str]]   # (kind of turns, their number)
    sections: list[Section]
    trials: list[str]               # lines on the trials of the judges
    is_outdated: bool = False       # the duel was decided on other verdicts


def counts(turns: ReportTurns) -> list[tuple[str, str]]:
    """Return (kind, number) for each kind of turn that the duel counts or leaves out."""
    duel, rows, plan = turns.duel, turns.rows, turns.state.plan
    rival = duel.mode
    unread = [row for row in rows if row.score is None or (rival == "king" and not row.bucket)]
    parsed = f" ({100 * duel.parsed_frac:.1f} %)" if duel.turns else ""
    numbers = {
        "judged": len(rows), "every judge's verdict could be read": f"{duel.turns_parsed}{parsed}",
        "no verdict could be read (not exported)": len(unread),
        "both sides do the same: a draw without a judge": sum(row.by_program for row in rows),
        "won, but below the threshold of refined/": sum(row.is_won_in_defeat for row in rows),
        "not judged yet": turns.state.turns_left,
        "answer records without both sides": len(plan.lacking),
        "left out by a rule": len(plan.names["excluded"]),
        "broken records": turns.broken + len(plan.broken),
        "scores whose answer is gone": len(plan.names["orphan"]),
        "an answer speaks to its judge (kept out of final/)":
            sum(bool(row.injections) for row in rows),
        "the challenger shows what it cannot know (kept out of final/)":
            sum(bool(row.leaks) for row in rows),
        "without a PR record, so nobody can tell what it cannot know":
            sum(row.leaks is None for row in rows),
        "without a leak judge's verdict (kept out of final/): run validate.py":
            sum(row.lacks_verdict for row in rows),
        **{f"the {side} repeats a step or stalls": sum(side in row.repeats for row in rows)
           for side in ("challenger", rival)},
        "`score` was edited: it is not what the verdicts give": len(turns.edited)}
    return [(kind, str(n)) for kind, n in numbers.items()]


def running(rows: list[TurnRow]) -> list[Section]:
    """Return the section on whether judges prefer the side after which more hidden tests pass."""
    ran = [row for row in rows if row.n_passed]
    differ = [row for row in ran if row.score is not None and len(set(row.n_passed)) > 1]
    wrong = [(row.score - DRAW) * (row.n_passed[1] - row.n_passed[0]) < 0 for row in differ]
    text = "No turn was run: run_turns.py shows the judges what both sides print and change."
    if ran:
        text = f"Both sides were run in {len(ran)} of {plural(len(rows), 'turn')}."
    if differ:
        found = share(zip([row.instance_id for row in differ], wrong, [1] * len(wrong),
                          strict=True))
        text += (f" In {len(differ)} of them one side passes more hidden tests than the other; the "
                 f"judges prefer the one with fewer in {sum(wrong)}: {percent_text(found)}.")
    return [("Reading and running", [text])] if rows else []


def trials(root: Path) -> list[str]:
    """Return the summary lines of validate.py --probe and --sanity, as far as they were run."""
    lines = []
    for kind in ("probe", "sanity"):
        try:
            summary = orjson.loads(read_bounded(root / kind / f"_{kind}.json"))
            lines += map(str, summary["said"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return lines


def interval_text(share: Share | None, factor: float = 100, unit: str = "") -> str:
    """Return a figure with its interval as text, "-" where there is none."""
    if share is None:
        return "-"
    value, low, high = (f"{factor * share[key]:.1f}" for key in ("value", "low", "high"))
    return f"{value}{unit} ({low} to {high})"


def percent_text(share: Share | None) -> str:
    """Return a share with its interval as text, in percent."""
    return interval_text(share, unit=" %")
