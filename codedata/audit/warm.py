"""Judge changes of a task's source in a warm sandbox of its repository's environment, if the root
has this environment and the coverage of its tests."""
from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from codedata.disk.store import Store
from codedata.driver import StaysInDriver
from codedata.errors import BrokenRecord
from codedata.records import Coverage, Environment, Task
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.environments import Environments
from codedata.tasks.folder.check import PATCHED
from codedata.tasks.prove.outcomes import time_limit
from codedata.tasks.prove.run_suite import ScreeningRules
from codedata.tasks.screen.screening import Screener

ALL = 1.0   # share of the tests that a variant may fail


@dataclass
class TaskSources(StaysInDriver):
    """Find the environments and coverages of the tasks of a root. List the root only once."""

    root: Path

    @cached_property
    def _stores(self) -> tuple[Environments, Store]:
        return Environments(self.root).open(), Store(self.root, Coverage).open()

    def of(self, task: Task) -> tuple[Environment, Coverage] | None:
        """Return the environment of a task's source and the coverage of its tests; None if the root
        lacks either, or has them for another commit."""
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


def screener_of(found: tuple[Environment, Coverage] | None, host: SandboxFactory,
                label: str) -> AbstractContextManager[Screener | None]:
    """Return a context manager that yields a Screener of a task's solved source. `found` is the
    environment and coverage of this source; if it is None, yield None."""
    if not found:
        return nullcontext()
    environment, coverage = found
    limit_s = time_limit(environment, host.run_timeout_s)
    return Screener(environment, coverage, limit_s, host, f"{label}-warm", ScreeningRules(ALL))
