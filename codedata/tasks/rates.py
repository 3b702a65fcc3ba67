"""Compute how often agents solved a task, from attempt/."""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

from codedata.checks.intervals import by_both, wilson
from codedata.disk.store import all_readable
from codedata.errors import Trouble
from codedata.records import SOLVED, AttemptOutcome, Graded, Object
from codedata.terminal import plural
from codedata.texts import printable

SATURATED = 8   # so many attempts, all solved
Attempts = dict[str, dict[str, AttemptOutcome]]   # {agent: {name of an attempt: outcome}}


def outcomes_in(root: Path) -> dict[str, AttemptOutcome]:
    """Return the outcomes of a root's attempts by name, in natural order."""
    return {one.instance_id: one.outcome for one in all_readable(root, Graded)}


def attempts_in(root: Path) -> dict[tuple[str, str], Attempts]:
    """Return outcomes_in() by (task, its content), then by agent and name."""
    found: dict = defaultdict(lambda: defaultdict(dict))
    for name, one in outcomes_in(root).items():
        found[one["task"], one["content"]][one["agent"]][name] = one
    return found


def rates_of(outcomes: list[AttemptOutcome]) -> Object:
    """Return {model, attempts, solved, rate, interval, is_cut} of an agent's attempts at a task.
    `interval` is the 95 % interval of the rate. `is_cut`: the attempts have reached [solve] until,
    so by_both() computes `interval`, not wilson(), and `rate` is biased: compare uses counted()."""
    n, solved = len(outcomes), n_solved(outcomes)
    is_cut = has_enough(outcomes, outcomes[-1]["until"])
    interval = by_both(solved, n - solved, *outcomes[-1]["until"]) if is_cut else wilson(
        solved / n, n)
    return {"model": outcomes[0]["model"], "attempts": n, "solved": solved,
            "rate": round(solved / n, 4),
            "interval": [round(end, 4) for end in interval], "is_cut": is_cut}


def n_solved(outcomes: list[AttemptOutcome]) -> int:
    """Return the number of solved attempts."""
    return sum(one["status"] == SOLVED for one in outcomes)


def counted(outcomes: list[AttemptOutcome]) -> tuple[int, int]:
    """Return (attempts, solved ones) for an unbiased rate of an agent at a task. If [solve] until
    ended the attempts, leave the last one out if only its outcome could end them."""
    n, solved = len(outcomes), n_solved(outcomes)
    until = outcomes[-1]["until"]
    if has_enough(outcomes, until) and n > sum(until):
        if solved == until[0]:
            return n - 1, solved - 1
        if n - solved == until[1]:
            return n - 1, solved
    return n, solved


def agent_named(name: str, attempts: dict[tuple[str, str], Attempts], where: str) -> str:
    """Return the agent of this name, or the only agent whose model has this name; each must have a
    model. Raise Trouble about `where` if there is none, or if there are several."""
    models = {agent: one["model"] for found in attempts.values()
              for agent, one in rates_by_agent(found).items()}
    agents = sorted(agent for agent, model in models.items() if name in (agent, model))
    if len(agents) == 1:
        return agents[0]
    raise Trouble(f"names {printable(name)}, which is not one agent with a model.", where,
                  f"Name one of them: {', '.join(agents or sorted(models)) or 'there are none'}.")


def has_enough(outcomes: list[AttemptOutcome], until: list[int]) -> bool:
    """Return whether the numbers of solved and unsolved attempts reach `until`; False for []."""
    solved = n_solved(outcomes)
    return bool(until) and solved >= until[0] and len(outcomes) - solved >= until[1]


def is_saturated(outcomes: list[AttemptOutcome]) -> bool:
    """Return whether SATURATED or more attempts all solved a task: further ones teach nothing."""
    return n_solved(outcomes) == len(outcomes) >= SATURATED


def rates_by_agent(attempts: Attempts, of_models: bool = True) -> dict[str, Object]:
    """Return {agent: rates_of(its attempts)}, by default of the agents that use a model."""
    rates = {agent: rates_of([*found.values()]) for agent, found in sorted(attempts.items())}
    return {agent: one for agent, one in rates.items() if one["model"] or not of_models}


def rates_by_kind(outcomes: Iterable[AttemptOutcome]) -> dict[str, Object]:
    """Return {kind and agent: {tasks, rate, interval, ends}}: the mean rate over tasks with its
    95 % interval, which is too wide if tasks have several attempts, and the number of attempts by
    status."""
    groups = defaultdict(list)
    for one in outcomes:
        groups[f"{one['kind'] or 'other'} {one['agent']}"].append(one)
    found = {}
    for name, some in sorted(groups.items()):
        solved = defaultdict(list)
        for one in some:
            solved[one["task"], one["content"]].append(one["status"] == SOLVED)
        rate = fmean(map(fmean, solved.values()))
        found[name] = {"tasks": len(solved), "rate": round(rate, 4),
                       "interval": [round(end, 4) for end in wilson(rate, len(solved))],
                       "ends": Counter(one["status"] for one in some)}
    return found


def rates_in_words(outcomes: Iterable[AttemptOutcome]) -> list[str]:
    """Return a line for each of rates_by_kind()."""
    return ["{} {:.0%} solved ({:.0%} to {:.0%}), the mean of {}: {}".format(
        name, one["rate"], *one["interval"], plural(one["tasks"], "task"),
        ", ".join(f"{status} {n}" for status, n in one["ends"].most_common()))
        for name, one in rates_by_kind(outcomes).items()]
