"""Run a stage: load, make and commit items in parallel threads. plan.py chooses the items, write.py
writes them to disk, start.py runs a script's stages."""
from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial

from codedata.errors import BrokenRecord, Excluded, Interrupted, ItemFailed, RunStopped, Trouble
from codedata.llm.client import Models
from codedata.llm.replies import recording
from codedata.run.plan import Plan, States
from codedata.run.pool import Engine, WorkerPool, trouble_of, tuned_interpreter
from codedata.run.signals import signals
from codedata.run.stage import Stage
from codedata.run.states import Item
from codedata.run.talk import Bar, RunTotals, showing
from codedata.run.write import ItemRun, Journal
from codedata.texts import natural

MAX_GROUP = 64    # maximum number of records to write together; if more wait, their threads wait
MAX_WRITERS = 3   # threads that write groups of records; more threads would make smaller groups


class StageRun:
    """Make each item of a plan once. Try items made in parts a second time if parts are missing."""

    def __init__(self, stage: Stage, states: States, plan: Plan, models: Models, engine: Engine,
                 bar: Bar):
        self.stage, self.states, self.plan, self.engine, self.bar = stage, states, plan, engine, bar
        self.stop, self.totals, self.pool = models.stop, RunTotals(), WorkerPool(models)
        self.money = models.money
        self.journal = Journal(stage, states, self.totals)
        self.waiting = deque(plan.todo)           # items that wait for a worker
        self.in_flight = {}   # {item: its attempt}
        self.made = deque()   # attempts whose records wait to be written
        self.writers = threading.Semaphore(MAX_WRITERS)
        self.unfinished = []   # items not finished because the run ended
        parts = stage.writes.parts
        self.second_try = {item.name for item in plan.todo if parts and parts.worthwhile}

    def run(self, at_once: Callable[[], str]) -> list[str]:
        """Make the items; return the stage's closing lines. at_once() returns the outcome to print
        if the run is ended immediately."""
        n_workers = min(self.engine.n_workers, len(self.waiting))
        with signals(self.stage.label, self.pool.interrupt, self.bar.say, at_once):
            with closing(self.bar), tuned_interpreter():
                for item in self.plan.adopted:
                    self.journal.adopt(item)
                self.pool.run([self._work] * n_workers, self._show)
            try:
                return [*self.engine.end(), *self.stage.finish()]
            except Trouble as e:
                self.pool.stop(e)
                return []

    def _work(self) -> None:
        while not self.stop.is_set():
            # move the item under a lock: other threads see it either as waiting or as in flight
            with self.journal.lock:
                if not self.waiting:
                    return
                attempt = ItemRun(self.waiting.popleft())
                self.in_flight[attempt.item.name] = attempt
            self._one(attempt)

    def _one(self, attempt: ItemRun) -> None:
        """Make an item, then write the records that wait. If MAX_WRITERS threads are already
        writing, leave the records to them: they go on until no record waits."""
        self._each(self._make, [attempt])
        while self.made and self.writers.acquire(blocking=len(self.made) >= MAX_GROUP):
            group = []
            try:
                with suppress(IndexError):   # stop if another writer has taken the rest
                    while len(group) < MAX_GROUP:
                        group.append(self.made.popleft())
                self._commit(group)
            finally:
                self.writers.release()

    def _commit(self, group: list[ItemRun]) -> None:
        """Write a group of records. Each step is taken for all records before the next step, so
        that the disk flushes the records together and the ledger gets one append."""
        for step in self.journal.begin, self.journal.sync:
            group = self._each(step, group)
        try:
            self.journal.append(group)
        except RunStopped as e:
            for attempt in group:
                self._stop(attempt, e)
            return
        for step in self.journal.place, self._check, self._land:
            group = self._each(step, group)

    def _each(self, step: Callable[[ItemRun], None], group: list[ItemRun]) -> list[ItemRun]:
        """Take a step with each attempt; return the attempts that go on. An error either fails only
        its item or, if it is a RunStopped, stops the run."""
        going_on = []
        for attempt in group:
            try:
                if error := trouble_of(partial(step, attempt), self.bar.say):
                    self._fail(attempt, error)
                    self._land(attempt)
                else:
                    going_on.append(attempt)
            except RunStopped as e:
                self._stop(attempt, e)
        return going_on

    def _stop(self, attempt: ItemRun, reason: RunStopped) -> None:
        """Stop the run, and note that the attempt's item is unfinished."""
        self.unfinished.append(attempt.item.name)
        self.pool.stop(reason)
        self._land(attempt)

    def _land(self, attempt: ItemRun) -> None:
        """Note that an attempt has ended."""
        # keep the entry if it belongs to the item's second try, which has already begun
        if self.in_flight.get(attempt.item.name) is attempt:
            del self.in_flight[attempt.item.name]

    def _make(self, attempt: ItemRun) -> None:
        """Load and make an item; its record then waits in `made`."""
        item = attempt.item
        attempt.calls = self.states.replies(item.name, item.state)
        with recording(attempt.calls), showing(attempt.step):
            if rule := self._wait_for_group(item):
                with self.journal.lock:
                    self.totals.excluded[rule] += 1
                return self._leave_out(attempt)
            inputs, attempt.read = self.states.load(item)
            try:
                if item.copies_only and not self.stage.writes.parts:
                    attempt.record = self.stage.writes.copied(item.name, inputs[0])
                else:
                    attempt.record = self.engine.make(attempt.calls, attempt.step, inputs)
            except Excluded as rule:
                self.journal.exclude(attempt, rule)
                return self._leave_out(attempt)
        self.made.append(attempt)

    def _wait_for_group(self, item: Item) -> str:
        """If the stage has groups, wait while earlier items of this item's group are in flight.
        Return the rule that then leaves the item out, or "". Raise Interrupted if the run is
        ending."""
        group, name = self.stage.after_same, item.name
        while group and any(group(one) == group(name) and natural(one) < natural(name)
                            for one in [*self.in_flight]):
            if self.stop.wait(0.1):
                raise Interrupted()
        return self.stage.reads.leaves_out(name, item.instance_id) if group else ""

    def _leave_out(self, attempt: ItemRun) -> None:
        """End the attempt at an item that a rule leaves out. Queue the next item beyond --limit
        in its place."""
        self._land(attempt)
        with self.journal.lock:
            if self.plan.spare:
                self.plan.todo.append(item := self.plan.spare.popleft())
                self.waiting.append(item)
                self.bar.total += 1

    def _check(self, attempt: ItemRun) -> None:
        """Count a record that was written. If the record lacks parts, try the item again; raise
        ItemFailed after the second try."""
        item, writes = attempt.item, self.stage.writes
        if fault := writes.fault and writes.fault(attempt.record):
            lacks_parts = {"state": "incomplete", "keeps": True, "anew": False}
            attempt.item = item._replace(still="", **(lacks_parts if writes.parts else {}))
            if not self._try_again(attempt.item):
                raise ItemFailed(fault)
            return
        with self.journal.lock:
            self.totals.refreshed += int(item.copies_only)
            self.totals.wrote += int(not item.copies_only)

    def _fail(self, attempt: ItemRun, error: Trouble) -> None:
        """Record the failure of an item. Raise RunStopped for an error that affects all items."""
        if isinstance(error, BrokenRecord):
            self.totals.broken.append(attempt.item.name)
            self.bar.say(f"{self.stage.script}: {error}")
            return
        if not isinstance(error, ItemFailed):
            raise RunStopped(*error.args, exit_code=error.exit_code)
        self.journal.fail(attempt, error)
        if not self._try_again(attempt.item):
            self.totals.failed[attempt.item.name] = error   # needs no lock: it is atomic
        self.pool.note_failure(error)

    def _try_again(self, item: Item) -> bool:
        """Queue an item made in parts for its second try, after all other items. Return whether the
        item was queued."""
        if comes := item.name in self.second_try:
            self.second_try.remove(item.name)
            self.waiting.append(item)
        return comes

    def _show(self) -> None:
        in_flight = dict(self.in_flight)
        steps = {name: attempt.step for name, attempt in in_flight.items()}
        n_replies = sum(len(attempt.calls.unbilled) for attempt in in_flight.values())
        self.bar.update(self.totals, len(in_flight), steps, n_replies, self.engine.where(),
                        [self.money.against_budget, self.stage.so_far])
