"""Put a note in place of the messages of attempts that nobody will read: solve.py --prune.

An agent's attempts at a task are saturated if there are at least SATURATED and all are solved. The
`keep` shortest of them stay whole. The others keep their record, reward and patch, and stay done,
so that no run makes them again.
"""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from codedata.disk.store import Store
from codedata.errors import ItemFailed
from codedata.records import PRUNED, SOLVED, is_pruned
from codedata.run.states import Selection
from codedata.tasks.rates import attempts_in
from codedata.terminal import plural
from codedata.texts import natural

SATURATED = 8   # solved attempts at a task, without any other


def prune_saturated(root: Path, keep: int, store: Store, selection: Selection) -> list[str]:
    """Replace the messages of saturated attempts of all agents, except edited ones; return lines to
    print. With `keep` 0, replace none. The caller has opened and locked `store`."""
    n_pruned = n_bytes = 0
    for name in _surplus(root, keep) if keep else ():
        made, record = store.placed("solve", name), store.read(name)
        if not (made and selection.in_shard(name) and selection.matches(
                name, record.outcome["task"])) or is_pruned(record.trajectory):
            continue
        size = store.facts(name).size
        note = {"step_id": 1, "source": "system", "message": PRUNED}
        record.trajectory["steps"] = [note]
        try:
            change = store.begin(name, record, ("trajectory",))
        except ItemFailed:   # a user edits it at this moment
            continue
        known = store.sync(change)
        store.note(name, stage="solve", state="adopted", read=made.read, settings=made.settings,
                   **known.line())
        change.place()
        n_pruned += 1
        n_bytes += size - known.size
    if not keep:
        return []
    return [f"      removed the messages of {plural(n_pruned, 'attempt')} at tasks that an agent "
            f"always solves: {n_bytes / 1e6:,.1f} MB"]


def _surplus(root: Path, keep: int) -> Iterator[str]:
    """Yield the names of saturated attempts, except the `keep` with the fewest calls of each agent
    at each task."""
    for by_agent in attempts_in(root).values():
        for found in by_agent.values():
            if len(found) >= SATURATED and all(
                    one["status"] == SOLVED for one in found.values()):
                yield from sorted(
                    found, key=lambda name: (found[name]["usage"]["calls"], natural(name)))[keep:]
