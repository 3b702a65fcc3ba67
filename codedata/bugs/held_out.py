"""Find the held-out cases of bugs: calls with other arguments than the tests', which a verifier
makes in addition to the tests."""
from __future__ import annotations

import threading
from collections import defaultdict

from codedata.code.patches import diff_of, n_changed_lines
from codedata.errors import Excluded
from codedata.issues.issue_facts import MAX_TESTS, Differences
from codedata.issues.scripts_of_tests import scripts_in
from codedata.records import Environment, Object
from codedata.run.talk import begin_step
from codedata.sandbox import Sandbox
from codedata.suites.environments import open_environment
from codedata.suites.replayed_scripts import ReplayJob
from codedata.suites.source import apply_patch
from codedata.tasks.folder.tests_folder import Case
from codedata.tasks.prove.outcomes import PASSED, known_results
from codedata.tasks.prove.proof import CandidateProof
from codedata.tasks.prove.run_suite import FirstRun


class HeldOutCases:
    """Find the cases of candidates. The scripts of a suite are made once."""

    def __init__(self):
        self._scripts: dict[str, list[ReplayJob]] = {}   # stable tests, by repository
        self._locks = defaultdict(threading.Lock)   # one reading of a suite at a time

    def of(self, run: FirstRun, proof: CandidateProof) -> tuple[list[Case], Object]:
        """Return (the cases of a candidate, the strength of its task). Raise Excluded for a feature
        that the fix mostly reverts."""
        host, label, environment = proof.host, proof.label, proof.environment
        candidate = proof.candidate
        undone = diff_of(run.after, run.before)
        is_reduced = proof.rules.reduce_gold
        if is_reduced and 2 * n_changed_lines(undone) > n_changed_lines(candidate.change):
            raise Excluded("its tests refuse the feature: a fix takes most of it back",
                           candidate.name)
        with (open_environment(environment, host, label) as right,
              open_environment(environment, host, label) as wrong):
            apply_patch(wrong, candidate.change)
            every = self._scripts_of(right, environment)
            failing = scripts_in(right, run.fail_to_pass[:MAX_TESTS], as_examples=True)
            if is_reduced:
                apply_patch(right, candidate.change)
                apply_patch(right, undone)
            return Differences(right, wrong, environment.test_script).held_out(failing, every)

    def _scripts_of(self, right: Sandbox, environment: Environment) -> list[ReplayJob]:
        """Return the scripts of the tests of a repository that always pass."""
        name = environment.repo_name
        with self._locks[name]:
            if name not in self._scripts:
                begin_step("reading its tests")
                passed = [test for test, status in known_results(environment).items()
                          if status == PASSED]
                self._scripts[name] = scripts_in(right, passed, as_examples=True)
            return self._scripts[name]
