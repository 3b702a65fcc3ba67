"""Run one task for its checks: its gold, its image as it is, and what a check tries.

Whatever is tried is graded by the task's own verifier, in a fresh container without network.
"""
from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from codedata.errors import ItemFailed
from codedata.records import DATAPOINT, Files, Object, RivalledTask
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.source import is_text
from codedata.tasks.folder.folder import ARCHIVE, SOLVE, edited_parts
from codedata.tasks.folder.tests_folder import KEPT, MAX_KEPT
from codedata.tasks.prove.grade import BESIDE, Grade, Grader, archive_of, grader_of, tree_of
from codedata.tasks.screen.screen import Screener
from codedata.texts import text_of

GOLD_GETS = "its gold gets"
MIN_LIMIT_S, GOLD_TIMES = 15.0, 4   # of a try's verifier, or so many times as long as the gold's


@dataclass
class CheckResult:
    """Hold what a check found."""

    result: str                  # one of AUDIT_RESULTS
    why: str = ""                # "" where it passed
    evidence: list[str] = field(default_factory=list)
    figures: Object = field(default_factory=dict)
    tries: list[Object] = field(default_factory=list)   # those that a reviewer should read


class GoldRefused(ItemFailed):
    """Say that a task's gold is not rewarded: nothing can be made of it."""


@dataclass
class Audited:
    """Hold a task that is audited, and what is known of it by running it."""

    task: RivalledTask
    host: SandboxFactory
    label: str
    screener: Screener | None = None    # of its solved source; None where the root has no source
    survivors: list[Object] | None = None   # the tries of `strength`, None before it is made
    failed_once: set[str] = field(default_factory=set)    # tests with weights that a run failed
    not_built: ItemFailed | None = None

    @cached_property
    def grader(self) -> Grader:
        """Return the grader of the task. Raise ItemFailed where its image cannot be built, which is
        tried once."""
        if self.not_built:
            raise self.not_built
        try:
            return grader_of(self.task, self.host, self.label)
        except ItemFailed as e:
            self.not_built = e
            raise

    @cached_property
    def untouched(self) -> Grade:
        """Return the grade of an agent that does nothing."""
        return self._noted(self.grader.grade(None))

    @cached_property
    def kept(self) -> float:
        """Return what an agent that does nothing may get: the reward of tests that hold what is to
        stay as it is."""
        passed = self.untouched.passed() if self.task.kind == DATAPOINT else ()
        is_so = passed and all(name.startswith(KEPT) for name in passed)
        return min(MAX_KEPT, self.untouched.reward) if is_so else 0.0

    @cached_property
    def nothing(self) -> bytes:
        """Return the archive of an agent that does nothing. Raise ItemFailed as work() does."""
        return self.grader.work("true")[0]

    @cached_property
    def gold(self) -> tuple[bytes, Grade]:
        """Return (the archive of the gold's work, its grade). Raise GoldRefused where it is not
        rewarded, or there is none."""
        if SOLVE not in self.task.solution:
            raise GoldRefused(f"it has no solution/{SOLVE}", self.task.instance_id)
        work, _ = self.grader.gold()
        grade = self.grader.grade(work)
        if grade.reward != 1.0:
            raise GoldRefused(f"{GOLD_GETS} {grade.reward:g}", self.task.instance_id)
        return work, grade

    def proven_runs(self) -> list[Object]:
        """Return the runs in proof.json; [] where the task was edited since, or has no proof."""
        runs = (self.task.proof or {}).get("runs")
        return runs if self.task.kind and runs and not edited_parts(self.task) else []

    @cached_property
    def outputs(self) -> tuple[Files, Files]:
        """Return ({path: content} before the gold, of more files too; of those that it changes or
        adds, after it)."""
        after = files_in(self.gold[0])
        before = self._files_in_image(after) if self.grader.packs_itself else files_in(self.nothing)
        given = self.task.solution if self.grader.workdir == "/solution" else ()
        after = {path: content for path, content in after.items()
                 if before.get(path) != content and path not in given}
        return before, after

    @cached_property
    def changed(self) -> tuple[Files, Files]:
        """Return the texts among the files that the gold changes or adds: (before, after)."""
        before, after = self.outputs
        after = {path: content for path, content in after.items() if is_text(content)}
        return {path: before[path] for path in after if path in before}, after

    def _files_in_image(self, paths: Files) -> Files:
        """Return those of some files of the work directory that the image has."""
        with self.grader.opened() as sandbox:
            sandbox.put({"paths": "\0".join(paths).encode(errors="surrogateescape")}, "/tmp")
            return files_in(self.grader.archived(
                sandbox, "tar --null --no-recursion --ignore-failed-read "
                         f"-cf {ARCHIVE} -T /tmp/paths; true"))

    # tries ---------------------------------------------------------------------------------------

    def grade_files(self, files: Files, *, stops_early: bool = False) -> Grade:
        """Return the grade of the gold's work with other contents of some files. With
        `stops_early`, pytest ends at the first test that fails."""
        before = "export PYTEST_ADDOPTS=-x; " if stops_early else ""
        limit_s = max(MIN_LIMIT_S, GOLD_TIMES * self.gold[1].seconds)
        return self._noted(self.grader.grade(self.work_with(files), before=before, limit_s=limit_s))

    def with_programs(self, change: Callable[[str, bytes], bytes | None]
                      ) -> tuple[Grade, list[str] | None]:
        """Grade the gold with its programs changed so that they run look.sh when they start. Return
        (the grade, what they have seen; None where the tests start none)."""
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
        """Return the archive of the gold's work with other contents of some files."""
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
