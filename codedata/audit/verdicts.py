"""Check the verdicts of a task's verifier on the gold (also under load), the unchanged image,
variants of the gold with a small fault, and rewrites with the same meaning."""
from __future__ import annotations

import re
import time
from collections.abc import Collection, Sequence

from codedata.audit.audited import Audited, CheckResult
from codedata.audit.gold_programs import encoded, ends_at_once, ends_before
from codedata.audit.rewrites import literals_of, rewrites_of
from codedata.checks.intervals import at_most
from codedata.code.gold_variants import Variant, clusters_of, variants_of
from codedata.code.patches import diff_of
from codedata.disk.layouts import content_of
from codedata.records import FAILED, NO_CASE, PASSED, REVIEW, UNFINISHED, Files
from codedata.run.talk import current_step
from codedata.sandbox import SandboxDied
from codedata.tasks.folder.check import PATCHED
from codedata.tasks.folder.task_folder import SOLVE, verifier_config
from codedata.tasks.folder.task_toml import is_shared
from codedata.tasks.prove.gold_grades import (
    CONFTEST,
    CONFTEST_FILE,
    ORDERS,
    NotRewarded,
    clock_library,
    prove_gold,
    prove_repeatable,
)
from codedata.tasks.prove.outcomes import SURVIVES
from codedata.texts import printable

ONLY_IN_PLACE = ("the gold is rewarded only in its own container: files outside the work "
                 "directory, and running processes, are not carried to other containers")
FLAKE_RUNS = 10
# two busy loops, since cpu_request is 2 cores by default
LOAD = "for i in 1 2; do (while :; do :; done) & done 2>/dev/null; "
VARIANTS, VARIANTS_S, MIN_VARIANTS = 60, 150.0, 30
NO_TEST = re.compile(r"no tests ran|collected 0 items|(?<![\d.])0 passed|Ran 0 tests")
SKIPPED = re.compile(r"=+ (?:\d+ skipped)(?:, \d+ \w+)* in |^\d+ skipped in ", re.MULTILINE)
PASSES = re.compile(r"(?<!\d)\d+ passed")


# the gold ----------------------------------------------------------------------------------------

def check_gold(audited: Audited) -> CheckResult:
    """Check that the gold is rewarded three times, and once with the tests in another order. Do not
    repeat the runs in an up-to-date proof.json."""
    rows = [row for row in audited.proven_runs() if row.get("of") == "gold"]
    if rows and all(row.get("reward") == 1.0 for row in rows):
        return CheckResult(PASSED, figures={"runs": len(rows), "rewarded": len(rows)})
    if SOLVE not in audited.task.solution:
        return CheckResult(NO_CASE, f"it has no solution/{SOLVE}")
    rows = []
    try:
        work = prove_gold(audited.grader, rows)
        order = audited.grader.grade(work, {CONFTEST_FILE: CONFTEST.format(ORDERS[0]).encode()})
    except NotRewarded as e:
        if is_shared(audited.task.config) and audited.grader.gold_in_place().reward == 1.0:
            return CheckResult(UNFINISHED, ONLY_IN_PLACE)
        return CheckResult(FAILED, str(e), e.grade.last_lines,
                           {"runs": len(rows), "rewarded": len(rows) - 1})
    figures = {"runs": len(rows) + 1, "rewarded": len(rows) + (order.reward == 1.0)}
    if order.reward != 1.0:
        return CheckResult(FAILED, f"in another order of the tests, the gold gets {order.reward:g}",
                           order.last_lines, figures)
    return CheckResult(PASSED, figures=figures)


def check_flakes(audited: Audited) -> CheckResult:
    """Grade the gold's work ten times under load on both cores. If all runs are rewarded, grade
    it on a later date with the tests in other orders."""
    work, _ = audited.gold
    grades = []
    for k in range(1, FLAKE_RUNS + 1):
        current_step().count = f"run {k} of {FLAKE_RUNS}"
        grades.append(audited.grader.grade(work, before=LOAD, anew=True))
    lost = [grade for grade in grades if grade.reward != 1.0]
    n_failed = len(lost)
    figures = {"runs": FLAKE_RUNS, "failed": n_failed,
               "at_most": round(at_most(n_failed, FLAKE_RUNS), 3)}
    if lost:
        names = {name for grade in lost for name, _, outcome, _ in grade.phases
                 if outcome != "passed"}
        return CheckResult(FAILED, f"the gold fails in {n_failed} of {FLAKE_RUNS} runs under load",
                           sorted(names) or lost[0].last_lines, figures)
    try:
        prove_repeatable(audited.grader, work, clock_library(audited.host), [])
    except NotRewarded as e:
        return CheckResult(FAILED, str(e), e.grade.last_lines, figures)
    return CheckResult(PASSED, figures=figures)


# the image as it is ------------------------------------------------------------------------------

def check_untouched(audited: Audited) -> CheckResult:
    """Fail if the unchanged image gets more than `idle_reward`, or if the gold is rewarded although
    no test runs, all tests are skipped, or its programs end at once. List the tests that never
    failed in this audit, since they may test nothing."""
    grade = audited.untouched
    if grade.reward > audited.idle_reward:
        passing = [f"passes: {name}" for name in sorted(grade.passed())]
        return CheckResult(FAILED, f"an agent that does nothing gets {grade.reward:g}",
                           [*passing, *grade.last_lines], {"reward": grade.reward})
    _, gold = audited.gold
    figures = {"reward": grade.reward}
    for pattern, what in ((NO_TEST, "no test runs"), (SKIPPED, "all tests are skipped")):
        if pattern.search(gold.log) and not PASSES.search(gold.log):
            return CheckResult(FAILED, f"the gold is rewarded though {what}", gold.last_lines,
                               figures)
    safe = sorted(gold.passed() - audited.failed_once)
    ended, seen = audited.with_programs(ends_at_once)
    if ended.reward == 1.0 and seen is not None:   # the tests start its programs
        return CheckResult(FAILED, "a gold whose programs end at once is rewarded",
                           ended.last_lines, figures)
    if audited.task.kind in PATCHED and not verifier_config(audited.task).get("PASS_TO_PASS"):
        return CheckResult(REVIEW, "no test has to go on passing", [], figures)
    return CheckResult(REVIEW if safe else PASSED, "tests that never failed" if safe else "", safe,
                       figures)


# wrong variants ----------------------------------------------------------------------------------

def check_strength(audited: Audited) -> CheckResult:
    """Grade variants of the gold's changed lines. A variant that is still rewarded is a survivor. A
    reader decides whether it is wrong, has the same meaning, or changes a point that the task
    leaves open. Fewer than MIN_VARIANTS variants without a survivor prove nothing."""
    before, after = audited.changed
    variants = variants_of(before, after, audited.task.instance_id)
    if not variants:
        return CheckResult(NO_CASE, "its gold changes no line that has variants")
    killed, survivors = _screened(audited, variants) or _graded(audited, variants)
    unrun = _unrun(audited, {(one.path, one.line) for one in survivors})
    tries = [{"path": one.path, "line": one.line, "operator": one.operator, "place": k,
              "unrun": (one.path, one.line) in unrun,
              "diff": _diff(audited, one.path, one.text)}
             for k, cluster in enumerate(clusters_of(survivors, unrun)) for one in cluster]
    n_tried = killed + len(survivors)
    figures = {"possible": len(variants), "tried": n_tried, "killed": killed,
               "places": len({one["place"] for one in tries}),
               "unrun": sum(one["unrun"] for one in tries)}
    why = f"{len(survivors)} of {n_tried} variants of the gold are rewarded" if survivors else ""
    result = REVIEW if survivors else PASSED
    if not survivors and n_tried < MIN_VARIANTS:
        result, why = UNFINISHED, f"{n_tried} of {MIN_VARIANTS} variants"
    return CheckResult(result, why, [], figures, tries)


def _graded(audited: Audited, variants: Sequence[Variant]) -> tuple[int, list[Variant]]:
    """Grade at most VARIANTS variants in fresh containers. After the first MIN_VARIANTS, stop once
    VARIANTS_S seconds are over. Return (number of variants that are not rewarded, the rewarded
    variants)."""
    killed, survivors, end = 0, [], time.monotonic() + VARIANTS_S
    for k, variant in enumerate(variants[:VARIANTS]):
        if k >= MIN_VARIANTS and time.monotonic() > end:
            break
        current_step().count = f"variant {k + 1} of {min(VARIANTS, len(variants))}"
        files = {variant.path: variant.text}
        is_rewarded = all(_reward(audited, files, stops_early) == 1.0
                          for stops_early in (True, False))
        killed += not is_rewarded
        survivors += [variant] if is_rewarded else []
    return killed, survivors


def _reward(audited: Audited, files: Files, stops_early: bool = False) -> float:
    """Return the reward of the gold with some files replaced; 0 if its container dies."""
    try:
        return audited.grade_files(files, stops_early=stops_early).reward
    except SandboxDied:
        return 0.0


def _diff(audited: Audited, path: str, text: bytes) -> str:
    """Return the diff from one of the gold's files to a changed text."""
    return diff_of({path: audited.changed[1][path]}, {path: text})


def _unrun(audited: Audited, lines: Collection[tuple[str, int]]) -> set[tuple[str, int]]:
    """Return each (path, line) where the gold can exit early and still be rewarded."""
    after = audited.changed[1]
    ended = {(path, line): found for path, line in sorted(lines)
             if (found := ends_before(path, after[path], line))}
    if audited.screener:
        shown = audited.screener.screen([_diff(audited, path, text)
                                         for (path, _), text in ended.items()])
        return {at for at, found in zip(ended, shown, strict=True)
                if found and found.verdict == SURVIVES[0]}
    return {(path, line) for (path, line), text in ended.items()
            if _reward(audited, {path: text}, stops_early=True) == 1.0}


def _screened(audited: Audited, variants: Sequence[Variant]
              ) -> tuple[int, list[Variant]] | None:
    """Judge variants with the screener, in a sandbox whose source already has the gold. Return the
    same as _graded(), or None if no variant can be judged there."""
    if not audited.screener:
        return None
    chosen = variants[:VARIANTS]
    shown = audited.screener.screen([_diff(audited, one.path, one.text) for one in chosen])
    pairs = [(one, found) for one, found in zip(chosen, shown, strict=True) if found]
    survivors = [one for one, found in pairs if found.verdict == SURVIVES[0]]
    return (len(pairs) - len(survivors), survivors) if pairs else None


# right rewrites ----------------------------------------------------------------------------------

def check_fairness(audited: Audited) -> CheckResult:
    """Grade rewrites of the gold with the same meaning: all must be rewarded. List the strings in
    the gold that tests require exactly, although neither the instruction nor the source has them.
    """
    before, after = audited.changed
    rewrites = rewrites_of(before, after)
    hidden = {path: found for path, text in after.items() if (found := encoded(path, text))}
    if hidden and audited.task.kind not in PATCHED:   # tests may import and patch parts of the gold
        rewrites["its source encoded"] = hidden
    refused = [name for name, files in rewrites.items() if _reward(audited, files) != 1.0]
    figures = {"rewrites": len(rewrites), "accepted": len(rewrites) - len(refused)}
    shown = b"".join([(audited.task.instruction or "").encode(), *before.values(),
                      *map(content_of, audited.task.environment.values())])
    literals = [(path, line, text, whole) for path, line, text, whole in literals_of(before, after)
                if text.encode() not in shown]
    unseen = [f"{path}:{line} {printable(repr(text), 200)}" for path, line, text, whole in literals
              if _reward(audited, {path: whole}, stops_early=True) != 1.0]
    figures |= {"texts": len(literals), "unseen": len(unseen)}
    if refused:
        why = f"rewrites of the gold are refused: {', '.join(refused)}"
        return CheckResult(FAILED, why, unseen, figures)
    if unseen:
        return CheckResult(REVIEW, "tests want texts that nothing shows", unseen, figures)
    if not rewrites and not literals:
        return CheckResult(NO_CASE, "its gold has no Python function that can be written otherwise")
    return CheckResult(PASSED, figures=figures)
