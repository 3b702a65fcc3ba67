"""Where every item stands: the state table that all scripts share.

Three digests decide: of the fields that are read now, of those that were read and written last time (the ledger), and
of what is on disk. Nothing is opened whose size and mtime are as a script left them.
"""
from __future__ import annotations

import fnmatch
import gc
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

from codedata.config import Exclude
from codedata.errors import BrokenRecord
from codedata.ledger import LastAttempt
from codedata.llm.calls import Calls
from codedata.store import Store

STATES = ("done", "adopted", "stale", "forced", "edited", "incomplete", "missing", "failed", "excluded", "waiting",
          "orphan", "broken")
WHOLE = SimpleNamespace(only=None, shard=None, limit=None, force=False, refresh=False, no_retry=False)   # as args: all
TO_DO = ("missing", "stale", "forced", "incomplete", "failed")


@dataclass(frozen=True)
class Reads:
    """Name a store and the fields of its records that the item function uses."""

    store: object                  # Store or Lists
    fields: tuple[str, ...]
    made_by: str = ""              # the stage that writes it: an item that failed there waits
    needs: tuple[str, ...] = ()    # fields that earlier stages fill in: an item without them waits

    @property
    def place(self) -> str:
        """Return where the records are, for a person: a directory of the root, or the name that a view gives itself."""
        return getattr(self.store, "place", "") or f"{self.store.cls.directory}/"


@dataclass(frozen=True)
class Parts:
    """Describe an output whose parts come one by one, as the verdicts of several judges in one score.

    The item function is then make(record, *joined, name=…, old=…) and keeps what it can of `old`: the record on disk
    where that was made from the same inputs, else None. An item that lacks a wanted part is incomplete; it is tried
    once more at the end of the run. Settings are compared by part.
    """

    wanted: dict[str, str]                        # part: digest of the settings it would be made with now
    of: Callable[[object], dict[str, str]]        # the same of the parts that stand in a record for good
    enough: Callable[[set[str]], bool]            # whether a record with these parts counts
    view: str                                     # digest of how a record is computed from its parts: a change is free
    fits: Callable[[object], bool]                # whether a record is what its parts come to in this view
    is_of: Callable[[object, dict[str, str]], bool]   # whether a record's parts are of inputs with these digests


@dataclass(frozen=True)
class Writes:
    """Name a store and the fields that this stage owns there."""

    store: Store
    fields: tuple[str, ...]
    copies: tuple[str, ...] = ()   # of `fields`: taken over from what is read, so that a change there costs no call
    optional: tuple[str, ...] = ()   # of `fields`: a record without them is there all the same
    parts: Parts | None = None
    appends: bool = False            # the item function is given the record on disk as `old`, and adds to it
    fault: Callable[[object], str] | None = None   # why an item failed though its record is written; "" if it did not


@dataclass
class Item:
    """Hold one unit of work with its state, one of STATES."""
    name: str
    instance_id: str
    state: str
    no_call: bool = False          # what has changed can be brought up to date without asking a model
    same_inputs: bool = False      # what is on disk was made from the inputs as they are
    current: bool = False          # what is on disk counts: it has the same inputs, or a person edited it
    was: str = ""                  # of a forced one: its state without --force or --refresh


@dataclass
class Plan:
    """Hold the states of all items, and which of them are to be made now."""
    names: dict[str, list[str]]    # by state
    todo: list[Item]
    broken: dict[str, BrokenRecord]
    adopted: list[tuple[str, str, dict]]    # name, read digest, intent
    edited_stale: int = 0
    other_settings: int = 0
    limited: int = 0       # to do, but beyond --limit
    why: dict[str, str] = field(default_factory=dict)   # excluded, failed and waiting items: the reason
    current: list[str] = field(default_factory=list)    # items whose output counts: see Item
    lacking: list[str] = field(default_factory=list)    # items without a field that an earlier stage fills in

    def line(self, reads: str, n: int, writes: str) -> str:
        """Return the plan as one line: what is read, what is written, the count of each state."""
        parts = []
        for state in STATES:
            if k := len(self.names[state]):
                kept = " (kept" + (f", {self.edited_stale} also stale" if self.edited_stale else "") + ")"
                parts.append(f"{state} {k}{kept if state == 'edited' else ''}")
        if self.other_settings:
            parts.append(f"made with other settings {self.other_settings}")
        return f"{reads} {n} → {writes}   {', '.join(parts) or 'nothing there'}   to do {len(self.todo)}"


class States:
    """Find the state of every item of one stage. `joined` is read by instance id; an item without it is excluded."""

    def __init__(self, stage: str, args, exclude: Exclude, reads: Reads, writes: Writes, joined: Reads | None,
                 settings: str):
        self.stage, self.args, self.exclude, self.settings = stage, args, exclude, settings
        self.reads, self.writes, self.joined = reads, writes, joined

    def plan(self) -> Plan:
        """Return the state of every item. What no script left as it is gets read: all broken records are found."""
        source, out = self.reads.store, self.writes.store
        stores = {id(s): s for s in (source, out, *([self.joined.store] if self.joined else []))}.values()
        gc.disable()   # millions of small objects come and none goes: collecting would be a third of the time
        try:
            for store in stores:
                store.open()
            return self._plan(source, out, stores)
        finally:
            gc.enable()

    def _plan(self, source, out, stores) -> Plan:
        plan = Plan({state: [] for state in STATES}, [], {}, [])
        for name in filter(self._in_shard, source.names()):
            try:
                item = self._item(name, plan)
            except BrokenRecord as e:
                plan.broken[str(e)] = e
                item = Item(name, "", "broken")
            if item is None:
                continue
            plan.names[item.state].append(name)
            if item.current:
                plan.current.append(name)
            if item.state in TO_DO and not (self.args.no_retry and item.state == "failed"):
                plan.todo.append(item)
        if source is not out:
            plan.names["orphan"] = [name for name in filter(self._in_shard, out.names())
                                    if not source.covers(name) and self._wanted(name, self._instance_id(name))]
        for store in stores:
            for e in store.broken:
                plan.names["broken"].append(e.where)
                plan.broken[str(e)] = e
        wanted = {item.name for item in plan.todo if item.state == "incomplete"}   # its kept replies are needed yet
        plan.adopted = [entry for entry in plan.adopted if entry[2] or entry[0] not in wanted]
        plan.todo, n = plan.todo[:self.args.limit], len(plan.todo)
        plan.limited = n - len(plan.todo)
        return plan

    def _instance_id(self, name: str) -> str:
        try:
            return self.writes.store.facts(name).instance_id if self.args.only else ""
        except BrokenRecord:
            return ""

    def _in_shard(self, name: str) -> bool:
        shard = self.args.shard
        return not shard or name_hash(name) % shard[1] == shard[0]

    def _wanted(self, name: str, instance_id: str = "") -> bool:
        only = self.args.only
        return not only or fnmatch.fnmatchcase(name, only) or fnmatch.fnmatchcase(instance_id, only)

    def _item(self, name: str, plan: Plan) -> Item | None:
        """Return an item with its state; None where --only leaves it out. BrokenRecord where it cannot be read."""
        facts, out = self.reads.store.facts(name), self.writes.store
        if not self._wanted(name, facts.instance_id):
            return None
        item = Item(name, facts.instance_id, "excluded")
        if rule := self._excluded(facts):
            plan.why[name] = rule
            return item
        if lacking := [f for f in self.reads.needs if f not in facts.digests]:
            item.state, plan.why[name] = "waiting", f"no {lacking[0]} yet"
            plan.lacking.append(name)
            return item
        failed = out.ledger.failed.get((self.stage, name))
        self._compare(item, facts, plan)
        if item.state == "adopted" or (failed and item.state == "done"):
            self._look_for_fault(item, plan)
        left_out = out.ledger.excluded.get((self.stage, name))
        if left_out and item.state == "missing" and left_out.read == self.read_of(facts) and not self.args.force:
            item.state, plan.why[name] = "excluded", left_out.error
        elif failed and item.state in ("missing", "stale", "incomplete") and not item.no_call:
            item.state, plan.why[name] = "failed", failed.error
        elif failed and item.state == "done":   # its inputs are again what it was made from: a line clears the failure
            made = out.ledger.made[self.stage, name]
            plan.adopted.append((name, made.read, {"settings": made.settings, "parts": dict(made.parts),
                                                   "view": made.view}))
        if self.args.force and item.state in ("done", "adopted", "edited", "stale", "incomplete"):
            item.was, item.state, item.no_call = item.state, "forced", False
        if item.state in TO_DO and not item.no_call and self.reads.made_by and (
                before := self.reads.store.failed(self.reads.made_by, name)):
            item.state, plan.why[name] = "waiting", f"{self.reads.made_by} failed: {before.error}"
        return item

    def _compare(self, item: Item, facts, plan: Plan) -> None:
        """Set the state by the three digests: missing, adopted, edited, stale or done."""
        out, own, copies = self.writes.store, self.writes.fields, self.writes.copies
        read = self.read_of(facts)
        there = out.facts(item.name) if item.name in out else None
        made = out.ledger.made.get((self.stage, item.name))
        if there is None or not all(f in there.digests for f in own if f not in (*copies, *self.writes.optional)):
            item.state = "missing"
            return
        if made is None:
            parts = self.writes.parts
            if parts and not parts.is_of(out.read(item.name), facts.digests):   # no ledger line, but it tells itself
                item.state = "stale"
                return
            item.state = "adopted"
            plan.adopted.append((item.name, read, {}))
        else:
            item.state, made_read = "done", made.read
            if any(there.digests.get(f) != made.wrote.get(f) for f in own):
                item.state = "edited"
                if intent := self._intent(item.name, there):   # killed between the rename and the ledger line
                    item.state, made_read = "adopted", intent["read"]
                    plan.adopted.append((item.name, made_read, intent))
            stale = made_read != read
            no_call = not stale and any(f in facts.digests and there.digests.get(f) != facts.digests[f]
                                        for f in copies)
            if item.state == "edited":
                plan.edited_stale += stale or no_call
            elif stale or no_call:
                item.state, item.no_call = "stale", no_call
        item.same_inputs = item.current = item.state != "stale" or item.no_call
        if self.writes.parts and item.state != "edited" and item.current:
            self._compare_parts(item, made, plan)
        if made and made.settings and made.settings != self.settings:
            plan.other_settings += 1
            if self.args.refresh and item.state in ("done", "stale", "incomplete"):
                item.was, item.state, item.no_call = item.state, "forced", False

    def read_of(self, facts) -> str:
        """Return the digest of what the item would be made from now."""
        other = self.joined.store.facts(facts.instance_id) if self.joined else None
        return self.read_digest(facts.digests, other.digests if other else {})

    def _look_for_fault(self, item: Item, plan: Plan) -> None:
        """Set the state to failed where the record itself says that its making failed."""
        if self.writes.fault and not self.writes.parts and (
                fault := self.writes.fault(self.writes.store.read(item.name))):
            item.state, item.current, plan.why[item.name] = "failed", False, fault
            plan.adopted = [entry for entry in plan.adopted if entry[0] != item.name]

    def _compare_parts(self, item: Item, made: LastAttempt | None, plan: Plan) -> None:
        parts = self.writes.parts
        noted = made is not None and item.state != "adopted"   # else the ledger does not speak of what is on disk
        there = dict(made.parts) if noted else parts.of(self.writes.store.read(item.name))
        others = {part for part, settings in parts.wanted.items() if there.get(part, settings) not in ("", settings)}
        plan.other_settings += bool(others)
        if self.args.refresh:
            there = {part: settings for part, settings in there.items() if part not in others}
        if not parts.wanted.keys() <= there.keys():
            item.state, item.no_call, item.current = "incomplete", False, parts.enough(set(there))
        elif noted and made.view and made.view != parts.view:
            item.state, item.no_call = "stale", True

    def _excluded(self, facts) -> str:
        if facts.instance_id in self.exclude.ids:
            return "[exclude] ids"
        if self.joined and facts.instance_id not in self.joined.store:
            return f"no PR record in {self.joined.store.cls.directory}/"
        return ""

    def read_digest(self, digests: dict, joined: dict) -> str:
        """Return one digest of the fields that are read, those of the joined record included."""
        return read_digest(digests, self.reads.fields, joined, self.joined.fields if self.joined else ())

    def calls(self, name: str, state: str = "") -> Calls:
        """Return the item's kept replies, with which of them the ledger has counted."""
        store = self.writes.store
        return Calls(store.path(name).parent, self.stage, name, store.ledger, tuple(store.directories),
                     in_parts=self.writes.parts is not None and state != "stale")

    def _intent(self, name: str, there) -> dict | None:
        intent = self.calls(name).intent
        same = intent and all(there.digests.get(f) == d for f, d in intent["wrote"].items())
        return intent if same else None


def read_digest(digests: dict, fields: tuple[str, ...], joined: dict | None = None,
                joined_fields: tuple[str, ...] = ()) -> str:
    """One digest of the fields that an output is made from."""
    parts = [digests.get(f, "") for f in fields] + [(joined or {}).get(f, "") for f in joined_fields]
    return hashlib.blake2b("|".join(parts).encode(), digest_size=8).hexdigest()


def name_hash(name: str) -> int:
    """Return the number that decides an item's shard."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
