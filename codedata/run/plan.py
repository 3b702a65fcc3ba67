"""Plan a run: find the state of every item of a stage, and the items to make.

A state follows from three digests: of the present inputs, of the inputs and outputs of the last
attempt (in the ledger), and of the files on disk. A file is not opened if it has the size and mtime
that the ledger names. states.py has the table of states.
"""
from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from codedata.disk.ledger import NOTHING, FileState, LastAttempt
from codedata.disk.store import digest, digests_of, facts_of
from codedata.errors import BrokenRecord
from codedata.llm.replies import ReplyLog
from codedata.records import OMITTED_IF_NULL
from codedata.run.settled import Settled
from codedata.run.stage import Reads, Writes
from codedata.run.states import STATES, TO_DO, Item, ItemFacts, Selection, state_of
from codedata.settings import Exclude

ORIGIN = "env_setup"   # the stage that sets the commit for all others


@dataclass
class Plan:
    """Hold the states of all items, and the items to make now."""

    names: dict[str, list[str]] = field(default_factory=lambda: {state: [] for state in STATES})
    todo: list[Item] = field(default_factory=list)
    broken: dict[str, BrokenRecord] = field(default_factory=dict)   # {message: error}
    adopted: list[Item] = field(default_factory=list)     # items that lack a ledger line
    counting: list[str] = field(default_factory=list)     # names of items with a valid output
    lacking: list[str] = field(default_factory=list)      # names of items that lack an input field
    # {name: reason} of excluded, failed, waiting and broken items
    reasons: dict[str, str] = field(default_factory=dict)
    n_edited_stale: int = 0
    n_other_settings: int = 0
    spare: deque[Item] = field(default_factory=deque)   # items beyond --limit

    @property
    def n_read(self) -> int:
        """Return the number of items that can be read, in any state."""
        return sum(len(names) for state, names in self.names.items() if state != "orphan")

    @property
    def asks(self) -> bool:
        """Return whether the run may need a model."""
        return any(item.asks for item in self.todo)

    def add(self, item: Item, no_retry: bool) -> None:
        """Count an item, and add it to the lists for its state."""
        self.names[item.state].append(item.name)
        if item.counts:
            self.counting.append(item.name)
        if item.state in TO_DO and not (no_retry and item.state == "failed"):
            self.todo.append(item)
        # do not adopt an incomplete item: adoption would drop the kept replies that it still needs
        if item.adoption and item.state != "incomplete":
            self.adopted.append(item)
        if item.reason:
            self.reasons[item.name] = item.reason
        if item.lacks_field:
            self.lacking.append(item.name)
        self.n_edited_stale += int(item.stale_too)
        self.n_other_settings += int(item.other_settings)

    def add_broken(self, error: BrokenRecord, name: str) -> None:
        """Note a record that cannot be read."""
        self.names["broken"].append(name)
        self.broken[str(error)] = error
        self.reasons[name] = str(error)


@dataclass
class States:
    """Find the state of every item of one stage."""

    stage: str
    reads: Reads
    writes: Writes
    exclude: Exclude
    settings: str                  # digest of the present settings
    also_reads: tuple[Reads, ...] = ()   # further inputs, looked up by instance id
    selection: Selection = field(default_factory=Selection)
    chunk_bytes: int = 256 << 20   # ledger bytes whose lines are objects at the same time

    def plan(self) -> Plan:
        """Return the state of every item.

        Read every edited record, so that all broken records are reported.
        """
        # saves a third of the time: planning makes millions of small objects and frees none
        gc.disable()
        try:
            return self._plan()
        finally:
            gc.enable()

    def _plan(self) -> Plan:
        plan, source, selection = Plan(), self.reads.store, self.selection
        settled = Settled(self)   # opens the stores
        for rows in settled.groups.values():
            for (instance_id, is_other), names in rows.items():
                names = [name for name in filter(selection.in_shard, names)
                         if self._is_selected(name, instance_id)]
                plan.names["done"] += names
                plan.counting += names
                plan.n_other_settings += len(names) if is_other else 0
        for names, outputs in settled.others():
            for name in filter(selection.in_shard, names):
                try:
                    known = source.facts(name)
                    if self._is_selected(name, known.instance_id):
                        item = self._blocked(name, known) or state_of(
                            self._facts(name, known), selection, self._why_gone)
                        plan.add(item := self._held_back(item), selection.no_retry)
                        settled.add(item)
                except BrokenRecord as e:
                    plan.add_broken(e, name)
            plan.names["orphan"] += filter(self._is_orphan, outputs)
        if not (selection.only or selection.shard):
            settled.save(plan.names)
        for text, e in {str(e): e for store in settled.stores for e in store.broken}.items():
            if text not in plan.broken:   # count the same error only once
                plan.add_broken(e, e.where)
        if n := selection.limit:
            plan.todo, plan.spare = plan.todo[:n], deque(plan.todo[n:])
        return plan

    def _is_selected(self, name: str, instance_id: str) -> bool:
        """Return whether --only matches an item, an item that it is derived from, or an item that
        later steps derive from it."""
        reads, selection = self.reads, self.selection
        return not selection.only or selection.matches(
            name, instance_id, *reads.leads_to(name),
            *(name[:i] for i, char in enumerate(name) if char == "." and reads.store.derived))

    def _is_orphan(self, name: str) -> bool:
        """Return whether an output belongs to this stage and its input is gone. If several scripts
        write to the directory, only a ledger line shows which script wrote an output."""
        store, instance_id = self.writes.store, ""
        if self.reads.store.covers(name) or not self.selection.in_shard(name):
            return False
        if self.selection.only:
            try:
                instance_id = store.facts(name).instance_id
            except BrokenRecord:
                pass
        return self._is_selected(name, instance_id) and (
            not store.is_shared or (self.stage, name) in store.ledger.succeeded)

    # what blocks an item -------------------------------------------------------------------------

    def _blocked(self, name: str, known: FileState) -> Item | None:
        """Return the item with the state excluded if a rule excludes it, or waiting if an input is
        missing; None if nothing blocks it."""
        id = known.instance_id
        if id in self.exclude.ids:
            return Item(name, id, "excluded", "[exclude] ids")
        needed = [joined for joined in self.also_reads if not joined.optional]
        for joined in needed:
            if not joined.made_by and id not in joined.store:
                return Item(name, id, "excluded", f"no PR record in {joined.store.place}")
        for joined in needed:
            if id not in joined.store:
                return _not_there(name, id, joined, id)
            if not _fits(joined, known):
                return Item(name, id, "waiting", self._of_another(joined), lacks_field=True)
        for needs in self.reads.needs:
            if needs not in known.digests:
                return _not_there(name, id, self.reads, name, needs)
        return None

    def _of_another(self, joined: Reads) -> str:
        older, newer = self.reads, joined
        if joined.made_by != ORIGIN:
            older, newer = joined, self.reads
        script = older.made_by.partition(".")[0]
        return (f"{older.store.place} is of another {joined.same.replace('_', ' ')} than "
                f"{newer.store.place}: {f'{script}.py makes' if script else 'make'} it again")

    def _held_back(self, item: Item) -> Item:
        """Return the item: waiting if it has to be made but an earlier stage failed, excluded if a
        rule leaves it out, else unchanged."""
        if item.asks:
            for reads, name in ((self.reads, item.name), *(
                    (one, item.instance_id) for one in self.also_reads)):
                if reads.made_by and (failed := reads.store.failed(reads.made_by, name)):
                    item = item._replace(state="waiting",
                                         reason=f"{reads.made_by} failed: {failed.error}")
        if (item.asks or item.state == "waiting") and (
                rule := self.reads.leaves_out(item.name, item.instance_id)):
            return item._replace(state="excluded", reason=rule, counts=False, lacks_field=False)
        return item

    # facts about an item -------------------------------------------------------------------------

    def _facts(self, name: str, known: FileState) -> ItemFacts:
        """Return the facts about an item. Raise BrokenRecord if one of its files is broken."""
        reads, writes, key = self.reads, self.writes, (self.stage, name)
        ledger, selection = writes.store.ledger, self.selection
        output = writes.store.facts(name) if name in writes.store else None
        if output and not output.digests.keys() >= set(writes.fields).difference(
                writes.copies, writes.optional):   # a field of this stage is missing
            output = None
        last = ledger.succeeded.get(key)
        made = output and writes.store.placed(*key, writes.fields)
        if made is not last:   # a kill came between the last attempt's ledger line and its record
            ledger.used.pop(key, None)   # its kept replies are unused
        if made:
            ledger.succeeded[key] = last = made
        read = ""
        if output or key in ledger.excluded:
            read = self._read_digest(known.digests, *(
                joined.store.facts(known.instance_id).digests if _fits(joined, known) else NOTHING
                for joined in self.also_reads))
        # also accept the digest in older ledgers, which ignores the files next to a record
        read = read, read and read + reads.digest_beside(name)
        has_changed = copies_changed = False
        if output and last:
            has_changed = bool(reads.fields) and last.read not in read
            copies_changed = not has_changed and any(
                f in known.digests and output.digests.get(f) != known.digests[f]
                for f in writes.copies)
        elif output:   # a user has put the record there
            has_changed = bool(writes.parts) and not writes.parts.is_of(
                writes.store.read(name), known.digests)
            self.replies(name)   # raise BrokenRecord if the kept replies cannot be read
        excluded = ledger.excluded.get(key)
        if excluded and (excluded.read not in read or selection.force or (
                selection.refresh and excluded.settings != self.settings)):
            excluded = None   # its rule no longer applies
        facts = ItemFacts(name, known.instance_id, read[1], bool(output), made,
                      bool(output and last and not made), has_changed, copies_changed,
                      ledger.failed.get(key), excluded,
                      bool(made and made.settings and made.settings != self.settings))
        if writes.parts and output and not (has_changed or facts.is_edited):
            return facts._replace(**self._facts_of_parts(name, made))
        return facts

    def _facts_of_parts(self, name: str, made: LastAttempt | None) -> dict:
        """Return the fields of ItemFacts about an output's parts: whether parts are missing or were
        made with other settings, and whether parts are now combined in another way."""
        parts = self.writes.parts
        present = dict(made.parts) if made else parts.of(self.writes.store.read(name))
        others = {part for part, settings in parts.wanted.items()
                  if present.get(part, settings) not in ("", settings)}
        there = present.keys() - (others if self.selection.refresh else set())
        lacks_parts = not parts.wanted.keys() <= there
        return {"other_parts": bool(others), "lacks_parts": lacks_parts,
                "is_enough": not lacks_parts or parts.enough(there),
                "other_view": bool(made and made.view) and made.view != parts.view}

    # facts that only some rows of the table need -------------------------------------------------

    def _why_gone(self, facts: ItemFacts) -> str:
        """Return the reason why an existing record counts as a failure; "" if it does not."""
        writes, is_trusted = self.writes, facts.made and not facts.failed
        fault = ""
        if writes.fault and not (is_trusted or writes.parts):
            fault = writes.fault(writes.store.read(facts.name))
        return fault or writes.lacks(facts.name)

    # digests and replies -------------------------------------------------------------------------

    def _read_digest(self, *digests: dict) -> str:
        fields = [one.fields for one in (self.reads, *self.also_reads)]
        return read_digest(*zip(digests, fields, strict=True))

    def load(self, item: Item) -> tuple[list, str]:
        """Return make()'s arguments from disk, and the digest of the fields that make() reads. A
        joined record is None if it is missing or belongs to another commit. Raise BrokenRecord if a
        record cannot be read."""
        record = self.reads.store.read(item.name)
        known = facts_of(record)
        inputs, digests = [record], [known.digests]
        for joined in self.also_reads:
            fits = _fits(joined, known)
            if not (fits or joined.optional):
                raise BrokenRecord("has changed since the run began.", joined.store.place,
                                   "Run again.")
            inputs.append(joined.store.read(record.instance_id) if fits else None)
            digests.append(digests_of(inputs[-1]) if fits else NOTHING)
        if self.writes.parts:
            inputs += [item.name, self.writes.store.read(item.name) if item.keeps else None]
        return inputs, self._read_digest(*digests) + self.reads.digest_beside(item.name)

    def replies(self, item: str, state: str = "") -> ReplyLog:
        """Return the log of the item's kept replies; the ledger shows which are billed."""
        store, in_parts = self.writes.store, self.writes.parts is not None and state != "stale"
        return ReplyLog(store.directory(item), self.stage, item, store.ledger,
                        tuple(store.directories), in_parts)


def _not_there(name: str, instance_id: str, reads: Reads, its_name: str, field: str = "") -> Item:
    """Return an item whose input record or field is missing. The item is excluded if the stage that
    makes the input left the input out and has not failed since; otherwise it is waiting."""
    made_by, ledger = reads.made_by, reads.store.ledger
    failed = ledger.failed.get((made_by, its_name))
    if (rule := ledger.excluded.get((made_by, its_name))) and not failed:
        return Item(name, instance_id, "excluded", f"{made_by} left it out: {rule.error}")
    script, _, step = made_by.partition(".")
    command = reads.command or (step and f"{script}.py --steps {step}")
    why = f"no {field or reads.store.place} yet" + (f": python {command}" if command else "")
    if failed:
        why = f"{made_by} failed: {failed.error}"
    return Item(name, instance_id, "waiting", why, lacks_field=True)


def _fits(joined: Reads, known: FileState) -> bool:
    """Return whether the joined record exists and agrees with the item in the field `same`."""
    if known.instance_id not in joined.store:
        return False
    digests = joined.store.facts(known.instance_id).digests if joined.same else NOTHING
    return digests.get(joined.same) == known.digests.get(joined.same)


def read_digest(*read: tuple[dict, Iterable[str]]) -> str:
    """Return one digest of an output's inputs. Each input is given as (digests of a record, fields
    read); the digests of a missing record are empty. Absent fields of OMITTED_IF_NULL are ignored,
    so that records older than these fields do not become stale."""
    texts = [digests.get(f, "") for digests, fields in read for f in fields
             if f in digests or f not in OMITTED_IF_NULL]
    return digest("|".join(texts))
