"""Run the whole suite once with a patch, in a fresh container: enough to say that the patch is no
bug, not enough to prove that it is one (tasks/prove.py)."""
from __future__ import annotations

from dataclasses import dataclass, field

from codedata.code.entities import is_test_file
from codedata.progress import begin_step, named
from codedata.records import Environment
from codedata.sandbox import Sandbox
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.environments import open_environment
from codedata.suites.source import Files, apply_patch
from codedata.suites.suite import run_suite
from codedata.tasks.suite_outcomes import (
    PASSED,
    REFUSED,
    Outcome,
    broken_in,
    judged,
    known_results,
    outcome_of,
    time_limit,
)
from codedata.texts import printable

LOG_CHARS = 6_000          # of a run's output that are kept: its end


@dataclass(frozen=True, slots=True)
class FirstRun:
    """Hold what one run of the whole suite with a patch shows."""

    verdict: str               # GOOD, or in one word why it is no bug
    reason: str                # the same in words that an agent can act on; "": it may be one
    broken: list[str] = field(default_factory=list)   # tests that passed before and fail now
    n_passed: int = 0
    log: str = ""              # the end of what was printed
    before: Files = field(default_factory=dict)   # the files that the patch changes, and
    after: Files = field(default_factory=dict)    # what they are with it
    outcome: Outcome = field(default_factory=lambda: Outcome({}))


def first_run(environment: Environment, patch: str, host: SandboxFactory, label: str,
              max_broken_share: float) -> FirstRun:
    """Return what a run with the patch shows, compared with the results in env/. Raise ItemFailed
    or Excluded where the environment cannot be opened."""
    known = known_results(environment)
    begin_step("tests in a fresh container")
    with open_environment(environment, host, label) as sandbox:
        before, after, reason = patch_source(sandbox, patch)
        if reason:
            return FirstRun(REFUSED, reason)
        run = run_suite(sandbox, environment.test_script,
                        time_limit(environment, host.run_timeout_s))
    outcome = outcome_of(run, known)
    return FirstRun(*judged(outcome, known, max_broken_share), broken_in(outcome, known),
                    sum(case.status == PASSED for case in run.results), run.text[-LOG_CHARS:],
                    before, after, outcome)


def patch_source(sandbox: Sandbox, patch: str) -> tuple[Files, Files, str]:
    """Do as apply_patch() does, with an error message for a patch that changes tests."""
    before, after, reason = apply_patch(sandbox, patch)
    if tests := [*filter(is_test_file, before | after)]:
        reason = f"the patch changes tests: {named(tests)}"
    return before, after, printable(reason)
