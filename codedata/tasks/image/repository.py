"""Make a task from a repository: an image whose only commit is the source, a patch that solves the
task, and the project's own tests, run by the verifier that all such tasks share.

The agent's work is an archive of the files that it changed or added; config.json lists which of
them count. Files that the agent deleted still exist when its work is graded.
"""
from __future__ import annotations

import itertools
import math
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from codedata.disk.store import digest
from codedata.records import Files, Task
from codedata.sandbox.factory import WORKDIR
from codedata.tasks.folder.task_folder import (
    ARCHIVE,
    GOLD,
    REVERSE,
    SOLVE,
    TEST_PATCH,
    Container,
    config_of,
    from_image,
)
from codedata.tasks.folder.tests_folder import (
    Case,
    TestFiles,
    case_files,
    seconds_for_tests,
    suite_tests,
)
from codedata.texts import fill, text_of
from codedata.verifier.suite import CASES_S

AGENT_S = 3600.0
MIN_VERIFIER_S, VERIFIER_TIMES = 180.0, 10   # minimum, in seconds; multiple of the suite's longest
                                             # run
USERS = ("nobody", "root")   # tests run as the first of these users that lets the gold be rewarded


@dataclass(frozen=True, slots=True)
class SuiteVerifier:
    """Describe how a task's verifier runs a project's suite, and which tests it grades."""

    test_script: str
    reads: str                  # where to read results, one of tests_folder.READS
    hidden: Files               # test files to add, replacing files of the agent
    test_patch: str             # creates the same files; "" if the agent sees them
    fail_to_pass: Sequence[str]   # names from junit.escaped_name()
    pass_to_pass: Sequence[str]
    counts: tuple[str, ...] | None = None   # as in suite_tests()
    user: str = USERS[0]
    canary: str = ""            # the folder for tests that have to fail; "": none
    cases: Sequence[Case] = ()  # scripts that a reward needs in addition to the tests
    steering: Sequence[str] = ()   # the gold's files that steer tests; they count, too

    def variants(self) -> Iterator[SuiteVerifier]:
        """Yield this verifier for each user, with and without a canary: the safest variant first.
        """
        files = (test.partition("::")[0] for test in self.fail_to_pass)
        test = next((file for file in files if file.endswith(".py")), "")
        folders = [os.path.dirname(test) or ".", ""] if test else [""]
        for user, folder in itertools.product(USERS, folders):
            yield replace(self, user=user, canary=folder)

    def tests(self, timeout_s: int, commit: str, label: str) -> TestFiles:
        """Return the files of tests/; `commit` is the image's, `label` is for the agent's archive.
        """
        files = suite_tests(
            self.test_script, self.hidden, workdir=WORKDIR, reads=self.reads, user=self.user,
            canary=self.canary, timeout_s=timeout_s, counts=self.counts, label=label,
            collect=fill(text_of("codedata.verifier", "pack_here.sh"), workdir=WORKDIR,
                         collect=collect_script(self.counts, commit, label), archive=ARCHIVE,
                         commit=commit),
            FAIL_TO_PASS=[*self.fail_to_pass], PASS_TO_PASS=[*self.pass_to_pass],
            steering=[*self.steering])
        files |= {TEST_PATCH: self.test_patch} if self.test_patch else {}
        return files | (case_files(self.cases) if self.cases else {})


def task_of(name: str, kind: str, verifier: SuiteVerifier, patches: tuple[str, str], image: str,
            commit: str, longest_s: float) -> Task:
    """Return a task without a proof. `patches` are the gold and its reverse. Work is compared with
    `commit` of the image. The suite's longest run took `longest_s` seconds."""
    # in doubling steps, so that a new proof seldom changes the task and its issue report is kept
    doubled = math.ceil(math.log2(max(1, VERIFIER_TIMES * longest_s / MIN_VERIFIER_S)))
    verifier_s = MIN_VERIFIER_S * 2 ** doubled
    label = digest(patches)   # no agent knows it, and a new proof does not change it
    cases_s = CASES_S if verifier.cases else 0
    container = Container(WORKDIR, image, agent_s=AGENT_S, verifier_s=verifier_s + cases_s,
                          collect=collect_script(verifier.counts, commit, label))
    solve = fill(text_of("codedata.tasks.image", "solve.sh"), workdir=WORKDIR)
    solution = dict(zip((SOLVE, GOLD, REVERSE), (solve, *patches), strict=True))
    tests = verifier.tests(seconds_for_tests(verifier_s), commit, label)
    return Task(name, kind, config_of(name, container, {"kind": kind}), from_image(image),
                *({path: text.encode() for path, text in files.items()}
                  for files in (solution, tests)))


def collect_script(counts: Sequence[str] | None, commit: str, label: str) -> str:
    """Return the script that writes the labelled archive of an agent's work: the files in `counts`
    and new Python modules; if `counts` is None, all changed or added files."""
    parts = {"counted": "", "kinds": "AMT", "below": ""}
    if counts is not None:
        parts = {"counted": f"printf '%s\\0' {shlex.join(counts)}\n    ", "kinds": "A",
                 "below": " -- '*.py'"}
    return fill(text_of("codedata.tasks.image", "collect.sh"), workdir=WORKDIR, archive=ARCHIVE,
                commit=commit, label=label, **parts)


def with_image(task: Task, image: str) -> Task:
    """Return a task with another image name."""
    environment = {**task.config["environment"], "docker_image": image}
    return replace(task, config={**task.config, "environment": environment},
                   environment={**task.environment, **from_image(image)})
