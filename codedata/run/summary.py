"""Print the plan of a run or its estimated costs; at its end, the outcome and the next commands."""
from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from shlex import quote

from codedata.disk.ledger import newest_calls
from codedata.disk.store import known
from codedata.errors import BrokenRecord, Interrupted, ItemFailed
from codedata.llm.client import Models
from codedata.llm.costs import Cost, ToCome
from codedata.llm.embedded import NOISE
from codedata.run.cli import RunOptions
from codedata.run.loop import StageRun
from codedata.run.plan import Plan, States
from codedata.run.stage import Stage
from codedata.run.states import Item
from codedata.run.status import ONLY, StageStatus, hand_over, log_of
from codedata.run.talk import plan_line, print_reasons, summary_line
from codedata.settings import ModelSpec
from codedata.terminal import named, plural, say
from codedata.texts import natural, printable

ONCE = ("force", "limit")   # flags left out of the command for further items
MAX_REASONS = 5     # shown for a stage in a root's summary
N_LIKE = 200        # finished items used to estimate the others
ESTIMATED = ("n_calls", "tokens_in", "tokens_out")


def print_plan(stage: Stage, plan: Plan, models: Models, options: RunOptions) -> None:
    """Print the number of items by state and to do, and every broken record with its fault."""
    for e in plan.broken.values():
        say(f"{stage.script}: {e}")
    with options.unless_quiet():
        into = stage.writes.store.into.relative_to(stage.writes.store.root)
        say(f"{stage.label}  {plan_line(plan, stage.reads.store.place, f'{into}/')}")
        for client in models.clients() if plan.asks else []:
            say(f"      asks {_model_and_place(client.spec)}")
        for doubt in stage.doubts() if plan.asks else ():
            say(f"      {doubt}")
        if plan.asks and options.budget_usd and options.selection.shard:
            models.money.add_up(options.root)
            say(f"      {models.money.part()}")
        for state in ("edited", "orphan"):
            if names := plan.names[state]:
                say(f"      {state}: {named(names)}")
        logs = [log for name in plan.names["failed"] if options.status
                and (log := log_of(options.root, f"{into}/", name))]
        if logs:
            say(f"      about failed items: {named(logs)}")
        print_reasons([plan.reasons[name]
                       for name in plan.names["excluded"] + plan.names["waiting"]])
        if not plan.n_read and not plan.broken:
            after = stage.after
            what = f": first run {_near_command(stage, after, options)}" if after else ""
            if options.selection.shard:
                what = " of this shard"
            if options.selection.only:
                what = f" that matches {' or '.join(options.selection.only)}"
            say(f"      {stage.reads.store.place} has nothing{what}")


def _model_and_place(spec: ModelSpec) -> str:
    named_judge = spec.is_judge and spec.role != spec.model
    name = f"{spec.role} ({spec.model})" if named_judge else spec.model
    place = printable(re.sub("//[^/]*@", "//…@", spec.endpoint.base_url), 500) or "this machine"
    return f"{printable(name, 200)} at {place}{' for leaks' if spec.is_leak_judge else ''}"


def _is_embedded(models: Models) -> bool:
    return any(client.spec.endpoint.name == "embedded" for client in models.clients())


# status and dry run ------------------------------------------------------------------------------

def status_of(stage: Stage, plan: Plan, options: RunOptions) -> StageStatus:
    """Return a stage's status, for status.py."""
    store, n_others = stage.writes.store, plan.n_other_settings
    counts = {state: len(names) for state, names in plan.names.items()}
    note = f"made with other settings {n_others}" if n_others else ""
    status = StageStatus(stage.label, f"{store.into.relative_to(store.root)}/", counts,
                         len(plan.todo), note, stage.name, tuple(map(str, store.directories)))
    has_any = any(counts.values()) or store.names()
    status.words = lambda: [*_words_of(stage, plan)] if has_any else []
    # status.py calls nl2repo.py with a --writer that needs no model
    again = options.command(stage.script, same=True, without=("only", "writer"))
    # --force does not make items that are excluded before their item function is called
    tried = {name for key, name in store.ledger.excluded if key == stage.name}

    def failed():
        unread = {name: stage.unread(record) for name in plan.counting
                  if stage.unread and (record := known(store, name))}
        for state in ("failed", "excluded", "broken", "unread"):
            force = "" if state == "failed" else " --force"
            for name in plan.names.get(state, filter(unread.get, unread)):
                cannot = state == "broken" or (state == "excluded" and name not in tried)
                yield (name, state, plan.reasons.get(name, unread.get(name, "")),
                       "" if cannot else f"{again}{force}{ONLY}{quote(glob.escape(name))}")

    status.failed = failed
    return status


def _words_of(stage: Stage, plan: Plan) -> Iterator[str]:
    """Yield lines for the user that describe the records, and why other items are missing."""
    records = {}
    for name in sorted(chain(*plan.names.values()), key=natural) if stage.in_words else ():
        if record := known(stage.writes.store, name):
            records[name] = record
            yield f"{name}: {stage.in_words(record)}"
    yield from stage.sum_up()
    reasons = Counter(why for name, why in plan.reasons.items() if name not in records)
    for why, n in reasons.most_common(MAX_REASONS):
        yield f"left out {n}: {printable(why, 200)}"


def print_costs(stage: Stage, states: States, plan: Plan, models: Models,
                options: RunOptions) -> None:
    """Print this directory's cost so far and, with --dry-run, an estimate of the calls to come."""
    spent, directory = stage.writes.store.ledger.spent, stage.writes.store.cls.directory
    if spent.n_calls:
        say(f"      so far in {directory}/: {plural(spent.n_calls, 'call')}, {spent}")
    if _is_embedded(models):
        say(f"      {NOISE}")
    if options.dry_run:
        if plan.todo and _is_embedded(models) and stage.requests:
            models.check()   # the embedded model's tokenizer counts the tokens
        note = stage.cost_note
        to_come = (note(len(plan.todo)) if callable(note) else note
                   ) or "no calls: no model is asked"
        if stage.requests:
            to_come = _calls_to_come(stage, states, plan, models)
        say(f"{stage.label}  to come: {to_come}")
        hand_over(lambda: to_come)


def _calls_to_come(stage: Stage, states: States, plan: Plan, models: Models) -> ToCome:
    """Estimate the calls for the items to do. Scale the estimate by the real calls for the newest
    items that were made with this run's models."""
    there = {*stage.reads.store.names()}
    there.difference_update(
        plan.lacking, (item.name for item in plan.todo if item.state != "forced"))
    asked = {client.spec.model for client in models.clients()}
    calls = newest_calls(stage.writes.store.directories, stage.name)
    made = [Item(name, "", "done") for name, of_item in calls.items()
            if name in there and all(call["model"] in asked and call["tokens_out"] is not None
                                     for call in of_item)][-N_LIKE:]
    like, paid = _planned(stage, states, made), Cost()
    for call in chain.from_iterable(calls[item.name] for item in made):
        paid.add(call)
    factors = [getattr(paid, key) / getattr(like, key) for key in ESTIMATED if like.n_calls]
    to_come = _planned(stage, states, [item for item in plan.todo if not item.copies_only], factors)
    to_come.n_like = len(made)
    return to_come


def _planned(stage: Stage, states: States, items: list[Item], factors: Iterable[float] = ()
             ) -> ToCome:
    """Add up the calls of items, without calls that do not fit and items with broken records.
    `factors` are arguments of Client.estimate()."""
    planned = ToCome(items=[item.name for item in items])
    for item in items:
        try:
            calls = [*stage.requests(*states.load(item)[0])]
        except (ItemFailed, BrokenRecord):
            calls = [(None, None)]
        planned.n_unfit += int(any(messages is None for _, messages in calls))
        for client, messages in calls:
            if messages is not None:
                call = client.estimate(messages, *factors)
                planned.add(call)
                planned.max_usd += call["max_usd"] or 0
    return planned


# after a run -------------------------------------------------------------------------------------

def at_once(run: StageRun) -> str:
    """Return the outcome of a run that is ended immediately."""
    names = named([*run.unfinished, *run.in_flight]) or "nothing"
    return f"{summary_line(run.totals, len(run.plan.todo))}\n      not finished: {names}"


def print_summary(run: StageRun, models: Models, options: RunOptions, lines: list[str]) -> int:
    """Print the outcome of a run, its `lines`, and the next commands; return its exit code."""
    stage, totals, reason = run.stage, run.totals, run.pool.stop_reason
    n_left = len(run.plan.todo) - totals.finished
    is_unfinished = bool(n_left or totals.failed or totals.broken or run.plan.broken)
    if reason is not None and not isinstance(reason, Interrupted):
        say(f"{stage.script}: {reason}")
    with options.unless_quiet(totals.failed):
        say(f"{stage.label}  {summary_line(totals, len(run.plan.todo))}")
        todos = dict.fromkeys(e.todo for _, e in totals.failures() if e.todo)
        for todo in list(todos)[:2]:
            say(f"      {todo}")
    with options.unless_quiet():
        if totals.spent.n_calls and _is_embedded(models) and NOISE not in "".join(lines):
            lines.append(f"      {NOISE}")
        for line in [*_came_of(run), *lines,
                     *_next_commands(run, options, n_left, is_unfinished)]:
            say(line)
    if run.pool.is_interrupted:
        return Interrupted().exit_code
    return reason.exit_code if reason else int(is_unfinished)


def _came_of(run: StageRun) -> Iterator[str]:
    """Yield lines for the user that describe the records made."""
    for name in sorted(run.journal.made, key=natural):
        yield f"      {name}: {run.stage.in_words(run.journal.made[name])}"
    for line in run.stage.sum_up() if run.plan.todo else ():
        yield f"      {line}"
    if run.unfinished:
        yield f"      not finished: {named(run.unfinished)}"


def _next_commands(run: StageRun, options: RunOptions, n_left: int, is_unfinished: bool
                   ) -> Iterator[str]:
    """Yield the next commands."""
    script, command, totals = run.stage.script, options.command, run.totals
    if is_unfinished:
        # --force would ask for all parts of an output again
        force = bool(n_left) or run.stage.writes.parts is None
        yield f"      again: {command(script, same=True, without=() if force else ('force',))}"
        if force and options.selection.force and totals.wrote:
            yield (f"      --force asks again for the {totals.wrote:,} that this run "
                   "has made, too: --only takes the others")
    elif run.plan.spare:
        n_more = plural(len(run.plan.spare), "more item")
        yield f"      {n_more} to do: {command(script, same=True, without=ONCE)}"
    is_done = totals.finished > len(totals.failed) and run.pool.stop_reason is None
    if is_done and run.stage.writes.store.names():
        for then in filter(None, run.stage.then.split("; ")):
            yield f"      next:  {_near_command(run.stage, then, options)}"


def _near_command(stage: Stage, script: str, options: RunOptions) -> str:
    """Return the command for the script before or after a stage. If it is the stage's own script
    (another step), repeat this run's flags."""
    is_own = script.split()[0] == stage.script
    return options.command(script, same=is_own, without=(*ONCE, "steps"))
