"""Run the whole suite once with a patch, in a fresh container. The run can show that the patch
cannot become a task, but not prove that it can: tasks/prove/proof.py makes further runs."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from codedata.code.entities import is_test_file
from codedata.records import Environment, Object, Seconds
from codedata.sandbox import Sandbox
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.environments import open_environment
from codedata.suites.project_suite import Run, run_suite
from codedata.suites.source import Files, apply_patch
from codedata.tasks.folder.eval_script import misread, run_evaluation
from codedata.tasks.prove.outcomes import (
    FAILED,
    GOOD,
    PASSED,
    REFUSED,
    SuiteOutcome,
    judged,
    known_results,
    outcome_of,
    time_limit,
    was_ended,
    without_missing,
)
from codedata.terminal import named
from codedata.texts import printable
from codedata.verifier.suite import MARKS

LOG_CHARS = 6_000          # characters to keep from the end of a run's output


@dataclass(frozen=True)
class Screened:
    """Hold the result of screening a change."""

    verdict: str             # GOOD, or in one word why the change is refused
    reason: str              # the reason as a text for an agent to act on; "" if GOOD
    failing: list[str] = field(default_factory=list)   # tests that passed and now fail
    skipped: list[str] = field(default_factory=list)   # tests that passed and now are skipped
    # "swap" or "import": a process of a warm sandbox got the changed functions, or imported the
    # changed files; "full": the whole suite ran on the changed source
    how: str = "full"
    n_run: int = 0           # number of tests that ran
    seconds: Seconds = 0.0   # duration of the run
    not_run: list[str] = field(default_factory=list)   # tests that the suite did not reach
    is_cut: bool = False     # the suite was killed before it ended


@dataclass(frozen=True)
class ScreeningRules:
    """Hold the rules for calling a change good."""

    max_broken_share: float        # limit for failing tests, as a share of the tests that passed
    # Do not count tests that the change makes skipped.
    ignores_skipped: bool = False
    # Refuse a change if several tests run a changed line and all of them end in the same type of
    # error, since this shows where the change is. Only the screening in warm sandboxes checks it.
    drops_same_error: bool = False
    # Tests that no longer run count as failing. If a suite does not end, only the tests that ran
    # count; the test that was running counts as failing.
    counts_missing: bool = False

    def screened(self, outcome: SuiteOutcome, known: Mapping[str, str], how: str,
                 n_run: int) -> Screened:
        """Return the result of screening, from an outcome and the known results."""
        not_run: list[str] = []
        if self.counts_missing:
            outcome, not_run = without_missing(outcome, known)
        skipped = [name for name, status in sorted(known.items()) if self.ignores_skipped
                   and status == PASSED and outcome.statuses.get(name) == "skipped"]
        left_out = {*skipped, *not_run}
        known = {name: known[name] for name in known if name not in left_out}
        failing = sorted(name for name, status in outcome.statuses.items()
                         if status in FAILED and known.get(name) == PASSED)
        return Screened(*judged(outcome, known, self.max_broken_share), failing, skipped, how,
                        n_run, outcome.seconds, not_run=not_run,
                        is_cut=bool(outcome.last_lines))


@dataclass(frozen=True, slots=True)
class Grading:
    """Hold what a graded run uses in place of env/'s test script and results: the evaluation
    script, whose output graders can read, and the `known` statuses."""

    script: str                # an evaluation script
    known: Mapping[str, str]   # statuses without a patch, of the tests that count
    copies: Files = field(default_factory=dict)   # doctests, to be put into the source
    may_patch_tests: bool = False   # the patch may change tests


@dataclass(frozen=True, slots=True)
class FirstRun:
    """Hold the results of a run of the whole suite with a patch."""

    screened: Screened
    known: Mapping[str, str] = field(default_factory=dict)   # statuses without the patch
    before: Files = field(default_factory=dict)   # files that the patch changes, without it
    after: Files = field(default_factory=dict)    # the same files with the patch
    log: str = ""                                 # the end of the output
    row: Object = field(default_factory=dict)     # the run's entry of `runs` in proof.json

    @property
    def fail_to_pass(self) -> list[str]:
        """Return the tests that pass without the patch and fail with it, sorted."""
        return self.screened.failing

    @property
    def pass_to_pass(self) -> list[str]:
        """Return the tests that pass without the patch, and with the patch pass or do not run. With
        an agent's work, all these tests have to pass."""
        failing = {*self.fail_to_pass}
        return [test for test, status in self.known.items()
                if status == PASSED and test not in failing]


def first_run(environment: Environment, patch: str, host: SandboxFactory, label: str,
              rules: ScreeningRules, limit_s: float = 0.0,
              graded: Grading | None = None) -> FirstRun:
    """Run the whole suite with the patch, and compare the results with env/, or with `graded`.
    `limit_s` is the time limit; 0 means time_limit(). Raise ItemFailed or Excluded if the
    environment cannot be opened."""
    limit_s = limit_s or time_limit(environment, host.run_timeout_s)
    with open_environment(environment, host, label) as sandbox:
        return run_in(sandbox, environment, patch, rules, limit_s, graded)


def run_in(sandbox: Sandbox, environment: Environment, patch: str, rules: ScreeningRules,
           limit_s: float, graded: Grading | None = None) -> FirstRun:
    """Do the same as first_run(), in an open sandbox. With the patch "", run the unchanged source.
    """
    known = graded.known if graded else known_results(environment)
    before, after, reason = apply_patch(sandbox, patch) if patch else ({}, {}, "")
    tests = [*filter(is_test_file, before | after)]
    if tests and not (graded and graded.may_patch_tests):
        reason = f"the patch changes tests: {named(tests)}"
    if reason:
        return FirstRun(Screened(REFUSED, printable(reason)))
    if graded:
        sandbox.put(graded.copies, ".")
        run, printed = run_evaluation(sandbox, graded.script, limit_s)
    else:
        run = run_suite(sandbox, environment.test_script, limit_s)
        printed = run.text
    shown = rules.screened(outcome_of(run, known), known, "full", len(run.results))
    is_read = graded and shown.verdict == GOOD and not was_ended(run)
    if is_read and (reason := misread(run, printed)):
        shown = replace(shown, verdict=REFUSED, reason=reason)
    log = printed.rpartition(MARKS[1])[2].strip()
    return FirstRun(shown, known, before, after, log[-LOG_CHARS:], row_of("changed", run, shown))


def row_of(name: str, run: Run, shown: Screened) -> Object:
    """Return the line of a run in `runs` of proof.json."""
    n_passed = sum(case.status == PASSED for case in run.results)
    return {"of": name, "broken": len(shown.failing), "passed": n_passed, "cases": shown.n_run,
            "exit_code": run.exit_code, "seconds": run.seconds,
            **({"not_run": len(shown.not_run)} if shown.not_run else {})}
