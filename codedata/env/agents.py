"""Let an agent find out in a sandbox how a repository is installed and tested.

The agent works in one stage, or in two for JavaScript and TypeScript, whose test runner has to be
found out separately: the first stage finds the install script and the second, in the same sandbox,
the test script. The scripts that it submits count for nothing before they are verified.
"""
from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from pathlib import Path

from codedata.agent import (
    Agent,
    AgentResult,
    Failed,
    Stop,
    ToolBashExecutor,
    create_file,
    edit_file,
    search,
    stop,
    view_file,
)
from codedata.agent.loop import plain
from codedata.sandbox import Sandbox
from codedata.texts import fill, text_of

SCRIPTS = ("install_script", "test_script")
TOOLS = (ToolBashExecutor(), view_file, search, edit_file, create_file, stop)
MAX_FILES = 300
MAX_LOG_CHARS = 6000   # characters of a failure that the agent is shown
SAME_LINES = 3    # from this many equal lines in a row on, one is shown


@dataclass(frozen=True)
class Failure:
    """Hold scripts that did not verify, with the check that failed and its log."""

    install_script: str
    test_script: str
    fault: str      # the check that failed, and why
    log: str        # the end of the printed output


@dataclass(frozen=True)
class ScriptsFound:
    """Hold what an agent submitted and how its run ended."""

    status: str                       # how the agent ended: success | max_iteration | tool_stop | error
    scripts: dict[str, str] = field(default_factory=dict)   # only those that it submitted
    summary: str = ""
    error: str = ""
    messages: list[dict] = field(default_factory=list)
    usage: dict = field(default_factory=dict)


class Planner:
    """Ask an agent for the scripts of a repository.

    `limits` are arguments of Agent, and `iterations` the limits of the two stages. `trajectory(n)`
    returns the file for the n-th run of the item. A script may take `script_s` seconds when it is
    verified.
    """

    def __init__(self, llm, limits: dict, iterations: tuple[int, int], trajectory: Callable[[int], Path],
                 script_s: float):
        self._llm, self._limits, self._iterations, self._trajectory = llm, limits, iterations, trajectory
        self._system_prompt = _text("agent.md", minutes=f"{script_s / 60:g}")
        self._n = 0

    def find(self, sandbox: Sandbox, repo: str, failures: list[Failure], in_two: bool) -> ScriptsFound:
        """Return the scripts that the agent finds for the source in the sandbox, given earlier
        failures. With `in_two` it works in two stages."""
        files = sandbox.run(listing()).output.strip() or "(nothing)"
        known = _text("agent_known.md", tried="\n\n".join(map(_told, failures))) if failures else ""
        if not in_two:
            return self._ask(sandbox, _text("agent_task.md", repo=repo, files=files, known=known), SCRIPTS)
        first = self._ask(sandbox, _text("agent_install.md", repo=repo, files=files, known=known), SCRIPTS[:1])
        if first.status != "success":
            return first
        task = _text("agent_tests.md", repo=repo, install_script=first.scripts["install_script"])
        return _joined(first, self._ask(sandbox, task, SCRIPTS[1:], stage=1))

    def mend(self, sandbox: Sandbox, repo: str, failure: Failure) -> ScriptsFound:
        """Return what the agent submits after the verification of its earlier scripts failed."""
        return self._ask(sandbox, _text("agent_again.md", repo=repo, fault=failure.fault, log=end_of(failure.log),
                                        **{name: getattr(failure, name) for name in SCRIPTS}), SCRIPTS)

    def _ask(self, sandbox: Sandbox, task: str, wanted: tuple[str, ...], stage: int = 0) -> ScriptsFound:
        agent = Agent(self._system_prompt, [*TOOLS, _submit(wanted)], self._llm, sandbox,
                      max_iterations=self._iterations[stage], trajectory=self._trajectory(self._n), **self._limits)
        self._n += 1
        return _found(agent.run(task), wanted)


def _submit(wanted: tuple[str, ...]):
    """Return the tool that ends the run. It fails while a script is missing."""
    def submit(answer: str) -> Stop | Failed:
        """Hand in what was asked for, and end. Only once it was run.

        answer: the scripts, each between its tags, behind a sentence or two on what was needed
        """
        missing = [name for name in wanted if name not in scripts_in(answer)]
        return Failed(f"not handed in: there is no <{missing[0]}>…</{missing[0]}> in it") if missing else Stop(answer)
    return submit


def _found(result: AgentResult, wanted: tuple[str, ...]) -> ScriptsFound:
    scripts = scripts_in(result.answer)
    status, error = result.status, result.error
    if status == "success" and (missing := [name for name in wanted if name not in scripts]):
        status, error = "error", f"handed in no <{missing[0]}>"
    summary = re.sub(rf"<({'|'.join(SCRIPTS)})>.*?</\1>", "", result.answer, flags=re.DOTALL).strip()
    return ScriptsFound(status, scripts, summary, error, result.messages, result.usage)


def scripts_in(answer: str) -> dict[str, str]:
    """Return {name: bash script} of the scripts in an answer; the last one of a name counts."""
    found = {}
    for name, text in re.findall(rf"<({'|'.join(SCRIPTS)})>(.*?)</\1>", answer, re.DOTALL):
        text = re.sub(r"\A\s*```\w*\n|\n```\s*\Z", "", text).strip()
        if text:
            found[name] = text + "\n"
    return found


def _joined(first: ScriptsFound, second: ScriptsFound) -> ScriptsFound:
    """Return the results of the two stages as one, with their usage summed up."""
    usage = {key: None if None in (a := first.usage.get(key), b := second.usage.get(key)) else a + b
             for key in first.usage}
    summary = "\n\n".join(filter(None, (first.summary, second.summary)))
    return ScriptsFound(second.status, first.scripts | second.scripts, summary, second.error,
                 first.messages + second.messages, usage)


def _told(failure: Failure) -> str:
    """Return a failure as text for the agent."""
    scripts = "\n".join(f"<{name}>\n{getattr(failure, name).strip()}\n</{name}>" for name in SCRIPTS)
    return f"{scripts}\nIt failed: {failure.fault}\n{end_of(failure.log)}"


def listing() -> str:
    """Return the command that lists up to MAX_FILES files of a repository."""
    return _text("list_files.sh", most=str(MAX_FILES))


def end_of(log: str) -> str:
    """Return the last lines of a log, at most MAX_LOG_CHARS characters. A line that repeats
    SAME_LINES times or more is shown once, with its count."""
    lines = []
    for line, same in groupby(plain(log).strip().splitlines()):
        n = len(list(same))
        lines += [line] * n if n < SAME_LINES else [line, f"(the line above {n} times)"]
    lines.reverse()
    n_chars = list(accumulate(len(line) + 1 for line in lines))
    return "\n".join(reversed(lines[:max(1, bisect_right(n_chars, MAX_LOG_CHARS))]))[-MAX_LOG_CHARS:]


def _text(name: str, **parts: str) -> str:
    return fill(text_of("codedata.env", name), **parts)
