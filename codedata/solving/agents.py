"""Choose the agent that attempts tasks, by name.

own       a model with a shell that keeps its state (codedata/agent/)
nop       changes nothing: in a sound task it gets less than 1
gold      runs the task's own solution: in a sound task it gets 1
command   a program of the user (proxy.py)
"""
from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from shlex import quote

from codedata.agent import Agent, AgentResult, ToolBashExecutor
from codedata.agent.react_loop import usage_since
from codedata.errors import ItemFailed
from codedata.llm.client import Client
from codedata.records import Object, Task
from codedata.run.talk import begin_step
from codedata.sandbox import OUTPUT_BYTES, OverLimit, Sandbox, SandboxDied
from codedata.sandbox.docker.engine import volume_of
from codedata.solving.proxy import AGENT, Proxy
from codedata.tasks.folder.task_folder import agent_of
from codedata.tasks.prove.grader import Grader
from codedata.texts import fill, text_of

# the diff has new files (except files that the project ignores) and the agent's commits
DIFF = """cd {workdir} && { git -c safe.directory='*' add -A -N .
git -c safe.directory='*' diff --no-color --no-ext-diff --no-renames {commit}; } 2>/dev/null"""
# prints the bytes of memory in use (cgroups v2 or v1) without cached files, or an empty line
IN_USE = """echo "$(sed -n 's/^anon //p; s/^total_rss //p' /sys/fs/cgroup/memory.stat \\
    /sys/fs/cgroup/memory/memory.stat 2>/dev/null)"
"""


@dataclass(frozen=True)
class Done:
    """Hold the outcome of an agent: its run, the archive of its work (None: no change), and its
    patch."""

    result: AgentResult
    work: bytes | None = None
    patch: str | None = None
    why: str = ""            # why the work could not be packed
    memory_bytes: int = 0    # that the container used when the agent had ended; 0: not measured


class Nop:
    """Change nothing."""

    name = "nop"
    settings = {}

    def attempt(self, task: Task, grader: Grader) -> Done:
        """Return an empty run."""
        messages = [{"role": "user", "content": task.instruction}]
        usage = usage_since(time.monotonic(), [])
        return Done(AgentResult("success", "", "", 0, 0, "native", messages, [], [], usage, True))


class Gold(Nop):
    """Run the task's own solution."""

    name = "gold"

    def attempt(self, task: Task, grader: Grader) -> Done:
        """Return the work of the solution."""
        begin_step("running the solution")
        return Done(super().attempt(task, grader).result, grader.gold()[0])


@dataclass(frozen=True)
class Own:
    """Let a model work with a shell in a container of the task's image."""

    client: Client
    limits: Object           # Agent's max_iterations, max_seconds, max_usd
    network: bool = False
    name = "own"

    @property
    def settings(self) -> Object:
        """Return the settings that determine an attempt, in addition to its task."""
        return {**self.client.spec.identity(), **self.limits, "network": self.network,
                "prompt": text_of(__package__, "system.md")}

    def attempt(self, task: Task, grader: Grader) -> Done:
        """Return the model's outcome."""
        bash = ToolBashExecutor(max_timeout_s=grader.host.run_timeout_s)
        return self.run_in_container(task, grader, lambda request, sandbox: Agent(
            text_of(__package__, "system.md"), [bash], self.client, sandbox, **self.limits
            ).run(request))

    def run_in_container(self, task: Task, grader: Grader,
                         run: Callable[[str, Sandbox], AgentResult],
                         mounts: Mapping[str, str] | None = None) -> Done:
        """Return the outcome of run(instruction, sandbox) in a container of the task's image. Work
        that cannot be packed counts as no change."""
        with grader.host.open(
                grader.image, grader.label, grader.workdir, is_stateful=True, default_rights=True,
                user=agent_of(task), mounts=mounts) as sandbox:
            sandbox.network(self.network)
            result = run(task.instruction, sandbox)
            try:
                return Done(result, *_work_in(grader, sandbox))
            except OverLimit as e:
                return Done(result, why=e.what)


@dataclass(frozen=True)
class Command(Own):
    """Let a program of the user work in the container and call the model through a proxy."""

    command: str = ""        # bash command with placeholders {task}, {model}
    image: str = ""          # image with the program in AGENT
    name = "command"

    @property
    def settings(self) -> Object:
        """Return the settings that determine an attempt, in addition to its task."""
        return {**super().settings, "command": self.command, "image": self.image}

    def attempt(self, task: Task, grader: Grader) -> Done:
        """Return the program's outcome."""
        with Proxy(self.client, self.limits) as proxy:
            return self.run_in_container(
                task, grader, partial(proxy.run, self.command),
                {**proxy.mounts, **volume_of(self.image, AGENT)})


def _work_in(grader: Grader, sandbox: Sandbox) -> tuple[bytes | None, str | None, str, int]:
    """Return (the archive of an agent's work, its patch, why the work cannot be packed or "", the
    bytes of memory in use). The archive is None if it cannot be packed. The patch is None without a
    repository, or if it is too long or not text."""
    work, why = None, ""
    try:
        work = grader.packed(sandbox)
    except SandboxDied:
        raise
    except ItemFailed as e:
        why = e.what
    commit = str(grader.task.about.get("task_commit") or "HEAD")
    done = sandbox.run(IN_USE + fill(DIFF, workdir=quote(grader.workdir), commit=quote(commit)))
    in_use, _, patch = done.output.partition("\n")   # the agent may have forged both
    is_text = done.ok and done.n_bytes <= OUTPUT_BYTES and "\ufffd" not in patch
    memory_bytes = int(in_use) if re.fullmatch("[0-9]{1,12}", in_use) else 0
    return work, patch if is_text else None, why, memory_bytes


AGENTS: dict[str, type] = {cls.name: cls for cls in (Own, Nop, Gold, Command)}
