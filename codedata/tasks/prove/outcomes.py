"""Judge a change by running the suite with it: which tests newly fail, and why the change cannot
become a task.

Runs are compared with the results in env/, without tests that are flaky or need the network.
"""
from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from codedata.errors import Excluded, ItemFailed
from codedata.records import Environment
from codedata.suites.project_suite import CRASHED, Run
from codedata.suites.test_results import Case, with_lost
from codedata.terminal import named
from codedata.texts import printable
from codedata.verifier.suite import MARKS

PASSED, FAILED = "passed", ("failed", "error")
GOOD, REFUSED = "good", "refused"   # verdicts; judged() has others
SURVIVES = "survives", "no test that passed before fails"
ENDED = "timeout", "crash"   # verdicts on suites that do not end by themselves
# Seconds for a run with a bug: MIN_RUN_S, plus USUAL_TIMES the suite's usual seconds, plus
# FAILURE_S for each test, as reporting a failure takes long on a busy machine
MIN_RUN_S = 60
USUAL_TIMES = 5
FAILURE_S = 0.3
LAST_LINES = 3     # last lines of the output to keep; they may name the running test


@dataclass(frozen=True, slots=True)
class SuiteOutcome:
    """Hold the outcome of a suite run with a patch: all data that decide whether the patch is a
    bug."""

    statuses: Mapping[str, str]
    lost: Collection[str] = ()   # files and modules that cannot be collected
    seconds: float = 0.0
    timed_out: bool = False
    exit_code: int = 0
    truncated_at: str = ""       # the last test before a runner stopped early
    last_lines: Collection[str] = ()   # last printed lines of a suite that was killed
    same_error: str = ""         # why ScreeningRules.drops_same_error refuses the patch


def time_limit(environment: Environment, limit_s: float) -> float:
    """Return the time limit in seconds, at most `limit_s`, for a suite run with a bug, which may
    never end."""
    seconds = environment.verified.get("test_s") or []
    usual_s = max((s for s in seconds if isinstance(s, int | float)), default=0)
    failures_s = FAILURE_S * len(environment.test_case_result)
    return min(limit_s, MIN_RUN_S + USUAL_TIMES * usual_s + failures_s) if usual_s else limit_s


def known_results(environment: Environment) -> dict[str, str]:
    """Return {test: status} of env/, without tests that are flaky or need the network."""
    cases = map(Case.of, environment.test_case_result)
    ignored = ignored_tests(environment)
    return {case.name: case.status for case in cases if case.name not in ignored}


def ignored_tests(environment: Environment) -> set[str]:
    """Return the tests that are flaky or need the network."""
    return {*environment.flaky, *map(str, environment.verified.get("needs_network") or [])}


def passed_in(statuses: Mapping[str, str]) -> list[str]:
    """Return the tests that passed."""
    return [test for test, status in statuses.items() if status == PASSED]


def check_drift(environment: Environment, statuses: Mapping[str, str],
                ignored: Collection[str] = ()) -> None:
    """Raise ItemFailed if statuses differ from env/, Excluded if no test passes."""
    known = known_results(environment)
    drifted = [f"{test} ({known[test]}, now {statuses.get(test, 'missing')})" for test in known
               if test not in ignored and known[test] != statuses.get(test)]
    if drifted:
        raise ItemFailed(f"the environment has drifted: {len(drifted)} tests have other "
                         f"results than in env/: {named(drifted)}",
                         environment.repo_name)
    if PASSED not in statuses.values():
        raise Excluded("has no test that passes.", environment.repo_name)


def outcome_of(run: Run, known: Collection[str]) -> SuiteOutcome:
    """Return the outcome of a run of the whole suite. A known test that is missing because its file
    failed counts as an error (with_lost)."""
    statuses, lost = with_lost(run.results, known)
    lines = run.text.rstrip().split("\n")[-LAST_LINES:] if was_ended(run) else []
    return SuiteOutcome(statuses, lost, run.seconds, run.timed_out, run.exit_code, run.truncated_at,
                   lines)


def was_ended(run: Run) -> bool:
    """Return whether a suite was killed before it had results: at the time limit of its evaluation
    script, or by a signal, for instance when memory ran out."""
    return "\n".join(MARKS) in run.text


def without_missing(outcome: SuiteOutcome,
                    known: Mapping[str, str]) -> tuple[SuiteOutcome, list[str]]:
    """Return (the outcome with missing tests as errors, the tests with unknown results). A test is
    missing if it was skipped or did not run, since it may not even be collected. If the suite does
    not end, only the test that hangs or dies is an error, and tests that the suite did not reach
    have unknown results."""
    missing = [test for test, status in known.items()
               if status == PASSED and outcome.statuses.get(test, "skipped") == "skipped"]
    failing = missing
    if outcome.last_lines:
        failing = [test for test in missing
                   if any(f"{test} " in f"{line} " for line in outcome.last_lines)]
        outcome = replace(outcome, timed_out=False, exit_code=1)
    statuses = {**outcome.statuses, **dict.fromkeys(failing, "error")}
    return (replace(outcome, statuses=statuses, lost=()),
            [test for test in missing if test not in failing])


def judged(outcome: SuiteOutcome, known: Mapping[str, str],
           max_broken_share: float) -> tuple[str, str]:
    """Compare an outcome with the known results. Return (GOOD, "") if the change may become a task,
    else (one word for the reason, the reason)."""
    statuses = outcome.statuses
    lost = {*outcome.lost} - known.keys()
    passed = passed_in(known)
    gone = [test for test in passed if statuses.get(test) not in (PASSED, *FAILED)]
    n_broken = sum(statuses.get(test) in FAILED for test in passed)
    troubles = [
        ("timeout", f"the suite does not end: it was ended after {outcome.seconds:.0f} s",
         outcome.timed_out),
        ("crash", f"the suite crashes, with exit code {outcome.exit_code}",
         outcome.exit_code >= CRASHED),
        ("uncollected", f"these are not collected: {named(sorted(lost))}", lost),
        ("stopped", f"the suite stops early: {printable(outcome.truncated_at, 200)}",
         outcome.truncated_at),
        ("gone", f"tests that passed do not run any more: {named(gone)}", gone),
        (*SURVIVES, not n_broken),
        ("too_broad", "every test that passed before fails",
         n_broken == len(passed) and max_broken_share < 1),
        ("too_broad", f"it breaks {n_broken} of {len(passed)} tests, more than "
         f"{max_broken_share:.0%}", n_broken > max_broken_share * len(passed)),
        ("same_error", outcome.same_error, outcome.same_error)]
    return next(((word, why) for word, why, is_so in troubles if is_so), (GOOD, ""))
