"""Compute how often agents solved a task, from attempt/."""
from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from codedata.checks.intervals import by_both, wilson
from codedata.disk.store import all_readable
from codedata.records import SOLVED, AttemptOutcome, Graded, Object

SATURATED = 8   # so many attempts, all solved
Attempts = dict[str, dict[str, AttemptOutcome]]   # {agent: {name of an attempt: outcome}}


def attempts_in(root: Path) -> dict[tuple[str, str], Attempts]:
    """Return the outcomes of a root's attempts by (task, its content), then by agent and name."""
    found: dict = defaultdict(lambda: defaultdict(dict))
    for one in all_readable(root, Graded):
        outcome = one.outcome
        found[outcome["task"], outcome["content"]][outcome["agent"]][one.instance_id] = outcome
    return found


def rates_of(outcomes: list[AttemptOutcome]) -> Object:
    """Return {model, attempts, solved, rate, interval, is_cut} of an agent's attempts at a task.
    `interval` is the 95 % interval of the rate. `is_cut`: the attempts have reached [solve] until,
    so by_both() computes `interval`, not wilson()."""
    n, solved = len(outcomes), sum(one["status"] == SOLVED for one in outcomes)
    is_cut = has_enough(outcomes, outcomes[-1]["until"])
    interval = by_both(solved, n - solved, *outcomes[-1]["until"]) if is_cut else wilson(
        solved / n, n)
    return {"model": outcomes[0]["model"], "attempts": n, "solved": solved,
            "rate": round(solved / n, 4),
            "interval": [round(end, 4) for end in interval], "is_cut": is_cut}


def has_enough(outcomes: list[AttemptOutcome], until: list[int]) -> bool:
    """Return whether the numbers of solved and unsolved attempts reach `until`; False for []."""
    solved = sum(one["status"] == SOLVED for one in outcomes)
    return bool(until) and solved >= until[0] and len(outcomes) - solved >= until[1]


def is_saturated(outcomes: list[AttemptOutcome]) -> bool:
    """Return whether SATURATED or more attempts all solved a task: further ones teach nothing."""
    return len(outcomes) >= SATURATED and all(one["status"] == SOLVED for one in outcomes)


def rates_by_agent(attempts: Attempts) -> dict[str, Object]:
    """Return {agent: rates_of(its attempts)}."""
    return {agent: rates_of([*found.values()]) for agent, found in sorted(attempts.items())}


def rates_of_models(attempts: Attempts) -> dict[str, Object]:
    """Return rates_by_agent() of the agents that use a model."""
    return {agent: one for agent, one in rates_by_agent(attempts).items() if one["model"]}
