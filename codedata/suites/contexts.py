"""Run a test script once under coverage.py, and read which lines each test executed.

A set of lines is a mask: an integer with a bit for each line. Data of coverage.py and notes of the
plugin were written next to untrusted code, so they are read within limits, and only lines of known
sources count.
"""
from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import quote

from codedata.bounded import read_bounded
from codedata.code.entities import Entity, SourceFile, Sources, captured, query_of, read_sources
from codedata.disk.locks import temporary_folder
from codedata.errors import ItemFailed
from codedata.records import Coverage
from codedata.sandbox import Sandbox
from codedata.sandbox.archives import Bounds
from codedata.suites.project_suite import PLUGINS, REPORTS, RESULTS, Run, place_plugin, run_suite
from codedata.suites.source import TOOLS, run_tool
from codedata.terminal import named
from codedata.texts import printable, storable
from codedata.verifier.junit import MAX_CASES

FOLDER = f"{PLUGINS}contexts"
LANGUAGE = "python"        # the only language whose lines can be measured for each test
# limits of the data files and notes of a run, and of a repository's sources
DATA = Bounds(max_bytes=500_000_000, max_files=1_000, max_depth=2, max_seconds=300)
SOURCES = Bounds(max_bytes=2_000_000_000, max_files=200_000, max_depth=64, max_seconds=300)
MAX_ROWS = 5_000_000       # rows of a data file
MAX_VALUE = 1_000_000      # bytes of a value in a data file
MAX_STEPS = 2_000          # millions of SQLite's steps for all files of a run
MAX_SECONDS = 1e6          # seconds that the notes may give for a test
MAX_NOTES = 200_000_000    # bytes of the notes of a process
MAX_KINDS = 100            # combinations of versions in the notes of a run
TABLES = {"file": {"id", "path"}, "context": {"id", "context"},
          "line_bits": {"file_id", "context_id", "numbits"}}
KINDS = [str, str, bytes]
LINES = ("SELECT context.context, file.path, line_bits.numbits FROM line_bits"
         " JOIN file ON file.id = line_bits.file_id"
         " JOIN context ON context.id = line_bits.context_id")
Masks = dict[str, int]     # {path: mask of its lines}


@dataclass
class Trace:
    """Hold the trace of a test."""

    seconds: float = 0.0
    lines: Masks = field(default_factory=dict)
    starts: set[str] = field(default_factory=set)   # events that make coverage.py miss code
    names: tuple[str, ...] = ()                     # names that reports may give the test


@dataclass(frozen=True)
class ObservedRun:
    """Hold a run of a suite, with the trace of each test."""

    run: Run
    traces: dict[str, Trace]    # by the name of a case
    import_lines: Masks         # lines that ran outside of tests
    about: list[dict]           # the versions of coverage.py, Python and pytest that ran tests


# in the sandbox ----------------------------------------------------------------------------------

def install_coverage(sandbox: Sandbox) -> None:
    """Install coverage.py, with the network on, for each Python that has pytest. Raise ItemFailed
    if it cannot be installed."""
    sandbox.network(True)
    done = run_tool(sandbox, "install_coverage.sh", FOLDER)
    sandbox.network(False)
    if not done.ok:
        raise ItemFailed(f"coverage.py cannot be installed: {printable(done.output[-500:])}")


def sources_in(sandbox: Sandbox) -> Sources:
    """Return the sources in a sandbox's working directory: the files that git tracks, or all files
    if it is no repository. Leave out links that lead out of the directory. Raise ItemFailed if the
    files cannot be copied."""
    with temporary_folder() as folder:
        copy_source(sandbox, folder)
        return read_sources(folder)


def copy_source(sandbox: Sandbox, to: Path) -> None:
    """Copy the files that sources_in() reads to a folder. Raise ItemFailed if that fails."""
    copied = f"{TOOLS}-source"
    done = run_tool(sandbox, "copy_source.sh", sandbox.workdir, copied)
    if not done.ok:
        raise ItemFailed(f"its source cannot be copied: {printable(done.output.strip()[-300:])}")
    sandbox.get(copied, to, SOURCES)
    sandbox.run(f"rm -rf {copied}")


def observe(sandbox: Sandbox, test_script: str, timeout_s: float, sources: Iterable[SourceFile],
            to: Path) -> ObservedRun:
    """Run an unchanged test script once; return the run with the lines of the sources that each
    test executed. Put data files, notes and reports into the folder `to`. Raise ItemFailed if the
    run takes longer than `timeout_s`, or its pytest cannot be measured. Raise it, too, if data
    files or notes cannot be read, or no report names a measured test."""
    source = sandbox.run("pwd -P").output.strip()
    settings = json.dumps({"source": source}).encode()
    variables = place_plugin(sandbox, "contexts", {"settings.json": settings})
    sandbox.run(f"mkdir -m 777 {FOLDER}/data")
    if not variables and sandbox.run(f"[ -e {FOLDER}/coverage ]").ok:
        raise ItemFailed("the plugin cannot be installed with its pytest")
    run = run_suite(sandbox, test_script, timeout_s, env=variables)
    sandbox.get(f"{FOLDER}/data", to / "data", DATA)
    run_tool(sandbox, "place_plugin.sh", FOLDER, "contexts", "remove")
    sandbox.run(f"rm -rf {FOLDER}")
    if sandbox.run(f"[ -d {RESULTS} ]").ok:
        sandbox.get(RESULTS, to / "reports", REPORTS)
    if run.timed_out:
        raise ItemFailed(f"its tests ran longer than {timeout_s:g} s with coverage")
    return _observation(run, to / "data", f"{source}/", sources)


# the results of a run ----------------------------------------------------------------------------

def _observation(run: Run, data: Path, source: str, sources: Iterable[SourceFile]) -> ObservedRun:
    """Return a run with the traces in its data files and notes."""
    limits = {file.path: mask_of([1, len(file.text.splitlines()) + 1]) for file in sources}
    traces, about = _read_notes(data)
    import_lines: Masks = {}
    by_context = {"": import_lines, **{name: trace.lines for name, trace in traces.items()}}
    steps = iter(range(MAX_STEPS))
    for file in sorted(data.glob("*.coverage")):
        for context, path, mask in read_lines(file, steps):
            path = path.removeprefix(source)
            mask &= limits.get(path, 0)
            if mask and context in by_context:
                add_lines(by_context[context], {path: mask})
    cases = {case.name for case in run.results}
    by_case = {name: trace for trace in traces.values() for name in trace.names if name in cases}
    if traces and not by_case:
        raise ItemFailed(f"no report names the tests that ran: {named(sorted(traces))}")
    return ObservedRun(run, by_case, import_lines, about)


def _read_notes(data: Path) -> tuple[dict[str, Trace], list[dict]]:
    """Read the plugin's notes. Return ({context: trace without lines}, the versions). Raise
    ItemFailed if they report a fault, or cannot be read."""
    traces: dict[str, Trace] = {}
    about: list[dict] = []
    for file in sorted(data.glob("*.jsonl")):
        try:
            for kind, *words in map(json.loads, read_bounded(file, MAX_NOTES).splitlines()):
                _take_note(kind, words, traces, about)
                if len(traces) > MAX_CASES or len(about) > MAX_KINDS:
                    raise ValueError("there are too many")
        except (OSError, ValueError, TypeError, LookupError, RecursionError) as e:
            raise ItemFailed(f"the plugin's notes cannot be read: {e}", file.name) from e
    return traces, about


def _take_note(kind: str, words: list, traces: dict[str, Trace], about: list[dict]) -> None:
    """Add a note of the plugin to the traces, or to the versions. Raise ItemFailed for a fault."""
    if kind == "fault":
        raise ItemFailed(f"coverage.py cannot be used: {printable(str(words), 300)}")
    if kind == "test":
        context, names, seconds, starts = words
        trace = traces.setdefault(context, Trace())
        trace.names = tuple(storable(str(name)) for name in names)
        trace.seconds += min(max(0.0, float(seconds)), MAX_SECONDS)
        trace.starts.update(storable(str(event)) for event in starts)
    elif (version := storable(dict(words[0]))) not in about:
        about.append(version)


def read_lines(file: Path, steps: Iterator[int]) -> Iterator[tuple[str, str, int]]:
    """Yield (context, path, mask of lines) from a data file of coverage.py. Raise ItemFailed for
    any other file, or above a limit. Each million steps of SQLite takes one item from `steps`;
    reading fails when `steps` is used up."""
    # an intact file refers to each set of lines once, so all sets together are shorter than it
    room = file.stat().st_size
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro&immutable=1",
                                     uri=True)) as db:
            db.set_progress_handler(lambda: next(steps, None) is None, 1_000_000)
            db.execute("PRAGMA trusted_schema = OFF")
            _check_tables(db)
            for n, row in enumerate(db.execute(LINES)):
                if n == MAX_ROWS or [*map(type, row)] != KINDS or max(map(len, row)) > MAX_VALUE:
                    raise ItemFailed("exceeds a limit, or is not a file of coverage.py", file.name)
                context, path, bits = row
                room -= len(bits)
                if room < 0:
                    raise ItemFailed("names a set of lines several times", file.name)
                yield context, path, int.from_bytes(bits, "little")
    except sqlite3.Error as e:
        raise ItemFailed(f"is not a data file of coverage.py: {printable(str(e), 200)}",
                         file.name) from e


def _check_tables(db: sqlite3.Connection) -> None:
    """Raise sqlite3.Error if a table or column is missing, or if a table is a view or has computed
    columns, which could use any amount of time and memory."""
    for table, columns in TABLES.items():
        kinds = [*db.execute("SELECT type FROM sqlite_master WHERE name = ?", (table,))]
        rows = [*db.execute(f"PRAGMA table_xinfo({table})")]
        hidden = [row for row in rows if row[6]]
        if kinds != [("table",)] or hidden or not columns <= {row[1] for row in rows}:
            raise sqlite3.DatabaseError(f"its table {table} has another form")


# lines and functions -----------------------------------------------------------------------------

def mask_of(ranges: list[int]) -> int:
    """Return the mask of the lines in ranges [first, last, first, last, …]."""
    mask = 0
    for first, last in zip(ranges[::2], ranges[1::2], strict=True):
        mask |= ((1 << last - first + 1) - 1) << first
    return mask


def masks_of(ranges: dict[str, list[int]]) -> Masks:
    """Return {path: mask of its ranges}."""
    return {path: mask_of(lines) for path, lines in ranges.items()}


def ranges_of(mask: int) -> list[int]:
    """Return the ranges [first, last, first, last, …] of a mask."""
    bits = bin(mask)[:1:-1]
    return [n for run in re.finditer("1+", bits) for n in (run.start(), run.end() - 1)]


def lines_by_test(record: Coverage) -> list[Masks]:
    """Return the lines that each test of a record executed."""
    sets = [*map(mask_of, record.line_sets)]
    return [{record.files[int(i)]: sets[k] for i, k in test["lines"].items()}
            for test in record.tests]


def add_lines(lines: Masks, more: Masks) -> None:
    """Add the masks in `more` to `lines`."""
    for path, mask in more.items():
        lines[path] = lines.get(path, 0) | mask


def runnable(file: SourceFile) -> int:
    """Return the mask of the lines on which the statements of a Python file begin. Leave out those
    that do not run: docstrings, other constants, `global` and `nonlocal`."""
    found = captured(file, query_of(LANGUAGE, "python_statements.scm"))
    nothing = {node.id for node in found.get("nothing", [])}
    lines = {node.start_point.row + 1 for node in found.get("statement", [])
             if node.id not in nothing}
    return sum(1 << line for line in lines)


def functions_by_lines(entities: Mapping[str, list[Entity]]) -> Callable[[Masks], list[str]]:
    """Return a function that maps masks of lines to the sorted ids of the functions that ran: a
    line of their body was executed. Cache its results, since many tests run the same lines."""
    bodies = {path: [(one.id, mask_of(one.body_lines)) for one in found if one.kind != "class"]
              for path, found in entities.items()}

    @cache
    def in_file(path: str, mask: int) -> list[str]:
        return [id for id, body in bodies.get(path, ()) if body & mask]

    return lambda lines: sorted(id for path, mask in lines.items() for id in in_file(path, mask))
