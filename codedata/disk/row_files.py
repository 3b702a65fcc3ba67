"""Read rows by number from Parquet or JSON files, on disk or at URLs.

Several threads may use one reader. Parquet is read by duckdb, which skips row groups outside the
requested rows. Remote files are read through the caller's `http`. All values are plain JSON values.
"""
from __future__ import annotations

import glob
import gzip
import io
import json
import os
import threading
import weakref
import zlib
from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from functools import partial
from itertools import accumulate
from math import inf
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import fsspec

from codedata.bounded import MAX_LINES_BYTES, MAX_ROW_BYTES, files_below, row_in
from codedata.disk.locks import temporary_folder
from codedata.errors import Trouble

CHUNK = 8 << 20    # bytes to download per request
MAX_ROWS = 10_000_000   # limit for all Parquet files of a source together, and for a file of lines
TOO_MANY = f"has more than {MAX_ROWS:,} rows."
SPLIT = "Split it: give a file or glob for each run."
MEMORY = "2GB"     # duckdb's memory limit, which includes its cache of remote files
FORMATS = {".parquet": "parquet", ".jsonl": "jsonl", ".jsonl.gz": "jsonl", ".json": "json",
           ".json.gz": "json", ".traj": "json", ".traj.gz": "json"}


def find_files(spec: str) -> tuple[str, list[str]]:
    """Return the format of the files ("parquet", "jsonl", "json") and their names, in row order.

    Raise Trouble if there is no file, or if the files differ in format.
    """
    found = files_by_format(spec, "*")
    if len(found) > 1:
        raise Trouble(f"names {', '.join(found)}; it should be files of one form.", spec)
    return found.popitem()


def files_by_format(spec: str, below: str = "**/*") -> dict[str, list[str]]:
    """Return {format: names of files, in row order} for a path, glob, folder or URL. `below` is the
    glob for files in a folder; hidden files and links out of the folder are ignored. Raise Trouble
    if there is no file.
    """
    if is_url(spec) or os.path.isfile(spec):
        names = [spec]
    elif os.path.isdir(spec):
        found_below = (path.relative_to(spec) for path in files_below(Path(spec), below))
        names = sorted(f"{spec}/{path}" for path in found_below if "/." not in f"/{path}")
    else:
        names = filter(os.path.isfile, sorted(glob.glob(spec, recursive=True)))
    found = defaultdict(list)
    for name in names:
        if format := format_of(name):
            found[format].append(name)
    if not found:
        raise Trouble("is not there, or of no known format.", spec, "Give hf:NAME, or a path, "
                      f"glob, folder (without links out of it) or URL of {', '.join(FORMATS)}.")
    return found


def is_url(name: str) -> bool:
    """Return whether a name is an HTTP or HTTPS URL."""
    return name.startswith(("http://", "https://"))


def format_of(name: str) -> str | None:
    """Return the format for a file name's ending, or None."""
    path = _path(name)
    return next((format for ending, format in FORMATS.items() if path.endswith(ending)), None)


def _path(name: str) -> str:
    """Return the path of a name or URL in lower case, without a query string."""
    return (urlsplit(name).path if is_url(name) else name).lower()


def pieces(ends: list[int], offset: int, length: int) -> Iterator[tuple[int, int, int]]:
    """Yield (file index, first row, end row) for each file that holds a part of the requested rows.
    ends[i] is the number of rows in the files up to and including file i.
    """
    for file in range(bisect_right(ends, offset), len(ends)):
        start = ends[file - 1] if file else 0
        if start >= offset + length:
            return
        yield file, max(offset - start, 0), min(offset + length, ends[file]) - start


# Parquet -----------------------------------------------------------------------------------------

class ParquetFiles:
    """Run SQL over Parquet files on disk or at URLs.

    `keep` caches the fetched bytes, which helps only if requests share row groups.
    """

    def __init__(self, spec: str, names: list[str], http, keep: bool = True):
        self.spec = spec
        self.plain_names = names
        # escape the names, since duckdb expands globs
        self.names = [name if is_url(name) else glob.escape(name) for name in names]
        self._http_files = HttpFiles(http)
        # run one query at a time: parallel queries are no faster and need more memory
        self._one_query = threading.Lock()
        self._database = duckdb.connect(
            config={"memory_limit": MEMORY, "autoinstall_known_extensions": False})
        # close it before the interpreter exits: running threads of duckdb would abort the exit
        weakref.finalize(self, self._database.close)
        self._database.register_filesystem(self._http_files)
        # Prefetch only remote files: a remote row group of 36 MB then takes 17 parallel requests
        # instead of 260 sequential ones, while on disk prefetching only costs memory.
        all_local = not any(map(is_url, names))
        self._database.execute(f"""load parquet; set disable_parquet_prefetching = {all_local};
            set enable_external_file_cache = {keep}; set TimeZone = 'UTC';
            set enable_progress_bar = false""")

    def query(self, sql: str, *parameters) -> list[tuple]:
        """Return the rows of an SQL query as tuples; raise Trouble if a file cannot be read."""
        try:
            with self._one_query, self._database.cursor() as cursor:
                return cursor.execute(sql, parameters).fetchall()
        except duckdb.OutOfMemoryException:
            raise Trouble(f"has row groups that do not fit into {MEMORY}.", self.spec,
                          "Download it, or write it again with smaller row groups.") from None
        except duckdb.Error as e:
            if trouble := self._http_files.trouble:
                self._http_files.trouble = None
                raise trouble from None
            raise Trouble(f"cannot be read: {str(e).splitlines()[0]}", self.spec,
                          "Check that each file is whole, is Parquet and has the same columns as "
                          "the others.") from e

    def query_rows(self, sql: str, *parameters) -> list[dict]:
        """Return the rows of an SQL query as plain values; raise Trouble if a row is too long."""
        texts = self.query(f"""
            select case when strlen(j) <= {MAX_ROW_BYTES} then j end
            from (select to_json(r)::varchar as j from ({sql}) r)""", *parameters)
        if (None,) in texts:
            raise Trouble(f"has a row of more than {MAX_ROW_BYTES:,} bytes.",
                          f"{self.spec} {parameters[0]}", "Leave that row out.")
        return [json.loads(text) for text, in texts]


class ParquetRows(ParquetFiles):
    """Read the rows of Parquet files by number."""

    def __init__(self, spec: str, names: list[str], http):
        super().__init__(spec, names, http)
        counts = dict(self.query("""
            select filename, count(*) from read_parquet(?, filename = true) group by filename
            """, self.names))   # reads only the footers
        self._ends = [*accumulate(counts.get(name, 0) for name in names)]
        self.n_rows = self._ends[-1]
        if self.n_rows > MAX_ROWS:
            raise Trouble(TOO_MANY, spec, SPLIT)

    def rows(self, offset: int, length: int, columns: str = "* exclude (file_row_number)"
             ) -> list[dict]:
        """Return rows offset..offset+length-1, or fewer at the end of the last file. `columns` is
        SQL text: columns or expressions, separated by commas."""
        return [row for file, first, end in pieces(self._ends, offset, length)
                for row in self.query_rows(f"""
                    select {columns}
                    from read_parquet(?, file_row_number = true)
                    where file_row_number >= ? and file_row_number < ?
                    order by file_row_number""", self.names[file], first, end)]


class HttpFiles(fsspec.AbstractFileSystem):
    """Give duckdb read access to files at URLs, by HTTP range requests."""

    protocol = ("http", "https")
    cachable = False

    def __init__(self, http):
        super().__init__()
        self._http = http
        self._sizes = {}   # in bytes
        # the last Trouble, saved for query(): duckdb would keep only the text of an exception
        self.trouble: Trouble | None = None

    @classmethod
    def _strip_protocol(cls, path):
        return path

    def glob(self, path, **_):
        """Return only the path, since a URL is not a pattern."""
        return [path]

    def modified(self, path):
        """Return the same date for all files, which are assumed not to change."""
        return datetime(2020, 1, 1, tzinfo=timezone.utc)

    def info(self, path, **_):
        """Return the size of a file; request it only once."""
        if path not in self._sizes:
            self._sizes[path] = self._ask(self._http.get_size, path)
        return {"name": path, "size": self._sizes[path], "type": "file"}

    def read(self, path, start: int, size: int) -> bytes:
        """Return up to `size` bytes of a file from `start` on."""
        end = min(start + size, self.size(path))
        return self._ask(self._http.get_range, path, start, end - 1) if start < end else b""

    def _open(self, path, *_, **__):
        return RangeFile(self, path)

    def _ask(self, method, *args):
        """Call a method of `http` and keep its Trouble for query() to raise."""
        try:
            return method(*args)
        except Trouble as e:
            self.trouble = e
            raise


class RangeFile(threading.local):   # each thread that uses it calls __init__() again
    """Represent an open file. Each thread has its own position, since duckdb's threads share the
    file."""

    def __init__(self, files: HttpFiles, path: str):
        self._files = files
        self._path = path
        self._offset = 0

    def seek(self, offset: int) -> None:
        """Set the position of this thread, in bytes."""
        self._offset = offset

    def tell(self) -> int:
        """Return the position of this thread, in bytes."""
        return self._offset

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes from the position on, and advance it."""
        data = self._files.read(self._path, self._offset, size)
        self._offset += len(data)
        return data

    def close(self) -> None:
        """Do nothing, since no connection stays open between requests."""


# JSON --------------------------------------------------------------------------------------------

class JsonLines(Sequence):
    """Index the lines of a .jsonl file on disk, and parse a line when it is requested. Return a
    Trouble for a broken line. A .json file with a list is first converted to lines."""

    def __init__(self, name: str, http):
        self._name = name
        self._path = _on_disk(name, http, self, MAX_LINES_BYTES)
        if format_of(name) == "json":
            self._path = _lines_of_list(self._path, name, self)
        self._starts = array("Q")    # byte offsets of the non-blank lines
        self._numbers = array("Q")   # numbers of the non-blank lines, from 1
        start, number, is_new = 0, 1, True
        with open(self._path, "rb") as lines:
            for piece in iter(partial(lines.readline, MAX_ROW_BYTES), b""):
                if is_new and not piece.isspace():
                    self._starts.append(start)
                    self._numbers.append(number)
                start += len(piece)
                is_new = piece.endswith(b"\n")
                number += int(is_new)
                if number > MAX_ROWS + 1 or start > MAX_LINES_BYTES:   # blank lines count, too
                    raise Trouble(TOO_MANY, name, SPLIT)
        self.n_bytes = start

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, i: int) -> dict | Trouble:
        with open(self._path, "rb") as file:
            file.seek(self._starts[i])
            try:
                row = row_in(file.readline(MAX_ROW_BYTES + 1))
                if not isinstance(row, dict):
                    raise ValueError(f"{json.dumps(row)[:60]} is no dict")
                return row
            except (ValueError, RecursionError) as e:
                return Trouble(f"is broken: {e}", f"{self._name} line {self._numbers[i]}",
                               "Mend or delete it.")


class Copy:
    """Own temporary copies of files: they are deleted together with this object."""


def read_json(name: str, http):
    """Return the value in a .json file. Raise ValueError if the file is broken."""
    copy = Copy()
    with open(_on_disk(name, http, copy), "rb") as file:
        return row_in(file.read(MAX_ROW_BYTES + 1))


def _lines_of_list(path: str, name: str, owner) -> str:
    """Return the path of a copy with one list element on each line, deleted together with `owner`.
    """
    copy = _temporary_copy(owner, io.BytesIO())
    try:
        # use one thread, since each thread keeps many elements in memory
        duckdb.connect(config={"memory_limit": MEMORY, "threads": 1}).execute(f"""
            copy (select translate(json::varchar, chr(10) || chr(13), '  ') from read_json_objects(
                      ?, format = 'array', maximum_object_size = {MAX_ROW_BYTES}))
            to '{copy}' (format csv, header false, quote '', escape '', delimiter '')""", [path])
    except duckdb.Error as e:
        raise Trouble(f"is not a list of objects: {e}", name,
                      "Correct it; if it has one object per line, name it .jsonl.") from e
    return copy


def _on_disk(name: str, http, owner, max_bytes: int = MAX_ROW_BYTES) -> str:
    """Return the path of a file on disk. For a URL or a .gz file, return an unpacked copy, which is
    deleted together with `owner`. Raise Trouble if a .gz file has more than `max_bytes` unpacked.
    """
    path = name
    if is_url(name):
        path = _temporary_copy(owner, RangeFile(HttpFiles(http), name))
    if _path(name).endswith(".gz"):
        try:
            with gzip.open(path) as packed:
                path = _temporary_copy(owner, packed, max_bytes)
        except (gzip.BadGzipFile, EOFError, zlib.error) as e:
            raise Trouble(f"cannot be unpacked: {e}", name, "Fetch it again.") from e
        if os.path.getsize(path) > max_bytes:
            raise Trouble(f"has more than {max_bytes:,} bytes, unpacked.", name, SPLIT)
    return path


def _temporary_copy(owner, file, max_bytes: float = inf) -> str:
    """Return the path of a copy of an open file, deleted together with `owner`. Copying stops a
    little after `max_bytes`."""
    opened = ExitStack()
    weakref.finalize(owner, opened.close)
    with open(f"{opened.enter_context(temporary_folder())}/copy", "wb") as copy:
        while copy.tell() <= max_bytes and (data := file.read(CHUNK)):
            copy.write(data)
    return copy.name
