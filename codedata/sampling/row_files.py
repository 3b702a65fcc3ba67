"""Read rows by number from Parquet or JSON files, on disk or at URLs.

Safe to use from several threads.

Parquet is read by duckdb, which skips row groups outside the requested rows. Remote bytes are
fetched with the caller's `http`. Rows are returned as plain JSON values.
"""
from __future__ import annotations

import glob
import gzip
import json
import os
import tempfile
import threading
import weakref
import zlib
from array import array
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from itertools import accumulate
from urllib.parse import urlsplit

import duckdb
import fsspec

from codedata.errors import Trouble

CHUNK = 8 << 20    # bytes to download per request
MEMORY = "2GB"     # duckdb's memory limit, which includes its cache of remote files
FORMS = {".parquet": "parquet", ".jsonl": "jsonl", ".jsonl.gz": "jsonl", ".json": "json"}


def find_files(spec: str) -> tuple[str, list[str]]:
    """Return the format of the files ("parquet", "jsonl", "json") and their names, in row order.

    Raise Trouble if there is no file, or if the files differ in format.
    """
    if is_url(spec) or os.path.isfile(spec):
        names = [spec]
    elif os.path.isdir(spec):
        names = sorted(name for name in glob.glob(os.path.join(glob.escape(spec), "*")) if _form(name))
    else:
        names = sorted(name for name in glob.glob(spec, recursive=True) if os.path.isfile(name))
    forms = {_form(name) or repr(os.path.basename(name)) for name in names}
    if len(forms) == 1 and forms <= set(FORMS.values()):
        return forms.pop(), names
    raise Trouble(f"names {', '.join(sorted(forms)[:5]) or 'no file'}; it should be files of one form.", spec,
                  f"Give hf:NAME, datasets:NAME, or a path, glob, folder or URL of {', '.join(FORMS)}.")


def is_url(name: str) -> bool:
    """Return whether a name is an HTTP or HTTPS URL."""
    return name.startswith(("http://", "https://"))


def _form(name: str) -> str | None:
    """Return the format that a file name's ending stands for, or None."""
    return next((form for ending, form in FORMS.items() if _path(name).endswith(ending)), None)


def _path(name: str) -> str:
    """Return the path of a name or URL in lower case, without a query string."""
    return (urlsplit(name).path if is_url(name) else name).lower()


def _pieces(counts: list[int], offset: int, length: int) -> Iterator[tuple[int, int, int]]:
    """Yield (file, first row, end row) of each file that holds a part of the requested rows."""
    for file, start in enumerate(accumulate(counts[:-1], initial=0)):
        first, end = max(offset - start, 0), min(offset + length - start, counts[file])
        if first < end:
            yield file, first, end


# Parquet

class ParquetFiles:
    """Run SQL over Parquet files on disk or at URLs. Safe to use from several threads.

    `keep` caches the fetched bytes, which helps if requests share row groups and is wasted on a
    single pass.
    """

    def __init__(self, spec: str, names: list[str], http, sizes: dict | None = None, keep: bool = True):
        remote = any(map(is_url, names))
        self.spec, self.plain_names = spec, names
        self.names = [name if is_url(name) else glob.escape(name) for name in names]   # duckdb expands globs too
        self._http_files = HttpFiles(http, sizes or {})
        self._turn = threading.Lock()   # parallel queries are no faster and need more memory
        self._database = duckdb.connect(config={"memory_limit": MEMORY, "autoinstall_known_extensions": False})
        weakref.finalize(self, self._database.close)   # else its threads abort the exit
        self._database.register_filesystem(self._http_files)
        # Prefetching a remote 36 MB row group takes 17 parallel requests, not 260 sequential
        # ones. On disk it only costs memory.
        self._database.execute(f"load parquet; set disable_parquet_prefetching = {not remote}; "
                               f"set enable_external_file_cache = {keep}; set TimeZone = 'UTC'; "
                               "set enable_progress_bar = false")

    def query(self, sql: str, *parameters) -> list[tuple]:
        """Return the rows of an SQL query as tuples; raise Trouble if a file cannot be read."""
        try:
            with self._turn, self._database.cursor() as cursor:
                return cursor.execute(sql, parameters).fetchall()
        except duckdb.OutOfMemoryException:
            raise Trouble(f"has row groups that do not fit into {MEMORY}.", self.spec,
                          "Download it, or write it again with smaller row groups.") from None
        except duckdb.Error as e:
            trouble, self._http_files.trouble = self._http_files.trouble, None
            if trouble:
                raise trouble from None
            raise Trouble(f"cannot be read: {str(e).splitlines()[0]}", self.spec,
                          "Check that each file is whole, is Parquet and has the same columns as the others.") from e

    def counts(self) -> list[int]:
        """Return the number of rows in each file, read from the Parquet footers."""
        found = dict(self.query("select filename, count(*) from read_parquet(?, filename = true) group by filename",
                                self.names))
        return [found.get(name, 0) for name in self.plain_names]


class ParquetRows:
    """Read the rows of Parquet files by number."""

    def __init__(self, files: ParquetFiles):
        self._files, self._counts = files, files.counts()
        self.n_rows = sum(self._counts)

    def rows(self, offset: int, length: int) -> list[dict]:
        """Return rows offset..offset+length-1, fewer at the end of the last file."""
        return [json.loads(row) for file, first, end in _pieces(self._counts, offset, length)
                for row, in self._files.query(
                    "select to_json(r)::varchar from (select * exclude (file_row_number) "
                    "from read_parquet(?, file_row_number = true) where file_row_number >= ? and file_row_number < ? "
                    "order by file_row_number) r", self._files.names[file], first, end)]


class HttpFiles(fsspec.AbstractFileSystem):
    """Give duckdb read access to files at URLs, by HTTP range requests."""

    protocol = ("http", "https")
    cachable = False

    def __init__(self, http, sizes: dict):
        super().__init__()
        self._http, self._sizes = http, {url: size for url, size in sizes.items() if size}
        self.trouble: Trouble | None = None   # kept, as duckdb drops all but the text

    @classmethod
    def _strip_protocol(cls, path):
        return path

    def glob(self, path, **_):
        return [path]

    def modified(self, path):
        return datetime(2020, 1, 1, tzinfo=timezone.utc)   # files do not change

    def info(self, path, **_):
        if path not in self._sizes:
            self._sizes[path] = self._ask(self._http.get_size, path)
        return {"name": path, "size": self._sizes[path], "type": "file"}

    def read(self, path, start: int, size: int) -> bytes:
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


class RangeFile:
    """Act as an open file with a position per thread, as duckdb's threads share it."""

    def __init__(self, files: HttpFiles, path: str):
        self._files, self._path, self._thread = files, path, threading.local()

    def seek(self, offset: int) -> None:
        self._thread.offset = offset

    def tell(self) -> int:
        return getattr(self._thread, "offset", 0)

    def read(self, size: int) -> bytes:
        data = self._files.read(self._path, self.tell(), size)
        self.seek(self.tell() + len(data))
        return data

    def close(self) -> None: ...


# JSON

class JsonRows:
    """Read the rows of JSON files by number."""

    def __init__(self, form: str, names: list[str], http):
        self._files = [(JsonLines if form == "jsonl" else _read_list)(name, _on_disk(name, http, self))
                       for name in names]
        self._counts = list(map(len, self._files))
        self.n_rows = sum(self._counts)

    def rows(self, offset: int, length: int) -> list[dict]:
        """Return rows offset..offset+length-1, fewer at the end of the last file."""
        return [row for file, first, end in _pieces(self._counts, offset, length)
                for row in self._files[file][first:end]]


class JsonLines:
    """Index the lines of a .jsonl file and leave it on disk: a slice parses only its own lines."""

    def __init__(self, name: str, path: str):
        self._name, self._path, self._starts, offset = name, path, array("Q"), 0
        with open(path, "rb") as lines:
            for line in lines:
                if not line.isspace():
                    self._starts.append(offset)
                offset += len(line)
        self._starts.append(offset)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, part: slice) -> list[dict]:
        rows = []
        with open(self._path, "rb") as file:
            for i in range(part.start, part.stop):
                file.seek(self._starts[i])
                try:
                    rows.append(_checked(json.loads(file.read(self._starts[i + 1] - self._starts[i])), dict))
                except ValueError as e:
                    raise Trouble(f"is broken: {e}", f"{self._name} line {self._line(i)}", "Mend or delete it.") from e
        return rows

    def _line(self, i: int) -> int:
        """Return the 1-based line number of a row, for error messages."""
        with open(self._path, "rb") as lines:   # count blank lines too
            starts = accumulate(map(len, lines), initial=0)
            return next(line for line, start in enumerate(starts, 1) if start == self._starts[i])


def _read_list(name: str, path: str) -> list[dict]:
    """Return the objects of a .json file that holds a list; raise Trouble for anything else."""
    try:
        with open(path, "rb") as file:
            return [_checked(row, dict) for row in _checked(json.loads(file.read()), list)]
    except ValueError as e:
        raise Trouble(f"is no list of objects: {e}", name, "Mend it; one object a line is called .jsonl.") from e


def _checked(value, kind: type):
    """Return the value; raise ValueError if it is not of this kind."""
    if not isinstance(value, kind):
        raise ValueError(f"{json.dumps(value)[:60]} is no {kind.__name__}")
    return value


def _on_disk(name: str, http, owner) -> str:
    """Return the path of a local, decompressed copy, which is deleted together with `owner`."""
    path = name
    if is_url(name):
        size = http.get_size(name)
        path = _temporary(owner, (http.get_range(name, start, min(start + CHUNK, size) - 1)
                                  for start in range(0, size, CHUNK)))
    if _path(name).endswith(".gz"):
        try:
            with gzip.open(path) as packed:
                path = _temporary(owner, iter(lambda: packed.read(CHUNK), b""))
        except (gzip.BadGzipFile, EOFError, zlib.error) as e:
            raise Trouble(f"cannot be unpacked: {e}", name, "Fetch it again.") from e
    return path


def _temporary(owner, parts: Iterable[bytes]) -> str:
    """Write the parts to a temporary file, deleted together with `owner`, and return its path."""
    with tempfile.NamedTemporaryFile(prefix="codedata-", delete=False) as file:
        weakref.finalize(owner, os.unlink, file.name)
        file.writelines(parts)
    return file.name
