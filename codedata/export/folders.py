"""Write rows as JSON Lines and Parquet, and read the manifest of a folder of export/.

Equal rows give equal bytes: duckdb writes with one thread, in the order of the rows.
"""
from __future__ import annotations

import glob
import io
import itertools
from collections.abc import Iterable
from pathlib import Path

import duckdb
import orjson

from codedata.bounded import read_bounded
from codedata.disk.layouts import folder_digests
from codedata.disk.ledger import disk_trouble

MANIFEST = "manifest.json"
OF_TABLES = ("files", "images")   # keys of a manifest; their values are {name: object}
SHARD_ROWS = 10_000           # maximum of rows in a Parquet file
MEMORY = "2GB"                # duckdb's limit
MIN_LINE = 16 << 20           # bytes; the longest line that duckdb reads by default
GROUP_ROWS = 1000             # rows of a row group; readers hold one in memory at a time
LINE_BREAKS = "\x85\u2028\u2029"   # characters that JSON may contain unescaped


def write_rows(path: Path, rows: Iterable[dict]) -> list[int]:
    """Write rows as JSON Lines, and return the size of each row. Without rows, write no file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        sizes = [file.write(_line(row)) for row in rows]
    if not sizes:
        path.unlink()
    return sizes


def _line(row: dict) -> bytes:
    """Return a row as a line of JSON, with LINE_BREAKS escaped: some readers split lines as
    str.splitlines() does."""
    line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    for char in LINE_BREAKS:
        line = line.replace(char.encode(), f"\\u{ord(char):04x}".encode())
    return line


def write_parquet(path: Path, sizes: list[int], columns: dict[str, str],
                  shard_rows: int = SHARD_ROWS) -> None:
    """Write the rows of <split>.jsonl as data/<split>-00000-of-00002.parquet and so on.

    `sizes` are the bytes of the rows; each file has `shard_rows` rows. Without rows, write one file
    with only the columns.
    """
    folder = path.parent / "data"
    folder.mkdir(exist_ok=True)
    shard = path.with_suffix(".shard")
    n_shards = max(1, -(-len(sizes) // shard_rows))
    with open(path, "rb") if sizes else io.BytesIO() as lines:
        for i in range(n_shards):
            with open(shard, "wb") as file:
                file.writelines(itertools.islice(lines, shard_rows))
            _to_parquet(shard, folder / f"{path.stem}-{i:05}-of-{n_shards:05}.parquet", columns,
                        max(sizes, default=0))
    shard.unlink()


def _to_parquet(lines: Path, path: Path, columns: dict[str, str], longest: int) -> None:
    """Write a JSONL file as Parquet with these columns, even if all values are null."""
    config = {"threads": 1, "memory_limit": MEMORY, "autoinstall_known_extensions": False}
    with duckdb.connect(config=config) as db:
        db.execute("set enable_progress_bar = false")
        try:
            db.read_json(
                glob.escape(str(lines)), format="newline_delimited", columns=columns,
                maximum_object_size=max(MIN_LINE, 2 * longest)
            ).write_parquet(str(path), compression="zstd", row_group_size=GROUP_ROWS)
        except duckdb.IOException as e:
            raise disk_trouble(OSError(0, str(e).splitlines()[0]), path) from e


def read_manifest(folder: Path) -> dict:
    """Return the manifest of an export; {} if it is missing, or not in the expected form."""
    try:
        manifest = orjson.loads(read_bounded(folder / MANIFEST))
        entries = [entry for key in OF_TABLES for entry in manifest.get(key, {}).values()]
    except (OSError, ValueError, AttributeError):   # AttributeError: not an object
        return {}
    return manifest if all(isinstance(entry, dict) for entry in entries) else {}


def changed_by_hand(folder: Path) -> list[str]:
    """Return the sorted paths of files that were edited, added or removed since the manifest."""
    files = read_manifest(folder).get("files", {})
    listed = {path: file.get("sha256") for path, file in files.items()}
    now = folder_digests(folder, MANIFEST)
    return sorted(path for path in {*listed, *now} if listed.get(path) != now.get(path))


def listed_files(folder: Path) -> dict[str, dict]:
    """Return {path: its SHA-256 and size in bytes} of a folder's files, for its manifest."""
    return {path: {"sha256": sha256, "bytes": (folder / path).stat().st_size}
            for path, sha256 in folder_digests(folder, MANIFEST).items()}
