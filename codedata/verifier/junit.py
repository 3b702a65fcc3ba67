"""Read the cases of JUnit XML. escaped_name() escapes a case's name for graders of SWE-bench;
restored_name() is the inverse."""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from urllib.parse import quote, unquote
from xml.parsers import expat

Found = tuple   # a case: name, status and, in JUnit XML, seconds
RANKS = ("passed", "skipped", "failed", "error")   # from good to bad
TAGS = {"failure": "failed", "error": "error", "skipped": "skipped"}   # elements of JUnit XML
NOT_RUN = {"notrun", "disabled", "suppressed", "skipped", "ignored"}   # also GoogleTest's
# These characters are forbidden in XML, but runners write them, raw or as a numeric reference.
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]"
                     r"|&#(?:x0*(?:[0-8bcef]|1[0-9a-f])|0*(?:[0-8]|1[124-9]|2\d|3[01]));", re.I)
ENCODING = re.compile(rb"\s*<\?xml[^>]*?encoding=[\"']([\w-]+)")
SECONDS = re.compile(r"\d{1,9}(?:\.\d+)?(?:[eE]-?\d\d?)?")
MOCHA, NODE = "Mocha Tests", "test"   # mocha's name for the suite, and node's for every class
BROKEN_OFF = "(broken off before its end)"
MAX_CASES = 200_000
MAX_NESTED = 100        # elements of a report, or folders of a path
# limit for the length of all names, as a multiple of the report's: cases repeat their suites' names
MAX_GROWTH = 10
# Characters that would break a name for graders: they split lines at blanks, and remove "[1m", the
# folders in "[/a/b]" and a number in brackets before a name. Control characters steer a terminal.
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
    """Return the cases of JUnit XML in the order of their end tags. If mocha or node gives several
    cases the same name, add a number from the second on. For a report that is cut short, return
    the complete cases; for one over a limit, the cases before it and the case that
    over(kind, what) returns. Build no tree, which would take more memory."""
    cases = []
    elements = []   # (tag, attributes, statuses) of each open element
    used = Counter()   # number of cases by name, for runners that repeat names
    n_chars = 0     # length of all names

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
        "too_large", "declares entities, which may expand to any length")
    try:
        parser.Parse(CONTROL.sub("?", text), True)
    except expat.ExpatError:
        if "<testsuite" in text or not text.strip():
            cases.append((f"{path} {BROKEN_OFF}", "error"))
    return cases


def name_of(case: dict[str, str], suites: list[str], used: Counter[str]) -> str:
    """Return the name of a case, with its file, class or suite. Add a number if `used` has the
    name already and the runner repeats names."""
    name, group, file = (case.get(key, "") for key in ("name", "classname", "file"))
    module = re.sub(r"\.py$", "", file).replace("/", ".")
    if file.endswith(".py") and f"{group}.".startswith(f"{module}."):
        classes = group[len(module):].replace(".", "::")
        return f"{file}{classes}::{name}"
    may_share = suites == [MOCHA] or group == NODE
    if group == NODE:   # node: only the suites distinguish its cases
        name = " > ".join([*suites, name])
    else:
        group = group or "".join([suite for suite in suites if suite != "pytest"][-1:])
        name = f"{group}::{name}" if group not in ("", name) else name
    if not may_share:
        return name
    used[name] += 1
    return f"{name} ({used[name]})" if used[name] > 1 else name


def escaped_name(name: str) -> str:
    """Return a name with the characters that graders misread percent-encoded."""
    return ESCAPED.sub(lambda match: quote(match[0], safe=""), name)


def restored_name(escaped: str) -> str:
    """Return the name before escaped_name()."""
    return unquote(escaped)


def worst(cases: Iterable[Found]) -> dict[str, list]:
    """Return {name: [status] or [status, seconds]}; the worst case of each name."""
    ranked = sorted(cases, key=lambda case: RANKS.index(case[1]))
    return {name: found for name, *found in ranked}   # the last one counts
