"""Find the held-out cases of bugs: calls with other arguments than the tests', which a verifier
makes in addition to the tests. Their clock is stopped at NOW."""
from __future__ import annotations

import threading
from collections import defaultdict
from functools import partial

from codedata.code.patches import diff_of, n_changed_lines
from codedata.errors import Excluded
from codedata.issues.issue_facts import MAX_TESTS, Differences
from codedata.issues.scripts_of_tests import jobs_of_tests, texts_of
from codedata.records import Environment, Object
from codedata.run.talk import begin_step
from codedata.sandbox import Sandbox
from codedata.suites.contexts import sources_in
from codedata.suites.environments import open_environment
from codedata.suites.replayed_scripts import NOW, ReplayJob, replay
from codedata.suites.source import apply_patch
from codedata.tasks.folder.tests_folder import Case
from codedata.tasks.prove.outcomes import known_results, passed_in
from codedata.tasks.prove.proof import CandidateProof
from codedata.tasks.prove.run_suite import FirstRun


class HeldOutCases:
    """Find the held-out cases of candidates. Read the tests of a repository only once."""

    def __init__(self):
        # {repository: (its test files and other files, scripts of the tests that always pass)}
        self._read: dict[str, tuple[list[dict[str, str]], list[ReplayJob]]] = {}
        self._locks = defaultdict(threading.Lock)   # one reading of a repository at a time

    def of(self, run: FirstRun, proof: CandidateProof) -> tuple[list[Case], Object]:
        """Return (the cases of a candidate, entries for proof.json). Raise Excluded if the fix
        removes most of a feature, or if the cases are too weak."""
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
            texts, every = self._read_once(right, environment)
            failing = jobs_of_tests(run.fail_to_pass[:MAX_TESTS], *texts, as_examples=True)
            if is_reduced:
                apply_patch(right, candidate.change)
                apply_patch(right, undone)
            return Differences(right, wrong, environment.test_script,
                               partial(replay, now=NOW)).held_out(failing, every)

    def _read_once(self, right: Sandbox, environment: Environment
                   ) -> tuple[list[dict[str, str]], list[ReplayJob]]:
        """Return the entry of `_read` for a repository."""
        name = environment.repo_name
        with self._locks[name]:
            if name not in self._read:
                begin_step("reading its tests")
                texts = texts_of(sources_in(right))
                self._read[name] = texts, jobs_of_tests(
                    passed_in(known_results(environment)), *texts, as_examples=True)
            return self._read[name]
