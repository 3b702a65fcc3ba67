"""Compare two agents, A and B, on the tasks that both attempted at the same content.

A task counts once, however many attempts it has: pass@k of a task is the unbiased estimate of Chen
et al. 2021 (arXiv:2107.03374), and intervals are over tasks. So they hold for tasks like these.
They are too narrow if the tasks resemble each other, for instance if all are of a few repositories.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import comb
from pathlib import Path
from statistics import fmean, median_low

from codedata.bounded import inside
from codedata.checks.resampling import mean_interval
from codedata.errors import Trouble
from codedata.records import (
    AttemptOutcome,
    ComparedGroup,
    ComparedTask,
    Comparison,
    PassRates,
    Task,
    about_in,
)
from codedata.tasks.rates import agent_named, attempts_in, counted
from codedata.terminal import aligned, plural, usd

MIN_TASKS = 20   # no interval below: in simulations it covered less than 90 %
SHOWN = 10       # gained, and lost, tasks in the terminal


@dataclass(frozen=True)
class Tries:
    """Hold an agent's attempts at a task: the numbers for its rate, and the means of all."""

    n: int
    solved: int
    steps: float
    cost_usd: float | None   # None: unknown

    @classmethod
    def of(cls, outcomes: list[AttemptOutcome]) -> Tries:
        """Return the numbers of an agent's outcomes."""
        costs = [one["usage"]["cost_usd"] for one in outcomes]
        return cls(*counted(outcomes), fmean(one["usage"]["calls"] for one in outcomes),
                   None if None in costs else fmean(costs))

    def passes(self, k: int) -> float:
        """Return pass@k, for k up to n: the chance that k of the attempts have a solved one."""
        return 1 - comb(self.n - self.solved, k) / comb(self.n, k)


Pair = tuple[Tries, Tries]   # of A and B


def compare(root: Path, names: list[str], chosen: Callable[[str], bool] = bool) -> Comparison:
    """Compare two agents of a root, each given by its own name or its model's, on the tasks whose
    name is `chosen`. Raise Trouble if a name is not one agent's, or if they share no task."""
    attempts = {key: found for key, found in attempts_in(root).items() if chosen(key[0])}
    agents = [agent_named(name, attempts.values(), "compare") for name in names]
    tried = [{key for key, found in attempts.items() if agent in found} for agent in agents]
    both = sorted(tried[0] & tried[1])
    if len({*agents}) < 2 or not both:
        raise Trouble("attempted no task that is the same, or are one agent.", " and ".join(agents),
                      "Compare agents after: python solve.py")
    pairs, tasks = [], []
    for key in both:
        outcomes = [[*attempts[key][agent].values()] for agent in agents]
        pairs.append(tuple(map(Tries.of, outcomes)))
        tasks.append(_compared_task(root, *key, outcomes))
    k = median_low(min(a.n, b.n) for a, b in pairs)
    return Comparison(
        "_vs_".join(agents), agents,
        [next(iter(attempts[both[0]][agent].values()))["model"] for agent in agents],
        [len(one) - len(both) for one in tried], [*_groups(pairs, tasks, k)],
        *([one["task"] for one in _won_by(side, tasks)] for side in (1, 0)), tasks)


def _won_by(side: int, tasks: list[ComparedTask]) -> list[ComparedTask]:
    """Return the tasks that only side 0 (A) or 1 (B) solved, most often solved ones first."""
    return sorted((one for one in tasks if one["solved"][side] and not one["solved"][1 - side]),
                  key=lambda one: -one["solved"][side])


def _compared_task(root: Path, task: str, content: str, outcomes: list[list[AttemptOutcome]]
                   ) -> ComparedTask:
    about = about_in(Task.config_in(inside(root, Task.directory, task)))
    return {"task": task, "content": content, "kind": outcomes[0][0]["kind"],
            "tier": str(about.get("tier") or ""), "attempts": [*map(len, outcomes)],
            "solved": [sum(one["status"] == "solved" for one in found) for found in outcomes]}


def _groups(pairs: list[Pair], tasks: list[ComparedTask], k: int) -> Iterator[ComparedGroup]:
    """Yield the results over all tasks, and those for each kind and tier."""
    groups = defaultdict(list)
    for pair, task in zip(pairs, tasks, strict=True):
        for name in ("all", f"kind: {task['kind'] or 'other'}", f"tier: {task['tier']}"):
            groups[name].append(pair)
    for name, members in sorted(groups.items()):
        if name != "tier: ":
            yield {"group": name, "passes": [pass_rates(members, j) for j in sorted({1, k})],
                   **{key: [_for_a_solved(side, key) for side in zip(*members, strict=True)]
                      for key in ("steps", "cost_usd")}}


def pass_rates(pairs: list[Pair], k: int) -> PassRates:
    """Return pass@k of two agents, over the tasks that both attempted k times."""
    rates = [(a.passes(k), b.passes(k)) for a, b in pairs if min(a.n, b.n) >= k]
    leads = [b - a for a, b in rates]
    interval = mean_interval(leads) if len(leads) >= MIN_TASKS else ()
    return {"k": k, "tasks": len(rates),
            "rates": [round(fmean(side), 4) for side in zip(*rates, strict=True)],
            "difference": round(fmean(leads or [0.0]), 4),
            "interval": [round(end, 4) for end in interval]}


def _for_a_solved(side: tuple[Tries, ...], key: str) -> float | None:
    """Return an agent's mean steps or cost of an attempt, over its share of solved attempts."""
    values, solved = [getattr(one, key) for one in side], sum(one.passes(1) for one in side)
    return None if None in values or not solved else round(sum(values) / solved, 4)


# for the user ------------------------------------------------------------------------------------

def in_words(comparison: Comparison) -> list[str]:
    """Return a comparison as lines for the terminal."""
    first = comparison.groups[0]["passes"][0]
    alone = (f"{plural(n, 'task')} only by {side}"
             for side, n in zip("AB", comparison.n_alone, strict=True))
    lines = [f"{side} = {agent}" for side, agent in zip("AB", comparison.agents, strict=True)]
    lines += [f"{plural(len(comparison.tasks), 'task')} attempted by both; not used: "
              f"{', '.join(alone)}", _verdict(first), "",
              *aligned([*_rate_rows(comparison)], n_left=1), "",
              *aligned([*_effort_rows(comparison)], n_left=1)]
    for side, words in ((1, "gained: B solved, A never"), (0, "lost: A solved, B never")):
        won = _won_by(side, comparison.tasks)
        lines += ["", f"{words}: {plural(len(won), 'task')}", *(
            "  {task}: A {solved[0]} of {attempts[0]}, B {solved[1]} of {attempts[1]}".format(**one)
            for one in won[:SHOWN])]
        if len(won) > SHOWN:
            lines.append(f"  and {len(won) - SHOWN} more in {comparison.directory}/"
                         f"{comparison.instance_id}.json")
    return lines


def _rate_rows(comparison: Comparison) -> Iterator[list[str]]:
    yield ["", "tasks", "pass@", "A", "B", "B - A", "95 %, points", ""]
    for group in comparison.groups:
        for one in group["passes"]:
            if one["tasks"]:
                yield [group["group"], str(one["tasks"]), str(one["k"]),
                       *(f"{rate:.1%}" for rate in one["rates"]), f"{100 * one['difference']:+.1f}",
                       " to ".join(f"{100 * end:+.1f}" for end in one["interval"]), _sign(one)]


def _sign(one: PassRates) -> str:
    if not one["interval"]:
        return f"fewer than {MIN_TASKS} tasks"
    low, high = one["interval"]
    return "holds zero" if low <= 0 <= high else "B is better" if low > 0 else "A is better"


def _effort_rows(comparison: Comparison) -> Iterator[list[str]]:
    yield ["for each solved attempt, failed ones included", "steps A", "B", "cost A", "B"]
    for group in comparison.groups:
        yield [group["group"], *("-" if n is None else f"{n:.1f}" for n in group["steps"]),
               *("-" if cost is None else usd(cost) for cost in group["cost_usd"])]


def _verdict(one: PassRates) -> str:
    if not one["interval"]:
        return f"There is no interval for {_sign(one)}."
    low, high = (f"{100 * end:+.1f}" for end in one["interval"])
    so = {"holds zero": "holds zero: these tasks do not show whether A or B is better"}
    return (f"The interval of pass@1, {low} to {high} points, "
            f"{so.get(_sign(one), f'does not hold zero: {_sign(one)} at tasks like these')}.")
