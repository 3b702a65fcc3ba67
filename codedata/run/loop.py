"""The run loop of every stage: plan, workers, ledger lines, signals, summary, exit code.

run() makes the items of a stage one by one, in three steps: inputs = load(item), output =
make(inputs), commit(item, inputs, output). The first and the last are done here, the second by an
engine: in threads, or on the machines of a cluster. run_whole() is for a stage
whose output is one thing, such as a report. states.py finds which items are to be made.
"""
from __future__ import annotations

import gc
import os
import re
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import chain, groupby
from math import ceil
from pathlib import Path
from typing import Any, Protocol

from codedata.disk.ledger import LEDGER, NOTHING, PARTIAL, disk_trouble
from codedata.disk.ledger_compact import compact
from codedata.disk.store import (
    Change,
    check_directories,
    digest,
    digests_of,
    known,
    lock,
    remove_half_written,
    shards_of,
)
from codedata.errors import (
    BrokenRecord,
    Excluded,
    Interrupted,
    ItemFailed,
    RunStopped,
    Trouble,
    is_full_disk,
    start_thread,
)
from codedata.llm.client import Models
from codedata.llm.embedded import NOISE
from codedata.llm.replies import ReplyLog, recording
from codedata.run.cli import RunOptions
from codedata.run.states import Item, Plan, Reads, States, Writes
from codedata.run.status import StageStatus, hand_over
from codedata.run.talk import Bar, RunTotals, Step, plan_line, print_reasons, showing, summary_line
from codedata.sandbox import local
from codedata.settings import ModelSpec, Settings
from codedata.terminal import ToCome, named, plural, say, say_removed
from codedata.texts import natural, printable, terminal_safe

ONCE = ("force", "limit")   # flags that the command for further items leaves out
MAX_WRITERS = 8   # threads that write at once, each a group: more would wait for each other
MAX_REASONS = 5     # of a stage in the summary of a root
MAX_ALIKE = 3       # first items that fail alike: a setting is to blame, as the model's name
# the status alone where a body may name the request
NO_REPLY = re.compile(r"HTTP (?:40[45]|(?:4|200 without).*)", re.DOTALL)
MAX_IN_WORDS = 20   # records of which a run says what they hold
MAX_GROUP = 64    # records in a group; where as many wait for a writer, their threads do, too
Held = type | tuple[type, str]   # a record's class, whose directory is held; with a kind: its items


@dataclass(frozen=True)
class Stage:
    """Describe what a script does with each item.

    make(record, *joined records) returns a record, of which the `writes` fields are put on disk.
    Each store of `joined` is read by the item's instance id. An item without a record there is
    excluded, or waits where `joined` names the stage that makes it; None stands for one that is
    optional. If the output has parts, make() and
    requests() are also given the item's name and its old record.
    """

    name: str            # its key in ledgers: "king", of a step "bug_inject.validate"
    reads: Reads
    writes: Writes
    make: Callable
    joined: tuple[Reads, ...] = ()
    identity: dict = field(default_factory=dict)   # model, prompts: a change makes nothing stale
    requests: Callable | None = None   # make()'s arguments → (client, messages) of its calls
    cost_note: str = ""   # for --dry-run, of a stage without `requests` that asks a model
    doubts: Callable[[], list[str]] = list   # lines for the plan, of a stage that asks a model
    close: Callable[[], list[str]] = list    # called where items were made, returns lines to print
    finish: Callable[[], list[str]] = list   # called at the end, returns lines to print
    is_local: bool = False   # make() reads the root: it runs in this process, on any engine
    after: str = ""                    # the script before this one
    # item → a group: each item waits until those before it in its group are on disk, or have failed
    after_same: Callable[[str], str] | None = None
    per_limit: float = 1.0             # items that --limit 1 lets it make; 0: all
    then: str = ""                     # the script after this one; of several, divided by "; "
    in_words: Callable | None = None   # record → what a user would say of it, where items are few
    sum_up: Callable[[], list[str]] = list   # returns what a user would say of all that is there
    refresh: bool = False              # make again what was made with other settings
    title: str = ""                    # script and step, "bug_inject.scale": the name, if none

    @property
    def script(self) -> str:
        """Return the script that this stage is of: "bug_inject.py"."""
        return (self.title or self.name).partition(".")[0] + ".py"

    @property
    def label(self) -> str:
        """Return the stage's name on the screen: "bug_inject scale"."""
        return (self.title or self.name).replace(".", " ")


def run(stage: Stage, settings: Settings, models: Models, options: RunOptions) -> int:
    """Make what is missing, stale or failed; return the exit code."""
    check_root(settings.root, "prompt.py" if stage.after else stage.script)
    store = stage.writes.store
    with hold_directories(stage.script, [(store.cls, store.kind)], options):
        return _run_held(stage, settings, models, options)


def run_steps(steps: dict[str, Callable[[Models], Stage]], settings: Settings, options: RunOptions,
              holds: Iterable[Held] | Mapping[str, Held], chosen: Iterable[str] | None = None
              ) -> int:
    """Do the steps of a script one after the other; return the worst exit code.

    A step's stage is made when its turn comes, from what the earlier ones wrote, with models of
    its own. The directories of the records in `holds` are held from the first step to the end; by
    step: those of the chosen ones. A step that was stopped (an exit code above 1) ends the run.
    `chosen` are those of --steps; a script without that flag does all.
    """
    check_root(settings.root)
    left = [name for name in steps if chosen is None or name in chosen]
    if isinstance(holds, Mapping):
        holds = dict.fromkeys(holds[name] for name in left)
    codes = []
    with ExitStack() as held:
        while left and max(codes, default=0) <= 1:
            with Models(settings) as models:
                stage = steps[left[0]](models)
                if not codes:
                    held.enter_context(hold_directories(stage.script, holds, options))
                if left[1:]:
                    stage = replace(stage, then="")
                if chosen is not None:
                    options = options.with_steps(left if len(left) < len(steps) else ())
                codes.append(_run_held(stage, settings, models, options))
            del left[0]
    return max(codes)


def _run_held(stage: Stage, settings: Settings, models: Models, options: RunOptions) -> int:
    """Run a stage whose directory is held."""
    store, selection = stage.writes.store, options.selection
    if stage.refresh:
        selection = replace(selection, refresh=True)
    if selection.limit:
        selection = replace(selection, limit=ceil(stage.per_limit * selection.limit) or None)
    states = States(stage.name, stage.reads, stage.writes, settings.exclude,
                    digest(stage.identity), stage.joined, selection)
    if options.compact:
        return _compact(stage.label, store.open().directories)
    plan = states.plan()
    if options.status and hand_over(lambda: _status_of(stage, plan)):
        return 0
    _print_plan(stage, plan, models, options)
    if options.read_only:
        _print_costs(stage, states, plan, models, options)
        return 0
    if options.prune:
        _prune(stage, plan, settings.root)
        return 1 if plan.broken else 0
    if plan.asks:
        models.check()
    if not plan.todo:
        return _Run(stage, states, plan, models, options).run(Threads(stage, 1))
    with closing(_engine_of(stage, settings, models, options)) as engine:
        return _Run(stage, states, plan, models, options).run(engine)


def _status_of(stage: Stage, plan: Plan) -> StageStatus:
    store, n_others = stage.writes.store, plan.n_other_settings
    counts = {state: len(names) for state, names in plan.names.items()}
    notes = [f"made with other settings {n_others}"] if n_others else []
    note = "; ".join([*notes, *_kept_replies(stage, plan)])
    status = StageStatus(stage.label, f"{store.into.relative_to(store.root)}/", counts,
                         len(plan.todo), note, stage.name, tuple(map(str, store.directories)))
    status.words = lambda: [*_words_of(stage, plan)] if any(counts.values()) else []
    return status


def _kept_replies(stage: Stage, plan: Plan) -> Iterator[str]:
    """Yield where the replies of failed items are, refused ones too, if there are any."""
    store = stage.writes.store
    paths = [store.directory(name) / PARTIAL / f"{name}.jsonl" for name in plan.names["failed"]]
    if kept := [str(path.relative_to(store.root)) for path in paths if path.exists()]:
        yield f"replies of failed items, refused ones too: {named(kept)}"


def _words_of(stage: Stage, plan: Plan) -> Iterator[str]:
    """Yield what a user would say of what is there, and the reasons why other items are not."""
    records = {}
    for name in sorted(chain(*plan.names.values()), key=natural) if stage.in_words else ():
        if record := known(stage.writes.store, name):
            records[name] = record
            yield f"{name}: {stage.in_words(record)}"
    yield from stage.sum_up()
    reasons = Counter(why for name, why in plan.reasons.items() if name not in records)
    for why, n in reasons.most_common(MAX_REASONS):
        yield f"left out {n}: {printable(why, 200)}"


def check_root(root: Path, first: str = "prompt.py") -> None:
    """Raise Trouble if the root is not there; `first` is the script that makes one."""
    if not root.is_dir():
        raise Trouble("is not there.", str(root), f"Check --root; {first} makes a new one.")


def run_whole(name: str, directory: Path, options: RunOptions, work: Callable[[], int], *,
              refuses: tuple[str, ...], ledgers: Iterable[Path] = (),
              counts: Callable[[], dict[str, int]] | None = None) -> int:
    """Do a stage without items of its own: work() with the directory held; return the exit code.

    `refuses` names the flags that say nothing here: Trouble if one is given. `ledgers` are the
    directories that --compact shortens. counts() gives what is there by state, for status.py; by
    default the outputs in the directory are done.
    """
    if given := [flag for flag in options.given if flag in refuses]:
        flags = ", ".join("--" + flag.replace("_", "-") for flag in given)
        raise Trouble(f"{flags} does not go with {name}.py, which is about all items at once.")
    options.refuse_cluster("works in this process alone")
    check_directories([directory])
    if options.status and hand_over(lambda: _status_of_whole(name, directory, counts)):
        return 0
    with hold_directories(f"{name}.py", [directory], options):
        if not options.compact:
            return work()
        for ledger in ledgers:
            _compact(name, [ledger])
        return 0


def _status_of_whole(name: str, directory: Path, counts: Callable | None) -> StageStatus:
    n = counts() if counts else {"done": len([*directory.glob("[!_.]*")])}
    return StageStatus(name, f"{directory.name}/", n, n.get("missing", 0))


def _compact(label: str, directories: list[Path]) -> int:
    before, after = compact(directories)
    names = ", ".join(f"{directory.name}/{LEDGER}" for directory in directories)
    say(f"{label}  {names}: {before} lines → {after}")
    return 0


@contextmanager
def hold_directories(script: str, holds: Iterable[Held | Path], options: RunOptions
                     ) -> Iterator[None]:
    """Hold directories, or a shard of each, for this process; a read-only run needs no hold.
    A directory is named by its path, by the class of its records, or by that and a kind.

    The temporary folders of killed processes are removed, and their half-written files if no other
    shard can be at work. With --budget the whole root, or the shard of it, is held against other
    budgets: each process counts its own spending.
    """
    shard = options.selection.shard
    if options.compact and (options.read_only or shard):
        raise Trouble("--compact goes alone: not with --status, --dry-run or --shard.")
    places = [_place_of(options.root, one) for one in holds]
    with ExitStack() as held:
        if not options.read_only:
            for directory, kind in places:
                kind = "" if options.compact else kind
                held.enter_context(lock(directory, shard, script, kind))
            if options.budget_usd:
                held.enter_context(lock(options.root / "_budget", shard, f"{script} --budget"))
            for directory, kind in places if not shard else ():
                remove_half_written(shards_of(directory), kind)
            say_removed(*local.reap())
        yield


def _place_of(root: Path, one: Held | Path) -> tuple[Path, str]:
    """Return a directory that is to be held, and the kind of its items that are; "": all."""
    if isinstance(one, Path):
        return one, ""
    cls, kind = one if isinstance(one, tuple) else (one, "")
    return root / cls.directory, kind


# the plan ----------------------------------------------------------------------------------------

def _print_plan(stage: Stage, plan: Plan, models: Models, options: RunOptions) -> None:
    """Print what is there and what is to do, and every broken record with its fault."""
    for e in plan.broken.values():
        say(f"{stage.script}: {e}")
    if options.quiet and not options.read_only:
        return
    into = stage.writes.store.into.relative_to(stage.writes.store.root)
    say(f"{stage.label}  {plan_line(plan, stage.reads.place, f'{into}/')}")
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
    for line in _kept_replies(stage, plan) if options.status else ():
        say(f"      {line}")
    print_reasons([plan.reasons[name] for name in plan.names["excluded"] + plan.names["waiting"]])
    if not plan.n_read and not plan.broken:
        what = f": first run {options.command(stage.after)}" if stage.after else ""
        if options.selection.shard:
            what = " of this shard"
        if options.selection.only:
            what = f" that matches {options.selection.only}"
        say(f"      {stage.reads.place} has nothing{what}")


def _model_and_place(spec: ModelSpec) -> str:
    named_judge = spec.is_judge and spec.role != spec.model
    name = f"{spec.role} ({spec.model})" if named_judge else spec.model
    place = printable(spec.endpoint.base_url, 500) or "this machine"
    return f"{printable(name, 200)} at {place}{' for leaks' if spec.is_leak_judge else ''}"


def _is_embedded(models: Models) -> bool:
    return any(client.spec.endpoint.name == "embedded" for client in models.clients())


def _print_costs(stage: Stage, states: States, plan: Plan, models: Models,
                 options: RunOptions) -> None:
    """Print what this directory has cost and, with --dry-run, an estimate of the calls to come."""
    spent, directory = stage.writes.store.ledger.spent, stage.writes.store.cls.directory
    if spent.n_calls:
        say(f"      so far in {directory}/: {plural(spent.n_calls, 'call')}, {spent}")
    if _is_embedded(models):
        say(f"      {NOISE}")
    if options.dry_run:
        if plan.todo and _is_embedded(models) and stage.requests:
            models.check()   # its tokens are counted by itself
        to_come = stage.cost_note or "no calls: no model is asked"
        if stage.requests:
            to_come = _calls_to_come(stage, states, plan)
        say(f"{stage.label}  to come: {to_come}")
        hand_over(lambda: to_come)


def _calls_to_come(stage: Stage, states: States, plan: Plan) -> ToCome:
    to_come = ToCome(items=[item.name for item in plan.todo if not item.copies_only])
    for calls in _expected_calls(stage, states, plan):
        to_come.n_unfit += int(any(messages is None for _, messages in calls))
        for client, messages in calls:
            if messages is not None:
                tokens, max_usd = client.estimate(messages)
                to_come.add(tokens, client.spec.max_tokens, {"cost_usd": max_usd})
    return to_come


def _expected_calls(stage: Stage, states: States, plan: Plan) -> Iterator[list]:
    """Yield each item's calls as (client, messages); messages that do not fit are None."""
    for item in plan.todo:
        if not item.copies_only:
            try:
                yield list(stage.requests(*load(stage, states, item)[0]))
            except (ItemFailed, BrokenRecord):
                yield [(None, None)]


def _prune(stage: Stage, plan: Plan, root: Path) -> None:
    """Move the records whose input is gone to _replaced/."""
    out, orphans = stage.writes.store, plan.names["orphan"]
    if orphans and not stage.reads.store.names():
        raise Trouble(f"has nothing in it, so all {len(orphans)} records would be orphans.",
                      str(root / stage.reads.place),
                      "Not pruned: check --root, or delete them yourself.")
    for name in orphans:
        out.set_aside(name)
        out.note(name, stage=stage.name, state="pruned")
        out.remove(name)
    say(f"{stage.label}  moved {plural(len(orphans), 'orphan')} to _replaced/")
    for line in stage.finish():
        say(line)


# one item: load, make, commit --------------------------------------------------------------------

@dataclass
class Attempt:
    """Hold one attempt at an item."""

    item: Item
    calls: ReplyLog = field(default_factory=ReplyLog)
    step: Step = field(default_factory=Step)   # at which it is
    read: str = ""                 # digest of the fields that it is made from
    started: float = field(default_factory=time.monotonic)
    output: Any = None             # its new record
    change: Change | None = None   # that puts its record on disk
    line: dict | None = None       # of the ledger


def load(stage: Stage, states: States, item: Item) -> tuple[list, str]:
    """Return make()'s arguments, from disk, and the digest of the fields that are read.

    Raise BrokenRecord if a record cannot be read.
    """
    store = stage.writes.store
    inputs = states.inputs(item.name)
    read = states.read_digest(*(digests_of(one) if one else NOTHING for one in inputs))
    if stage.writes.parts:
        is_kept = item.same_inputs and not item.anew and item.state != "forced"
        inputs += [item.name, store.read(item.name) if is_kept else None]
    return inputs, read


class Journal:
    """Write records with their ledger lines, and the lines of failures; count what they cost."""

    def __init__(self, stage: Stage, states: States, totals: RunTotals):
        self.stage, self.states, self.totals = stage, states, totals
        self.store = stage.writes.store
        self.lock = threading.Lock()   # of `totals`

    def begin(self, attempt: Attempt) -> None:
        """Begin to write an item's record. Raise ItemFailed if a person edited it meanwhile."""
        item, store = attempt.item, self.store
        if item.anew and item.name in store:
            store.set_aside(item.name)
        attempt.change = store.begin(item.name, attempt.output, self.stage.writes.fields,
                                     keep_edits=not item.anew)

    def sync(self, attempt: Attempt) -> None:
        """Flush the record; make its ledger line, which is to be written before place()."""
        key, parts = (self.stage.name, attempt.item.name), self.stage.writes.parts
        made = {"read": attempt.read, **attempt.calls.notes}
        if attempt.item.copies_only:
            made["settings"] = self.store.ledger.succeeded[key].settings
        if parts:
            made |= {"parts": parts.of(attempt.output), "view": parts.view}
        known = self.store.sync(attempt.change)
        self._make_line(attempt, "done", **known.line(self.stage.writes.fields), **made,
                        found=attempt.change.external)

    def place(self, attempt: Attempt) -> None:
        """Put the record in its place, once its line is written, then drop its kept replies."""
        attempt.change.place()
        self._count(attempt)

    def adopt(self, item: Item) -> None:
        """Write the ledger line of a record that is on disk without one."""
        writes, made, known = self.stage.writes, item.adoption, self.store.facts(item.name)
        if writes.parts and "parts" not in made:   # put there by hand
            record = self.store.read(item.name)
            view = writes.parts.view if writes.parts.fits(record) else ""
            made = {**made, "parts": writes.parts.of(record), "view": view}
        external = self.store.external_edits(item.name, known.digests, writes.fields)
        attempt = Attempt(item, self.states.replies(item.name))
        self._note(attempt, "adopted", **known.line(writes.fields), **made, found=external)

    def exclude(self, attempt: Attempt, rule: Excluded) -> None:
        """Write the ledger line of an item that its item function leaves out."""
        self._note(attempt, "excluded", error=rule.what, read=attempt.read)
        with self.lock:
            self.totals.excluded[rule.what] += 1

    def fail(self, attempt: Attempt, error: Trouble) -> None:
        """Write the ledger line of a failed attempt.

        What was made before from the same inputs still counts (`still`).
        """
        state = attempt.item.forced_from
        still = state if state in ("done", "adopted", "edited") else ""
        self._note(attempt, "failed", still=still, error=str(error).replace("\n ", ""))

    def write(self, lines: Iterable[dict]) -> None:
        """Write ledger lines: those of one directory together."""
        for directory, some in groupby(lines, lambda line: self.store.directory(line["item"])):
            self.store.ledger.append(directory, *some)

    def _note(self, attempt: Attempt, state: str, **more) -> None:
        self._make_line(attempt, state, **more)
        self.write([attempt.line])
        self._count(attempt)

    def _make_line(self, attempt: Attempt, state: str, **more) -> None:
        """Make the ledger line, with the calls that it pays for."""
        item, calls = attempt.item, attempt.calls
        attempt.line = {
            **attempt_line(self.stage.name, item.name, state, calls, attempt.started),
            "instance_id": item.instance_id, "settings": self.states.settings,
            "cut": "; ".join(calls.cuts), **more}

    def _count(self, attempt: Attempt) -> None:
        """Drop the replies that are not needed any more, and count the calls of the line."""
        if attempt.calls.directory:
            attempt.calls.finish(made=attempt.line["state"] != "failed")
        with self.lock:
            self.totals.add(attempt.line["calls"], attempt.calls)


def attempt_line(stage: str, item: str, state: str, calls: ReplyLog, started: float) -> dict:
    """Return the ledger line of an attempt, with the calls that it pays for."""
    paid = calls.to_count()
    costs = [call["cost_usd"] for call in paid]
    return {"stage": stage, "item": item, "state": state, "calls": paid,
            "cost_usd": None if None in costs else round(sum(costs), 8),
            "seconds": round(time.monotonic() - started, 3)}


# where items are made ----------------------------------------------------------------------------

class Engine(Protocol):
    """Make items; nothing of a run is kept in it."""

    n_workers: int             # items at a time

    def make(self, log: ReplyLog, step: Step, inputs: list) -> Any:
        """Return what the stage's make() returns for these inputs, or raise what it raises; meant
        for a thread of the item, with `log` as its current reply log. Raise ItemFailed where the
        engine has tried in vain."""

    def where(self) -> Counter[str]:
        """Return how many items are in flight on each machine, if there are several."""

    def end(self) -> list[str]:
        """Do the stage's close() wherever items were made, and return its lines."""

    def close(self) -> None:
        """Stop what was started."""


class Threads:
    """Make items in this process."""

    def __init__(self, stage: Stage, n_workers: int):
        self._stage, self.n_workers = stage, n_workers

    def make(self, log: ReplyLog, step: Step, inputs: list) -> Any:
        """Return what the stage's make() returns."""
        return self._stage.make(*inputs)

    def where(self) -> Counter[str]:
        """Return nothing: there is one machine."""
        return Counter()

    def end(self) -> list[str]:
        """Do the stage's close()."""
        return self._stage.close()

    def close(self) -> None:
        """Do nothing: its threads have ended."""


def _engine_of(stage: Stage, settings: Settings, models: Models, options: RunOptions) -> Engine:
    """Return a new engine for a stage, once what killed runs have left is removed."""
    if options.engine == "threads":
        options.before_work()
    if options.engine == "threads" or stage.is_local:
        return Threads(stage, settings.llm.workers)
    from codedata.cluster.engine import ray_engine  # an extra
    fills_cluster = options.host and options.ray_address and "workers" not in options.given
    return ray_engine(stage, settings, models.stop, options.host, options.ray_address,
                      0 if fills_cluster else settings.llm.workers)


# all items ---------------------------------------------------------------------------------------

class WorkerPool:
    """Run workers in threads, and hold why they were stopped."""

    def __init__(self, models: Models):
        self.stop_reason: Trouble | None = None
        self._models = models
        self._alike: Counter[str] = Counter()   # failures, by what was said
        self._lock = threading.Lock()

    def stop(self, reason: Trouble, at_once: bool = True) -> None:
        """Start no further items; `at_once` also no new calls, and end commands in sandboxes. The
        first reason is reported; it replaces an interruption."""
        with self._lock:
            if self.stop_reason is None or isinstance(self.stop_reason, Interrupted):
                self.stop_reason = reason
        if at_once:
            self._models.stop.set()

    def note_failure(self, error: Trouble) -> None:
        """Stop where no model has answered, and the first items have all failed alike."""
        how = NO_REPLY.search(error.what)
        if how and self._models.clients() and not self._models.http.has_answered:
            self._alike[how[0]] += 1
            if self._alike[how[0]] >= MAX_ALIKE:
                self.stop(RunStopped(f"the first items all failed alike: {error.what}",
                                     todo=error.todo, exit_code=2))

    def run(self, workers: Iterable[Callable[[], None]], show: Callable[[], None]) -> None:
        """Run each worker in a thread of its own, and call show() every now and then, till all have
        ended."""
        threads = []
        try:
            for worker in workers:
                threads.append(start_thread(worker))
        except RunStopped as e:   # those that did start finish what is in flight
            self.stop(e)
        for thread in threads:
            while thread.is_alive():
                thread.join(0.1)
                show()


class _Run:
    """One run over the items of a plan: workers, failures, the reason why it stopped."""

    def __init__(self, stage: Stage, states: States, plan: Plan, models: Models,
                 options: RunOptions):
        self.stage, self.states, self.plan = stage, states, plan
        self.models, self.options = models, options
        self.totals = RunTotals()
        self.journal = Journal(stage, states, self.totals)
        self.pool = WorkerPool(models)
        self.interrupted = False
        self.is_last_round = not (stage.writes.parts and stage.writes.parts.worthwhile)
        self.again: list[Item] = []     # of outputs in parts: items for a second round
        self.in_flight: dict[str, Attempt] = {}   # by item
        self.unfinished: list[str] = []   # items that the end of the run has cut short
        self.in_words: dict[str, str] = {}   # what a user would say of each record, by item
        self._waiting: deque[Item] = deque()      # for a worker
        self._made: deque[Attempt] = deque()      # with a record that is to be put on disk
        self._writers = threading.Semaphore(MAX_WRITERS)
        self.bar: Bar | None = None

    def run(self, engine: Engine) -> int:
        """Make every item of the plan; return the exit code."""
        self.engine = engine
        for item in self.plan.adopted:
            self.journal.adopt(item)
        gc.freeze()   # the plan's objects stay to the end: no collection needs to look at them
        before = gc.get_threshold(), sys.getswitchinterval()
        gc.set_threshold(20_000, 50, 100)   # what is added stays, too: few cycles come and go
        sys.setswitchinterval(0.05)   # each thread that waits for its turn wakes up so often
        self.bar = Bar(self.stage.label, len(self.plan.todo), self.options.quiet)
        with signals(self.stage.label, self._interrupt, self.bar.say, self._at_once):
            try:
                self._round(self.plan.todo)
                if not self.is_last_round:
                    self.is_last_round = True
                    self._round(sorted(self.again, key=lambda item: natural(item.name)))
            finally:
                self.bar.close()
                self.states.spares.close()
                gc.unfreeze()
                gc.set_threshold(*before[0])
                sys.setswitchinterval(before[1])
            lines = self._finish()
        n_left = len(self.plan.todo) - self.totals.finished
        is_unfinished = bool(n_left or self.totals.failed or self.totals.broken
                             or self.plan.broken)
        self._print_summary(lines, n_left, is_unfinished)
        if self.interrupted:
            return 130
        reason = self.pool.stop_reason
        return reason.exit_code if reason else int(is_unfinished)

    def _finish(self) -> list[str]:
        try:
            return [*self.engine.end(), *self.stage.finish()]
        except Trouble as e:
            self.pool.stop(e)
            return []

    def _round(self, todo: list[Item]) -> None:
        """Make every item of `todo` once."""
        self._waiting.extend(todo)

        def work() -> None:
            while not (self.models.stop.is_set() or self.pool.stop_reason):
                try:
                    item = self._waiting.popleft()
                except IndexError:   # there are no more
                    return
                self._one(item)

        self.pool.run([work] * min(self.engine.n_workers, len(todo)), self._show)

    def _show(self) -> None:
        in_flight = dict(self.in_flight)
        steps = {name: attempt.step for name, attempt in in_flight.items()}
        n_replies = sum(len(attempt.calls.unbilled) for attempt in in_flight.values())
        self.bar.update(self.totals, len(in_flight), steps, n_replies, self.engine.where())

    def _one(self, item: Item) -> None:
        """Make one item, and put on disk what has gathered, unless other threads are at that."""
        attempt = self.in_flight[item.name] = Attempt(item)
        if self._try(attempt, self._make) and attempt.output is None:   # a rule leaves it out
            del self.in_flight[item.name]
        # one that is added while the others write is seen by them, after their release
        while self._made and self._writers.acquire(blocking=len(self._made) >= MAX_GROUP):
            try:
                self._put_next_group()
            finally:
                self._writers.release()

    def _put_next_group(self) -> None:
        """Put records on disk step by step: the disk waits for all at once, and the ledger is
        written to once.
        """
        group = []
        with suppress(IndexError):   # there are no more
            while len(group) < MAX_GROUP:
                group.append(self._made.popleft())
        for step in self.journal.begin, self.journal.sync:
            group = [attempt for attempt in group if self._try(attempt, step)]
        try:
            self.journal.write(attempt.line for attempt in group)
        except RunStopped as e:
            self.pool.stop(e)
            return
        for attempt in group:
            if self._try(attempt, self._place):
                del self.in_flight[attempt.item.name]

    def _try(self, attempt: Attempt, function: Callable[[Attempt], None]) -> bool:
        """Call function(attempt). The failure of an item is a ledger line and False; others go on.
        """
        try:
            function(attempt)
            return True
        except BrokenRecord as e:
            with self.journal.lock:
                self.totals.broken += 1
            self.bar.say(f"{self.stage.script}: {e}")
        except ItemFailed as e:
            self._fail(attempt, e)
        except Trouble as e:   # RunStopped, and what no other item would be spared
            self.unfinished.append(attempt.item.name)
            self.pool.stop(e)
        except Exception as e:
            if is_full_disk(e):
                self.unfinished.append(attempt.item.name)
                place = f"{self.journal.store.into} or {tempfile.gettempdir()}"
                self.pool.stop(disk_trouble(e, e.filename or place))
            else:   # a bug of ours: its traceback is welcome, the other items go on
                self.bar.say(traceback.format_exc())
                self._fail(attempt, Trouble(f"{type(e).__name__}: {e}"))
        del self.in_flight[attempt.item.name]
        return False

    def _make(self, attempt: Attempt) -> None:
        """Make an item."""
        item = attempt.item
        attempt.calls = self.states.replies(item.name, item.state)
        with recording(attempt.calls), showing(attempt.step):
            self._wait_for_group(item.name)
            inputs, attempt.read = load(self.stage, self.states, item)
            try:
                attempt.output = self._output(attempt, inputs)
            except Excluded as e:
                self.journal.exclude(attempt, e)
                self._take_spare()
                return
        self._made.append(attempt)

    def _wait_for_group(self, name: str) -> None:
        """Wait while items before this one in its group are in flight, if the stage has groups.
        Raise Interrupted where the run is ending."""
        group = self.stage.after_same
        while group and any(group(one) == group(name) and natural(one) < natural(name)
                            for one in [*self.in_flight]):
            if self.models.stop.wait(0.1):
                raise Interrupted()

    def _take_spare(self) -> None:
        """Let an item beyond --limit take the place of one that a rule leaves out."""
        with self.journal.lock:
            if self.plan.spare:
                item = self.plan.spare.popleft()
                self.plan.todo.append(item)
                self._waiting.append(item)
                self.bar.total += 1

    def _output(self, attempt: Attempt, inputs: list) -> Any:
        """Return an item's new record. Raise ItemFailed, or Excluded if a rule leaves it out."""
        writes = self.stage.writes
        if attempt.item.copies_only and not writes.parts:
            copies = {name: getattr(inputs[0], name) for name in writes.copies}
            return replace(writes.store.read(attempt.item.name), **copies)
        return self.engine.make(attempt.calls, attempt.step, inputs)

    def _place(self, attempt: Attempt) -> None:
        """Put an item's record in its place. Raise ItemFailed where it lacks parts for good."""
        item, output, writes = attempt.item, attempt.output, self.stage.writes
        self.journal.place(attempt)
        if self.stage.in_words and len(self.in_words) < MAX_IN_WORDS:
            self.in_words[item.name] = self.stage.in_words(output)
        fault = writes.fault and writes.fault(output)   # it is on disk all the same, for its parts
        if not fault:
            with self.journal.lock:
                self.totals.refreshed += int(item.copies_only)
                self.totals.wrote += int(not item.copies_only)
            return
        item.forced_from = ""
        if writes.parts:   # what is on disk now lacks parts
            item.state, item.same_inputs, item.anew = "incomplete", True, False
        if self.is_last_round:
            raise ItemFailed(fault)
        with self.journal.lock:
            self.again.append(item)

    def _fail(self, attempt: Attempt, error: Trouble) -> None:
        item = attempt.item
        try:
            self.journal.fail(attempt, error)
        except RunStopped as e:
            self.pool.stop(e)
        with self.journal.lock:
            if self.is_last_round:
                self.totals.failed[item.name] = error
            else:
                self.again.append(item)
        self.pool.note_failure(error)
        if self.options.stop_on_error:
            self.pool.stop(RunStopped(f"{item.name} failed, and --stop-on-error was given.",
                                      todo="Run again to go on."), at_once=False)

    def _interrupt(self) -> None:
        self.interrupted = True
        self.pool.stop(Interrupted())

    def _at_once(self) -> str:
        """Return what became of the items, for a run that is not waited for."""
        n_todo = len(self.plan.todo)
        outcome = summary_line(self.totals, n_todo, n_todo - self.totals.finished)
        names = named([*self.unfinished, *self.in_flight]) or "nothing"
        return f"{outcome}\n      not finished: {names}"

    def _print_summary(self, lines: list[str], n_left: int, is_unfinished: bool) -> None:
        totals, quiet = self.totals, self.options.quiet
        reason = self.pool.stop_reason
        if reason is not None and not isinstance(reason, Interrupted):
            say(f"{self.stage.script}: {reason}")
        if not quiet or totals.failed:
            say(f"{self.stage.label}  {summary_line(totals, len(self.plan.todo), n_left)}")
            todos = dict.fromkeys(e.todo for _, e in totals.failures() if e.todo)
            for todo in list(todos)[:2]:
                say(f"      {todo}")
        if quiet:
            return
        for name in sorted(self.in_words, key=natural):
            say(f"      {name}: {self.in_words[name]}")
        for line in self.stage.sum_up() if self.plan.todo else ():
            say(f"      {line}")
        if self.unfinished:
            say(f"      not finished: {named(self.unfinished)}")
        if totals.spent.n_calls and _is_embedded(self.models) and NOISE not in "".join(lines):
            lines = [*lines, f"      {NOISE}"]
        for line in [*lines, *self._next_commands(n_left, is_unfinished)]:
            say(line)

    def _next_commands(self, n_left: int, is_unfinished: bool) -> Iterator[str]:
        """Yield the commands that go on from here."""
        script, command = self.stage.script, self.options.command
        if is_unfinished:
            # with --force an output in parts would ask for everything again
            force = bool(n_left) or self.stage.writes.parts is None
            yield f"      again: {command(script, same=True, without=() if force else ('force',))}"
            if force and self.options.selection.force and self.totals.wrote:
                yield (f"      --force asks again for the {self.totals.wrote:,} that this run "
                       "has made, too: --only takes the others")
        elif self.plan.spare:
            n_more = plural(len(self.plan.spare), "more item")
            yield f"      {n_more} to do: {command(script, same=True, without=ONCE)}"
        is_done = self.totals.finished > len(self.totals.failed) and self.pool.stop_reason is None
        if is_done and self.stage.writes.store.names():
            for then in filter(None, self.stage.then.split("; ")):
                is_own = then.split()[0] == script   # a later step of this script
                yield f"      next:  {command(then, same=is_own, without=(*ONCE, 'steps'))}"


def trouble_of(work: Callable[[], None], print_line: Callable[[str], None]) -> Trouble | None:
    """Do a piece of work; return why it failed, None where it did not. Raise RunStopped. Of a bug
    of ours the traceback is printed: other pieces go on."""
    try:
        work()
    except RunStopped:
        raise
    except Trouble as e:
        return e
    except Exception as e:
        print_line(traceback.format_exc())
        return Trouble(f"{type(e).__name__}: {e}")
    return None


@contextmanager
def signals(stage: str, stop: Callable[[], None], print_line: Callable[[str], None] = say,
            outcome: Callable[[], str] = lambda: "what was written is kept"):
    """Call stop() at the first SIGINT or SIGTERM; at the second one print the outcome so far, and
    end the process at once."""
    def wind_down() -> None:
        stop()
        print_line(f"{stage}  stopping: calls in flight finish and are kept, commands end "
                   "(again: end at once)")

    def first(*_) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, second)
        try:   # in a thread: what was interrupted may hold a lock or be printing
            threading.Thread(target=wind_down).start()
        except RuntimeError:   # no further thread
            second()

    def second(*_) -> None:
        text = terminal_safe(f"{stage}  ended at once: {outcome()}\n")
        with suppress(OSError):   # not say(): what was interrupted may be printing
            os.write(2, b"\x1b[?25h\n" if os.isatty(2) else b"")   # the bar hides the cursor
            os.write(2, text.encode(errors="replace"))
        os._exit(130)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.signal(number, first) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
