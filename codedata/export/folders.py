"""Write the files of a format as JSON Lines and Parquet, and replace its folder in one step.

Equal rows give equal bytes: duckdb writes with one thread, in the order of the rows. A new folder
replaces the existing one in a single exchange, so a killed run leaves either the old one or the new
one. On a file system that cannot exchange folders, a kill between the two renames leaves neither;
the next run then restores the old one.
"""
from __future__ import annotations

import ctypes
import glob
import hashlib
import itertools
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import orjson

from codedata.bounded import read_bounded
from codedata.ledger import disk_trouble

MANIFEST, CARD = "manifest.json", "README.md"
MEMORY = "2GB"                # duckdb's limit
MIN_LINE = 16 << 20         # bytes; the longest line that duckdb reads by default
GROUP_ROWS = 1000             # of a row group; readers hold one in memory at a time
NEW, OLD = "_tmp", "old."     # folder for new exports; prefix of a folder that is being replaced
AT_ONCE = 8                   # files synced in parallel, as each waits for the disk
EXCHANGE, HERE = 2, -100      # Linux's RENAME_EXCHANGE and AT_FDCWD


class RowFiles:
    """Write the rows of one split of a format; without rows no file is written.

    The files are <split>.jsonl and, with `parquet`, data/<split>-00000-of-00002.parquet and so on.
    """

    def __init__(self, folder: Path, split: str, columns: dict[str, str], shard_rows: int, parquet: bool):
        self.folder, self.split, self.columns = folder, split, columns
        self.shard_rows, self.parquet = shard_rows, parquet
        self.n_rows, self.n_bytes = 0, 0
        self._lines, self._shard, self._longest = None, None, 0
        self._shards: list[Path] = []

    def add(self, row: dict) -> None:
        """Write a row, and finish the Parquet shard when it is full."""
        line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
        if self._lines is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lines = open(self.folder / f"{self.split}.jsonl", "wb")
        if self.parquet and self._shard is None:
            self._shard = open(self.folder / f"{self.split}.shard", "wb")
        for file in filter(None, (self._lines, self._shard)):
            file.write(line)
        self.n_rows, self.n_bytes = self.n_rows + 1, self.n_bytes + len(line)
        self._longest = max(self._longest, len(line))
        if self.parquet and self.n_rows % self.shard_rows == 0:
            self._end_shard()

    def close(self) -> None:
        """Finish the files, and put the number of shards into their names."""
        if self._lines:
            self._lines.close()
        self._end_shard()
        for i, path in enumerate(self._shards):
            path.rename(path.with_name(f"{self.split}-{i:05}-of-{len(self._shards):05}.parquet"))

    def _end_shard(self) -> None:
        if self._shard is None:
            return
        self._shard.close()
        path = self.folder / "data" / f"{self.split}-{len(self._shards):05}.parquet"
        path.parent.mkdir(exist_ok=True)
        _to_parquet(Path(self._shard.name), path, self.columns, self._longest)
        os.unlink(self._shard.name)
        self._shards.append(path)
        self._shard = None


def _to_parquet(lines: Path, path: Path, columns: dict[str, str], longest: int) -> None:
    """Write a JSONL file as Parquet with these columns, even where all values are null."""
    types = ", ".join(f"{_quoted(name)}: {_quoted(kind)}" for name, kind in columns.items())
    with duckdb.connect(config={"threads": 1, "memory_limit": MEMORY, "autoinstall_known_extensions": False}) as db:
        db.execute("set enable_progress_bar = false")
        try:
            db.execute(f"copy (select * from read_json(?, format = 'newline_delimited', columns = {{{types}}}, "
                       f"maximum_object_size = {max(MIN_LINE, 2 * longest)})) to {_quoted(str(path))} "
                       f"(format parquet, compression zstd, row_group_size {GROUP_ROWS})", [glob.escape(str(lines))])
        except duckdb.IOException as e:
            raise disk_trouble(OSError(0, str(e).splitlines()[0]), path) from e


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# folders

def digests(folder: Path) -> dict[str, str]:
    """Return {relative path: sha256} of all files but the manifest, sorted by path."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST)
    return {str(p.relative_to(folder)): sha256(p) for p in paths}


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hex, or for a folder that of its files' paths and digests."""
    found = hashlib.sha256()
    if path.is_dir():
        found.update(orjson.dumps(digests(path), option=orjson.OPT_SORT_KEYS))
        return found.hexdigest()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            found.update(part)
    return found.hexdigest()


def read_manifest(folder: Path) -> dict:
    """Return the manifest of an export, or {} where it is missing or not readable."""
    try:
        found = orjson.loads(read_bounded(folder / MANIFEST))
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def changed_by_hand(folder: Path) -> list[str]:
    """Return the sorted paths of files that were edited, added or removed since the manifest."""
    told, found = read_manifest(folder).get("files", {}), digests(folder)
    return sorted(path for path in {*told, *found} if told.get(path, {}).get("sha256") != found.get(path))


def put_in_place(new: Path, place: Path, keep_old: bool) -> Path | None:
    """Move the folder `new` to `place`, replacing what is there.

    With `keep_old` the replaced folder is copied to _replaced/ first, and the path of the copy is
    returned.
    """
    sync(new)
    if not place.exists():
        new.rename(place)
        return None
    kept = _copy_aside(place) if keep_old else None   # first: a later kill would lose it
    if exchange(new, place):
        old = new
    else:
        old = place.rename(new.with_name(OLD + place.name))
        new.rename(place)
    shutil.rmtree(old)
    return kept


def _copy_aside(folder: Path) -> Path:
    aside = folder.parent / "_replaced"
    aside.mkdir(exist_ok=True)
    copy = next(p for n in itertools.count(1) if not (p := aside / f"{folder.name}.{n}").exists())
    shutil.copytree(folder, copy)
    return copy


def exchange(a: Path, b: Path) -> bool:
    """Swap the names of two folders in one step. Return False if the system does not support it."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    return rename(HERE, os.fsencode(a), HERE, os.fsencode(b), EXCHANGE) == 0


def clear_up(directory: Path) -> None:
    """Remove what killed runs left, and restore a folder that was being replaced.

    The caller has to hold the directory.
    """
    for old in (directory / NEW).glob(f"{OLD}*"):
        if not (place := directory / old.name.removeprefix(OLD)).exists():
            old.rename(place)   # a run was killed between two renames
    shutil.rmtree(directory / NEW, ignore_errors=True)


def sync(folder: Path) -> None:
    """Flush a folder and its files to disk, so that a power cut leaves no truncated file."""
    def one(path: Path) -> None:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, (*folder.rglob("*"), folder)))
