"""Run a project's tests as a tool and report which of them failed."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from codedata.agent.bash import shown
from codedata.agent.tools import Failed
from codedata.sandbox import Sandbox
from codedata.suites.project_suite import run_suite
from codedata.suites.test_results import GOOD, Case

MAX_NAMED = 50            # failed tests that are listed
RUN_S = 1800.0            # seconds for a run


class ToolRunTests:
    """Run `command` and read its results as run_suite() does; or with parse(output), which returns
    [{"name": …, "status": "passed" | "failed" | …}, …]."""

    name = "run_tests"

    def __init__(self, command: str, parse: Callable[[str], list[dict]] | None = None):
        self.command = command
        self.parse = parse

    def __call__(self, sandbox: Sandbox, selection: str = "") -> str:
        """Run the project's tests: how many passed, which did not, and what was printed.

        selection: what to add to the command, for example a file or the name of a test; empty: run all
        """  # noqa: E501
        run = run_suite(sandbox, f"{self.command} {selection}".strip(), RUN_S)
        cases = [Case.of(row) for row in self.parse(run.text)] if self.parse else run.results
        counts = Counter(case.status for case in cases)
        bad = [f"{case.status}: {case.name}" for case in cases if case.status not in GOOD]
        summary = ", ".join(f"{n} {status}" for status, n in sorted(counts.items()))
        lines = [summary or "no test result could be read", *bad[:MAX_NAMED]]
        if len(bad) > MAX_NAMED:
            lines.append(f"… and {len(bad) - MAX_NAMED} more")
        text = "\n".join([*lines, shown(run.done, RUN_S)])
        return text if run.done.ok and counts["passed"] and not bad else Failed(text)
