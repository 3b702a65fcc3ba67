"""Measure a bug: the tests that fail, the functions that change, a linter's new messages."""
from __future__ import annotations

import hashlib
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from codedata.code.entities import language_of
from codedata.code.patches import diff_of, hunks_of
from codedata.records import Analysis, Object
from codedata.sandbox import open_sandbox
from codedata.tasks.prove.first_run import FirstRun

MAX_SUBTLE, MAX_SUBTLE_SHARE = 5, 0.1   # tests that a subtle bug may break: the larger limit holds
MAX_LINTED = 1_000_000     # bytes of a file that pyflakes is given
LINT_S, LINT_TEXT_S = 60, 2   # seconds for pyflakes to start, and for each file
MESSAGE = re.compile(r"(\w+\.py):\d+:(?:\d+:?)? (.*)")
LINE = re.compile(r"line \d+")     # another line's number in a message: a patch may have moved it


def grade_of(n_broken: int, n_before: int, new_messages: Sequence[str]) -> str:
    """Return whether a bug is subtle or blunt, judged by how many of the tests that passed
    before it breaks, and by the linter's new messages."""
    is_subtle = n_broken <= max(MAX_SUBTLE, MAX_SUBTLE_SHARE * n_before) and not new_messages
    return "subtle" if is_subtle else "blunt"


def effects(run: FirstRun, analysis: Analysis | None) -> Object:
    """Return the number of tests, files and lines that a bug affects, the changed functions (none
    without an analysis), and the linter's new messages."""
    n_broken = len(run.fail_to_pass)
    n_before = n_broken + len(run.pass_to_pass)
    hunks = hunks_of(diff_of(run.before, run.after, n_context=0))
    lines = {(hunk.path, line) for hunk in hunks
             for line in range(hunk.start, hunk.start + max(hunk.length, 2))}
    return {"tests": n_before, "broken": n_broken, "share_broken": round(n_broken / n_before, 4),
            "files": len(run.before | run.after),
            "lines_removed": sum(len(hunk.old) for hunk in hunks),
            "lines_added": sum(len(hunk.added) for hunk in hunks),
            "symbols": symbols_at(lines, analysis) if analysis else [],
            "new_messages": new_messages_of([(run.before, run.after)])[0]}


def symbols_at(lines: Iterable[tuple[str, int]], analysis: Analysis) -> list[str]:
    """Return the ids of the innermost functions that contain these (path, line), each id once."""
    symbols = {}
    for path, line in sorted(lines):
        around = [one for one in analysis.entities if one["path"] == path
                  and one["kind"] != "class" and one["line"] <= line <= one["end_line"]]
        if around:
            symbols[max(around, key=lambda one: one["line"])["id"]] = True
    return [*symbols]


def new_messages_of(changes: Iterable[tuple[Mapping[str, bytes], Mapping[str, bytes]]]
                    ) -> list[list[str]]:
    """Return for each change (files before, files after) the pyflakes messages that only its files
    after the change get. Only texts are read; the project is not imported."""
    changes = [*changes]
    texts = {_name_of(text): text for change in changes for files in change
             for text in _linted(files)}
    messages: dict[str, Counter] = defaultdict(Counter)   # by name
    for match in map(MESSAGE.match, _pyflakes(texts).splitlines()):
        if match:
            messages[match[1]][LINE.sub("line …", match[2])] += 1

    def count(files: Mapping[str, bytes]) -> Counter:
        return sum((messages[_name_of(text)] for text in _linted(files)), Counter())

    return [sorted((count(after) - count(before)).elements()) for before, after in changes]


def _linted(files: Mapping[str, bytes]) -> list[bytes]:
    """Return the texts of the files that pyflakes checks."""
    return [text for path, text in files.items()
            if language_of(path) == "python" and len(text) <= MAX_LINTED]


def _name_of(text: bytes) -> str:
    """Return the name of the file in which pyflakes reads a text."""
    return f"{hashlib.blake2b(text, digest_size=12).hexdigest()}.py"


def _pyflakes(texts: Mapping[str, bytes]) -> str:
    if not texts:
        return ""
    with open_sandbox("local", scripts=[]) as here:
        here.put(texts, ".")
        return here.run(f"'{sys.executable}' -I -m pyflakes {' '.join(texts)}",
                        timeout_s=LINT_S + LINT_TEXT_S * len(texts)).output
