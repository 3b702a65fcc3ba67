"""Let an agent work on a claimed task: an idea agent on a seed, a builder on a draft, a reviewer on
a datapoint.

An agent has bash, tools for files, and the commands of `build_dp.py tool` that its role needs.
The commands are bound to the claimed task, so that a model cannot name another one. Paths in their
arguments are paths in the agent's sandbox, which has neither network nor container engine. A run
ends when the task is ended, or at a limit of the agent.
"""
from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from codedata.agent import (
    Agent,
    AgentResult,
    Failed,
    Stop,
    Tool,
    ToolBashExecutor,
    create_file,
    edit_file,
    search,
    view_file,
)
from codedata.bounded import inside, read_bounded
from codedata.datapoints.commands import Commands
from codedata.datapoints.commands.desk import Desk, is_blind
from codedata.datapoints.contents import not_built
from codedata.datapoints.datapoint_folder import DRAFTS, SEEDS, folder_of
from codedata.datapoints.profiles import MAX_VALIDATIONS, instructions
from codedata.datapoints.task_queue import BUILD, GENERATE, REVIEW, ROLES, QueuedTask, Refusal
from codedata.disk.locks import temporary_folder
from codedata.errors import BrokenRecord, ItemFailed
from codedata.llm.client import Client
from codedata.llm.replies import ReplyLog
from codedata.records import Attempt, Object
from codedata.run.talk import Step
from codedata.sandbox import Sandbox
from codedata.sandbox.archives import Bounds
from codedata.settings import AgentSettings
from codedata.suites.environments import labelled

LOOKING = ("read_datapoint", "run_in_dp", "try_solution", "validate_datapoint", "patch_dp",
           "patch_additional_files", "patch_rivals")
COMMANDS = {
    GENERATE: ("get_task_parameters", "save_artifact", "get_idea_refinement_details",
               "add_artifact", "create_task", "complete"),
    BUILD: ("get_artifact", "fetch_package", "create_dp", *LOOKING, "add_dp_to_review", "complete"),
    REVIEW: (*LOOKING, "show_categories_tags", "approve_datapoint", "return_datapoint",
             "cancel_datapoint")}
WORKDIR = "/desk"
FILE_TOOLS = [view_file, search, create_file, edit_file]
MAX_ITERATIONS = 100   # replies of an agent
TAKEN = Bounds(max_bytes=200_000_000, max_files=5_000, max_depth=20, max_seconds=120)


def work(held: HeldTask, client: Client, settings: AgentSettings) -> None:
    """Run an agent on a claimed task, and store its result. Raise RunStopped if the whole run has
    to stop, ItemFailed if the agent's sandbox cannot be opened."""
    task, desk, host = held.task, held.desk, held.desk.host
    prompt = instructions(ROLES[task.type], desk.settings, host.base_image, is_inside=True)
    bash = ToolBashExecutor(max_timeout_s=host.run_timeout_s)
    with (labelled(host, subject(task), "dp-agent") as label,
          host.open(host.base_image, label, WORKDIR, is_stateful=True) as sandbox):
        for place, source in material(task, desk).items():
            sandbox.put(source, f"{WORKDIR}/{place}")
        result = Agent(prompt, [bash, *FILE_TOOLS, *held.tools()], client, sandbox,
                       trajectory=held.trajectory, max_iterations=MAX_ITERATIONS,
                       max_seconds=settings.max_seconds,
                       max_usd=settings.max_usd).run(task_text(task))
    if result.error and held.not_built:
        result = replace(result, error=f"{held.not_built}; then: {result.error}")
    held.result = result


def subject(task: QueuedTask) -> str:
    """Return the name of the seed or datapoint that a task is about; "" if the task names none."""
    return task.data.get("seed" if task.type == GENERATE else "datapoint", "")


def task_text(task: QueuedTask) -> str:
    """Return the first message to an agent. It contains no id and no time: a run that is repeated
    after a kill must send the same message to get the kept replies."""
    text, data = f"Your task: {task.type} of {subject(task)}.", task.data
    if "returned" in data:
        return (f"{text}\n\nIts reviewer has given it back: {data['returned']}\n\nWhat its checks "
                f"found: {json.dumps(data['found'], indent=1)}\n\n/desk/datapoint has the "
                "datapoint; rivals/*-review-* are the reviewer's. Change it with `patch_dp`, "
                "`patch_additional_files` and `patch_rivals`.")
    if "rates" not in data:
        return text
    return (f"{text}\n\nIt was built and approved, but models pass it too often or too seldom: "
            f"{json.dumps(data['rates'])}. /desk/datapoint has the datapoint, /desk/attempts the "
            "models' attempts. Find what makes it too easy or too hard, and change that with "
            "`patch_dp` and `patch_additional_files`.")


def material(task: QueuedTask, desk: Desk) -> dict[str, Path | dict[str, bytes]]:
    """Return {path below WORKDIR: a folder of the host, or {name: content}} to copy into an agent's
    sandbox. Raise ItemFailed if the seed or the datapoint is gone, BrokenRecord if a file cannot be
    read or lies outside the root."""
    name = subject(task)
    if task.type == GENERATE:
        place = desk.at(SEEDS, name)
        if not place.is_dir():
            raise ItemFailed("is not there any more.", str(place))
        return {"seed": place}
    if task.type == REVIEW:
        point = desk.point(task)
        if not is_blind(task, point):
            return {"datapoint": folder_of(point)}
        return {"datapoint": {"instruction.md": (point.instruction or "").encode()},
                "datapoint/environment": folder_of(point) / "environment"}
    found = {}
    draft = desk.at(DRAFTS, f"{name}.md")
    if draft.is_file():
        found[""] = {"draft.md": read_bounded(draft)}
    with suppress(Refusal, BrokenRecord):   # create_dp has not written it yet, or it is broken
        found["datapoint"] = folder_of(desk.point(task))
    if "rates" in task.data:
        paths = {name: inside(desk.root / Attempt.directory, name, Attempt.places["trajectory"])
                 for name in task.data.get("tried", [])}
        found["attempts"] = {f"{name}.json": read_bounded(path)
                             for name, path in paths.items() if path.is_file()}
    return found


@dataclass
class HeldTask:
    """Hold a claimed task and an agent's work on it, and make the tools of that agent."""

    task: QueuedTask
    desk: Commands
    n_failed: int = 0
    not_built: str = ""   # why the last validation did not build the image
    calls: ReplyLog = field(default_factory=ReplyLog)
    step: Step = field(default_factory=Step)
    started: float = field(default_factory=time.monotonic)
    trajectory: Path | None = None
    result: AgentResult | None = None    # None until the agent ends, or if an error ended it

    def tools(self) -> list[Tool]:
        """Return the commands of the role as tools, and a `submit` that always fails."""
        return [*map(self._tool, COMMANDS[self.task.type]), Tool.of(self.submit)]

    def submit(self, answer: str) -> str:
        """Do not use it: your task ends with the last step of your instructions.

        answer: is not read
        """
        return Failed("Nothing was handed in. Your task ends with the last step of your "
                      "instructions.")

    def _tool(self, name: str) -> Tool:
        tool, known = Tool.of(getattr(self.desk, name)), {"task_id": self.task.id,
                                                     "claim": self.task.token}
        free = dict(tool.parameters["properties"])
        bound = {key: value for key, value in known.items() if free.pop(key, None)}
        required = [key for key in tool.parameters["required"] if key in free]
        parameters = {**tool.parameters, "properties": free, "required": required}
        call = partial(self._call, name, partial(tool.function, **bound))
        return Tool(name, tool.description, parameters, call, wants_sandbox=True)

    def _call(self, name: str, command: Callable, /, sandbox: Sandbox, **arguments) -> str | Stop:
        """Run a command. Return its result as text, Stop if it has ended the task, or Failed."""
        with temporary_folder() as folder:
            try:
                for key, path in arguments.items():
                    if path and (key == "file" or key.endswith(("_file", "_dir"))):
                        arguments[key] = _fetched(sandbox, path, folder / key)
                result = command(**arguments)
                if name == "fetch_package":
                    place = f"{WORKDIR}/packages/{Path(result['folder']).name}"
                    sandbox.put(Path(result["folder"]), place)
                    result = {**result, "folder": place}
                return self._after(name, result)
            except (ItemFailed, BrokenRecord, OSError) as e:
                sandbox.run("true")   # raises if the agent's own sandbox has ended
                return Failed(str(e).replace(f"{folder}/", ""))   # the folder's name varies

    def _after(self, name: str, result: Object) -> str | Stop:
        task, manager = self.task, self.desk.manager
        if name == "validate_datapoint":
            self.not_built = not_built(result["checks"])
            if task.type == BUILD and not result["ok"]:
                self.n_failed += 1
                if self.n_failed >= MAX_VALIDATIONS:
                    failed = [one["name"] for one in result["checks"] if one["status"] == "failed"]
                    manager.cancel_task(
                        task.id, task.token, f"{self.n_failed} validations have failed, the last: "
                        f"{', '.join(failed)}")
        is_open = manager.get_task(task.id).state == "in_progress"
        return as_text(result) if is_open else Stop(as_text(result))


def _fetched(sandbox: Sandbox, path: str, folder: Path) -> str:
    """Copy a file or folder of the sandbox to the host, and return its place there. The path may
    be relative to the directory of the agent's shell."""
    where = sandbox.run(f"realpath -e -- {shlex.quote(path)}")
    if not where.ok:
        raise Refusal(f"{path} does not exist in your sandbox.")
    place = where.output.strip()
    sandbox.get(place, folder, TAKEN)
    return str(folder if folder.name.endswith("_dir") else inside(folder, Path(place).name))


def as_text(result: Object) -> str:
    """Return the result of a command as text for a model: JSON, followed by each multi-line text,
    unescaped, in a tag named after its field."""
    texts = {key: value for key, value in result.items()
             if isinstance(value, str) and "\n" in value.strip()}
    rest = {key: value for key, value in result.items() if key not in texts}
    return "\n".join([json.dumps(rest, indent=1, ensure_ascii=False),
                      *(f"<{key}>\n{value.rstrip()}\n</{key}>" for key, value in texts.items())])
