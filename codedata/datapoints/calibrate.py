"""Have solver models attempt approved datapoints, to see how often each model passes. A datapoint
that is too easy, or is not solved in very many attempts, goes back to a builder, at most twice.

A solver has the prompt and a container of the datapoint's image, as the user `agent` and without a
network; its work directory is graded in another container. An attempt that was ended by the
endpoint, the budget or a container does not count.
"""
from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from codedata.agent import Agent, ToolBashExecutor
from codedata.agent.loop import MALFORMED_REPLIES
from codedata.bounded import inside
from codedata.datapoints.agents import FILE_TOOLS, limits_of
from codedata.datapoints.approval import PROFILES, is_as_proven
from codedata.datapoints.contents import check_builds_images
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
from codedata.datapoints.queue import BUILD, TaskManager
from codedata.datapoints.rates import attempts_in, is_outside, rates_by_model
from codedata.errors import ItemFailed, Trouble
from codedata.llm.client import Client, Models
from codedata.llm.reply_log import current_reply_log
from codedata.progress import begin_step
from codedata.records import Object, SolverAttempt, Task, safe_name
from codedata.run_loop import Stage
from codedata.sandbox import SandboxDied
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.states import Reads, Writes
from codedata.store import Derived, Readers, Store, digest
from codedata.suites.environments import labelled
from codedata.tasks.grade import grader_of
from codedata.texts import text_of

MAX_RETURNS = 2      # of a datapoint to a builder


@dataclass(frozen=True)
class Trial:
    """Hold an attempt that is to be made: at a datapoint, by a model."""

    instance_id: str
    folder: str
    content: str
    model: str
    attempt: int


def trials_in(root: Path, model: str, n_attempts: int, ids: Iterable[str]) -> Derived:
    """Return the attempts to make at the approved datapoints of a root, or only at those in `ids`.
    Existing attempts of other models, or at other contents, are kept. open() raises Trouble for an
    id that is not approved."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", model)[:40].strip("-")
    slug = f"{slug}-{digest(model)[:6]}"
    wanted = {*ids}

    def approved() -> Readers:
        tasks = {task.instance_id: task for task in approved_in(root)}
        if unknown := sorted(wanted - tasks.keys()):
            raise Trouble(f"{', '.join(unknown)} is not an approved datapoint, or was edited.",
                          f"{root}/{Task.directory}", "Run: python build_dp.py validate")
        return {name: lambda task=task: task for name, task in tasks.items()
                if name in (wanted or tasks)}

    def trials_of(name: str, task: Task) -> dict[str, Trial]:
        folder, content = str(folder_of(task)), content_digest(task)
        return {f"{name}.{content[:8]}.{slug}.{n}": Trial(name, folder, content, model, n)
                for n in range(1, n_attempts + 1)}

    return Derived(approved, trials_of, place="the approved datapoints", derived=False,
                   keeps=lambda name: True)


def approved_in(root: Path) -> Iterator[Task]:
    """Yield the approved datapoints, those in task/, that this validator proved as they are now."""
    for task in readable(root):
        if folder_of(task).parent == Path(root, Task.directory) and is_as_proven(task):
            yield task


def calibrate_stage(settings: Settings, models: Models, n_attempts: int, ids: Iterable[str],
                    keep_images: bool = False) -> Stage:
    """Return the stage that has a model try datapoints. Raise Trouble where no images can be
    built."""
    host = SandboxFactory(settings, models.stop, keep_images)
    check_builds_images(host)
    client = models.client("dp_solver")
    trials = trials_in(settings.root, client.spec.model, n_attempts, ids)
    return Stage(
        "build_dp.calibrate", make=partial(attempted, settings, client, host),
        reads=Reads(trials, ("content", "model")), identity=client.spec.identity(),
        writes=Writes(Store(settings.root, SolverAttempt)),
        cost_note=f"an agent for each, of at most {settings.dp_solver.max_iterations} calls",
        finish=lambda: report_attempts(settings),
        then=f"export.py --root {settings.root} --formats harbor,terminal-bench")


def attempted(settings: Settings, client: Client, host: SandboxFactory, trial: Trial
              ) -> SolverAttempt:
    """Return how an attempt ended. Raise ItemFailed where it does not count."""
    started = time.monotonic()
    task = read_datapoint(Path(trial.folder))
    if content_digest(task) != trial.content:
        raise ItemFailed("was edited just now.", trial.instance_id)
    place = (f"{TRAJECTORIES}/{trial.instance_id}.{client.spec.role}."
             f"{digest([trial.content, trial.model])[:8]}.{trial.attempt}.json")
    trajectory = inside(settings.root, place)
    trajectory.parent.mkdir(exist_ok=True)
    with labelled(host, trial.instance_id, "dp-solver") as label:
        grader = grader_of(task, host, label)
        with host.open(grader.image, label, grader.workdir, is_stateful=True, default_rights=True,
                       user=AGENT) as sandbox:
            bash = ToolBashExecutor(max_timeout_s=host.run_timeout_s)
            result = Agent(
                text_of(__package__, "roles/solver/system.md"), [bash, *FILE_TOOLS], client,
                sandbox, trajectory=trajectory, **limits_of(settings, "dp_solver")
                ).run(task.instruction)
            is_of_model = result.error.startswith(f"{MALFORMED_REPLIES} malformed")
            if result.status == "error" and not is_of_model:
                if current_reply_log().served:   # with these it would end so again
                    current_reply_log().discard()
                raise ItemFailed(f"the attempt does not count: {result.error}", trial.instance_id)
            try:
                work = grader.packed(sandbox)
            except SandboxDied:
                raise
            except ItemFailed:   # what is too large to be packed is not graded
                work = None
        begin_step("grading")
        reward = grader.grade(work).reward
    return SolverAttempt(trial.instance_id, trial.content, trial.model, trial.attempt, reward,
                         result.status, place, result.usage, round(time.monotonic() - started, 1))


# results -----------------------------------------------------------------------------------------

def report_attempts(settings: Settings) -> list[str]:
    """Queue the datapoints that go back to a builder. Return a line for each model's attempts at a
    datapoint."""
    lines, attempts = [], attempts_in(settings.root)
    for task in approved_in(settings.root):
        rows = attempts.get((task.instance_id, content_digest(task)), {})
        rates = rates_by_model(rows)
        profile = labels_of(task).lineage.get("profile")
        profile = profile if profile in [*PROFILES] else settings.dp.profile
        outside = [model for model, one in rates.items() if is_outside(one, profile)]
        note = "  outside the band, stays"
        if outside and _give_back(settings, task, rates, [
                row.trajectory for model in outside for row in rows[model]]):
            note = "  goes back to a builder"
        for model, one in rates.items():
            low, high = one["interval"]
            others = "  unsolved" if one["unsolved"] else ""
            lines.append(f"      {task.instance_id}: {model} {one['passes']} of {one['attempts']} "
                         f"({low:.2f}–{high:.2f}){note if model in outside else others}")
    return lines


def _give_back(settings: Settings, task: Task, rates: Object, trajectories: list[str]) -> bool:
    """Queue a datapoint to be built again, unless that was done for MAX_RETURNS of its contents.
    Return whether this content is queued, now or by an earlier call."""
    manager = TaskManager(settings.root / DP)
    name, content = task.instance_id, content_digest(task)
    seed = str(labels_of(task).lineage.get("seed", ""))
    earlier = {one.get("content") for one in manager.tasks(BUILD)
               if one.get("datapoint") == name and "rates" in one}
    if content not in earlier and len(earlier) >= MAX_RETURNS:
        return False
    manager.create_task(BUILD, {
        "datapoint": name, **({"seed": seed} if safe_name(seed) else {}),
        "content": content, "rates": rates, "trajectories": trajectories},
        key=f"{BUILD}:{name}:rates:{content}")
    return True
