"""Compare two agents, A and B, on the tasks of a root that both attempted, as the tasks are now.

A task counts once, however many attempts it has: pass@k of a task is the unbiased estimate of Chen
et al. 2021 (arXiv:2107.03374), and intervals are over tasks. So they hold for tasks like these.
They are too narrow if the tasks resemble each other, for instance if all are of a few repositories.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from math import comb
from pathlib import Path
from statistics import fmean

from codedata.checks.resampling import mean_interval
from codedata.disk.store import known_in
from codedata.errors import Trouble
from codedata.records import Object, Task
from codedata.tasks.folder.task_folder import audited_digest
from codedata.tasks.rates import Attempts, agent_named, attempts_in, counted, n_solved
from codedata.terminal import aligned, named, plural

COMPARE = "_compare"
MIN_TASKS = 20   # no interval for fewer: benchmarks/compare.py
HEAD = ["", "tasks", "pass@", "A", "B", "B - A", "95 % interval", "steps A", "B", "USD A", "B"]


def compare(root: Path, names: list[str], chosen: Callable[[str], bool] = bool) -> Object:
    """Return {agents, rows, tasks}: the comparison of two agents of a root, each given by its own
    name or its model's, on the tasks of task/, as they are now, whose name is `chosen`. Pairs are
    of A and B. Raise Trouble if a name is not one agent's, or if they share no task.
    """
    everything = attempts_in(root)
    agents = [agent_named(name, everything, "compare") for name in names]
    if agents[0] == agents[1]:
        raise Trouble("is one agent: name two.", agents[0])
    tasks = []
    for name in {name: None for name, _ in everything if chosen(name)}:
        task = known_in(root, Task, name)
        found = everything.get((name, audited_digest(task)), {}) if task else {}
        if found.keys() >= {*agents}:
            tasks.append(_task(task, agents, found))
    if not tasks:
        raise Trouble("attempted no task in common, at its present content.", " and ".join(agents))
    groups = defaultdict(list, all=tasks)
    for one in tasks:
        groups[f"kind: {one['kind'] or 'other'}"].append(one)
        groups[f"tier: {one['tier'] or 'none'}"].append(one)
    k = min(n for one in tasks for n, _ in one["counted"])
    return {"agents": agents, "tasks": tasks, "rows": [
        row_of(name, groups[name], j) for name in sorted(groups) for j in sorted({1, k})]}


def _task(task: Task, agents: list[str], found: Attempts) -> Object:
    """Return a task with the attempts of A and B: `counted` for the rates, and their steps and cost
    together (None: a cost is unknown)."""
    outcomes = [[*found[agent].values()] for agent in agents]
    usage = [[one["usage"] for one in some] for some in outcomes]
    costs = [[one["cost_usd"] for one in some] for some in usage]
    return {"task": task.instance_id, "kind": task.kind, "tier": str(task.about.get("tier") or ""),
            "solved": [*map(n_solved, outcomes)], "counted": [*map(counted, outcomes)],
            "steps": [sum(one["calls"] for one in some) for some in usage],
            "cost_usd": [None if None in some else sum(some) for some in costs]}


def row_of(group: str, tasks: list[Object], k: int) -> Object:
    """Return pass@k of A and B over tasks, each with k or more attempts of both, the 95 % interval
    of its difference B - A ([]: too few tasks), and the steps and cost for each solved attempt,
    unsolved ones included (None: none is solved, or a cost is unknown)."""
    pairs = [[1 - comb(n - solved, k) / comb(n, k) for n, solved in one["counted"]]
             for one in tasks]
    interval = mean_interval([b - a for a, b in pairs]) if len(tasks) >= MIN_TASKS else ()

    def sides(key: str) -> list[tuple]:
        return [*zip(*(one[key] for one in tasks), strict=True)]

    solved = [*map(sum, sides("solved"))]
    return {"group": group, "k": k, "tasks": len(tasks), "interval": [*interval],
            "rates": [*map(fmean, zip(*pairs, strict=True))],
            **{key: [sum(side) / n if n and None not in side else None
                     for side, n in zip(sides(key), solved, strict=True)]
               for key in ("steps", "cost_usd")}}


def in_words(found: Object, at_most: int) -> list[str]:
    """Return compare() as lines for the user, with at most so many gained, and lost, tasks."""
    rows = [*map(_cells, found["rows"])]
    gained, lost = ([one["task"] for one in found["tasks"]
                     if one["solved"][b] and not one["solved"][1 - b]] for b in (1, 0))
    return [*map(" = ".join, zip("AB", found["agents"], strict=True)),
            f"{plural(len(found['tasks']), 'task')} attempted by both",
            "B - A in pass@1: {5} points, 95 % interval: {6}".format(*rows[0]), "",
            *aligned([HEAD, *rows]),
            "(steps and cost: for each solved attempt, unsolved ones included)", "",
            f"{len(gained):,} gained (B solved, A never): {named(gained, at_most) or 'none'}",
            f"{len(lost):,} lost (A solved, B never): {named(lost, at_most) or 'none'}"]


def _cells(row: Object) -> list[str]:
    (a, b), ends = row["rates"], row["interval"]
    interval = f"needs {MIN_TASKS} tasks"
    if ends:
        sign = "holds zero" if ends[0] <= 0 <= ends[1] else "excludes zero"
        interval = f"{100 * ends[0]:+.1f} to {100 * ends[1]:+.1f}, {sign}"
    return [row["group"], str(row["tasks"]), str(row["k"]), f"{a:.1%}", f"{b:.1%}",
            f"{100 * (b - a):+.1f}", interval,
            *("" if n is None else f"{n:.3g}" for n in (*row["steps"], *row["cost_usd"]))]
