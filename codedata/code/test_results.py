"""Parse the reports of test runners into one list of cases: name, status (passed, failed, error or
skipped) and, where JUnit XML has them, seconds.

Supported are JUnit XML (pytest, unittest, jest, vitest, mocha, node, go, cargo, Maven, Gradle), `go
test -json`, jest's JSON and, where none of these has a case, the printed output. A name is what the
runner calls the case, with its file, class or suite before it; for pytest that is its node id.
Cases of the same name are merged into one with the worst status, so that the list does not depend
on the order of the reports. A report or output that is cut short adds an error case (BROKEN_OFF).
It is not guaranteed that runners agree on names.
"""
from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from codedata.code.junit import BROKEN_OFF, MAX_CASES, MAX_NESTED, Found, decoded, read_junit
from codedata.records import storable
from codedata.texts import printable, text_of

try:
    import tomllib
except ImportError:   # Python 3.10
    import tomli as tomllib

STATUSES = ("passed", "skipped", "failed", "error")   # from good to bad
GO_ACTIONS = {"pass": "passed", "fail": "failed", "skip": "skipped"}
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
MAX_LINE_CHARS = 2000   # characters of a printed line that are read
MAX_JSON = 20_000_000   # characters of a JSON value, which takes up to fifty times as much memory
OVER = re.compile(r"\((results_too_\w+): (.*)\)")
PRINTED = {runner: {key: re.compile(pattern) for key, pattern in table.items()} for runner, table in
           tomllib.loads(text_of("codedata.code", "test_runners.toml")).items()}
ENDS = PRINTED.pop("ends")


@dataclass(frozen=True)
class Case:
    """Hold the outcome of a test case: its status is one of STATUSES."""

    name: str
    status: str
    seconds: float | None = None    # None where no report has it

    @classmethod
    def of(cls, row: Mapping) -> Case:
        """Return the case of a row {name, status}. Its status may be in upper case."""
        return cls(row["name"], row["status"].lower(), row.get("seconds"))


def parse(files: dict[str, bytes], text: str = "", beside: Iterable[Found] = ()) -> list[Case]:
    """Return the cases of the report files {path: content}, sorted by name; where those have
    none, the cases in `text`, which the runner printed. The cases `beside` are added. Whatever
    is left out for its size becomes an error case."""
    found = (case for path, data in sorted(files.items()) for case in _file(path, data))
    cases = [*islice(found, MAX_CASES + 1)] or _text(text)
    if len(cases) > MAX_CASES:
        beside = [*beside, over("too_many", f"more than {MAX_CASES:,} cases")]
    cases = sorted([*cases[:MAX_CASES], *beside], key=lambda case: STATUSES.index(case[1]))
    worst = {storable(name): found for name, *found in cases}   # the last one counts
    return [Case(name, *found) for name, found in sorted(worst.items())]


def over(kind: str, what: str) -> Found:
    """Return an error case that says which limit was reached: too_large, too_many, too_deep,
    too_slow."""
    return f"(results_{kind}: {printable(what, 200).replace('::', ':')})", "error"


def not_collected(results: list[Case]) -> list[str]:
    """Return the names of files, modules and packages whose cases never ran."""
    errors = [case.name for case in results if case.status == "error"]
    return [name for name in errors if "::" not in name or "_FailedTest" in name]


def counts(results: list[Case]) -> dict[str, int]:
    """Return {status: number of cases}, with every status."""
    return {status: sum(case.status == status for case in results) for status in STATUSES}


def place_of(name: str, paths: Container[str]) -> tuple[str, str]:
    """Return (path, qualified name in that file) of a test, by the name that a runner gives it:
    path::Class::test_x[a], or package.module.Class::test_x. Both are "" where none of the `paths`
    fits."""
    head, _, rest = name.partition("[")[0].partition("::")
    qualified = rest.replace("::", ".")
    if head in paths:
        return head, qualified
    dotted = head.split(".")
    for n in range(len(dotted), 0, -1):
        path = "/".join(dotted[:n]) + ".py"
        if path in paths:
            return path, ".".join([*dotted[n:], qualified]).strip(".")
    return "", ""


# files -------------------------------------------------------------------------------------------

def _file(path: str, data: bytes) -> list[Found]:
    """Return the cases of one file; none where it is not a report."""
    text = decoded(data)
    head = text.lstrip()[:1]
    try:
        if head == "<" or (not head and path.endswith(".xml")):
            return read_junit(path, text, over)
        return _json(text) if head == "{" else _text(text)
    except RecursionError:
        return [over("too_deep", f"{path} is nested too deep")]
    except (ValueError, LookupError, TypeError, AttributeError):   # JSON with another structure
        return []


def _json(text: str) -> list[Found]:
    """Return the cases of jest's JSON or of `go test -json`."""
    report = _loaded(text)
    if "testResults" in report:
        return [*_jest(report["testResults"])]
    cases = _go_json(text)
    if len(text) > MAX_JSON and not cases:
        return [over("too_large", f"more than {MAX_JSON:,} characters of JSON")]
    return cases


def _loaded(text: str) -> dict:
    """Return the JSON object in a text; an empty one where there is none or it is too large."""
    try:
        value = json.loads(text) if len(text) <= MAX_JSON else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _jest(files: list[dict]) -> Iterator[Found]:
    """Yield the cases of jest's JSON."""
    paths = _short([str(file.get("name", "")) for file in files])
    for path, file in zip(paths, files, strict=True):
        cases = file.get("assertionResults", [])
        for case in cases:
            title = " > ".join([*case.get("ancestorTitles", []), case.get("title", "")])
            status = case.get("status")
            yield f"{path}::{title}", status if status in ("passed", "failed") else "skipped"
        if not cases and file.get("status") == "failed":
            yield path, "error"


def _short(paths: list[str]) -> list[str]:
    """Return a short name for each of jest's absolute paths: the file with the two folders above
    it, or with as many as make all names distinct."""
    for n in range(3, MAX_NESTED):
        short = ["/".join(path.rsplit("/", n)[-n:]) for path in paths]
        if len(set(short)) == len(set(paths)):
            return short
    return paths


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

def _text(text: str) -> list[Found]:
    """Return the cases of printed output, by the reader that finds most of them."""
    lines = [line[:MAX_LINE_CHARS].rstrip() for line in ANSI.sub("", text).splitlines()]
    read = {runner: [*READERS.get(runner, _listed)(lines, **patterns)]
            for runner, patterns in PRINTED.items()}
    runner, cases = max(read.items(), key=lambda item: len(item[1]))
    if cases and runner in ENDS and not _matches(ENDS[runner], lines):
        cases.append((BROKEN_OFF, "error"))
    return cases


def _matches(pattern: re.Pattern, lines: Iterable[str]) -> list[re.Match]:
    """Return the matches of those lines that have one."""
    return [*filter(None, map(pattern.match, lines))]


def _status(found: re.Match) -> str:
    """Return the status of a case by the groups that took part in the match of its line."""
    return next(filter(found.groupdict().get, STATUSES), "passed")


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
        if found := heading.match(line):
            yield groups, below
            groups = found.groupdict("")
            below = []
        else:
            below.append(line)
    yield groups, below


def _unittest(lines, case, heading) -> Iterator[Found]:
    """Yield the cases of `unittest -v`. The status is printed after the name, after a docstring,
    or after the output of the test."""
    name = ""
    for line in lines:
        if found := heading.match(line):
            place = found["place"].removesuffix("." + found["method"])
            name = f"{place}::{found['method']}"
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


def _cargo(lines, case, target, start, stop) -> Iterator[Found]:
    """Yield the cases of `cargo test`, under the file of their target, or under their crate."""
    for groups, below in _sections(lines, target):
        place = "/".join(filter(None, groups.values())).replace("Doc-tests ", "doc ")
        for name, status in _listed(below, case=case):
            yield "::".join(filter(None, [place, name])), status
    if len(_matches(start, lines)) > len(_matches(stop, lines)):
        yield BROKEN_OFF, "error"


def _tap(lines, file, plan, case, comment) -> Iterator[Found]:
    """Yield the cases of TAP: prove's files, subtests by their indentation, tape's groups by the
    comment above them. A repeated name gets its number at the end. A file with fewer cases than
    planned is an error."""
    used = set()
    for heading, below in _sections(lines, file):
        path = [*heading.values()]
        headings = {}   # by their indentation; a group's is half a step less than that of its cases
        n = 0
        for line in below:
            if not (found := case.match(line) or comment.match(line)):
                continue
            depth = len(found["indent"])
            name = found["name"].strip()
            if found.re is comment:
                headings = _outer(headings, depth - 0.5)
                headings[depth if found["subtest"] else depth - 0.5] = name
                continue
            name = name or f"test {found['number']}"
            name = " > ".join([*path, *_outer(headings, depth).values(), name])
            yield f"{name} ({found['number']})" if name in used else name, _status(found)
            used.add(name)
            if depth == 0:
                n += 1
        plans = [int(found["n"]) for found in _matches(plan, below)]
        if plans and n < plans[-1]:
            yield "".join(path) or f"{plans[-1] - n} of {plans[-1]} planned tests", "error"
        elif n and not plans:
            yield " ".join([*path, BROKEN_OFF]), "error"


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
        if found := case.match(line):
            marked = True
            yield " > ".join([*outer.values(), found["name"]]), _status(found)
        elif line:
            suites = outer
            if depth or line.startswith("▶"):
                suites[depth] = line.strip().removeprefix("▶ ")


READERS = {"unittest": _unittest, "go": _go, "cargo": _cargo, "tap": _tap, "marks": _marks}
