"""Put approved datapoints before solver models: how often does one pass? What is too easy, or never
solved however often it is tried, goes back to a builder, at most twice.

A solver has the prompt and a container of the exported image, as the user `agent` and without a
network; its work directory is graded in another container. An attempt that the endpoint, the
budget or a container has ended is none.
"""
from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean

from codedata.agent import Agent, ToolBashExecutor, create_file, edit_file, search, view_file
from codedata.agent.loop import MALFORMED_REPLIES
from codedata.bounded import inside
from codedata.checks.approval import PROFILES
from codedata.checks.datapoints import AGENT, META, read_datapoint, readable, workdir_of
from codedata.checks.intervals import wilson
from codedata.code.environments import labelled
from codedata.datapoints.commands import BUILD
from codedata.datapoints.grade import Grader, build_image
from codedata.datapoints.queue import TaskManager
from codedata.errors import ItemFailed, Trouble
from codedata.export.datapoints import verifier_of
from codedata.layouts import to_json, write_atomic
from codedata.llm.client import Client, Models
from codedata.llm.reply_log import current_reply_log
from codedata.progress import begin_step
from codedata.records import Datapoint, Object, SolverAttempt, safe_name
from codedata.run_loop import Stage
from codedata.sandbox import SandboxDied
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.states import Reads, Writes
from codedata.store import Derived, Readers, Store, digest, known
from codedata.texts import text_of

COMMAND_S = 120.0
MAX_RETURNS = 2      # of a datapoint to a builder
TRAJECTORIES = "_trajectories"


@dataclass(frozen=True)
class Trial:
    """Hold what is tried: a datapoint, by a model, for the n-th time."""

    instance_id: str
    folder: str
    content: str
    model: str
    attempt: int


def trials_in(root: Path, model: str, n_attempts: int, ids: Iterable[str]) -> Derived:
    """Return the attempts at the approved datapoints of a root, all or those of some ids. Attempts
    of other models, and at other contents, stay. open() raises Trouble for an id that is not
    approved."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", model)[:40].strip("-")
    slug = f"{slug}-{digest(model)[:6]}"
    wanted = {*ids}

    def approved() -> Readers:
        points = {point.instance_id: point for point in approved_in(root)}
        if unknown := sorted(wanted - points.keys()):
            raise Trouble(f"{', '.join(unknown)} is no approved datapoint, or was edited since.",
                          f"{root}/{Datapoint.directory}", "Run: python build_dp.py --status")
        return {name: lambda point=point: point for name, point in points.items()
                if name in (wanted or points)}

    def trials_of(name: str, point: Datapoint) -> dict[str, Trial]:
        return {f"{name}.{point.content[:8]}.{slug}.{n}": Trial(
            name, point.folder, point.content, model, n) for n in range(1, n_attempts + 1)}

    return Derived(approved, trials_of, place="the approved datapoints", derived=False,
                   keeps=lambda name: True)


def approved_in(root: Path) -> Iterator[Datapoint]:
    """Yield the datapoints that are approved as they are."""
    for point in readable(root):
        if point.meta.status == "approved" and point.meta.approved == point.content:
            yield point


def calibrate_stage(settings: Settings, models: Models, n_attempts: int, ids: Iterable[str],
                    keep_images: bool = False) -> Stage:
    """Return the stage that has a model try datapoints. Raise Trouble where no images can be
    built."""
    host = SandboxFactory(settings, models.stop, keep_images)
    if not host.makes_images:
        raise Trouble("builds no images.", f"--sandbox {host.name}", "Choose docker.")
    client = models.client("dp_solver")
    trials = trials_in(settings.root, client.spec.model, n_attempts, ids)
    return Stage(
        "build_dp.calibrate", make=partial(tried, settings, client, host),
        reads=Reads(trials, ("content", "model")), identity=client.spec.identity(),
        writes=Writes(Store(settings.root, SolverAttempt),
                      tuple(SolverAttempt.__dataclass_fields__)),
        cost_note=f"an agent for each, of at most {settings.dp_solver.max_iterations} calls",
        finish=lambda: summed_up(settings),
        then=f"export.py --root {settings.root} --formats harbor,terminal-bench")


def tried(settings: Settings, client: Client, host: SandboxFactory, trial: Trial) -> SolverAttempt:
    """Return how an attempt ended. Raise ItemFailed where it is none."""
    started = time.monotonic()
    point, limits = read_datapoint(Path(trial.folder)), settings.agent_role("dp_solver")
    if point.content != trial.content:
        raise ItemFailed("was edited just now.", trial.instance_id)
    place = f"{Datapoint.directory}/{TRAJECTORIES}/{trial.instance_id}.{client.spec.role}."
    place += f"{digest([trial.content, trial.model])[:8]}.{trial.attempt}.json"
    trajectory = inside(settings.root, place)
    trajectory.parent.mkdir(exist_ok=True)
    with labelled(host, trial.instance_id, "dp-solver") as label:
        name, built = build_image(point, host, label)
        if built.failed:
            raise ItemFailed(f"its image is not built: {built.failed}", trial.instance_id)
        grader = Grader(host, name, workdir_of(point.dockerfile), verifier_of(point), label)
        with host.open(name, label, grader.workdir, is_stateful=True, default_rights=True,
                       user=AGENT) as sandbox:
            bash = ToolBashExecutor(COMMAND_S, max_timeout_s=host.run_timeout_s)
            result = Agent(
                text_of(__package__, "roles/solver/system.md"),
                [bash, view_file, search, create_file, edit_file], client, sandbox,
                max_iterations=limits.max_iterations, max_seconds=limits.max_seconds,
                max_usd=limits.max_usd, trajectory=trajectory).run(point.prompt)
            is_broken = result.status == "error" and not result.error.startswith(
                f"{MALFORMED_REPLIES} malformed")
            if is_broken:
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


# what they came to -------------------------------------------------------------------------------

def rates_of(attempts: Iterable[SolverAttempt]) -> Object:
    """Return {attempts, passes, mean_reward, interval, tokens} of the attempts of one model; the
    interval is Wilson's, of 95 %."""
    rows = [*attempts]
    passes = sum(row.reward == 1.0 for row in rows)
    tokens = [row.usage.get(key) for row in rows for key in ("tokens_in", "tokens_out")]
    return {"attempts": len(rows), "passes": passes,
            "mean_reward": round(fmean(row.reward for row in rows), 4),
            "interval": [round(end, 4) for end in wilson(passes / len(rows), len(rows))],
            "tokens": None if None in tokens else sum(tokens), "unsolved": not passes}


def is_outside(rates: Object, profile: str) -> bool:
    """Return whether the whole interval lies outside the band of a profile."""
    low, high = rates["interval"]
    wanted = PROFILES[profile]
    return low > wanted["max_rate"] or high < wanted["min_rate"]


def summed_up(settings: Settings) -> list[str]:
    """Write into the metadata of each datapoint what its attempts came to, by model, and queue
    what goes back to a builder. Return a line for each of them."""
    root, lines = settings.root, []
    store = Store(root, SolverAttempt).open()
    attempts: dict[tuple, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    for row in filter(None, (known(store, name) for name in store.names())):
        attempts[row.instance_id, row.content][row.model].append(row)
    for point in approved_in(root):
        rows = attempts.get((point.instance_id, point.content))
        if not rows:
            continue
        rates = {model: rates_of(tries) for model, tries in sorted(rows.items())}
        if rates != point.meta.calibration:
            meta = replace(point.meta, calibration=rates)
            write_atomic(Path(point.folder, META), to_json(vars(meta)))
        profile = str(point.meta.lineage.get("profile", ""))
        profile = profile if profile in PROFILES else settings.dp.profile
        outside = [model for model, one in rates.items() if is_outside(one, profile)]
        back = bool(outside) and _give_back(settings, point, rates, [
            row.trajectory for model in outside for row in rows[model]])
        for model, one in rates.items():
            low, high = one["interval"]
            note = ""
            if model in outside:
                note = "  goes back to a builder" if back else "  outside the band, stays"
            elif one["unsolved"]:
                note = "  unsolved"
            lines.append(f"      {point.instance_id}: {model} {one['passes']} of "
                         f"{one['attempts']} ({low:.2f}–{high:.2f}){note}")
    return lines


def _give_back(settings: Settings, point: Datapoint, rates: Object,
               trajectories: list[str]) -> bool:
    """Queue the building of a datapoint anew, unless that was done twice; return whether it is
    queued."""
    manager = TaskManager(settings.root / Datapoint.directory)
    key, seed = f"{BUILD}:{point.instance_id}:rates:", str(point.meta.lineage.get("seed", ""))
    earlier = {task.get("content") for task in manager.tasks(BUILD)
               if task.get("datapoint") == point.instance_id and "rates" in task}
    if point.content not in earlier and len(earlier) >= MAX_RETURNS:
        return False
    manager.create_task(BUILD, {
        "datapoint": point.instance_id, **({"seed": seed} if safe_name(seed) else {}),
        "content": point.content, "rates": rates, "trajectories": trajectories},
        key=key + point.content)
    return True
