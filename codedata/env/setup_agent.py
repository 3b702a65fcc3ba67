"""Let an agent find out in a sandbox how to install and test a repository.

For JavaScript and TypeScript, whose test runner is hard to find, the agent works in two stages in
the same sandbox: first the install script, then the test script. For other languages one stage
finds both. Submitted scripts are used only after they were verified.
"""
from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from codedata.agent import (
    Agent,
    Failed,
    LLMServer,
    Stop,
    ToolBashExecutor,
    create_file,
    edit_file,
    search,
    stop,
    view_file,
)
from codedata.agent.react_loop import plain
from codedata.sandbox import Sandbox
from codedata.settings import AgentSettings
from codedata.texts import fill, text_of

SCRIPTS = ("install_script", "test_script")
SCRIPT = re.compile(rf"<({'|'.join(SCRIPTS)})>(.*?)</\1>", re.DOTALL)
TOOLS = (view_file, search, edit_file, create_file, stop)
MAX_ITERATIONS = 100   # replies of an agent
TEST_ITERATIONS = 60   # replies of the second agent for JS and TS, which finds the test runner
COMMAND_S = 120        # seconds that a command may take unless it asks for more
MAX_FILES = 300
MAX_LOG_CHARS = 6000   # limit for the log that the agent is shown
MAX_REPEATED = 3       # this many equal lines in a row, or more, are shown as one


@dataclass(frozen=True)
class FailedTry:
    """Hold scripts whose verification failed, with the failed check and its log."""

    install_script: str
    test_script: str
    fault: str      # the check that failed, and why
    log: str        # the end of the printed output, by end_of()


@dataclass(frozen=True)
class SetupRun:
    """Hold what an agent submitted and how its run ended."""

    # success | max_iteration | tool_stop | error, as in AgentResult
    status: str
    scripts: dict[str, str] = field(default_factory=dict)   # scripts that the agent submitted
    summary: str = ""
    error: str = ""
    messages: list[dict] = field(default_factory=list)
    usage: dict = field(default_factory=dict)

    def followed_by(self, later: SetupRun) -> SetupRun:
        """Return the later run with the messages and the summed usage of both. An amount is None
        if it is unknown for one of them."""
        usage = {}
        for key in later.usage:
            amounts = self.usage.get(key, 0), later.usage[key]
            usage[key] = None if None in amounts else sum(amounts)
        return replace(later, messages=self.messages + later.messages, usage=usage)


@dataclass(frozen=True)
class AgentPlanner:
    """Ask an agent for the scripts of a repository."""

    llm: LLMServer
    limits: AgentSettings
    trajectory: Callable[[], Path]     # returns the file for the next run
    # time limit of a script when it is verified, and of each command of the agent
    script_s: float

    def find(self, sandbox: Sandbox, repo: str, failure: FailedTry | None,
             in_two: bool) -> SetupRun:
        """Return the scripts that the agent finds for the source in the sandbox. The agent
        is shown an earlier failure. With `in_two`, it works in two stages."""
        files = sandbox.run(listing()).output.strip() or "(nothing)"
        known = _text("agent_known.md", tried=_as_text(failure)) if failure else ""
        parts = {"repo": repo, "files": files, "known": known}
        if not in_two:
            return self._ask(sandbox, _text("agent_task.md", **parts), SCRIPTS)
        install = self._ask(sandbox, _text("agent_install.md", **parts), SCRIPTS[:1])
        if install.status != "success":
            return install
        task = _text("agent_tests.md", repo=repo, install_script=install.scripts["install_script"])
        tests = self._ask(sandbox, task, SCRIPTS[1:], is_second=True)
        return replace(install.followed_by(tests), scripts=install.scripts | tests.scripts,
                       summary="\n\n".join(filter(None, (install.summary, tests.summary))))

    def mend(self, sandbox: Sandbox, repo: str, failure: FailedTry) -> SetupRun:
        """Let the agent fix its scripts after their verification failed; return its result."""
        return self._ask(sandbox, _text("agent_again.md", repo=repo, **vars(failure)), SCRIPTS)

    def _ask(self, sandbox: Sandbox, task: str, wanted: tuple[str, ...],
             is_second: bool = False) -> SetupRun:
        bash = ToolBashExecutor(min(COMMAND_S, self.script_s), max_timeout_s=self.script_s)
        agent = Agent(_text("agent.md", minutes=f"{self.script_s / 60:g}"),
                      [bash, *TOOLS, _submit(wanted)], self.llm, sandbox,
                      max_iterations=TEST_ITERATIONS if is_second else MAX_ITERATIONS,
                      trajectory=self.trajectory(), max_seconds=self.limits.max_seconds,
                      max_usd=self.limits.max_usd)
        result = agent.run(task)
        scripts = scripts_in(result.answer)
        status, error = result.status, result.error
        if status == "success" and (missing := _missing(scripts, wanted)):
            status, error = "error", f"handed in no <{missing}>"
        summary = SCRIPT.sub("", result.answer).strip()
        return SetupRun(status, scripts, summary, error, result.messages, result.usage)


def _submit(wanted: tuple[str, ...]):
    """Return the tool that ends the run. It fails while a script is missing."""
    def submit(answer: str) -> Stop | Failed:
        """Hand in what was asked for, and end. Only once it was run.

        answer: the scripts, each between its tags, behind a sentence or two on what was needed
        """
        missing = _missing(scripts_in(answer), wanted)
        if missing:
            return Failed(f"not handed in: there is no <{missing}>…</{missing}> in it")
        return Stop(answer)
    return submit


def _missing(scripts: dict[str, str], wanted: tuple[str, ...]) -> str:
    """Return the name of the first wanted script that is missing, else an empty string."""
    return next((name for name in wanted if name not in scripts), "")


def scripts_in(answer: str) -> dict[str, str]:
    """Return {name: bash script} of the scripts in an answer. If a name occurs several times, its
    last script counts."""
    scripts = {name: re.sub(r"\A\s*```\w*\n|\n```\s*\Z", "", text).strip()
               for name, text in SCRIPT.findall(answer)}
    return {name: text + "\n" for name, text in scripts.items() if text}


def _as_text(failure: FailedTry) -> str:
    """Return a failure as text for the agent."""
    scripts = "\n".join(f"<{name}>\n{getattr(failure, name).strip()}\n</{name}>"
                        for name in SCRIPTS)
    return f"{scripts}\nIt failed: {failure.fault}\n{failure.log}"


def listing() -> str:
    """Return a bash command that lists up to MAX_FILES files of a repository."""
    return _text("list_files.sh", max_files=str(MAX_FILES))


def end_of(log: str) -> str:
    """Return the last lines of a log, at most MAX_LOG_CHARS characters. A line that occurs
    MAX_REPEATED times in a row or more is shown once, with its count."""
    lines = []
    for line, same in groupby(plain(log).strip().splitlines()):
        n = len(list(same))
        lines += [line] * n if n < MAX_REPEATED else [line, f"(the line above {n} times)"]
    end = "\n".join(["", *lines])[-MAX_LOG_CHARS:]
    return end.partition("\n")[2] if "\n" in end else end   # drop a first line that was cut


def _text(name: str, **parts: str) -> str:
    return fill(text_of("codedata.env", name), **parts)
