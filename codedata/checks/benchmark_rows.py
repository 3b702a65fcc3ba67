"""Read the rows of benchmarks from local files. These families are known:

    SWE-bench family   rows with `instance_id` and `problem_statement` or `patch`: Verified, Lite,
                       Multilingual, Pro, SWE-rebench, SWE-smith (its patch introduces the bug, so
                       it is not read as a gold patch)
    Multi-SWE-bench    rows with `org`, `repo`, `number` and `resolved_issues` or `fix_patch`
    Terminal-Bench     rows with `task_id` and `instruction` or `problem_statement`
    tasks of Harbor    folders with instruction.md

Rows are read from .json (a list), .jsonl, .jsonl.gz and .parquet files, and from all of these in a
folder. A row of any other kind raises Trouble, since a skipped row would go unnoticed. Only the
fields that are used are checked.
"""
from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codedata.bounded import MAX_ROW_BYTES, files_below, read_bounded
from codedata.disk.row_files import JsonLines, ParquetRows
from codedata.errors import Trouble
from codedata.texts import number_text

PAGE = 10_000   # rows of a Parquet file to read at a time
FORMS = (".parquet", ".jsonl", ".jsonl.gz", ".json")
FAMILIES = (
    "`instance_id` with `problem_statement` or `patch` (SWE-bench), `org`, `repo`, `number` with "
    "`resolved_issues` or `fix_patch` (Multi-SWE-bench), or `task_id` with `instruction` "
    "(Terminal-Bench)")
COLUMNS = (
    "instance_id", "repo", "base_commit", "problem_statement", "patch", "test_patch", "image_name",
    "org", "number", "base", "title", "body", "resolved_issues", "fix_patch", "task_id",
    "instruction")


@dataclass(frozen=True)
class BenchmarkRow:
    """Hold one task of a benchmark. A field that the family lacks is empty."""

    benchmark: str              # the file, or the folder of the task
    row_id: str
    names: tuple[str, ...]      # all ids of the task
    statement: str
    repo: str = ""
    base_commit: str = ""       # may be abbreviated
    patch: str = ""             # unified diffs
    test_patch: str = ""
    solution: tuple[str, ...] = ()   # files of a terminal task
    tests: tuple[str, ...] = ()


def read_rows(path: str | Path) -> Iterator[BenchmarkRow]:
    """Yield the rows of a file or folder. Raise Trouble if there are none, or if one is broken."""
    path = Path(path)
    if path.is_dir():
        yield from _folder_rows(path)
        return
    if not path.is_file():
        raise Trouble("is neither a file nor a folder.", str(path),
                      "Give local files or folders of benchmarks.")
    number = 0
    for number, raw in enumerate(_raw_rows(path), 1):
        try:
            yield _row(raw, str(path))
        except ValueError as e:
            raise Trouble(f"{e}; a row of a benchmark has {FAMILIES}.", f"{path} row {number}",
                          "Give the benchmark's own file, without other rows in it.") from None
    if not number:
        raise Trouble("holds no rows: nothing would be found.", str(path),
                      "Give a file with rows, or leave it out.")


def _folder_rows(folder: Path) -> Iterator[BenchmarkRow]:
    found = files_below(folder)
    instructions = [file for file in found if file.name == "instruction.md"]
    files = [file for file in found if file.name.endswith(FORMS)]
    if instructions:   # the other files belong to the tasks
        yield from map(_task, sorted({file.parent for file in instructions}))
    elif files:
        for file in files:
            yield from read_rows(file)
    else:
        raise Trouble(f"holds no task (instruction.md) and no {', '.join(FORMS)}.", str(folder),
                      "Give a folder of Harbor's tasks, or of files with benchmark rows. Links "
                      "that lead out of it are not followed.")


# files

def _raw_rows(path: Path) -> Iterator:
    if not path.name.endswith(FORMS):
        raise Trouble(f"is none of {', '.join(FORMS)}.", str(path),
                      "Save the benchmark in one of these forms.")
    rows = _parquet(path) if path.suffix == ".parquet" else JsonLines(str(path), None)
    for row in rows:
        if isinstance(row, Trouble):
            raise row
        yield row


def _parquet(path: Path) -> Iterator[dict]:
    file = ParquetRows(str(path), [str(path)], None)
    table = file.query("describe select * from read_parquet(?)", file.names)
    types = {name: kind for name, kind, *_ in table}
    columns = [column for column in COLUMNS if column in types]
    if binary := [column for column in columns if types[column] == "BLOB"]:
        raise Trouble(f"has bytes as `{binary[0]}`, not a text.", str(path), "Save it as text.")
    if not columns:
        raise Trouble(f"has the columns {', '.join(sorted(types))}; a benchmark has {FAMILIES}.",
                      str(path))
    for start in range(0, file.n_rows, PAGE):
        yield from file.rows(start, PAGE, ", ".join(columns))


# rows

def _row(raw, benchmark: str) -> BenchmarkRow:
    """Return the task in a row. Raise ValueError with the row's fields if its family is unknown."""
    has_fix = "fix_patch" in raw or "resolved_issues" in raw
    if raw.get("org") and raw.get("number") is not None and has_fix:
        return _multi_swe(raw, benchmark)
    if _text(raw, "instance_id") and ("problem_statement" in raw or "patch" in raw):
        return _swe(raw, benchmark)
    if (task_id := _text(raw, "task_id")) and ("instruction" in raw or "problem_statement" in raw):
        instruction = _text(raw, "instruction") or _text(raw, "problem_statement")
        return BenchmarkRow(benchmark, task_id, (task_id,), instruction)
    fields = sorted(key for key, value in raw.items() if value is not None)
    raise ValueError(f"has {', '.join(fields) or 'no fields'}")


def _swe(raw: dict, benchmark: str) -> BenchmarkRow:
    instance_id = _text(raw, "instance_id")
    repo = _text(raw, "repo")
    commit = _text(raw, "base_commit")
    patch = _text(raw, "patch")
    if repo.startswith("swesmith/") or "swesmith" in _text(raw, "image_name"):
        # swesmith/owner__name.1234abcd
        repo, _, short_commit = repo.removeprefix("swesmith/").rpartition(".")
        repo = repo.replace("__", "/", 1)
        commit = commit or short_commit
        patch = ""
    return BenchmarkRow(benchmark, instance_id, (instance_id,), _text(raw, "problem_statement"),
                        repo, commit, patch, _text(raw, "test_patch"))


def _multi_swe(raw: dict, benchmark: str) -> BenchmarkRow:
    repo = f"{_text(raw, 'org')}/{_text(raw, 'repo')}"
    number = number_text(raw["number"])
    names = [f"{repo.replace('/', '__', 1)}-{number}", f"{repo}:pr-{number}"]
    if instance_id := _text(raw, "instance_id"):
        names.insert(0, instance_id)
    parts = [raw]
    for issue in raw.get("resolved_issues") or ():
        parts.append(issue if isinstance(issue, dict) else {"body": str(issue)})
    texts = [_text(part, name) for part in parts for name in ("title", "body")]
    base = raw.get("base")
    commit = _text(base, "sha") if isinstance(base, dict) else ""
    return BenchmarkRow(benchmark, names[0], tuple(names), "\n\n".join(filter(None, texts)), repo,
                        commit, _text(raw, "fix_patch"), _text(raw, "test_patch"))


def _text(raw: dict, name: str) -> str:
    value = raw.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"has {json.dumps(value, default=str)[:60]} as `{name}`, not a text")
    return value or ""


# folders of tasks

def _task(folder: Path) -> BenchmarkRow:
    instruction = _content(folder / "instruction.md")
    if not instruction.strip():
        raise Trouble("has no instruction.", str(folder), "Write its instruction.md.")
    return BenchmarkRow(str(folder), folder.name, (folder.name,), instruction,
                        solution=_contents(folder, "solution.*", "solution/*"),
                        tests=_contents(folder, "tests/*.py"))


def _contents(folder: Path, *patterns: str) -> tuple[str, ...]:
    return tuple(_content(file) for pattern in patterns for file in files_below(folder, pattern))


def _content(file: Path) -> str:
    return read_bounded(file, MAX_ROW_BYTES).decode(errors="replace")   # a FIFO would block
