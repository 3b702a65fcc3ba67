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

from codedata.code.patches import head_lines
from codedata.errors import Trouble
from codedata.sampling.row_files import JsonRows, ParquetFiles, find_files
from codedata.sampling.trajectories import Hub

FIELDS = {"instance_id": "instance_id", "repo": "repo", "language": "language",   # column: field
          "base_commit": "base_commit", "patch": "patch", "test_patch": "test_patch",
          "problem_statement": "issue", "pr_description": "description"}
NEEDED = (*FIELDS, "created_at")
LICENCE = ("license", "licence", "license_name")
MAY_BE_EMPTY = ("test_patch", "problem_statement", "pr_description")   # or null
SCAN = 1000   # number of JSON rows to parse at a time


def fetch_prs(spec: str, instance_ids: Iterable[str],
              hub: Hub) -> tuple[dict[str, dict], dict[str, str]]:
    """Return ({id: record} of the usable rows, {id: reason} of the unusable ones).

    Ids without a row are in neither; of several rows with one id, the first counts. Raise Trouble
    if a column is missing.
    """
    ids = set(instance_ids)
    if spec.startswith("hf:"):
        format = "parquet"
        names = hub.list_parquet(spec.removeprefix("hf:"))
    else:
        format, names = find_files(spec)
    if format == "parquet":
        rows = _parquet_rows(ParquetFiles(spec, names, hub, keep=False), ids)
    else:
        rows = _json_rows(JsonRows(format, names, hub), ids, spec)
    records = {}
    problems = {}
    for row in rows:
        instance_id = row["instance_id"]
        if instance_id not in records and instance_id not in problems:
            try:
                records[instance_id] = _record(row)
            except ValueError as e:
                problems[instance_id] = str(e)
    return records, problems


def _parquet_rows(files: ParquetFiles, ids: set[str]) -> Iterator[dict]:
    """Yield the rows of these ids in order, with the columns that a record needs."""
    columns = [name for name, *_ in files.query("describe from read_parquet(?)", files.names)]
    _check_columns(columns, files.spec)
    row_numbers = defaultdict(list)   # by file
    for name, row_number in files.query("""
            select filename, file_row_number
            from read_parquet(?, filename = true, file_row_number = true)
            where instance_id in (select unnest(?::varchar[]))""", files.names, list(ids)):
        row_numbers[name].append(row_number)
    selected = ", ".join(f'"{name}"' for name in (*NEEDED, *LICENCE, "meta") if name in columns)
    for name, plain_name in zip(files.names, files.plain_names, strict=True):
        if plain_name in row_numbers:
            for row, in files.query(f"""
                    select to_json(r)::varchar from (
                        select {selected} from read_parquet(?, file_row_number = true)
                        where file_row_number in (select unnest(?::bigint[]))
                        order by file_row_number) r""", name, row_numbers[plain_name]):
                yield json.loads(row)


def _json_rows(table: JsonRows, ids: set[str], spec: str) -> list[dict]:
    """Return the rows of these ids in order."""
    columns = set()
    matches = []
    for offset in range(0, table.n_rows, SCAN):
        for row in table.rows(offset, SCAN):
            columns.update(row)
            if isinstance(row.get("instance_id"), str) and row["instance_id"] in ids:
                matches.append(row)
    _check_columns(columns, spec)
    return matches


def _check_columns(columns: Iterable[str], spec: str) -> None:
    """Raise Trouble if a column that a record needs is missing."""
    if missing := [f"`{name}`" for name in NEEDED if name not in columns]:
        raise Trouble(f"has no column {', '.join(missing)}, only {', '.join(sorted(columns))}.",
                      spec, "prompt/README.md says which there have to be, and which may be empty.")


def _record(row: dict) -> dict:
    """Return a row as the fields of a Commit; raise ValueError if a text is missing."""
    texts = {name: row.get(name) or "" for name in FIELDS}
    if missing := [name for name, text in texts.items() if not isinstance(text, str)
                   or not (text.strip() or name in MAY_BE_EMPTY)]:
        raise ValueError(f"its row has no text in {', '.join(missing)}")
    return {**{field: texts[name] for name, field in FIELDS.items()},
            "files": sorted(touched_files(texts["patch"]) | touched_files(texts["test_patch"])),
            "created_at": iso_utc(row.get("created_at")), "licence": _licence(row)}


def _licence(row: dict) -> str | None:
    """Return the licence that a row or its `meta` names, or None."""
    meta = row.get("meta")
    if isinstance(meta, str):
        try:
            meta = json.loads(meta)
        except ValueError:
            meta = None
    values = [place.get(key) for place in (row, meta) if isinstance(place, dict) for key in LICENCE]
    return next((value for value in values if value and isinstance(value, str)), None)


# dates -------------------------------------------------------------------------------------------

ISO = re.compile(r"""(\d{4})-(\d\d)-(\d\d)   (?:[T\ ](\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?)?
                     [ ]?(?:Z|UTC|([+-])(\d\d):?(\d\d)?)?""", re.IGNORECASE | re.VERBOSE)


def iso_utc(value) -> str | None:
    """Return a date as an ISO 8601 string in UTC, such as 2024-05-01T12:00:00Z.

    Read an ISO 8601 string or a Unix time in seconds or a finer unit. Return None for None or "";
    raise ValueError for anything else.
    """
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str) and (match := ISO.fullmatch(value.strip())):
            *date, sign, hours, minutes = match.groups("0")
            moment = datetime(*map(int, date), tzinfo=timezone.utc)
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            moment += offset if sign == "-" else -offset
        else:
            seconds = float(value)
            while 1e11 <= seconds < 1e20:    # 1e11 s is the year 5138, 1e11 ms is 1973
                seconds /= 1000
            moment = datetime.fromtimestamp(int(seconds), timezone.utc)
    except (ValueError, TypeError, OverflowError, OSError):
        raise ValueError(f"`created_at` is no date: {value!r}") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


# patches -----------------------------------------------------------------------------------------

# one name twice: two different ones cannot be split, and other lines give them
SAME_NAME = re.compile(r'diff --git ("?)(?:a/)?(.+)\1 \1(?:b/)?\2\1')


def touched_files(patch: str) -> set[str]:
    """Return the paths of the files that a diff changes; a renamed file has both its names."""
    return {name for line in head_lines(patch) for name in _files_named(line.removesuffix("\r"))}


def _files_named(line: str) -> set[str]:
    """Return the paths that a header line of a diff names."""
    if match := SAME_NAME.fullmatch(line):
        return {_unquoted(match[1] + match[2] + match[1])}
    if match := re.match(r"(?:rename|copy) (?:from|to) (.+)", line):
        return {_unquoted(match[1])}
    if not line.startswith(("--- ", "+++ ")):
        return set()
    name = _unquoted(line[4:].partition("\t")[0])
    side = "a/" if line.startswith("-") else "b/"
    return set() if name == "/dev/null" else {name.removeprefix(side)}


def _unquoted(name: str) -> str:
    """Return a file name without git's quotes and C escapes, which it uses for unusual names."""
    if not re.fullmatch('".*"', name):
        return name
    unescaped = name[1:-1].encode().decode("unicode_escape", "replace")   # each byte is a character
    return unescaped.encode("latin-1", "replace").decode("utf-8", "replace")
