"""Find why a run of a test script is not healthy, why a script does not test the source, and the
test files without any case."""
from __future__ import annotations

import re

from codedata.env.causes import Cause, cause_of
from codedata.suites.project_suite import CRASHED, Run
from codedata.suites.test_results import OVER, Case, counts, not_collected

MAX_UNREPORTED = 0.5       # maximum share of test files without a reported case in a healthy suite
# Patterns of test files, one per language; group 1 is the runners' name of a file.
TEST_FILES = (re.compile(r"(test_[\w-]+|[\w-]+_tests?)\.py"),
              re.compile(r"([\w.-]+\.(?:test|spec)\.[cm]?[jt]sx?)"),
              re.compile(r"(Test\w+|\w+(?:Tests?|TestCase|IT))\.(?:java|kt)"))


def why_not_healthy(run: Run, test_s: float) -> Cause:
    """Return why a run of the tests is not healthy; an empty Cause if it is."""
    if run.healthy:
        return Cause()
    if limit := next(filter(None, (OVER.fullmatch(case.name) for case in run.results)), None):
        return Cause(*limit.groups())
    if run.timed_out:
        return Cause("time_limit", f"the tests took more than {test_s:g} s")
    if run.exit_code >= CRASHED:
        return Cause("crashed", f"exit code {run.exit_code}")
    if run.truncated_at and not not_collected(run.results):
        return Cause("broken_off", run.truncated_at)
    n = counts(run.results)
    cause = cause_of("test", run.text, n["failed"] + n["error"])
    if cause.name == "other" and run.results:
        failed = next((case.name for case in run.results
                       if case.status in ("failed", "error")), "")
        if run.unexplained:
            how = "no case failed" if run.exit_code else f"a case failed, {failed}"
            return Cause("exit_code", f"exit code {run.exit_code}, though {how}: {cause.evidence}")
        return Cause("tests_fail", failed or f"{run.share_skipped:.0%} of the suite was skipped")
    return cause if run.results or cause.name != "other" else Cause("no_tests", cause.evidence)


def why_hollow(passed: list[str], broken: Run, is_built: bool = False) -> str:
    """Return why a test script does not test the source, or "". `passed` are the names of the cases
    that passed before, `broken` is a run with a broken source. If the source is built, tests may
    pass with the programs of the previous build; then the exit code decides."""
    left = {case.name for case in broken.results if case.status == "passed"}
    lost = [name for name in passed if name not in left]
    if not lost and not broken.timed_out and not (is_built and broken.exit_code):
        return f"all that passes ({len(passed)}) does so with a broken source, such as {passed[0]}"
    if broken.exit_code == 0 and (broken.unexplained or not broken.results):
        return f"exit code 0 with a broken source, though {lost[0]} does not pass then"
    return ""


def unreported_files(committed: list[str], results: list[Case]) -> tuple[list[str], int]:
    """Return (committed test files that no case name mentions, number of test files).

    A case name may mention a file's name, module or class. If no case name mentions any file of a
    language, leave the language out, since some runners print only titles.
    """
    suites = [case.name.rpartition("::")[0] or case.name for case in results]
    words = {word for name in suites for word in re.findall(r"[\w.-]+", name)}
    words |= {part for word in words for part in word.split(".")}
    unreported, n_files = [], 0
    for pattern in TEST_FILES:
        matches = {path: pattern.fullmatch(path.rpartition("/")[2]) for path in committed}
        files = {path: match.group(0, 1) for path, match in matches.items() if match}
        missing = [path for path, names in files.items() if words.isdisjoint(names)]
        if len(missing) < len(files):
            unreported += missing
            n_files += len(files)
    return unreported, n_files


def part_of_suite(unreported: list[str], n_files: int) -> Cause:
    """Return the cause if a test script leaves out most test files, else an empty Cause."""
    if len(unreported) <= n_files * MAX_UNREPORTED:
        return Cause()
    return Cause("part_of_suite",
                 f"no case of {len(unreported)} of {n_files} test files, such as {unreported[0]}")
