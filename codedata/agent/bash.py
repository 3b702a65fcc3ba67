"""The bash tool. What a command leaves (directory, environment) is kept by the sandbox's SCRIPT_BASH_FUNC, not here."""
from __future__ import annotations

from codedata.agent.tools import Failed, Stop
from codedata.sandbox import OUTPUT_BYTES, Result, Sandbox

# The first line of an output that ends the run; it has to stand in the command, too: a file that holds it ends nothing
SUBMIT = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"   # what models were trained to print
GIVE_UP = "TASK_CANNOT_BE_COMPLETED"


class ToolBashExecutor:
    """Bash commands, each for `timeout_s` at most, or for as long as the model says up to `max_timeout_s`."""

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
    """A command's result as a model sees it. No seconds: the same result is to be the same text in another run."""
    notes = [f"<note>not finished after {limit:g} s, and ended</note>\n"] if result.timed_out else []
    notes += [f"<note>{result.limit_hit}</note>\n"] if result.limit_hit else []
    if result.n_bytes > OUTPUT_BYTES:
        notes.append(f"<note>{result.n_bytes:,} bytes of output; the middle is lost</note>\n")
    end = "" if result.output.endswith("\n") or not result.output else "\n"
    return f"<returncode>{result.exit_code}</returncode>\n{''.join(notes)}<output>\n{result.output}{end}</output>"
