"""Judge changes of the source of a repository's task in a warm sandbox of its environment, where
the root has that and the coverage of its tests."""
from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from codedata.errors import BrokenRecord
from codedata.records import Coverage, Environment, Task
from codedata.sandbox.factory import SandboxFactory
from codedata.store import Store
from codedata.suites.environments import Environments
from codedata.tasks.check import PATCHED
from codedata.tasks.first_run import Screened, ScreeningRules
from codedata.tasks.screen import Screener
from codedata.tasks.suite_outcomes import time_limit

ALL = 1.0   # a variant may fail all tests


class WarmSource:
    """Judge changes of a task's solved source."""

    def __init__(self, root: Path, task: Task, host: SandboxFactory, label: str):
        self._root, self._task, self._host, self._label = root, task, host, label
        self._screener: Screener | None = None

    @cached_property
    def _inputs(self) -> tuple[Environment, Coverage] | None:
        """Return the environment of the task's source and the coverage of its tests; None where
        the root lacks one, or has that of another commit."""
        if self._task.kind not in PATCHED:
            return None
        commit = self._task.about.get("source_commit")
        environments, coverages = Environments(self._root).open(), Store(
            self._root, Coverage).open()
        for name in environments.names():
            if self._task.instance_id.startswith(f"{name}.") and name in coverages:
                try:
                    pair = environments.read(name), coverages.read(name)
                except BrokenRecord:
                    continue
                if {one.base_commit for one in pair} == {commit}:
                    return pair
        return None

    @property
    def coverage(self) -> Coverage | None:
        """Return which lines each test runs, None where nothing can be judged here."""
        return self._inputs and self._inputs[1]

    def screen(self, diffs: Sequence[str]) -> list[Screened | None]:
        """Return what screening shows of each diff of the solved source, None of one that it cannot
        judge."""
        if not self._inputs:
            return [None] * len(diffs)
        if not self._screener:
            environment, coverage = self._inputs
            self._screener = Screener(
                environment, coverage, time_limit(environment, self._host.run_timeout_s),
                self._host, f"{self._label}-warm", ScreeningRules(ALL))
        return self._screener.screen(diffs)

    def close(self) -> None:
        """Remove the sandbox."""
        if self._screener:
            self._screener.close()
