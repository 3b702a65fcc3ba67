"""Choose the agent that attempts tasks, by name.

own       a model with a shell that keeps its state (codedata/agent/)
nop       changes nothing: a sound task rewards it with less than 1
gold      runs the task's own solution: a sound task rewards it with 1
command   a program of the user (proxy.py)
"""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from codedata.agent import Agent, AgentResult, ToolBashExecutor
from codedata.agent.react_loop import usage_since
from codedata.llm.client import Client
from codedata.records import Object, Task
from codedata.run.talk import begin_step
from codedata.sandbox import OverLimit, Sandbox
from codedata.sandbox.docker.engine import volume_of
from codedata.sandbox.factory import SandboxFactory
from codedata.solving.patch import work_in
from codedata.solving.proxy import AGENT, Proxy
from codedata.tasks.folder.task_folder import agent_of
from codedata.tasks.prove.grader import Grader
from codedata.texts import text_of

Runner = tuple[dict[str, str], Callable[[str, Sandbox], AgentResult]]


@dataclass(frozen=True)
class Done:
    """Hold the outcome of an agent: its run, the archive of its work (None: no change), and its
    patch."""

    result: AgentResult
    work: bytes | None = None
    patch: str | None = None
    why: str = ""            # why the work could not be packed


@dataclass(frozen=True)
class Nop:
    """Change nothing."""

    name = "nop"
    settings = {}

    def attempt(self, task: Task, grader: Grader) -> Done:
        """Return an empty run."""
        told = [{"role": "user", "content": task.instruction}]
        usage = usage_since(time.monotonic(), [])
        return Done(AgentResult("success", "", "", 0, 0, "native", told, [], [], usage, True))


@dataclass(frozen=True)
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
    limits: Object           # max_iterations, max_seconds, max_usd: of Agent
    network: bool = False
    name = "own"

    @property
    def settings(self) -> Object:
        """Return the settings that determine an attempt, in addition to its task."""
        return {**self.client.spec.identity(), **self.limits, "network": self.network,
                "prompt": text_of(__package__, "system.md")}

    @contextmanager
    def runner(self, host: SandboxFactory) -> Iterator[Runner]:
        """Yield (the mounts of a container, the function that runs the agent on a task in it)."""
        bash = ToolBashExecutor(max_timeout_s=host.run_timeout_s)
        yield {}, lambda task, sandbox: Agent(
            text_of(__package__, "system.md"), [bash], self.client, sandbox, **self.limits
            ).run(task)

    def attempt(self, task: Task, grader: Grader) -> Done:
        """Return the model's outcome. Work that cannot be packed counts as no change."""
        host = grader.host
        with (self.runner(host) as (mounts, run),
              host.open(grader.image, grader.label, grader.workdir, is_stateful=True,
                        default_rights=True, user=agent_of(task), mounts=mounts) as sandbox):
            sandbox.network(self.network)
            result = run(task.instruction, sandbox)
            try:
                return Done(result, *work_in(grader, sandbox))
            except OverLimit as e:
                return Done(result, why=e.what)


@dataclass(frozen=True)
class Command(Own):
    """Let a program of the user work in the container and call the model through a proxy."""

    command: str = ""        # bash, with {task} and {model}
    image: str = ""          # with the program in AGENT
    name = "command"

    @property
    def settings(self) -> Object:
        """Return the settings that determine an attempt, in addition to its task."""
        return {**super().settings, "command": self.command, "image": self.image}

    @contextmanager
    def runner(self, host: SandboxFactory) -> Iterator[Runner]:
        """Yield (the mounts of a container, the function that runs the program on a task in it)."""
        with Proxy(self.client, self.limits) as proxy:
            yield ({**proxy.mounts, **volume_of(self.image, AGENT)},
                   partial(proxy.run, self.command))


AGENTS: dict[str, type] = {cls.name: cls for cls in (Own, Nop, Gold, Command)}
