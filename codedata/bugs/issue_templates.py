"""Write issue reports without a model, by the templates of profiles.toml: from the name of the
broken function and the raised error, or from the failing assertion. Versions of a report that show
something hidden are skipped."""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile

from codedata.bugs.instances import ProvenBug
from codedata.bugs.issue_checks import Hidden, shown_output
from codedata.errors import Excluded
from codedata.sandbox.factory import WORKDIR
from codedata.texts import fill

TYPE = r"(?:\w+\.)*[A-Z]\w*"
# an exception as pytest prints it, or at the end of a traceback, after a line of source
RAISED = re.compile(rf"^(?:E +| +\S.*\n)({TYPE}: +\S.*)$", re.MULTILINE)
OF_TESTS = ("AssertionError", "Failed:")
FAILURE = re.compile(r"(?:^E .*\n?)+", re.MULTILINE)   # pytest's message about a failing test
ASSERTION = re.compile(r"E +(?:assert |AssertionError\b|Failed: (?!Timeout))")
ERROR_TYPE = re.compile(rf"E +({TYPE})(?::|$)", re.MULTILINE)
WORD = re.compile(r"\b(?!assert|where|not\b|and\b|True|False|None)[^\W\d_]{3,}")
NO_SCRIPT = "\0"           # no file has this name
MAX_LINES, MAX_CHARS = 8, 600   # of a failure that a report quotes
OURS = "codedata"          # in the names of the sandbox's own variables and files


def template_report(bug: ProvenBug, profile: Mapping[str, str], hidden: Hidden,
                    may_be_name: bool = True) -> tuple[str, str]:
    """Return (form, text) of the most detailed report that shows nothing hidden. Raise Excluded if
    there is none. With `may_be_name`, a report of failed assertions may have only the name of the
    broken function."""
    name, log = _name(bug, hidden), bug.log
    raised = _of_project(RAISED.findall(log))
    types = _of_project(match[1] for match in map(ERROR_TYPE.match, FAILURE.findall(log)) if match)
    forms = [("name_and_error", error) for error in raised + types if name]
    forms += [("error", error) for error in raised]
    if may_be_name and name and _is_without_error(bug):
        forms.append(("name", ""))
    for form, error in forms:
        text = _filled(bug, profile[form], {"name": name, "error": error})
        if not hidden.in_report(text, name):
            return form, text
    raise Excluded("no report: let a model write it (--steps issue --issue-writer llm --refresh), "
                   "or add the names that its tests print to README or docs, and commit: the "
                   "tests print nothing, or only names that README and docs do not have")


def _of_project(errors: Iterable[str]) -> list[str]:
    """Return the last error that comes neither from a test nor from the sandbox, as a list."""
    return [error for error in errors
            if not error.startswith(OF_TESTS) and OURS not in error.lower()][-1:]


def _is_without_error(bug: ProvenBug) -> bool:
    """Return whether the log shows that each failing test ends in an assertion. The log may be
    truncated; only pytest's messages in it are read."""
    failures = FAILURE.findall(bug.log)
    return len(failures) >= len(bug.FAIL_TO_PASS) and all(map(ASSERTION.match, failures))


def f2p_report(bug: ProvenBug, profile: Mapping[str, str], hidden: Hidden) -> tuple[str, str]:
    """Return (form, text) of a report that quotes the longest failed assertion that may be shown.
    If there is none, return a template_report() of the raised error."""
    name = _name(bug, hidden)
    for failure in sorted({*_failures(bug.log)}, key=lambda one: (-len(one), one)):
        parts = {"failure": failure.replace("\n", "\n    "),
                 "about": name or bug.repo.rpartition("/")[2]}
        text = _filled(bug, profile["failure"], parts)
        if (name or WORD.search(failure)) and not hidden.in_report(text, name):
            return "failure", text
    return template_report(bug, profile, hidden, may_be_name=False)


def _failures(log: str) -> Iterator[str]:
    """For each failed assertion, yield its first two paragraphs and its first line."""
    for block in FAILURE.findall(f"{log}\n"):
        lines = [line.removeprefix("E ").rstrip() for line in block.splitlines()]
        indent = min(len(line) - len(line.lstrip()) for line in lines if line)
        first, *others = shown_output("\n".join(line[indent:] for line in lines), WORKDIR,
                                      NO_SCRIPT).split("\n\n")
        if not ASSERTION.match(f"E {first}"):
            continue   # an exception, which template_report() reports
        for text in ("\n".join([first, *others[:1]]), first.partition("\n")[0]):
            for prefix in OF_TESTS:
                text = text.removeprefix(prefix).lstrip(" :")
            is_short = text.count("\n") < MAX_LINES and len(text) <= MAX_CHARS
            if text and is_short and OURS not in text.lower():
                yield text


def _name(bug: ProvenBug, hidden: Hidden) -> str:
    """Return the name of the changed function as far as a user knows it: Class.method, the class
    alone, or ""."""
    names = bug.symbol.rpartition("::")[2].split(".")   # [class, method], or [function]
    known = hidden.documented or {name for name in names if name[:1] != "_"}   # without any docs
    return ".".join(takewhile(known.__contains__, names))


def _filled(bug: ProvenBug, text: str, parts: Mapping[str, str]) -> str:
    return fill(text, project=bug.repo.rpartition("/")[2], **parts).strip() + "\n"
