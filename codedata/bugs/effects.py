"""Measure a bug: the tests that fail, the functions that change, the calls between them, a linter's
new messages."""
from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache

from pyflakes.checker import Checker

from codedata.code.entities import language_of
from codedata.code.operators.syntax import compiling
from codedata.code.patches import diff_of, hunks_of
from codedata.records import Analysis, Object
from codedata.tasks.prove.first_run import FirstRun

LINE = re.compile(r"line \d+")     # another line's number in a message: a patch may have moved it


def effects(run: FirstRun, analysis: Analysis | None) -> Object:
    """Return the number of tests, files, hunks and lines that a bug affects, the changed functions
    (none without an analysis), their distance from a failing test (missing where it is not known),
    and the linter's new messages."""
    n_broken = len(run.fail_to_pass)
    n_before = n_broken + len(run.pass_to_pass)
    hunks = hunks_of(diff_of(run.before, run.after, n_context=0))
    lines = {(hunk.path, line) for hunk in hunks
             for line in range(hunk.start, hunk.start + max(hunk.length, 2))}
    symbols = symbols_at(lines, analysis) if analysis else []
    n_calls = distance(run.fail_to_pass, symbols, analysis) if analysis else None
    return {"tests": n_before, "broken": n_broken, "share_broken": round(n_broken / n_before, 4),
            "files": len(run.before | run.after), "hunks": len(hunks),
            "lines_removed": sum(len(hunk.old) for hunk in hunks),
            "lines_added": sum(len(hunk.added) for hunk in hunks),
            "symbols": symbols, **({} if n_calls is None else {"distance": n_calls}),
            "new_messages": new_messages(run.before, run.after)}


def distance(tests: Collection[str], symbols: Iterable[str], analysis: Analysis) -> int | None:
    """Return the number of calls from the nearest of these tests to one of these functions, by the
    call graph; None if it shows no way."""
    callers = defaultdict(set)
    for edge in analysis.edges:
        callers[edge["callee"]].add(edge["caller"])
    ends = {test["entity"] for test in analysis.tests if test["name"] in tests} - {""}
    level, seen, n_calls = {*symbols}, set(), 0
    while level:
        if level & ends:
            return n_calls
        seen |= level
        level = {caller for symbol in level for caller in callers[symbol]} - seen
        n_calls += 1
    return None


def symbols_at(lines: Iterable[tuple[str, int]], analysis: Analysis) -> list[str]:
    """Return the ids of the innermost functions that contain these (path, line), each id once."""
    symbols = {}
    for path, line in sorted(lines):
        around = [one for one in analysis.entities if one["path"] == path
                  and one["kind"] != "class" and one["line"] <= line <= one["end_line"]]
        if around:
            symbols[max(around, key=lambda one: one["line"])["id"]] = True
    return [*symbols]


def new_messages(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[str]:
    """Return the messages of pyflakes that only the Python files after a change get, sorted."""
    counts = [sum((messages_of(text.decode(errors="replace")) for path, text in files.items()
                   if language_of(path) == "python"), Counter()) for files in (before, after)]
    return sorted((counts[1] - counts[0]).elements())


@lru_cache(64)
def messages_of(text: str) -> Counter:
    """Return the messages of pyflakes about a Python file, without numbers of lines; only one about
    its syntax if it cannot be parsed. The project is not imported."""
    try:
        with compiling():
            found = [one.message % one.message_args for one in Checker(ast.parse(text)).messages]
    except SyntaxError as e:
        found = [str(e)]
    return Counter(LINE.sub("line …", one) for one in found)
