"""Keep the items of a stage that are done in <dir>/_settled.<stage>.jsonl, so that a run with long
ledgers holds facts only about the other items.

A state follows from settings, files and ledger lines (plan.py): while these are unchanged, an item
stays done. Its files are compared in groups: of the items with the same name up to the last "_",
such as the entries of a list. The file's lines, which a plan of all items renews:

first    digest of the settings; {ledger: [its bytes, their digest]}; the newest time and the sum of
         the costs in the ledgers of the output
others   a group; digest of the names, sizes and times of its files; whether all of its items are
         done; [instance id, whether they were made with other settings, done items]

An item is settled if its group's files are unchanged and no ledger line behind these bytes is about
it. The ledgers stay the truth: the file may be deleted at any time.
"""
from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path

from codedata.bounded import MAX_LINES_BYTES, MAX_RECORD_BYTES, open_regular
from codedata.disk.layouts import write_atomic
from codedata.disk.ledger import LEDGER, calls_of, from_json, line_in, to_line
from codedata.disk.store import Lists, Store, digest
from codedata.errors import BrokenRecord, RunStopped
from codedata.run.stage import Writes
from codedata.run.states import Item
from codedata.terminal import Spending
from codedata.texts import natural

VERSION = 1              # raise it with every change to the rules of states
MIN_BYTES = 8 << 20      # all lines of shorter ledgers are read
CHUNK_BYTES = 256 << 20  # ledger bytes whose lines are objects at the same time
EMPTY = hashlib.blake2b().hexdigest()
PART = 1 << 20           # bytes to read at once
ALL_DONE = -1            # number of the chunk of groups without other items
Row = tuple[str, bool, list[str]]   # instance id, whether made with other settings, items


class Settled:
    """Open the stores of a stage, and find the settled items. `states` is a plan.States."""

    def __init__(self, states):
        reads, writes, selection = states.reads, states.writes, states.selection
        self._source, self._out = reads.store, writes.store
        self._also = [*dict.fromkeys(one.store for one in states.also_reads)]
        self._sides = [*dict.fromkeys((self._source, self._out))]
        self._path = None
        self._is_saved = False  # the file is up to date
        self._ends = {}         # {ledger: bytes to read}
        self._spent = None      # the sum of all costs, if it is known
        self._chunks = {}       # {group: number of the chunk that it is loaded with, or ALL_DONE}
        self._n_chunks = 1
        self._items = set()     # the settled items
        self._odd = set()       # groups of other items
        self._ids = set()       # instance ids whose joined records are loaded
        self._new = {}          # {group: {(instance id, …): items}} of a chunk
        self.groups: dict[str, list[Row]] = {}   # the settled items by group
        stores = dict.fromkeys((*self._sides, *self._also))
        self._is_possible = not (
            reads.beside or writes.lacks is not Writes.lacks
            or len(stores) < len(self._sides) + len(self._also)
            or type(self._source) not in (Store, Lists) or any(store.kind for store in stores)
            or any(type(store) is not Store for store in (self._out, *self._also)))
        for store in stores:
            store.list_files() if self._is_possible else store.open()
        ledgers = {path: store for store in stores if self._is_possible
                   for directory in store.directories if (path := directory / LEDGER).exists()}
        n_bytes = sum(path.stat().st_size for path in ledgers)
        if n_bytes > MIN_BYTES and self._out.directories and not (
                selection.force or selection.refresh):
            self._path = self._out.directories[0] / f"_settled.{states.stage}.jsonl"
            self._settings = _settings_of(states)
            self._grows = not (selection.only or selection.shard)
            self._find(ledgers, n_bytes)

    def _find(self, ledgers: dict[Path, Store | Lists], n_bytes: int) -> None:
        """Find the settled items, and distribute the groups that have others over chunks."""
        self._stamps = [store.stamps() for store in self._sides]
        saved = self._saved()
        touched = self._compare(ledgers, next(saved, {}))
        self._is_saved = touched == set()
        groups_touched = {*map(Store.group_of, touched or ())}
        for group, stamp, is_all, rows in saved if touched is not None else ():
            if group in touched or stamp != self._stamp(group, rows):
                continue
            self.groups[group] = [
                (id, is_other, [name for name in names if name not in touched])
                for id, is_other, names in rows if id not in touched]
            for *_, names in self.groups[group]:
                self._items.update(names)
            if is_all and group not in groups_touched and len(rows) == len(self.groups[group]):
                self._chunks[group] = ALL_DONE
        for store in self._sides:
            store.settle(self._items)
        left = sorted(self._stamps[0].keys() - self._chunks.keys(), key=natural)
        n_groups = len(self._stamps[0]) or 1
        self._n_chunks += n_bytes * (n_groups - len(self.groups)) // (n_groups * CHUNK_BYTES)
        self._chunks |= {group: i * self._n_chunks // len(left) for i, group in enumerate(left)}

    def _saved(self) -> Iterator:
        """Yield the lines of the file, up to a torn one; none of a file of other settings."""
        with suppress(OSError, ValueError), open_regular(self._path, MAX_LINES_BYTES) as file:
            about = from_json(file.readline())
            if about["settings"] == self._settings:
                yield about
                yield from map(from_json, file)

    def _compare(self, ledgers: dict[Path, Store | Lists], about: dict) -> set[str] | None:
        """Set the digests of the present ledgers. Return the items of the lines behind the bytes of
        an older `about`; None if these bytes have changed."""
        was, touched = about.get("ledgers", {}), set()
        spent = Spending(**about.get("spent", {}))
        is_same = bool(was)
        self._covered = {}
        for path, store in ledgers.items():
            place = str(path.relative_to(store.root))
            ended, later = _compared(path, was.pop(place, [0, EMPTY]) if is_same else None)
            self._covered[place], self._ends[path] = ended, ended[0]
            is_same = is_same and later is not None
            for line in later or ():
                touched.add(str(line.get("item", "")))
                for call in calls_of(line) if store is self._out else ():
                    spent.add(call)
        if was or not is_same:
            return None
        self._spent, self._out.ledger.newest = spent, about["newest"]
        return touched

    def _stamp(self, group: str, rows: list[Row]) -> str:
        """Return the digest of the names, sizes and times of a group's files."""
        return digest([[stamps.get(group) for stamps in self._stamps],
                       [store.stamp(id) for store in self._also
                        for id in sorted({id for id, *_ in rows})]])

    # the other items -----------------------------------------------------------------------------

    def others(self) -> Iterator[tuple[list[str], list[str]]]:
        """Yield the items that are not settled, and the outputs with other names, in chunks whose
        lines are loaded. Items that add() finds to be done are then settled."""
        for k in range(self._n_chunks):
            wants = partial(self._is_in, k) if self._path else None
            for store in self._sides if self._is_possible else ():
                store.load(wants, self._ends)
            names = self._source.names(wants)
            self._load_joined(names)
            yield names, self._out.names(wants) if self._out is not self._source else []
            self._settle()
        if self._spent:
            self._out.ledger.spent = self._spent

    def _is_in(self, k: int, group: str, name: str) -> bool:
        return self._chunks.get(group, 0) == k and name not in self._items

    def _load_joined(self, names: list[str]) -> None:
        """Load the lines of the records that are joined to items."""
        ids = set()
        for name in names if self._path else ():
            with suppress(BrokenRecord):
                ids.add(self._source.facts(name).instance_id)
        ids -= self._ids
        self._ids |= ids
        for store in self._also if self._is_possible else ():
            store.load(self._path and (lambda _, id: id in ids), self._ends)

    def _settle(self) -> None:
        done = set()
        for group, rows in self._new.items():
            self.groups.setdefault(group, []).extend((*row, rows[row]) for row in rows)
            done.update(*rows.values())
        self._is_saved = self._is_saved and not done
        self._new = {}
        for store in self._sides if self._n_chunks > 1 else ():
            store.settle(done)

    def add(self, item: Item) -> None:
        """Note the state of an item."""
        if not self._path:
            return
        start = item.instance_id, item.other_settings
        if self._is_left(item) and item == Item(item.name, start[0], "done", counts=True,
                                                keeps=True, other_settings=start[1]):
            rows = self._new.setdefault(Store.group_of(item.name), {})
            rows.setdefault(start, []).append(item.name)
        else:
            self.add_odd(item.name)

    def _is_left(self, item: Item) -> bool:
        """Return whether the ledgers describe the item's files. Others are read by every plan."""
        name = item.name
        of = Store.group_of(name) if isinstance(self._source, Lists) else name
        return name in self._out and all(
            store.as_left(its) for store, its in (
                (self._source, of), (self._out, name),
                *((store, item.instance_id) for store in self._also)) if its in store)

    def add_odd(self, name: str) -> None:
        """Note that an item is not done."""
        self._odd.add(Store.group_of(name))

    def save(self) -> None:
        """Write the file, if something has changed. Keep an older file if the disk is full."""
        if self._path and self._grows and not self._is_saved:
            ledger = self._out.ledger
            about = {"settings": self._settings, "ledgers": self._covered,
                     "newest": ledger.newest, "spent": asdict(ledger.spent)}
            with suppress(OSError, RunStopped):
                write_atomic(self._path, b"".join(map(to_line, [about, *(
                    [group, self._stamp(group, rows), group not in self._odd, rows]
                    for group, rows in self.groups.items())])))


def _settings_of(states) -> str:
    """Return the digest of all that a state depends on, but files and ledgers."""
    reads, writes, parts = states.reads, states.writes, states.writes.parts
    return digest([VERSION, states.settings, states.exclude.ids,
                   [[one.fields, one.needs, one.same, one.optional]
                    for one in (reads, *states.also_reads)],
                   writes.fields, writes.copies, writes.optional,
                   parts and [parts.wanted, parts.view]])


def _compared(path: Path, was: list | None) -> tuple[list, list[dict] | None]:
    """Return [bytes, digest] of a ledger's complete lines, and the lines behind the bytes of an
    older [bytes, digest]; None without an older one, or if its bytes have changed."""
    hasher, later, n_bytes = hashlib.blake2b(), [], 0
    with open_regular(path, MAX_LINES_BYTES) as file:
        while was and n_bytes < was[0] and (part := file.read(min(PART, was[0] - n_bytes))):
            hasher.update(part)
            n_bytes += len(part)
        if was and hasher.hexdigest() != was[1]:
            return _compared(path, None)
        for raw in iter(lambda: file.readline(MAX_RECORD_BYTES), b""):
            is_complete = raw.endswith(b"\n")
            line = line_in(raw) if was or not is_complete else None
            if line or is_complete:   # else it is being written
                raw = raw if is_complete else raw + b"\n"   # which the next writer adds
                hasher.update(raw)
                n_bytes += len(raw)
                later += [line] if line else []
    return [n_bytes, hasher.hexdigest()], later if was else None
