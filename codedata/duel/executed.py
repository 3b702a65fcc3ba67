"""Read the results of run_turns.py for the candidates of turns: executed/<answer stem>.json.

A run is found by the digest of its turn, so a rewritten answer has no run.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from codedata.conversation.bash_commands import hands_in
from codedata.disk.store import Store, digest
from codedata.driver import in_driver
from codedata.records import CandidateRun, Executed, Side
from codedata.texts import without_middle

MAX_OUTPUT_CHARS = 4_000   # limit of an output for a judge, and of all diffs together
UNRELIABLE = "unequal"     # prefix of `replay` if the replay reached a different state


@dataclass(frozen=True)
class Execution:
    """Hold the effects of one candidate at the state of its turn."""

    run: CandidateRun
    before: dict[str, str]     # {hidden test: status} at the state

    @property
    def changes(self) -> dict[str, str]:
        """Return {path: diff} of the files that the candidate changes."""
        return self.run["changes"]

    @property
    def passed(self) -> set[str]:
        """Return the hidden tests that pass after the candidate. If the candidate changes nothing,
        return the hidden tests that pass before it."""
        tests = self.run["tests"] if self.changes else self.before
        return {name for name, status in tests.items() if status == "passed"}

    def made_the_same(self, other: Execution) -> bool:
        """Return whether both candidates change files, and do so in the same way."""
        return (bool(self.changes) and all(self.changes.values())
                and self.changes == other.changes)

    def did_the_same(self, other: Execution) -> bool:
        """Return whether both candidates change files in the same way, and print the same text up
        to whitespace. Equal changes are not enough, since they can print different texts."""
        return (self.made_the_same(other)
                and self.run["output"].split() == other.run["output"].split())

    def text(self) -> str:
        """Return the text for a judge: how each command ended, its output, and the changes."""
        diffs = "\n".join(diff or f"(changed: {path})" for path, diff in self.changes.items())
        diffs = without_middle(diffs, MAX_OUTPUT_CHARS)
        calls = self.run.get("calls") or [self.run]
        parts = []
        for i, call in enumerate(calls, 1):
            end = "ran out of time" if call["timed_out"] else f"exit code {call['exit_code']}"
            number = f"{i} of {len(calls)}: " if len(calls) > 1 else ""
            # skip a call that submits: it was not run, and older records give it exit code 127
            if hands_in(call["command"]):
                parts.append(f"({number}hands in)")
                continue
            output = without_middle(call["output"].strip(), MAX_OUTPUT_CHARS // len(calls))
            parts += [f"({number}{end})", output or "(no output)"]
        return "\n".join([*parts, f"Files changed:\n{diffs}" if diffs else "(no file changed)"])


@in_driver
def execution_of(root: Path, name: str, side: Side | None) -> Execution | None:
    """Return the run of a side of a turn; None if it was not run, or if the replay reached a
    different state. Raise BrokenRecord if the record cannot be read."""
    if not (root / Executed.directory / f"{name}.json").exists():
        return None
    record = Store(root, Executed).read(name)
    if record.replay.startswith(UNRELIABLE):
        return None
    wanted = digest(side)
    return next((Execution(run, record.before) for run in record.runs
                 if wanted in run["turns"]), None)
