"""Replace the messages of attempts at tasks that are always solved: solve.py --prune.

Of an agent's attempts at such a task, the `keep` with the fewest calls stay whole. The others keep
their record, reward and patch, and stay done, so that no run makes them again.
"""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from codedata.disk.store import Store
from codedata.records import PRUNED
from codedata.run.states import Selection
from codedata.tasks.rates import attempts_in, is_saturated
from codedata.terminal import plural
from codedata.texts import natural

NOTE = [{"step_id": 1, "source": "system", "message": PRUNED}]


def prune_saturated(root: Path, keep: int, store: Store, selection: Selection) -> list[str]:
    """Replace the messages of saturated attempts of all agents, except edited ones; return a line
    to print. With `keep` 0, replace none. The caller has opened and locked `store`."""
    n_pruned = 0
    for name in filter(selection.in_shard, _surplus(root, keep) if keep else ()):
        made, record = store.placed("solve", name), store.read(name)
        trajectory, task = record.trajectory, record.outcome["task"]
        if made and trajectory["steps"] != NOTE and selection.matches(name, task):
            trajectory["steps"] = NOTE
            change = store.begin(name, record, ("trajectory",))
            # written before the record is put in place, as in run/write.py
            store.note(name, stage="solve", state="adopted", read=made.read,
                       settings=made.settings, **store.sync(change).line())
            change.place()
            n_pruned += 1
    return [f"      removed the messages of {plural(n_pruned, 'attempt')} at tasks that an agent "
            "always solves ([solve] keep)"]


def _surplus(root: Path, keep: int) -> Iterator[str]:
    """Yield the names of saturated attempts, except the `keep` with the fewest calls of each agent
    at each task."""
    for by_agent in attempts_in(root).values():
        for found in by_agent.values():
            if is_saturated([*found.values()]):
                yield from sorted(
                    found, key=lambda name: (found[name]["usage"]["calls"], natural(name)))[keep:]
