"""Compare two agents, A and B, on the tasks that both attempted at the same content.

A task counts once, however many attempts it has: pass@k of a task is the unbiased estimate of Chen
et al. 2021 (arXiv:2107.03374), and intervals are over tasks. So they hold for tasks like these.
They are too narrow if the tasks resemble each other, for instance if all are of a few repositories.
"""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from math import comb
from pathlib import Path
from statistics import fmean

from codedata.bounded import inside
from codedata.checks.resampling import mean_interval
from codedata.disk.store import known_in
from codedata.errors import Trouble
from codedata.records import SOLVED, AttemptOutcome, Object, Task, about_in
from codedata.tasks.folder.task_folder import audited_digest
from codedata.tasks.rates import agent_named, attempts_in, counted
from codedata.terminal import aligned, plural

COMPARE = "_compare"
MIN_TASKS = 20   # no interval for fewer: benchmarks/compare.py
HEAD = ["", "tasks", "pass@", "A", "B", "B - A", "95 %, points", "", "steps A", "B", "USD A", "B"]


def compare(root: Path, names: list[str], chosen: Callable[[str], bool] = bool) -> Object:
    """Return {agents, alone, old, rows, tasks}: the comparison of two agents of a root, each given
    by its own name or its model's, on the tasks whose name is `chosen`. Pairs are of A and B.

    `alone` counts tasks that only one attempted; `old` counts versions of tasks that task/ no
    longer has (of a task that is gone, all if there are several). Raise Trouble if a name is not
    one agent's, or if they share no task.
    """
    everything = {key: found for key, found in attempts_in(root).items() if chosen(key[0])}
    n_contents = Counter(task for task, _ in everything)

    def is_present(task: str, content: str) -> bool:
        present = known_in(root, Task, task)
        return content == audited_digest(present) if present else n_contents[task] == 1

    attempts = {key: found for key, found in everything.items() if is_present(*key)}
    agents = [agent_named(name, everything, "compare") for name in names]
    tasks = [_task(root, *key, [[*found[agent].values()] for agent in agents])
             for key, found in sorted(attempts.items()) if found.keys() >= {*agents}]
    if not tasks:
        raise Trouble("attempted no task in common, at the same content.", " and ".join(agents))
    groups = defaultdict(list, all=tasks)
    for one in tasks:
        groups[f"kind: {one['kind'] or 'other'}"].append(one)
        groups[f"tier: {one['tier'] or 'none'}"].append(one)
    k = min(n for one in tasks for n, _ in one["counted"])
    alone = [sum(agent in found for found in attempts.values()) - len(tasks) for agent in agents]
    return {"agents": agents, "alone": alone, "old": len(everything) - len(attempts),
            "tasks": tasks, "rows": [row_of(name, members, j) for name, members in
                                     sorted(groups.items()) for j in sorted({1, k})]}


def _task(root: Path, task: str, content: str, outcomes: list[list[AttemptOutcome]]) -> Object:
    """Return a task with the attempts of A and B: their numbers, `counted` for the rates, and their
    steps and cost together (None: a cost is unknown)."""
    costs = [[one["usage"]["cost_usd"] for one in found] for found in outcomes]
    about = about_in(Task.config_in(inside(root, Task.directory, task)))
    return {"task": task, "content": content, "kind": outcomes[0][0]["kind"],
            "tier": str(about.get("tier") or ""), "attempts": [*map(len, outcomes)],
            "solved": [sum(one["status"] == SOLVED for one in found) for found in outcomes],
            "counted": [*map(counted, outcomes)],
            "steps": [sum(one["usage"]["calls"] for one in found) for found in outcomes],
            "cost_usd": [None if None in some else sum(some) for some in costs]}


def row_of(group: str, tasks: list[Object], k: int) -> Object:
    """Return pass@k of A and B over tasks, each with k or more attempts of both, and the 95 %
    interval of its difference B - A ([]: too few tasks). For k = 1, add the steps and cost for each
    solved attempt, unsolved ones included (None: none is solved, or a cost is unknown)."""
    pairs = [[1 - comb(n - solved, k) / comb(n, k) for n, solved in one["counted"]]
             for one in tasks]
    leads, rates = [b - a for a, b in pairs], [*map(fmean, zip(*pairs, strict=True))]
    interval = mean_interval(leads) if len(leads) >= MIN_TASKS else ()
    row = {"group": group, "k": k, "tasks": len(pairs), "rates": rates, "interval": [*interval]}
    solved = [*map(sum, zip(*(one["solved"] for one in tasks), strict=True))]
    for key in ("steps", "cost_usd") if k == 1 else ():
        sides = zip(*(one[key] for one in tasks), strict=True)
        row[key] = [sum(side) / n if n and None not in side else None
                    for side, n in zip(sides, solved, strict=True)]
    return row


def in_words(found: Object, at_most: int | None = None) -> list[str]:
    """Return compare() as lines for the user, with at most so many gained, and lost, tasks."""
    rows = [*map(_cells, found["rows"])]
    lines = [*map(" = ".join, zip("AB", found["agents"], strict=True)),
             "{} attempted by both; not used: {} only by A, {} only by B, {}".format(
                 plural(len(found["tasks"]), "task"), *found["alone"],
                 plural(found["old"], "old version")),
             "B - A in pass@1: {5} points, 95 % interval {6} ({7})".format(*rows[0]), "",
             *aligned([HEAD, *rows]),
             "(steps and cost: for each solved attempt, unsolved ones included)", ""]
    for b, words in (1, "gained: B solved, A never"), (0, "lost: A solved, B never"):
        won = [one for one in found["tasks"] if one["solved"][b] and not one["solved"][1 - b]]
        won.sort(key=lambda one, b=b: -one["solved"][b])
        lines += [f"{words}: {plural(len(won), 'task')}", *(
            "  {task}: A {solved[0]} of {attempts[0]}, B {solved[1]} of {attempts[1]}".format(**one)
            for one in won[:at_most])]
        if at_most and len(won) > at_most:
            lines.append(f"  {len(won) - at_most:,} more")
    return lines


def _cells(row: Object) -> list[str]:
    (a, b), interval = row["rates"], row["interval"]
    sign = f"needs {MIN_TASKS} tasks"
    if interval:
        sign = "holds zero" if interval[0] <= 0 <= interval[1] else "excludes zero"
    return [row["group"], str(row["tasks"]), str(row["k"]), f"{a:.1%}", f"{b:.1%}",
            f"{100 * (b - a):+.1f}", " to ".join(f"{100 * end:+.1f}" for end in interval), sign,
            *("" if n is None else f"{n:.3g}" for key in ("steps", "cost_usd")
              for n in row.get(key, (None, None)))]
