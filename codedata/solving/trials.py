"""List the attempts to make: one agent's numbered attempts at each task of a root.

An attempt's name encodes task, content, agent, settings and number. So it does not depend on the
order of tasks or attempts, and further attempts replace none.
"""
from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean

from codedata.audit.others import COMPOSE
from codedata.checks.intervals import wilson
from codedata.disk.store import Derived, Store, digest, known_in
from codedata.records import SOLVED, Graded, Object, Task
from codedata.settings import SolveSettings
from codedata.tasks.folder.task_folder import audited_digest, edited_parts
from codedata.tasks.rates import SATURATED, has_enough, is_saturated, outcomes_in
from codedata.texts import safe_name

UNCERTAIN = "uncertain"   # a value of [solve] first


@dataclass(frozen=True)
class Trial:
    """Describe an attempt that an agent is to make at a task."""

    instance_id: str         # the task's
    folder: str
    content: str             # audited_digest() of the task
    attempt: int             # its number, from 1
    planned: int             # attempts at the task that the run plans
    problem: str             # why the task is not attempted, or ""


def agent_id(name: str, settings: Object) -> str:
    """Return an agent's part of its attempts' names: its name, its model, and a digest of its
    settings."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", settings.get("model", ""))[:40].strip("-")
    return "-".join(filter(None, [name, slug, digest(settings)[:6]]))


def trials_in(root: Path, agent: str, n: int, first: str = "spread") -> Derived:
    """Return an agent's attempts at the tasks of a root, in the order of [solve] first. Keep
    attempts of other agents, or at other contents of a task."""
    tasks = Store(root, Task)

    def of(name: str, task: Task) -> dict[str, Trial]:
        content, problem = audited_digest(task), problem_of(task)
        if not safe_name(f"{name}.{content[:8]}.{agent}.{n}"):
            problem = "the names of its attempts would be too long"
        return {f"{name}.{content[:8]}.{agent}.{k}": Trial(
            name, str(tasks.path(name)), content, k, n, problem) for k in range(1, n + 1)}

    tried = defaultdict(list)
    for name, one in outcomes_in(root).items() if first == UNCERTAIN else ():
        tried[name.rpartition(".")[0]].append(one["status"] == SOLVED)

    def certainty(name: str) -> float:
        """Return less for a wider interval after this attempt; less for a lower number, if all
        rates are 0.5."""
        item, _, k = name.rpartition(".")
        low, high = wilson(fmean(tried.get(item, [0.5])), int(k))
        return low - high

    return Derived(tasks, of, keeps=lambda name: True,
                   choose=lambda facts: sorted(facts, key=certainty))


def problem_of(task: Task) -> str:
    """Return why a task is not attempted, or ""."""
    if not (task.instruction or "").strip():
        return "the task has no instruction"
    if task.kind:
        return "the task is not as it was proven" if not task.proof or edited_parts(task) else ""
    environment = task.config.get("environment", {})
    lacks = {"steps with tests of their own": task.config.get("steps"),
             "GPUs": environment.get("gpus"), "MCP servers": environment.get("mcp_servers"),
             # a copied task has one service: copy_tasks() has checked it
             "further containers": COMPOSE in task.environment and "made_from" not in task.about}
    found = ", ".join(name for name, is_so in lacks.items() if is_so)
    return found and f"the task cannot run here: it needs {found}"


def skip_rule(root: Path, trials: Derived, solve: SolveSettings) -> Callable[[str, str], str]:
    """Return a function that explains why a trial is skipped: for its task, because earlier ones
    suffice, or because the task's attempts have cost [solve] max_task_usd."""
    max_usd = solve.max_task_usd
    problem_at = cache(lambda item: trials.read(f"{item}.1").problem)   # slow: reads the folder

    def rule(name: str, instance_id: str) -> str:
        item, _, attempt = name.rpartition(".")
        is_late = solve.first == UNCERTAIN and int(attempt) > SATURATED
        numbers = range(1, int(attempt)) if solve.until or max_usd or is_late else ()
        earlier = (known_in(root, Graded, f"{item}.{k}") for k in numbers)
        before = [one.outcome for one in earlier if one]
        if problem := problem_at(item):
            return problem
        if has_enough(before, solve.until):
            return "[solve] until is reached"
        if is_late and is_saturated(before):
            return "solved each time: left for the next checkpoint"
        costs = [one["usage"]["cost_usd"] for one in before]
        if max_usd and None in costs:
            return "[solve] max_task_usd cannot be kept: an attempt's cost is unknown"
        return "[solve] max_task_usd is reached" if 0 < max_usd <= sum(costs) else ""

    return rule
