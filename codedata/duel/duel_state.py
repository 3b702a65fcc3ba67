"""Find the turns that count in a duel, and write the duel's outcome to score/_duel.json.

Everything is computed from the records on disk, so files that a user edited, deleted or added are
taken into account. A turn counts if both its answers exist, and if its score was made from these
answers or was edited by a user.
"""
from __future__ import annotations

import fcntl
from dataclasses import asdict, dataclass
from functools import partial

from codedata.disk.layouts import to_json, write_atomic
from codedata.disk.locks import locked
from codedata.disk.store import Store, digest
from codedata.duel.judge_stats import JudgedTurn, doubts, statistics
from codedata.duel.panel import Judging, Panel, find_related, judging_of
from codedata.duel.scoring import RESAMPLES, SEED, TurnScore, decide
from codedata.errors import BrokenRecord
from codedata.llm import Models
from codedata.llm.embedded import NOISE
from codedata.records import DUEL, Duel, Score
from codedata.run.plan import Plan, States
from codedata.run.stage import Stage
from codedata.settings import EMBEDDED_MODEL, DuelSettings, Exclude, Settings
from codedata.terminal import plural, say
from codedata.texts import natural

# fields of a judge's entry to keep in memory; the entry's texts are dropped
COUNTED = ("judge", "order", "parse_ok", "scores", "error", "truncated", "usage", "by_program")
# for the ledger lines of scores, since each judge's entry holds its own settings
NO_SETTINGS = digest({})


@dataclass(frozen=True)
class DuelState:
    """Hold the state of a duel's turns. `plan.counting` names the turns that count, in natural
    order."""

    answers: Store
    scores: Store
    plan: Plan

    @property
    def turns_left(self) -> int:
        """Return the number of turns that have both answers but no valid score."""
        return sum(not item.counts for item in self.plan.todo)


def load_duel_state(judging: Judging, exclude: Exclude) -> DuelState:
    """Return the state of the turns on disk. Read a record only if the ledgers do not describe its
    current content."""
    reads, writes = judging.reads(), judging.writes()
    plan = States("validate", reads, writes, exclude=exclude, settings=NO_SETTINGS).plan()
    # settled items come first, but the interval and the digest of the verdicts depend on the order
    plan.counting.sort(key=natural)
    return DuelState(reads.store, writes.store, plan)


def duel_stage(settings: Settings, refresh: bool, how: str, models: Models) -> Stage:
    """Return the stage that judges the challengers of variant `how`, and then the duel."""
    judging = judging_of(settings, models, refresh, how)
    return judging.stage(finish=partial(write_duel, judging, settings.duel, settings.exclude),
                         after="ch.py")


def write_duel(judging: Judging, rules: DuelSettings, exclude: Exclude) -> list[str]:
    """Decide the duel from the records on disk, write _duel.json, and return its summary lines."""
    root, panel = judging.root, judging.panel
    # lock the file: without a lock, the slower of two shards could overwrite it with old numbers
    with locked(root / judging.scores.directory / "_duel.lock", fcntl.LOCK_EX):
        state = load_duel_state(judging, exclude)
        judged = []
        for name in state.plan.counting:
            try:
                judged.append(_judged_turn(state.scores.read(name)))
            except BrokenRecord as e:
                say(f"validate.py: {e}")
        related = find_related(root, panel.models)
        duel = duel_record(rules, panel, [panel.score(turn.judges) for turn in judged],
                           [turn.instance_id for turn in judged], state.turns_left,
                           missing_answers=len(state.plan.lacking),
                           panel=statistics(judged, panel.names, related, panel.order))
        write_atomic(state.scores.into / DUEL, to_json(duel.raw))
    return summary_lines(duel, f"{state.scores.into.name}/{DUEL}")


def _judged_turn(score: Score) -> JudgedTurn:
    """Return the fields of a turn's score that decide the duel, without the judges' replies."""
    entries = [{key: entry[key] for key in COUNTED if key in entry} for entry in score.judges]
    return JudgedTurn(score.instance_id, entries)


def duel_record(rules: DuelSettings | Duel, panel: Panel, turns: list[TurnScore],
                instances: list[str], turns_left: int, /, **further) -> Duel:
    """Return the outcome for turns in natural order; `instances` are theirs. `rules` is the
    settings, or an earlier Duel with the same fields. `further` holds `panel` and
    `missing_answers`, which do not follow from the verdicts."""
    values = {key: getattr(rules, key) for key in DuelSettings.__dataclass_fields__
              if key in Duel.__dataclass_fields__}
    values |= {"seed": SEED, "bootstrap_resamples": RESAMPLES, "resamples": RESAMPLES}
    outcome = decide(turns, panel.names, rules, instances, turns_left)
    numbers = asdict(outcome.total)
    numbers[f"{panel.rival}_score"] = numbers.pop("king_score")
    judges = {name: {**judge, "model": panel.models[name]}
              for name, judge in numbers["judges"].items()}
    return Duel.of({
        **values, **numbers, "judges": judges, "order": panel.order, "lcb": outcome.lcb,
        "interval": outcome.interval, "accepted": not outcome.reasons, "reasons": outcome.reasons,
        "turns_left": turns_left, "instances": len(set(instances)),
        "verdicts": digest([turn.by_judge for turn in turns]), **further})


def summary_lines(duel: Duel, where: str) -> list[str]:
    """Return the outcome as some lines for the terminal. `where` is the path to print."""
    numbers = "no scores"
    if duel.margin is not None:
        numbers = (f"challenger {duel.challenger_score:.2f}, {duel.mode} {duel.rival_score:.2f}, "
                   f"margin {duel.margin:.2f}, LCB {duel.lcb:.2f}")
    verdict = "accepted" if duel.accepted else "not accepted: " + "; ".join(duel.reasons)
    lines = [f"      {numbers} over {plural(duel.turns, 'turn')}: {verdict}   {where}"]
    lines += [f"      {doubt}" for doubt in doubts(duel)]
    left_out = []
    if duel.turns_left:
        left_out.append(f"{plural(duel.turns_left, 'turn')} not judged yet")
    if duel.missing_answers:
        left_out.append(f"{plural(duel.missing_answers, 'answer record')} without both sides")
    if left_out:
        lines.append(f"      not in it: {', '.join(left_out)}")
    if EMBEDDED_MODEL in duel.models:
        lines.append(f"      {NOISE}")
    return lines
