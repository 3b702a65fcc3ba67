"""Read trajectories from a source by row number, numbered over the whole split. A source is one of:

hf:NAME                 the dataset server's rows endpoint or, after it fails, the Parquet files
attempt                 the attempts of the root (solve.py); `config` names one of them
sessions[:PATH]         the session files of coding agents below the home folder, or below PATH
a path, glob or URL     Parquet, JSON or the files of agents: .jsonl, .json, .traj, also as .gz;
                        a directory: its files, and the files of all directories in it

The rows of Parquet files come first. An attempt that cheated becomes a row with a `problem`. Only
the sampler checks whether other rows are usable. A split on the Hub may change between runs.
"""
from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from glob import escape, glob
from itertools import accumulate, islice
from pathlib import Path, PurePath
from urllib.parse import quote, urlsplit

from codedata.bounded import MAX_ROW_BYTES, files_below
from codedata.disk.row_files import (
    JsonLines,
    ParquetRows,
    files_by_format,
    format_of,
    pieces,
    read_json,
)
from codedata.errors import HttpTrouble, Interrupted, RunStopped, Trouble
from codedata.records import CHEATED, PRUNED, Attempt
from codedata.sampling.readers import forms
from codedata.sampling.readers.trajectory_outcomes import outcome_of
from codedata.sampling.refusals import OTHER_REPOSITORY, UNREADABLE
from codedata.sampling.session_edits import Sessions, sessions_in
from codedata.sampling.session_folders import is_of, is_sessions, session_files
from codedata.settings import ATTEMPTS, PromptSettings, Settings
from codedata.terminal import say
from codedata.texts import natural

PAGE = 100         # rows to read at a time: the dataset server's maximum
OF_ATTEMPT = Attempt.places["trajectory"]
NO_FAULT_OF_FILES = (HttpTrouble, RunStopped, Interrupted)
HEAD = 50          # rows checked in a file: if one is a trajectory, each row is read as one
# OpenHands writes each event of a conversation to its own file; their folder is one document
EVENT_FILE = re.compile(r"/(?:event-\d{5,}-[^/]*|(?<=/events/)\d+)\.json$")


def open_source(spec: str, hub: Hub, split: str = "train",
                config: str = PromptSettings.config, only_repo: str = "") -> Trajectories:
    """Return the source that `spec` names. `split` and `config` select the part of a Hub data set;
    `config` may also name one attempt. With `only_repo`, trajectories of other repositories are
    rows with a `problem`."""
    kind, _, name = spec.partition(":")
    if kind == "hf":
        return Trajectories(spec, [HubRows(name, split, config, hub)], only_repo)
    if spec == ATTEMPTS:
        one = "[!_.]*" if config == PromptSettings.config else config
        found = files_by_format(str(hub.root / spec), f"{one}/{OF_ATTEMPT}")
    elif is_sessions(spec):
        found = {"json": session_files(spec)}
    else:
        found = files_by_format(spec)
    tables: list = []
    if "parquet" in found:
        tables.append(ParquetRows(spec, found.pop("parquet"), hub))
    names = dict.fromkeys(EVENT_FILE.sub("", name) for names in found.values() for name in names)
    return Trajectories(spec, tables + [JsonFile(name, hub) for name in names], only_repo)


def attempt_names(root: Path) -> list[str]:
    """Return the names of a root's attempts, sorted."""
    return [path.parent.name for path in files_below(root / ATTEMPTS, f"[!_.]*/{OF_ATTEMPT}")]


class JsonFile:
    """Read a JSON file, or a folder with a file for each event.

    Each line or entry of the file is a row, or all of them together are one trajectory. The events
    of a folder are one trajectory. A trajectory is read as a whole, on demand.
    """

    def __init__(self, name: str, hub: Hub):
        self.name = name
        self._hub = hub
        self._rows: Sequence = ()
        try:
            rows = self._parts(only_lists=True)
        except NO_FAULT_OF_FILES:
            raise
        except Trouble:
            rows = ()   # document() raises the Trouble again when the row is read
        if any(map(forms.reader_of, islice(rows, HEAD))):
            self._rows = rows
        self.n_rows = len(self._rows) or 1

    def document(self, i: int):
        """Return row `i` or, if the file is one trajectory, its value or lines. Return a broken
        line as a Trouble. Raise Trouble if the file cannot be read.
        """
        return self._rows[i] if self._rows else self._parts()

    def _parts(self, only_lists: bool = False):
        """Return the lines or the value of the file, or the events of the folder."""
        try:
            if os.path.isdir(self.name):
                return [read_json(file, self._hub)
                        for file in sorted(glob(f"{escape(self.name)}/*.json"), key=natural)
                        if EVENT_FILE.search(file)]
            if only_lists or format_of(self.name) == "jsonl":
                return JsonLines(self.name, self._hub)
            return read_json(self.name, self._hub)
        except (OSError, ValueError, RecursionError) as e:
            raise Trouble(f"is broken: {e}", self.name, "Mend or delete it.") from e


class Trajectories:
    """Read trajectories by their number in the split, as rows of forms.read() with their `outcome`.
    Safe to use from any thread.

    An unreadable trajectory becomes a row with the key `problem`, and is counted in `notes`.
    """

    def __init__(self, name: str, tables: list, only_repo: str = ""):
        self.name, self.only_repo = name, only_repo
        self._tables = tables
        self.forms: set[str] = set()        # the forms of the rows read so far
        self._unread: dict[str, str] = {}   # {place: why it is unusable}

    @property
    def notes(self) -> list[str]:
        """Return the remarks on the data, for the ledger. More are added while rows are read."""
        notes = getattr(self._tables[0], "notes", [])
        return [*notes, *filter(None, [self.unread])]

    @property
    def unread(self) -> str:
        """Return a sentence with the number of unusable files, rows and lines, and the reason for
        the first; "" if there are none."""
        if not self._unread:
            return ""
        place = min(self._unread.copy(), key=natural)
        return (f"of what was read, {len(self._unread):,} of the files, rows or lines are not "
                f"usable; the first: {place} {self._unread[place]}")

    @cached_property
    def _ends(self) -> list[int]:
        return [*accumulate(table.n_rows for table in self._tables)]

    @property
    def n_rows(self) -> int:
        """Return the number of rows in the split."""
        return self._ends[-1]

    def rows(self, offset: int, length: int) -> list[dict]:
        """Return rows offset..offset+length-1, or fewer at the end of the split. Each is
        followed by the rows of its subagents, which have the same number in `row`.

        Raise Trouble if a table lacks a column, since none of its rows is usable then.
        """
        return [{**row, "row": number + (self._ends[i - 1] if i else 0)}
                for i, first, end in pieces(self._ends, offset, length)
                for number, row in self._rows(self._tables[i], first, end)]

    def in_pages(self, n_rows: int) -> Iterator[dict]:
        """Yield the first `n_rows` rows, reading a page at a time, or one of many files."""
        n = PAGE if self._tables[0].n_rows > 1 else 1   # 100 files may not fit into memory
        for start in range(0, n_rows, n):
            yield from self.rows(start, min(n, n_rows - start))

    @cached_property
    def sessions(self) -> Sessions:
        """Return {instance id: session} of a developer's sessions on this machine; read all rows,
        unless the source is on the Hub."""
        if self.name.startswith("hf:"):
            return {}
        return sessions_in(self.in_pages(self.n_rows))

    def _rows(self, table, first: int, end: int) -> Iterator[tuple[int, dict]]:
        """Yield (number in the table, row) of the rows first..end-1 of one table."""
        if isinstance(table, JsonFile):
            name = table.name if table.n_rows == 1 else ""
            for i in range(first, end):
                where = name or f"{table.name} row {i + 1}"
                of = {"attempt": PurePath(name).parent.name} if self.name == ATTEMPTS else {}
                yield from ((i, {**row, **of})
                            for row in self._found(partial(table.document, i), where, name))
            return
        for i, row in enumerate(table.rows(first, end - first), first):
            if not forms.reader_of(row):
                raise Trouble(f"has no column `messages`, only {', '.join(row)}.", self.name,
                              "docs/data.md says which a trajectory has.")
            yield from ((i, one) for one in self._found(partial(dict, row), self.name))

    def _found(self, read: Callable[[], object], where: str, name: str = "") -> Iterator[dict]:
        """Yield the row of a document, and the rows of its subagents. If it cannot be read, note
        the reason and yield a row with `problem`.
        """
        try:
            document = read()
            if isinstance(document, Trouble):
                raise document
            if isinstance(document, Sequence):
                if isinstance(document, JsonLines) and document.n_bytes > MAX_ROW_BYTES:
                    raise Trouble(f"is one trajectory of over {MAX_ROW_BYTES:,} bytes", where)
                lines = [*document]
                document = [line for line in lines if not isinstance(line, Trouble)]
                self._unread.update((line.where, line.what) for line in lines
                                    if isinstance(line, Trouble))
            row = forms.read(document, where, name)
            row["outcome"] = outcome_of(document, name)
            if CHEATED in row["outcome"]:
                row["problem"] = CHEATED
            if [one["content"] for one in row["messages"]] == [PRUNED]:
                row["problem"] = PRUNED
        except NO_FAULT_OF_FILES:
            raise
        except Trouble as e:
            self._unread[e.where] = e.what
            yield {"instance_id": forms.id_of_file(e.where), "agent": "unknown form",
                   "problem": f"{UNREADABLE}{e.what.partition(':')[0]}"}
            return
        for one in (row, *row.pop("subagents")):
            if self.only_repo and not is_of(one, self.only_repo):
                one["problem"] = OTHER_REPOSITORY
            self.forms.add(one["agent"])
            yield one


# the Hub -----------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Hub:
    """Wrap the caller's `http`, and add the token only to requests to the Hub. The `root` has
    sources of its own: attempts and tasks."""

    http: object
    token: str | None = None
    hub_url: str = PromptSettings.hub_url
    rows_url: str = "https://datasets-server.huggingface.co"   # the dataset server
    root: Path = Path()

    def get_json(self, url: str, **params):
        """Return the decoded JSON response. Raise HttpTrouble if the request fails in any way."""
        try:
            return self.http.get_json(url, params=params, headers=self._headers(url))
        except Interrupted:
            raise
        except RunStopped as e:   # this host is down; others may answer
            raise HttpTrouble(e.what, e.where or url, e.todo) from e

    def get_range(self, url: str, start: int, end: int) -> bytes:
        """Return bytes start..end of a file, the end included."""
        return self.http.get_range(url, start, end, headers=self._headers(url))

    def get_size(self, url: str) -> int:
        """Return the size of a file in bytes."""
        return self.http.get_size(url, headers=self._headers(url))

    def list_parquet(self, name: str, split: str, config: str = "default") -> list[str]:
        """Return the URLs of the Parquet files in row order; raise HttpTrouble if there are
        none."""
        url = f"{self.hub_url}/api/datasets/{name}/parquet/{quote(config)}/{quote(split)}"
        urls = self.get_json(url)
        if not (urls and isinstance(urls, list)):
            raise HttpTrouble("lists no Parquet files", url)
        return urls

    def _headers(self, url: str) -> dict:
        hosts = [urlsplit(mine).netloc for mine in (self.rows_url, self.hub_url)]
        if self.token and urlsplit(url).netloc in hosts:
            return {"Authorization": f"Bearer {self.token}"}
        return {}


def hub_of(settings: Settings, http) -> Hub:
    """Return the Hub that the settings name."""
    return Hub(http, settings.hf_token, settings.prompt.hub_url, root=settings.root)


class HubRows:
    """Read a split from the rows endpoint and, after its first failure, from Parquet files.

    Reading one row costs a request at the endpoint, but a whole row group (about 36 MB) of
    Parquet."""

    def __init__(self, name: str, split: str, config: str, hub: Hub):
        self.name, self.split, self.config, self.hub = name, split, config, hub
        self.notes: list[str] = []
        self._total: int | None = None
        self._parquet: ParquetRows | None = None
        self._lock = threading.Lock()

    @property
    def n_rows(self) -> int:
        """Return the number of rows in the split; request it if it is not known yet."""
        if self._total is None:
            self.rows(0, 1)
        return self._total

    def rows(self, offset: int, length: int) -> list[dict]:
        """Return rows offset..offset+length-1; switch to Parquet if the endpoint fails."""
        if self._parquet is None:
            found: list[dict] = []
            try:
                while len(found) < length and (
                        self._total is None or offset + len(found) < self._total):
                    found += self._page(offset + len(found), min(PAGE, length - len(found)))
                return found
            except HttpTrouble as e:
                self._switch(e.what)
        return self._parquet.rows(offset, length)

    def _page(self, offset: int, length: int) -> list[dict]:
        """Return the rows of one request, as many as the server sends; keep their total."""
        answer = self.hub.get_json(
            f"{self.hub.rows_url}/rows", dataset=self.name, config=self.config,
            split=self.split, offset=offset, length=length)
        try:
            total = int(answer["num_rows_total"])
            rows = [dict(entry["row"]) for entry in answer["rows"]]
            numbers = [entry["row_idx"] for entry in answer["rows"]]
            is_cut = any(entry.get("truncated_cells") for entry in answer["rows"])
        except (KeyError, TypeError, ValueError) as e:
            raise HttpTrouble(f"not a page of rows: {e!r}") from None
        is_in_order = numbers == [*range(offset, offset + len(rows))]
        if is_cut or not is_in_order or not (rows or offset >= total):
            raise HttpTrouble(f"cut cells, or not the rows from {offset} on")
        with self._lock:
            if self._total is None:
                self._total = total
                if answer.get("partial"):   # Parquet has the same part: row numbers agree
                    self._note("the Hub converted only a part of this split; rows are drawn from "
                               f"the first {total}")
        return rows

    def _switch(self, why: str) -> None:
        """Read from the Parquet files from now on, and note the reason."""
        with self._lock:
            if self._parquet is not None:
                return
            try:
                urls = self.hub.list_parquet(self.name, self.split, self.config)
            except HttpTrouble as e:
                raise Trouble(f"gives neither rows ({why}) nor Parquet files ({e.what}).",
                              f"hf:{self.name}",
                              f"Check the name, config {self.config!r}, split {self.split!r}, and "
                              "HF_TOKEN if it is not public.") from None
            parquet = ParquetRows(f"hf:{self.name}", urls, self.hub)
            self._note(f"the rows endpoint was given up ({why}); from here on the rows come from "
                       f"the split's Parquet files, which hold {parquet.n_rows}, under the same "
                       "numbers (a window there costs a whole row group)")
            self._total = self._total or parquet.n_rows
            self._parquet = parquet

    def _note(self, text: str) -> None:
        """Print a remark on the data and keep it for the ledger."""
        self.notes.append(f"hf:{self.name}: {text}")
        say(f"prompt  {self.notes[-1]}")
