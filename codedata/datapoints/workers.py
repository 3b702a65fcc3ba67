"""Have many agents work off the queue: each claims a task, works on it, and writes its line.

The queue's claim is the only lock, so that several processes may work on one root. A task that a
killed process held is free once its lease has ended, and goes on with the replies that were kept.
It is not guaranteed that a task is worked on by the process that queued it.
"""
from __future__ import annotations

import argparse
import fcntl
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path

from codedata.bounded import inside, open_appending
from codedata.cli import RunOptions
from codedata.datapoints.agents import ROLES, subject, work
from codedata.datapoints.commands import BUILD, GENERATE, IDEAS, REVIEW, Commands
from codedata.datapoints.folder import APPROVED, CANCELLED, DP, labels_of, readable
from codedata.datapoints.index_page import write_index
from codedata.datapoints.queue import JOURNAL, Refusal, TaskManager
from codedata.datapoints.seeds import seeds_in
from codedata.datapoints.twins import DRAFTS, SEEDS
from codedata.errors import Interrupted, RunStopped, Trouble, start_thread
from codedata.ledger import LEDGER, Ledger, calls_of, read_lines
from codedata.llm.client import Models
from codedata.llm.reply_log import ReplyLog, recording
from codedata.progress import (
    Bar,
    RunTotals,
    Spending,
    Step,
    named,
    plural,
    print_reasons,
    say,
    showing,
)
from codedata.run_loop import hold_directories, signals, trouble_of
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.stage_status import StageStatus, hand_over
from codedata.texts import printable

PAUSE_S = 0.5                     # of an agent that waits for work
TRAJECTORIES = "_trajectories"
SCRIPT = "build_dp.py"
TYPES = {role: type for type, role in ROLES.items()}


class AgentCounts(dict):
    """Hold how many agents there are by the type of their tasks; as a text it is what --agents
    takes: "builder=12,review=6"."""

    def __str__(self) -> str:
        return ",".join(f"{ROLES[type]}={n}" for type, n in self.items())


def parse_agents(text: str) -> AgentCounts:
    """Return the numbers of agents that --agents names."""
    found = {}
    for part in text.split(","):
        role, _, n = part.partition("=")
        if role not in TYPES or not n.isdecimal() or not int(n) or TYPES[role] in found:
            raise argparse.ArgumentTypeError(f"{part!r} is not ROLE=N, each role once, of "
                                             f"{', '.join(TYPES)}")
        found[TYPES[role]] = int(n)
    return AgentCounts({type: found[type] for type in ROLES if type in found})


def run_agents(settings: Settings, options: RunOptions, n_agents: Mapping[str, int],
               seeds: Path | None) -> int:
    """Work on tasks until none is left for these agents; return the exit code.

    `n_agents` is their number by the type of their tasks; `seeds` are queued first. --limit is that
    of the tasks of each type.
    """
    dp = settings.root / DP
    if options.dry_run:
        for line in _to_come(dp, settings, options, n_agents, seeds):
            say(line)
        return 0
    dp.mkdir(parents=True, exist_ok=True)
    with Models(settings) as models, hold_directories(SCRIPT, [], options):
        for type in n_agents:
            models.client(f"dp_{ROLES[type]}")
        models.check()
        options.before_work()
        return _Run(settings, options, n_agents, models).run(seeds)


def hand_over_status(root: Path) -> bool:
    """Hand over what the queue has for each role where statuses are gathered; return whether they
    are."""
    dp = root / DP
    tasks = TaskManager(dp).status()["tasks"] if (dp / JOURNAL).exists() else {}
    return all(hand_over(partial(_status_of, dp, role, tasks.get(type, {})))
               for type, role in ROLES.items())


def _status_of(dp: Path, role: str, counts: Mapping[str, int]) -> StageStatus:
    named = {"done": "completed", "failed": "failed", "excluded": "cancelled",
             "missing": "pending", "held": "in_progress"}
    found = {state: counts.get(name, 0) for state, name in named.items()}
    return StageStatus(f"build_dp {role}", f"{dp.name}/", found, found["missing"] + found["held"],
                       "", f"build_dp.{role}", (str(dp),))


class Rooms:
    """Let at most n threads at a time into a `with` block, over all processes that name a folder.
    Raise Interrupted for one that waits when the run ends."""

    def __init__(self, folder: Path, n: int, stop: threading.Event):
        self._paths = [inside(folder.parent, folder.name, f"{i}.lock") for i in range(n)]
        self._stop, self._local = stop, threading.local()

    def __enter__(self) -> None:
        self._paths[0].parent.mkdir(exist_ok=True)
        while not self._stop.is_set():
            for path in self._paths:
                file = open(open_appending(path))
                with suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)   # freed by closing
                    self._local.file = file
                    return
                file.close()
            self._stop.wait(PAUSE_S)
        raise Interrupted()

    def __exit__(self, *_) -> None:
        self._local.file.close()


class _Run:
    """Hold one run: its agents, what they hold, and why it stopped."""

    def __init__(self, settings: Settings, options: RunOptions, n_agents: Mapping[str, int],
                 models: Models):
        self.settings, self.options, self.n_agents, self.models = (
            settings, options, n_agents, models)
        self.dp = settings.root / DP
        self.host = SandboxFactory(settings, models.stop)
        self.manager = TaskManager(self.dp, settings.dp.lease_s)
        n_rooms = max(1, int((os.cpu_count() or 1) // settings.sandbox.cpu_request))
        self.commands = Commands(settings, self.manager, self.host,
                                 Rooms(self.dp / "_rooms", n_rooms, models.stop),
                                 lambda line: None)
        self.ledger = Ledger(self.dp)
        self.lock = threading.Lock()          # of what follows
        self.totals = {type: RunTotals() for type in n_agents}
        self.n_claimed = Counter()
        self.held: dict[str, tuple[str, str]] = {}   # {task: (agent, claim)}
        # at which the tasks are that are worked on, by their type and what they are about
        self.steps: dict[str, dict[str, Step]] = {type: {} for type in n_agents}
        self.stop_reason: Trouble | None = None
        self.over = threading.Event()
        self.bars: dict[str, Bar] = {}

    def run(self, seeds: Path | None) -> int:
        """Work until nothing is left; return the exit code."""
        if seeds:
            found = self.commands.init_seed_tasks(str(seeds))
            for name in found.get("without_text", []):
                say(f"{SCRIPT}: the seed {name} has no text; it is left out.")
        self.commands.queue_reviews()
        if not self.options.selection.no_retry:
            for type in self.n_agents:
                self.manager.retry_failed(type)
        above = None
        for type in self.n_agents:
            above = self.bars[type] = Bar(ROLES[type], 1, self.options.quiet, above)
        try:
            with signals("build_dp agents", lambda: self._stop(Interrupted()), self._say,
                         lambda: f"not finished: {named([*self.held])}"):
                self._work_all()
        finally:
            for bar in self.bars.values():
                bar.close()
        return self._end()

    def _work_all(self) -> None:
        threads, keepers = [], []
        try:
            keepers.append(start_thread(self._keep))
            for type, n in self.n_agents.items():
                for i in range(n):
                    agent = f"{ROLES[type]}-{i + 1:02d}.{os.getpid()}"
                    threads.append(start_thread(partial(self._work, type, agent)))
        except RunStopped as e:   # those that did start finish what they hold
            self._stop(e)
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)
                self._show()
        self.over.set()
        for thread in keepers:
            thread.join()

    # an agent ------------------------------------------------------------------------------------

    def _work(self, type: str, agent: str) -> None:
        """Claim tasks of a type and work on them, as long as there may be one."""
        try:
            while not self.models.stop.is_set():
                if not self._is_open(type):
                    return
                task = self._claim(type, agent)
                if task:
                    self._one(task, agent)
                elif not self._may_come():
                    return
                else:
                    self.models.stop.wait(PAUSE_S)
        except Trouble as e:   # of the queue's files
            self._stop(e)

    def _is_open(self, type: str) -> bool:
        """Return whether --limit leaves a task of a type."""
        limit = self.options.selection.limit
        return not limit or self.n_claimed[type] < limit

    def _claim(self, type: str, agent: str) -> dict | None:
        with self.lock:
            task = self.manager.get_next_task(agent, [type]) if self._is_open(type) else None
            if task:
                self.n_claimed[type] += 1
                self.held[task["id"]] = agent, task["token"]
        return task

    def _may_come(self) -> bool:
        """Return whether somebody works on what may queue more, or will."""
        tasks = self.manager.status()["tasks"]
        return any(counts["in_progress"] for counts in tasks.values()) or any(
            tasks[type]["pending"] and self._is_open(type) for type in self.n_agents)

    def _one(self, task: dict, agent: str) -> None:
        """Work on a task, and write its line, whatever comes of it."""
        claim, started = task.pop("token"), time.monotonic()
        role = ROLES[task["type"]]
        # another process may have written of an earlier attempt since this one began
        ledger = Ledger(self.dp) if task["attempts"] > 1 else self.ledger
        result, calls, place = None, ReplyLog(), self._trajectory(task)
        steps, about = self.steps[task["type"]], subject(task)
        step = steps[about] = Step()

        def run_agent() -> None:
            nonlocal result, calls
            calls = ReplyLog(self.dp, f"build_dp.{role}", task["id"], ledger)
            with recording(calls), showing(step):
                result = work(task, claim, self.commands, self.models.client(f"dp_{role}"),
                              self.host, self.settings, inside(self.settings.root, place))

        error = ""
        try:
            trouble = trouble_of(run_agent, self._say)
            error = str(trouble or result.error or "it ended without an end of its task")
        except RunStopped as e:
            self._stop(e)
        finally:
            with self.lock:
                del self.held[task["id"]]
                steps.pop(about, None)
        try:
            state = self._settle(task, agent, claim, error)
            if state == "failed" and result and (result.status != "error" or calls.served):
                calls.discard()   # with these it would fail again
            if state:
                self._note(task, state, calls, error, place if result else "",
                           time.monotonic() - started)
        except Trouble as e:
            self._stop(e)

    def _settle(self, task: dict, agent: str, claim: str, error: str) -> str:
        """Return what became of a task: "done", "failed" (which ends the attempt), or "" where it
        was given back, as the run stops."""
        with suppress(Refusal):   # it is somebody else's, or gone
            if self.manager.get_task(task["id"])["state"] not in ("in_progress", "pending"):
                return "done"
            if error:
                self.manager.fail_task(task["id"], agent, error, claim)
            else:
                self.manager.release(task["id"], agent, claim)
        return "failed" if error else ""

    def _note(self, task: dict, state: str, calls: ReplyLog, error: str, trajectory: str,
              seconds: float) -> None:
        """Write the ledger line of an attempt, with the calls that it pays for."""
        paid = calls.to_count()
        costs = [call["cost_usd"] for call in paid]
        self.ledger.append(self.dp, {
            "stage": calls.stage, "item": task["id"], "instance_id": subject(task), "state": state,
            "calls": paid, "cost_usd": None if None in costs else round(sum(costs), 8),
            "seconds": round(seconds, 3), "trajectory": trajectory,
            "error": error if state == "failed" else ""})
        calls.finish(made=state == "done")
        totals = self.totals[task["type"]]
        with self.lock:
            totals.add(paid, calls)
            if state == "done":
                totals.wrote += 1
                totals.failed.pop(task["id"], None)
            else:
                totals.failed[task["id"]] = Trouble(error)

    def _trajectory(self, task: dict) -> str:
        """Return the path below the root for this run of an agent; earlier ones stay."""
        folder = inside(self.dp, TRAJECTORIES)
        folder.mkdir(exist_ok=True)
        n = len([*folder.glob(f"{task['id']}.*.json")])
        return f"{DP}/{TRAJECTORIES}/{task['id']}.{n}.json"

    # around them ---------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Renew the leases, and queue reviews of what was edited, till the run is over."""
        while not self.over.wait(self.settings.dp.lease_s / 4):
            try:
                with self.lock:
                    held = [*self.held.items()]
                for id, (agent, claim) in held:
                    with suppress(Refusal):   # it has just ended
                        self.manager.heartbeat(id, agent, claim)
                self.commands.queue_reviews()
            except Trouble as e:
                self._stop(e)

    def _stop(self, reason: Trouble) -> None:
        """Start no new calls. The first reason is reported; it replaces an interruption."""
        with self.lock:
            if self.stop_reason is None or isinstance(self.stop_reason, Interrupted):
                self.stop_reason = reason
        self.models.stop.set()

    def _say(self, line: str) -> None:
        next(iter(self.bars.values())).say(line)

    def _show(self) -> None:
        counts = self.manager.status()["tasks"]
        with self.lock:
            n_held = Counter(agent.partition("-")[0] for agent, _ in self.held.values())
        for type, bar in self.bars.items():
            totals = self.totals[type]
            bar.total = max(1, totals.finished + n_held[ROLES[type]] + counts[type]["pending"])
            bar.update(totals, n_held[ROLES[type]], {**self.steps[type]})

    def _end(self) -> int:
        """Print what came of the run; return the exit code."""
        counts = self.manager.status()["tasks"]
        if self.stop_reason and not isinstance(self.stop_reason, Interrupted):
            say(f"{SCRIPT}: {self.stop_reason}")
        n_left = sum(counts[type]["pending"] + counts[type]["in_progress"]
                     for type in self.n_agents)
        n_failed = sum(counts[type]["failed"] for type in self.n_agents)
        if not self.options.quiet:
            for line in [*_summary(self.settings.root, self.manager, self.totals),
                         *write_index(self.settings.root),
                         *_next(self.options, counts, n_left + n_failed)]:
                say(line)
        if self.stop_reason:
            return self.stop_reason.exit_code
        return int(bool(n_failed))


def _summary(root: Path, manager: TaskManager, totals: dict[str, RunTotals]) -> Iterator[str]:
    """Yield what came of a run, and what the whole root has."""
    dp = root / DP
    counts = manager.status()["tasks"]
    for type, one in totals.items():
        states = ", ".join(f"{state} {n}" for state, n in counts[type].items() if n)
        served = f", {plural(one.served, 'answer')} kept from an earlier run" if one.served else ""
        yield f"{ROLES[type]:8}  this run: {one.wrote} ended{served}; all: {states or 'none'}"
    n_ideas = sum(1 for path in (dp / IDEAS).glob("*.json"))
    n_drafts = len([*(dp / DRAFTS).glob("*.md")])
    points = [*map(labels_of, readable(root))]
    n_approved = sum(point.status == APPROVED for point in points)
    yield (f"yield     {n_ideas} seeds with ideas → {n_drafts} drafts → {len(points)} built → "
           f"{n_approved} approved")
    whys = [printable(f"{ROLES[task['type']]}: {task['errors'][-1]}", 200)
            for state in ("cancelled", "failed") for task in manager.tasks(state=state)
            if task["errors"]]
    whys += [printable(f"review: {point.reason}", 200) for point in points
             if point.status == CANCELLED]
    print_reasons(whys)
    spent = _spent(dp)[0]
    if spent.n_calls:
        each = replace(spent, cost_usd=spent.cost_usd / max(1, n_approved))
        yield (f"cost      {plural(spent.n_calls, 'call')}, {spent}"
               + (f", {each} each approved one" if n_approved else ""))


def _spent(dp: Path, stage: str = "build_dp.") -> tuple[Spending, int]:
    """Return what the agents of a root have spent, those of one stage or all, and their runs."""
    spent, n_runs = Spending(), 0
    for line in read_lines(dp / LEDGER):
        if str(line.get("stage")).startswith(stage):
            n_runs += 1
            for call in calls_of(line):
                spent.add(call)
    return spent, n_runs


def _next(options: RunOptions, counts: Mapping[str, Mapping[str, int]], n_left: int
          ) -> Iterator[str]:
    """Yield the commands that go on from here."""
    others = AgentCounts({type: 1 for type, states in counts.items() if states["pending"]})
    if n_left:
        yield (f"      again: {plural(n_left, 'task')} to do: "
               f"{options.command(SCRIPT, same=True, without=('seeds',))}")
    elif others:
        agents = options.command(SCRIPT, same=True, without=("seeds", "agents", "limit"))
        yield f"      next:  {agents} --agents {others}"
    else:
        yield f"      next:  {options.command(f'{SCRIPT} calibrate')}"
        yield f"      next:  {options.command('export.py')} --formats harbor,terminal-bench"


def _to_come(dp: Path, settings: Settings, options: RunOptions, n_agents: Mapping[str, int],
             seeds: Path | None) -> Iterator[str]:
    """Yield how many tasks are to come, and what they may cost. Nothing is written."""
    counts: dict[str, dict] = {}
    if (dp / JOURNAL).exists():
        counts = TaskManager(dp).status()["tasks"]
    n_tasks = {type: sum(counts.get(type, {}).get(state, 0) for state in ("pending", "in_progress"))
               for type in ROLES}
    if seeds:
        n_tasks[GENERATE] += sum(not (dp / SEEDS / seed.id).exists() for seed in seeds_in(seeds))
    n_before = 0   # tasks of the type before, each of which queues further ones
    for type, n_each in ((GENERATE, 0), (BUILD, settings.dp.drafts), (REVIEW, 1)):
        n = n_before = min(n_tasks[type] + n_before * n_each, options.selection.limit or inf)
        if type not in n_agents:
            n_before = 0
            continue
        spent, n_runs = _spent(dp, f"build_dp.{ROLES[type]}")
        limit = settings.agent_role(f"dp_{ROLES[type]}").max_iterations
        calls = f"at most {n * limit:,} calls (none was done here yet; cost unknown)"
        if n_runs:
            share = n / n_runs
            spent = replace(spent, cost_usd=spent.cost_usd * share)
            calls = f"about {spent.n_calls * share:.0f} calls, {spent}, as the {n_runs} before"
        yield f"{ROLES[type]:8}  at most {plural(n, 'task')} to come, {calls}"
