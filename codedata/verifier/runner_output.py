"""Read the cases of whatever test runners write: JUnit XML, `go test -json`, jest's JSON and, where
no report has a case, lines of printed output. The patterns of these lines are the caller's: those
of test_runners.toml, or of patterns.json beside this file.
"""
from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from codedata.verifier.junit import (
    BROKEN_OFF,
    MAX_CASES,
    MAX_NESTED,
    RANKS,
    Found,
    decoded,
    read_junit,
)

Patterns = dict   # of lines: {runner: {argument of its reader: compiled expression}}
Over = Callable   # (which limit, what is over it) -> an error case
GO_ACTIONS = {"pass": "passed", "fail": "failed", "skip": "skipped"}
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
JSON = json.JSONDecoder()
MAX_LINE_CHARS = 2000   # characters of a printed line that are read
MAX_JSON = 20_000_000   # characters of a JSON value, which takes up to fifty times as much memory
ENDS = "ends"           # holds patterns of lines that always end an output, not of a runner


def compiled(tables: dict[str, dict[str, str]]) -> Patterns:
    """Return the tables of test_runners.toml with their expressions compiled."""
    return {runner: {key: re.compile(pattern) for key, pattern in table.items()}
            for runner, table in tables.items()}


def read_results(files: Iterable[tuple[str, bytes]], text: str, patterns: Patterns,
                 over: Over) -> list[Found]:
    """Return the cases of the report files (path, content), in their order; where those have none,
    the cases in `text`, which the runner printed. Over a limit, what over(kind, what) returns is
    among them."""
    found = (case for path, data in files for case in _file(path, decoded(data), patterns, over))
    cases = [*islice(found, MAX_CASES + 1)] or _file("", text, patterns, over)
    if len(cases) > MAX_CASES:
        cases[MAX_CASES:] = [over("too_many", f"more than {MAX_CASES:,} cases")]
    return cases


# files -------------------------------------------------------------------------------------------

def _file(path: str, text: str, patterns: Patterns, over: Over) -> list[Found]:
    """Return the cases of one file, or of what was printed; none where it is not a report."""
    head = text.lstrip()[:1]
    if path and (head == "<" or (not head and path.endswith(".xml"))):
        return read_junit(path, text, over)
    cases = []
    try:
        cases = _json(text, over)
    except RecursionError:
        cases = [over("too_deep", f"{path} is nested too deep")] if path else []
    except (LookupError, TypeError, AttributeError):   # JSON with another structure
        pass
    return cases or _text(text, patterns)


def _json(text: str, over: Over) -> list[Found]:
    """Return the cases of jest's JSON or of `go test -json`, also behind other lines."""
    begins = re.search(r"^[ \t]*\{", text, re.MULTILINE)
    if not begins:
        return []
    whole = text[begins.start():]
    for report in map(_loaded, (whole, *whole.splitlines())):
        if "testResults" in report:
            return [*_jest(report["testResults"])]
    cases = _go_json(whole)
    if len(whole) > MAX_JSON and not cases and not text[:begins.start()].strip():
        return [over("too_large", f"more than {MAX_JSON:,} characters of JSON")]
    return cases


def _loaded(text: str) -> dict:
    """Return the JSON object that a text begins with; an empty one where there is none or the text
    is too large."""
    try:
        value, _ = JSON.raw_decode(text.lstrip()) if len(text) <= MAX_JSON else ({}, 0)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _jest(files: list[dict]) -> Iterator[Found]:
    """Yield the cases of jest's JSON."""
    paths = _short([str(file.get("name", "")) for file in files])
    for file in files:
        path = paths[str(file.get("name", ""))]
        cases = file.get("assertionResults", [])
        for case in cases:
            title = " > ".join(map(str, [*case.get("ancestorTitles", []), case.get("title", "")]))
            status = case.get("status")
            yield f"{path}::{title}", status if status in ("passed", "failed") else "skipped"
        if not cases and file.get("status") == "failed":
            yield path, "error"


def _short(paths: list[str]) -> dict[str, str]:
    """Return {path: short name} of jest's absolute paths: the file with the two folders above it,
    or with as many as make all names distinct."""
    for n in range(3, MAX_NESTED):
        short = {path: "/".join(path.rsplit("/", n)[-n:]) for path in paths}
        if len({*short.values()}) == len(short):
            return short
    return {path: path for path in paths}


def _go_json(text: str) -> list[Found]:
    """Return the cases of `go test -json`. A package that failed without a failed case did not
    build, or crashed: it is an error."""
    cases, failed = [], []
    for event in map(_loaded, text.splitlines()):
        status = GO_ACTIONS.get(event.get("Action"))
        package = str(event.get("Package", ""))
        if status and "Test" in event:
            cases.append((f"{package}::{event['Test']}", status))
        elif status == "failed":
            failed.append(package)
    blamed = {name.partition("::")[0] for name, status in cases if status == "failed"}
    return cases + [(package, "error") for package in failed if package not in blamed]


# printed output ----------------------------------------------------------------------------------

def _text(text: str, patterns: Patterns) -> list[Found]:
    """Return the cases of printed output, by the reader that finds most of them."""
    lines = [line[:MAX_LINE_CHARS].rstrip() for line in ANSI.sub("", text).splitlines()]
    read = {runner: [*READERS.get(runner, _listed)(lines, **table)]
            for runner, table in patterns.items() if runner != ENDS}
    runner, cases = max(read.items(), key=lambda item: len(item[1]))
    end = patterns[ENDS].get(runner)
    if cases and end and not _matches(end, lines):
        cases.append((BROKEN_OFF, "error"))
    return cases


def _matches(pattern: re.Pattern, lines: Iterable[str]) -> list[re.Match]:
    """Return the matches of those lines that have one."""
    return [*filter(None, map(pattern.match, lines))]


def _status(found: re.Match) -> str:
    """Return the status of a case by the groups that took part in the match of its line."""
    return next(filter(found.groupdict().get, RANKS), "passed")


def _listed(lines: list[str], **patterns: re.Pattern) -> list[Found]:
    """Return the cases of a runner that prints each in a line of its own, with its full name."""
    return [(found["name"], _status(found)) for pattern in patterns.values()
            for found in _matches(pattern, lines)]


def _sections(lines: Iterable[str], heading: re.Pattern) -> Iterator[tuple[dict, list[str]]]:
    """Yield (groups of a heading, lines below it); for the lines above the first heading, the
    groups are empty."""
    groups = {}
    below = []
    for line in lines:
        found = heading.match(line)
        if found:
            yield groups, below
            groups = found.groupdict("")
            below = []
        else:
            below.append(line)
    yield groups, below


def _pytest(lines, begun, status, **listed) -> Iterator[Found]:
    """Yield the cases of pytest."""
    yield from _listed(lines, **listed)
    yield from _resumed(lines, begun, status)


def _resumed(lines, begun, status) -> Iterator[Found]:
    """Yield the cases whose status stands in a line of its own, below that with their name."""
    name = ""
    for line in lines:
        found, ended = begun.match(line), status.match(line)
        if found or line.startswith("===="):
            name = found["name"] if found else ""
        elif name and ended:
            yield name, _status(ended)


def _unittest(lines, case, heading, late) -> Iterator[Found]:
    """Yield the cases of `unittest -v`. The status is printed after the name, after a docstring,
    or after the output of the test; that of a subtest may come after all tests."""
    name = ""
    for line in lines:
        found = heading.match(line) or late.match(line)
        if found:
            method = found["method"]
            place = re.sub(rf"\.{re.escape(method)}$", "", found["place"])
            name = f"{place}::{method}"
            if found.re is late:
                yield name, _status(found)
                name = ""
        status = case.match(line)
        if name and status and ("..." in line or not found):
            yield name, _status(status)
            name = ""
        elif line.startswith("======"):
            name = ""


def _go(lines, case, package) -> Iterator[Found]:
    """Yield the cases of `go test -v`, where a package's name follows its tests."""
    for groups, above in _sections(reversed(lines), package):
        cases = _listed(above, case=case)
        if groups:
            yield from ((f"{groups['package']}::{name}", status) for name, status in cases)
            if groups["failed"] and "failed" not in dict(cases).values():
                yield groups["package"], "error"
        elif cases:
            yield from [*cases, (BROKEN_OFF, "error")]


def _cargo(lines, case, begun, status, target, start, stop) -> Iterator[Found]:
    """Yield the cases of `cargo test`, under the file of their target, or under their crate."""
    for groups, below in _sections(lines, target):
        place = "/".join(filter(None, groups.values())).replace("Doc-tests ", "doc ")
        for name, outcome in (*_listed(below, case=case), *_resumed(below, begun, status)):
            yield "::".join(filter(None, [place, name])), outcome
    if len(_matches(start, lines)) > len(_matches(stop, lines)):
        yield BROKEN_OFF, "error"


def _tap(lines, file, plan, case, comment, died) -> Iterator[Found]:
    """Yield the cases of TAP: files by their headings, subtests by their indentation, tape's groups
    by the comment above them. From the second time on that a file has a name, it gets at its end
    which time that is. A file with fewer cases than planned, or one that died, is an error."""
    for heading, below in _sections(lines, file):
        path = [*filter(None, heading.values())]
        used = Counter()
        headings = {}   # by their indentation; a group's is half a step less than that of its cases
        n = 0
        for line in below:
            found = case.match(line) or comment.match(line)
            if not found:
                continue
            depth = len(found["indent"])
            name = found["name"].strip()
            if found.re is comment:
                headings = _outer(headings, depth - 0.5)
                headings[depth if found["subtest"] else depth - 0.5] = name
                continue
            name = name or f"test {found['number']}"
            name = " > ".join([*path, *_outer(headings, depth).values(), name])
            used[name] += 1
            yield f"{name} ({used[name]})" if used[name] > 1 else name, _status(found)
            if depth == 0:
                n += 1
        plans = [int(found["n"]) for found in _matches(plan, below)]
        if plans and n < plans[-1]:
            yield "".join(path) or f"{plans[-1] - n} of {plans[-1]} planned tests", "error"
        elif not plans and (n or _matches(died, below)):
            yield "".join(path) or BROKEN_OFF, "error"


def _outer(headings: dict[float, str], depth: float) -> dict[float, str]:
    """Return those of the headings {indentation: text} that are less indented."""
    return {indent: text for indent, text in headings.items() if indent < depth}


def _marks(lines, case, stop, total) -> Iterator[Found]:
    """Yield the cases of mocha, jest, vitest and node: a mark stands before each case, and
    suites are indented. Reading ends where the totals begin. Many programs that test nothing
    print such marks, so without totals there is no case."""
    if not _matches(total, lines):
        return
    suites = {}   # by their indentation
    marked = False
    for line in lines:
        if marked and stop.match(line):
            return
        depth = len(line) - len(line.lstrip())
        outer = _outer(suites, depth)
        found = case.match(line)
        if found:
            marked = True
            yield " > ".join([*outer.values(), found["name"]]), _status(found)
        elif line:
            suites = outer
            if depth or line.startswith("▶"):
                suites[depth] = re.sub("^▶ ", "", line.strip())


READERS = {"pytest": _pytest, "unittest": _unittest, "go": _go, "cargo": _cargo, "tap": _tap,
           "marks": _marks}
