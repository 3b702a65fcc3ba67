"""The run loop of every stage: plan, workers, ledger lines, signals, summary, exit code.

run() makes the items of a stage one by one, in three steps that an engine can take apart:
inputs = load(item), output = make(inputs), commit(item, inputs, output). run_whole() is for a stage
whose output is one thing, such as a report. states.py finds which items are to be made.
"""
from __future__ import annotations

import gc
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from codedata.cli import RunOptions
from codedata.errors import (
    BrokenRecord,
    Excluded,
    Interrupted,
    ItemFailed,
    RunStopped,
    Trouble,
    start_thread,
)
from codedata.ledger import LEDGER, FileState
from codedata.ledger_compact import compact
from codedata.llm.client import Models
from codedata.llm.embedded import NOISE
from codedata.llm.reply_log import ReplyLog, recording
from codedata.progress import (
    Bar,
    RunTotals,
    named,
    plan_line,
    plural,
    print_reasons,
    say,
    summary_line,
    usd,
)
from codedata.settings import ModelSpec, Settings
from codedata.states import Adoption, Item, Plan, Reads, States, Writes, combined_digest
from codedata.store import check_directories, digest, lock, remove_half_written, shards_of
from codedata.texts import natural, printable

MAX_WRITERS = 8   # threads that write at once: hundreds would only wait for each other


@dataclass(frozen=True)
class Stage:
    """Describe what a script does with each item.

    make(record) or make(record, joined record) returns a record, of which the `writes` fields are
    put on disk; `joined` is read by the item's instance id, and an item without it is excluded. If
    the output has parts, make() and requests() are also given `name` and `old`.
    """

    name: str
    reads: Reads
    writes: Writes
    make: Callable
    joined: Reads | None = None
    identity: dict = field(default_factory=dict)   # model, prompts: a change makes nothing stale
    requests: Callable | None = None   # make()'s arguments → (client, messages) of its calls
    cost_note: str = ""                # for --dry-run, where requests are not known before
    finish: Callable[[], list[str]] | None = None   # called at the end, returns lines to print
    after: str = ""                    # the script before this one
    then: str = ""                     # the script after this one
    command: str = ""                  # how it is started: <name>.py, if nothing is given

    @property
    def words(self) -> str:
        """Return the script with the words that start this stage: "refine.py --steps judge"."""
        return self.command or f"{self.name}.py"

    @property
    def script(self) -> str:
        """Return the script that this stage is of: "refine.py"."""
        return self.words.split()[0]

    @property
    def label(self) -> str:
        """Return the stage's name on the screen: "refine judge"."""
        return " ".join(word.removesuffix(".py") for word in self.words.split()
                        if not word.startswith("--"))


def run(stage: Stage, settings: Settings, models: Models, options: RunOptions) -> int:
    """Make what is missing, stale or failed; return the exit code."""
    check_root(settings.root, "prompt.py" if stage.after else stage.script)
    store = stage.writes.store
    states = States(stage.name, stage.reads, stage.writes, stage.joined,
                    selection=options.selection, exclude=settings.exclude,
                    settings=digest(stage.identity))
    with hold_directory(stage.script, settings.root / store.cls.directory, options):
        if options.compact:
            return _compact(stage.label, store.open().directories)
        plan = states.plan()
        _print_plan(stage, plan, models, options)
        if options.read_only:
            _print_costs(stage, plan, models, options)
            return 0
        if options.prune:
            _prune(stage, plan, settings.root)
            return 1 if plan.broken else 0
        if plan.asks:
            models.check()
        return _Run(stage, states, models, options).run(plan, settings.llm.workers)


def check_root(root: Path, first: str = "prompt.py") -> None:
    """Raise Trouble if the root is not there; `first` is the script that makes one."""
    if not root.is_dir():
        raise Trouble("is not there.", str(root), f"Check --root; {first} makes a new one.")


def run_whole(name: str, directory: Path, options: RunOptions, work: Callable[[], int], *,
              refuses: tuple[str, ...], ledgers: Iterable[Path] = ()) -> int:
    """Do a stage without items of its own: work() with the directory held; return the exit code.

    `refuses` names the flags that say nothing here: Trouble if one is given. `ledgers` are the
    directories that --compact shortens.
    """
    if given := [flag for flag, _ in options.given if flag in refuses]:
        flags = ", ".join("--" + flag.replace("_", "-") for flag in given)
        raise Trouble(f"{flags} does not go with {name}.py, which is about all items at once.")
    check_directories([directory])
    with hold_directory(f"{name}.py", directory, options):
        if not options.compact:
            return work()
        for ledger in ledgers:
            _compact(name, [ledger])
        return 0


def _compact(label: str, directories: list[Path]) -> int:
    before, after = compact(directories)
    names = ", ".join(f"{directory.name}/{LEDGER}" for directory in directories)
    say(f"{label}  {names}: {before} lines → {after}")
    return 0


@contextmanager
def hold_directory(script: str, directory: Path, options: RunOptions) -> Iterator[None]:
    """Hold the directory, or a shard of it, for this process; a read-only run needs no hold.

    The half-written files of killed processes are removed if no other shard can be at work. With
    --budget the whole root is held against other budgets: each process counts its own spending.
    """
    shard = options.selection.shard
    if options.compact and (options.read_only or shard):
        raise Trouble("--compact goes alone: not with --status, --dry-run or --shard.")
    if options.budget_usd and shard:
        raise Trouble("--budget does not go with --shard: n processes would each spend it.",
                      todo="Run without --shard, or give each part a root of its own.")
    if options.read_only:
        yield
        return
    with ExitStack() as held:
        held.enter_context(lock(directory, shard, script))
        if options.budget_usd:
            held.enter_context(lock(options.root / "_budget", None, f"{script} --budget"))
        if not shard:
            remove_half_written(shards_of(directory))
        yield


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
    for state in ("edited", "orphan"):
        if names := plan.names[state]:
            say(f"      {state}: {named(names)}")
    print_reasons([plan.reasons[name] for name in plan.names["excluded"] + plan.names["waiting"]])
    if not plan.n_read and not plan.broken:
        only = options.selection.only
        first = f": run {stage.after} first" if stage.after else ""
        say(f"      {stage.reads.place} has nothing{f' that matches {only}' if only else first}")


def _model_and_place(spec: ModelSpec) -> str:
    named_judge = spec.is_judge and spec.role != spec.model
    name = f"{spec.role} ({spec.model})" if named_judge else spec.model
    place = printable(spec.endpoint.base_url, 500) or "this machine"
    return f"{printable(name, 200)} at {place}{' for leaks' if spec.is_leak_judge else ''}"


def _is_embedded(models: Models) -> bool:
    return any(client.spec.endpoint.name == "embedded" for client in models.clients())


def _print_costs(stage: Stage, plan: Plan, models: Models, options: RunOptions) -> None:
    """Print what this directory has cost and, with --dry-run, an estimate of the calls to come."""
    spent = stage.writes.store.ledger.spent
    if spent.n_calls:
        say(f"      so far {plural(spent.n_calls, 'call')}, {spent}")
    if _is_embedded(models):
        say(f"      {NOISE}")
    if options.dry_run:
        if plan.todo and _is_embedded(models) and not stage.cost_note:
            models.check()   # its tokens are counted by itself
        estimate = stage.cost_note or str(Estimate.of(stage, plan, options))
        say(f"{stage.label}  to come: {estimate}")


@dataclass
class Estimate:
    """Add up the calls to come, if every answer takes all of its max_tokens."""

    n_calls: int = 0
    tokens_in: int = 0
    max_tokens_out: int = 0
    max_usd: float = 0.0
    n_unpriced: int = 0
    n_unfit: int = 0        # items that will fail: a request too long, or a broken record

    @classmethod
    def of(cls, stage: Stage, plan: Plan, options: RunOptions) -> Estimate:
        """Return the estimate for the items of a plan."""
        estimate = cls()
        for item in plan.todo if stage.requests else []:
            if item.copies_only:
                continue
            try:
                inputs = load(stage, item, options.selection.force)
                calls = list(stage.requests(*inputs.records, **inputs.extra))
            except (ItemFailed, BrokenRecord):
                estimate.n_unfit += 1
                continue
            estimate.n_unfit += int(any(messages is None for _, messages in calls))
            for client, messages in calls:
                if messages is not None:
                    estimate._add(client, messages)
        return estimate

    def _add(self, client, messages: list[dict]) -> None:
        tokens, max_usd = client.estimate(messages)
        self.n_calls += 1
        self.tokens_in += tokens
        self.max_tokens_out += client.spec.max_tokens
        self.max_usd += max_usd or 0.0
        self.n_unpriced += int(max_usd is None)

    def __str__(self) -> str:
        cost = "cost unknown (no price)" if self.n_unpriced else f"at most {usd(self.max_usd)}"
        unfit = f"; {plural(self.n_unfit, 'item')} will fail: too long, or broken"
        return (f"{plural(self.n_calls, 'call')} (more where an answer has to be asked for again), "
                f"about {self.tokens_in:,} tokens in, at most {self.max_tokens_out:,} out, {cost}"
                f"{unfit if self.n_unfit else ''}")


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
    for line in stage.finish() if stage.finish else []:
        say(line)


# one item: load, make, commit --------------------------------------------------------------------

@dataclass
class Inputs:
    """Hold what make() is given for an item."""

    records: list                # the record that is read, then the joined one
    read: str                    # digest of the fields that are read
    extra: dict = field(default_factory=dict)   # of an output in parts: name, old


def load(stage: Stage, item: Item, force: bool) -> Inputs:
    """Return an item's inputs from disk. Raise BrokenRecord if one cannot be read."""
    records = [stage.reads.store.read(item.name)]
    digests = [_digest_of(records[0], name) for name in stage.reads.fields]
    if stage.joined:
        records.append(stage.joined.store.read(records[0].instance_id))
        digests += [_digest_of(records[1], name) for name in stage.joined.fields]
    inputs = Inputs(records, combined_digest(digests))
    if stage.writes.parts:
        inputs.extra = {"name": item.name, "old": _kept_record(stage.writes.store, item, force)}
    return inputs


def _digest_of(record, name: str) -> str:
    value = getattr(record, name)
    return "" if value is None else digest(value)


def _kept_record(store, item: Item, force: bool):
    """Return the record on disk if its parts are to be kept, else None."""
    made_anew = item.state != "incomplete" and (force or item.state == "forced")
    goes_on = item.name in store and item.same_inputs and not made_anew
    return store.read(item.name) if goes_on else None


def make(stage: Stage, item: Item, inputs: Inputs):
    """Return an item's new record. Raise ItemFailed, or Excluded if a rule leaves it out."""
    writes = stage.writes
    if item.copies_only and not writes.parts:
        copies = {name: getattr(inputs.records[0], name) for name in writes.copies}
        return replace(writes.store.read(item.name), **copies)
    return stage.make(*inputs.records, **inputs.extra)


class Journal:
    """Write records with their ledger lines, and the lines of failures; count what they cost."""

    def __init__(self, stage: Stage, states: States, totals: RunTotals):
        self.stage, self.states, self.totals = stage, states, totals
        self.store = stage.writes.store
        self.lock = threading.Lock()   # of `totals`
        self._writers = threading.Semaphore(MAX_WRITERS)

    def commit(self, item: Item, inputs: Inputs, output, calls: ReplyLog, seconds: float,
               force: bool) -> None:
        """Put a record on disk with its ledger line, then drop its kept replies.

        Raise ItemFailed if a person edited the record meanwhile.
        """
        store, replaces = self.store, force and item.state != "incomplete"
        if replaces and item.name in store:
            store.set_aside(item.name)
        before = store.ledger.succeeded.get((self.stage.name, item.name))
        settings = before.settings if item.copies_only and before else self.states.settings
        made = Adoption(inputs.read, settings, *self._parts(output))

        def note_intent(wrote: dict[str, str]) -> None:
            calls.about_to_write({"read": made.read, "wrote": wrote, "settings": settings,
                                  **_parts_fields(made)})

        with self._writers:
            state, external = store.put(
                item.name, output, self.stage.writes.fields, keep_edits=not replaces,
                about_to_write=note_intent if before else None)
            self._note_success(item.name, "done", state, external, made, calls, seconds)

    def _parts(self, record) -> tuple[dict[str, str] | None, str]:
        parts = self.stage.writes.parts
        return (parts.of(record), parts.view) if parts else (None, "")

    def adopt(self, item: Item) -> None:
        """Write the ledger line of a record that is on disk without one."""
        known, made = self.store.facts(item.name), item.adoption
        if (parts := self.stage.writes.parts) and made.parts is None:   # put there by hand
            record = self.store.read(item.name)
            view = parts.view if parts.fits(record) else ""
            made = replace(made, parts=parts.of(record), view=view)
        external = self.store.external_edits(item.name, known.digests, self.stage.writes.fields)
        self._note_success(item.name, "adopted", known, external, made,
                           self.states.replies(item.name), 0.0)

    def _note_success(self, name: str, state: str, known: FileState, external: dict[str, str],
                      made: Adoption, calls: ReplyLog, seconds: float) -> None:
        wrote = {f: known.digests[f] for f in self.stage.writes.fields if f in known.digests}
        self._note(name, calls, seconds, state=state, instance_id=known.instance_id,
                   read=made.read, found=external, wrote=wrote, size=known.size,
                   mtime_ns=known.mtime_ns, settings=made.settings, **calls.notes,
                   **_parts_fields(made))

    def fail(self, item: Item, calls: ReplyLog | None, seconds: float, error: Trouble) -> None:
        """Write the ledger line of a failed attempt.

        What was made before from the same inputs still counts (`still`).
        """
        still = item.forced_from if item.forced_from in ("done", "adopted", "edited") else ""
        self._note(item.name, calls, seconds, state="failed", still=still,
                   instance_id=item.instance_id, settings=self.states.settings,
                   error=str(error).replace("\n ", ""))

    def exclude(self, item: Item, calls: ReplyLog, seconds: float, rule: Excluded) -> None:
        """Write the ledger line of an item that its item function leaves out."""
        facts = self.stage.reads.store.facts(item.name)
        self._note(item.name, calls, seconds, state="excluded", instance_id=item.instance_id,
                   error=rule.what, read=self.states.read_of(facts), settings=self.states.settings)
        with self.lock:
            self.totals.excluded += 1

    def _note(self, name: str, calls: ReplyLog | None, seconds: float, **line) -> None:
        """Write one ledger line with the calls that it pays for, and count them."""
        paid = calls.to_count() if calls else []
        cut = "; ".join(calls.cuts) if calls else ""
        self.store.note(name, stage=self.stage.name, calls=paid, cost_usd=_total_cost(paid),
                        seconds=round(seconds, 3), cut=cut, **line)
        if calls:
            calls.finish(made=line["state"] != "failed")
            with self.lock:
                self.totals.add(paid, calls)


def _parts_fields(made: Adoption) -> dict:
    return {} if made.parts is None else {"parts": made.parts, "view": made.view}


def _total_cost(calls: list[dict]) -> float | None:
    """Return the cost of calls in USD; None if a price is unknown."""
    costs = [call["cost_usd"] for call in calls]
    return None if None in costs else round(sum(costs), 8)


# all items ---------------------------------------------------------------------------------------

class _Run:
    """One run over the items of a plan: workers, failures, the reason why it stopped."""

    def __init__(self, stage: Stage, states: States, models: Models, options: RunOptions):
        self.stage, self.models, self.options = stage, models, options
        self.totals = RunTotals()
        self.journal = Journal(stage, states, self.totals)
        self.states = states
        self.stop_reason: Trouble | None = None
        self.interrupted = False
        self.is_last_round = stage.writes.parts is None
        self.again: list[Item] = []     # of outputs in parts: items for a second round
        self.in_flight: dict[str, ReplyLog | None] = {}   # by item
        self.bar: Bar | None = None

    def run(self, plan: Plan, n_workers: int) -> int:
        """Make every item of the plan; return the exit code."""
        for item in plan.adopted:
            self.journal.adopt(item)
        gc.freeze()   # the plan's objects stay to the end: no collection needs to look at them
        self.bar = Bar(self.stage.label, len(plan.todo), self.options.quiet)
        with signals(self.stage.label, self._interrupt, self.bar.say):
            try:
                self._round(plan.todo, n_workers)
                if not self.is_last_round:
                    self.is_last_round = True
                    self._round(sorted(self.again, key=lambda item: natural(item.name)), n_workers)
            finally:
                self.bar.close()
                gc.unfreeze()
            lines = self._finish()
        self._print_summary(plan, lines)
        if self.interrupted:
            return 130
        if self.stop_reason is not None:
            return self.stop_reason.exit_code
        return 1 if self._is_unfinished(plan) else 0

    def _finish(self) -> list[str]:
        try:
            return self.stage.finish() if self.stage.finish else []
        except Trouble as e:
            self._stop(e)
            return []

    def _round(self, todo: list[Item], n_workers: int) -> None:
        """Make every item of `todo` once, `n_workers` at a time."""
        items = iter(todo)
        next_item = threading.Lock()

        def work() -> None:
            while not self.models.stop.is_set():
                with next_item:
                    item = next(items, None)
                if item is None:
                    return
                self._one(item)

        threads = []
        try:
            for _ in range(min(n_workers, len(todo))):
                threads.append(start_thread(work))
        except RunStopped as e:   # those that did start finish what is in flight
            self._stop(e)
        for thread in threads:
            while thread.is_alive():
                thread.join(0.1)
                self._update_bar()

    def _update_bar(self) -> None:
        in_flight = dict(self.in_flight)
        doing = {name: calls.doing for name, calls in in_flight.items() if calls and calls.doing}
        self.bar.update(self.totals, len(in_flight), doing)

    def _one(self, item: Item) -> None:
        """Make one item. Its failure is a ledger line, and the others go on."""
        started = time.monotonic()
        calls = None
        self.in_flight[item.name] = None

        def seconds() -> float:
            return time.monotonic() - started

        try:
            calls = self.in_flight[item.name] = self.states.replies(item.name, item.state)
            with recording(calls):
                self._make(item, calls, seconds)
        except BrokenRecord as e:
            with self.journal.lock:
                self.totals.broken[item.name] = str(e)
            self.bar.say(f"{self.stage.script}: {e}")
        except ItemFailed as e:
            self._fail(item, calls, seconds(), e)
        except Excluded as e:
            self.journal.exclude(item, calls, seconds(), e)
        except Trouble as e:   # RunStopped, and what no other item would be spared
            self._stop(e)
        except Exception as e:   # a bug of ours: its traceback is welcome, the other items go on
            self.bar.say(traceback.format_exc())
            self._fail(item, calls, seconds(), Trouble(f"{type(e).__name__}: {e}"))
        finally:
            del self.in_flight[item.name]

    def _make(self, item: Item, calls: ReplyLog, seconds: Callable[[], float]) -> None:
        force = self.options.selection.force
        inputs = load(self.stage, item, force)
        output = make(self.stage, item, inputs)
        self.journal.commit(item, inputs, output, calls, seconds(), force)
        fault = self.stage.writes.fault and self.stage.writes.fault(output)
        if not fault:
            with self.journal.lock:
                self.totals.refreshed += int(item.copies_only)
                self.totals.wrote += int(not item.copies_only)
            return
        item.forced_from = ""
        if self.stage.writes.parts:   # what is on disk now lacks parts
            item.state, item.same_inputs = "incomplete", True
        if self.is_last_round:
            raise ItemFailed(fault)
        with self.journal.lock:
            self.again.append(item)

    def _fail(self, item: Item, calls: ReplyLog | None, seconds: float, error: Trouble) -> None:
        try:
            self.journal.fail(item, calls, seconds, error)
        except RunStopped as e:
            self._stop(e)
        with self.journal.lock:
            if self.is_last_round:
                self.totals.failed[item.name] = error
            else:
                self.again.append(item)
        if self.options.stop_on_error:
            self._stop(RunStopped(f"{item.name} failed, and --stop-on-error was given.",
                                  todo="Run again to go on."))

    def _stop(self, reason: Trouble) -> None:
        """Start no new calls. The first reason is reported; it replaces an interruption."""
        with self.journal.lock:
            if self.stop_reason is None or isinstance(self.stop_reason, Interrupted):
                self.stop_reason = reason
        self.models.stop.set()

    def _interrupt(self) -> None:
        self.interrupted = True
        self._stop(Interrupted())

    def _n_left(self, plan: Plan) -> int:
        return len(plan.todo) - self.totals.finished

    def _is_unfinished(self, plan: Plan) -> bool:
        totals = self.totals
        return bool(self._n_left(plan) or totals.failed or totals.broken or plan.broken)

    def _print_summary(self, plan: Plan, lines: list[str]) -> None:
        totals, quiet = self.totals, self.options.quiet
        if self.stop_reason is not None and not isinstance(self.stop_reason, Interrupted):
            say(f"{self.stage.script}: {self.stop_reason}")
        if not quiet or totals.failed:
            say(f"{self.stage.label}  {summary_line(totals, len(plan.todo), self._n_left(plan))}")
            todos = [e.todo for _, e in totals.failures() if e.todo]
            for todo in list(dict.fromkeys(todos))[:2]:
                say(f"      {todo}")
        if quiet:
            return
        says_noise = any(NOISE in line for line in lines)
        if totals.spent.n_calls and _is_embedded(self.models) and not says_noise:
            lines = [*lines, f"      {NOISE}"]
        for line in [*lines, *self._next_commands(plan)]:
            say(line)

    def _next_commands(self, plan: Plan) -> Iterator[str]:
        """Yield the commands that go on from here."""
        if self._is_unfinished(plan):
            # with --force an output in parts would ask for everything again
            force = not (self.stage.writes.parts and not self._n_left(plan))
            yield f"      again: {self.options.command(self.stage.words, same=True, force=force)}"
        elif plan.n_beyond_limit:
            n_more = plural(plan.n_beyond_limit, "more item")
            yield f"      {n_more} to do: {self.options.command(self.stage.words)}"
        if self.stage.then and plan.todo and self.stop_reason is None and (
                self.stage.writes.store.names()):
            yield f"      next:  {self.options.command(self.stage.then)}"


@contextmanager
def signals(stage: str, stop: Callable[[], None], print_line: Callable[[str], None] = say):
    """Call stop() at the first SIGINT or SIGTERM; at the second one end the process at once."""
    def wind_down() -> None:
        stop()
        print_line(f"{stage}  stopping: what is in flight finishes and is kept "
                   "(again: end at once)")

    def first(*_) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, second)
        try:   # in a thread: what was interrupted may hold a lock or be printing
            threading.Thread(target=wind_down).start()
        except RuntimeError:   # no further thread
            second()

    def second(*_) -> None:
        os.write(2, b"\x1b[?25h\n" if os.isatty(2) else b"")   # the bar hides the cursor
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
