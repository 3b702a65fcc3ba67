"""Have many agents work on the queue: each claims a task, works on it, and writes its ledger line.

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
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path

from codedata.audit.index_page import write_index as write_audit_index
from codedata.bounded import inside
from codedata.datapoints.agents import MAX_ITERATIONS, HeldTask, subject, work
from codedata.datapoints.command_line import run_tool
from codedata.datapoints.commands import commands_of
from codedata.datapoints.commands.desk import Desk
from codedata.datapoints.commands.ideas import IDEAS
from codedata.datapoints.folder import (
    APPROVED,
    CANCELLED,
    DP,
    TRAJECTORIES,
    labels_of,
    readable,
)
from codedata.datapoints.index_page import write_index
from codedata.datapoints.profiles import gaps_in, say_gaps
from codedata.datapoints.queue import (
    BUILD,
    GENERATE,
    JOURNAL,
    REVIEW,
    ROLES,
    Refusal,
    TaskManager,
)
from codedata.datapoints.seeds import seeds_in
from codedata.datapoints.twins import DRAFTS, SEEDS
from codedata.disk.ledger import Ledger
from codedata.disk.locks import locked
from codedata.errors import Interrupted, RunStopped, Trouble
from codedata.llm.client import Models
from codedata.llm.costs import cost_of_stage
from codedata.llm.replies import ReplyLog, recording
from codedata.run.cli import RunOptions
from codedata.run.pool import WorkerPool, trouble_of
from codedata.run.signals import signals
from codedata.run.start import hold_directories
from codedata.run.status import StageStatus, hand_over
from codedata.run.talk import Bar, RunTotals, print_reasons, showing
from codedata.run.write import attempt_line
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.terminal import named, plural, say
from codedata.texts import printable

PAUSE_S = 0.5    # of an agent that waits for work
SCRIPT = "build_dp.py"


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
    each task type on its own.
    """
    options.refuse_cluster("takes its tasks from a queue, which several machines may share "
                           "(docs/datapoints.md)")
    dp = settings.root / DP
    if options.dry_run:
        for line in _to_come(settings, options, n_agents, seeds):
            say(line)
        return 0
    dp.mkdir(parents=True, exist_ok=True)
    # [llm] workers is the number of containers here: it limits no calls of agents
    for_calls = replace(settings.llm, workers=max(settings.llm.workers, sum(n_agents.values())))
    with Models(replace(settings, llm=for_calls)) as models, hold_directories(SCRIPT, [], options):
        for type in n_agents:
            models.client(f"dp_{ROLES[type]}")
        models.check()
        models.warn()
        options.before_work()
        return _Run(settings, options, n_agents, models).run(seeds)


def show_status(settings: Settings, word: str | None) -> int:
    """Print the state of the queue, dp/ and task/. Return the exit code. If `word` is "agents" and
    a caller gathers statuses, hand over the status of each role instead."""
    dp = settings.root / DP
    if word:
        tasks = TaskManager(dp).status()["tasks"] if (dp / JOURNAL).exists() else {}
        statuses = [partial(_status_of, dp, role, tasks.get(type, {}))
                    for type, role in ROLES.items()]
        if all([*map(hand_over, statuses)]):
            return 0
    run_tool(settings, ["status"])
    return 0


def _status_of(dp: Path, role: str, counts: Mapping[str, int]) -> StageStatus:
    """Return the status of a role, from its numbers of tasks by state."""
    names = {"done": "completed", "failed": "failed", "excluded": "cancelled",
             "missing": "pending", "held": "in_progress"}
    states = {state: counts.get(name, 0) for state, name in names.items()}
    return StageStatus(f"build_dp {role}", f"{DP}/", states, states["missing"] + states["held"],
                       key=f"build_dp.{role}", directories=(str(dp),))


@contextmanager
def room(folder: Path, n: int, stop: threading.Event) -> Iterator[None]:
    """Run the block in at most n threads at a time, counted over all processes that use the folder.
    Raise Interrupted if the run ends while a thread waits."""
    while not stop.is_set():
        for i in range(n):
            try:
                place = locked(inside(folder.parent, folder.name, f"{i}.lock"))
            except BlockingIOError:
                continue
            with place:   # closing it frees the lock
                yield
            return
        stop.wait(PAUSE_S)
    raise Interrupted()


class _Run:
    """Hold one run: its agents and their attempts."""

    def __init__(self, settings: Settings, options: RunOptions, n_agents: Mapping[str, int],
                 models: Models):
        self.settings, self.options, self.n_agents, self.models = (
            settings, options, n_agents, models)
        self.pool = WorkerPool(models)
        self.dp = settings.root / DP
        self.manager = TaskManager(self.dp, settings.dp.lease_s)
        self.desk = Desk(settings.root, settings.dp, self.manager,
                         SandboxFactory(settings, models.stop),
                         partial(room, self.dp / "_rooms", settings.llm.workers, models.stop),
                         lambda line: None)
        self.commands = commands_of(self.desk)
        self.ledger = Ledger(self.dp)
        self.lock = threading.Lock()          # for the fields below
        self.totals = {type: RunTotals() for type in n_agents}
        self.n_claimed = Counter()
        self.in_flight: dict[str, HeldTask] = {}   # by task
        self.bars: dict[str, Bar] = {}
        self.renewed = time.monotonic()       # when the leases in flight were renewed

    def run(self, seeds: Path | None) -> int:
        """Work until nothing is left; return the exit code."""
        if seeds:
            for name in self.commands["init_seed_tasks"](str(seeds)).get("without_text", []):
                say(f"{SCRIPT}: the seed {name} has no text; it is left out.")
        self.desk.queue_reviews()
        if not self.options.selection.no_retry:
            for type in self.n_agents:
                self.manager.retry_failed(type)
        above = None
        for type in self.n_agents:
            above = self.bars[type] = Bar(ROLES[type], 1, self.options.quiet, above)
        agents = [partial(self._work, type, f"{ROLES[type]}-{i:02d}.{os.getpid()}")
                  for type, n in self.n_agents.items() for i in range(1, n + 1)]
        try:
            with signals("build_dp agents", lambda: self.pool.stop(Interrupted()), self._say,
                         lambda: f"not finished: {named([*self.in_flight])}"):
                self.pool.run(agents, self._tick)
        finally:
            for bar in self.bars.values():
                bar.close()
        return self._end()

    # an agent ------------------------------------------------------------------------------------

    def _work(self, type: str, agent: str) -> None:
        """Claim tasks of a type and work on them, as long as further tasks may be queued."""
        try:
            while not self.models.stop.is_set() and self._is_open(type):
                if held := self._claim(type, agent):
                    self._one(held)
                elif self._may_come():
                    self.models.stop.wait(PAUSE_S)
                else:
                    return
        except Trouble as e:   # of the queue's files
            self.pool.stop(e)

    def _is_open(self, type: str) -> bool:
        """Return whether --limit allows another task of a type."""
        limit = self.options.selection.limit
        return not limit or self.n_claimed[type] < limit

    def _claim(self, type: str, agent: str) -> HeldTask | None:
        with self.lock:
            task = self.manager.get_next_task(agent, type) if self._is_open(type) else None
            if not task:
                return None
            self.n_claimed[type] += 1
            held = HeldTask(task, task.pop("token"), self.commands,
                            self.settings.dp.max_validations)
            self.in_flight[task["id"]] = held
            return held

    def _may_come(self) -> bool:
        """Return whether there may be more work: anybody works on a task, or one of a type that
        this run may claim is pending."""
        tasks = self.manager.status()["tasks"]
        return any(counts["in_progress"] for counts in tasks.values()) or any(
            tasks[type]["pending"] and self._is_open(type) for type in self.n_agents)

    def _one(self, held: HeldTask) -> None:
        """Work on a task, and write its ledger line, however it ends."""
        error = ""
        try:
            trouble = trouble_of(partial(self._run_agent, held), self._say)
            error = str(trouble or held.result.error
                        or "the agent stopped without ending its task")
        except RunStopped as e:
            self.pool.stop(e)
        finally:
            with self.lock:
                del self.in_flight[held.task["id"]]
        state = self._settle(held, error)
        calls, result = held.calls, held.result
        if state == "failed" and result and (result.status != "error" or calls.served):
            calls.discard()   # with these replies it would fail again
        if state:
            self._note(held, state, error if state == "failed" else "")

    def _run_agent(self, held: HeldTask) -> None:
        task = held.task
        role = ROLES[task["type"]]
        folder = inside(self.settings.root, TRAJECTORIES)
        folder.mkdir(exist_ok=True)
        n = len([*folder.glob(f"{task['id']}.*.json")])   # earlier ones stay
        held.trajectory = f"{TRAJECTORIES}/{task['id']}.{n}.json"
        # since this run began, another process may have recorded an earlier attempt
        ledger = Ledger(self.dp) if task["attempts"] > 1 else self.ledger
        held.calls = ReplyLog(self.dp, f"build_dp.{role}", task["id"], ledger)
        with recording(held.calls), showing(held.step):
            work(held, self.desk, self.models.client(f"dp_{role}"), self.settings.agent)

    def _settle(self, held: HeldTask, error: str) -> str:
        """Return the state of an attempt: "done", "failed" (the queue records the failure), or ""
        if the task was given back because the run stops."""
        id, claim = held.task["id"], held.claim
        with suppress(Refusal):   # somebody else has claimed it, or it is gone
            if self.manager.get_task(id)["state"] not in ("in_progress", "pending"):
                return "done"
            if error:
                self.manager.fail_task(id, claim, error)
            else:
                self.manager.release(id, claim)
        return "failed" if error else ""

    def _note(self, held: HeldTask, state: str, error: str) -> None:
        """Write the ledger line of an attempt, and count it."""
        task, calls = held.task, held.calls
        stage = f"build_dp.{ROLES[task['type']]}"
        line = attempt_line(stage, task["id"], state, calls, held.started)
        self.ledger.append(self.dp, {**line, "instance_id": subject(task), "error": error,
                                     "trajectory": held.trajectory if held.result else ""})
        calls.finish(made=state == "done")
        totals = self.totals[task["type"]]
        with self.lock:
            totals.add(line["calls"], calls)
            totals.failed.pop(task["id"], None)
            if state == "done":
                totals.wrote += 1
            else:
                totals.failed[task["id"]] = Trouble(error)
                self.pool.note_failure(Trouble(error))

    # the bars ------------------------------------------------------------------------------------

    def _say(self, line: str) -> None:
        next(iter(self.bars.values())).say(line)

    def _tick(self) -> None:
        """Show the progress of the agents. From time to time renew their leases, and queue reviews
        of edited datapoints."""
        try:
            counts = self.manager.status()["tasks"]
            with self.lock:
                in_flight = [*self.in_flight.values()]
            if time.monotonic() - self.renewed > self.settings.dp.lease_s / 4:
                self.renewed = time.monotonic()
                for held in in_flight:
                    with suppress(Refusal):   # it has just ended
                        self.manager.heartbeat(held.task["id"], held.claim)
                self.desk.queue_reviews()
        except Trouble as e:
            self.pool.stop(e)
            return
        for type, bar in self.bars.items():
            totals = self.totals[type]
            steps = {subject(one.task): one.step for one in in_flight if one.task["type"] == type}
            bar.total = max(1, totals.finished + len(steps) + counts[type]["pending"])
            bar.update(totals, len(steps), steps)

    def _end(self) -> int:
        """Print the outcome of the run; return the exit code."""
        counts, reason = self.manager.status()["tasks"], self.pool.stop_reason
        if reason and not isinstance(reason, Interrupted):
            say(f"{SCRIPT}: {reason}")
        n_left, n_failed = (sum(counts[type][state] for type in self.n_agents for state in states)
                            for states in (("pending", "in_progress"), ("failed",)))
        if not self.options.quiet:
            for line in [*_summary(self.settings.root, self.manager, self.totals),
                         *write_index(self.settings.root), *write_audit_index(self.settings.root),
                         *_next(self.options, counts, n_left + n_failed)]:
                say(line)
        return reason.exit_code if reason else int(bool(n_failed))


def _summary(root: Path, manager: TaskManager, totals: dict[str, RunTotals]) -> Iterator[str]:
    """Yield terminal lines: the outcome of a run, and the totals of the root."""
    dp = root / DP
    counts = manager.status()["tasks"]
    for type, one in totals.items():
        states = ", ".join(f"{state} {n}" for state, n in counts[type].items() if n)
        served = f", {plural(one.served, 'answer')} kept from an earlier run" if one.served else ""
        yield f"{ROLES[type]:8}  this run: {one.wrote} ended{served}; all: {states or 'none'}"
    n_ideas, n_drafts = len([*(dp / IDEAS).glob("*.json")]), len([*(dp / DRAFTS).glob("*.md")])
    points = [*map(labels_of, readable(root))]
    n_approved = sum(point.status == APPROVED for point in points)
    yield (f"yield     {n_ideas} seeds with ideas → {n_drafts} drafts → {len(points)} built → "
           f"{n_approved} approved")
    reasons = [printable(f"{ROLES[task['type']]}: {task['errors'][-1]}", 200)
               for state in ("cancelled", "failed") for task in manager.tasks(state=state)
               if task["errors"]]
    reasons += [printable(f"review: {point.reason}", 200) for point in points
                if point.status == CANCELLED]
    print_reasons(reasons)
    total = Ledger(dp).spent
    if total.n_calls:
        each = replace(total, cost_usd=total.cost_usd / max(1, n_approved))
        yield (f"cost      {plural(total.n_calls, 'call')}, {total}"
               + (f", {each} for each approved datapoint" if n_approved else ""))


def _next(options: RunOptions, counts: Mapping[str, Mapping[str, int]], n_left: int
          ) -> Iterator[str]:
    """Yield the commands to run next, a line each."""
    others = ",".join(f"{ROLES[type]}=1" for type, states in counts.items() if states["pending"])
    if n_left:
        yield (f"      again: {plural(n_left, 'task')} to do: "
               f"{options.command(SCRIPT, same=True, without=('seeds',))}")
    elif others:
        agents = options.command(SCRIPT, same=True, without=("seeds", "agents", "limit"))
        yield f"      next:  {agents} --agents {others}"
    else:
        yield f"      next:  {options.command(f'{SCRIPT} calibrate')}"
        yield f"      next:  {options.command('export.py')} --formats harbor"


def _to_come(settings: Settings, options: RunOptions, n_agents: Mapping[str, int],
             seeds: Path | None) -> Iterator[str]:
    """Yield lines with the number of tasks to come and their likely cost. Nothing is written."""
    dp = settings.root / DP
    counts = TaskManager(dp).status()["tasks"] if (dp / JOURNAL).exists() else {}
    if gaps := say_gaps(gaps_in(settings.root, settings.dp.profile)):
        yield f"missing   no datapoint has the {gaps}"
    n_new = sum(not (dp / SEEDS / seed.id).exists() for seed in seeds_in(seeds)) if seeds else 0
    n_before = 1   # tasks of the type before; each queues tasks of the next type
    for type, n_each in ((GENERATE, n_new), (BUILD, settings.dp.drafts), (REVIEW, 1)):
        role, states = ROLES[type], counts.get(type, {})
        n = states.get("pending", 0) + states.get("in_progress", 0) + n_before * n_each
        n = min(n, options.selection.limit or inf)
        n_before = n if type in n_agents else 0
        if type in n_agents:
            cost, n_done = cost_of_stage(dp, f"build_dp.{role}"), states.get("completed", 0)
            calls = f"at most {n * MAX_ITERATIONS:,} calls (cost unknown: no task is completed yet)"
            if n_done:
                share = n / n_done
                usd = replace(cost, cost_usd=cost.cost_usd * share)
                calls = (f"about {cost.n_calls * share:.0f} calls, {usd}, estimated from "
                         f"{plural(n_done, 'completed task')}")
            yield f"{role:8}  at most {plural(n, 'task')} to come, {calls}"
