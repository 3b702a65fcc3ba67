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
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain, zip_longest
from operator import attrgetter
from pathlib import Path

from codedata.checks.duplicates import near_duplicates
from codedata.conversation.recorded_steps import check_problem
from codedata.disk.store import Store, digest, known_in
from codedata.errors import Trouble
from codedata.export.collect import ExportRules, ExportTurn, ExportTurns, LeftOutLog
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
    PRUNED,
    PRUNED_STEPS,
    Attempt,
    Message,
    Object,
    Sample,
    SourceTrajectory,
)
from codedata.settings import ExportSettings
from codedata.suites.repo_names import parts_of
from codedata.tasks.rates import attempts_in, rates_of
from codedata.texts import natural

PLACE = attrgetter("source", "config", "split", "row")   # sort key: opens each source once
SMITH = re.compile(r"(.+)__(.+)\.[0-9a-f]{8}\..+")   # an id of SWE-smith
SOLVED_REWARD = 1.0   # minimum reward of a solved trajectory without `resolved`
NOT_SOLVED = "not solved"   # a reason that dpo_trajectories does not have
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
    """Remove the turns that none of `formats` takes, and log the reasons."""
    found = [replace(one, repo=records[one.name].repo) for one in sorted(
        turns.turns, key=lambda one: (one.name in unchecked, records[one.name].n_turns,
                                      natural(one.name)))]
    turns.turns = []
    solved, failed = ([*_kept(turns, [one for one in found if one.score == score], actions,
                              unchecked)] for score in (SOLVED, FAILED))
    for one in (*solved, *failed):
        reason = one.spare or (() if one.score == SOLVED else (NOT_SOLVED,))
        for form in formats if reason else ():
            if form == ATTEMPTS:
                turns.turns.append(replace(one, winner="", spare=reason))
            elif (*reason, form) != (NOT_SOLVED, DPO):
                turns.left_out.add(one.name, *reason, format=form)
    _pair(turns, solved, failed, formats)
    turns.turns.sort(key=lambda one: natural(one.name))


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
                attempt = known_in(root, Attempt, name)   # None: it cannot be read
                is_pruned = attempt and attempt.trajectory["steps"] == PRUNED_STEPS
                reason = PRUNED if is_pruned else "not recorded"
                left_out.add(name, CHEATED if one["status"] == CHEATED else reason, format=ATTEMPTS)
    return found


def _is_solved(record: SourceTrajectory) -> bool | None:
    """Return whether a trajectory solved its task, judged by its reward if nothing else is
    recorded; None if it has no outcome."""
    if record.resolved is None and record.reward is not None:
        return record.reward >= SOLVED_REWARD
    return record.resolved


def _kept(turns: ExportTurns, some: list[ExportTurn], actions: dict[str, str],
          unchecked: dict[str, str]) -> Iterator[ExportTurn]:
    """Yield turns. A turn is spare if it is over the cap of its task or in `unchecked`, or if an
    earlier turn at its task has nearly the same actions."""
    settings = turns.settings
    threshold = settings.duplicate_similarity
    n_of, texts = Counter(), defaultdict(list)
    for one in some if threshold else ():
        texts[one.instance_id].append((one.name, actions[one.name]))
    twins = {one.name: one.of for of_task in texts.values()
             for one in near_duplicates(of_task, threshold)}
    for one in some:
        if one.name in twins:
            yield replace(one, spare=("near-duplicate", twins[one.name]))
        elif one.name in unchecked:
            yield replace(one, spare=("not checked", unchecked[one.name]))
        elif 0 < settings.trajectories_per_task <= n_of[one.instance_id]:
            yield replace(one, spare=("over a cap", one.instance_id))
        else:
            n_of[one.instance_id] += 1
            yield one


def _pair(turns: ExportTurns, solved: list[ExportTurn], failed: list[ExportTurn],
          formats: Collection[str]) -> None:
    """Add the solved ones to `turns`, each with a failed one of the same beginning, if there is
    one. Leave out spare ones."""
    groups = defaultdict(lambda: ([], []))
    for of_group, some in enumerate((solved, failed)):
        for one in (one for one in some if not one.spare):
            record = turns.record(one)
            messages = whole_messages(record)
            beginning = [one.instance_id, record.tools, messages[:first_turn(messages)]]
            groups[digest(beginning)][of_group].append(
                replace(one, calls=single_calls(messages)))
    for one, other in chain.from_iterable(zip_longest(*group) for group in groups.values()):
        if one and other:
            record = turns.record(one)
            pair = {"rejected": whole_messages(turns.record(other)), "rejected_source": other.name}
            record = replace(record, metrics={**record.metrics, **pair})
            turns.turns.append(replace(one, winner="challenger", rejected=other.digest,
                                       at=turns.put(record)))
            continue
        if DPO in formats:
            turns.left_out.add((one or other).name, "nothing to pair it with", format=DPO)
        turns.turns += [replace(one, winner="")] if one else []
