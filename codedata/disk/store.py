"""Read and write directories of records, with digests by field; unchanged files are not opened.

`Listing` finds the items of a directory, over all its shards; layouts.py defines an item's files.
`Store` reads and writes items that each hold one record. `Lists` does so for files that each hold a
list of records (prompt/). `Derived` holds records made from records of other stores. `Store`,
`Lists` and `Derived` have names(), covers(name), facts(name), read(name) and `broken`.
"""
from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import re
import shutil
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache, partial
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any

import orjson

from codedata.bounded import inside, read_bounded
from codedata.disk import layouts
from codedata.disk.layouts import to_json, write_atomic
from codedata.disk.ledger import UNKNOWN, FileState, LastAttempt, Ledger, Wants
from codedata.disk.locks import check_directories
from codedata.driver import StaysInDriver, in_driver, is_worker
from codedata.errors import BrokenRecord, ItemFailed, Trouble
from codedata.records import OMITTED_IF_NULL, parse
from codedata.terminal import say
from codedata.texts import natural, safe_name

Readers = dict[str, Callable[[], Any]]   # {item of a Derived: function that returns its record}
# types of fields: NULLABLE is a score whose null is a result, FILES are files
NULLABLE, FILES = "Points | None", ("Files", "Files | None")
fields = lru_cache(dataclasses.fields)   # cache it: each call of the original builds a new tuple


def digest(value) -> str:
    """Return a digest of a JSON value, 16 hex digits. It ignores the order of keys."""
    try:
        data = value.encode() if isinstance(value, str) else orjson.dumps(
            value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, UnicodeEncodeError):   # a lone surrogate, or nested too deep for orjson
        data = json.dumps(value, sort_keys=True).encode()
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def digests_of(record) -> dict[str, str]:
    """Return {field: digest} of a record. Leave out null fields, but not null scores, since a null
    score is a result."""
    return {f.name: layouts.files_digest(value) if f.type in FILES else digest(value)
            for f in fields(type(record))
            if (value := getattr(record, f.name)) is not None or f.type == NULLABLE}


def values_of(record) -> dict:
    """Return the fields of a record to write: all except null ones of OMITTED_IF_NULL."""
    return {name: value for name, value in vars(record).items()
            if value is not None or name not in OMITTED_IF_NULL}


def facts_of(record) -> FileState:
    """Return the digests of a record that has no file of its own."""
    return FileState(record.instance_id, digests_of(record))


class Listing(StaysInDriver):
    """List the items of a directory, over all its shards. New items go to the directory `into`;
    existing items stay in their directory.

    Several scripts put tasks into one directory: `kind` selects the tasks of one script; "" selects
    all. Names that `only` refuses are items of other stores. With `derived`, an item's name is
    <source item>.<part>.
    """

    def __init__(self, root: Path, cls, into: str | None = None, kind: str = "",
                 only: Callable[[str], bool] = bool, derived: bool = False):
        self.root = Path(root)
        self._only, self.derived = only, derived
        self.cls = cls
        self.kind = kind
        self.places = getattr(cls, "places", None)   # set if items are folders: a path per field
        self.is_shared = getattr(cls, "is_shared", False)   # whether several scripts write items
        self.suffix = "" if self.places else ".json"
        self.into = self.root / (into or cls.directory)
        self.place = f"{cls.directory}/"   # for messages
        self.broken: list[BrokenRecord] = []
        self.ledger = Ledger()
        self.directories = [self.root / cls.directory]   # open() adds the shards that exist
        self._at = {}   # name → directory, size, mtime_ns
        self._facts: dict[str, FileState] = {}
        self._others = set()   # names of items of other kinds
        self._lock = threading.Lock()

    def open(self):
        """List the items; return self. Call it once, while holding the directory's lock."""
        self.list_files()
        self.load()
        return self

    def list_files(self) -> None:
        """List the items without reading anything."""
        assert not is_worker(), "a worker has no root: read it in a function marked in_driver"
        directories = self.directories
        if getattr(self.cls, "sharded", False):
            directories = shards_of(directories[0])
        check_directories(directories)
        self.directories = sorted(filter(Path.exists, directories),
                                  key=lambda path: natural(path.name))
        list_items = layouts.list_folders if self.places else layouts.list_items
        twice = []
        for directory in self.directories:
            for name, stat in list_items(directory, self.broken):
                if name in self._at:
                    first = self._at[name][0].name
                    twice.append(f"{first}/{name}.json and {directory.name}/{name}.json")
                else:
                    self._at[name] = directory, stat.st_size, stat.st_mtime_ns
        if twice:
            raise Trouble("are in two directories: " + ", ".join(sorted(twice)[:5]),
                          str(self.root), "Keep one of each, delete the other.")

    def load(self, wants: Wants | None = None) -> None:
        """Read the ledger's lines of the items that wants() accepts, by default of all."""
        self.ledger.read(self.directories, wants)
        if self.kind:
            self._others = {name for name in self._at if not self._is_own(name)}

    @staticmethod
    def stem_of(name: str) -> str:
        """Return an item's name up to the last "_": of an entry of a list, the stem of its file."""
        return name.rpartition("_")[0]

    group_of = stem_of

    def stamps(self) -> dict[str, str]:
        """Return {group_of(): digest of the names, sizes and times of these files}."""
        hashers = defaultdict(partial(hashlib.blake2b, digest_size=8))
        for name, (_, size, mtime_ns) in self._at.items():
            hashers[self.group_of(name)].update(orjson.dumps((name, size, mtime_ns)))
        return {group: hasher.hexdigest() for group, hasher in hashers.items()}

    def forget(self, names: set[str]) -> None:
        """Forget the facts about items."""
        self.ledger.forget(names, self.ledger.counted, self.ledger.used)

    def stamp(self, name: str) -> tuple:
        """Return an item's size and mtime_ns; () if it is missing."""
        return self._at.get(name, ())[1:]

    def names(self, wants: Wants | None = None) -> list[str]:
        """Return the names of all items (of the store's kind, if it has one) in natural order. With
        wants(), only of the items that it accepts."""
        return sorted((name for name in filter(wants, filter(self._only, self._at))
                       if name not in self._others), key=natural)

    def _is_own(self, name: str) -> bool:
        """Return whether an item has the store's kind. If the item's kind cannot be read, add the
        error to `broken`."""
        if self.as_left(name) and (kind := self.ledger.known[name].digests.get("kind")):
            return kind == digest(self.kind)
        try:
            data = layouts.load_folder(self.path(name), {"config": self.places["config"]})
            return self.cls.kind_of(data["config"]) == self.kind
        except BrokenRecord as e:
            if self._only(name):
                self.broken.append(e)
            return False

    def __contains__(self, name: str) -> bool:
        return name in self._at

    def covers(self, name: str) -> bool:
        """Return whether `name` is an item, readable or not, or belongs to another store. If so, an
        output of that name is not an orphan. Without a directory, all names are covered."""
        return name in self._at or not self._only(name) or not self.directories

    def path(self, name: str) -> Path:
        """Return the path of an item, existing or new. Raise BrokenRecord if it is outside of the
        directory, for instance because of a link."""
        return inside(self.directory(name), f"{name}{self.suffix}")

    def directory(self, name: str) -> Path:
        """Return the directory of an item, or of a new one."""
        return self._at[name][0] if name in self._at else self.into

    def note(self, name: str, **line) -> None:
        """Append a line to the ledger in the item's directory."""
        self.ledger.append(self.directory(name), {"item": name, **line})

    def as_left(self, name: str) -> bool:
        """Return whether the file still has the size and mtime that a script left it with."""
        known = self.ledger.known.get(name, UNKNOWN)
        return (known.size, known.mtime_ns) == self.stamp(name)

    def set_aside(self, name: str) -> Path:
        """Copy an item to _replaced/ under a new name; return the copy's path."""
        return layouts.set_aside(self.path(name))

    def remove(self, name: str) -> None:
        """Delete an item."""
        path = self.path(name)
        if self.places:
            shutil.rmtree(path)
        else:
            path.unlink()
        self._at.pop(name)

    def _take_place(self, name: str, directory: Path, stat) -> None:
        """Note that an item is now in a directory, with this size and mtime."""
        with self._lock:
            self._at[name] = directory, stat.st_size, stat.st_mtime_ns
            self._facts.pop(name, None)
            self._others.discard(name)


class Store(Listing):
    """Read and write the items of a directory, with digests by field."""

    def failed(self, stage: str, name: str):
        """Return the stage's last attempt if it failed and no user has edited the record since;
        else None."""
        failed = self.ledger.failed.get((stage, name))
        is_edited = failed and name in self._at and not self.placed(stage, name)
        return None if is_edited else failed

    def placed(self, stage: str, name: str, fields: Iterable[str] = ()) -> LastAttempt | None:
        """Return the stage's newest successful attempt whose `fields` are on disk unchanged, or
        None. `fields` are by default all fields that the attempt wrote. A later attempt may have a
        ledger line but no record on disk, since the line is written first."""
        made, now = self.ledger.succeeded.get((stage, name)), self.facts(name).digests
        while made and any(now.get(f) != made.wrote.get(f) for f in fields or made.wrote):
            made = made.before
        return made

    def facts(self, name: str) -> FileState:
        """Return the digests of an item. Take them from the ledger if it describes the file's
        current version."""
        if name in self._others:
            self.read(name)   # raise the reason, if the item's kind cannot be read
            raise BrokenRecord(f"is there already, and is not a task of the kind {self.kind!r}.",
                               str(self.path(name)), "Rename one of the two.")
        if self.as_left(name):
            return self.ledger.known[name]
        if name not in self._facts:
            record = self.read(name)
            self._facts[name] = FileState(record.instance_id, digests_of(record),
                                          *self.stamp(name))
        return self._facts[name]

    def read(self, name: str):
        """Return a record from disk. Raise BrokenRecord if the file holds no valid record."""
        path = self.path(name)
        data, path = self._load(path), str(path)
        record = parse(self.cls, data, path, "Restore the field, or delete the file and run again.")
        if not self.places:
            try:
                to_json(data)   # raise TypeError if a user's additions cannot be written again
            except TypeError as e:
                raise BrokenRecord(f"cannot be written again: {e}.", path,
                                   "Correct that text.") from e
        if getattr(self.cls, "named_by_id", False) and record.instance_id != name:
            raise BrokenRecord(f"is the record of {record.instance_id!r}.", path,
                               "Rename the file, or correct its instance_id.")
        return record

    def _load(self, path: Path) -> dict:
        if self.places:
            return self.cls.completed(layouts.load_folder(path, self.places))
        return layouts.load(path)

    def put(self, name: str, record, owned: tuple[str, ...]) -> FileState:
        """Write a record by begin(), sync() and place(); return its state on disk."""
        change = self.begin(name, record, owned)
        state = self.sync(change)
        change.place()
        return state

    def begin(self, name: str, record, owned: tuple[str, ...], keep_edits: bool = True) -> Change:
        """Draft an item with the `owned` fields of `record`. All other fields of an existing file
        stay.

        With `keep_edits`, raise ItemFailed if an owned field was edited since open().
        """
        path, values = self.path(name), values_of(record)
        if name in self._at:   # find it also if a user has moved it to another shard since open()
            moved = (directory / path.name for directory in self.directories)
            path = next(filter(Path.exists, (path, *moved)), path)
        seen = layouts.stamp_of(path)
        data = values
        if seen:
            data = self._load(path)
            now = self._parsed(data, path)
            if self.kind and now.kind != self.kind:
                raise ItemFailed(f"is not a task of the kind {self.kind!r}.", str(path),
                                 "Something else has this name: rename it.")
            before = self._facts.get(name) or self.ledger.known.get(name, UNKNOWN)
            if keep_edits and self.stamp(name) != seen and any(
                    field in owned for field, _ in
                    digests_of(now).items() - before.digests.items()):
                raise ItemFailed("was edited while its answer was made: the edit is kept.",
                                 str(path), f"To replace it: --force --only {name}")
            data = {field: value for field, value in data.items() if field not in owned}
            data |= {field: values[field] for field in owned if field in values}
        assert not self.kind or self.cls.completed(data)["kind"] == self.kind, "a maker's slip"
        digests = digests_of(self._parsed(data, path))
        if self.places:
            draft = layouts.FolderDraft(
                path, {place: data[field] for field, place in self.places.items()
                       if not (seen and owned) or field in owned}, self.kind)
        else:
            draft = layouts.Draft(path, self._to_bytes(path, data))
        return Change(name, draft, FileState(record.instance_id, digests),
                      self.external_edits(name, digests, owned), seen)

    def sync(self, change: Change) -> FileState:
        """Flush a draft; return its state on disk after place()."""
        stat, name, state = change.draft.sync(), change.name, change.state
        state.size, state.mtime_ns = stat.st_size, stat.st_mtime_ns
        self._take_place(name, change.draft.path.parent, stat)
        return state

    def _parsed(self, data, path: Path):
        return parse(self.cls, data, str(path), "It was edited while the script ran.")

    def _to_bytes(self, path: Path, data: dict) -> bytes:
        own = {f.name for f in fields(self.cls)}
        if own >= data.keys():
            return to_json(data)
        # use json: orjson rounds long numbers, and a user's additions must stay unchanged
        added = {f: layouts.fragment(json.dumps(value, indent=2, ensure_ascii=False).encode())
                 for f, value in json.loads(read_bounded(path)).items() if f not in own}
        return to_json(data | added)

    def external_edits(self, name: str, digests: dict[str, str], owned) -> dict[str, str]:
        """Return {field: digest} of fields outside `owned` that differ from the ledger, and of all
        fields that are gone, whose digest is ""."""
        then = self.ledger.known.get(name, UNKNOWN).digests
        others = {*then, *digests} - {*owned} | then.keys() - digests.keys()
        return {f: digests.get(f, "") for f in sorted(others) if then.get(f) != digests.get(f)}


@dataclasses.dataclass
class Change:
    """Hold an item that is being written. Its ledger line is written after Store.sync() and before
    place(). A kill before the line leaves the earlier record and the kept replies."""

    name: str
    draft: layouts.Draft | layouts.FolderDraft
    state: FileState              # digests of the new version
    external: dict[str, str]      # result of external_edits()
    seen: layouts.Stamp | None  # stamp of the version on disk at begin(); None: there was none

    def place(self) -> None:
        """Put the item in place. If it was edited since begin(), copy the edited version to
        _replaced/."""
        path = self.draft.path
        if layouts.stamp_of(path) not in (None, self.seen):
            say(f"{path} was edited while it was made again: that version is now "
                f"{layouts.set_aside(path)}")
        self.draft.place()


@dataclasses.dataclass(eq=False)
class Derived(StaysInDriver):
    """Hold records made from the items of another store. One item gives any number of records.

    If make() raises BrokenRecord, the item is broken; covers() then accepts all names that may
    belong to the item. To report only one record as broken, make() returns a BrokenRecord in its
    place.
    """

    # number of items whose records stay cached; few are enough, since workers go through the items
    # in order
    KEPT_ITEMS = 2

    # the store of the items, or a function that returns their Readers
    source: Any
    # make(name of an item, its record) returns {name: record}
    make: Callable[[str, Any], dict[str, Any]]
    # the items' directory, for messages; by default the directory of `source`
    place: str = ""
    # stores that make() reads, too: open() opens them first
    also_reads: Iterable = ()
    # returns the names of an item's records without reading the item; the facts of each record are
    # then the item's facts
    names_of: Callable[[str], Iterable[str]] | None = None
    # returns the facts of a record
    facts_of: Callable[[Any], Any] = facts_of
    # choose({name: facts}) returns the names of the records to work on, in order
    choose: Callable[[dict[str, Any]], Iterable[str]] = list
    # covers() also accepts names that this function accepts
    keeps: Callable[[str], bool] = lambda name: False
    # whether the names of records are <item>.<part>
    derived: bool = True

    def __post_init__(self):
        self.place = self.place or f"{self.source.cls.directory}/"

    def open(self) -> Derived:
        """List the names and facts of all records; return self. Unless `names_of` is given, make
        every record to learn its name and facts."""
        self._store = None if callable(self.source) else self.source
        stores = [store.open() for store in (*self.also_reads, *filter(None, [self._store]))]
        self.broken: list[BrokenRecord] = [e for store in stores for e in store.broken]
        self.unread = set()   # names of broken items
        self.ledger = self._store.ledger if self._store else Ledger()
        self._reads = self.source() if callable(self.source) else {
            item: partial(self._store.read, item) for item in self._store.names()}
        # with `names_of`, items may change during the run, so do not cache their records
        self._made = self._read if self.names_of else lru_cache(self.KEPT_ITEMS)(self._read)
        items = {}   # {name of a record: its item}
        facts: dict[str, Any] = {}
        for item in self._reads:
            try:
                its_facts = self._facts_in(item)
            except BrokenRecord as e:
                self.broken.append(e)
                self.unread.add(item)
                continue
            facts |= its_facts
            items |= dict.fromkeys(its_facts, item)
        self._index = {name: (items[name], facts[name]) for name in self.choose(facts)}
        return self

    def _facts_in(self, item: str) -> dict[str, Any]:
        if self.names_of:
            return dict.fromkeys(self.names_of(item))
        return {name: None if isinstance(record, BrokenRecord) else self.facts_of(record)
                for name, record in self._made(item).items()}

    def _read(self, item: str) -> dict[str, Any]:
        return self.make(item, self._reads[item]())

    def names(self, wants=None):
        """Return the names of the records, in the order of work."""
        return self._index.keys()

    def __contains__(self, name: str) -> bool:
        return name in self._index

    def covers(self, name: str) -> bool:
        """Return whether `name` is a record, `keeps` accepts it, or a broken item may have it."""
        return name in self._index or self.keeps(name) or any(
            not item or f"{name}.".startswith(f"{item}.") for item in self.unread)

    def facts(self, name: str):
        """Return the digests of a record; make it again only if they are not known."""
        item, facts = self._index[name]
        if self.names_of and self._store.as_left(item):
            return self._store.facts(item)
        return facts or self.facts_of(self.read(name))

    def as_left(self, name: str) -> bool:
        """Return whether open() made the record and keeps its digests."""
        return self._index[name][1] is not None

    def read(self, name: str):
        """Return a record. Raise BrokenRecord if it can no longer be made."""
        item, _ = self._index[name]
        record = self._made(item).get(name, BrokenRecord(
            "has changed since.", f"{self.place}{item} ({name})", "Run again."))
        if isinstance(record, BrokenRecord):
            raise record
        return record

    def failed(self, stage: str, name: str):
        """Return the stage's last attempt at the record's item if the attempt failed, else None."""
        return self._store and self._store.failed(stage, self._index.get(name, [name])[0])


def all_readable(root: Path, cls: type, kind: str = "") -> list:
    """Return all readable records of a class without shards, or of one kind in it."""
    files = (root / cls.directory).glob("[!_.]*")
    # do not open() the store, which takes half the time of reading
    records = (known_in(root, cls, name.removesuffix(".json"))
               for name in sorted((file.name for file in files), key=natural))
    return [record for record in records if record and (not kind or record.kind == kind)]


def known(view: Derived | Store, name: str) -> Any:
    """Return a record of an open Store or Derived; None if it is missing or broken."""
    with suppress(BrokenRecord):
        return view.read(name) if name in view else None
    return None


@in_driver
def known_in(root: Path, cls: type, name: str) -> Any:
    """Return a record of a root; None if it is missing or broken."""
    with suppress(BrokenRecord):
        return Store(root, cls).read(name)   # do not open() it, which would list the directory
    return None


@in_driver
def put_in(root: Path, record: Any, name: str) -> None:
    """Write a record into a root, without a line in the ledger."""
    write_atomic(Store(root, type(record)).path(name), to_json(vars(record)))


class Lists(Listing):
    """Hold files that are lists of records. Each entry of a list is an item, with the name
    <file stem>_<order>."""

    # number of parsed files to cache; few are enough, since workers go through the items in order
    KEPT_FILES = 4

    def __init__(self, root: Path, cls):
        super().__init__(root, cls)
        self._entries = {}   # {stem: {name: digests}}
        self._forgotten = set()   # names of entries without facts
        self._broken_names = set()
        self.broken_stems = set()
        # drop the errors here, since open() has already reported them
        self._read_file = lru_cache(self.KEPT_FILES)(partial(self._parse_file, broken=[]))

    group_of = staticmethod(str)

    def load(self, wants: Wants | None = None) -> None:
        """Read the ledger's lines and the entries of the files that wants("<stem>_") accepts."""
        of_files = wants and (lambda stem: wants(f"{stem}_"))
        super().load(of_files)
        for stem in super().names(of_files):
            if self.as_left(stem) and stem in self.ledger.entries:
                entries = self.ledger.entries.pop(stem)
                self._entries[stem] = {
                    name: FileState(sys.intern(instance_id), digests)
                    for order, instance_id, digests in sorted(entries, key=itemgetter(0))
                    if (name := sys.intern(f"{stem}_{order}")) and (not wants or wants(name))}
                continue
            try:
                self._take_records(stem, self._parse_file(stem, self.broken).values())
            except BrokenRecord as e:
                self.broken.append(e)
                self.broken_stems.add(stem)

    def forget(self, names: set[str]) -> None:
        """Forget the facts about entries. Keep the set `names` itself, not a copy."""
        self._forgotten = names
        for stem, entries in self._entries.items():
            self._entries[stem] = {name: facts for name, facts in entries.items()
                                   if name not in names}

    def _take_records(self, stem: str, records: Iterable) -> None:
        its_entries = self._entries[stem] = {}
        for record in sorted(records, key=attrgetter("order")):
            digests = digests_of(record)
            del digests["order"]
            its_entries[f"{stem}_{record.order}"] = FileState(record.instance_id, digests)

    def _parse_file(self, stem: str, broken: list[BrokenRecord]) -> dict[str, object]:
        """Return {item name: record} of a file's valid entries. Add an error to `broken` for each
        other entry."""
        path = self.path(stem)
        data = layouts.load(path)
        if not isinstance(data, list):
            raise BrokenRecord(f"is not a list of {self.cls.__name__}s.", str(path),
                               "Put [ and ] around its entries.")
        records = {}
        for i, (order, entry) in enumerate(_numbered(data, path)):
            name = f"{stem}_{order}"
            try:
                records[name] = self._parse_entry(entry, name, order, f"{path}[{i}]")
            except BrokenRecord as e:
                self._broken_names.add(name)
                broken.append(e)
        return records

    def _parse_entry(self, entry, name: str, order: int, where: str):
        if isinstance(entry, dict):
            entry = {**entry, "order": order}
        record = parse(self.cls, entry, where, "Restore the field, or delete the entry.")
        if not (safe_name(record.instance_id) and safe_name(name)):
            raise BrokenRecord("has an instance_id or order that is refused as a file name: "
                               f"{record.instance_id[:80]!r}.", where, layouts.NAMES)
        return record

    def stems(self) -> list[str]:
        """Return the names of the files in natural order."""
        return super().names()

    def names(self, wants: Wants | None = None) -> list[str]:
        """Return the names of the entries that wants() accepts: by file in natural order, then by
        number. By default all, with forgotten ones at the end."""
        names = filter(wants, itertools.chain(*self._entries.values()))
        return [*names] if wants else [*names, *self._forgotten]

    def facts(self, name: str) -> FileState:
        """Return the digests of an entry."""
        return self._entries[self.stem_of(name)][name]

    def read(self, name: str):
        """Return an entry. Raise BrokenRecord if it is gone since the run began."""
        stem = self.stem_of(name)
        with self._lock:   # one thread parses, the others wait for its result
            record = self._read_file(stem).get(name)
        if record is None:
            raise BrokenRecord("is gone or broken since the run began.",
                               f"{self.path(stem)} ({name})", "Run again.")
        return record

    def covers(self, name: str) -> bool:
        """Return whether `name` is an entry, or may be one of a file that cannot be read."""
        stem = self.stem_of(name)
        return (name in self._entries.get(stem, ()) or name in self._broken_names
                or stem in self.broken_stems)

    def names_in(self, stem: str) -> list[str]:
        """Return the names of the entries of one file."""
        return list(self._entries.get(stem, ()))

    def is_edited(self, stem: str) -> bool:
        """Return whether a file's content differs from the ledger's digest of it."""
        if self.as_left(stem):
            return False
        try:
            data = layouts.load(self.path(stem))
        except BrokenRecord:
            return True
        return self.ledger.known[stem].digests.get("entries") != digest(data)

    def adopt(self, stem: str, **line) -> None:
        """Write the ledger line of an existing file that has none."""
        self._note_file(stem, layouts.load(self.path(stem)), line)

    def put_file(self, stem: str, records: list, **line) -> None:
        """Write one list file and its ledger line."""
        data = [*map(values_of, records)]
        self._take_place(stem, self.path(stem).parent, write_atomic(self.path(stem), to_json(data)))
        self._take_records(stem, records)
        self._read_file.cache_clear()
        self._note_file(stem, data, line)

    def _note_file(self, stem: str, data: list, line: dict) -> None:
        size, mtime_ns = self.stamp(stem)
        entries = [[int(name.rpartition("_")[2]), facts.instance_id, facts.digests]
                   for name, facts in self._entries[stem].items()]
        self.note(stem, wrote={"entries": digest(data)}, size=size, mtime_ns=mtime_ns,
                  entries=entries, **line)


def _numbered(data: list, path: Path) -> list[tuple[int, object]]:
    """Return (order, entry) of each entry. An entry without an order gets the next free number.

    Raise BrokenRecord if an order occurs twice.
    """
    orders = [_order_of(entry) for entry in data]
    n_uses = Counter(filter(None, orders))
    if twice := sorted(order for order, n in n_uses.items() if n > 1):
        raise BrokenRecord(f"has `order` {', '.join(map(str, twice))} more than once.", str(path),
                           "Give each entry a number of its own, or none to the new ones.")
    free = itertools.count(max([0, *n_uses]) + 1)
    return [(order or next(free), entry) for order, entry in zip(orders, data, strict=True)]


def _order_of(entry) -> int:
    order = entry.get("order") if isinstance(entry, dict) else 0
    return order if type(order) is int and order > 0 else 0


def shards_of(directory: Path) -> list[Path]:
    """Return the directory and its shards NAME_0, NAME_1, … next to it."""
    beside = directory.parent.iterdir() if directory.parent.is_dir() else ()
    shard = re.compile(re.escape(directory.name) + r"_\d+")
    return [directory, *(path for path in beside if shard.fullmatch(path.name))]


def remove_half_written(directories: list[Path]) -> None:
    """Remove the half-written files of killed processes. The caller must hold the locks of the
    directories. Skip folders inside them that have their own lock."""
    for directory in directories:
        within = (path for path in directory.glob("_*/_tmp.*")
                  if not (path.parent.is_symlink() or path.with_name("_lock").exists()))
        for left in (*directory.glob("_tmp.*"), *within):
            if left.is_dir() and not left.is_symlink():   # an unfinished clone of a repository
                shutil.rmtree(left)
            else:
                left.unlink(missing_ok=True)
