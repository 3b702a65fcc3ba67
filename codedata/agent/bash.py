"""Provide the bash tool. The sandbox's SCRIPT_BASH_FUNC keeps directory and environment between commands."""
from __future__ import annotations

from codedata.agent.tools import Failed, Stop
from codedata.sandbox import OUTPUT_BYTES, Result, Sandbox

# An output with this first line ends the run if the command contains the line, too; printing a file does not.
SUBMIT = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"   # models were trained to print it
GIVE_UP = "TASK_CANNOT_BE_COMPLETED"


class ToolBashExecutor:
    """Run bash commands, each for `timeout_s` at most, or for a time the model gives, up to `max_timeout_s`."""

    name = "bash"

    def __init__(self, timeout_s: float = 120.0, max_timeout_s: float = 1800.0):
        self.timeout_s, self.max_timeout_s = timeout_s, max_timeout_s

    def __call__(self, sandbox: Sandbox, command: str, timeout_s: int = 0) -> str | Stop:
        """Run a bash command and see what it prints. Working directory and environment stay as a command leaves them.

        command: what bash runs; it has no terminal, and nobody to answer a question
        timeout_s: seconds until it is ended with all that it has started; 0: the usual limit
        """
        limit = min(timeout_s, self.max_timeout_s) if timeout_s > 0 else self.timeout_s
        result = sandbox.run(command, timeout_s=limit)
        first, _, rest = result.output.lstrip().partition("\n")
        if (line := first.strip()) in (SUBMIT, GIVE_UP) and line in command and result.ok:
            return Stop(rest.strip(), is_success=line == SUBMIT)
        return (str if result.ok else Failed)(shown(result, limit))


def shown(result: Result, limit: float) -> str:
    """Return a command's result as a model sees it, without seconds, so that re-runs give the same text."""
    notes = [f"<note>not finished after {limit:g} s, and ended</note>\n"] if result.timed_out else []
    notes += [f"<note>{result.limit_hit}</note>\n"] if result.limit_hit else []
    if result.n_bytes > OUTPUT_BYTES:
        notes.append(f"<note>{result.n_bytes:,} bytes of output; the middle is lost</note>\n")
    end = "" if result.output.endswith("\n") or not result.output else "\n"
    return f"<returncode>{result.exit_code}</returncode>\n{''.join(notes)}<output>\n{result.output}{end}</output>"
