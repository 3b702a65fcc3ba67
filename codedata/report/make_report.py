"""Write the report of a duel (report/), the root's page, and the buckets final/, refined/ and
defeat/.

Every number is computed from the directories as they are: the records give the turns, _duel.json
the outcome, the ledgers the costs. Turns that the duel leaves out are counted by state (stale,
orphaned, unparsed, not judged).
"""
from __future__ import annotations

from pathlib import Path

from codedata.disk.layouts import write_atomic
from codedata.disk.ledger import Ledger
from codedata.disk.store import remove_half_written
from codedata.duel.duel_state import summary_lines
from codedata.duel.panel import Panel
from codedata.errors import Trouble
from codedata.leak.cache import NO_VERDICT
from codedata.records import (
    BUCKETS,
    DUEL,
    METRICS,
    Answer,
    Commit,
    Prompt,
    Sample,
    Score,
)
from codedata.report.buckets import MAX_LISTED, WON, Moves, score_ranges, update_buckets
from codedata.report.content import (
    Table,
    by_metric,
    figures,
    made,
    number,
    outcome,
    warnings,
)
from codedata.report.index_page import write_index
from codedata.report.turn_rows import STAGE, ReportTurns, TurnRow, open_duel
from codedata.run.cli import RunOptions
from codedata.run.start import check_root, whole_run
from codedata.settings import MAX_PATCH_CHARS, Settings
from codedata.terminal import named, plural, say, table
from codedata.texts import as_markdown, terminal_safe

REFUSED_FLAGS = ("only", "limit", "shard", "force", "refresh", "prune", "budget",
                 "budget_run")


def run(settings: Settings, options: RunOptions) -> int:
    """Write the report, bring the buckets up to date, and return the exit code."""
    thresholds, root, mode = settings.report, settings.root, settings.duel.mode
    if thresholds.defeat_min > thresholds.final_min:
        raise Trouble("is above final_min.", "[report] defeat_min",
                      "A turn is refined from defeat_min up to final_min.")
    check_root(root)
    directory = root / ("report" if mode == "king" else f"report_{mode}")
    judge_again = options.command("validate.py")

    with whole_run(STAGE, directory, options, refuses=REFUSED_FLAGS,
                   ledgers=[root / cls.directory for cls in BUCKETS]) as is_wanted:
        if not is_wanted:
            return 0
        turns, moves = open_duel(settings, judge_again), None
        if options.read_only or mode != "king":
            turns.read_rows()
        else:
            moves = update_buckets(root, (
                (row.name, row.bucket, copy_of(answer, score, row, turns.panel))
                for row, answer, score in turns.each() if row.bucket))
        if not options.read_only:
            if mode == "king":
                huge = huge_markdown(oversized(root))
                write_atomic(directory / "hugePR.md", terminal_safe(huge).encode())
            text = markdown(turns)
            write_atomic(directory / "report.md", terminal_safe(text).encode())
            remove_half_written([root])   # pages of a killed run
            write_index(settings, known=turns)
        with options.unless_quiet():
            print_summary(turns, moves, directory.name, judge_again, score_ranges(thresholds))
        return 1 if turns.broken or turns.state.plan.broken else 0


def copy_of(answer: Answer, score: Score, row: TurnRow, panel: Panel) -> Sample:
    """Return the bucket's record of a turn, with the reasons of the panel's judges."""
    reasons = [{key: entry[key] for key in ("judge", "order", "reason")} for entry in score.judges
               if entry.get("reason") and entry["judge"] in panel.names
               and entry["order"] in panel.orders]
    missing = [NO_VERDICT] if row.leaks.lacks_verdict else []
    found = row.leaks.found
    return Sample(**vars(answer), score=row.score, metrics=row.metrics, reasons=reasons,
                  injections=row.injections, leaks=None if found is None else [*found, *missing])


def oversized(root: Path) -> list[dict]:
    """Return the oversized PRs, largest first: {instance_id, repo, patch_chars, …}."""
    commits = root / Commit.directory
    details = Ledger(root / Prompt.directory, commits).details
    prs = {item: {"instance_id": item, **detail} for (_, item), detail in details.items()
           if detail.get("rule") == "oversized PR" and not (commits / f"{item}.json").exists()}
    return sorted(prs.values(), key=lambda pr: (-pr.get("patch_chars", 0), pr["instance_id"]))


def print_summary(turns: ReportTurns, moves: Moves | None, directory: str, judge_again: str,
                  scores: dict[str, str]) -> None:
    """Print a summary of the run; `scores` has each bucket's range in words."""
    state = turns.state
    parts = [f"{directory}/"]
    if turns.duel.mode == "king":
        parts += [f"{cls.directory}/ {turns.buckets[cls.directory]}" for cls in BUCKETS]
        if won := sum(row.label == WON for row in turns.rows):
            parts[-1] += f" ({won} of them won)"
    if unread := sum(row.score is None for row in turns.rows):
        parts.append(f"no verdict {unread}")
    say(f"{STAGE}  {state.scores.into.name}/ {len(turns.rows)} → {', '.join(parts)}")
    for line in summary_lines(turns.duel, f"{directory}/report.md"):
        say(line)
    for name, scored in scores.items() if turns.duel.mode == "king" else ():
        if name != WON and not turns.buckets[name]:
            why = f"no turn has a score of {scored}" if turns.rows else "no turn is judged yet"
            say(f"      {name}/ is empty: {why}. That is no fault.")
    if turns.edited:
        say(f"      score was edited, it is not what the verdicts give: {named(turns.edited)}")
    if state.turns_left:
        say(f"      {plural(state.turns_left, 'turn')} not judged yet: {judge_again}")
    elif turns.outdated:
        say(f"      {DUEL} was made from other verdicts: {judge_again}")
    if moves:
        n = moves.counts
        say(f"      wrote {n['written']}, unchanged {n['unchanged']}, "
            f"left their bucket {n['removed']}")
        if moves.set_aside:
            say(f"      edited copies went to {named(moves.set_aside)}")


# report.md and hugePR.md --------------------------------------------------------------------------

def markdown(turns: ReportTurns) -> str:
    """Return the text of report.md."""
    rival, n = turns.duel.mode, len(turns.rows)
    columns = ["score", "turn", "bucket", "step", *METRICS, "flags"]
    lines = [[number(row.score), row.name, row.label or "-", " → ".join(row.styles),
              *by_metric(row.metrics), ", ".join(row.flags)] for row in turns.rows[:MAX_LISTED]]
    sections = [
        (f"# Challenger against {rival}", [
            f"**{as_markdown(outcome(turns.duel), 1000)}**", terminal_safe(turns.thresholds.note),
            made(turns.root, ".."), *(f"**{warning}**" for warning in warnings(turns))]),
        ("## The best pairs", turns.pairs and [
            (["turn", "task", "king", "challenger", "why"], turns.pairs, "lllll")]),
        *((f"## {heading}", items) for heading, items in figures(turns, turns.costs)),
        ("## Turns", [f"The first {MAX_LISTED:,} of {n:,}." if n > MAX_LISTED else "",
                      "Scores are the challenger's, from 0 to 100. The step is what "
                      f"{rival} does → what the challenger does.",
                      (columns, lines, "rlll" + "r" * len(METRICS) + "l")])]
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
