"""Find the state of every item of a stage, and whether a run makes it again.

Three digests decide: of the fields that are read now, of those that were read and written last time
(the ledger), and of what is on disk. A file whose size and mtime are as the ledger says is not
opened. docs/concepts.md explains the states.
"""
from __future__ import annotations

import fnmatch
import gc
import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from codedata.disk.ledger import NOTHING, FileState, LastAttempt
from codedata.disk.store import Store, digests_of
from codedata.errors import BrokenRecord
from codedata.llm.replies import ReplyLog, Spares
from codedata.records import OMITTED_IF_NULL
from codedata.settings import Exclude
from codedata.texts import in_shard

STATES = ("done", "adopted", "stale", "forced", "edited", "incomplete", "missing", "failed",
          "excluded", "waiting", "orphan", "broken")
ORIGIN = "env_setup"   # the stage that decides which commit all others are of
TO_DO = ("missing", "stale", "forced", "incomplete", "failed")


@dataclass(frozen=True)
class Selection:
    """Select the items of a run, and those that it makes again."""

    only: str = ""                           # a glob of names or instance ids; "": all
    shard: tuple[int, int] | None = None     # (i, n): the items whose name's hash mod n is i
    limit: int | None = None                 # items to make, without those that a rule leaves out
    force: bool = False                      # make again whatever is there
    refresh: bool = False                    # make again what was made with other settings
    no_retry: bool = False                   # leave failed items alone

    def in_shard(self, name: str) -> bool:
        """Return whether an item is of the shard."""
        return in_shard(name, self.shard)

    def matches(self, *names: str) -> bool:
        """Return whether one of an item's names (its own, its instance id) matches `only`."""
        return not self.only or any(fnmatch.fnmatchcase(name, self.only) for name in names)


@dataclass(frozen=True)
class Reads:
    """Name a store and the fields of its records that the item function uses."""

    store: object                  # Store or Derived
    fields: tuple[str, ...]        # none: nothing makes an item stale
    made_by: str = ""              # the stage that writes it: an item that failed there waits
    needs: tuple[str, ...] = ()    # fields that earlier stages fill in: an item without them waits
    # instance id → the rule that leaves it out, or "": asked for items that would be made
    leaves_out: Callable[[str], str] | None = None
    # item → names that --only takes it by, too: of what later steps derive from it
    leads_to: Callable[[str], Iterable[str]] = lambda name: ()
    same: str = ""                 # of a joined store: a field that has to be as in the item
    optional: bool = False         # of a joined store: made without it, too, if nothing failed
    command: str = ""              # of a joined store: what makes it, if not `made_by`'s script

    def parents(self, name: str) -> list[str]:
        """Return the names of the items that a derived one, <item>.<part>, comes from; [] for any
        other."""
        if not getattr(self.store, "derived", False):
            return []
        return [name[:i] for i, char in enumerate(name) if char == "."]

    @property
    def place(self) -> str:
        """Return where the records are: a directory of the root."""
        return getattr(self.store, "place", "") or f"{self.store.cls.directory}/"


@dataclass(frozen=True)
class Parts:
    """Describe an output that is made in parts, such as the verdicts of judges in a score.

    The item function is called as make(record, …, name, old). `old` is the record on disk if it
    was made from the same inputs, else None; make() keeps what it can of it. An item without a
    wanted part is incomplete; it is tried once more at the end of the run, if `worthwhile`.
    """

    wanted: dict[str, str]                       # part: digest of its settings now
    of: Callable[[object], dict[str, str]]       # the same for the final parts of a record
    enough: Callable[[set[str]], bool]           # whether a record with these parts counts
    view: str                                    # digest of how parts are combined to a record
    fits: Callable[[object], bool]               # whether a record is its parts in this view
    is_of: Callable[[object, dict[str, str]], bool]   # whether parts are of inputs with digests
    worthwhile: bool = True                      # whether a second try may well end otherwise


@dataclass(frozen=True)
class Writes:
    """Name a store and the fields that this stage owns there."""

    store: Store
    fields: tuple[str, ...] = ()     # by default all of a record
    copies: tuple[str, ...] = ()     # of `fields`: passed through, so a change there costs no call
    optional: tuple[str, ...] = ()   # of `fields`: a record without them is complete all the same
    parts: Parts | None = None
    fault: Callable[[object], str] | None = None   # why a written record is a failure, or ""
    # item → what it needs outside of the root and is gone, as an image, or ""
    lacks: Callable[[str], str] | None = None

    def __post_init__(self):
        if not self.fields:
            object.__setattr__(self, "fields", tuple(self.store.cls.__dataclass_fields__))


@dataclass(slots=True)
class Item:
    """Hold one unit of work with its state, one of STATES."""

    name: str
    instance_id: str
    state: str
    reason: str = ""               # why it is excluded, failed or waiting
    copies_only: bool = False      # only fields that are passed through have changed: no call
    same_inputs: bool = False      # what is on disk may be kept in parts: its inputs are the same
    counts: bool = False           # what is on disk is used by later stages as it is
    adoption: dict | None = None   # of an output without ledger line: `read` and further fields
    anew: bool = False             # with --force: nothing of what is on disk is kept
    forced_from: str = ""          # the state without --force or --refresh
    stale_too: bool = False        # of an edited item: its inputs have changed as well
    other_settings: bool = False   # it was made with other settings than today's
    lacks_field: bool = False      # an earlier stage has not filled in a field that is read


@dataclass
class Plan:
    """Hold the states of all items, and which of them are to be made now."""

    names: dict[str, list[str]] = field(default_factory=lambda: {state: [] for state in STATES})
    todo: list[Item] = field(default_factory=list)
    broken: dict[str, BrokenRecord] = field(default_factory=dict)   # by message
    adopted: list[Item] = field(default_factory=list)     # items that lack a ledger line
    counting: list[str] = field(default_factory=list)     # names of items whose output counts
    lacking: list[str] = field(default_factory=list)      # names of items that lack a field
    reasons: dict[str, str] = field(default_factory=dict)   # of excluded, failed, waiting items
    n_edited_stale: int = 0
    n_other_settings: int = 0
    spare: deque[Item] = field(default_factory=deque)   # what --limit leaves for later

    @property
    def n_read(self) -> int:
        """Return the number of items that are read, of whatever state."""
        return sum(len(names) for state, names in self.names.items() if state != "orphan")

    @property
    def asks(self) -> bool:
        """Return whether the run may need a model."""
        return any(not item.copies_only for item in self.todo)

    def add(self, item: Item, no_retry: bool) -> None:
        """Count an item, and note what is to be done with it."""
        self.names[item.state].append(item.name)
        if item.counts:
            self.counting.append(item.name)
        if item.state in TO_DO and not (no_retry and item.state == "failed"):
            self.todo.append(item)
        # the kept replies of an incomplete item are still needed: adopting it would drop them
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


@dataclass
class States:
    """Find the state of every item of one stage."""

    stage: str
    reads: Reads
    writes: Writes
    exclude: Exclude
    settings: str                  # digest of today's settings
    joined: tuple[Reads, ...] = ()   # read by instance id
    selection: Selection = Selection()
    spares: Spares = field(default_factory=Spares)

    @property
    def _stores(self) -> list:
        sides = (self.reads, self.writes, *self.joined)
        return list(dict.fromkeys(side.store for side in sides))

    def plan(self) -> Plan:
        """Return the state of every item.

        Every record that was edited since a script wrote it is read, so all broken ones are named.
        """
        gc.disable()   # millions of small objects come and none goes: a third of the time
        try:
            for store in self._stores:
                store.open()
            return self._plan()
        finally:
            gc.enable()

    def _plan(self) -> Plan:
        plan, source, out = Plan(), self.reads.store, self.writes.store
        for name in filter(self.selection.in_shard, source.names()):
            try:
                if item := self._item(name):
                    plan.add(item, self.selection.no_retry)
            except BrokenRecord as e:
                plan.add_broken(e, name)
        if source is not out:
            plan.names["orphan"] = [
                name for name in filter(self.selection.in_shard, out.names())
                if not source.covers(name) and self._is_selected(name, self._output_id(name))
                and self._is_own(name)]
        broken = {str(e): e for store in self._stores for e in store.broken}
        for text, e in broken.items():   # an error of two stores, or of an item, counts once
            if text not in plan.broken:
                plan.add_broken(e, e.where)
        if n := self.selection.limit:
            plan.todo, plan.spare = plan.todo[:n], deque(plan.todo[n:])
        return plan

    def _is_own(self, name: str) -> bool:
        """Return whether an output is this stage's; where several makers put theirs into one
        directory, and people, too, only what a ledger line says."""
        store = self.writes.store
        return not store.kind or (self.stage, name) in store.ledger.succeeded

    def _is_selected(self, name: str, instance_id: str) -> bool:
        """Return whether --only takes an item, an item that it comes from, or one that comes from
        it."""
        reads = self.reads
        return self.selection.matches(name, instance_id, *reads.parents(name),
                                      *reads.leads_to(name))

    def _output_id(self, name: str) -> str:
        """Return the instance id of a record on disk, if --only needs it."""
        try:
            return self.writes.store.facts(name).instance_id if self.selection.only else ""
        except BrokenRecord:
            return ""

    def _item(self, name: str) -> Item | None:
        """Return an item with its state, or None if --only leaves it out.

        An excluded item and one that lacks a field are not compared. Else the three digests give a
        state, which earlier attempts, --force and a failed input may replace, in this order.
        Raise BrokenRecord if it cannot be read.
        """
        facts = self.reads.store.facts(name)
        if self.selection.only and not self._is_selected(name, facts.instance_id):
            return None
        if rule := self._excluded(facts):
            return Item(name, facts.instance_id, "excluded", rule)
        for joined in self.joined:
            if why := self._without(joined, name, facts):
                return why
        for needed in self.reads.needs:
            if needed not in facts.digests:
                return Item(name, facts.instance_id, "waiting", f"no {needed} yet",
                            lacks_field=True)
        item = self._compared(name, facts)
        self._apply_attempts(item, facts)
        item.anew = self.selection.force
        if item.anew and item.state in ("done", "adopted", "edited", "stale", "incomplete"):
            _force(item)
        self._leave_out(item)
        self._wait_for_input(item)
        return item

    def _excluded(self, facts: FileState) -> str:
        """Return the rule that excludes an item, or ""."""
        if facts.instance_id in self.exclude.ids:
            return "[exclude] ids"
        for joined in self.joined:
            if not (joined.made_by or joined.optional or facts.instance_id in joined.store):
                return f"no PR record in {joined.place}"
        return ""

    def _without(self, joined: Reads, name: str, facts: FileState) -> Item | None:
        """Return an item that waits for a joined record: it is missing, or of another commit. None
        for an item that can be made."""
        if joined.optional:
            return None
        if facts.instance_id in joined.store:
            if self._fits(joined, facts):
                return None
            older = self.reads if joined.made_by == ORIGIN else joined
            newer = joined if joined.made_by == ORIGIN else self.reads
            why = (f"{older.place} is of another {joined.same.replace('_', ' ')} than "
                   f"{newer.place}: {older.made_by.partition('.')[0]}.py makes it again")
            return Item(name, facts.instance_id, "waiting", why, lacks_field=True)
        made_by, ledger = joined.made_by, joined.store.ledger
        if rule := ledger.excluded.get((made_by, facts.instance_id)):
            return Item(name, facts.instance_id, "excluded", f"{made_by} left it out: {rule.error}")
        failed = ledger.failed.get((made_by, facts.instance_id))
        script, _, step = made_by.partition(".")
        command = joined.command or (step and f"{script}.py --steps {step}")
        why = f"no {joined.place} yet" + (f": python {command}" if command else "")
        if failed:
            why = f"{made_by} failed: {failed.error}"
        return Item(name, facts.instance_id, "waiting", why, lacks_field=True)

    @staticmethod
    def _fits(joined: Reads, facts: FileState) -> bool:
        """Return whether the joined record is there and has the item's value of the field `same`.
        """
        if facts.instance_id not in joined.store:
            return False
        digests = joined.store.facts(facts.instance_id).digests if joined.same else NOTHING
        return digests.get(joined.same) == facts.digests.get(joined.same)

    # the three digests ---------------------------------------------------------------------------

    def _compared(self, name: str, facts: FileState) -> Item:
        """Return an item with the state that the three digests give it."""
        output = self._complete_output(name)
        item = Item(name, facts.instance_id, "missing")
        made = self._placed(name, output)
        if output is None:
            return item
        self._compare_digests(item, facts, output, made)
        if item.state != "stale" or item.copies_only:
            item.same_inputs = item.counts = True
            if self.writes.parts and item.state != "edited":
                self._compare_parts(item, made)
        self._compare_settings(item, made)
        return item

    def _placed(self, name: str, output: FileState | None) -> LastAttempt | None:
        """Return the attempt whose record is on disk. Where that is not the last one, a kill may
        have come between its line and its record: its kept replies may be used."""
        ledger, key = self.writes.store.ledger, (self.stage, name)
        last = ledger.succeeded.get(key)
        made = output and self.writes.store.placed(*key, self.writes.fields)
        if made is not last:
            ledger.used.pop(key, None)
        if made:
            ledger.succeeded[key] = made
        return made

    def _complete_output(self, name: str) -> FileState | None:
        """Return what is known of the output, or None if a field of this stage is missing."""
        writes = self.writes
        if name not in writes.store:
            return None
        output = writes.store.facts(name)
        needed = set(writes.fields).difference(writes.copies, writes.optional)
        return output if needed <= output.digests.keys() else None

    def _compare_digests(self, item: Item, facts: FileState, output: FileState,
                         made: LastAttempt | None) -> None:
        """Compare what is read and what is on disk with what the ledger says of it, if it does."""
        read, parts = self.read_of(facts), self.writes.parts
        last = self.writes.store.ledger.succeeded.get((self.stage, item.name))
        if made:
            item.state, made_read = "done", made.read
        elif last:
            item.state, made_read = "edited", last.read
        elif parts and not parts.is_of(self.writes.store.read(item.name), facts.digests):
            item.state = "stale"
            return
        else:   # put there by hand
            self.replies(item.name)   # raises BrokenRecord where they cannot be read
            item.state, item.adoption = "adopted", {"read": read, "settings": ""}
            return
        is_stale = bool(self.reads.fields) and made_read != read
        copies_only = not is_stale and any(
            f in facts.digests and output.digests.get(f) != facts.digests[f]
            for f in self.writes.copies)
        if item.state == "edited":
            item.stale_too = is_stale or copies_only
        elif is_stale or copies_only:
            item.state, item.copies_only = "stale", copies_only

    def _compare_parts(self, item: Item, made: LastAttempt | None) -> None:
        """Find which parts of an output are missing, or combined in another way than today's."""
        parts = self.writes.parts
        present = dict(made.parts) if made else parts.of(self.writes.store.read(item.name))
        others = {part for part, settings in parts.wanted.items()
                  if present.get(part, settings) not in ("", settings)}
        item.other_settings = bool(others)
        if self.selection.refresh:
            present = {part: settings for part, settings in present.items() if part not in others}
        if not parts.wanted.keys() <= present.keys():
            item.state, item.copies_only = "incomplete", False
            item.counts = parts.enough(set(present))
        elif made and made.view and made.view != parts.view:
            item.state, item.copies_only = "stale", True

    def _compare_settings(self, item: Item, made: LastAttempt | None) -> None:
        if made and made.settings and made.settings != self.settings:
            item.other_settings = True
            if self.selection.refresh and item.state in ("done", "stale", "incomplete"):
                _force(item)

    # earlier attempts ----------------------------------------------------------------------------

    def _apply_attempts(self, item: Item, facts: FileState) -> None:
        """Apply the last attempt: it failed, or a rule excluded the item."""
        ledger, key = self.writes.store.ledger, (self.stage, item.name)
        failed, excluded = ledger.failed.get(key), ledger.excluded.get(key)
        if (item.state == "adopted" or (failed and item.state == "done")) and (
                fault := self._fault(item)):
            _fail(item, fault)
        if item.state in ("done", "adopted") and self.writes.lacks and (
                gone := self.writes.lacks(item.name)):
            _fail(item, gone)
        is_anew = self.selection.force or (
            self.selection.refresh and excluded and excluded.settings != self.settings)
        if item.state in ("missing", "stale") and excluded and not is_anew and (
                not item.copies_only and excluded.read == self.read_of(facts)):
            item.state, item.reason = "excluded", excluded.error   # an older output stays
        elif failed and item.state in ("missing", "stale", "incomplete") and not item.copies_only:
            item.state, item.reason = "failed", failed.error
        elif failed and item.state == "done":   # its inputs are again what it was made from
            made = ledger.succeeded[key]
            item.adoption = {"read": made.read, "settings": made.settings,
                             "parts": dict(made.parts), "view": made.view}

    def _fault(self, item: Item) -> str:
        """Return the failure that the record on disk states itself, or ""."""
        if not self.writes.fault or self.writes.parts:
            return ""
        return self.writes.fault(self.writes.store.read(item.name))

    def _leave_out(self, item: Item) -> None:
        """Exclude an item that a rule of the input leaves out; an output on disk stays."""
        if item.state not in TO_DO or item.copies_only or not self.reads.leaves_out:
            return
        if rule := self.reads.leaves_out(item.instance_id):
            item.state, item.reason, item.counts = "excluded", rule, False

    def _wait_for_input(self, item: Item) -> None:
        if item.state not in TO_DO or item.copies_only:
            return
        for reads, name in ((self.reads, item.name),
                            *((joined, item.instance_id) for joined in self.joined)):
            if reads.made_by and (before := reads.store.failed(reads.made_by, name)):
                item.state, item.reason = "waiting", f"{reads.made_by} failed: {before.error}"

    # digests and replies -------------------------------------------------------------------------

    def read_of(self, facts: FileState) -> str:
        """Return the digest of what the item would be made from now."""
        return self.read_digest(facts.digests, *(
            joined.store.facts(facts.instance_id).digests if self._fits(joined, facts) else NOTHING
            for joined in self.joined))

    def read_digest(self, digests: dict, *joined: dict) -> str:
        """Return one digest of the fields that are read, with those of the joined records."""
        return read_digest(digests, self.reads.fields, *(
            (others, one.fields) for others, one in zip(joined, self.joined, strict=False)))

    def inputs(self, name: str) -> list:
        """Return the item's record and its joined records; None for one that is not there, or is of
        another commit. Raise BrokenRecord if one cannot be read."""
        record = self.reads.store.read(name)
        facts = FileState(record.instance_id, digests_of(record) if self.joined else NOTHING)
        inputs = [record]
        for joined in self.joined:
            fits = self._fits(joined, facts)
            if not (fits or joined.optional):
                raise BrokenRecord("has changed since the run began.", joined.place, "Run again.")
            inputs.append(joined.store.read(record.instance_id) if fits else None)
        return inputs

    def replies(self, item: str, state: str = "") -> ReplyLog:
        """Return the item's kept replies, with which of them the ledger has billed."""
        store, in_parts = self.writes.store, self.writes.parts is not None and state != "stale"
        return ReplyLog(store.directory(item), self.stage, item, store.ledger,
                        tuple(store.directories), in_parts, self.spares)


def _fail(item: Item, why: str) -> None:
    item.state, item.reason, item.counts, item.adoption = "failed", why, False, None


def _force(item: Item) -> None:
    item.state, item.forced_from, item.copies_only = "forced", item.state, False


def read_digest(digests: dict, fields: Iterable[str],
                *joined: tuple[dict, Iterable[str]]) -> str:
    """Return one digest of the fields that an output is made from, "" for one that is not there.
    `joined` are further records' digests, each with the fields that count. Absent fields of
    OMITTED_IF_NULL do not count: records from before those fields existed must not become stale."""
    texts = [values.get(f, "") for values, names in ((digests, fields), *joined) for f in names
             if f in values or f not in OMITTED_IF_NULL]
    return hashlib.blake2b("|".join(texts).encode(), digest_size=8).hexdigest()
