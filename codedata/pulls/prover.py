"""Prove a pull request by execution: some of its tests fail before it and pass after it.

The suite runs twice with the request in the image of its base commit, then once with only its
tests. The rest is as for every patch (tasks/prove/), in an image of the base commit, which has the
earlier tests and nothing of the request.
"""
from __future__ import annotations

import math
from dataclasses import replace

from codedata.errors import Excluded
from codedata.pulls.pull_tasks import PullRequest
from codedata.records import Environment
from codedata.run.talk import begin_step
from codedata.sandbox import Sandbox
from codedata.suites.source import Files, apply_patch
from codedata.tasks.folder.eval_script import eval_script
from codedata.tasks.folder.tests_folder import suite_tests
from codedata.tasks.image.task_image import TaskImage
from codedata.tasks.prove.outcomes import FAILED, SURVIVES, known_results
from codedata.tasks.prove.proof import STEPS, Baseline, PatchProver
from codedata.tasks.prove.run_suite import FirstRun, Grading, first_run
from codedata.terminal import named
from codedata.texts import printable

RUNS_AFTER = 2
TIMES_AFTER, MORE_S = 3, 30   # the run before: at most this many times the run after, plus seconds;
                              # ending its processes and reading its results may take as long again


class PullProver(PatchProver):
    """Prove pull requests: candidates of Pulls."""

    def baseline_of(self, environment: Environment, label: str,
                    candidate: PullRequest) -> Baseline:
        """Return the results of the suite with the request, and the task's image. Raise Excluded if
        the image shows the request, if its patches do not apply, or if tests fail only with it."""
        begin_step("its image", 1, STEPS)
        image = self._derive(environment, "", label, candidate.diff, candidate.tests)
        begin_step("tests with the pull request", 1, STEPS)
        changed: dict[str, Files] = {}

        def prepare(sandbox: Sandbox) -> None:
            for names, patch in ((("before", "after"), candidate.diff),
                                 (("shown", "tests"), candidate.tests)):
                *files, reason = apply_patch(sandbox, patch)
                if reason:
                    raise Excluded(printable(reason), candidate.name)
                changed.update(zip(names, files, strict=True))

        found = self._run_baseline(environment, label, RUNS_AFTER, prepare)
        known = known_results(environment)
        failing = sorted(test for test, status in found.statuses.items()
                         if status in FAILED and known.get(test) not in FAILED)
        if failing:
            raise Excluded(f"with it, tests fail: {named(failing)}", candidate.name)
        return replace(found, image=image, **changed)

    def _run_broken(self, environment: Environment, candidate: PullRequest,
                    baseline: Baseline, label: str) -> FirstRun:
        limit_s = math.ceil(TIMES_AFTER * baseline.seconds + MORE_S)
        script = eval_script(suite_tests(environment.test_script, reads=baseline.reads,
                                         timeout_s=limit_s))
        begin_step("tests before the pull request", 2, STEPS)
        first = first_run(environment, candidate.tests, self._factory, label, self._rules,
                          limit_s + MORE_S,
                          Grading(script, baseline.statuses, baseline.copies, may_patch_tests=True))
        if first.screened.verdict == SURVIVES[0]:
            raise Excluded("no test fails before it and passes after it", candidate.name)
        if first.screened.reason:
            raise Excluded(f"before it, {first.screened.reason}", candidate.name)
        unknown = sorted(test for test in first.screened.not_run
                         if baseline.files[test] in baseline.tests)
        if unknown:
            raise Excluded("before it, the suite ends before tests that it changes: "
                           f"{named(unknown)}", candidate.name)
        return replace(first, before=baseline.after, after=baseline.before)

    def _hide_tests(self, environment: Environment, first: FirstRun, baseline: Baseline,
                    label: str, gold: str) -> tuple[TaskImage, Files, Files, str]:
        """Return (the image of the base commit; the test files after the request, with the copies
        of doctests; the test files before it; "")."""
        return baseline.image, {**baseline.tests, **baseline.copies}, baseline.shown, ""
