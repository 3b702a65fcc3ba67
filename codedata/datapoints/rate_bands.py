"""Compare the solve rates of a datapoint with the band of its profile."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from codedata.datapoints.approval import PROFILES, is_as_proven
from codedata.datapoints.datapoint_folder import folder_of, labels_of, readable
from codedata.records import Object, Task
from codedata.tasks.folder.task_folder import audited_digest
from codedata.tasks.rates import attempts_in, rates_by_agent


def outside_band(root: Path, profile: str) -> Iterator[tuple[Task, Object, list[str]]]:
    """Yield (datapoint, the rates of its agents, the names of attempts) for each approved datapoint
    that an agent clearly solves too often or too rarely. Only such an agent's attempts are
    named. `profile` is the default for datapoints without one."""
    attempts = attempts_in(root)
    for task in readable(root) if attempts else ():
        found = attempts.get((task.instance_id, audited_digest(task)), {})
        rates = rates_by_agent(found)
        named = str(labels_of(task).lineage.get("profile"))
        band = named if named in PROFILES else profile
        outside = [agent for agent, one in rates.items() if is_outside(one, band)]
        is_approved = folder_of(task).parent == Path(root, Task.directory) and is_as_proven(task)
        if outside and is_approved:
            yield task, rates, [name for agent in outside for name in found[agent]]


def is_outside(rates: Object, profile: str) -> bool:
    """Return whether the whole interval of a rate lies outside the band of a profile."""
    low, high = rates["interval"]
    wanted = PROFILES[profile]
    return low > wanted["max_rate"] or high < wanted["min_rate"]
