"""Fetch the PR records of the sampled instances, all in one query of Parquet (by duckdb) or JSON
files.

In Parquet, a first query reads only the column of ids to locate the rows; a second one reads only
the row groups with a hit and the columns that a record needs. Nothing here checks that a patch
applies or that a licence is an SPDX name.
"""
from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone

from codedata.errors import Trouble
from codedata.sampling.row_files import JsonRows, ParquetFiles, find_files
from codedata.sampling.trajectories import Hub
from codedata.settings import PromptSettings

NEEDED = ("instance_id", "repo", "language", "base_commit", "patch", "test_patch", "problem_statement",
          "pr_description", "created_at")
LICENCE = ("license", "licence", "license_name")
NOT_EMPTY = ("repo", "language", "base_commit", "patch")
SCAN = 1000   # number of JSON rows to parse at a time


def fetch_prs(spec: str, instance_ids: Iterable[str], http, *, token: str | None = None,
              hub_url: str = PromptSettings.hub_url) -> tuple[dict[str, dict], dict[str, str]]:
    """Return ({id: record} of the usable rows, {id: reason} of the unusable ones).

    Ids without a row are in neither; of several rows with one id, the first counts. Raise Trouble
    if a column is missing.
    """
    hub, wanted = Hub(http, token, None, hub_url), set(instance_ids)
    kind, _, name = spec.partition(":")
    form, names = ("parquet", hub.list_parquet(name)) if kind == "hf" else find_files(spec)
    found = _parquet_rows(ParquetFiles(spec, names, hub, keep=False), wanted) if form == "parquet" else \
        _json_rows(JsonRows(form, names, hub), wanted, spec)
    records, problems = {}, {}
    for row in found:
        instance_id = row["instance_id"]
        if instance_id not in records and instance_id not in problems:
            try:
                records[instance_id] = _record(row)
            except ValueError as e:
                problems[instance_id] = str(e)
    return records, problems


def _parquet_rows(files: ParquetFiles, wanted: set[str]) -> Iterator[dict]:
    """Yield the rows of the wanted ids with the columns that a record needs."""
    columns = [name for name, *_ in files.query("describe from read_parquet(?)", files.names)]
    _check_columns(columns, files.spec)
    places = defaultdict(list)
    for name, row in files.query(
            "select filename, file_row_number from read_parquet(?, filename = true, file_row_number = true) "
            "where instance_id in (select unnest(?::varchar[]))",
            files.names, list(wanted)):
        places[name].append(row)
    chosen = ", ".join(f'"{column}"' for column in (*NEEDED, *LICENCE, "meta") if column in columns)
    for name, plain_name in zip(files.names, files.plain_names, strict=True):
        if plain_name in places:
            for row, in files.query(
                    f"select to_json(r)::varchar from (select {chosen} from read_parquet(?, file_row_number = true) "
                    "where file_row_number in (select unnest(?::bigint[])) order by file_row_number) r",
                    name, places[plain_name]):
                yield json.loads(row)


def _json_rows(table: JsonRows, wanted: set[str], spec: str) -> Iterator[dict]:
    columns, hits = set(), []
    for offset in range(0, table.n_rows, SCAN):
        for row in table.rows(offset, SCAN):
            columns.update(row)
            if isinstance(instance_id := row.get("instance_id"), str) and instance_id in wanted:
                hits.append(row)
    _check_columns(columns, spec)
    return iter(hits)


def _check_columns(columns: Iterable[str], spec: str) -> None:
    """Raise Trouble if a column that a record needs is missing."""
    if missing := [name for name in NEEDED if name not in columns]:
        raise Trouble(f"has no column {', '.join(f'`{name}`' for name in missing)}, only {', '.join(sorted(columns))}.",
                      spec, "PR records have the columns of nebius/SWE-rebench-V2-PRs.")


def _record(row: dict) -> dict:
    """Return a row as the fields of a Commit; raise ValueError if a text is missing."""
    text = {name: row.get(name) for name in NEEDED[:-1]}
    for name in ("problem_statement", "pr_description", "test_patch"):
        text[name] = text[name] or ""    # the dataset has rows with null here
    if bad := [name for name, value in text.items()
               if not isinstance(value, str) or (name in NOT_EMPTY and not value.strip())]:
        raise ValueError(f"its row has no text in {', '.join(bad)}")
    return {
        "instance_id": text["instance_id"], "repo": text["repo"], "language": text["language"],
        "base_commit": text["base_commit"], "issue": text["problem_statement"], "description": text["pr_description"],
        "files": sorted(touched_files(text["patch"]) | touched_files(text["test_patch"])),
        "patch": text["patch"], "test_patch": text["test_patch"],
        "created_at": iso_utc(row.get("created_at")), "licence": _licence(row)}


def _licence(row: dict) -> str | None:
    """Return the licence that a row or its `meta` names, or None."""
    meta = row.get("meta")
    if isinstance(meta, str):
        try:
            meta = json.loads(meta)
        except ValueError:
            meta = None
    found = [place.get(key) for place in (row, meta) if isinstance(place, dict) for key in LICENCE]
    return next((value for value in found if value and isinstance(value, str)), None)


# dates

ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?)? ?(?:Z|UTC|([+-])(\d\d):?(\d\d)?)?",
                 re.IGNORECASE)


def iso_utc(value) -> str | None:
    """Return a date as an ISO 8601 string in UTC, such as 2024-05-01T12:00:00Z.

    Return None for None or "".

    Read an ISO 8601 string or a Unix time in seconds or a finer unit; raise ValueError for anything
    else.
    """
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str) and (match := ISO.fullmatch(value.strip())):
            *date, sign, hours, minutes = match.groups()
            moment = datetime(*(int(part or 0) for part in date), tzinfo=timezone.utc)
            offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
            moment -= -offset if sign == "-" else offset
        else:
            seconds = float(value)
            while 1e11 <= seconds < 1e20:    # 1e11 s is the year 5138, 1e11 ms is 1973
                seconds /= 1000
            moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=int(seconds))
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"`created_at` is no date: {value!r}") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


# patches

HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
QUOTED = r'"(?:[^"\\]|\\.)*"'
ESCAPES = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def touched_files(patch: str) -> set[str]:
    """Return the paths of the files that a diff changes; a renamed file has both its names."""
    files: set[str] = set()
    old = new = 0                          # lines left in the hunk, where "--- x" is no header
    for line in patch.split("\n"):
        line = line.removesuffix("\r")
        if line.startswith("diff --git "):
            old = new = 0
            files.update(_header_names(line[len("diff --git "):]))
        elif old > 0 or new > 0:
            old -= not line.startswith(("+", "\\"))
            new -= not line.startswith(("-", "\\"))
        elif match := HUNK.match(line):
            old, new = (1 if n is None else int(n) for n in match.groups())
        elif line.startswith(("--- ", "+++ ")):
            name = _unquoted(line[4:].partition("\t")[0])
            if name != "/dev/null":
                files.add(name.removeprefix("a/" if line.startswith("-") else "b/"))
        elif match := re.match(r"(?:rename|copy) (?:from|to) (.+)", line):
            files.add(_unquoted(match[1]))
    return files


def _header_names(text: str) -> set[str]:
    """Return the name in `a/NAME b/NAME`, or an empty set if the two names differ.

    Different names cannot be split reliably, as each may hold a blank; the `---` and `rename` lines
    give them.
    """
    pair, half = re.fullmatch(rf"({QUOTED}) ({QUOTED})", text), len(text) // 2
    old, new = map(_unquoted, pair.groups() if pair else (text[:half], text[half + 1:]))
    if old.startswith("a/") and new.startswith("b/"):
        old, new = old[2:], new[2:]
    return {old} if old == new else set()


def _unquoted(name: str) -> str:
    """Return a file name without git's quotes and C escapes, which it uses for unusual names."""
    if not re.fullmatch(QUOTED, name):
        return name
    return re.sub(rb"\\([0-3][0-7]{2}|.)", lambda m: bytes([int(m[1], 8)]) if len(m[1]) == 3 else
                  ESCAPES.get(m[1], m[1]), name[1:-1].encode()).decode("utf-8", "replace")
