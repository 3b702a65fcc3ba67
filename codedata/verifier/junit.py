"""Read the cases of JUnit XML. escaped_name() makes a name one that graders of SWE-bench read;
restored_name() is the inverse."""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from urllib.parse import quote, unquote
from xml.parsers import expat

Found = tuple   # of a reader: name, status and, in JUnit XML, seconds
RANKS = ("passed", "skipped", "failed", "error")   # from good to bad
TAGS = {"failure": "failed", "error": "error", "skipped": "skipped"}   # elements of JUnit XML
NOT_RUN = {"notrun", "disabled", "suppressed", "skipped", "ignored"}   # GoogleTest's, others'
# These characters are forbidden in XML, but runners write them, raw or as a numeric reference.
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]"
                     r"|&#(?:x0*(?:[0-8bcef]|1[0-9a-f])|0*(?:[0-8]|1[124-9]|2\d|3[01]));", re.I)
ENCODING = re.compile(rb"\s*<\?xml[^>]*?encoding=[\"']([\w-]+)")
SECONDS = re.compile(r"\d{1,9}(?:\.\d+)?(?:[eE]-?\d\d?)?")
MOCHA, NODE = "Mocha Tests", "test"   # what these runners call the suite, and every class
BROKEN_OFF = "(broken off before its end)"
MAX_CASES = 200_000
MAX_NESTED = 100        # elements of a report, or folders of a path
MAX_GROWTH = 10         # a case repeats the names of its suites: all names by a report's length
# What cannot stand in a name that graders read: they split lines at blanks, and cut out "[1m", the
# folders in "[/a/b]" and a number in brackets before a name; a terminal obeys control characters.
ESCAPED = re.compile(r"[\s%\x00-\x1f\x7f-\x9f]|^\[|\[(?=\d+m)|(?<=\[)/")


def decoded(data: bytes) -> str:
    """Return the text of a file, in the encoding that it declares."""
    declared = ENCODING.match(data)
    encoding = declared[1].decode() if declared else "utf-8-sig"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    try:
        return data.decode(encoding, "replace")
    except (LookupError, UnicodeError):
        return data.decode("utf-8", "replace")


def read_junit(path: str, text: str, over: Callable[[str, str], Found]) -> list[Found]:
    """Return the cases of JUnit XML in the order in which they end; of those that mocha and node
    give one name, the later ones have a number. A report that was cut short
    gives its complete cases, one over a limit those before it and what over(kind, what) returns.
    No tree is built."""
    cases = []
    elements = []   # (tag, attributes, statuses) of each open one
    used = Counter()   # names of runners that let several cases have one
    n_chars = 0     # of the names

    def refuse(kind: str, what: str) -> None:
        cases.append(over(kind, f"{path} {what}"))
        raise expat.ExpatError

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag in TAGS and elements:
            elements[-1][2].add(TAGS[tag])
        elements.append((tag, attributes, set()))
        if len(elements) > MAX_NESTED:
            refuse("too_deep", "is nested too deep")

    def end(tag: str) -> None:
        nonlocal n_chars
        _, case, statuses = elements.pop()
        if tag == "testcase":
            if NOT_RUN & {case.get("status", "").lower(), case.get("result", "").lower()}:
                statuses.add("skipped")
            suites = [suite["name"] for tag, suite, _ in elements
                      if tag == "testsuite" and suite.get("name")]
            name = name_of(case, suites, used)
            n_chars += len(name)
            if n_chars > MAX_GROWTH * len(text):
                refuse("too_large", "has names that are many times as long as itself")
            took = SECONDS.fullmatch(case.get("time", "").strip())
            cases.extend((name, status, float(took[0]) if took else None)
                         for status in statuses or ["passed"])
            if len(cases) > MAX_CASES:
                raise expat.ExpatError

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.EntityDeclHandler = lambda *_: refuse(
        "too_large", "declares entities, which may stand for any length")
    try:
        parser.Parse(CONTROL.sub("?", text), True)
    except expat.ExpatError:
        if "<testsuite" in text or not text.strip():
            cases.append((f"{path} {BROKEN_OFF}", "error"))
    return cases


def name_of(case: dict[str, str], suites: list[str], used: Counter[str]) -> str:
    """Return the name of a case, with its file, class or suite; with a number where `used` has it
    already, of a runner that lets several cases have one."""
    name, group, file = (case.get(key, "") for key in ("name", "classname", "file"))
    module = re.sub(r"\.py$", "", file).replace("/", ".")
    if file.endswith(".py") and f"{group}.".startswith(f"{module}."):
        classes = group[len(module):].replace(".", "::")
        return f"{file}{classes}::{name}"
    may_share = suites == [MOCHA] or group == NODE
    if group == NODE:   # only the suites tell its cases apart
        name = " > ".join([*suites, name])
    else:
        group = group or "".join([suite for suite in suites if suite != "pytest"][-1:])
        name = f"{group}::{name}" if group not in ("", name) else name
    if not may_share:
        return name
    used[name] += 1
    return f"{name} ({used[name]})" if used[name] > 1 else name


def escaped_name(name: str) -> str:
    """Return a name without blanks, for a line that graders read."""
    return ESCAPED.sub(lambda match: quote(match[0], safe=""), name)


def restored_name(escaped: str) -> str:
    """Return the name that escaped_name() was given."""
    return unquote(escaped)


def worst(cases: Iterable[Found]) -> dict[str, list]:
    """Return {name: [status, seconds if there are any]}; of cases with one name, the worst."""
    ranked = sorted(cases, key=lambda case: RANKS.index(case[1]))
    return {name: found for name, *found in ranked}   # the last one counts
