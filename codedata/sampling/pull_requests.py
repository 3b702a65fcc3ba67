"""Fetch the PR records of the sampled instances, all in one query: from Parquet (by duckdb) or JSON
files, from the commits of a clone, or from the tasks of the root.

A row has the columns of SWE-bench, or of a data set derived from it. In Parquet, a first query
reads only the id columns to locate the rows; a second one reads only the row groups with a hit and
the columns that a record needs. Whether a patch applies, or a licence is an SPDX name, is not
checked.
"""
from __future__ import annotations

import re
import reprlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta, timezone
from itertools import chain
from statistics import mode

from codedata.code.entities import language_of
from codedata.code.patches import files_of, hunks_of, reversed_patch
from codedata.disk.row_files import JsonLines, ParquetFiles, find_files
from codedata.disk.store import Store
from codedata.errors import BrokenRecord, Trouble
from codedata.records import Commit, Task, parse
from codedata.sampling.git_prs import cut_rows
from codedata.sampling.github import GitHub, with_texts
from codedata.sampling.own_commits import rows_of_sessions
from codedata.sampling.session_edits import Sessions
from codedata.sampling.trajectories import Hub
from codedata.settings import SESSIONS
from codedata.tasks.gold import commit_of
from codedata.terminal import say
from codedata.texts import decoded, number_text, printable

# {field of a Commit: columns}; the first column with text counts; columns joined by + form one
FIELDS = {
    "instance_id": "instance_id org+repo+number", "repo": "repo",
    "language": "language repo_language lang", "base_commit": "base_commit base",
    "patch": "patch fix_patch", "test_patch": "test_patch",
    "issue": "problem_statement resolved_issues issue",   # `issue` is the column of commit/
    "description": "pr_description title+body description",
    "licence": "license licence license_name meta", "matched": "matched"}
NEEDED = ("instance_id", "repo", "patch")   # other fields may be empty
# keys with texts in `base`, in an issue of `resolved_issues`, in `meta`, and in a licence of GitHub
PARTS = ("sha", "title", "body", "license", "licence", "license_name", "spdx_id")
OLD_NAME = re.compile("^(?:rename|copy) from (.+?)\r?$", re.M)   # a line of a patch
COLUMNS = {*re.findall(r"\w+", " ".join(FIELDS.values())), "created_at", "image_name"}


def fetch_prs(spec: str, instance_ids: Iterable[str], hub: Hub,
              sessions: Callable[[], Sessions] = dict
              ) -> tuple[dict[str, dict], dict[str, str]]:
    """Return ({id: record} of the usable rows, {id: reason} of the unusable ones).

    Ids without a row are in neither; of several rows with one id, the first counts. With commits of
    a clone, sessions() returns {id: session} of the source; these get their own commits if no
    commit has their id. Raise Trouble if a column is missing.
    """
    records = {}
    problems = {}
    ids = set(instance_ids)
    rows = _of_tasks(ids, hub) if spec == Task.directory else _each(
        _rows(spec, ids, hub, sessions))
    for instance_id, found in rows:
        (problems if isinstance(found, str) else records)[instance_id] = found
    return records, problems


def _of_tasks(ids: set[str], hub: Hub) -> Iterator[tuple[str, dict | str]]:
    """Yield (id, record or reason why it is unusable) of the root's tasks with these ids."""
    tasks = Store(hub.root, Task).open()
    for name in ids.intersection(tasks.names()):
        try:
            commit = commit_of(tasks.read(name))
            parse(Commit, vars(commit), name)
        except BrokenRecord as e:
            yield name, e.what
            continue
        yield name, vars(commit) if commit.patch else "the gold of its task is no patch"


def all_prs(spec: str, hub: Hub, github: GitHub, clone_of: Callable
            ) -> Iterator[tuple[str, dict | str]]:
    """Yield (id, record or reason why it is unusable) of each pull request or commit of a clone, of
    files of rows, or of owner/name on GitHub. For GitHub, clone_of(owner/name) returns the clone
    with the patches."""
    source, _, name = spec.partition(":")
    if source == "github":
        repo, _, revisions = name.partition("@")
        rows = [*cut_rows(str(clone_of(repo)), revisions)]
        oldest = min((int(row["created_at"]) for row in rows if row["created_at"]), default=0)
        newest = max((row["number"] for row in rows), default=0)
        rows = with_texts(rows, repo, github.texts(repo, iso_utc(max(oldest, 0)), newest))
    else:
        rows = _rows(spec, None, hub)
    yield from _each(rows)


def _each(rows: Iterable[dict]) -> Iterator[tuple[str, dict | str]]:
    """Yield (id, record or reason why it is unusable) of rows. Of several with one id, the first
    counts."""
    seen = set()
    for row in rows:
        instance_id = id_of(row)
        if instance_id not in seen:
            seen.add(instance_id)
            try:
                yield instance_id, _record(row)
            except ValueError as e:
                yield instance_id, str(e)


def _rows(spec: str, ids: set[str] | None, hub: Hub, sessions: Callable[[], Sessions] = dict
          ) -> Iterable[dict]:
    """Return the rows of these ids, or all, in order. If they come from a clone, rows of sessions
    follow."""
    if spec == SESSIONS:
        return rows_of_sessions(spec, ids, sessions)
    if spec.startswith("git:"):
        path, _, revisions = spec.removeprefix("git:").partition("@")
        return chain(cut_rows(path, revisions, ids), rows_of_sessions(spec, ids or (), sessions))
    if spec.startswith("hf:"):
        format = "parquet"
        _, name, split = f"{spec}:train".split(":")[:3]
        names = hub.list_parquet(name, split)
    else:
        format, names = find_files(spec)
    if format == "parquet":
        return _parquet_rows(ParquetFiles(spec, names, hub, keep=False), ids)
    return _json_rows([JsonLines(name, hub) for name in names], ids, spec)


def _parquet_rows(files: ParquetFiles, ids: set[str] | None) -> Iterator[dict]:
    """Yield, from each file, the first row of each id, with the columns that a record needs. Only
    `ids` are read; None means all."""
    columns = {name for name, *_ in files.query("describe from read_parquet(?)", files.names)}
    _check_columns(columns, files.spec)
    id_sql = "instance_id" if "instance_id" in columns else "''"
    if columns.issuperset(("org", "repo", "number")):
        number = "coalesce(try_cast(number as bigint)::varchar, number::varchar)"
        id_sql = f"coalesce(nullif({id_sql}, ''), org || '__' || repo || '-' || {number})"
    row_numbers = defaultdict(list)   # {file: numbers of its rows}
    for name, row_number in files.query(f"""
            select filename, min(file_row_number)
            from read_parquet(?, filename = true, file_row_number = true)
            where ? is null or {id_sql} in (select unnest(?::varchar[]))
            group by filename, {id_sql}""", files.names, *[None if ids is None else [*ids]] * 2):
        row_numbers[name].append(row_number)
    selected = ", ".join(f'"{name}"' for name in columns & COLUMNS)
    for name, plain_name in zip(files.names, files.plain_names, strict=True):
        if plain_name in row_numbers:
            yield from files.query_rows(f"""
                select {selected} from read_parquet(?, file_row_number = true)
                where file_row_number in (select unnest(?::bigint[]))
                order by file_row_number""", name, row_numbers[plain_name])


def _json_rows(files: list[JsonLines], ids: set[str] | None, spec: str) -> Iterator[dict]:
    """Yield the rows of these ids in order, one at a time: a parsed row may be large. Print the
    place of each broken row. Raise Trouble in the end if a column is missing."""
    columns = set()
    for row in chain.from_iterable(files):
        if isinstance(row, Trouble):
            say(f"{row.where} {row.what}; left out")
            continue
        columns.update(row)
        if ids is None or id_of(row) in ids:
            yield row
    _check_columns(columns, spec)


def _check_columns(columns: set[str], spec: str) -> None:
    """Raise Trouble if a field that a record needs has none of its columns."""
    missing = [FIELDS[field].replace(" ", " or ") for field in NEEDED
               if not any(columns.issuperset(name.split("+")) for name in FIELDS[field].split())]
    if missing:
        raise Trouble(f"has no column {', '.join(missing)}, only {', '.join(sorted(columns))}.",
                      spec, "docs/data.md says which columns are read.")


def id_of(row: dict) -> str:
    """Return a row's `instance_id`, or one made from its `org`, `repo` and `number`, or ""."""
    org, repo, number = map(row.get, ("org", "repo", "number"))
    if not row.get("instance_id") and all(isinstance(part, str | int | float)
                                          for part in (org, repo, number)):
        return f"{org}__{repo}-{number_text(number)}"
    return _text(row.get("instance_id"))


def _record(row: dict) -> dict:
    """Return a row as the fields of a Commit; raise ValueError if it cannot be used."""
    meta = decoded(row.get("meta"))
    row = {**row, "meta": meta if isinstance(meta, dict) else {}}
    texts = {field: _first_text(row, names.split()) for field, names in FIELDS.items()}
    texts["instance_id"] = id_of(row)
    if missing := [field for field in NEEDED if not texts[field]]:
        raise ValueError(row.get("no_patch") or f"its row has no text in {', '.join(missing)}")
    if org := _text(row.get("org")):
        texts["repo"] = f"{org}/{texts['repo']}"
    # SWE-smith rows, whose patch makes the bug, have an image instead of a commit and tests
    is_upstream_fix = texts["base_commit"] or texts["test_patch"] or not row.get("image_name")
    if texts["repo"].startswith("swesmith/") or not is_upstream_fix:
        texts["patch"] = reversed_patch(texts["patch"])
    licences = [*dict.fromkeys(filter(None, texts["licence"].split("\n\n")))]
    changed = sorted(touched_files(texts["patch"]))
    languages = [*filter(None, map(language_of, changed))] or ["unknown"]
    return {**texts, "language": texts["language"] or mode(languages),
            "files": sorted({*changed, *touched_files(texts["test_patch"])}),
            "created_at": iso_utc(row.get("created_at")), "licence": " OR ".join(licences) or None,
            "matched": texts["matched"] or None}


def _first_text(row: dict, names: list[str]) -> str:
    """Return the text of the first of these columns that has one, or ""."""
    texts = (_text([row.get(part) for part in name.split("+")]) for name in names)
    return next(filter(str.strip, texts), "")


def _text(value, levels: int = 10) -> str:
    """Return a text, or the joined texts of a list or object; "" for any other value, or if it is
    nested deeper than `levels`."""
    if isinstance(value, dict):
        value = [value.get(name) for name in PARTS]
    if isinstance(value, list) and levels:
        return "\n\n".join(filter(None, (_text(one, levels - 1) for one in value)))
    return value if isinstance(value, str) else ""


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
        raise ValueError(f"`created_at` is no date: {printable(reprlib.repr(value), 80)}") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


# patches -----------------------------------------------------------------------------------------

def touched_files(patch: str) -> set[str]:
    """Return the paths of the files that a diff changes; a renamed file has both its names."""
    names = [path.strip() for path, _ in files_of(patch)] + [hunk.path for hunk in hunks_of(patch)]
    return {*map(_unquoted, [*names, *OLD_NAME.findall(patch)])}


def _unquoted(name: str) -> str:
    """Return a file name without git's quotes and C escapes, which it uses for unusual names."""
    if "\\" not in name:
        return name
    unescaped = name.strip('"').encode().decode("unicode_escape", "replace")
    return unescaped.encode("latin-1", "replace").decode("utf-8", "replace")
