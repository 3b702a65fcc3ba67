"""Define the bash tool. The sandbox's SCRIPT_BASH_FUNC preserves directory and environment between
commands."""
from __future__ import annotations

from dataclasses import dataclass

from codedata.agent.tools import Failed, Stop
from codedata.sandbox import OUTPUT_BYTES, Result, Sandbox

# A run ends if the output of a command begins with one of these lines and the command contains that
# line. Printing a file that begins with the line does not end the run.
SUBMIT = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"   # models were trained to print it
GIVE_UP = "TASK_CANNOT_BE_COMPLETED"


@dataclass
class ToolBashExecutor:
    """Run bash commands with a timeout of `timeout_s` seconds, or as long as the model asks for, up
    to `max_timeout_s`."""

    timeout_s: float = 120.0
    max_timeout_s: float = 1800.0
    name = "bash"

    def __call__(self, sandbox: Sandbox, command: str, timeout_s: int = 0) -> str | Stop:
        """Run a bash command and see what it prints. Working directory and environment stay as a
        command leaves them.

        command: what bash runs; it has no terminal, and nobody to answer a question
        timeout_s: seconds until it is ended with all that it has started; 0: the usual limit
        """
        limit = min(timeout_s, self.max_timeout_s) if timeout_s > 0 else self.timeout_s
        result = sandbox.run(command, timeout_s=limit)
        if not result.ok:
            return Failed(shown(result, limit))
        first, _, rest = result.output.lstrip().partition("\n")
        line = first.strip()
        if line in (SUBMIT, GIVE_UP) and line in command:
            return Stop(rest.strip(), is_success=line == SUBMIT)
        return shown(result, limit)


def shown(result: Result, limit: float) -> str:
    """Return a command's result as text for the model, without times, so that repeating the command
    gives the same text."""
    notes = []
    if result.timed_out:
        notes.append(f"not finished after {limit:g} s, and ended")
    if result.limit_hit:
        notes.append(result.limit_hit)
    if result.n_bytes > OUTPUT_BYTES:
        notes.append(f"{result.n_bytes:,} bytes of output; the middle is lost")
    lines = [f"<returncode>{result.exit_code}</returncode>"]
    lines += [f"<note>{note}</note>" for note in notes]
    output = result.output
    if output and not output.endswith("\n"):
        output += "\n"
    return "\n".join([*lines, f"<output>\n{output}</output>"])
