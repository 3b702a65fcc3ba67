"""Parse the reports of test runners into one list: [{"name", "status"}], status passed, failed,
error or skipped.

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
from collections.abc import Iterable, Iterator
from itertools import islice
from xml.parsers import expat

from codedata.records import storable
from codedata.texts import printable

STATUSES = ("passed", "skipped", "failed", "error")   # from good to bad
Case = tuple[str, str]                                # name, status
TAGS = {"failure": "failed", "error": "error", "skipped": "skipped"}
# These characters are forbidden in XML, but runners write them, raw or as a numeric reference.
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]|&#(?:x0*(?:[0-8bcef]|1[0-9a-f])|0*(?:[0-8]|1[124-9]|2\d|3[01]));",
                     re.IGNORECASE)
ENCODING = re.compile(rb"\s*<\?xml[^>]*?encoding=[\"']([\w-]+)")
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
BROKEN_OFF = "(broken off before its end)"
MAX_LINE_CHARS = 2000   # characters of a printed line that are read
MAX_CASES = 200_000
MAX_NESTED = 100      # elements of a report, or folders of a path
MAX_JSON = 20_000_000   # characters of a JSON value, which takes up to fifty times as much memory
OVER = re.compile(r"\((results_too_\w+): (.*)\)")
NOT_RUN = {"notrun", "disabled", "suppressed", "skipped", "ignored"}   # attribute values of GoogleTest and others


def parse(files: dict[str, bytes], text: str = "", beside: Iterable[Case] = ()) -> list[dict[str, str]]:
    """Return the cases of the report files {path: content}, sorted by name; where those have
    none, the cases in `text`, which the runner printed. The cases `beside` are added. Whatever
    is left out for its size becomes an error case."""
    found = (case for path, data in sorted(files.items()) for case in _file(path, data))
    cases = [*islice(found, MAX_CASES + 1)] or _text(text)
    if len(cases) > MAX_CASES:
        beside = [*beside, over("too_many", f"more than {MAX_CASES:,} cases")]
    worst: dict[str, str] = {}
    for name, status in (*cases[:MAX_CASES], *beside):
        name = storable(name)
        worst[name] = max(worst.get(name, status), status, key=STATUSES.index)
    return [{"name": name, "status": worst[name]} for name in sorted(worst)]


def over(kind: str, what: str) -> Case:
    """Return an error case that says which limit was reached: too_large, too_many, too_deep,
    too_slow."""
    return f"(results_{kind}: {printable(what, 200).replace('::', ':')})", "error"


def not_collected(results: list[dict[str, str]]) -> list[str]:
    """Return the names of files, modules and packages whose cases never ran."""
    return [case["name"] for case in results
            if case["status"] == "error" and ("::" not in case["name"] or "_FailedTest" in case["name"])]


def counts(results: list[dict[str, str]]) -> dict[str, int]:
    """Return {status: number of cases}, with every status."""
    return {status: sum(case["status"] == status for case in results) for status in STATUSES}


# files ---------------------------------------------------------------------------------------------------------------

def _file(path: str, data: bytes) -> list[Case]:
    """Return the cases of one file; none where it is not a report."""
    text = _decoded(data)
    head = text.lstrip()[:1]
    try:
        if head == "<" or (not head and path.endswith(".xml")):
            return _junit(path, text)
        return _json(text) if head == "{" else _text(text)
    except RecursionError:
        return [over("too_deep", f"{path} is nested too deep")]
    except (ValueError, LookupError, TypeError, AttributeError):   # JSON with another structure
        return []


def _decoded(data: bytes) -> str:
    """Return the text of a file, in the encoding that it declares."""
    named = ENCODING.match(data)
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else named[1].decode() if named else "utf-8-sig"
    try:
        return data.decode(encoding, "replace")
    except (LookupError, UnicodeError):
        return data.decode("utf-8", "replace")


def _junit(path: str, text: str) -> list[Case]:
    """Return the cases of JUnit XML in the order in which they end. A report that was cut short
    gives its complete cases. No tree is built."""
    cases, suites, tags, found = [], [], [], []   # the last three belong to open elements
    case = {}

    def refuse(kind: str, what: str) -> None:
        cases.append(over(kind, f"{path} {what}"))
        raise expat.ExpatError

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal case
        if tag == "testsuite":
            suites.append(attributes.get("name", ""))
        elif tag == "testcase":
            case = attributes
            found.clear()
        elif tag in TAGS and tags[-1:] == ["testcase"]:
            found.append(TAGS[tag])
        tags.append(tag)
        if len(tags) > MAX_NESTED:
            refuse("too_deep", "is nested too deep")

    def end(tag: str) -> None:
        tags.pop()
        if tag == "testsuite":
            suites.pop()
        elif tag == "testcase":
            if NOT_RUN & {case.get("status", "").lower(), case.get("result", "").lower()}:
                found.append("skipped")
            cases.append((_junit_name(case, suites), max(found, key=STATUSES.index, default="passed")))
            if len(cases) > MAX_CASES:
                raise expat.ExpatError

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.EntityDeclHandler = lambda *_: refuse("too_large", "declares entities, which may stand for any length")
    try:
        parser.Parse(CONTROL.sub("?", text), True)
    except expat.ExpatError:
        if "<testsuite" in text or not text.strip():
            cases.append((f"{path} {BROKEN_OFF}", "error"))
    return cases


def _junit_name(case: dict[str, str], suites: list[str]) -> str:
    """Return the name of a case, with its file, class or suite."""
    name, group, file = (case.get(key) or "" for key in ("name", "classname", "file"))
    if file.endswith(".py"):
        module = file.removesuffix(".py").replace("/", ".")
        if group == module or group.startswith(module + "."):
            return "::".join([file, *filter(None, group[len(module) + 1:].split(".")), name])
    if group == "test":   # node writes this; only the suites tell its cases apart
        return " > ".join([*filter(None, suites), name])
    group = group or next((suite for suite in reversed(suites) if suite not in ("", "pytest")), "")
    return f"{group}::{name}" if group and group != name else name


def _json(text: str) -> list[Case]:
    """Return the cases of jest's JSON or of `go test -json`."""
    if len(text) > MAX_JSON:
        return _go_json(text) or [over("too_large", f"more than {MAX_JSON:,} characters of JSON")]
    try:
        whole = json.loads(text)
    except ValueError:
        return _go_json(text)
    return list(_jest(whole)) if "testResults" in whole else _go_json(text)


def _jest(report: dict) -> Iterator[Case]:
    """Yield the cases of jest's JSON."""
    status = {"passed": "passed", "failed": "failed"}
    short = _short([str(file.get("name", "")) for file in report["testResults"]])
    for file in report["testResults"]:
        path = short[str(file.get("name", ""))]
        for case in file.get("assertionResults", []):
            title = " > ".join([*case.get("ancestorTitles", []), case.get("title", "")])
            yield f"{path}::{title}", status.get(case.get("status"), "skipped")
        if not file.get("assertionResults") and file.get("status") == "failed":
            yield path, "error"


def _short(paths: list[str]) -> dict[str, str]:
    """Return a short name for each of jest's absolute paths: the file with the two folders above
    it, or with as many as make all names distinct."""
    for n in range(3, min(MAX_NESTED, max((path.count("/") for path in paths), default=0) + 2)):
        short = {path: "/".join(path.split("/")[-n:]) for path in paths}
        if len(set(short.values())) == len(short):
            return short
    return {path: path for path in paths}


def _go_json(text: str) -> list[Case]:
    """Return the cases of `go test -json`."""
    status = {"pass": "passed", "fail": "failed", "skip": "skipped"}
    cases, failed = [], []
    for line in text.splitlines():
        try:
            event = json.loads(line) if len(line) <= MAX_JSON else None
        except ValueError:
            continue
        if not isinstance(event, dict) or event.get("Action") not in status:
            continue
        package = str(event.get("Package", ""))
        if "Test" in event:
            cases.append((f"{package}::{event['Test']}", status[event["Action"]]))
        elif event["Action"] == "fail":
            failed.append(package)
    blamed = {name.partition("::")[0] for name, status in cases if status == "failed"}
    return cases + [(package, "error") for package in failed if package not in blamed]   # it did not build, or crashed


# text ----------------------------------------------------------------------------------------------------------------

def _text(text: str) -> list[Case]:
    """Return the cases of printed output, by the reader that finds most of them."""
    lines = [line[:MAX_LINE_CHARS].rstrip() for line in ANSI.sub("", text).splitlines()]
    cases, end = max(((list(read(lines)), end) for read, end in READERS.items()), key=lambda found: len(found[0]))
    if cases and end and not any(map(end.match, lines)):
        cases.append((BROKEN_OFF, "error"))
    return cases


PYTEST = {"PASSED": "passed", "FAILED": "failed", "ERROR": "error", "SKIPPED": "skipped", "XFAIL": "skipped",
          "XPASS": "passed"}
OUTCOME = rf"(?P<status>{'|'.join(PYTEST)})"
PYTEST_LINE = re.compile(rf"(?P<name>\S+\.py(?:::.+?)?) {OUTCOME}(?: \(.*\))?(?:\s+\[\s*\d+%\])?$")
PYTEST_SUMMARY = re.compile(rf"(?:\[gw\d+\] \[\s*\d+%\] )?{OUTCOME} (?P<name>\S+\.py(?:::.+?)?)(?: - .*)?$")


def _pytest(lines: list[str]) -> Iterator[Case]:
    """Yield the cases of `pytest -v`, of xdist, and of the summary (-rA)."""
    for line in lines:
        if found := PYTEST_LINE.match(line) or PYTEST_SUMMARY.match(line):
            yield found["name"], PYTEST[found["status"]]


UNITTEST_NAME = re.compile(r"(?P<method>[\w.]+) \((?P<place>[\w.<>-]+)\)")
UNITTEST_END = re.compile(r"(?:^|.*\W)(?P<status>ok|FAIL|ERROR|skipped\b.*|expected failure|unexpected success)$")
UNITTEST = {"ok": "passed", "FAIL": "failed", "ERROR": "error", "expected failure": "skipped",
            "unexpected success": "failed"}


def _unittest(lines: list[str]) -> Iterator[Case]:
    """Yield the cases of `unittest -v`. The status is printed after the name, after a docstring,
    or after the output of the test."""
    name = ""
    for line in lines:
        if found := UNITTEST_NAME.match(line):
            place = found["place"].removesuffix("." + found["method"])
            name = f"{place}::{found['method']}"
        end = UNITTEST_END.match(line)
        if name and end and ("..." in line or not found):
            yield name, UNITTEST.get(end["status"], "skipped")
            name = ""
        elif line.startswith("======"):
            name = ""


GO_LINE = re.compile(r"\s*--- (?P<status>PASS|FAIL|SKIP): (?P<name>\S+) \(")
GO_PACKAGE = re.compile(r"(?P<status>ok|FAIL)\s+(?P<package>[\w./~-]*\w)\s+(?:[\d.]+s|\(cached\)|\[build failed\]).*$")


def _go(lines: list[str]) -> Iterator[Case]:
    """Yield the cases of `go test -v`, where a package's name follows its tests."""
    pending: list[Case] = []
    for line in lines:
        if found := GO_LINE.match(line):
            pending.append((found["name"], {"PASS": "passed", "FAIL": "failed", "SKIP": "skipped"}[found["status"]]))
        elif found := GO_PACKAGE.match(line):
            yield from ((f"{found['package']}::{name}", status) for name, status in pending)
            if found["status"] == "FAIL" and all(status != "failed" for _, status in pending):
                yield found["package"], "error"
            pending = []
    yield from pending
    if pending:
        yield BROKEN_OFF, "error"


CARGO_TARGET = re.compile(r"\s*(?:Running (?:unittests )?(?P<file>\S+)(?: \(\S*?(?P<crate>[\w-]+)-[0-9a-f]{8,}\))?|"
                          r"Doc-tests (?P<doc>\S+))")
CARGO_PART = re.compile(r"running \d+ tests?$|(?P<end>test result: )")
CARGO_ROOTS = ("src/lib.rs", "src/main.rs")
CARGO_LINE = re.compile(r"test (?P<name>.+?)(?: - should panic)? \.\.\. (?P<status>ok|FAILED|ignored)\b")


def _cargo(lines: list[str]) -> Iterator[Case]:
    """Yield the cases of `cargo test`."""
    target, n_open = "", 0
    for line in lines:
        if found := CARGO_PART.match(line):
            n_open += -1 if found["end"] else 1
        elif found := CARGO_TARGET.match(line):
            target = f"doc {found['doc']}" if found["doc"] else found["file"]
            if found["crate"] and target in CARGO_ROOTS:   # each crate of a workspace has one
                target = f"{found['crate']}/{target}"
        elif found := CARGO_LINE.match(line):
            status = {"ok": "passed", "FAILED": "failed", "ignored": "skipped"}[found["status"]]
            yield f"{target}::{found['name']}" if target else found["name"], status
    if n_open > 0:
        yield BROKEN_OFF, "error"


TAP_LINE = re.compile(r"(?P<indent> *)(?P<not>not )?ok\b(?: (?P<number>\d+))?(?: -)? ?(?P<name>.*?)"
                      r"(?P<directive>\s# (?i:skip|todo)\b.*)?$")
TAP_GROUP = re.compile(r"(?P<indent> *)# (?P<subtest>Subtest: )?(?P<name>.+)$")
TAP_TOTAL = re.compile(r"(?:tests|pass|fail|ok|skip|todo|suites|cancelled|skipped|duration_ms|time=|failed)\b")


TAP_FILE = re.compile(r"(?P<file>\S+\.t) \.{2,} *$")     # prove's heading for the output of a file
TAP_PLAN = re.compile(r"1\.\.(?P<n>\d{1,6})\b")


def _tap(lines: list[str]) -> Iterator[Case]:
    """Yield the cases of TAP: prove's files, subtests by their indentation, tape's groups by the
    comment above them. A repeated name gets its number at the end. A file with fewer cases than
    planned is an error."""
    subtests: dict[int, str] = {}
    groups: dict[int, str] = {}
    file, planned, n, has_plan, used = "", 0, 0, False, set()
    for line in [*lines, None]:
        heading = TAP_FILE.match(line) if line is not None else None
        if heading or line is None:
            if n < planned:
                yield file or f"{planned - n} of {planned} planned tests", "error"
            elif n and not has_plan:
                yield f"{file} {BROKEN_OFF}".strip(), "error"
            file, planned, n, has_plan = heading["file"] if heading else "", 0, 0, False
            subtests, groups = {}, {}
        elif plan := TAP_PLAN.match(line):
            planned, has_plan = int(plan["n"]), True
        elif (found := TAP_LINE.match(line)) and (found["number"] or found["name"]):
            depth, name = len(found["indent"]), re.sub(r" # time=.*$", "", found["name"]).removesuffix(" {").strip()
            path = [subtests[d] for d in sorted(subtests) if d < depth] + [groups[d] for d in groups if d == depth]
            status = "skipped" if found["directive"] else "failed" if found["not"] else "passed"
            n += depth == 0
            case = " > ".join([*filter(None, [file]), *path, name or f"test {found['number']}"])
            yield (f"{case} ({found['number']})" if case in used else case), status
            used.add(case)
        elif found := TAP_GROUP.match(line):
            depth, name = len(found["indent"]), found["name"].strip()
            if found["subtest"]:
                subtests = {d: n for d, n in subtests.items() if d < depth} | {depth: name}
                groups = {d: n for d, n in groups.items() if d < depth}
            elif not TAP_TOTAL.match(name):
                groups[depth] = name


MARKS = {"✓": "passed", "✔": "passed", "√": "passed", "✖": "failed", "✗": "failed", "✕": "failed", "×": "failed",
         "○": "skipped", "﹣": "skipped", "↓": "skipped"}
MARK_LINE = re.compile(rf"\s*(?:(?P<mark>[{''.join(MARKS)}])|(?P<number>\d+\))|-) (?P<name>.+?)"
                       r"(?:\s+\(?\d+(?:\.\d+)?\s?m?s\)?)?(?: # .*)?$")
MARKS_END = re.compile(r"\s*(?:\d+ (?:passing|failing|pending)\b|Test Suites: |⎯+|✖ failing tests:|ℹ tests )")
MARKS_TOTAL = re.compile(r"\s*(?:\d+ (?:\w+ )?(?:passing|failing|pending|passed|failed)\b|"
                         r"(?:. )?(?:Test(?:s| Files| Suites)?|Suites|Total|tests|pass)[: ]+\d)")


def _marks(lines: list[str]) -> Iterator[Case]:
    """Yield the cases of mocha, jest, vitest and node: a mark stands before each case, and
    suites are indented. Reading ends where the totals begin. Many programs that test nothing
    print such marks, so without totals there is no case."""
    if not any(map(MARKS_TOTAL.match, lines)):
        return
    groups: dict[int, str] = {}
    marked = False
    for line in lines:
        if marked and MARKS_END.match(line):
            return
        found = MARK_LINE.match(line)
        depth = len(line) - len(line.lstrip())
        if found and (found["mark"] or depth):
            marked = True
            path = [groups[d] for d in sorted(groups) if d < depth and (d or groups[d].startswith("▶"))]
            status = MARKS[found["mark"]] if found["mark"] else "failed" if found["number"] else "skipped"
            yield " > ".join(part.removeprefix("▶ ") for part in [*path, found["name"]]), status
        elif line.strip():
            groups = {d: name for d, name in groups.items() if d < depth} | {depth: line.strip()}


CTEST_LINE = re.compile(r"\s*\d+/\d+ Test\s+#\d+: (?P<name>\S+) \.*\s*(?P<status>Passed|Skipped|\*\*\*\w+(?: Run)?)")
AUTOMAKE_LINE = re.compile(r"(?P<status>PASS|FAIL|XFAIL|XPASS|SKIP|ERROR): (?P<name>\S.*)$")
AUTOMAKE = {"PASS": "passed", "FAIL": "failed", "XFAIL": "skipped", "XPASS": "failed", "SKIP": "skipped",
            "ERROR": "error"}


def _ctest(lines: list[str]) -> Iterator[Case]:
    """Yield the cases of CTest."""
    for line in lines:
        if found := CTEST_LINE.match(line):
            status = {"Passed": "passed", "Skipped": "skipped", "***Skipped": "skipped", "***Not Run": "error"}
            yield found["name"], status.get(found["status"], "failed")


def _automake(lines: list[str]) -> Iterable[Case]:
    """Return the cases of automake's test driver."""
    return ((found["name"], AUTOMAKE[found["status"]]) for line in lines if (found := AUTOMAKE_LINE.match(line)))


READERS = {   # reader: pattern of the line that always ends such output, if any
    _pytest: re.compile(r"=* ?(?:\d+ \w+,? ?|no tests ran)+.* in [\d.]+s"), _unittest: re.compile(r"Ran \d+ tests?\b"),
    _go: None, _cargo: None, _tap: None, _marks: None, _ctest: re.compile(r"\d+% tests passed"), _automake: None}
