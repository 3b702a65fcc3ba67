"""Judge runs of a test script: whether the suite ran to its end, which cases repeat, and which
test files have no case."""
from __future__ import annotations

import re
from dataclasses import dataclass

from codedata.code.test_results import OVER, counts, not_collected
from codedata.env.causes import Cause, cause_of

MIN_PASSED = 0.95          # of a healthy suite: minimum share of passed cases among those that ran,
MAX_SKIPPED = 0.2          # and maximum share of skipped cases among all
MAX_UNREPORTED = 0.5       # maximum share of test files that an agent's script may leave out
STOPPED = re.compile(r"^(?:!{5,} .+ !{5,}|Bail out!.*|panic: .*|Fatal Python error: .*"
                     r"|INTERNALERROR> .*)$", re.MULTILINE)
CRASHED = 128              # exit codes from here on mean that a signal ended the runner
# The patterns of test files, one for each language; group 1 is the name that its runners use for a
# file.
TEST_FILES = (re.compile(r"(test_[\w-]+|[\w-]+_tests?)\.py"),
              re.compile(r"([\w.-]+\.(?:test|spec)\.[cm]?[jt]sx?)"),
              re.compile(r"(Test\w+|\w+(?:Tests?|TestCase|IT))\.(?:java|kt)"))


@dataclass(frozen=True)
class Run:
    """Hold one run of the test script."""

    exit_code: int
    seconds: float
    timed_out: bool
    text: str
    results: list[dict[str, str]]

    @property
    def is_complete(self) -> bool:
        """Return whether the suite ran to its end, all of it was collected, and exit code and
        cases agree."""
        return not (self.timed_out or self.exit_code >= CRASHED or not_collected(self.results)
                    or self.truncated_at
                    or self.unexplained)

    @property
    def truncated_at(self) -> str:
        """Return the line in which a runner says that it stops early; it is empty where there is
        none."""
        line = STOPPED.search(self.text)
        return line[0].strip() if line else ""

    @property
    def unexplained(self) -> bool:
        """Return whether the exit code contradicts the cases. If the script failed though no
        case did, the runner stopped early, or something beside the tests failed. If it succeeded
        though a case failed, its exit code does not show that the suite ran to its end."""
        n = counts(self.results)
        return bool(self.results) and (self.exit_code == 0) == bool(n["failed"] + n["error"])

    @property
    def share_passed(self) -> float:
        """Return the share of passed cases among those that ran; 0.0 where none ran."""
        n = counts(self.results)
        n_run = len(self.results) - n["skipped"]
        return n["passed"] / n_run if n_run else 0.0

    @property
    def share_skipped(self) -> float:
        """Return the share of skipped cases among all; 0.0 where there are none."""
        return counts(self.results)["skipped"] / len(self.results) if self.results else 0.0

    @property
    def healthy(self) -> bool:
        """Return whether the whole suite ran, enough cases passed and not too many were skipped."""
        has_run = self.share_passed >= MIN_PASSED and self.share_skipped <= MAX_SKIPPED
        return self.is_complete and has_run


def compare(runs: list[Run]) -> tuple[dict[str, str], list[str]]:
    """Return ({name: status} of cases with one status in all runs, sorted names of all other
    cases)."""
    outcomes = [{case["name"]: case["status"] for case in run.results} for run in runs]
    stable = {name: status for name, status in outcomes[0].items()
              if all(run.get(name) == status for run in outcomes)}
    return stable, sorted({name for run in outcomes for name in run} - set(stable))


def why_not_healthy(run: Run, test_s: float) -> Cause:
    """Return the cause why a run of the tests is not healthy; an empty Cause where it is."""
    if run.healthy:
        return Cause()
    if limit := next(filter(None, (OVER.fullmatch(case["name"]) for case in run.results)), None):
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
        failed = next((case["name"] for case in run.results
                       if case["status"] in ("failed", "error")), "")
        if run.unexplained:
            how = "no case failed" if run.exit_code else f"a case failed, {failed}"
            return Cause("exit_code", f"exit code {run.exit_code}, though {how}: {cause.evidence}")
        return Cause("tests_fail", failed or f"{run.share_skipped:.0%} of the suite was skipped")
    return cause if run.results or cause.name != "other" else Cause("no_tests", cause.evidence)


def unreported_files(committed: list[str], results: list[dict[str, str]]) -> tuple[list[str], int]:
    """Return (committed test files that no case name refers to, number of test files).

    A name refers to a file by the file's name, or by its module or class. A language in which no
    file is referred to is left out, since some runners print only titles.
    """
    suites = [case["name"].rpartition("::")[0] or case["name"] for case in results]
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
    """Return the cause for a test script that leaves out most test files; an empty Cause for any
    other."""
    if len(unreported) <= n_files * MAX_UNREPORTED:
        return Cause()
    return Cause("part_of_suite",
                 f"no case of {len(unreported)} of {n_files} test files, such as {unreported[0]}")
