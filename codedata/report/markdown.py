"""Build report.md, the report on a duel, and hugePR.md, the list of oversized pull requests."""
from __future__ import annotations

from codedata.llm.costs import Cost
from codedata.records import METRICS
from codedata.report.buckets import best_pairs
from codedata.report.content import (
    Section,
    Table,
    by_metric,
    figures,
    number,
    outcome,
    warnings,
)
from codedata.report.turn_rows import ReportTurns, TurnRow
from codedata.settings import MAX_PATCH_CHARS
from codedata.terminal import table
from codedata.texts import as_markdown, terminal_safe


def markdown(turns: ReportTurns, costs: list[Cost], made: str) -> str:
    """Return the text of report.md; `made` is as content.made() returns it."""
    rival = turns.duel.mode
    pairs = best_pairs(turns.root, rival)
    sections: list[Section] = [
        (f"# Challenger against {rival}", [
            f"**{as_markdown(outcome(turns.duel), 1000)}**", terminal_safe(turns.thresholds.note),
            made, *(f"**{warning}**" for warning in warnings(turns))]),
        ("## The best pairs", pairs and [
            (["turn", "task", "king", "challenger", "why"], pairs, "lllll")]),
        *((f"## {heading}", items) for heading, items in figures(turns, costs)),
        ("## Turns", ["Scores are the challenger's, from 0 to 100. The step is what "
                      f"{rival} does → what the challenger does.", _turns(turns.rows)])]
    blocks = [block for heading, items in sections if items
              for block in (heading, *map(_block, filter(None, items)))]
    return "\n\n".join(blocks) + "\n"


def _block(item: str | list[str] | Table) -> str:
    """Return a sentence unchanged; escape lines and cells, which are untrusted."""
    if isinstance(item, str):
        return item
    if isinstance(item, list):
        return "\n".join(f"- {as_markdown(line, 1000)}" for line in item)
    columns, rows, align = item
    return table(columns, [[*map(as_markdown, row)] for row in rows], align.replace("p", "r"))


def huge_markdown(prs: list[dict]) -> str:
    """Return the text of hugePR.md, with one table row per oversized pull request."""
    text = ("# Oversized pull requests\n\nprompt.py left these out, as their patch has more than "
            f"{MAX_PATCH_CHARS:,} characters: {len(prs)}.\n")
    rows = [[pr["instance_id"], pr.get("repo", ""), pr.get("language", ""),
             f"{pr.get('patch_chars', 0):,}", f"{pr.get('n_files', 0):,}",
             pr.get("created_at") or ""] for pr in prs]
    columns = ["instance", "repository", "language", "characters", "files", "created"]
    return text + ("\n" + _block((columns, rows, "lllrrl")) + "\n" if prs else "")


def _turns(rows: list[TurnRow]) -> Table:
    columns = ["score", "turn", "bucket", "step", *METRICS, "flags"]
    lines = [[number(row.score), row.name,
              row.label or "-", " → ".join(row.styles), *by_metric(row.metrics),
              ", ".join(row.flags)]
             for row in rows]
    return columns, lines, "rlll" + "r" * len(METRICS) + "l"
