"""Grade a task for its audit: the gold, the unchanged image, and the checks' variants and scripts.

The task's own verifier grades all of them, in fresh containers without network.
"""
from __future__ import annotations

import posixpath
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

from codedata.errors import ItemFailed
from codedata.records import DATAPOINT, Files, Object, RivalledTask
from codedata.sandbox.docker import engine
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.source import is_text
from codedata.tasks.folder.task_folder import ARCHIVE, SOLVE, edited_parts
from codedata.tasks.folder.tests_folder import KEPT, MAX_KEPT
from codedata.tasks.prove.grader import BESIDE, Grade, Grader, archive_of, grader_of, tree_of
from codedata.tasks.screen.screening import Screener
from codedata.texts import text_of

GOLD_GETS = "its gold gets"
MIN_LIMIT_S, GOLD_TIMES = 15.0, 4   # a try's limit: 4 times the gold's seconds, but at least 15


@dataclass
class CheckResult:
    """Hold the result of a check."""

    result: str                  # one of AUDIT_RESULTS
    why: str = ""                # "" if it passed
    evidence: list[str] = field(default_factory=list)
    figures: Object = field(default_factory=dict)
    tries: list[Object] = field(default_factory=list)   # for a reviewer to read


@dataclass
class Groups:
    """Hold the groups of tasks that passed the shared cheats: one task of a group tries them, and
    the others skip them if none works."""

    passed: set[str] = field(default_factory=set)
    locks: defaultdict[str, threading.Lock] = field(   # others wait while one task tries them
        default_factory=partial(defaultdict, threading.Lock))


class GoldRefused(ItemFailed):
    """Report that a task's gold is not rewarded, so the check cannot use it."""


@dataclass
class Audited:
    """Hold a task under audit, and the results of its runs."""

    task: RivalledTask
    host: SandboxFactory
    label: str
    screener: Screener | None = None    # judges variants of the solved source; None: see warm.py
    survivors: list[Object] | None = None   # the tries of `strength`; None before it has run
    groups: Groups = field(default_factory=Groups)   # shared by all tasks of a run
    failed_once: set[str] = field(default_factory=set)    # weighted tests that failed in some run
    not_built: ItemFailed | None = None

    @cached_property
    def grader(self) -> Grader:
        """Return the grader of the task. Raise ItemFailed if its image cannot be built; the build
        is tried only once."""
        if self.not_built:
            raise self.not_built
        try:
            return grader_of(self.task, self.host, self.label)
        except ItemFailed as e:
            self.not_built = e
            raise

    @cached_property
    def layers(self) -> list[str]:
        """Return the digests of the layers of the task's image, the lowest first."""
        return engine.layers_of(self.grader.image)

    @cached_property
    def untouched(self) -> Grade:
        """Return the grade of an agent that does nothing."""
        return self._noted(self.grader.grade(None))

    @cached_property
    def idle_reward(self) -> float:
        """Return the reward that a task may give for no work: for a datapoint whose unchanged image
        passes only regression tests, the image's reward, up to MAX_KEPT; else 0."""
        passed = self.untouched.passed() if self.task.kind == DATAPOINT else ()
        is_so = passed and all(name.startswith(KEPT) for name in passed)
        return min(MAX_KEPT, self.untouched.reward) if is_so else 0.0

    @cached_property
    def empty_work(self) -> bytes:
        """Return the archive of an agent that does nothing. Raise ItemFailed if the work cannot be
        packed."""
        return self.grader.work("true")[0]

    @cached_property
    def gold(self) -> tuple[bytes, Grade]:
        """Return (the archive of the gold's work, its grade). Raise GoldRefused if there is no
        gold, or it is not rewarded."""
        if SOLVE not in self.task.solution:
            raise GoldRefused(f"it has no solution/{SOLVE}", self.task.instance_id)
        work, _ = self.grader.gold()
        grade = self.grader.grade(work)
        if grade.reward != 1.0:
            raise GoldRefused(f"{GOLD_GETS} {grade.reward:g}", self.task.instance_id)
        return work, grade

    def proven_runs(self) -> list[Object]:
        """Return the runs in proof.json; [] if the task has no proof, or was edited after it."""
        runs = (self.task.proof or {}).get("runs")
        return runs if self.task.kind and runs and not edited_parts(self.task) else []

    @cached_property
    def outputs(self) -> tuple[Files, Files]:
        """Return {path: content} before the gold runs, and {path: content} of the files that it
        changes or adds. The first may also have files that stay unchanged."""
        after = files_in(self.gold[0])
        before = (self._files_in_image(after) if self.grader.packs_itself
                  else files_in(self.empty_work))
        given = self.task.solution if self.grader.workdir == "/solution" else ()
        after = {path: content for path, content in after.items()
                 if before.get(path) != content and path not in given}
        return before, after

    @cached_property
    def changed(self) -> tuple[Files, Files]:
        """Return (before, after) of the text files that the gold changes or adds."""
        before, after = self.outputs
        after = {path: content for path, content in after.items() if is_text(content)}
        return {path: before[path] for path in after if path in before}, after

    def _files_in_image(self, paths: Files) -> Files:
        """Return {path: content} of the given files of the work directory that exist in the image.
        """
        with self.grader.opened() as sandbox:
            sandbox.put({"paths": "\0".join(paths).encode(errors="surrogateescape")}, "/tmp")
            return files_in(self.grader.archived(
                sandbox, "tar --null --no-recursion --ignore-failed-read "
                         f"-cf {ARCHIVE} -T /tmp/paths; true"))

    # tries ---------------------------------------------------------------------------------------

    def grade_files(self, files: Files, *, stops_early: bool = False) -> Grade:
        """Return the grade of the gold's work with some files replaced by `files`. With
        `stops_early`, pytest ends at the first test that fails."""
        before = "export PYTEST_ADDOPTS=-x; " if stops_early else ""
        limit_s = max(MIN_LIMIT_S, GOLD_TIMES * self.gold[1].seconds)
        return self._noted(self.grader.grade(self.work_with(files), before=before, limit_s=limit_s))

    def with_programs(self, change: Callable[[str, bytes], bytes | None]
                      ) -> tuple[Grade, list[str] | None]:
        """Grade the gold with its programs changed to run look.sh when they start. Return (the
        grade, the lines that look.sh wrote), with None for the lines if the tests start no program.
        """
        programs = {path: found for path, text in self.changed[1].items()
                    if (found := change(path, text))}
        if not programs:
            return self.gold[1], None
        beside = {"look.sh": text_of(__package__, "look.sh").encode()}
        with self.grader.graded(self.work_with(programs), beside=beside,
                                before=f"mkdir -m 777 {BESIDE}/looked; ") as (sandbox, grade):
            done = sandbox.run(f"cd {BESIDE}/looked && ls | wc -l && sort -u -- * 2>/dev/null")
        n_looks, *seen = done.output.split("\n")
        return grade, [*filter(None, seen)] if n_looks.strip() != "0" else None

    def work_with(self, files: Files) -> bytes:
        """Return the archive of the gold's work with some of its files replaced."""
        tree = tree_of(self.gold[0])
        return archive_of({
            name: (kind, mode, files.get(posixpath.normpath(name), content))
            for name, (kind, mode, content) in tree.items()})

    def grade_script(self, script: str) -> Grade:
        """Return the grade of an agent that runs a script. Raise ItemFailed if its work cannot be
        packed."""
        return self._noted(self.grader.grade(self.grader.work(script)[0]))

    def _noted(self, grade: Grade) -> Grade:
        passed = grade.passed()
        self.failed_once |= {name for name, *_ in grade.phases if name and name not in passed}
        return grade


def files_in(archive: bytes) -> Files:
    """Return {path: content} of the regular files in an archive of an agent's work."""
    return {posixpath.normpath(name): content for name, (_, _, content) in tree_of(archive).items()
            if isinstance(content, bytes)}
