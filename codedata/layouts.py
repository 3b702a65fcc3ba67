"""Put files and folders in place whole, and read items: the bytes of a store.

An item is a file: one JSON object, sorted and indented, so that an edit is a one-line diff (.json);
or, for a class with `lines`, one line for each entry of that field, which grows line by line
(.jsonl). `Folder` is a folder of files, which is built under _tmp/ and put in place in one step.

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
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import orjson

from codedata.bounded import making_folders, read_bounded
from codedata.errors import BrokenRecord
from codedata.ledger import disk_trouble, from_json
from codedata.records import safe_name

NAMES = ("Names are up to 200 letters, digits, `.`, `_` and `-`, and do not start with `.` or "
         "`_`.")
RUN = secrets.token_hex(4)   # in temporary names: machines that share a root have equal pids
NEW, OLD = "_tmp", "old."    # folder for new folders; prefix of a folder that is being replaced
MAX_SYNCS = 8                # files flushed in parallel, as each waits for the disk
EXCHANGE, HERE = 2, -100     # Linux's RENAME_EXCHANGE and AT_FDCWD
_n_files = itertools.count(1)   # in temporary names


def to_json(data) -> bytes:
    """Return a record as it lies on disk: sorted and indented."""
    return orjson.dumps(
        data, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def write_atomic(path: Path, data: bytes) -> os.stat_result:
    """Put `data` at `path` whole or not at all; return its stat. A full disk ends the run."""
    return finish(writing(path, data))


def finish(steps: Generator):
    """Return what the last of all steps returns."""
    while True:
        try:
            next(steps)
        except StopIteration as e:
            return e.value


def writing(path: Path | str, data: bytes) -> Generator[None, None, os.stat_result]:
    """Do write_atomic() in two steps: the first one has begun to put the bytes on disk, so that of
    many files that are started before one is ended the disk waits for all at once.
    """
    tmp = f"{os.path.dirname(path)}/_tmp.{RUN}.{next(_n_files)}"
    try:
        fd = making_folders(partial(os.open, mode=0o666), tmp,
                            os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view):]
            if hasattr(os, "posix_fadvise"):   # Linux begins to write what is not to be cached
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            yield
            os.fsync(fd)   # before the rename: a power cut must not leave a name without its bytes
            stat = os.fstat(fd)
        finally:
            os.close(fd)
        os.replace(tmp, path)
    except OSError as e:
        with suppress(OSError):
            os.unlink(tmp)
        raise disk_trouble(e, path) from e
    return stat


def list_items(directory: Path, suffix: str, broken: list[BrokenRecord]) -> Iterator[tuple]:
    """Yield (name, stat) of each item of a directory.

    What has a refused name, or cannot be looked at, goes to `broken`.
    """
    for entry in sorted(os.scandir(directory), key=lambda e: e.name):
        name = entry.name.removesuffix(suffix)
        if entry.name[0] in "_." or name == entry.name:
            continue
        if not safe_name(name):
            broken.append(BrokenRecord("has a name that is refused.", entry.path, NAMES))
            continue
        try:
            yield sys.intern(name), entry.stat()
        except OSError as e:
            broken.append(BrokenRecord(f"cannot be read: {e.strerror}.", entry.path,
                                       "Mend or delete it."))


def load(path: Path, lines: str = ""):
    """Return the JSON value of an item; {instance_id, `lines`: entries} of one in lines.

    Raise BrokenRecord if it is not readable.
    """
    kind = "JSON lines with instance_id" if lines else "JSON"
    try:
        raw = read_bounded(path)
        if not lines:
            return from_json(raw)
        # json, as orjson rounds long numbers that a person added
        entries = [json.loads(line) for line in raw.splitlines() if line.strip()]
        return {"instance_id": entries[0]["instance_id"], lines: entries}
    except FileNotFoundError as e:
        raise BrokenRecord("is gone.", str(path), "It was there a moment ago: run again.") from e
    except (ValueError, LookupError, TypeError, RecursionError, OSError) as e:
        raise BrokenRecord(f"is not readable {kind}: {e}", str(path),
                           "Mend it, or delete it and run again.") from e


def set_aside(path: Path) -> Path:
    """Copy a file or folder to _replaced/ beside it: NAME.1.json, NAME.2.json, …; return the copy.
    """
    suffix = "" if path.is_dir() else path.suffix
    aside = path.parent / "_replaced"
    aside.mkdir(exist_ok=True)
    copies = (aside / f"{path.name.removesuffix(suffix)}.{n}{suffix}" for n in itertools.count(1))
    copy = next(copy for copy in copies if not copy.exists())
    if path.is_dir():
        shutil.copytree(path, copy)
    else:
        write_atomic(copy, read_bounded(path))
    return copy


@dataclass(frozen=True)
class Folder:
    """Handle folders of files that are put in place whole.

    A new one is built under <directory>/_tmp/; `ignored` names files that do not count for the
    digests, such as a manifest that holds them.
    """

    ignored: tuple[str, ...] = ()

    def digests(self, folder: Path) -> dict[str, str]:
        """Return {relative path: SHA-256 in hex} of all files but the ignored ones, sorted."""
        paths = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*"))}
        return {name: _file_sha256(path) for name, path in paths.items()
                if path.is_file() and name not in self.ignored}

    def sha256(self, path: Path) -> str:
        """Return the SHA-256 in hex of a file, or of a folder's digests."""
        if path.is_file():
            return _file_sha256(path)
        digests = orjson.dumps(self.digests(path), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(digests).hexdigest()

    @staticmethod
    def put(path: Path, built: Path) -> None:
        """Move the folder `built` to `path`, in one exchange with what is there.

        On a file system that cannot exchange folders, a kill between two renames leaves none;
        clear_up() then restores the old one.
        """
        _sync(built)
        if not path.exists():
            built.rename(path)
            return
        old = built
        if not _exchange(built, path):
            old = path.rename(built.with_name(OLD + path.name))
            built.rename(path)
        shutil.rmtree(old)

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
