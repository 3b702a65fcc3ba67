"""Directories of records: atomic writes, digests by field, and what is known without opening a file.

`Store` is one file a record (answer/, commit/), over all shards of the directory. `Lists` is files that each hold a
list of records (prompt/). Both give names(), facts(name), read(name) and `broken`. A record is written to a temporary
file in the same directory, synced and renamed, so a kill leaves the old record or the new one.
"""
from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
import re
import secrets
import socket
import sys
import threading
from collections import Counter
from dataclasses import fields
from pathlib import Path

import orjson

from codedata.bounded import open_appending, read_bounded
from codedata.errors import BrokenRecord, ItemFailed, Trouble
from codedata.ledger import PARTIAL, FileState, Ledger, disk_trouble, to_line
from codedata.records import parse, safe_name
from codedata.texts import natural, printable

NAMES = "Names are up to 200 letters, digits, `.`, `_` and `-`, and do not start with `.` or `_`."
RUN = secrets.token_hex(4)   # in temporary names: process numbers are the same on many machines that share a root
NULLABLE = "float | None"
def digest(value) -> str:
    """16 hex digits of a JSON value: equal values, equal digests, whatever the order of their keys."""
    try:
        data = value.encode() if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, UnicodeEncodeError):   # half a character, or nested deeper than orjson goes
        data = json.dumps(value, sort_keys=True).encode()
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def digests_of(record) -> dict[str, str]:
    """{field: digest} of a record; a text that is null has none, as it is not there yet. A number may be null."""
    return {f.name: digest(value) for f in fields(record)
            if (value := getattr(record, f.name)) is not None or f.type == NULLABLE}


def write_atomic(path: Path, data: bytes) -> os.stat_result:
    """Put `data` at `path` whole or not at all; returns its stat. Full disks and the like end the run."""
    tmp = f"{path.parent}/_tmp.{RUN}.{threading.get_ident()}"
    try:
        fd = open_making_folders(tmp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view):]
            os.fsync(fd)   # before the rename: a power cut must not leave a name without its bytes
            stat = os.fstat(fd)
        finally:
            os.close(fd)
        os.replace(tmp, path)
    except OSError as e:
        try:
            os.unlink(tmp)
        except OSError:
            pass
        raise disk_trouble(e, path) from e
    return stat


def to_json(data) -> bytes:
    """Return a record as it stands on disk: sorted and indented, so that an edit is a one-line diff."""
    return orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def _load_json(path: Path):
    try:
        raw = read_bounded(path)
        try:
            return orjson.loads(raw)
        except ValueError:
            return json.loads(raw)   # it bears half characters, which a list's other entries need not suffer for
    except FileNotFoundError as e:
        raise BrokenRecord("is gone.", str(path), "It was there a moment ago: run again.") from e
    except (ValueError, RecursionError, OSError) as e:
        raise BrokenRecord(f"is not readable JSON: {e}", str(path), "Mend it, or delete it and run again.") from e


def _load_lines(path: Path, field: str) -> dict:
    """Return a record that is kept one entry a line: {instance_id, field: entries}."""
    try:
        entries = [json.loads(line) for line in read_bounded(path).splitlines() if line.strip()]
        return {"instance_id": entries[0]["instance_id"], field: entries}
    except FileNotFoundError as e:
        raise BrokenRecord("is gone.", str(path), "It was there a moment ago: run again.") from e
    except (ValueError, LookupError, TypeError, RecursionError, OSError) as e:
        raise BrokenRecord(f"is no JSON lines with instance_id: {e}", str(path), "Mend it, or delete it.") from e


def json_files(directory: Path, broken: list[BrokenRecord], suffix: str = ".json"):
    """(name, stat) of each record file; what has no usable name, or cannot be looked at, goes to `broken`."""
    for entry in sorted(os.scandir(directory), key=lambda e: e.name):
        if not entry.name.endswith(suffix) or entry.name[0] in "_.":
            continue
        name = entry.name[:-len(suffix)]
        if not safe_name(name):
            broken.append(BrokenRecord("has a name that is refused.", entry.path, NAMES))
            continue
        try:
            yield sys.intern(name), entry.stat()
        except OSError as e:
            broken.append(BrokenRecord(f"cannot be read: {e.strerror}.", entry.path, "Mend or delete it."))


class Store:
    """One file a record. New records go to `into` (a directory's name); old ones stay where they are."""

    def __init__(self, root: Path, cls, into: str | None = None):
        self.root, self.cls = Path(root), cls
        self._lines = getattr(cls, "lines", "")
        self.suffix = ".jsonl" if self._lines else ".json"
        self.into = self.root / (into or cls.directory)
        self.broken: list[BrokenRecord] = []
        self.ledger: Ledger | None = None
        self.directories: list[Path] = []
        self._at: dict[str, tuple[Path, int, int]] = {}   # name → directory, size, mtime_ns when last looked at
        self._facts: dict[str, FileState] = {}
        self._lock = threading.Lock()

    def open(self) -> Store:
        """Look at what is there. Call it once, after the directory's lock is taken: what another process wrote counts.
        """
        twice, self.directories = [], self._directories()
        self.ledger = Ledger(*self.directories)
        for directory in self.directories:
            for name, stat in json_files(directory, self.broken, self.suffix):
                if name in self._at:
                    twice.append(f"{self._at[name][0].name}/{name}.json and {directory.name}/{name}.json")
                else:
                    self._at[name] = directory, stat.st_size, stat.st_mtime_ns
        if twice:
            raise Trouble("stand in two directories: " + ", ".join(sorted(twice)[:5]), str(self.root),
                          "Keep one of each, delete the other.")
        return self

    def _directories(self) -> list[Path]:
        found = [self.root / self.cls.directory]
        if getattr(self.cls, "sharded", False):
            found = shards_of(found[0])
        check_directories(found)
        return sorted((p for p in found if p.exists()), key=lambda p: natural(p.name))

    def names(self) -> list[str]:
        """Return the names of all records in natural order."""
        return sorted(self._at, key=natural)

    def __contains__(self, name: str) -> bool:
        return name in self._at

    def path(self, name: str) -> Path:
        """Return where a record is, or where a new one goes."""
        return (self._at[name][0] if name in self._at else self.into) / f"{name}{self.suffix}"

    def _load(self, path: Path):
        return _load_lines(path, self._lines) if self._lines else _load_json(path)

    def _dump(self, data: dict) -> bytes:
        return b"".join(map(to_line, data[self._lines])) if self._lines else to_json(data)

    def note(self, name: str, **line) -> None:
        """Append a line to the ledger beside the record."""
        self.ledger.append(self.path(name).parent, item=name, **line)

    def failed(self, stage: str, name: str):
        """Return the stage's last attempt at `name` where it failed and the record was not mended since, else None."""
        failed, made = self.ledger.failed.get((stage, name)), self.ledger.succeeded.get((stage, name))
        if failed and name in self._at:
            there = self.facts(name).digests
            if made is None or any(there.get(f) != d for f, d in made.wrote.items()):
                return None
        return failed

    def facts(self, name: str) -> FileState:
        """Digests by field. From the ledger where size and mtime are as a script left them, else by reading."""
        if self.as_left(name):
            return self.ledger.known[name]
        if name not in self._facts:
            _, size, mtime_ns = self._at[name]
            record = self.read(name)
            self._facts[name] = FileState(record.instance_id, digests_of(record), size, mtime_ns)
        return self._facts[name]

    def as_left(self, name: str) -> bool:
        """True where the file is as a script left it, by size and mtime."""
        known = self.ledger.known.get(name)
        return known is not None and (known.size, known.mtime_ns) == self._at[name][1:]

    def read(self, name: str):
        """Return a record from disk. BrokenRecord where it is not one."""
        data = self._load(self.path(name))
        record = parse(self.cls, data, str(self.path(name)), "Restore the field, or delete the file and run again.")
        try:
            to_json(data)   # also what a person added must be such that it can be written again
        except TypeError as e:
            raise BrokenRecord(f"cannot be written again: {e}.", str(self.path(name)), "Mend that text.") from e
        if getattr(self.cls, "named_by_id", False) and record.instance_id != name:
            raise BrokenRecord(f"is the record of {record.instance_id!r}.", str(self.path(name)),
                               "Rename the file, or mend its instance_id.")
        return record

    def put(self, name: str, record, own: tuple[str, ...], keep_edits: bool = True, about_to_write=None):
        """Write the `own` fields of `record` over what is on disk now; the rest of the file stays as it is.

        Returns (FileState of what is on disk then, {field: digest} of other fields that a person had changed, "" for one
        that was taken away). An `own` field that was edited since this store looked is kept: ItemFailed.
        `about_to_write({field: digest})` is called before the rename when there is an old file.
        """
        def checked(data):
            return parse(self.cls, data, str(path), "It was edited while the script ran.")

        path, is_there = self._place(name)
        data = self._load(path) if is_there else None
        if is_there and keep_edits and self._touched(name, path):
            seen = self._facts.get(name) or self.ledger.known.get(name)
            now = digests_of(checked(data))
            if any(now.get(f) and now[f] != (seen.digests.get(f) if seen else None) for f in own):
                raise ItemFailed("was edited while its answer was made: the edit is kept.", str(path),
                                 f"To replace it: --force --only {name}")
        if is_there and not isinstance(data, dict):
            checked(data)   # says what it is
        data = {**data, **{field: getattr(record, field) for field in own}} if is_there else {
            f.name: getattr(record, f.name) for f in fields(record)}
        digests = digests_of(checked(data))
        found = self.external_edits(name, digests, own)
        if about_to_write and name in self._at:
            about_to_write({f: digests[f] for f in own if f in digests})
        mine = {f.name for f in fields(self.cls)}
        if is_there and not mine >= data.keys():   # what a person added stays to the letter: orjson rounds long numbers
            data = {**json.loads(read_bounded(path)), **{field: data[field] for field in mine & data.keys()}}
            raw = (json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
        else:
            raw = self._dump(data)
        stat = write_atomic(path, raw)
        with self._lock:
            self._at[name] = path.parent, stat.st_size, stat.st_mtime_ns
            self._facts.pop(name, None)
        return FileState(record.instance_id, digests, stat.st_size, stat.st_mtime_ns), found

    def external_edits(self, name: str, digests: dict[str, str], own: tuple[str, ...]) -> dict[str, str]:
        """{field: digest} of the fields beside `own` that are not as the ledger has them ("" for one taken away)."""
        known = self.ledger.known.get(name)
        then = known.digests if known else {}
        others = {*then, *digests} - set(own)
        return {f: digests.get(f, "") for f in sorted(others) if then.get(f) != digests.get(f)}

    def _place(self, name: str) -> tuple[Path, bool]:
        """Return where the record is or will be, and whether it is there: a person may have moved it elsewhere."""
        path = self.path(name)
        is_there = os.path.exists(path)
        if name in self._at and not is_there:
            moved = next((p for d in self.directories if (p := d / path.name).exists()), None)
            return moved or path, moved is not None
        return path, is_there

    def _touched(self, name: str, path: Path) -> bool:
        stat = path.stat()
        return self._at.get(name, (None, -1, -1))[1:] != (stat.st_size, stat.st_mtime_ns)

    def covers(self, name: str) -> bool:
        """True where `name` is there, readable or not: what was made from it is no orphan."""
        return name in self._at

    def set_aside(self, name: str) -> Path:
        """Copy the record to _replaced/ under a name of its own; returns the copy's path."""
        return copy_aside(self.path(name))

    def remove(self, name: str) -> None:
        """Delete a record."""
        self.path(name).unlink()
        self._at.pop(name)


class View:
    """Records that are made of other stores' ones, to read from: the part of a Store that Reads wants.

    A subclass has `cls`, opens its stores in open(), and gives names() and read(name).
    """

    def __init__(self):
        self.broken: list[BrokenRecord] = []

    def __contains__(self, name: str) -> bool:
        return self.covers(name)

    def covers(self, name: str) -> bool:
        """Return whether `name` is there, readable or not."""
        return name in self.names()

    def facts(self, name: str) -> FileState:
        """Return the digests of a record, which is read for it."""
        record = self.read(name)
        return FileState(record.instance_id, digests_of(record))

    def failed(self, stage: str, name: str) -> None:
        """Return None: nothing fails here, as what these records are made of is there."""


class Lists:
    """Files that each hold a list of records with `order`; an item is <file stem>_<order>."""

    KEPT_FILES = 4   # parsed files at a time: workers go through the items in order

    def __init__(self, root: Path, cls):
        self.cls, self.directory = cls, Path(root) / cls.directory
        self.broken: list[BrokenRecord] = []
        self.ledger: Ledger | None = None
        self._index: dict[str, tuple[str, FileState]] = {}    # name → stem, facts
        self._broken_names: set[str] = set()
        self.broken_stems: set[str] = set()
        self._files: dict[str, dict[str, object]] = {}    # stem → {name: record}, the last few
        self._lock = threading.Lock()
        self.stats: dict[str, os.stat_result] = {}        # stem → stat, for what writes these files

    def open(self) -> Lists:
        """Look at what is there; call it once."""
        check_directories([self.directory])
        self.ledger = Ledger(self.directory)
        found = json_files(self.directory, self.broken) if self.directory.is_dir() else []
        for stem, stat in sorted(found, key=lambda named: natural(named[0])):
            self._take(stem, stat)
        return self

    def _take(self, stem: str, stat: os.stat_result) -> None:
        self.stats[stem] = stat
        known = self.ledger.known.get(stem)
        if known and (known.size, known.mtime_ns) == (stat.st_size, stat.st_mtime_ns) and stem in self.ledger.entries:
            for order, instance_id, digests in sorted(self.ledger.entries.pop(stem), key=lambda entry: entry[0]):
                self._index[sys.intern(f"{stem}_{order}")] = stem, FileState(sys.intern(instance_id), digests)
            return
        try:
            for name, record in sorted(self._parse(stem, report=True).items(), key=lambda item: item[1].order):
                self._index[name] = stem, FileState(record.instance_id, digests_of(record))
        except BrokenRecord as e:
            self.broken.append(e)
            self.broken_stems.add(stem)

    def _parse(self, stem: str, report: bool = False) -> dict[str, object]:
        """Return the good entries of a file by item name; with `report` note the broken ones, each with its fault."""
        path = self.directory / f"{stem}.json"
        data = _load_json(path)
        if not isinstance(data, list):
            raise BrokenRecord(f"is not a list of {self.cls.__name__}s.", str(path), "Put [ and ] around its entries.")
        orders = Counter(e["order"] for e in data if isinstance(e, dict) and type(e.get("order")) is int)
        if twice := sorted(order for order, n in orders.items() if n > 1 and order > 0):
            raise BrokenRecord(f"has `order` {', '.join(map(str, twice))} more than once.", str(path),
                               "Give each entry a number of its own, or none to the new ones.")
        numbers = iter(range(max([0, *orders]) + 1, max([0, *orders]) + len(data) + 1))
        records = {}
        for i, entry in enumerate(data):
            has_order = isinstance(entry, dict) and type(entry.get("order")) is int and entry["order"] > 0
            order = entry["order"] if has_order else next(numbers)
            name = f"{stem}_{order}"
            try:
                if isinstance(entry, dict):
                    entry = {**entry, "order": order}
                record = parse(self.cls, entry, f"{path}[{i}]", "Restore the field, or delete the entry.")
                if not (safe_name(record.instance_id) and safe_name(name)):
                    raise BrokenRecord(f"has an instance_id or order that is refused as a file name: "
                                       f"{record.instance_id[:80]!r}.", f"{path}[{i}]", NAMES)
                records[name] = record
            except BrokenRecord as e:
                self._broken_names.add(name)
                if report:
                    self.broken.append(e)
        return records

    def names(self) -> list[str]:
        """Return the names in natural order: by file, then by the entries' own numbers."""
        return list(self._index)

    def __contains__(self, name: str) -> bool:
        return name in self._index

    def facts(self, name: str) -> FileState:
        """Return the digests of an entry."""
        return self._index[name][1]

    def read(self, name: str):
        """Return an entry. BrokenRecord where it is gone since the run began."""
        stem = self._index[name][0]
        with self._lock:   # one thread parses, the others wait for its result
            records = self._files.pop(stem, None)
            if records is None:
                records = self._parse(stem)
            self._files[stem] = records
            while len(self._files) > self.KEPT_FILES:
                self._files.pop(next(iter(self._files)))
        if name not in records:
            raise BrokenRecord("is gone or broken since the run began.", f"{self.directory}/{stem}.json ({name})",
                               "Run again.")
        return records[name]

    def failed(self, stage: str, name: str):
        """Return None: the items of prompt.py are files, never single entries."""
        return None   # prompt.py's items are files, never single entries

    def covers(self, name: str) -> bool:
        """True where `name` may stand in a file that cannot be read: what was made from it is no orphan."""
        return name in self._index or name in self._broken_names or any(
            name.startswith(stem + "_") for stem in self.broken_stems)

    def names_in(self, stem: str) -> list[str]:
        """Return the names of the entries of one file."""
        return [name for name, (its, _) in self._index.items() if its == stem]

    def stem_of(self, name: str) -> str:
        """Return the stem of the file that an entry stands in."""
        return self._index[name][0]

    def edited(self, stem: str) -> bool:
        """True where a file that is there differs in content from what the ledger says was written."""
        try:
            data = _load_json(self.directory / f"{stem}.json")
        except BrokenRecord:
            return True
        made = self.ledger.known.get(stem)
        return made is None or made.digests.get("entries") != digest(data)

    def set_aside(self, stem: str) -> Path:
        """Copy a list file to _replaced/; return the path of the copy."""
        return copy_aside(self.directory / f"{stem}.json")

    def adopt(self, stem: str, **line) -> None:
        """Write the ledger line of a file that is there without one."""
        stat, names = self.stats[stem], self.names_in(stem)
        entries = [[int(name.rpartition("_")[2]), self.facts(name).instance_id, self.facts(name).digests]
                   for name in names]
        self.ledger.append(self.directory, item=stem, entries=entries, size=stat.st_size, mtime_ns=stat.st_mtime_ns,
                           wrote={"entries": digest(_load_json(self.directory / f"{stem}.json"))}, **line)

    def put(self, stem: str, records: list, **line) -> None:
        """Write one list file and its ledger line."""
        path = self.directory / f"{stem}.json"
        for name in self.names_in(stem):
            del self._index[name]
        data = [{f.name: getattr(record, f.name) for f in fields(record)} for record in records]
        stat = write_atomic(path, to_json(data))
        entries = []
        for record in records:
            found = digests_of(record)
            found.pop("order")
            entries.append([record.order, record.instance_id, found])
            self._index[f"{stem}_{record.order}"] = stem, FileState(record.instance_id, found)
        self.stats[stem] = stat
        self._files.pop(stem, None)
        self.ledger.append(self.directory, item=stem, wrote={"entries": digest(data)}, entries=entries,
                           size=stat.st_size, mtime_ns=stat.st_mtime_ns, **line)


def copy_aside(path: Path) -> Path:
    """Copy a file to _replaced/ beside it, as NAME.1.json, NAME.2.json, …"""
    folder = path.parent / "_replaced"
    folder.mkdir(exist_ok=True)
    copy = next(p for n in itertools.count(1) if not (p := folder / f"{path.stem}.{n}{path.suffix}").exists())
    write_atomic(copy, read_bounded(path))
    return copy


def open_making_folders(path, flags: int) -> int:
    """os.open(), with the folders above made where they are not there yet."""
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags, 0o666)


def check_directories(paths) -> None:
    """Raise Trouble where a file stands in the place of a directory: nothing is done then."""
    for path in paths:
        if path.exists() and not path.is_dir():
            raise Trouble("is a file where a directory should be.", str(path), "Move it away and run again.")


def shards_of(directory: Path) -> list[Path]:
    """Return the directory and its shards NAME_0, NAME_1, … beside it."""
    beside = directory.parent.iterdir() if directory.parent.is_dir() else ()
    return [directory, *(p for p in beside if re.fullmatch(re.escape(directory.name) + r"_\d+", p.name))]


def remove_half_written(directories: list[Path]) -> None:
    """Take away what killed processes left. Only for who holds the directories."""
    for directory in directories:
        for left in (*directory.glob("_tmp.*"), *directory.glob(f"{PARTIAL}/_tmp.*")):
            left.unlink(missing_ok=True)


def _open_lock(path: Path):
    return open(open_appending(path), "a+", encoding="utf-8", errors="replace")


def lock(directory: Path, shard: tuple[int, int] | None, who: str):
    """Hold `directory` (or one shard of it) for this process, till it ends however it ends; Trouble if it is held.

    Returns the open lock file. Held by whom stands in the file; the kernel frees it on any death.
    """
    check_directories([directory])
    try:
        directory.mkdir(parents=True, exist_ok=True)
        gate = _open_lock(directory / "_lock")   # taken only while the locks are looked at
        fcntl.flock(gate, fcntl.LOCK_EX)
        name = "_lock.all" if shard is None else f"_lock.{shard[0]}-of-{shard[1]}"
        for path in sorted(directory.glob("_lock.*")):
            same_split = shard is not None and path.name.endswith(f"-of-{shard[1]}")
            if path.name != name and same_split:
                continue   # another shard of the same n shares no item with this one
            with _open_lock(path) as other:
                try:
                    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    other.seek(0)
                    holder = printable(other.read(300).strip()) or "another process"
                    raise Trouble(f"is in use by {holder}.", str(directory),
                                  "Wait for it to end, stop it, or give each process its own --shard i/n.") from None
        mine = _open_lock(directory / name)
        fcntl.flock(mine, fcntl.LOCK_EX)
        mine.truncate(0)
        mine.write(f"{who} (process {os.getpid()} on {socket.gethostname()})\n")
        mine.flush()
        gate.close()
        return mine
    except OSError as e:
        what = f"could not be written: {e.strerror or e}."
        raise Trouble(what, str(e.filename or directory), "Make it writable, or make room.") from e
