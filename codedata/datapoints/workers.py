"""Run many agents on the queue: each claims a task, works on it, and writes its ledger line.

The queue's claim is the only lock, so that several processes may work on one root. When a process
is killed, its tasks become free once their leases expire, and continue with the stored replies.
Each process may work on any task, whichever process queued it.
"""
from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from pathlib import Path

from codedata.agent import new_trajectory
from codedata.datapoints.command_line import run_tool
from codedata.datapoints.commands import Commands
from codedata.datapoints.datapoint_folder import (
    APPROVED,
    CANCELLED,
    DP,
    DRAFTS,
    IDEAS,
    SEEDS,
    TRAJECTORIES,
    labels_of,
    readable,
)
from codedata.datapoints.role_agents import MAX_ITERATIONS, HeldTask, subject, work
from codedata.datapoints.seeds import seeds_in
from codedata.datapoints.task_queue import (
    BUILD,
    GENERATE,
    REVIEW,
    ROLES,
    QueuedTask,
    Refusal,
    TaskManager,
    counts_in,
    open_queue,
)
from codedata.disk.ledger import Ledger
from codedata.errors import Interrupted, RunStopped, Trouble
from codedata.llm.client import Models
from codedata.llm.costs import spending
from codedata.llm.replies import ReplyLog, recording
from codedata.run.cli import RunOptions
from codedata.run.pool import WorkerPool, trouble_of
from codedata.run.signals import signals
from codedata.run.start import hold_directories
from codedata.run.status import StageStatus, hand_over, log_of
from codedata.run.talk import Bar, RunTotals, print_reasons, showing
from codedata.run.write import attempt_line
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import AgentSettings, DpSettings, Settings
from codedata.terminal import named, plural, say
from codedata.texts import printable

PAUSE_S = 0.5    # between an idle agent's checks for work
SCRIPT, LOOK = "build_dp.py", "status.py --html"


def parse_agents(text: str) -> dict[str, int]:
    """Return the numbers of agents in --agents ("builder=12,review=6") by the type of their tasks.
    Raise Trouble if the text is wrong."""
    counts = {}
    for part in text.split(","):
        role, _, n = part.partition("=")
        if role not in ROLES.values() or role in counts or not n.isdecimal() or not int(n):
            raise Trouble(f"{part!r} is not ROLE=N, each role once, of "
                          f"{', '.join(ROLES.values())}.", "--agents")
        counts[role] = int(n)
    return {type: counts[role] for type, role in ROLES.items() if role in counts}


def run_agents(settings: Settings, options: RunOptions, n_agents: Mapping[str, int],
               seeds: Path | None) -> int:
    """Work on tasks until none is left for these agents; return the exit code.

    `n_agents` is the number of agents by task type; `seeds` are queued first. --limit applies to
    each task type separately.
    """
    options.refuse_cluster("takes its tasks from a queue, which several machines may share "
                           "(docs/datapoints.md)")
    dp = settings.root / DP
    if options.dry_run:
        for line in _to_come(settings.root, settings.dp, options.selection.limit, n_agents, seeds):
            say(line)
        return 0
    dp.mkdir(parents=True, exist_ok=True)
    # [llm] workers is the number of containers here: it does not limit calls of agents
    for_calls = replace(settings.llm, workers=max(settings.llm.workers, sum(n_agents.values())))
    with Models(replace(settings, llm=for_calls)) as models, hold_directories(SCRIPT, [], options):
        for type in n_agents:
            models.client(f"dp_{ROLES[type]}")
        models.check()
        options.before_work()
        desk = Commands(settings.root, settings.dp,
                        open_queue(dp, settings.dp.queue, settings.dp.lease_s),
                        SandboxFactory(settings, models.stop),
                        partial(room, threading.Semaphore(settings.llm.workers), models.stop))
        return _Run(desk, models, options, settings.agent, n_agents).run(seeds)


def show_status(settings: Settings, options: RunOptions, word: str | None) -> int:
    """Print the state of the queue, dp/ and task/. Return the exit code. If `word` is "agents" and
    a caller gathers statuses, hand over the status of each role instead."""
    dp, url = settings.root / DP, settings.dp.queue
    if word:
        counts = counts_in(dp, url)
        again = options.command(SCRIPT, same=True)
        statuses = [partial(_status_of, dp, url, type, counts.get(type, {}), again)
                    for type in ROLES]
        if all([*map(hand_over, statuses)]):
            return 0
    run_tool(settings, ["status"])
    say(f"      next:  {options.command(LOOK)}")
    return 0


def _status_of(dp: Path, url: str, type: str, counts: Mapping[str, int], again: str) -> StageStatus:
    """Return the status of a role, from its numbers of tasks by state; `again` is the command to
    retry failed tasks.
    """
    names = {"done": "completed", "failed": "failed", "excluded": "cancelled",
             "missing": "pending", "held": "in_progress"}
    states = {state: counts.get(name, 0) for state, name in names.items()}
    n_todo = states["missing"] + states["held"]
    status = StageStatus(f"build_dp {ROLES[type]}", f"{DP}/", states, n_todo,
                         key=f"build_dp.{ROLES[type]}", directories=(str(dp),))
    status.failed = lambda: [
        (task.id, state, " ".join(task.errors[-1:]), command)
        for state, command in (("failed", again), ("excluded", "")) if states[state]
        for task in open_queue(dp, url).tasks(type=type, state=names[state])]
    return status


@contextmanager
def room(places: threading.Semaphore, stop: threading.Event) -> Iterator[None]:
    """Wait until one of the `places` is free, and hold it while the block runs. Raise Interrupted
    if `stop` is set before that."""
    while not stop.is_set():
        if places.acquire(timeout=PAUSE_S):
            try:
                yield
            finally:
                places.release()
            return
    raise Interrupted()


@dataclass
class _Role:
    """Hold the agents that work on one type of tasks, and their results in this run."""

    type: str
    name: str
    n_agents: int
    bar: Bar
    n_claimed: int = 0
    totals: RunTotals = field(default_factory=RunTotals)


class _Run:
    """Hold one run: its agents and their attempts."""

    def __init__(self, desk: Commands, models: Models, options: RunOptions, limits: AgentSettings,
                 n_agents: Mapping[str, int]):
        self.desk, self.models, self.options, self.limits = desk, models, options, limits
        self.manager, self.dp = desk.manager, desk.at()
        self.pool = WorkerPool(models)
        self.ledger = Ledger(self.dp)
        self.lock = threading.Lock()          # for the roles' fields and `in_flight`
        self.in_flight: dict[str, HeldTask] = {}   # by the task's id
        self.roles: list[_Role] = []
        self.counts_at = 0.0                  # when to count the tasks for the progress bars again
        self.renewed = time.monotonic()       # when the leases in flight were renewed
        for type, n in n_agents.items():
            above = self.roles[-1].bar if self.roles else None
            name = ROLES[type]
            self.roles.append(_Role(type, name, n, Bar(name, 1, options.quiet, above)))

    def run(self, seeds: Path | None) -> int:
        """Work until nothing is left; return the exit code."""
        try:
            if seeds:
                for name in self.desk.init_seed_tasks(str(seeds)).get("without_text", []):
                    self._say(f"{SCRIPT}: the seed {name} has no text; it is left out.")
            self.desk.queue_reviews()
            self.desk.queue_returns()
            self._account_for_ended()
            agents = []
            for role in self.roles:
                if not self.options.selection.no_retry:
                    self.manager.retry_failed(role.type)
                agents += [partial(self._work, role, f"{role.name}-{i:02d}.{os.getpid()}")
                           for i in range(1, role.n_agents + 1)]
            with signals("build_dp agents", lambda: self.pool.stop(Interrupted()), self._say,
                         lambda: f"not finished: {named([*self.in_flight])}"):
                self.pool.run(agents, self._tick)
        finally:
            for role in self.roles:
                role.bar.close()
        return self._end()

    # an agent ------------------------------------------------------------------------------------

    def _work(self, role: _Role, agent: str) -> None:
        """Claim tasks of a role and work on them, as long as further tasks may be queued."""
        try:
            while not self.models.stop.is_set() and self._is_open(role):
                if held := self._claim(role, agent):
                    self._one(role, held)
                elif self._may_come():
                    self.models.stop.wait(PAUSE_S)
                else:
                    return
        except Trouble as e:   # in the queue's files
            self.pool.stop(e)

    def _is_open(self, role: _Role) -> bool:
        """Return whether --limit allows another task of a role."""
        limit = self.options.selection.limit
        return not limit or role.n_claimed < limit

    def _claim(self, role: _Role, agent: str) -> HeldTask | None:
        with self.lock:
            task = self.manager.get_next_task(agent, role.type) if self._is_open(role) else None
            if not task:
                return None
            role.n_claimed += 1
            held = HeldTask(task, self.desk)
            self.in_flight[task.id] = held
            return held

    def _may_come(self) -> bool:
        """Return whether there may be more work: a task is being worked on, or a task that this run
        may claim is pending."""
        counts = self.manager.counts()
        return any(states["in_progress"] for states in counts.values()) or any(
            counts[role.type]["pending"] and self._is_open(role) for role in self.roles)

    def _one(self, role: _Role, held: HeldTask) -> None:
        """Work on a task. Write its ledger line, unless the task is given back because the run
        stops."""
        error = ""
        try:
            trouble = trouble_of(partial(self._run_agent, role, held), self._say)
            error = str(trouble or held.result.error
                        or "the agent stopped without ending its task")
        except RunStopped as e:
            self.pool.stop(e)
        finally:
            with self.lock:
                del self.in_flight[held.task.id]
        if state := self._settle(held.task, error):
            self._note(role, held, state, error if state == "failed" else "")

    def _run_agent(self, role: _Role, held: HeldTask) -> None:
        task = held.task
        held.trajectory = new_trajectory(self.desk.root, TRAJECTORIES, task.id)
        # since this run began, another process may have recorded an earlier attempt
        ledger = Ledger(self.dp) if task.attempts > 1 else self.ledger
        held.calls = ReplyLog(self.dp, f"build_dp.{role.name}", task.id, ledger)
        with recording(held.calls), showing(held.step):
            work(held, self.models.client(f"dp_{role.name}"), self.limits)

    def _settle(self, task: QueuedTask, error: str) -> str:
        """Return the state of an attempt: "done", "failed" (the queue records the failure), or ""
        if the task was given back because the run stops."""
        with suppress(Refusal):   # another process has claimed it, or it is gone
            if self.manager.get_task(task.id).state not in ("in_progress", "pending"):
                return "done"
            if error:
                self.manager.fail_task(task.id, task.token, error)
            else:
                self.manager.release(task.id, task.token)
        return "failed" if error else ""

    def _note(self, role: _Role, held: HeldTask, state: str, error: str) -> None:
        """Write the ledger line of an attempt, and count it."""
        task, calls, result = held.task, held.calls, held.result
        if error and result:
            calls.discard_failed(result.status)
        trajectory = str(held.trajectory.relative_to(self.desk.root)) if result else ""
        line = self._append(task, state, calls, held.started, trajectory, error)
        calls.finish(made=not error)
        totals = role.totals
        with self.lock:
            totals.add(line["calls"], calls)
            totals.failed.pop(task.id, None)
            if error:
                totals.failed[task.id] = Trouble(error)
                self.pool.note_failure(Trouble(error))
            else:
                totals.wrote += 1

    def _append(self, task: QueuedTask, state: str, calls: ReplyLog, started: float,
                trajectory: str, error: str = "") -> dict:
        """Append the ledger line of an attempt, and return it."""
        line = {**attempt_line(calls.stage, task.id, state, calls, started),
                "instance_id": subject(task), "error": error,
                "trajectory": trajectory}
        self.ledger.append(self.dp, line)
        return line

    def _account_for_ended(self) -> None:
        """Write the ledger lines of tasks that ended just before their process was killed. Skip
        tasks that ended less than a lease ago: their process may still write the lines."""
        latest = time.time() - self.desk.settings.lease_s
        for task in self.manager.tasks():
            ended = task.state in ("completed", "cancelled") and task.at < latest
            if ended and task.id in self.ledger.with_replies:
                calls = ReplyLog(self.dp, f"build_dp.{ROLES[task.type]}", task.id, self.ledger)
                if calls.unbilled:
                    self._append(task, "done", calls, time.monotonic(),
                                 log_of(self.desk.root, f"{DP}/", task.id))
                calls.finish(made=True)

    # the bars ------------------------------------------------------------------------------------

    def _say(self, line: str) -> None:
        self.roles[0].bar.say(line)

    def _tick(self) -> None:
        """Show the progress of the agents. From time to time renew their leases, and queue reviews
        of edited datapoints."""
        try:
            began = time.monotonic()
            if began > self.counts_at:
                self.counts = self.manager.counts()
                # spend at most a tenth of the time on it: a database may be slow
                self.counts_at = began + 10 * (time.monotonic() - began)
            with self.lock:
                in_flight = [*self.in_flight.values()]
            if time.monotonic() - self.renewed > self.desk.settings.lease_s / 4:
                self.renewed = time.monotonic()
                for held in in_flight:
                    with suppress(Refusal):   # the task has just ended
                        self.manager.heartbeat(held.task.id, held.task.token)
                self.desk.queue_reviews()
        except Trouble as e:
            self.pool.stop(e)
            return
        for role in self.roles:
            steps = {subject(one.task): one.step for one in in_flight if one.task.type == role.type}
            role.bar.total = max(
                1, role.totals.finished + len(steps) + self.counts[role.type]["pending"])
            role.bar.update(role.totals, len(steps), steps)

    def _end(self) -> int:
        """Print the outcome of the run; return the exit code."""
        counts, reason = self.manager.counts(), self.pool.stop_reason
        if reason and not isinstance(reason, Interrupted):
            say(f"{SCRIPT}: {reason}")
        own = [counts[role.type] for role in self.roles]
        n_failed = sum(states["failed"] for states in own)
        n_left = n_failed + sum(states["pending"] + states["in_progress"] for states in own)
        with self.options.unless_quiet():
            for line in [*_summary(self.desk.root, self.manager, self.roles),
                         *_next(self.options, counts, n_left)]:
                say(line)
        return reason.exit_code if reason else int(bool(n_failed))


def _summary(root: Path, manager: TaskManager, roles: list[_Role]) -> Iterator[str]:
    """Yield terminal lines: the outcome of a run, and the totals of the root."""
    dp, counts = root / DP, manager.counts()
    for role in roles:
        one = role.totals
        states = ", ".join(f"{state} {n}" for state, n in counts[role.type].items() if n)
        served = f", {plural(one.served, 'answer')} kept from an earlier run" if one.served else ""
        yield f"{role.name:8}  this run: {one.wrote} ended{served}; all: {states or 'none'}"
    n_ideas, n_drafts = len([*(dp / IDEAS).glob("*.json")]), len([*(dp / DRAFTS).glob("*.md")])
    points = [*map(labels_of, readable(root))]
    n_approved = sum(point.status == APPROVED for point in points)
    yield (f"yield     {n_ideas} seeds with ideas → {n_drafts} drafts → {len(points)} built → "
           f"{n_approved} approved")
    print_reasons([
        *(printable(f"{ROLES[task.type]}: {task.errors[-1]}", 200)
          for state in ("cancelled", "failed") for task in manager.tasks(state=state)
          if task.errors),
        *(printable(f"review: {point.reason}", 200) for point in points
          if point.status == CANCELLED)])
    total = Ledger(dp).spent
    if total.n_calls:
        each = replace(total, cost_usd=total.cost_usd / max(1, n_approved))
        yield (f"cost      {plural(total.n_calls, 'call')}, {total}"
               + (f", {each} for each approved datapoint" if n_approved else ""))


def _next(options: RunOptions, counts: Mapping[str, Mapping[str, int]], n_left: int
          ) -> Iterator[str]:
    """Yield the commands to run next, a line each."""
    yield f"      next:  {options.command(LOOK)}"
    others = ",".join(f"{ROLES[type]}=1" for type, states in counts.items() if states["pending"])
    if n_left:
        yield (f"      again: {plural(n_left, 'task')} to do: "
               f"{options.command(SCRIPT, same=True, without=('seeds',))}")
    elif others:
        agents = options.command(SCRIPT, same=True, without=("seeds", "agents", "limit"))
        yield f"      next:  {agents} --agents {others}"
    else:
        yield f"      next:  {options.command('solve.py')}"
        yield f"      next:  {options.command('export.py')} --formats harbor"


def _to_come(root: Path, settings: DpSettings, limit: int | None, n_agents: Mapping[str, int],
             seeds: Path | None) -> Iterator[str]:
    """Yield lines with the number of tasks to come and their likely cost. Nothing is written."""
    dp = root / DP
    counts = counts_in(dp, settings.queue)
    n_new = sum(not (dp / SEEDS / seed.id).exists() for seed in seeds_in(seeds)) if seeds else 0
    n_before = 1   # tasks of the previous type; each queues tasks of the next type
    for type, n_each in ((GENERATE, n_new), (BUILD, settings.drafts), (REVIEW, 1)):
        role, states = ROLES[type], Counter(counts.get(type))
        n = min(states["pending"] + states["in_progress"] + n_before * n_each, limit or inf)
        n_before = n if type in n_agents else 0
        if type in n_agents:
            calls = f"at most {n * MAX_ITERATIONS:,} calls (cost unknown: no task is completed yet)"
            if n_done := states["completed"]:
                cost = spending(root, f"build_dp.{role}")
                usd = replace(cost, cost_usd=cost.cost_usd * n / n_done)
                calls = (f"about {cost.n_calls * n / n_done:.0f} calls, {usd}, estimated from "
                         f"{plural(n_done, 'completed task')}")
            yield f"{role:8}  at most {plural(n, 'task')} to come, {calls}"
