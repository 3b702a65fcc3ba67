"""Measure a change: the tests that fail, the functions that change."""
from __future__ import annotations

from collections.abc import Iterable, Mapping

from codedata.code.entities import SourceFile, Sources, all_entities, language_of
from codedata.code.patches import diff_of, hunks_of
from codedata.records import Object
from codedata.tasks.prove.run_suite import FirstRun


def effects(run: FirstRun) -> Object:
    """Return the numbers of tests that passed before a change, of tests that it breaks, and of
    changed files, hunks and functions, and the ids of these functions."""
    n_broken = len(run.fail_to_pass)
    n_before = n_broken + len(run.pass_to_pass)
    hunks = hunks_of(diff_of(run.before, run.after, n_context=0))
    lines = {(hunk.path, line) for hunk in hunks
             for line in range(hunk.start, hunk.start + max(hunk.length, 2))}
    symbols = symbols_at(lines, run.before)
    return {"tests": n_before, "broken": n_broken,
            "files": len({hunk.path for hunk in hunks}), "hunks": len(hunks),
            "symbols": symbols, "functions": len(symbols)}


def symbols_at(lines: Iterable[tuple[str, int]], files: Mapping[str, bytes]) -> list[str]:
    """Return the ids of the innermost functions that contain these (path, line), each id once."""
    entities = all_entities(Sources([SourceFile(path, language_of(path), text, is_test=False)
                                     for path, text in files.items() if language_of(path)]))[0]
    symbols = {}
    for path, line in sorted(lines):
        around = [one for one in entities.get(path, ())
                  if one.kind != "class" and one.line <= line <= one.end_line]
        if around:
            symbols[max(around, key=lambda one: one.line).id] = True
    return [*symbols]
