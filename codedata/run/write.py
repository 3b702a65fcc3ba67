"""Write the result of an item to disk: its record with a ledger line, or the line of a failure.

The order makes a kill at any moment safe: the record is flushed under a temporary name, its line is
appended to the ledger, the record is put in place, and then its kept replies are dropped.
"""
from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from codedata.errors import Excluded, Trouble
from codedata.llm.replies import ReplyLog
from codedata.run.plan import States
from codedata.run.stage import Stage
from codedata.run.states import Item
from codedata.run.talk import RunTotals, Step

MAX_IN_WORDS = 20   # maximum number of records that a run describes


@dataclass
class Attempt:
    """Hold one attempt at an item."""

    item: Item
    calls: ReplyLog = field(default_factory=ReplyLog)
    step: Step = field(default_factory=Step)   # the item's current step
    read: str = ""                 # digest of its input fields
    started: float = field(default_factory=time.monotonic)


class Journal:
    """Write records with their ledger lines, and the lines of failures; add up their costs."""

    def __init__(self, stage: Stage, states: States, totals: RunTotals):
        self.stage, self.states, self.totals = stage, states, totals
        self.store = stage.writes.store
        self.lock = threading.Lock()   # guards `totals`
        self.made: dict[str, Any] = {}   # the first records, if the stage has `in_words`

    def commit(self, attempt: Attempt, record: Any) -> None:
        """Write an item's record. Raise ItemFailed if a user has edited it meanwhile."""
        item, store, writes = attempt.item, self.store, self.stage.writes
        if item.anew and item.name in store:
            store.set_aside(item.name)
        change = store.begin(item.name, record, writes.fields, keep_edits=not item.anew)
        known = store.sync(change)
        made = {"read": attempt.read, **attempt.calls.notes}
        if item.copies_only:
            made["settings"] = store.ledger.succeeded[self.stage.name, item.name].settings
        if writes.parts:
            made |= {"parts": writes.parts.of(record), "view": writes.parts.view}
        line = self._append(attempt, "done", **known.line(writes.fields), **made,
                            found=change.external)
        change.place()
        self._count(attempt, line)
        if self.stage.in_words and len(self.made) < MAX_IN_WORDS:
            self.made[item.name] = record

    def adopt(self, item: Item) -> None:
        """Write the ledger line of an existing record that has none."""
        writes, made, known = self.stage.writes, item.adoption, self.store.facts(item.name)
        if writes.parts and "parts" not in made:   # put there by hand
            record = self.store.read(item.name)
            view = writes.parts.view if writes.parts.fits(record) else ""
            made = {**made, "parts": writes.parts.of(record), "view": view}
        external = self.store.external_edits(item.name, known.digests, writes.fields)
        self.note(Attempt(item, self.states.replies(item.name)), "adopted",
                  **known.line(writes.fields), **made, found=external)

    def exclude(self, attempt: Attempt, rule: Excluded) -> None:
        """Write the ledger line of an item that a rule of its item function leaves out."""
        self.note(attempt, "excluded", error=rule.what, read=attempt.read, **attempt.calls.notes)
        with self.lock:
            self.totals.excluded[rule.what] += 1

    def fail(self, attempt: Attempt, error: Trouble) -> None:
        """Write the ledger line of a failed attempt.

        An earlier record from the same inputs stays valid (`still`).
        """
        self.note(attempt, "failed", still=attempt.item.still,
                  error=str(error).replace("\n ", ""))

    def note(self, attempt: Attempt, state: str, **more) -> None:
        """Write the ledger line of an attempt that writes no record, and count its calls."""
        self._count(attempt, self._append(attempt, state, **more))

    def _append(self, attempt: Attempt, state: str, **more) -> dict:
        """Write a ledger line, with the calls that it accounts for; return it."""
        item, calls = attempt.item, attempt.calls
        line = {**attempt_line(self.stage.name, item.name, state, calls, attempt.started),
                "instance_id": item.instance_id, "settings": self.states.settings,
                "cut": "; ".join(calls.cuts), **more}
        self.store.ledger.append(self.store.directory(item.name), line)
        return line

    def _count(self, attempt: Attempt, line: dict) -> None:
        """Drop the replies that are no longer needed, and count the calls of the line."""
        if attempt.calls.directory:
            attempt.calls.finish(made=line["state"] != "failed")
        with self.lock:
            self.totals.add(line["calls"], attempt.calls)


def attempt_line(stage: str, item: str, state: str, calls: ReplyLog, started: float) -> dict:
    """Return the ledger line of an attempt, with the calls that it accounts for."""
    paid = calls.to_count()
    costs = [call["cost_usd"] for call in paid]
    return {"stage": stage, "item": item, "state": state, "calls": paid,
            "cost_usd": None if None in costs else round(sum(costs), 8),
            "seconds": round(time.monotonic() - started, 3)}
