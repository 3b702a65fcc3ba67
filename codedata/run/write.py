"""Write the result of an item to disk: its record with a ledger line, or the line of a failure.

The order of steps makes a kill at any moment safe: the record is flushed under a temporary name,
its line is appended to the ledger, the record is put in its place, and its kept replies are
dropped. Records that finish together take each step together (`StageRun` in loop.py).
"""
from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from codedata.disk.store import Change
from codedata.errors import Excluded, Trouble
from codedata.llm.replies import ReplyLog
from codedata.run.plan import States
from codedata.run.stage import Stage
from codedata.run.states import Item
from codedata.run.talk import RunTotals, Step

MAX_IN_WORDS = 20   # maximum number of records that a run describes


@dataclass
class ItemRun:
    """Hold one attempt at an item."""

    item: Item
    calls: ReplyLog = field(default_factory=ReplyLog)
    step: Step = field(default_factory=Step)   # the item's current step
    read: str = ""                 # digest of its input fields
    started: float = field(default_factory=time.monotonic)
    record: Any = None             # None until the item is made
    change: Change | None = None   # the record being written; set by Journal.begin()
    line: dict = field(default_factory=dict)   # the ledger line


class Journal:
    """Write records with their ledger lines, and the lines of failures; add up their costs."""

    def __init__(self, stage: Stage, states: States, totals: RunTotals):
        self.stage, self.states, self.totals = stage, states, totals
        self.store = stage.writes.store
        self.lock = threading.Lock()   # guards `totals`
        self.made = {}   # first records of the run, to print with in_words()

    def begin(self, attempt: ItemRun) -> None:
        """Begin to put an item's record on disk. Raise ItemFailed if a user has edited the record
        meanwhile."""
        item, store = attempt.item, self.store
        if item.anew and item.name in store:
            store.set_aside(item.name)
        attempt.change = store.begin(item.name, attempt.record, self.stage.writes.fields,
                                     keep_edits=not item.anew)

    def sync(self, attempt: ItemRun) -> None:
        """Flush an item's record, and make its ledger line."""
        item, store, writes = attempt.item, self.store, self.stage.writes
        known = store.sync(attempt.change)
        made = {"read": attempt.read, **attempt.calls.notes}
        if item.copies_only:
            made["settings"] = store.ledger.succeeded[self.stage.name, item.name].settings
        if writes.parts:
            made |= {"parts": writes.parts.of(attempt.record), "view": writes.parts.view}
        attempt.line = self._line(attempt, "done", **known.line(writes.fields), **made,
                                  found=attempt.change.external)

    def append(self, attempts: list[ItemRun]) -> None:
        """Write the ledger lines of records that are flushed: one write for each directory."""
        lines = {}   # {directory: lines}
        for attempt in attempts:
            lines.setdefault(self.store.directory(attempt.item.name), []).append(attempt.line)
        for directory in lines:
            self.store.ledger.append(directory, *lines[directory])

    def place(self, attempt: ItemRun) -> None:
        """Put a record in its place after its ledger line was written, and count its calls."""
        attempt.change.place()
        self._count(attempt)
        self.stage.tally(attempt.record)
        if self.stage.in_words and len(self.made) < MAX_IN_WORDS:
            self.made[attempt.item.name] = attempt.record

    def adopt(self, item: Item) -> None:
        """Write the ledger line of an existing record that has none."""
        writes, made, known = self.stage.writes, item.adoption, self.store.facts(item.name)
        if writes.parts and "parts" not in made:   # a user has put the record there
            record = self.store.read(item.name)
            view = writes.parts.view if writes.parts.fits(record) else ""
            made = {**made, "parts": writes.parts.of(record), "view": view}
        external = self.store.external_edits(item.name, known.digests, writes.fields)
        self.note(ItemRun(item, self.states.replies(item.name)), "adopted",
                  **known.line(writes.fields), **made, found=external)

    def exclude(self, attempt: ItemRun, rule: Excluded) -> None:
        """Write the ledger line of an item whose item function raised Excluded."""
        self.note(attempt, "excluded", error=rule.what, read=attempt.read, **attempt.calls.notes)
        with self.lock:
            self.totals.excluded[rule.what] += 1

    def fail(self, attempt: ItemRun, error: Trouble) -> None:
        """Write the ledger line of a failed attempt.

        An earlier record from the same inputs stays valid (`still`).
        """
        self.note(attempt, "failed", still=attempt.item.still,
                  error=str(error).replace("\n ", ""))

    def note(self, attempt: ItemRun, state: str, **more) -> None:
        """Write the ledger line of an attempt that puts no record on disk, and count its calls."""
        attempt.line = self._line(attempt, state, **more)
        self.append([attempt])
        self._count(attempt)

    def _line(self, attempt: ItemRun, state: str, **more) -> dict:
        """Return the ledger line of an attempt, with its calls and the given fields."""
        item, calls = attempt.item, attempt.calls
        return {**attempt_line(self.stage.name, item.name, state, calls, attempt.started),
                "instance_id": item.instance_id, "settings": self.states.settings,
                "cut": "; ".join(calls.cuts), **more}

    def _count(self, attempt: ItemRun) -> None:
        """Drop the replies that are not needed any more, and count the calls of the line."""
        if attempt.calls.directory:
            attempt.calls.finish(made=attempt.line["state"] != "failed")
        with self.lock:
            self.totals.add(attempt.line["calls"], attempt.calls)


def attempt_line(stage: str, item: str, state: str, calls: ReplyLog, started: float) -> dict:
    """Return the ledger line of an attempt, with the calls that no earlier line counts."""
    paid = calls.to_count()
    costs = [call["cost_usd"] for call in paid]
    return {"stage": stage, "item": item, "state": state, "calls": paid,
            "cost_usd": None if None in costs else round(sum(costs), 8),
            "seconds": round(time.monotonic() - started, 3)}
