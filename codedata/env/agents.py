"""The agent planner: an agent finds out in a sandbox how a repository is installed and tested.

One stage, or two for JavaScript and TypeScript, whose test runner is a question of its own: the first finds the install
script, the second, in the same sandbox, the test script. What is handed in is worth nothing before it is verified.
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
MOST_FILES = 300
MOST_LOG = 6000   # characters of a failure that the agent is shown
SAME_LINES = 3    # in a row, of which one is shown


@dataclass(frozen=True)
class Failure:
    """Scripts that did not verify."""

    install_script: str
    test_script: str
    fault: str      # which check failed, and why
    log: str        # what was printed last


@dataclass(frozen=True)
class Found:
    """What an agent handed in, and how its run ended."""

    status: str                       # of the agent: success | max_iteration | tool_stop | error
    scripts: dict[str, str] = field(default_factory=dict)   # of SCRIPTS, as many as it handed in
    summary: str = ""
    error: str = ""
    messages: list[dict] = field(default_factory=list)
    usage: dict = field(default_factory=dict)


class Planner:
    """find() asks an agent. `limits` are those of Agent; `trajectory(n)` names the file of the item's n-th run; when it
    is verified a script may take `script_s` seconds."""

    def __init__(self, llm, limits: dict, iterations: tuple[int, int], trajectory: Callable[[int], Path],
                 script_s: float):
        self._llm, self._limits, self._iterations, self._trajectory = llm, limits, iterations, trajectory
        self._system_prompt = _text("agent.md", minutes=f"{script_s / 60:g}")
        self._n = 0

    def find(self, sandbox: Sandbox, repo: str, failures: list[Failure], in_two: bool) -> Found:
        """The scripts of a repository whose source lies in the sandbox, starting from what failed so far."""
        files = sandbox.run(listing()).output.strip() or "(nothing)"
        known = _text("agent_known.md", tried="\n\n".join(map(_told, failures))) if failures else ""
        if not in_two:
            return self._ask(sandbox, _text("agent_task.md", repo=repo, files=files, known=known), SCRIPTS)
        first = self._ask(sandbox, _text("agent_install.md", repo=repo, files=files, known=known), SCRIPTS[:1])
        if first.status != "success":
            return first
        task = _text("agent_tests.md", repo=repo, install_script=first.scripts["install_script"])
        return _joined(first, self._ask(sandbox, task, SCRIPTS[1:], stage=1))

    def mend(self, sandbox: Sandbox, repo: str, failure: Failure) -> Found:
        """The same once more, after the verification of what it handed in failed."""
        return self._ask(sandbox, _text("agent_again.md", repo=repo, fault=failure.fault, log=end_of(failure.log),
                                        **{name: getattr(failure, name) for name in SCRIPTS}), SCRIPTS)

    def _ask(self, sandbox: Sandbox, task: str, wanted: tuple[str, ...], stage: int = 0) -> Found:
        agent = Agent(self._system_prompt, [*TOOLS, _submit(wanted)], self._llm, sandbox,
                      max_iterations=self._iterations[stage], trajectory=self._trajectory(self._n), **self._limits)
        self._n += 1
        return _found(agent.run(task), wanted)


def _submit(wanted: tuple[str, ...]):
    """The tool that ends the run, and does not where a script is missing."""
    def submit(answer: str) -> Stop | Failed:
        """Hand in what was asked for, and end. Only once it was run.

        answer: the scripts, each between its tags, behind a sentence or two on what was needed
        """
        missing = [name for name in wanted if name not in scripts_in(answer)]
        return Failed(f"not handed in: there is no <{missing[0]}>…</{missing[0]}> in it") if missing else Stop(answer)
    return submit


def _found(result: AgentResult, wanted: tuple[str, ...]) -> Found:
    scripts = scripts_in(result.answer)
    status, error = result.status, result.error
    if status == "success" and (missing := [name for name in wanted if name not in scripts]):
        status, error = "error", f"handed in no <{missing[0]}>"
    summary = re.sub(rf"<({'|'.join(SCRIPTS)})>.*?</\1>", "", result.answer, flags=re.DOTALL).strip()
    return Found(status, scripts, summary, error, result.messages, result.usage)


def scripts_in(answer: str) -> dict[str, str]:
    """{name: bash} of the scripts in an answer; of one that stands there twice the last."""
    found = {}
    for name, text in re.findall(rf"<({'|'.join(SCRIPTS)})>(.*?)</\1>", answer, re.DOTALL):
        text = re.sub(r"\A\s*```\w*\n|\n```\s*\Z", "", text).strip()
        if text:
            found[name] = text + "\n"
    return found


def _joined(first: Found, second: Found) -> Found:
    usage = {key: None if None in (a := first.usage.get(key), b := second.usage.get(key)) else a + b
             for key in first.usage}
    summary = "\n\n".join(filter(None, (first.summary, second.summary)))
    return Found(second.status, first.scripts | second.scripts, summary, second.error,
                 first.messages + second.messages, usage)


def _told(failure: Failure) -> str:
    scripts = "\n".join(f"<{name}>\n{getattr(failure, name).strip()}\n</{name}>" for name in SCRIPTS)
    return f"{scripts}\nIt failed: {failure.fault}\n{end_of(failure.log)}"


def listing() -> str:
    """The command that lists a repository's files."""
    return _text("list_files.sh", most=str(MOST_FILES))


def end_of(log: str) -> str:
    """The last lines of a log, MOST_LOG characters at most; of a line that repeats itself one, with how often."""
    lines = []
    for line, same in groupby(plain(log).strip().splitlines()):
        n = len(list(same))
        lines += [line] * n if n < SAME_LINES else [line, f"(the line above {n} times)"]
    lines.reverse()
    n_chars = list(accumulate(len(line) + 1 for line in lines))
    return "\n".join(reversed(lines[:max(1, bisect_right(n_chars, MOST_LOG))]))[-MOST_LOG:]


def _text(name: str, **parts: str) -> str:
    return fill(text_of("codedata.env", name), **parts)
