"""Have solver models attempt approved datapoints, to see how often each model passes. A datapoint
whose pass rate is clearly too high or too low goes back to a builder, at most twice.

A solver works on the prompt as the user `agent`, in a container of the datapoint's image without
network. Its work directory is graded in another container. An attempt does not count if a failure
of the endpoint or of a container, or the run's budget, ended it.
"""
from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from codedata.agent import Agent, ToolBashExecutor
from codedata.agent.loop import MALFORMED_REPLIES
from codedata.audit.stage import check_builds_images
from codedata.bounded import inside
from codedata.datapoints.agents import FILE_TOOLS, MAX_ITERATIONS, limits_of
from codedata.datapoints.approval import PROFILES, is_as_proven
from codedata.datapoints.commands.desk import build_again, builds_again
from codedata.datapoints.folder import (
    AGENT,
    DP,
    TRAJECTORIES,
    content_digest,
    folder_of,
    labels_of,
    read_datapoint,
    readable,
)
from codedata.datapoints.queue import TaskManager
from codedata.datapoints.rates import attempts_in, is_outside, rates_by_model
from codedata.disk.store import Derived, Store, digest
from codedata.errors import ItemFailed
from codedata.llm.client import Client
from codedata.llm.replies import current_reply_log
from codedata.records import Object, SolverAttempt, Task
from codedata.run.stage import Reads, Stage, Writes
from codedata.run.talk import begin_step
from codedata.sandbox import SandboxDied
from codedata.sandbox.copies import at_hand
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import AgentSettings
from codedata.suites.environments import labelled
from codedata.tasks.prove.grade import grader_of
from codedata.texts import text_of

MAX_RETURNS = 2      # of a datapoint to a builder


@dataclass(frozen=True)
class Trial:
    """Hold an attempt that a model is to make at a datapoint."""

    instance_id: str
    folder: str
    content: str
    model: str
    attempt: int


def trials_in(root: Path, model: str, n_attempts: int) -> Derived:
    """Return the attempts to make at the approved datapoints of a root. Existing attempts of other
    models, or at other contents, are kept."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", model)[:40].strip("-")
    slug = f"{slug}-{digest(model)[:6]}"

    def trials_of(name: str, task: Task) -> dict[str, Trial]:
        folder, content = str(folder_of(task)), content_digest(task)
        return {f"{name}.{content[:8]}.{slug}.{n}": Trial(name, folder, content, model, n)
                for n in range(1, n_attempts + 1)}

    return Derived(
        lambda: {task.instance_id: lambda task=task: task for task in approved_in(root)},
        trials_of, place="the approved datapoints", derived=False, keeps=lambda name: True)


def approved_in(root: Path) -> Iterator[Task]:
    """Yield the datapoints in task/ whose current content is_as_proven()."""
    for task in readable(root):
        if folder_of(task).parent == Path(root, Task.directory) and is_as_proven(task):
            yield task


def calibrate_stage(root: Path, client: Client, host: SandboxFactory, limits: AgentSettings,
                    profile: str, n_attempts: int) -> Stage:
    """Return the stage in which a model attempts approved datapoints. `profile` is the default for
    datapoints that name none. Raise Trouble if the sandbox cannot build images."""
    check_builds_images(host)
    return Stage(
        "build_dp.calibrate", make=partial(attempted, root, client, host, limits),
        reads=Reads(trials_in(root, client.spec.model, n_attempts), ("content", "model")),
        identity=client.spec.identity(), writes=Writes(Store(root, SolverAttempt)),
        cost_note=f"at most {MAX_ITERATIONS} calls for each attempt",
        finish=lambda: report_attempts(root, profile), then="export.py --formats harbor")


def attempted(root: Path, client: Client, host: SandboxFactory, limits: AgentSettings, trial: Trial
              ) -> SolverAttempt:
    """Make an attempt, and return its record. Raise ItemFailed if the attempt does not count."""
    started, log = time.monotonic(), current_reply_log()
    place = (f"{TRAJECTORIES}/{trial.instance_id}.{client.spec.role}."
             f"{digest([trial.content, trial.model])[:8]}.{trial.attempt}.json")
    with (at_hand(Path(trial.folder)) as folder,
          labelled(host, trial.instance_id, "dp-solver") as label):
        task = read_datapoint(folder)
        if content_digest(task) != trial.content:
            raise ItemFailed("was edited just now.", trial.instance_id)
        grader = grader_of(task, host, label)
        with host.open(grader.image, label, grader.workdir, is_stateful=True, default_rights=True,
                       user=AGENT) as sandbox:
            bash = ToolBashExecutor(max_timeout_s=host.run_timeout_s)
            result = Agent(
                text_of(__package__, "roles/solver/system.md"), [bash, *FILE_TOOLS], client,
                sandbox, trajectory=inside(root, place), **limits_of(limits)).run(task.instruction)
            is_of_model = result.error.startswith(f"{MALFORMED_REPLIES} malformed")
            if result.status == "error" and not is_of_model:
                if log.served:   # with these replies it would end the same way
                    log.discard()
                raise ItemFailed(f"the attempt does not count: {result.error}", trial.instance_id)
            try:
                work = grader.packed(sandbox)
            except SandboxDied:
                raise
            except ItemFailed:   # work that is too large to pack is not rewarded
                work = None
        begin_step("grading")
        reward = grader.grade(work).reward
    return SolverAttempt(trial.instance_id, trial.content, trial.model, trial.attempt, reward,
                         result.status, place, result.usage, round(time.monotonic() - started, 1))


# results -----------------------------------------------------------------------------------------

def report_attempts(root: Path, profile: str) -> list[str]:
    """Queue the datapoints that go back to a builder. Return a terminal line for each datapoint and
    model."""
    lines, attempts = [], attempts_in(root)
    for task in approved_in(root):
        rows = attempts.get((task.instance_id, content_digest(task)), {})
        rates = rates_by_model(rows)
        named = str(labels_of(task).lineage.get("profile"))
        band = named if named in PROFILES else profile
        outside = [model for model, one in rates.items() if is_outside(one, band)]
        note = "  outside the band, returned too often already"
        if outside and _give_back(root, task, rates, [
                row.trajectory for model in outside for row in rows[model]]):
            note = "  goes back to a builder"
        for model, one in rates.items():
            low, high = one["interval"]
            others = "  unsolved" if one["unsolved"] else ""
            lines.append(f"      {task.instance_id}: {model} {one['passes']} of {one['attempts']} "
                         f"({low:.2f}–{high:.2f}){note if model in outside else others}")
    return lines


def _give_back(root: Path, task: Task, rates: Object, trajectories: list[str]) -> bool:
    """Queue a datapoint to be built again, unless MAX_RETURNS other versions of it were queued
    before. Return whether this version is queued, now or by an earlier call."""
    manager, content = TaskManager(root / DP), content_digest(task)
    earlier = {one.data.get("content") for one in builds_again(manager, task.instance_id, "rates")}
    if content not in earlier and len(earlier) >= MAX_RETURNS:
        return False
    build_again(manager, task, f"rates:{content}", rates=rates, trajectories=trajectories)
    return True
