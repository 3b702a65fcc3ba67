"""Find the held-out cases of bugs: calls with other arguments than the tests', which a verifier
makes in addition to the tests."""
from __future__ import annotations

import threading
from collections import defaultdict

from codedata.code.patches import diff_of, n_changed_lines
from codedata.errors import Excluded, ItemFailed
from codedata.issues.issue_facts import Differences
from codedata.records import Object
from codedata.run.talk import begin_step
from codedata.sandbox import Sandbox, SandboxDied
from codedata.suites import recorded_calls
from codedata.suites.environments import open_environment
from codedata.suites.recorded_calls import Event
from codedata.suites.source import apply_patch
from codedata.tasks.folder.tests_folder import Case
from codedata.tasks.prove.outcomes import time_limit
from codedata.tasks.prove.proof import CandidateProof
from codedata.tasks.prove.run_suite import FirstRun


class HeldOutCases:
    """Find the cases of candidates. The calls of a suite are recorded once."""

    def __init__(self):
        # {repository: the events of its suite, or why there are none}
        self._events: dict[str, list[Event] | str] = {}
        self._locks = defaultdict(threading.Lock)   # one recording of a suite at a time

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
            events = self._recorded(right, proof)
            if is_reduced:
                apply_patch(right, candidate.change)
                apply_patch(right, undone)
            if isinstance(events, str):
                return [], {"cases": {"none": events}}
            return Differences(right, wrong, environment.test_script).held_out(
                events, run.fail_to_pass)

    def _recorded(self, right: Sandbox, proof: CandidateProof) -> list[Event] | str:
        """Return the calls of a suite, or why none are recorded."""
        environment = proof.environment
        name = environment.repo_name
        with self._locks[name]:
            if name not in self._events:
                begin_step("tests, with their calls recorded")
                limit_s = 5 * time_limit(environment, proof.host.run_timeout_s)
                try:
                    self._events[name] = recorded_calls.record(
                        right, environment.test_script, limit_s)[1]
                except SandboxDied:   # not kept as a reason: another run may succeed
                    raise
                except ItemFailed as e:
                    self._events[name] = e.what
            return self._events[name]
