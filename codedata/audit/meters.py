"""Blind what a task measures: a test that does not notice a blind meter measures nothing.

A task declares its meters: [metadata.codedata] meters = ["clock"]; meters.toml has their names. The
gold with a blind meter has to lose a test, and the untouched image with one must not win any.
"""
from __future__ import annotations

import re
from pathlib import PurePosixPath

from codedata.audit.audited import Audited, CheckResult
from codedata.layouts import content_of
from codedata.records import FAILED, NO_CASE, PASSED, REVIEW, Object
from codedata.tasks.grade import Tree, archive_of, tree_of
from codedata.texts import text_of, tomllib

METERS = {one["name"]: one for one in tomllib.loads(
    text_of("codedata.audit", "meters.toml"))["meter"]}
COMMENTS = r"(?:(?:#.*|[ \t\r]*)\n)*"
# what has to stay first: a shebang, and a docstring or 'use strict', and imports from __future__
FIRST = re.compile(
    rf'''{COMMENTS}(?:[rRuU]?(?:"""(?:(?!""")(?s:.))*"""|"[^"\n]*"|'[^'\n]*')'''
    rf"(?:[ \t\r;]*(?:#.*)?\n))?"
    rf"(?:{COMMENTS}from __future__ import (?:\([^)]*\).*|.*)\n)*".encode())
BLINDED = "test -e /tmp/blinded"


def blind_meters(audited: Audited) -> CheckResult:
    """Grade the gold and the untouched image with each declared meter blind. Measures that the
    tests make though the task declares no meter are for the reviewer."""
    declared = [str(name) for name in audited.task.about.get("meters") or ()]
    files = [content_of(file) for path, file in audited.task.tests.items()
             if path.startswith("test_") or not audited.task.kind]
    tests = b"\n".join(files).decode(errors="replace")
    open_questions = [f"the tests measure by the {name}: [metadata.codedata] meters should name it"
                      for name, meter in METERS.items()
                      if name not in declared and re.search(meter["reads"], tests)]
    unknown = [name for name in declared if name not in METERS]
    open_questions += [f"{name!r} is no known meter" for name in unknown]
    faults = []
    for name in declared:
        fault, question = _blind(audited, METERS[name]) if name not in unknown else ("", "")
        faults += [fault] if fault else []
        open_questions += [question] if question else []
    figures = {"declared": len(declared), "unnoticed": len(faults)}
    if not declared and not open_questions:
        return CheckResult(NO_CASE, "its tests measure nothing that is known")
    why = "a blind meter is not noticed" if faults else "a measure may be in the program's hands"
    result = FAILED if faults else REVIEW if open_questions else PASSED
    return CheckResult(result, "" if result == PASSED else why, faults + open_questions, figures)


def _blind(audited: Audited, meter: Object) -> tuple[str, str]:
    """Return (a fault that the blind meter shows, or ""; what is left to a reviewer, or "")."""
    name, texts = meter["name"], {key: text for key, text in meter.items() if key[0] == "."}
    if not texts:
        return "", f"nothing here blinds the {name}: write rivals/wrong-*.sh that does"
    work = _with_texts(tree_of(audited.gold[0]), texts)
    reward, has_run = _graded(audited, work)
    if reward == 1.0 and has_run:
        return f"the gold with the {name} blind is rewarded", ""
    if not has_run:
        return "", f"the text that blinds the {name} did not run"
    untouched = _with_texts(tree_of(audited.nothing), texts)
    reward, _ = _graded(audited, untouched)
    return (f"nothing but a blind {name} gets {reward:g}" if reward > audited.kept else ""), ""


def _graded(audited: Audited, tree: Tree) -> tuple[float, bool]:
    """Return (the reward of some work, whether a blinding text has run meanwhile)."""
    with audited.grader.graded(archive_of(tree)) as (sandbox, grade):
        return grade.reward, sandbox.run(BLINDED).ok


def _with_texts(tree: Tree, texts: Object) -> Tree:
    """Return a work directory whose programs begin with these texts, by suffix."""
    changed = dict(tree)
    for path, (kind, mode, content) in tree.items():
        text = texts.get(PurePosixPath(path).suffix)
        if text and isinstance(content, bytes):
            start = FIRST.match(content).end()
            changed[path] = kind, mode, content[:start] + f"{text}\n".encode() + content[start:]
    return changed
