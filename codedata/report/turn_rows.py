"""Read the turns of a duel for report.py, with the findings that a program can make on each."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path

from codedata.conversation.bash_commands import EDIT, TEST, action_style
from codedata.conversation.turn import commands_of, form_of
from codedata.disk.ledger import sound_lines
from codedata.disk.store import Store
from codedata.duel.duel_state import DuelState, duel_record, load_duel_state
from codedata.duel.executed import Execution, execution_of
from codedata.duel.panel import SIDES, Judging, Panel, decided_panel, records_of
from codedata.errors import BrokenRecord, Trouble
from codedata.leak.cache import KEPT, KING, challenger_leaks, tries_in, verdicts_of
from codedata.llm.costs import Cost, costs_of
from codedata.records import (
    DUEL,
    Answer,
    Commit,
    Defeat,
    Duel,
    Finding,
    Object,
    Score,
    Side,
)
from codedata.report.buckets import WON, BestPair, best_pairs, bucket_of, injections
from codedata.settings import ReportSettings, Settings
from codedata.terminal import say

STAGE = "report"
DRAW = 50.0
CACHED_COMMITS = 16   # turns of an instance follow each other
MAX_ROUNDING = 1e-9   # a score this near to its verdicts' result was not edited


@dataclass(frozen=True, slots=True)
class TurnLeaks:
    """Hold the leaks of a turn: facts in it that its model could not know."""

    found: list[Finding] | None    # in the challenger; None: no PR record
    lacks_verdict: bool            # a leak judge is configured but has not judged this turn
    of_king: list[Finding] | None  # false alarms in the king; None: not judged
    cost_usd: float | None         # cost of its leak verdicts; None: not known
    asked_again: int               # number of times the challenger was refused for leaks
    tries_file: Path               # file of the tries with their findings

    def tries(self) -> list[dict]:
        """Return the tries that ch.py made for this turn, as stored with the answers."""
        return tries_in(self.tries_file)


@dataclass(frozen=True, slots=True)
class TurnRow:
    """Hold one turn as a row of the report's table. In a tuple the rival is first."""

    name: str
    language: str
    score: float | None
    metrics: dict[str, float]
    styles: tuple[str, str]   # action styles of the commands
    injections: list[Finding]   # passages that address the judge
    bucket: str               # directory of its bucket; "" if it has none
    instance_id: str
    repo: str
    is_edited: bool           # its score differs from the one its verdicts give
    leaks: TurnLeaks
    n_passed: tuple[int, int] | None   # hidden tests passed; None: not both run
    by_program: bool          # both sides do the same: a draw without a judge

    @property
    def label(self) -> str:
        """Return its bucket as it is shown."""
        return WON if self.bucket == Defeat.directory and self.score > DRAW else self.bucket

    @property
    def flags(self) -> list[str]:
        """Return the reasons not to train on the turn, whatever its score."""
        reasons = (("speaks to its judge", self.injections),
                   ("shows what it cannot know", self.leaks.found),
                   ("no leak verdict", self.leaks.lacks_verdict))
        return [reason for reason, applies in reasons if applies]


@dataclass
class ReportTurns:
    """Hold the turns of a duel and the stores they are read from. each() fills `rows`."""

    root: Path
    state: DuelState
    duel: Duel
    panel: Panel                      # the panel that decided the duel
    thresholds: ReportSettings        # score limits of the buckets
    commits: Store
    leak_judges: set[str]             # empty if the challengers are chosen blind answers
    asked_again: dict[str, int]       # {turn: number of times its challenger was refused for leaks}
    rows: list[TurnRow] = field(default_factory=list)
    broken: list[BrokenRecord] = field(default_factory=list)
    outdated: bool = False            # _duel.json does not match the present verdicts

    def __post_init__(self):
        self.commit = lru_cache(CACHED_COMMITS)(self._commit)

    @property
    def buckets(self) -> Counter:
        """Return the number of turns by bucket directory."""
        return Counter(row.bucket for row in self.rows if row.bucket)

    @property
    def edited(self) -> list[str]:
        """Return the names of turns whose `score` differs from the one their verdicts give."""
        return [row.name for row in self.rows if row.is_edited]

    @cached_property
    def pairs(self) -> list[BestPair]:
        """Return the best pairs, read once."""
        return best_pairs(self.root, self.duel.mode)

    @cached_property
    def costs(self) -> list[Cost]:
        """Return the costs of all calls under the root, read once."""
        return costs_of(self.root)

    def each(self) -> Iterator[tuple[TurnRow, Answer, Score]]:
        """Yield the turns that count with their records, in natural order, and keep their rows.
        Scores are by the panel of the outcome. Print and leave out broken records. In the end, set
        `outdated`. Call this once."""
        names, scored, instances = self.state.plan.names, [], []
        of_other_panels = {*names["stale"], *names["incomplete"], *names["failed"]}
        for name in self.state.plan.counting:
            try:
                answer, score = self.state.answers.read(name), self.state.scores.read(name)
                by_rule = self.panel.score(score.judges)
                scored.append(by_rule)
                instances.append(score.instance_id)
                if name in of_other_panels:   # its stored score comes from another panel
                    score = replace(score, score=by_rule.score, metrics=by_rule.metrics)
                stored, made = score.score, by_rule.score
                is_edited = stored != made and (None in (stored, made)
                                                or abs(stored - made) > MAX_ROUNDING)
                self.rows.append(_row(name, answer, score, self, is_edited))
            except BrokenRecord as e:
                self.report_broken(e)
                continue
            yield self.rows[-1], answer, score
        now = duel_record(self.duel, self.panel, scored, instances, self.state.turns_left).raw
        self.outdated = any({"min_instances": self.duel.min_instances, **self.duel.raw}.get(key)
                            != value for key, value in now.items())

    def read_rows(self) -> ReportTurns:
        """Read all turns by each(), and return self."""
        for _ in self.each():
            pass
        return self

    def _commit(self, instance_id: str) -> Commit | None:
        """Return the PR record of an instance, or None if it is missing or broken."""
        try:
            return self.commits.read(instance_id) if instance_id in self.commits else None
        except BrokenRecord as e:   # its turns lose only their language and leak check
            self.report_broken(e)
        return None

    def report_broken(self, error: BrokenRecord) -> None:
        """Print and keep the fault of a record that cannot be read."""
        say(f"{STAGE}.py: {error}")
        self.broken.append(error)


def open_duel(settings: Settings, judge_again: str = "") -> ReportTurns:
    """Return the turns of a duel, without rows. Raise Trouble if the outcome is missing or broken;
    `judge_again` is the command that makes it."""
    root, mode, how = settings.root, settings.duel.mode, settings.challenger.how
    answers, scores = records_of(mode, how, how)
    path, todo = root / scores.directory / DUEL, f"Run: {judge_again}"
    try:
        duel = Duel.read(path, mode, todo)
    except FileNotFoundError:
        raise Trouble("is not there.", str(path), todo) from None
    leak_judges = {spec.role for spec in settings.leak_judges() if how != "chosen"}
    panel = decided_panel(duel)
    state = load_duel_state(Judging(root, panel, answers, scores), settings.exclude)
    turns = ReportTurns(root, state, duel, panel, settings.report, Store(root, Commit).open(),
                        leak_judges, _asked_again(state.answers))
    for e in state.plan.broken.values():
        say(f"{STAGE}.py: {e}")
    return turns


def _asked_again(answers: Store) -> dict[str, int]:
    """Return {turn: number of times its challenger was refused for leaks}, without zeros. Read the
    lines, since the ledger may hold only some items."""
    again = {}
    for line in sound_lines(answers.directories):
        if line["stage"] == "ch" and line.get("state") in ("done", "adopted"):
            again.pop(line["item"], None)
            if n := line.get("asked_again"):
                again[line["item"]] = n
    return again


def _row(name: str, answer: Answer, score: Score, turns: ReportTurns, is_edited: bool) -> TurnRow:
    """Return the row of the table for one turn."""
    commit = turns.commit(answer.instance_id)
    leaks = _leaks(name, answer, score, commit, turns)
    injected = injections(answer)
    is_flagged = bool(injected or leaks.found or leaks.lacks_verdict)
    bucket = "" if score.score is None else bucket_of(score.score, turns.thresholds, is_flagged)
    return TurnRow(
        name, commit.language if commit else "unknown", score.score, score.metrics,
        injections=injected, bucket=bucket, instance_id=answer.instance_id,
        repo=commit.repo if commit else "unknown",
        is_edited=is_edited, leaks=leaks,
        by_program=any(entry.get("by_program") for entry in score.judges),
        **_sides(name, answer, turns.panel.rival, turns.root))


def _sides(name: str, answer: Answer, rival: str, root: Path) -> Object:
    """Return the fields of a row on its pair: the actions of the rival and of the challenger."""
    sides = [getattr(answer, SIDES[rival]) or "", answer.challenger or ""]
    commands = [command_of(answer, side) for side in sides]
    runs = [execution_of(root, name, side) for side in sides]
    return {
        "styles": tuple(map(_style, commands, runs)),
        "n_passed": tuple(len(run.passed) for run in runs) if all(runs) else None}


def command_of(answer: Answer, side: Side) -> str:
    """Return the commands of a side of a turn, a line each; "" if a harness would run none."""
    form = form_of(answer.messages, answer.tools)
    return "\n".join(commands_of(form.read(side, answer.messages)))


def _style(command: str, run: Execution | None) -> str:
    """Return the style of a command; an edit whose run changes nothing counts as a test."""
    style = action_style(command) if command else "none"
    return TEST if style == EDIT and run and not run.changes else style


def _leaks(name: str, answer: Answer, score: Score, commit: Commit | None,
           turns: ReportTurns) -> TurnLeaks:
    """Return the leaks of a turn and of its king, and the cost of its leak verdicts."""
    found, lacks_verdict = challenger_leaks(turns.leak_judges, answer, score, commit)
    answers, of_king = turns.state.answers, verdicts_of(score, KING)
    costs = [verdict["usage"].get("cost_usd") for verdict in score.leaks or ()]
    return TurnLeaks(
        found, lacks_verdict,
        [one for verdict in of_king for one in verdict["findings"]] if of_king else None,
        None if None in costs else sum(costs), turns.asked_again.get(name, 0),
        answers.path(name).parent / KEPT / f"{name}.json")

