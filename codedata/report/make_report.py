"""Write report/, the report of a duel, and the buckets final/, refined/ and defeat/.

Every number is computed from the directories as they are: the records give the turns, _duel.json
the outcome, the ledgers the costs. Turns that do not count (stale, orphaned, unparsed, not judged)
are counted by their state.
"""
from __future__ import annotations

from pathlib import Path

from codedata.disk.layouts import write_atomic
from codedata.disk.ledger import Ledger
from codedata.duel.duel_state import summary_lines
from codedata.duel.panel import Panel
from codedata.errors import Trouble
from codedata.leak.cache import NO_VERDICT
from codedata.llm.costs import cost_of_stage, costs_of
from codedata.records import BUCKETS, DUEL, HOW, Answer, Commit, Prompt, Sample, Score, variant
from codedata.report.buckets import Moves, score_ranges, update_buckets
from codedata.report.content import ReportContent, Section, counts, running, trials
from codedata.report.html_page import html
from codedata.report.markdown import huge_markdown, markdown
from codedata.report.pr_effect import pr_effect
from codedata.report.turn_rows import STAGE, ReportTurns, TurnRow, read_turns
from codedata.run.cli import RunOptions
from codedata.run.start import check_root, run_whole
from codedata.settings import Settings
from codedata.terminal import named, plural, say
from codedata.texts import terminal_safe

REFUSED_FLAGS = ("only", "limit", "shard", "force", "refresh", "prune", "budget")


def run(settings: Settings, options: RunOptions) -> int:
    """Write the report, bring the buckets up to date, and return the exit code."""
    if settings.report.defeat_min > settings.report.final_min:
        raise Trouble("is above final_min.", "[report] defeat_min",
                      "A turn is refined from defeat_min up to final_min.")
    root, mode = settings.root, settings.duel.mode
    check_root(root)
    directory = root / ("report" if mode == "king" else f"report_{mode}")
    return run_whole(STAGE, directory, options, lambda: _report(settings, options, directory),
                     refuses=REFUSED_FLAGS, ledgers=[root / cls.directory for cls in BUCKETS])


def _report(settings: Settings, options: RunOptions, directory: Path) -> int:
    judge_again = options.command("validate.py")
    turns = read_turns(settings, judge_again)
    moves = None
    if not options.read_only:
        if settings.duel.mode == "king":
            moves = fill_buckets(settings.root, turns)
        write_report(settings, turns, directory, judge_again)
    if not options.quiet:
        print_summary(turns, moves, directory.name, judge_again, score_ranges(settings.report))
    return 1 if turns.broken or turns.state.plan.broken else 0


def write_report(settings: Settings, turns: ReportTurns, directory: Path, judge_again: str) -> None:
    """Write report.md and report.html and, against the king, hugePR.md."""
    root = settings.root
    content = ReportContent(
        turns.duel, turns.rows, costs_of(root), counts(turns),
        [*running(turns.rows), *effect_sections(settings, turns, judge_again)],
        trials(root), turns.outdated)
    texts = {"report.md": markdown(content, settings.report)}
    if turns.duel.mode == "king":
        texts["hugePR.md"] = huge_markdown(oversized(root), settings.exclude.max_patch_chars)
    for name, text in texts.items():
        write_atomic(directory / name, terminal_safe(text).encode())
    page = html(content, settings.report, turns.read, turns.commits, turns.executions)
    write_atomic(directory / "report.html", page)


def effect_sections(settings: Settings, turns: ReportTurns, judge_again: str) -> list[Section]:
    """Return the sections on leaks and on every variant that was judged."""
    root, main_how = settings.root, settings.challenger.how
    others = {}
    costs = {}
    for how in HOW if turns.duel.mode == "king" else ():
        directory = Answer.directory if how == main_how else variant(Answer, how).directory
        cost = cost_of_stage(root / directory, "ch")
        costs[how] = cost.said if cost.calls else ""
        if how != main_how and (root / variant(Score, how).directory / DUEL).is_file():
            others[how] = with_draws(read_turns(settings, judge_again, how), turns)
    return pr_effect(turns.rows, others, settings.duel, costs, main_how)


def with_draws(turns: ReportTurns, main: ReportTurns) -> list[TurnRow]:
    """Return the rows of a variant, plus a draw for each turn where no candidate was chosen."""
    ledger = turns.state.answers.ledger
    drawn = {name for stage, name in ledger.excluded if stage == "ch"}
    drawn -= {row.name for row in turns.rows}
    return [*turns.rows, *(row.unpicked() for row in main.rows if row.name in drawn)]


def fill_buckets(root: Path, turns: ReportTurns) -> Moves:
    """Bring final/, refined/ and defeat/ up to date, and return the moves made."""
    rows = {row.name: row for row in turns.rows if row.bucket}

    def make(name: str) -> Sample:
        return copy_of(*turns.read(name), rows[name], turns.panel)

    moves = update_buckets(root, {name: row.bucket for name, row in rows.items()}, make)
    for e in moves.broken:
        turns.report_broken(e)
    return moves


def copy_of(answer: Answer, score: Score, row: TurnRow, panel: Panel) -> Sample:
    """Return the bucket's record of a turn, with the reasons of the panel's judges."""
    reasons = [{key: entry[key] for key in ("judge", "order", "reason")} for entry in score.judges
               if entry.get("reason") and entry["judge"] in panel.names
               and entry["order"] in panel.orders]
    missing = [NO_VERDICT] if row.lacks_verdict else []
    leaks = None if row.leaks is None else [*row.leaks, *missing]
    return Sample(**vars(answer), score=row.score, metrics=row.metrics, reasons=reasons,
                  injections=row.injections, leaks=leaks)


def oversized(root: Path) -> list[dict]:
    """Return the oversized PRs, largest first: {instance_id, repo, patch_chars, …}."""
    commits = root / Commit.directory
    details = Ledger(root / Prompt.directory, commits).details
    prs = {item: {"instance_id": item, **detail} for (_, item), detail in details.items()
           if detail.get("rule") == "oversized PR" and not (commits / f"{item}.json").exists()}
    return sorted(prs.values(), key=lambda pr: (-pr.get("patch_chars", 0), pr["instance_id"]))


def print_summary(turns: ReportTurns, moves: Moves | None, directory: str, judge_again: str,
                  scores: dict[str, str]) -> None:
    """Print a summary of the run; `scores` are those of each bucket, in words."""
    state = turns.state
    parts = [f"{directory}/"]
    if turns.duel.mode == "king":
        parts += [f"{cls.directory}/ {turns.buckets[cls.directory]}" for cls in BUCKETS]
    if unread := sum(row.score is None for row in turns.rows):
        parts.append(f"no verdict {unread}")
    say(f"{STAGE}  {state.scores.into.name}/ {len(turns.rows)} → {', '.join(parts)}")
    for line in summary_lines(turns.duel, f"{directory}/report.md"):
        say(line)
    for name, scored in scores.items() if turns.duel.mode == "king" else ():
        if not turns.buckets[name]:
            why = f"no turn has a score of {scored}" if turns.rows else "no turn is judged yet"
            say(f"      {name}/ is empty: {why}. That is no fault.")
    if won := sum(row.is_won_in_defeat for row in turns.rows):
        say(f"      won, but below the threshold of refined/: {plural(won, 'turn')}")
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
