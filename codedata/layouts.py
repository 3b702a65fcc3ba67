"""The ways in which an item lies on disk. A layout is a value that is given to Store.

JsonFile    a file with one JSON object, sorted and indented, so that an edit is a one-line diff
JsonLines   a file with one line for each entry of a field, which grows line by line
ListFile    a file with a list of entries, each an item of its own with a number (Lists)
Folder      a folder of files, which is built under _tmp/ and put in place in one step

Files are written to a temporary name in the same directory, flushed and renamed; folders are
exchanged. So a kill leaves the old item or the new one.
"""
from __future__ import annotations

import ctypes
import hashlib
import itertools
import json
import os
import secrets
import shutil
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import orjson

from codedata.bounded import read_bounded
from codedata.errors import BrokenRecord
from codedata.ledger import disk_trouble, to_line
from codedata.records import safe_name

NAMES = ("Names are up to 200 letters, digits, `.`, `_` and `-`, and do not start with `.` or "
         "`_`.")
RUN = secrets.token_hex(4)   # in temporary names: machines that share a root have equal pids
NEW, OLD = "_tmp", "old."    # folder for new folders; prefix of a folder that is being replaced
MAX_SYNCS = 8                # files flushed in parallel, as each waits for the disk
EXCHANGE, HERE = 2, -100     # Linux's RENAME_EXCHANGE and AT_FDCWD


def to_json(data) -> bytes:
    """Return a record as it lies on disk: sorted and indented."""
    return orjson.dumps(
        data, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def write_atomic(path: Path, data: bytes) -> os.stat_result:
    """Put `data` at `path` whole or not at all; return its stat. A full disk ends the run."""
    tmp = f"{path.parent}/_tmp.{RUN}.{threading.get_ident()}"
    try:
        fd = _open_making_folders(tmp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
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


def _open_making_folders(path: str, flags: int) -> int:
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags, 0o666)


@dataclass(frozen=True)
class JsonFile:
    """Keep an item as one JSON object: <name>.json."""

    suffix = ".json"

    def names(self, directory: Path, broken: list[BrokenRecord]) -> Iterator[tuple]:
        """Yield (name, stat) of each item of a directory.

        What has a refused name, or cannot be looked at, goes to `broken`.
        """
        for entry in sorted(os.scandir(directory), key=lambda e: e.name):
            name = entry.name.removesuffix(self.suffix)
            if entry.name[0] in "_." or not self._is_item(entry):
                continue
            if not safe_name(name):
                broken.append(BrokenRecord("has a name that is refused.", entry.path, NAMES))
                continue
            try:
                yield sys.intern(name), self.stat(entry)
            except OSError as e:
                broken.append(BrokenRecord(f"cannot be read: {e.strerror}.", entry.path,
                                           "Mend or delete it."))

    def _is_item(self, entry: os.DirEntry) -> bool:
        return entry.name.endswith(self.suffix)

    def stat(self, path) -> os.stat_result:
        """Return the size and mtime by which a change of the item is noticed."""
        return path.stat()

    def load(self, path: Path):
        """Return the JSON value of an item. Raise BrokenRecord if it is not readable."""
        try:
            return self._parsed(read_bounded(path), path)
        except FileNotFoundError as e:
            raise BrokenRecord("is gone.", str(path),
                               "It was there a moment ago: run again.") from e
        except (ValueError, LookupError, TypeError, RecursionError, OSError) as e:
            raise BrokenRecord(f"is not readable {self._content}: {e}", str(path),
                               "Mend it, or delete it and run again.") from e

    _content = "JSON"

    def _parsed(self, raw: bytes, path: Path):
        try:
            return orjson.loads(raw)
        except ValueError:
            return json.loads(raw)   # takes half characters, which parse() refuses by field

    def dump(self, data) -> bytes:
        """Return the bytes of an item's file."""
        return to_json(data)

    def put(self, path: Path, data) -> os.stat_result:
        """Write an item whole; return its stat."""
        return write_atomic(path, self.dump(data))

    def set_aside(self, path: Path) -> Path:
        """Copy an item to _replaced/ beside it, as NAME.1.json, NAME.2.json, …; return the copy."""
        copy = free_name(path, self.suffix)
        write_atomic(copy, read_bounded(path))
        return copy

    def remove(self, path: Path) -> None:
        """Delete an item."""
        path.unlink()


@dataclass(frozen=True)
class JsonLines(JsonFile):
    """Keep an item's entries one a line: <name>.jsonl. Its record is {instance_id, field}."""

    field: str

    suffix = ".jsonl"
    _content = "JSON lines with instance_id"

    def _parsed(self, raw: bytes, path: Path) -> dict:
        entries = [json.loads(line) for line in raw.splitlines() if line.strip()]
        return {"instance_id": entries[0]["instance_id"], self.field: entries}

    def dump(self, data: dict) -> bytes:
        """Return the lines of an item's file."""
        return b"".join(map(to_line, data[self.field]))


@dataclass(frozen=True)
class ListFile(JsonFile):
    """Keep many items in one file: a list, in which `number` is the field of an item's number."""

    number: str

    def numbered(self, data: list, path: Path) -> list[tuple[int, object]]:
        """Return (number, entry) of each entry; those without a number get the next free ones.

        Raise BrokenRecord if a number stands twice.
        """
        numbers = [self._number(entry) for entry in data]
        given = sorted(number for number in numbers if number)
        if twice := sorted({a for a, b in pairwise(given) if a == b}):
            raise BrokenRecord(
                f"has `{self.number}` {', '.join(map(str, twice))} more than once.", str(path),
                "Give each entry a number of its own, or none to the new ones.")
        free = itertools.count(max([0, *given]) + 1)
        return [(number or next(free), entry)
                for number, entry in zip(numbers, data, strict=True)]

    def _number(self, entry) -> int:
        number = entry.get(self.number) if isinstance(entry, dict) else 0
        return number if type(number) is int and number > 0 else 0


@dataclass(frozen=True)
class Folder(JsonFile):
    """Keep an item as a folder of files. Its record is {instance_id, files: {path: SHA-256}}.

    put() takes a folder that was built under <directory>/_tmp/; `ignored` names files that do not
    count for the digests, such as a manifest that holds them.
    """

    ignored: tuple[str, ...] = ()

    suffix = ""

    def _is_item(self, entry: os.DirEntry) -> bool:
        return entry.is_dir(follow_symlinks=False)

    def stat(self, path) -> os.stat_result:
        """Return the folder's stat with the size of all files and the newest mtime of all."""
        stats = [os.stat(path), *(os.lstat(one) for one in Path(path).rglob("*"))]
        newest = max(stats, key=lambda stat: stat.st_mtime_ns)
        values = list(newest)
        values[6] = sum(stat.st_size for stat in stats)
        return os.stat_result(values, {"st_mtime_ns": newest.st_mtime_ns})

    def load(self, path: Path) -> dict:
        """Return the digests of an item's files."""
        if not path.is_dir():
            raise BrokenRecord("is gone.", str(path), "It was there a moment ago: run again.")
        return {"instance_id": path.name, "files": self.digests(path)}

    def digests(self, folder: Path) -> dict[str, str]:
        """Return {relative path: SHA-256 in hex} of all files but the ignored ones, sorted."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        names = {str(path.relative_to(folder)): path for path in paths}
        return {name: _file_sha256(path) for name, path in names.items()
                if name not in self.ignored}

    def sha256(self, path: Path) -> str:
        """Return the SHA-256 in hex of a file, or of a folder's digests."""
        if path.is_file():
            return _file_sha256(path)
        digests = orjson.dumps(self.digests(path), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(digests).hexdigest()

    def put(self, path: Path, data) -> os.stat_result:
        """Move the folder `data` to `path`, in one exchange with what is there; return its stat.

        On a file system that cannot exchange folders, a kill between two renames leaves none;
        clear_up() then restores the old one.
        """
        built = Path(data)
        _sync(built)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            built.rename(path)
            return self.stat(path)
        old = built
        if not _exchange(built, path):
            old = path.rename(built.with_name(OLD + path.name))
            built.rename(path)
        shutil.rmtree(old)
        return self.stat(path)

    def set_aside(self, path: Path) -> Path:
        """Copy an item to _replaced/ beside it, as NAME.1, NAME.2, …; return the copy."""
        copy = free_name(path, "")
        shutil.copytree(path, copy)
        return copy

    def remove(self, path: Path) -> None:
        """Delete an item."""
        shutil.rmtree(path)

    @staticmethod
    def clear_up(directory: Path) -> None:
        """Remove what killed runs left, and restore a folder that was being replaced.

        The caller holds the directory.
        """
        for old in (directory / NEW).glob(f"{OLD}*"):
            place = directory / old.name.removeprefix(OLD)
            if not place.exists():   # a run was killed between two renames
                old.rename(place)
        shutil.rmtree(directory / NEW, ignore_errors=True)


def _file_sha256(path: Path) -> str:
    hasher = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            hasher.update(part)
    return hasher.hexdigest()


def free_name(path: Path, suffix: str) -> Path:
    """Return the first free path of _replaced/NAME.1, NAME.2, … beside a file or folder."""
    aside = path.parent / "_replaced"
    aside.mkdir(exist_ok=True)
    stem = path.name.removesuffix(suffix)
    copies = (aside / f"{stem}.{n}{suffix}" for n in itertools.count(1))
    return next(copy for copy in copies if not copy.exists())


def _exchange(a: Path, b: Path) -> bool:
    """Swap the names of two folders in one step. Return False if the system cannot do it."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    return rename(HERE, os.fsencode(a), HERE, os.fsencode(b), EXCHANGE) == 0


def _sync(folder: Path) -> None:
    """Flush a folder and its files to disk, so that a power cut leaves no truncated file."""
    def flush(path: Path) -> None:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    with ThreadPoolExecutor(MAX_SYNCS) as pool:
        list(pool.map(flush, (*folder.rglob("*"), folder)))
