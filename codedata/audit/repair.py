"""Try to solve a task of a Python repository without a model: change the lines that its failing
tests run, in the ways of the bug operators, until a try is rewarded."""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import chain, islice

from codedata.audit.audited import Audited, CheckResult
from codedata.code.entities import SourceFile, language_of
from codedata.code.operators import unique_edits
from codedata.code.patches import diff_of
from codedata.records import BUG, NO_CASE, PASSED, UNFINISHED, Coverage
from codedata.suites.contexts import lines_by_test
from codedata.tasks.folder import verifier_config
from codedata.tasks.suite_outcomes import SURVIVES
from codedata.tasks.verifier.junit import restored_name

TRIES = 200
BATCH = 50                # tries that are judged together
LANGUAGE = "python"


def try_repair(audited: Audited) -> CheckResult:
    """Try at most TRIES changes of a bug's files, those of the most suspicious lines first. What is
    found says how hard a task is, not that it is wrong."""
    coverage = audited.warm.coverage
    before, after = audited.changed
    if audited.task.kind != BUG or not coverage:
        return CheckResult(NO_CASE, "it is no bug of a Python repository with coverage/")
    failing = {*map(restored_name, verifier_config(audited.task).get("FAIL_TO_PASS", ()))}
    tries = islice(_tries(before, after, suspicious(coverage, failing)), TRIES)
    n_tried, repaired, is_exact = 0, 0, False
    for batch in iter(lambda: [*islice(tries, BATCH)], []):
        texts = [diff_of({path: after[path]}, {path: text}) for path, text in batch]
        shown = iter(audited.warm.screen([diff for diff in texts if diff]))
        for diff in texts:
            n_tried += 1
            if not diff or ((found := next(shown)) and found.verdict == SURVIVES[0]):
                repaired, is_exact = n_tried, not diff
                break
        if repaired:
            break
    if not n_tried:
        return CheckResult(UNFINISHED, "no change of its files can be tried")
    figures = {"tries": repaired or n_tried, "repaired": int(bool(repaired)),
               "exact": int(is_exact)}
    return CheckResult(PASSED, "", [], figures)


def suspicious(coverage: Coverage, failing: set[str]) -> dict[str, dict[int, float]]:
    """Return {path: {line: share}}: how strongly each line of the solved source is tied to the
    failing tests (Ochiai's coefficient, from 0 to 1)."""
    fails, runs = Counter(), Counter()
    n_failing = 0
    for test, lines in zip(coverage.tests, lines_by_test(coverage), strict=True):
        places = [(path, line) for path, mask in lines.items() for line in _lines(mask)]
        runs.update(places)
        if test["name"] in failing:
            n_failing += 1
            fails.update(places)
    shares: dict[str, dict[int, float]] = {}
    for (path, line), n in fails.items():
        shares.setdefault(path, {})[line] = n / math.sqrt(n_failing * runs[path, line])
    return shares


def _lines(mask: int) -> Iterator[int]:
    """Yield the numbers of the lines of a mask."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _tries(before: dict, after: dict, shares: dict[str, dict[int, float]]
           ) -> Iterator[tuple[str, bytes]]:
    """Yield (path, text) of changed files, those with the most suspicious lines first."""
    found = []
    for path, text in before.items():
        if language_of(path) != LANGUAGE:
            continue
        by_line = _moved(text, after[path], shares.get(path, {}))
        for k, edit in enumerate(unique_edits(SourceFile(path, LANGUAGE, text, is_test=False))):
            first, last = edit.statement
            share = max((by_line.get(line, 0.0) for line in range(first, last + 1)), default=0.0)
            if share:
                found.append((-share, k, path, text[:edit.start] + edit.new + text[edit.end:]))
    return ((path, text) for _, _, path, text in sorted(found))


def _moved(before: bytes, after: bytes, shares: dict[int, float]) -> dict[int, float]:
    """Return the shares of the lines of a solved file for the lines of its unsolved version. Lines
    that differ get the highest share of those that take their place."""
    moved: dict[int, float] = {}
    lines = before.splitlines(), after.splitlines()
    for _, i, j, k, n in SequenceMatcher(None, *lines, autojunk=False).get_opcodes():
        there = [shares.get(line + 1, 0.0) for line in range(k, n)]
        same = there if n - k == j - i else [max(chain(there, [0.0]))] * (j - i)
        moved.update({line + 1: share for line, share in zip(range(i, j), same, strict=True)})
    return moved
