"""Run a project's tests as a tool and report which of them failed."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from codedata.agent.bash import shown
from codedata.agent.tools import Failed
from codedata.sandbox import Sandbox

NAMED = 50            # failed tests that are listed
GOOD = ("passed", "skipped")


class ToolRunTests:
    """Run `command`; parse(output) returns [{"name": …, "status": "passed" | "failed" | …}, …]."""

    name = "run_tests"

    def __init__(self, command: str, parse: Callable[[str], list[dict]], timeout_s: float = 1800.0):
        self.command, self.parse, self.timeout_s = command, parse, timeout_s

    def __call__(self, sandbox: Sandbox, selection: str = "") -> str:
        """Run the project's tests: how many passed, which did not, and what was printed.

        selection: what to add to the command, for example a file or the name of a test; empty: run all
        """
        result = sandbox.run(f"{self.command} {selection}".strip(), timeout_s=self.timeout_s)
        cases = self.parse(result.output)
        counts = Counter(case["status"] for case in cases)
        lines = [", ".join(f"{n} {status}" for status, n in sorted(counts.items())) or "no test result could be read"]
        bad = [f"{case['status']}: {case['name']}" for case in cases if case["status"] not in GOOD]
        lines += bad[:NAMED] + [f"… and {len(bad) - NAMED} more"] * (len(bad) > NAMED)
        is_good = result.ok and counts["passed"] and not bad
        return (str if is_good else Failed)("\n".join([*lines, shown(result, self.timeout_s)]))
