"""Write report/, the report of a duel, and the buckets final/, refined/ and defeat/.

Every number is computed from the directories as they are: the records give the turns, _duel.json
the outcome, the ledgers the costs. ReportTurns that do not count (stale, orphaned, unparsed, not judged)
are counted by their state.
"""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from codedata.cli import RunOptions
from codedata.duel.duel_state import summary_lines
from codedata.errors import BrokenRecord, Trouble
from codedata.layouts import write_atomic
from codedata.leak.cache import NO_VERDICT
from codedata.ledger import Ledger
from codedata.llm.costs import costs_of, spent
from codedata.progress import named, plural, say
from codedata.records import DUEL, HOW, Answer, Commit, Prompt, Score, variant
from codedata.report import html_page
from codedata.report.buckets import BUCKETS, Buckets, Moves, copy_of
from codedata.report.markdown import counts, huge_markdown, markdown, refined, trials
from codedata.report.pr_effect import Section, worth
from codedata.report.turn_rows import STAGE, ReportTurns, TurnRow, read_turns
from codedata.run_loop import check_root, run_whole
from codedata.settings import Settings
from codedata.texts import terminal_safe

REFUSED_FLAGS = ("only", "limit", "shard", "force", "refresh", "prune", "budget")


def run(settings: Settings, options: RunOptions) -> int:
    """Write the report, bring the buckets up to date, and return the exit code."""
    if settings.report.defeat_min > settings.report.final_min:
        raise Trouble("is above final_min.", "[report] defeat_min",
                      "A turn is refined from defeat_min up to final_min.")
    check_root(settings.root)
    mode = settings.duel.mode
    directory = settings.root / ("report" if mode == "king" else f"report_{mode}")
    return run_whole(STAGE, directory, options, lambda: _report(settings, options, directory),
                     refuses=REFUSED_FLAGS,
                     ledgers=[settings.root / cls.directory for cls in BUCKETS])


def _report(settings: Settings, options: RunOptions, directory: Path) -> int:
    judge_again = options.command("validate.py")
    turns = read_turns(settings, judge_again)
    moves = None
    if not options.read_only:
        if settings.duel.mode == "king":
            moves = fill_buckets(settings, turns)
            huge = terminal_safe(huge_markdown(oversized(settings.root), settings))
            write_atomic(directory / "hugePR.md", huge.encode())
        _write_report(settings, turns, directory, judge_again)
    print_summary(turns, moves, directory.name, options)
    return 1 if turns.broken or turns.now.plan.broken else 0


def _write_report(settings: Settings, turns: ReportTurns, directory: Path, judge_again: str) -> None:
    costs = costs_of(settings.root)
    sections = worth_of(settings, turns, judge_again)
    text = terminal_safe(markdown(settings, turns, costs, sections))
    write_atomic(directory / "report.md", text.encode())
    write_atomic(directory / "report.html", html_page.html(
        settings, turns.duel, turns.rows, costs=costs, counts=counts(turns, settings),
        is_outdated=turns.outdated,
        notes=[("Trials of the judges", trials(settings.root)), ("Refined turns", refined(turns)),
               *sections],
        commits=turns.commits,
        read=lambda name: (turns.now.answers.read(name), turns.now.scores.read(name))))


def worth_of(settings: Settings, turns: ReportTurns, judge_again: str) -> list[Section]:
    """Return the sections on leaks, drift and length, for every variant that was judged."""
    own, others, costs = settings.challenger.how, {}, {}
    for how in HOW if turns.duel["mode"] == "king" else ():
        directory = Answer.directory if how == own else variant(Answer, how).directory
        costs[how] = spent(settings.root / directory, "ch")
        if how != own and (settings.root / variant(Score, how).directory / DUEL).is_file():
            others[how] = with_draws(read_turns(settings, judge_again, how), turns)
    return worth(turns.rows, others, settings.duel, costs, own)


def with_draws(turns: ReportTurns, own: ReportTurns) -> list[TurnRow]:
    """Return the rows of a variant, plus a draw for each turn where no candidate was chosen."""
    left_out = {name for stage, name in turns.now.answers.ledger.excluded if stage == "ch"}
    return [*turns.rows, *(replace(row, score=50.0, metrics={}, leaks=None) for row in own.rows
                           if row.name in left_out - {row.name for row in turns.rows})]


def fill_buckets(settings: Settings, turns: ReportTurns) -> Moves:
    """Bring final/, refined/ and defeat/ up to date, and return the moves made."""
    by_name = {cls.directory: cls for cls in BUCKETS}
    rows = {row.name: row for row in turns.rows if row.bucket}
    buckets = Buckets(settings.root)
    buckets.remove({name: by_name[row.bucket] for name, row in rows.items()})
    for name, row in rows.items():
        try:
            answer, score = turns.now.answers.read(name), turns.now.scores.read(name)
        except BrokenRecord as e:   # the file was edited after it was first read
            say(f"{STAGE}.py: {e}")
            turns.broken += 1
            continue
        score = replace(score, score=row.score, metrics=row.metrics)
        leaks = None if row.leaks is None else [*row.leaks, *([NO_VERDICT] if row.lacks_verdict else [])]
        buckets.put(name, copy_of(answer, score, by_name[row.bucket], turns.panel, list(row.injections), leaks))
    buckets.close()
    for e in buckets.broken:
        say(f"{STAGE}.py: {e}")
    return buckets.moves


def oversized(root: Path) -> list[dict]:
    """Return the oversized PRs, largest first: {instance_id, repo, patch_chars, …}."""
    details = Ledger(root / Prompt.directory, root / Commit.directory).details
    found = {item: {"instance_id": item, **detail} for (_, item), detail in details.items()
             if detail.get("rule") == "oversized PR" and not (root / Commit.directory / f"{item}.json").exists()}
    return sorted(found.values(), key=lambda pr: (-pr.get("patch_chars", 0), pr["instance_id"]))


def print_summary(turns: ReportTurns, moves: Moves | None, directory: str,
                  options: RunOptions) -> None:
    """Print a summary of the run, unless --quiet is given."""
    if options.quiet:
        return
    into = {cls.directory: turns.buckets[cls.directory] for cls in BUCKETS}
    unread = sum(row.score is None for row in turns.rows)
    parts = [f"{name}/ {n}" for name, n in into.items()] if turns.duel["mode"] == "king" else []
    parts += [f"no verdict {unread}"] if unread else []
    say(f"{STAGE}  {turns.now.scores.into.name}/ {len(turns.rows)} → {', '.join([f'{directory}/', *parts])}")
    for line in summary_lines(turns.duel, f"{directory}/report.md"):
        say(line)
    if turns.edited:
        say(f"      score edited, not what the verdicts say: {named(turns.edited)}")
    if turns.now.turns_left or turns.outdated:
        left = f"{plural(turns.now.turns_left, 'turn')} not judged yet" if turns.now.turns_left else (
            f"{DUEL} was made from other verdicts")
        say(f"      {left}: {options.command('validate.py')}")
    if moves:
        say(f"      wrote {moves.written}, unchanged {moves.unchanged}, left their bucket {moves.left}")
        if moves.set_aside:
            say(f"      edited copies went to {named(list(moves.set_aside))}")
