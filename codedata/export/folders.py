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
MIN_LINE = 16 << 20           # bytes; the longest line that duckdb reads by default
GROUP_ROWS = 1000             # of a row group; readers hold one in memory at a time
NEW, OLD = "_tmp", "old."     # folder for new exports; prefix of a folder that is being replaced
MAX_PARALLEL = 8              # files synced in parallel, as each waits for the disk
EXCHANGE, HERE = 2, -100      # Linux's RENAME_EXCHANGE and AT_FDCWD


class JsonLines:
    """Write the rows of one split of a format to <split>.jsonl; without rows there is no file."""

    def __init__(self, folder: Path, split: str):
        self.path = folder / f"{split}.jsonl"
        self.n_rows = 0
        self.n_bytes = 0
        self._longest = 0   # bytes of a line
        self._file = None

    def add(self, row: dict) -> None:
        """Write a row."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "wb")
        size = self._file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        self.n_rows += 1
        self.n_bytes += size
        self._longest = max(self._longest, size)

    def close(self) -> None:
        """Finish the file."""
        if self._file:
            self._file.close()

    def to_parquet(self, columns: dict[str, str], shard_rows: int) -> None:
        """Write the rows as data/<split>-00000-of-00002.parquet and so on, `shard_rows` each."""
        if not self.n_rows:
            return
        folder = self.path.parent / "data"
        folder.mkdir(exist_ok=True)
        shard = self.path.with_suffix(".shard")
        n_shards = -(-self.n_rows // shard_rows)
        with open(self.path, "rb") as lines:
            for i in range(n_shards):
                with open(shard, "wb") as file:
                    file.writelines(itertools.islice(lines, shard_rows))
                name = f"{self.path.stem}-{i:05}-of-{n_shards:05}.parquet"
                _to_parquet(shard, folder / name, columns, self._longest)
        shard.unlink()


def _to_parquet(lines: Path, path: Path, columns: dict[str, str], longest: int) -> None:
    """Write a JSONL file as Parquet with these columns, even where all values are null."""
    types = ", ".join(f"{_quoted(name)}: {_quoted(kind)}" for name, kind in columns.items())
    config = {"threads": 1, "memory_limit": MEMORY, "autoinstall_known_extensions": False}
    with duckdb.connect(config=config) as db:
        db.execute("set enable_progress_bar = false")
        try:
            db.execute(
                "copy (select * from read_json(?, format = 'newline_delimited', columns = "
                f"{{{types}}}, maximum_object_size = {max(MIN_LINE, 2 * longest)})) to "
                f"{_quoted(str(path))} (format parquet, compression zstd, row_group_size "
                f"{GROUP_ROWS})", [glob.escape(str(lines))])
        except duckdb.IOException as e:
            raise disk_trouble(OSError(0, str(e).splitlines()[0]), path) from e


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# folders

def digests(folder: Path) -> dict[str, str]:
    """Return {relative path: sha256} of all files but the manifest, sorted by path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path) for path in paths
            if path != folder / MANIFEST}


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hex, or for a folder that of its files' paths and digests."""
    if path.is_dir():
        data = orjson.dumps(digests(path), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(data).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> dict:
    """Return the manifest of an export, or {} where it is missing or not readable."""
    try:
        manifest = orjson.loads(read_bounded(folder / MANIFEST))
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def changed_by_hand(folder: Path) -> list[str]:
    """Return the sorted paths of files that were edited, added or removed since the manifest."""
    files = read_manifest(folder).get("files", {})
    listed = {path: file.get("sha256") for path, file in files.items()}
    now = digests(folder)
    return sorted(path for path in {*listed, *now} if listed.get(path) != now.get(path))


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
    """Copy a folder to _replaced/ under a free name, and return the path of the copy."""
    place = folder.parent / "_replaced"
    place.mkdir(exist_ok=True)
    paths = (place / f"{folder.name}.{n}" for n in itertools.count(1))
    return Path(shutil.copytree(folder, next(path for path in paths if not path.exists())))


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

    with ThreadPoolExecutor(MAX_PARALLEL) as pool:
        list(pool.map(one, (*folder.rglob("*"), folder)))
