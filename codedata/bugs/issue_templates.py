"""Write issue reports without a model, by the texts of profiles.toml: from the name of what is
broken and the error that is raised, or from what a failing test finds wrong. What a report may not
show is left out, and it says less then."""
from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import takewhile

from codedata.bugs.issue_checks import Hidden, shown_output
from codedata.errors import ItemFailed
from codedata.records import Bug
from codedata.sandbox.factory import WORKDIR
from codedata.texts import fill

# as pytest shows an exception, or at the end of a traceback, behind a line of source
RAISED = re.compile(r"^(?:E +| +\S.*\n)((?:\w+\.)*[A-Z]\w*: +\S.*)$", re.MULTILINE)
OF_TESTS = ("AssertionError:", "Failed:")
FAILURE = re.compile(r"(?:^E .*\n?)+", re.MULTILINE)   # what pytest says of a failing test
NO_SCRIPT = "\0"           # no file has this name
MAX_LINES, MAX_CHARS = 8, 600   # of it that a report quotes
OURS = "codedata"          # of the sandbox: its variables, and files


def template_report(bug: Bug, profile: Mapping[str, str], hidden: Hidden) -> tuple[str, str]:
    """Return the form of a report made without a model, and its text. It says less where more would
    show what is hidden. Raise ItemFailed where nothing is left to say."""
    errors = [error for error in RAISED.findall(_log(bug))
              if not error.startswith(OF_TESTS) and OURS not in error.lower()]
    parts = {"name": _name(bug, hidden), "error": ["", *errors][-1]}
    for form in ("name_and_error", "error", "name"):
        text = _filled(bug, profile[form], parts)
        has_parts = all(parts[part] for part in form.split("_and_"))
        if has_parts and not hidden.in_report(text, parts["name"]):
            return form, text
    raise ItemFailed("a report without a model would say nothing: no error is raised that may be "
                     "shown, and what is changed is not documented. Run with --issue-writer llm.")


def f2p_report(bug: Bug, profile: Mapping[str, str], hidden: Hidden) -> tuple[str, str]:
    """Return the form of a report that quotes what a failing test finds wrong, and its text; the
    longest that may be shown is taken. Where there is none, return template_report()."""
    name = _name(bug, hidden)
    for failure in sorted({*_failures(_log(bug))}, key=lambda one: (-len(one), one)):
        parts = {"failure": failure.replace("\n", "\n    "),
                 "about": name or bug.repo.rpartition("/")[2]}
        text = _filled(bug, profile["failure"], parts)
        if not hidden.in_report(text, name):
            return "failure", text
    return template_report(bug, profile, hidden)


def _failures(log: str) -> Iterator[str]:
    """Yield what tests find wrong: the first two paragraphs of each failure, and the first line
    alone."""
    for block in FAILURE.findall(f"{log}\n"):
        lines = [line.removeprefix("E ").rstrip() for line in block.splitlines()]
        indent = min(len(line) - len(line.lstrip()) for line in lines if line)
        first, *others = shown_output("\n".join(line[indent:] for line in lines), WORKDIR,
                                      NO_SCRIPT).split("\n\n")
        if not first.startswith(("assert ", *OF_TESTS)):
            continue   # an exception, of which the template knows what to say
        for text in ("\n".join([first, *others[:1]]), first.partition("\n")[0]):
            for prefix in OF_TESTS:
                text = text.removeprefix(prefix).lstrip()
            is_short = text.count("\n") < MAX_LINES and len(text) <= MAX_CHARS
            if text and is_short and OURS not in text.lower():
                yield text


def _log(bug: Bug) -> str:
    return str(bug.evidence.get("log", ""))


def _name(bug: Bug, hidden: Hidden) -> str:
    """Return the name of what is changed, as far as a user knows it, or ""."""
    names = bug.symbol.rpartition("::")[2].split(".")   # a class, perhaps, and what is in it
    known = hidden.documented or {name for name in names if name[:1] != "_"}   # nothing documented
    return ".".join(takewhile(known.__contains__, names))


def _filled(bug: Bug, text: str, parts: Mapping[str, str]) -> str:
    return fill(text, project=bug.repo.rpartition("/")[2], **parts).strip() + "\n"
