"""Read the test cases that a runner reports: JUnit XML, `go test -json`, jest's JSON or, if no
report has a case, printed lines. The caller passes the patterns of these lines: on the host from
test_runners.toml, in a container from patterns.json next to this file.
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

Patterns = dict   # {runner: {argument of its reader: compiled expression of a line}}
Over = Callable   # (name of the exceeded limit, message) -> an error case
GO_ACTIONS = {"pass": "passed", "fail": "failed", "skip": "skipped"}
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
JSON = json.JSONDecoder()
MAX_LINE_CHARS = 2000   # characters of a printed line that are read
MAX_JSON = 20_000_000   # characters of a JSON value; parsed, it takes up to 50 times as much memory
ENDS = "ends"           # not a runner: {runner: pattern of a line that ends each complete output}


def compiled(tables: dict[str, dict[str, str]]) -> Patterns:
    """Return the tables of test_runners.toml with their expressions compiled."""
    return {runner: {key: re.compile(pattern) for key, pattern in table.items()}
            for runner, table in tables.items()}


def read_results(files: Iterable[tuple[str, bytes]], text: str, patterns: Patterns,
                 over: Over) -> list[Found]:
    """Return the cases of the report files (path, content), in their order. If there are none,
    return the cases in the printed output `text`. For an exceeded limit, add the case that
    over(kind, what) returns."""
    found = (case for path, data in files for case in _file(path, decoded(data), patterns, over))
    cases = [*islice(found, MAX_CASES + 1)] or _file("", text, patterns, over)
    if len(cases) > MAX_CASES:
        cases[MAX_CASES:] = [over("too_many", f"more than {MAX_CASES:,} cases")]
    return cases


# files -------------------------------------------------------------------------------------------

def _file(path: str, text: str, patterns: Patterns, over: Over) -> list[Found]:
    """Return the cases of one file, or of the printed output (path ""); [] if it is no report."""
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
    """Return the cases of jest's JSON or of `go test -json`; other lines may precede the JSON."""
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
    """Return the JSON object at the start of a text; {} if there is none or the text is too large.
    """
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
    """Return {path: short name} for jest's absolute paths. A short name has the file and two
    folders, or as many folders as make all names distinct."""
    for n in range(3, MAX_NESTED):
        short = {path: "/".join(path.rsplit("/", n)[-n:]) for path in paths}
        if len({*short.values()}) == len(short):
            return short
    return {path: path for path in paths}


def _go_json(text: str) -> list[Found]:
    """Return the cases of `go test -json`. If a package failed but none of its cases did, it did
    not build, or crashed: add an error with the package's name."""
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
    """Return the cases of printed output, read by the reader that finds the most."""
    lines = [line[:MAX_LINE_CHARS].rstrip() for line in ANSI.sub("", text).splitlines()]
    read = {runner: [*READERS.get(runner, _listed)(lines, **table)]
            for runner, table in patterns.items() if runner != ENDS}
    runner, cases = max(read.items(), key=lambda item: len(item[1]))
    end = patterns[ENDS].get(runner)
    if cases and end and not _matches(end, lines):
        cases.append((BROKEN_OFF, "error"))
    return cases


def _matches(pattern: re.Pattern, lines: Iterable[str]) -> list[re.Match]:
    """Return the matches of a pattern at the start of lines."""
    return [*filter(None, map(pattern.match, lines))]


def _status(found: re.Match) -> str:
    """Return the status of a case: the name of the status group that matched, else passed."""
    return next(filter(found.groupdict().get, RANKS), "passed")


def _listed(lines: list[str], **patterns: re.Pattern) -> list[Found]:
    """Return the cases of a runner that prints one line a case, with its full name."""
    return [(found["name"], _status(found)) for pattern in patterns.values()
            for found in _matches(pattern, lines)]


def _sections(lines: Iterable[str], heading: re.Pattern) -> Iterator[tuple[dict, list[str]]]:
    """Yield (groups of a heading, lines below it); first ({}, lines above all headings)."""
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
    """Yield the cases whose status is printed on a later line than their name."""
    name = ""
    for line in lines:
        found, ended = begun.match(line), status.match(line)
        if found or line.startswith("===="):
            name = found["name"] if found else ""
        elif name and ended:
            yield name, _status(ended)


def _unittest(lines, case, heading, late) -> Iterator[Found]:
    """Yield the cases of `unittest -v`. The status follows the name, a docstring, or the test's
    output. A subtest's status may be printed after all tests."""
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
    """Yield the cases of `go test -v`, which prints a package's name after its tests."""
    for groups, above in _sections(reversed(lines), package):
        cases = _listed(above, case=case)
        if groups:
            yield from ((f"{groups['package']}::{name}", status) for name, status in cases)
            if groups["failed"] and "failed" not in dict(cases).values():
                yield groups["package"], "error"
        elif cases:
            yield from [*cases, (BROKEN_OFF, "error")]


def _cargo(lines, case, begun, status, target, start, stop) -> Iterator[Found]:
    """Yield the cases of `cargo test`, named after the file of their target, or their crate."""
    for groups, below in _sections(lines, target):
        place = "/".join(filter(None, groups.values())).replace("Doc-tests ", "doc ")
        for name, outcome in (*_listed(below, case=case), *_resumed(below, begun, status)):
            yield "::".join(filter(None, [place, name])), outcome
    if len(_matches(start, lines)) > len(_matches(stop, lines)):
        yield BROKEN_OFF, "error"


def _tap(lines, file, plan, case, comment, died) -> Iterator[Found]:
    """Yield the cases of TAP. Headings name the files, indentation shows subtests, and a comment
    names a group of tape. A repeated name in a file gets a number from 2. A file with fewer cases
    than planned, or one that died, is an error."""
    for heading, below in _sections(lines, file):
        path = [*filter(None, heading.values())]
        used = Counter()
        headings = {}   # {indentation: name}; a group counts as indented 0.5 less than its cases
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
    """Return the headings {indentation: text} with less than this indentation."""
    return {indent: text for indent, text in headings.items() if indent < depth}


def _marks(lines, case, stop, total) -> Iterator[Found]:
    """Yield the cases of mocha, jest, vitest and node, which print a mark before each case and
    indent suites. Stop at the totals. Without totals, yield nothing, since programs that are no
    test runners print such marks, too."""
    if not _matches(total, lines):
        return
    suites = {}   # {indentation: name}
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
