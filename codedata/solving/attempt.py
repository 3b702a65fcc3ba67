"""Make an attempt: let an agent work at a task in a container, and grade its work in another.

An attempt that the endpoint, the engine or the run's budget has ended does not count. The next run
makes it again: it runs the commands in the kept replies again, and calls the model only after the
kept replies end, or after an observation differs.
"""
from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from threading import Event

import codedata
from codedata.agent import AgentResult
from codedata.agent.react_loop import DIED, FAILED
from codedata.audit.audit_stage import check_builds_images
from codedata.conversation.atif_writer import atif_of
from codedata.disk.layouts import load_folder, to_json, write_atomic
from codedata.disk.store import Store
from codedata.errors import ItemFailed, Trouble
from codedata.leak.forbidden import actions_of, forbidden_in
from codedata.llm.replies import current_reply_log
from codedata.records import (
    CHEATED,
    NO_SUBMISSION,
    SOLVED,
    WRONG,
    Attempt,
    AttemptOutcome,
    Object,
    Task,
    parse,
)
from codedata.run.stage import Reads, Stage, Writes
from codedata.run.talk import begin_step
from codedata.sandbox import OverLimit
from codedata.sandbox.archives import UnsafeArchive
from codedata.sandbox.copies import at_hand
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.solving.agents import Done, Nop, Own
from codedata.solving.room import CORE, MEMORY, Room
from codedata.solving.trials import UNCERTAIN, Trial, agent_id, skip_rule, trials_in
from codedata.suites.environments import labelled
from codedata.tasks.folder.task_folder import audited_digest
from codedata.tasks.gold import commit_of
from codedata.tasks.prove.grader import Grade, grader_of
from codedata.tasks.rates import (
    SATURATED,
    attempts_in,
    outcomes_in,
    rates_by_agent,
    rates_in_words,
)
from codedata.terminal import plural

RATES = "_rates"
MAX_LINES = 20             # lines of tasks that a run prints
STATUS_BY_CAUSE = {"steps": "out of steps", "seconds": "out of time", "context": "out of context",
                   "usd": "out of money", "refused": "refused"}


def solve_stage(settings: Settings, host: SandboxFactory, stop: Event, agent: Nop | Own, n: int
                ) -> Stage:
    """Return the stage that makes `n` attempts of an agent at each task of a root; with 0, as many
    as its earlier runs planned. Raise Trouble if the sandbox cannot build images."""
    root, solve = settings.root, settings.solve
    check_builds_images(host)
    slug = agent_id(agent.name, agent.settings)
    outcomes = outcomes_in(root).values()
    kept = [one for one in outcomes if one["agent"] == slug]
    n = n or max((one.get("planned", 0) for one in kept), default=0)
    trials = trials_in(root, slug, n, solve.first)
    waits, made = isinstance(agent, Own), []
    room = Room(settings.sandbox.memory_request,
                [*filter(None, (one.get("memory_bytes") for one in kept))], stop)
    in_turn = solve.until or solve.max_task_usd or (solve.first == UNCERTAIN and n > SATURATED)
    if in_turn and settings.shard:
        raise Trouble("(until, max_task_usd, or uncertain first, n over 8) cannot go with --shard, "
                      "which has only some attempts at a task.", "[solve]", "Leave one out.")
    return Stage(
        "solve", make=partial(attempted, host, room, agent, slug, [*solve.until]), waits=waits,
        reads=Reads(trials, (), leaves_out=skip_rule(root, trials, solve)),
        writes=Writes(Store(root, Attempt), (*Attempt.places,), optional=("patch",)),
        identity=agent.settings,
        after_same=(lambda name: name.rpartition(".")[0]) if in_turn else None,
        tally=lambda attempt: made.append({**attempt.outcome, "verifier": ""}),
        so_far=lambda: "; ".join(rates_in_words(made)),
        cost_note=partial(price_of, kept, room, settings.llm.workers) if waits else "",
        doubts=lambda: [f"does not go on with {other}, of another model, prompt or limit"
                        for other in sorted({one["agent"] for one in outcomes} - {slug})
                        if other.startswith(f"{agent.name}-")],
        sum_up=lambda: rates_in_words(outcomes_in(root).values()),
        finish=lambda: write_rates(root),
        then="status.py --html; prompt.py --source attempt")


def attempted(host: SandboxFactory, room: Room, agent: Nop | Own, slug: str, until: list[int],
              trial: Trial) -> Attempt:
    """Make an attempt, and return its record. Raise ItemFailed if it does not count."""
    started, log = time.monotonic(), current_reply_log()
    with (at_hand(Path(trial.folder)) as folder, room.place(MEMORY),
          labelled(host, trial.instance_id, "attempt") as label):
        task = parse(Task, Task.completed(load_folder(folder, Task.places)), str(folder))
        if audited_digest(task) != trial.content:
            raise ItemFailed("was edited just now.", trial.instance_id)
        with room.place(CORE):
            begin_step("its image")
            grader = grader_of(task, host, label)
        done = agent.attempt(task, grader)
        result = done.result
        if result.cause == FAILED or (result.cause == DIED and not done.why):
            raise ItemFailed(f"the attempt does not count: {result.error}", trial.instance_id)
        if done.memory_bytes:
            room.in_use.append(done.memory_bytes)
        grade = Grade(0.0, [], "", 0.0)
        try:
            with room.place(CORE):
                begin_step("grading")
                grade = grade if done.why else grader.grade(done.work)
        except (OverLimit, UnsafeArchive) as e:   # another run would end in the same way
            done = replace(done, why=f"its work cannot be graded: {e}")
    outcome = AttemptOutcome(
        task=trial.instance_id, kind=task.kind, content=trial.content, agent=slug,
        model=agent.settings.get("model", ""), settings=agent.settings, attempt=trial.attempt,
        planned=trial.planned, until=until, **_graded(task, done, grade), verifier=grade.log,
        replayed=log.served, memory_bytes=done.memory_bytes,
        usage={key: result.usage[key] for key in ("calls", "tokens_in", "tokens_out", "cost_usd")},
        seconds={"model": result.usage["model_seconds"], "verifier": round(grade.seconds, 1),
                 "agent": result.usage["seconds"], "all": round(time.monotonic() - started, 1)})
    return Attempt(log.item, outcome, trajectory_of(result, log.item, outcome, task), done.patch)


def trajectory_of(result: AgentResult, name: str, outcome: AttemptOutcome, task: Task) -> Object:
    """Return an agent's run as an ATIF trajectory."""
    usage = outcome["usage"]
    metrics = {"total_prompt_tokens": usage["tokens_in"],
               "total_completion_tokens": usage["tokens_out"], "total_cost_usd": usage["cost_usd"]}
    agent = {"name": outcome["agent"], "version": codedata.__version__}
    if outcome["model"]:
        agent["model_name"] = outcome["model"]
    extra = {"instance_id": task.instance_id, "repo": str(task.about.get("repo") or "")}
    if result.text_from:
        extra["text_from"] = result.text_from
    return atif_of(
        result.messages, result.tools, name, agent,
        final_metrics={key: value for key, value in metrics.items() if value is not None},
        extra=extra)


def _graded(task: Task, done: Done, grade: Grade) -> Object:
    """Return {status, why, reward} of an attempt."""
    pull_request, result = commit_of(task), done.result
    read = forbidden_in(actions_of(result.messages, result.tools), result.messages, pull_request,
                        has_history=bool(pull_request.patch))
    if read:
        status, why = CHEATED, read
    elif grade.reward >= 1.0:
        status, why = SOLVED, result.error
    elif result.status == "success" or result.cause == DIED:
        status, why = WRONG, done.why
    else:
        status, why = STATUS_BY_CAUSE.get(result.cause, NO_SUBMISSION), result.error
    return {"status": status, "why": why, "reward": grade.reward}


def price_of(kept: list[AttemptOutcome], room: Room, workers: int, n: int) -> str:
    """Return the likely cost of `n` attempts of an agent, estimated from its earlier ones, and the
    number and memory of attempts open at once."""
    n_open = min(n, workers, room.limit())
    at_once = f"{n_open} open at once, about {n_open * room.bytes_each / 1e9:.1f} GB of memory"
    if not kept:
        return (f"{plural(n, 'attempt')}; what one costs is unknown: this agent has made none yet; "
                f"{at_once}")
    mean = {key: n * fmean(one["usage"][key] or 0 for one in kept) for key in kept[0]["usage"]}
    return (f"about {mean['calls']:,.0f} calls, {mean['tokens_in']:,.0f} tokens in, "
            f"{mean['tokens_out']:,.0f} out, ${mean['cost_usd']:.2f}, by the mean of "
            f"{plural(len(kept), 'attempt')}; {at_once}")


def write_rates(root: Path) -> list[str]:
    """Write the agents' solve rates for each task to attempt/_rates/<task>.<content 8>.json. Return
    up to MAX_LINES lines for a task and agent, first for tasks that are solved sometimes."""
    lines, folder = [], root / Attempt.directory / RATES
    gone = {*folder.glob("*.json")}
    for (task, content), attempts in attempts_in(root).items():
        rates = rates_by_agent(attempts, of_models=False)
        file = folder / f"{task}.{content[:8]}.json"
        write_atomic(file, to_json({"content": content, "rates": rates}))
        gone.discard(file)
        lines += [(one["rate"] in (0, 1), "      {}: {} solved {} of {} ({:.2f}–{:.2f})".format(
            task, agent, one["solved"], one["attempts"], *one["interval"]))
            for agent, one in rates.items()]
    for file in gone:   # its attempts were deleted
        file.unlink(missing_ok=True)
    shown = [line for _, line in sorted(lines)[:MAX_LINES]]
    left = len(lines) - len(shown)
    return [*shown, f"      {left:,} more: status.py --html"] if left else shown
