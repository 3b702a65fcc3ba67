"""Replace the messages of attempts at tasks that are always solved: solve.py --prune.

Of an agent's attempts at such a task, `keep` stay whole. Attempts that end in a check are kept
first, then attempts with few calls. The others keep their record, reward and patch, and stay done,
so that no run makes them again.
"""
from __future__ import annotations

from pathlib import Path

from codedata.disk.store import Store, known
from codedata.records import PRUNED_STEPS
from codedata.run.states import Selection
from codedata.tasks.rates import attempts_in, is_saturated
from codedata.terminal import plural


def prune_saturated(root: Path, keep: int, store: Store, selection: Selection, read_only: bool
                    ) -> list[str]:
    """Replace the messages of saturated attempts of all agents, except edited ones; return a line
    to print. With `keep` 0, replace none; with `read_only`, only count them. The caller has opened
    and locked `store`."""
    surplus = []
    for by_agent in attempts_in(root).values():
        for found in by_agent.values():
            if keep and is_saturated([*found.values()]):
                whole = [name for name in found if (record := known(store, name))
                         and record.trajectory["steps"] != PRUNED_STEPS]
                surplus += sorted(whole, key=lambda name, found=found: (
                    not found[name].get("checked"), found[name]["usage"]["calls"]))[keep:]
    n_pruned = 0
    for name in filter(selection.in_shard, surplus):
        made, record = store.placed("solve", name), store.read(name)
        if made and selection.matches(name, record.outcome["task"]):
            n_pruned += 1
            if read_only:
                continue
            record.trajectory["steps"] = PRUNED_STEPS
            state = store.put(name, record, ("trajectory",))
            # a kill before this line leaves an edited attempt, which no run makes again
            store.note(name, stage="solve", state="adopted", read=made.read,
                       settings=made.settings, **state.line())
    return [f"      {'would remove' if read_only else 'removed'} the messages of "
            f"{plural(n_pruned, 'attempt')} at tasks that an agent always solves ([solve] keep)"]
