"""Where trajectories come from, behind one interface: rows by their number in the whole split.

hf:NAME                 the dataset server's rows; when it gives up, the split's Parquet files, under the same numbers
datasets:NAME[:SPLIT]   what the `datasets` library loads (an extra; it downloads the whole split first)
a path, glob or URL     Parquet, or JSON: .jsonl, .jsonl.gz, .json (a list); a directory stands for the files in it

Parquet is read by duckdb, row groups that a window does not touch are left out; bytes from afar come through the
caller's `http`. Rows are plain JSON values. Not promised: that a row is a usable trajectory (the sampler looks), or
that a split on the Hub is tomorrow what it is today.
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
from typing import Protocol
from urllib.parse import quote, urlsplit

import duckdb
import fsspec

from codedata.config import PromptSettings
from codedata.errors import HttpTrouble, Interrupted, RunStopped, Trouble

PAGE = 100         # the most rows that the dataset server gives at once
CHUNK = 8 << 20    # bytes of a download in one request
MEMORY = "2GB"     # duckdb's limit, what it keeps of remote files included
FORMS = {".parquet": "parquet", ".jsonl": "jsonl", ".jsonl.gz": "jsonl", ".json": "json"}


class Source(Protocol):
    name: str
    n_rows: int
    notes: list[str]   # what a reader of the sample should be told; grows while rows are read

    def rows(self, offset: int, length: int) -> list[dict]:
        """Rows offset..offset+length-1, fewer only at the split's end. From any number of threads."""


def open_source(spec: str, http, *, split: str = "train", config: str = "default", token: str | None = None,
                rows_url: str = PromptSettings.rows_url, hub_url: str = PromptSettings.hub_url) -> Source:
    """The source that `spec` names. The token goes to the hosts of `rows_url` and `hub_url`, to no other."""
    hub = Hub(http, token, rows_url, hub_url)
    kind, _, name = spec.partition(":")
    if kind == "hf":
        return Trajectories(spec, HubRows(name, config, split, hub))
    if kind == "datasets":
        return Trajectories(spec, DatasetRows(name, config, split, token))
    form, names = find_files(spec)
    return Trajectories(spec, ParquetRows(ParquetFiles(spec, names, hub)) if form == "parquet" else
                        JsonRows(form, names, hub))


class Trajectories:
    """A Source over any table of rows: checks its columns, makes `messages` a list of {role, content}."""

    def __init__(self, name: str, table):
        self.name, self._table, self.notes = name, table, getattr(table, "notes", [])

    @property
    def n_rows(self) -> int:
        return self._table.n_rows

    def rows(self, offset: int, length: int) -> list[dict]:
        return [self._trajectory(row) for row in self._table.rows(offset, length)]

    def _trajectory(self, row: dict) -> dict:
        if missing := [f"`{column}`" for column in ("instance_id", "messages") if column not in row]:
            raise Trouble(f"has no column {' and '.join(missing)}, only {', '.join(row)}.", self.name,
                          "A trajectory has at least instance_id, repo and messages.")
        messages = row["messages"]
        if isinstance(messages, str):
            try:
                messages = json.loads(messages)
            except ValueError:
                return row
        if isinstance(messages, list) and all(isinstance(m, dict) for m in messages):
            messages = [{"role": m.get("role"), "content": m.get("content")} for m in messages]
        return {**row, "messages": messages}


# What a path, glob or URL stands for

def find_files(spec: str) -> tuple[str, list[str]]:
    """The form of the files ("parquet", "jsonl", "json") and their names, in the order that numbers their rows."""
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
    return name.startswith(("http://", "https://"))


def _form(name: str) -> str | None:
    return next((form for ending, form in FORMS.items() if _path(name).endswith(ending)), None)


def _path(name: str) -> str:
    return (urlsplit(name).path if is_url(name) else name).lower()


def _pieces(counts: list[int], offset: int, length: int) -> Iterator[tuple[int, int, int]]:
    """(file, first, end) of each part of a window over files of so many rows, first and end counted in the file."""
    for file, start in enumerate(accumulate(counts[:-1], initial=0)):
        first, end = max(offset - start, 0), min(offset + length - start, counts[file])
        if first < end:
            yield file, first, end


# The Hub

class GivenUp(HttpTrouble):
    """The Hub did not answer with what was asked for."""


class Hub:
    """The caller's `http`, with the token on what goes to the Hub."""

    def __init__(self, http, token: str | None, rows_url: str | None, hub_url: str):
        self._http, self._token, self.rows_url, self.hub_url = http, token, rows_url, hub_url
        self._hosts = {urlsplit(url).netloc for url in (rows_url, hub_url) if url}

    def get_json(self, url: str, **params):
        try:
            return self._http.get_json(url, params=params, headers=self._headers(url))
        except Interrupted:
            raise
        except (HttpTrouble, RunStopped) as e:
            raise GivenUp(e.what, e.where or url, e.todo, getattr(e, "status", None)) from e

    def get_range(self, url: str, start: int, end: int) -> bytes:
        return self._http.get_range(url, start, end, headers=self._headers(url))

    def get_size(self, url: str) -> int:
        return self._http.get_size(url, headers=self._headers(url))

    def list_parquet(self, name: str, config: str = "default", split: str = "train") -> list[str]:
        """The URLs of a split's Parquet files, in the order that numbers its rows."""
        url = f"{self.hub_url}/api/datasets/{name}/parquet/{quote(config)}/{quote(split)}"
        urls = self.get_json(url)
        if not (urls and isinstance(urls, list)):
            raise GivenUp("lists no Parquet files", url)
        return urls

    def _headers(self, url: str) -> dict:
        return {"Authorization": f"Bearer {self._token}"} if self._token and urlsplit(url).netloc in self._hosts else {}


class HubRows:
    """A split on the Hub: pages of the rows endpoint and, from its first failure on, the Parquet files behind it."""

    def __init__(self, name: str, config: str, split: str, hub: Hub):
        self._name, self._config, self._split, self._hub = name, config, split, hub
        self.notes: list[str] = []
        self._total: int | None = None
        self._parquet: ParquetRows | None = None
        self._lock = threading.Lock()

    @property
    def n_rows(self) -> int:
        if self._total is None:
            self.rows(0, 1)
        return self._total

    def rows(self, offset: int, length: int) -> list[dict]:
        if self._parquet is None:
            try:
                return self._from_endpoint(offset, length)
            except GivenUp as e:
                self._switch(e.what)
        return self._parquet.rows(offset, length)

    def _from_endpoint(self, offset: int, length: int) -> list[dict]:
        rows: list[dict] = []
        while len(rows) < length and (self._total is None or offset + len(rows) < self._total):
            page = self._page(offset + len(rows), min(PAGE, length - len(rows)))
            if not page and offset + len(rows) < self._total:
                raise GivenUp(f"no row {offset + len(rows)} of {self._total}")
            rows += page
        return rows

    def _page(self, offset: int, length: int) -> list[dict]:
        answer = self._hub.get_json(f"{self._hub.rows_url}/rows", dataset=self._name, config=self._config,
                                    split=self._split, offset=offset, length=length)
        try:
            rows, total = [entry["row"] for entry in answer["rows"]], answer["num_rows_total"]
            in_place = [entry["row_idx"] for entry in answer["rows"]] == list(range(offset, offset + len(rows)))
            whole = not any(entry.get("truncated_cells") for entry in answer["rows"])
        except (KeyError, TypeError) as e:
            raise GivenUp(f"not a page of rows: {e!r}") from None
        if not (in_place and whole):
            raise GivenUp(f"rows {'with cut cells' if in_place else 'out of order'} from {offset} on")
        with self._lock:
            if self._total is None:
                self._know(total, answer.get("partial"))
        return rows

    def _switch(self, why: str) -> None:
        with self._lock:
            if self._parquet is not None:
                return
            sizes, partial = self._list_files(why)
            parquet = ParquetRows(ParquetFiles(f"hf:{self._name}", list(sizes), self._hub, sizes=sizes))
            self._note(f"the rows endpoint was given up ({why}); from here on the rows come from the split's Parquet "
                       "files, under the same numbers")
            if self._total is None:
                self._know(parquet.n_rows, partial)
            elif self._total != parquet.n_rows:
                self._note(f"these hold {parquet.n_rows} rows, the endpoint had {self._total}: the numbers may differ")
            self._parquet = parquet

    def _list_files(self, why: str) -> tuple[dict[str, int | None], bool]:
        """URL and size (where known) of each file in row order; whether they are only a part of the split."""
        try:
            found = self._hub.get_json(f"{self._hub.rows_url}/parquet", dataset=self._name, config=self._config)
            if sizes := {f["url"]: f.get("size") for f in found["parquet_files"] if f["split"] == self._split}:
                return sizes, found.get("partial", False)
        except (GivenUp, KeyError, TypeError):
            pass           # where the dataset server is down, the Hub has the list too
        try:
            return dict.fromkeys(self._hub.list_parquet(self._name, self._config, self._split)), False
        except GivenUp as e:
            raise Trouble(f"gives neither rows ({why}) nor Parquet files ({e.what}).", f"hf:{self._name}", "Check the "
                          f"name, config {self._config!r}, split {self._split!r}, and HF_TOKEN if it is not public.")

    def _know(self, total: int, partial: bool) -> None:
        self._total = total
        if partial:        # rows and Parquet listing are then of the same files: the numbers still agree
            self._note(f"the Hub converted only a part of this split; rows are drawn from the first {total}, "
                       f"datasets:{self._name} has all")

    def _note(self, text: str) -> None:
        self.notes.append(f"hf:{self._name}: {text}")


class DatasetRows:
    """NAME or NAME:SPLIT by way of the `datasets` library."""

    def __init__(self, spec: str, config: str, split: str, token: str | None):
        try:
            import datasets
        except ImportError:
            raise Trouble("needs the `datasets` library.", f"datasets:{spec}",
                          "Install it: pip install 'codedata[datasets]'") from None
        name, _, own_split = spec.partition(":")
        try:
            self._dataset = datasets.load_dataset(name, None if config == "default" else config,
                                                  split=own_split or split, token=token or None)
        except (datasets.exceptions.DatasetsError, OSError, ValueError) as e:
            raise Trouble(f"cannot be loaded: {e}", f"datasets:{spec}", "Check name, split and HF_TOKEN.") from e
        self.n_rows = len(self._dataset)

    def rows(self, offset: int, length: int) -> list[dict]:
        columns = self._dataset[offset:offset + length]
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


# Parquet

class ParquetFiles:
    """SQL over Parquet files on disk or behind URLs, from any number of threads.

    `keep` holds on to the bytes fetched: right for windows that share row groups, wasted on a single pass.
    """

    def __init__(self, spec: str, names: list[str], http, sizes: dict | None = None, keep: bool = True):
        remote = any(map(is_url, names))
        self.spec, self.plain_names = spec, names
        self.names = [name if is_url(name) else glob.escape(name) for name in names]   # duckdb expands globs too
        self._http_files = HttpFiles(http, sizes or {})
        self._turn = threading.Lock()   # more at a time is no faster, and each may hold a row group
        self._database = duckdb.connect(config={"memory_limit": MEMORY, "autoinstall_known_extensions": False})
        weakref.finalize(self, self._database.close)   # else duckdb's threads meet a dying interpreter, and abort it
        self._database.register_filesystem(self._http_files)
        # Prefetching a 36 MB row group: 17 parallel requests for 260 in a row. On disk it only costs memory.
        self._database.execute(f"load parquet; set disable_parquet_prefetching = {not remote}; "
                               f"set enable_external_file_cache = {keep}; set TimeZone = 'UTC'; "
                               "set enable_progress_bar = false")

    def query(self, sql: str, *parameters) -> list[tuple]:
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
        """The number of rows in each file, from the footers."""
        found = dict(self.query("select filename, count(*) from read_parquet(?, filename = true) group by filename",
                                self.names))
        return [found.get(name, 0) for name in self.plain_names]


class ParquetRows:
    """The rows of Parquet files by number."""

    def __init__(self, files: ParquetFiles):
        self._files, self._counts = files, files.counts()
        self.n_rows = sum(self._counts)

    def rows(self, offset: int, length: int) -> list[dict]:
        return [json.loads(row) for file, first, end in _pieces(self._counts, offset, length)
                for row, in self._files.query(
                    "select to_json(r)::varchar from (select * exclude (file_row_number) "
                    "from read_parquet(?, file_row_number = true) where file_row_number >= ? and file_row_number < ? "
                    "order by file_row_number) r", self._files.names[file], first, end)]


class HttpFiles(fsspec.AbstractFileSystem):
    """Files behind URLs as duckdb wants them."""

    protocol = ("http", "https")
    cachable = False

    def __init__(self, http, sizes: dict):
        super().__init__()
        self._http, self._sizes = http, {url: size for url, size in sizes.items() if size}
        self.trouble: Trouble | None = None   # of an exception raised here, duckdb passes on the text only

    @classmethod
    def _strip_protocol(cls, path):
        return path

    def glob(self, path, **_):
        return [path]

    def modified(self, path):
        return datetime(2020, 1, 1, tzinfo=timezone.utc)   # within a run, a file is one file

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
        try:
            return method(*args)
        except Trouble as e:
            self.trouble = e
            raise


class RangeFile:
    """An open file of HttpFiles. Each thread has its own position: duckdb's share the file, and seek before a read."""

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
    """The rows of JSON files by number."""

    def __init__(self, form: str, names: list[str], http):
        self._files = [(JsonLines if form == "jsonl" else _read_list)(name, http) for name in names]
        self._counts = list(map(len, self._files))
        self.n_rows = sum(self._counts)

    def rows(self, offset: int, length: int) -> list[dict]:
        return [row for file, first, end in _pieces(self._counts, offset, length)
                for row in self._files[file][first:end]]


class JsonLines:
    """A .jsonl file, left on disk under an index of its lines: a slice parses what is in it and no more."""

    def __init__(self, name: str, http):
        self._name, self._starts, offset = name, array("Q"), 0
        self._path, self._keep = _on_disk(name, http)
        with open(self._path, "rb") as lines:
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
        with open(self._path, "rb") as lines:   # blank lines are no rows, but they count here
            starts = accumulate(map(len, lines), initial=0)
            return next(line for line, start in enumerate(starts, 1) if start == self._starts[i])


def _read_list(name: str, http) -> list[dict]:
    path, _keep = _on_disk(name, http)
    try:
        with open(path, "rb") as file:
            return [_checked(row, dict) for row in _checked(json.loads(file.read()), list)]
    except ValueError as e:
        raise Trouble(f"is no list of objects: {e}", name, "Mend it; one object a line is called .jsonl.") from e


def _checked(value, kind: type):
    if not isinstance(value, kind):
        raise ValueError(f"{json.dumps(value)[:60]} is no {kind.__name__}")
    return value


def _on_disk(name: str, http) -> tuple[str, object]:
    """The path of a file with the unpacked bytes of `name`; what to hold on to for as long as it is needed."""
    path, keep = name, None
    if is_url(name):
        size = http.get_size(name)
        keep = _temporary(http.get_range(name, start, min(start + CHUNK, size) - 1) for start in range(0, size, CHUNK))
        path = keep.name
    if _path(name).endswith(".gz"):
        try:
            with gzip.open(path) as packed:
                keep = _temporary(iter(lambda: packed.read(CHUNK), b""))
        except (gzip.BadGzipFile, EOFError, zlib.error) as e:
            raise Trouble(f"cannot be unpacked: {e}", name, "Fetch it again.") from e
        path = keep.name
    return path, keep


def _temporary(parts: Iterable[bytes]):
    file = tempfile.NamedTemporaryFile(prefix="codedata-")   # gone with the last reference to it
    file.writelines(parts)
    file.flush()
    return file
