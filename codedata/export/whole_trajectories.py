"""Collect whole trajectories that may be exported, from their records of outcomes and the rows that
these name. The caller passes a function that reads the rows, so that they may come from anywhere.

Trainers get the trajectories that solved their task and end in a check; dpo_trajectories pairs
each with a failed one of the same beginning. `attempts` takes all, solved or not, also those over
the cap of a task, and near-duplicates. Trajectories are left out of all formats if they have no
outcome, or read forbidden data (codedata/leak/forbidden.py).
"""
from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from itertools import chain
from operator import attrgetter
from pathlib import Path

from codedata.checks.duplicates import near_duplicates
from codedata.conversation.bash_commands import INSTALL
from codedata.conversation.recorded_steps import check_problem
from codedata.disk.store import Store, digest
from codedata.errors import Trouble
from codedata.export.collect import ExportRules, ExportTurn, ExportTurns, LeftOutLog, Problem
from codedata.export.formats import (
    ATTEMPTS,
    DPO,
    OF_ATTEMPT,
    first_turn,
    single_calls,
    whole_messages,
)
from codedata.leak.forbidden import actions_of, forbidden_in
from codedata.messages import content_text
from codedata.records import (
    CHEATED,
    Message,
    Object,
    Sample,
    SourceTrajectory,
)
from codedata.settings import ExportSettings
from codedata.suites.repo_names import parts_of
from codedata.tasks.rates import attempts_in, rates_of
from codedata.terminal import say
from codedata.texts import natural

PLACE = attrgetter("source", "config", "split", "row")   # sort key: opens each source once
SMITH = re.compile(r"(.+)__(.+)\.[0-9a-f]{8}\..+")   # an id of SWE-smith
SOLVED_REWARD = 1.0   # minimum reward of a solved trajectory without `resolved`
NOT_RECORDED = "pruned, or not in prompt/_trajectories/"
SOLVED, FAILED = 100.0, 0.0   # the scores of whole trajectories
KEPT_SETTINGS = ("checked_only", "duplicate_similarity", "licence", "licences", "max_chars",
                 "tool_calls", "trajectories_per_task", "validation")
# (record) → (its messages, its tools); raises BrokenRecord for a changed row
RowReader = Callable[[SourceTrajectory], tuple[list[Message], list | None]]


class WholeTrajectory(Sample):
    """Hold a whole trajectory. Its last turn is `assistant`, and `metrics` are further columns."""

    directory = SourceTrajectory.directory


def read_trajectories(root: Path, settings: ExportSettings, rules: ExportRules,
                      left_out: LeftOutLog, read_row: RowReader, formats: Collection[str]
                      ) -> ExportTurns:
    """Return the solved trajectories of a root as turns and, for `attempts`, all others as spare
    turns. If a failed trajectory has the same beginning, the turn gets a `winner`, and its record
    also has the failed messages. For each of `formats`, log the trajectories that it leaves out."""
    turns = ExportTurns(root, settings, rules, left_out)
    store = Store(root, SourceTrajectory).open()
    if not store.names():
        raise Trouble("has no record of a trajectory.", str(store.into),
                      "Run: python prompt.py --trajectories")
    turns.in_bucket = Counter({SourceTrajectory.directory: len(store.names())})
    records: dict[str, SourceTrajectory] = {}
    actions: dict[str, str] = {}
    unchecked: dict[str, str] = {}   # {name of a solved trajectory: why it does not end in a check}

    def load(name: str) -> None:
        record = store.read(name)
        repo = record.repo or SMITH.sub(r"\1/\2", turns.pr(record.instance_id)[0].repo)
        records[name] = replace(record, repo="/".join(parts_of(repo)[-2:]))   # it may be an address

    def sample(name: str) -> WholeTrajectory | None:
        record = records[name]
        if (is_solved := _is_solved(record)) is None:
            left_out.add(name, "no outcome")
            return None
        messages, tools = read_row(record)
        actions[name] = actions_of(messages, tools)
        pr = replace(turns.pr(record.instance_id)[0], repo=record.repo)
        if read := forbidden_in(actions[name], messages, pr):
            left_out.add(name, "read what it should not", read)
            return None
        if (problem := check_problem(messages, tools)) and is_solved and settings.checked_only:
            unchecked[name] = problem
        *history, last = messages
        return WholeTrajectory(
            record.instance_id, history, last if tools else content_text(last), None, None,
            SOLVED if is_solved else FAILED,
            {**attempts.get(record.config, dict.fromkeys(OF_ATTEMPT)), "reward": record.reward,
             "exit_status": record.exit_status, "label": is_solved, "checked": not problem,
             "steps": record.n_turns}, [], [], tools=tools)

    for name in store.names():
        turns.take(name, partial(load, name))
    configs = {record.config for record in records.values()}
    attempts = _attempts(root, configs, left_out) if ATTEMPTS in formats else {}
    for name in sorted(records, key=lambda name: PLACE(records[name])):
        turns.take(name, partial(sample, name))
    _choose(turns, records, actions, unchecked, formats)
    return turns


def _choose(turns: ExportTurns, records: dict[str, SourceTrajectory], actions: dict[str, str],
            unchecked: dict[str, str], formats: Collection[str]) -> None:
    """Pair the turns, remove turns that none of `formats` takes, and log the reasons."""
    found = [replace(one, repo=records[one.name].repo) for one in sorted(
        turns.turns, key=lambda one: (one.name in unchecked, records[one.name].n_turns,
                                      natural(one.name)))]
    if INSTALL in unchecked.values():
        say(f"export.py: no trajectory can be checked: {INSTALL}")
    spare = _spare(turns.settings, found, actions, unchecked)
    groups = defaultdict(lambda: {SOLVED: [], FAILED: []})
    calls = {}
    for one in found:
        if one.name not in spare:
            record = turns.record(one)
            messages = whole_messages(record)
            calls[one.name] = single_calls(messages)
            beginning = [one.instance_id, record.tools, messages[:first_turn(messages)]]
            groups[digest(beginning)][one.score].append(one)
    rivals = {one.name: other for group in groups.values()
              for one, other in zip(group[SOLVED], group[FAILED], strict=False)}
    paired = {*rivals, *(other.name for other in rivals.values())}
    turns.turns = []
    for one in sorted(found, key=lambda one: natural(one.name)):
        reason = spare.get(one.name, ())
        alone = () if one.name in paired else ("nothing to pair it with",)
        not_solved = ("not solved",) if one.score == FAILED else ()
        reasons = {ATTEMPTS: (), DPO: reason or alone}
        for form in formats:
            if why := reasons.get(form, reason or not_solved):
                turns.left_out.add(one.name, *why, format=form)
        turn = replace(one, winner="", calls=calls.get(one.name, ()), spare=reason or not_solved)
        if one.name in rivals:
            record, other = turns.record(one), rivals[one.name]
            pair = {"rejected": whole_messages(turns.record(other)), "rejected_source": other.name}
            record = replace(record, metrics={**record.metrics, **pair})
            turn = replace(turn, winner="challenger", rejected=other.digest, at=turns.put(record))
        if ATTEMPTS in formats or not turn.spare:
            turns.turns.append(turn)


def _spare(settings: ExportSettings, found: list[ExportTurn], actions: dict[str, str],
           unchecked: dict[str, str]) -> dict[str, Problem]:
    """Return {name: why only `attempts` takes it}: a turn is over the cap of its task or in
    `unchecked`, or an earlier turn at its task with the same outcome has nearly the same actions.
    """
    threshold = settings.duplicate_similarity
    n_of, texts = Counter(), defaultdict(list)
    for one in found if threshold else ():
        texts[one.instance_id, one.score].append((one.name, actions[one.name]))
    spare = {one.name: ("near-duplicate", one.of) for some in texts.values()
             for one in near_duplicates(some, threshold)}
    for one in found:
        key = one.instance_id, one.score
        if one.name in spare:
            continue
        if one.name in unchecked:
            spare[one.name] = "not checked", unchecked[one.name]
        elif 0 < settings.trajectories_per_task <= n_of[key]:
            spare[one.name] = "over a cap", one.instance_id
        else:
            n_of[key] += 1
    return spare


def _attempts(root: Path, recorded: set[str], left_out: LeftOutLog) -> dict[str, Object]:
    """Return {name of a recorded attempt: its values of OF_ATTEMPT}, and log the models' attempts
    without a record."""
    found = {}
    for by_name in chain.from_iterable(one.values() for one in attempts_in(root).values()):
        rates = rates_of([*by_name.values()])
        for name, one in by_name.items():
            if name in recorded:
                values = {**one, **one["usage"], **rates}
                found[name] = {key: values.get(key) for key in OF_ATTEMPT}
            elif one["model"]:
                reason = CHEATED if one["status"] == CHEATED else NOT_RECORDED
                left_out.add(name, reason, format=ATTEMPTS)
    return found


def _is_solved(record: SourceTrajectory) -> bool | None:
    """Return whether a trajectory solved its task, judged by its reward if nothing else is
    recorded; None if it has no outcome."""
    if record.resolved is None and record.reward is not None:
        return record.reward >= SOLVED_REWARD
    return record.resolved
