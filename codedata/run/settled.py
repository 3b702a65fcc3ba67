"""List the done items of a stage in <dir>/_settled.<stage>.jsonl, so that a run with long ledgers
loads only the lines of the other items.

A state follows from settings, files and ledger lines (plan.py): while these are unchanged, an item
stays done. Files are compared by group: of the items whose names are equal up to the last "_", such
as the entries of a list. A plan without --only and --shard writes the file. Its lines:

first    {ledger: [its bytes, their digest]}; the newest time and the sum of the costs in the
         ledgers of the output
others   {group: [digest of the settings, and of the names, sizes and times of its files; whether
         all of its items are done; [instance id, whether made with other settings, done items]]}

An item is settled if its group's files are unchanged and no ledger line behind these bytes is about
it. The ledgers stay the truth: the file may be deleted at any time.
"""
from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from codedata.bounded import MAX_LINES_BYTES, MAX_RECORD_BYTES, open_regular
from codedata.disk.layouts import write_atomic
from codedata.disk.ledger import LEDGER, calls_of, line_in, read_lines, to_line
from codedata.disk.store import Lists, Store, digest
from codedata.errors import BrokenRecord, RunStopped
from codedata.run.stage import Writes
from codedata.run.states import Item
from codedata.terminal import Spending
from codedata.texts import natural

VERSION = 1              # raise it with every change to the rules of states
MIN_BYTES = 8 << 20      # all lines of shorter ledgers are read
PART = 1 << 20           # bytes to read at once


class Settled:
    """Open the stores of a stage, and find the settled items. `states` is a plan.States."""

    def __init__(self, states):
        reads, writes, selection = states.reads, states.writes, states.selection
        self._source, self._out = reads.store, writes.store
        self._chunk_bytes = states.chunk_bytes
        self._sides = dict.fromkeys((self._source, self._out))
        self._also = dict.fromkeys(one.store for one in states.also_reads)
        self.stores = self._sides | self._also
        # the settled items: {group: {(instance id, whether made with other settings): items}}
        self.groups: dict[str, dict[tuple[str, bool], list[str]]] = {}
        self._items = set()     # the settled items
        self._path = None       # None: no item is settled
        self._is_saved = True   # the file is up to date
        self._spent = None      # the sum of all costs, if it is known
        # {group: number of the chunk that it is loaded with; None: all of its items are settled}
        self._chunks: dict[str, int | None] = {}
        self._n_chunks = 1
        is_possible = not (
            reads.beside or writes.lacks is not Writes.lacks or self._sides.keys() & self._also
            or {*map(type, self.stores)} - {Store, Lists} or any(one.kind for one in self.stores))
        for store in self.stores:
            store.list_files() if is_possible else store.open()
        if not is_possible:
            self._sides = self._also = {}   # nothing is left to load
        ledgers = {path: store for store in (*self._sides, *self._also)
                   for directory in store.directories if (path := directory / LEDGER).exists()}
        n_bytes = sum(path.stat().st_size for path in ledgers)
        if n_bytes > MIN_BYTES and self._out.directories and not (
                selection.force or selection.refresh):
            self._path = self._out.directories[0] / f"_settled.{states.stage}.jsonl"
            # digest of the settings that a state depends on
            self._settings = digest([VERSION, states.settings, states.exclude.ids, *(
                [value for value in vars(one).values()
                 if isinstance(value, (str, bool, tuple, dict))]
                for one in (reads, *states.also_reads, writes, writes.parts) if one)])
            self._find(ledgers, n_bytes)

    def _find(self, ledgers: dict[Path, Store | Lists], n_bytes: int) -> None:
        """Find the settled items, and distribute the groups that have others over chunks."""
        self._stamps = [store.stamps() for store in self._sides]
        n_left = n_groups = len(self._stamps[0]) or 1   # groups to load, or their parts
        try:
            n_left -= self._take_in(ledgers, read_lines(self._path))
        except (OSError, ValueError, TypeError, LookupError, AttributeError):   # no sound file
            self.groups, self._items, self._chunks = {}, set(), {}
            self._is_saved, self._spent = False, None
            self._compare(ledgers, {})
        left = sorted(self._stamps[0].keys() - self._chunks.keys(), key=natural)
        self._n_chunks += max(0, int(n_bytes * n_left / n_groups / self._chunk_bytes))
        self._chunks |= {group: i * self._n_chunks // len(left) for i, group in enumerate(left)}

    def _take_in(self, ledgers: dict[Path, Store | Lists], saved: Iterator[dict]) -> float:
        """Take the settled items from the lines of the file. Return the number of their groups, or
        parts of groups."""
        touched, n_groups = self._compare(ledgers, next(saved, {})), 0.0
        self._is_saved = touched == set()
        for (group, (stamp, is_all, rows)), in map(
                dict.items, saved if touched is not None else ()):
            left = {(id, is_other): names for id, is_other, names in rows
                    if touched.isdisjoint([group, id, *names])}
            if left and stamp == self._stamp(group, rows):
                self.groups[group] = left
                self._items.update(*left.values())
                n_groups += len(left) / len(rows)
                if is_all and len(left) == len(rows):
                    self._chunks[group] = None
        return n_groups

    def _compare(self, ledgers: dict[Path, Store | Lists], about: dict) -> set[str] | None:
        """Note the length and digest of each ledger. Return the items of the lines that were added
        since `about` was written; None without `about`, or if the bytes that it names changed."""
        was, touched = {**about.get("ledgers", {})}, set()
        is_known = bool(was)
        spent = Spending(**about.get("spent", {}))
        self._covered = {}
        for path, store in ledgers.items():
            place = str(path.relative_to(store.root))
            hasher = hashlib.blake2b()
            n_bytes, older = was.pop(place, (0, hasher.hexdigest()))
            with open_regular(path, MAX_LINES_BYTES) as file:
                for size in *[PART] * (n_bytes // PART), n_bytes % PART:
                    hasher.update(file.read(size))
                if hasher.hexdigest() != older:
                    return self._compare(ledgers, {})
                for raw in iter(lambda: file.readline(MAX_RECORD_BYTES), b""):
                    # the next writer adds a missing end, or the line is being written
                    if not raw.endswith(b"\n") and len(raw) < MAX_RECORD_BYTES:
                        raw = raw + b"\n" if line_in(raw) else b""
                    hasher.update(raw)
                    n_bytes += len(raw)
                    line = line_in(raw) if is_known else None
                    if line:
                        touched.add(str(line.get("item", "")))
                    for call in calls_of(line) if line and store is self._out else ():
                        spent.add(call)
            self._covered[place] = n_bytes, hasher.hexdigest()
            store.ledger.ends[path] = n_bytes
        if was or not is_known:
            return None
        self._spent, self._out.ledger.newest = spent, about["newest"]
        return touched

    def _stamp(self, group: str, rows) -> str:
        """Return the digest of the names, sizes and times of a group's files."""
        return digest([self._settings, [stamps.get(group) for stamps in self._stamps],
                       [store.stamp(id) for store in self._also for id, *_ in rows]])

    # the other items -----------------------------------------------------------------------------

    def others(self) -> Iterator[tuple[list[str], list[str]]]:
        """For each chunk, load its ledger lines, and yield the items that are not settled and the
        outputs with other names. Items that add() finds to be done are then settled."""
        for k in range(self._n_chunks):
            wants = self._path and (lambda name, k=k: name not in self._items and (
                self._chunks.get(Store.stem_of(name), 0) == k))
            for store in self._sides:
                store.load(wants)
            names, ids = self._source.names(wants), set()
            for name in names if wants else ():
                with suppress(BrokenRecord):
                    ids.add(self._source.facts(name).instance_id)
            for store in self._also:   # the records that are joined to these items
                store.load(wants and ids.__contains__)
            yield names, self._out.names(wants) if self._out is not self._source else []
            for store in self._sides if wants else ():
                store.forget(self._items)
        if self._spent:
            self._out.ledger.spent = self._spent

    def add(self, item: Item) -> None:
        """Settle an item if it is done and the ledgers describe its files."""
        name, id, is_other = item.name, item.instance_id, item.other_settings
        of = Store.stem_of(name) if isinstance(self._source, Lists) else name
        if self._path and item.state == "done" and item.counts and not item.adoption and (
                self._source.as_left(of) and self._out.as_left(name)
                and all(store.as_left(id) for store in self._also if id in store)):
            rows = self.groups.setdefault(Store.stem_of(name), {})
            rows.setdefault((id, is_other), []).append(name)
            self._items.add(name)
            self._is_saved = False

    def save(self, names: dict[str, list[str]]) -> None:
        """Write the file, if something has changed, given the names of all items by state. Keep an
        older file if the disk is full."""
        if self._is_saved:
            return
        ledger = self._out.ledger
        about = {"ledgers": self._covered, "newest": ledger.newest, "spent": asdict(ledger.spent)}
        n_items = Counter(map(Store.stem_of, chain.from_iterable(names.values())))
        with suppress(OSError, RunStopped):
            write_atomic(self._path, b"".join(map(to_line, [about, *(
                {group: [self._stamp(group, rows), n_items[group] == sum(map(len, rows.values())),
                         [[*row, done] for row, done in rows.items()]]}
                for group, rows in self.groups.items())])))
