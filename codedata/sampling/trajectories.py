"""Read trajectories from a source by row number, numbered over the whole split. A source is one of:

hf:NAME                 the dataset server's rows endpoint or, after it fails, the Parquet files
datasets:NAME[:SPLIT]   a split that the optional `datasets` library downloads as a whole
a path, glob or URL     Parquet, or JSON: .jsonl, .jsonl.gz, .json (a list); a directory: its files

Rows are not checked to be usable trajectories; the sampler does that. A split on the Hub may change
between runs.
"""
from __future__ import annotations

import json
import threading
from typing import Protocol
from urllib.parse import quote, urlsplit

from codedata.errors import HttpTrouble, Interrupted, RunStopped, Trouble
from codedata.sampling.row_files import JsonRows, ParquetFiles, ParquetRows, find_files
from codedata.settings import PromptSettings

PAGE = 100         # the dataset server's maximum number of rows per request


class TrajectorySource(Protocol):
    """Give rows of trajectories by their number in the split."""

    name: str
    n_rows: int
    notes: list[str]   # remarks on the data for the user; the list grows while rows are read

    def rows(self, offset: int, length: int) -> list[dict]:
        """Return rows offset..offset+length-1, fewer only at the end of the split.

        Safe to call from any thread.
        """


def open_source(spec: str, http, *, split: str = "train", config: str = "default", token: str | None = None,
                rows_url: str = PromptSettings.rows_url, hub_url: str = PromptSettings.hub_url) -> TrajectorySource:
    """Return the source that `spec` names; send the token only to `rows_url` and `hub_url`."""
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
    """Make a source of a table: check columns, convert `messages` to a list of {role, content}."""

    def __init__(self, name: str, table):
        self.name, self._table, self.notes = name, table, getattr(table, "notes", [])

    @property
    def n_rows(self) -> int:
        """Return the number of rows in the split."""
        return self._table.n_rows

    def rows(self, offset: int, length: int) -> list[dict]:
        """Return rows offset..offset+length-1; raise Trouble if a column is missing."""
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


# The Hub

class GivenUp(HttpTrouble):
    """Report that a request to the Hub failed or that its response was unusable."""


class Hub:
    """Wrap the caller's `http` and add the token to requests that go to the Hub."""

    def __init__(self, http, token: str | None, rows_url: str | None, hub_url: str):
        self._http, self._token, self.rows_url, self.hub_url = http, token, rows_url, hub_url
        self._hosts = {urlsplit(url).netloc for url in (rows_url, hub_url) if url}

    def get_json(self, url: str, **params):
        """Return the decoded JSON response; raise GivenUp if the request fails."""
        try:
            return self._http.get_json(url, params=params, headers=self._headers(url))
        except Interrupted:
            raise
        except (HttpTrouble, RunStopped) as e:
            raise GivenUp(e.what, e.where or url, e.todo, getattr(e, "status", None)) from e

    def get_range(self, url: str, start: int, end: int) -> bytes:
        """Return bytes start..end of a file, the end included."""
        return self._http.get_range(url, start, end, headers=self._headers(url))

    def get_size(self, url: str) -> int:
        """Return the size of a file in bytes."""
        return self._http.get_size(url, headers=self._headers(url))

    def list_parquet(self, name: str, config: str = "default", split: str = "train") -> list[str]:
        """Return the URLs of the Parquet files in row order; raise GivenUp if there are none."""
        url = f"{self.hub_url}/api/datasets/{name}/parquet/{quote(config)}/{quote(split)}"
        urls = self.get_json(url)
        if not (urls and isinstance(urls, list)):
            raise GivenUp("lists no Parquet files", url)
        return urls

    def _headers(self, url: str) -> dict:
        return {"Authorization": f"Bearer {self._token}"} if self._token and urlsplit(url).netloc in self._hosts else {}


class HubRows:
    """Read a split from the rows endpoint and, after its first failure, from Parquet files."""

    def __init__(self, name: str, config: str, split: str, hub: Hub):
        self._name, self._config, self._split, self._hub = name, config, split, hub
        self.notes: list[str] = []
        self._total: int | None = None
        self._parquet: ParquetRows | None = None
        self._lock = threading.Lock()

    @property
    def n_rows(self) -> int:
        """Return the number of rows in the split, with a request if it is not known yet."""
        if self._total is None:
            self.rows(0, 1)
        return self._total

    def rows(self, offset: int, length: int) -> list[dict]:
        """Return rows offset..offset+length-1; switch to Parquet if the endpoint fails."""
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
            if type(total) is not int or not all(isinstance(row, dict) for row in rows):
                raise TypeError("its rows are no objects, or their number is none")
        except (KeyError, TypeError) as e:
            raise GivenUp(f"not a page of rows: {e!r}") from None
        if not (in_place and whole):
            raise GivenUp(f"rows {'with cut cells' if in_place else 'out of order'} from {offset} on")
        with self._lock:
            if self._total is None:
                self._know(total, answer.get("partial"))
        return rows

    def _switch(self, why: str) -> None:
        """Read from the Parquet files from here on, and note the reason."""
        with self._lock:
            if self._parquet is not None:
                return
            sizes, partial = self._list_files(why)
            parquet = ParquetRows(ParquetFiles(f"hf:{self._name}", list(sizes), self._hub, sizes=sizes))
            self._note(f"the rows endpoint was given up ({why}); from here on the rows come from the split's Parquet "
                       "files, under the same numbers (a window there costs a whole row group)")
            if self._total is None:
                self._know(parquet.n_rows, partial)
            elif self._total != parquet.n_rows:
                self._note(f"these hold {parquet.n_rows} rows, the endpoint had {self._total}: the numbers may differ")
            self._parquet = parquet

    def _list_files(self, why: str) -> tuple[dict[str, int | None], bool]:
        """Return ({URL: size or None} in row order, whether they are only a part)."""
        try:
            found = self._hub.get_json(f"{self._hub.rows_url}/parquet", dataset=self._name, config=self._config)
            if sizes := {f["url"]: f.get("size") for f in found["parquet_files"] if f["split"] == self._split}:
                return sizes, found.get("partial", False)
        except (GivenUp, KeyError, TypeError):
            pass           # the dataset server may be down: ask the Hub for the list
        try:
            return dict.fromkeys(self._hub.list_parquet(self._name, self._config, self._split)), False
        except GivenUp as e:
            raise Trouble(f"gives neither rows ({why}) nor Parquet files ({e.what}).", f"hf:{self._name}", "Check the "
                          f"name, config {self._config!r}, split {self._split!r}, and HF_TOKEN if it is not public.")

    def _know(self, total: int, partial: bool) -> None:
        self._total = total
        if partial:        # both then cover the same files, so row numbers agree
            self._note(f"the Hub converted only a part of this split; rows are drawn from the first {total}, "
                       f"datasets:{self._name} has all")

    def _note(self, text: str) -> None:
        self.notes.append(f"hf:{self._name}: {text}")


class DatasetRows:
    """Read a split with the `datasets` library; `spec` is NAME or NAME:SPLIT."""

    def __init__(self, spec: str, config: str, split: str, token: str | None):
        try:
            import datasets
        except ImportError:
            raise Trouble("needs the `datasets` library.", f"datasets:{spec}",
                          "Install it: pip install datasets") from None
        name, _, own_split = spec.partition(":")
        try:
            self._dataset = datasets.load_dataset(name, None if config == "default" else config,
                                                  split=own_split or split, token=token or None)
        except (datasets.exceptions.DatasetsError, OSError, ValueError) as e:
            raise Trouble(f"cannot be loaded: {e}", f"datasets:{spec}", "Check name, split and HF_TOKEN.") from e
        self.n_rows = len(self._dataset)

    def rows(self, offset: int, length: int) -> list[dict]:
        """Return rows offset..offset+length-1, fewer at the end of the split."""
        columns = self._dataset[offset:offset + length]
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
