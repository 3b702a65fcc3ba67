"""Judge changes of the source of a repository's task in a warm sandbox of its environment, where
the root has that and the coverage of its tests."""
from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from codedata.disk.store import Store
from codedata.driver import StaysInDriver
from codedata.errors import BrokenRecord
from codedata.records import Coverage, Environment, Task
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.environments import Environments
from codedata.tasks.folder.check import PATCHED
from codedata.tasks.prove.first_run import Screened, ScreeningRules
from codedata.tasks.prove.suite_outcomes import time_limit
from codedata.tasks.screen.screen import Screener

ALL = 1.0   # a variant may fail all tests


class TaskSources(StaysInDriver):
    """Hold what a root knows of the sources of its tasks, listed once for all of them."""

    def __init__(self, root: Path):
        self._root = root

    @cached_property
    def _stores(self) -> tuple[Environments, Store]:
        return Environments(self._root).open(), Store(self._root, Coverage).open()

    def of(self, task: Task) -> tuple[Environment, Coverage] | None:
        """Return the environment of a task's source and the coverage of its tests; None where the
        root lacks one, or has that of another commit."""
        if task.kind not in PATCHED:
            return None
        environments, coverages = self._stores
        for name in environments.names():
            if task.instance_id.startswith(f"{name}.") and name in coverages:
                with suppress(BrokenRecord):
                    pair = environments.read(name), coverages.read(name)
                    if {one.base_commit for one in pair} == {task.about.get("source_commit")}:
                        return pair
        return None


class WarmSource:
    """Judge changes of a task's solved source."""

    def __init__(self, sources: TaskSources, task: Task, host: SandboxFactory, label: str):
        self._sources, self._task, self._host, self._label = sources, task, host, label
        self._screener: Screener | None = None

    @cached_property
    def _inputs(self) -> tuple[Environment, Coverage] | None:
        return self._sources.of(self._task)

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
