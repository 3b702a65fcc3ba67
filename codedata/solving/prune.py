"""Replace the messages of attempts at tasks that are always solved: solve.py --prune.

Of an agent's attempts at such a task, `keep` stay whole. Attempts that end in a check are kept
first, then attempts with few calls. The others keep their record, reward and patch, and stay done,
so that no run makes them again.
"""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from codedata.disk.store import Store, known
from codedata.records import PRUNED_STEPS, Attempt
from codedata.run.states import Selection
from codedata.tasks.rates import attempts_in, is_saturated
from codedata.terminal import plural


def prune_saturated(root: Path, keep: int, is_checked: Callable[[Attempt], bool], store: Store,
                    selection: Selection, read_only: bool) -> list[str]:
    """Replace the messages of saturated attempts of all agents, except edited ones; return a line
    to print. With `keep` 0, replace none; with `read_only`, only count them. The caller has opened
    and locked `store`. `is_checked` returns whether an attempt ends in a check."""
    surplus = []
    for by_agent in attempts_in(root).values():
        for found in by_agent.values():
            if keep and is_saturated([*found.values()]):
                ranks = {name: (not is_checked(record), record.outcome["usage"]["calls"])
                         for name in found if (record := known(store, name))
                         and record.trajectory["steps"] != PRUNED_STEPS}
                surplus += sorted(ranks, key=ranks.get)[keep:]
    n_pruned = 0
    for name in filter(selection.in_shard, surplus):
        made, record = store.placed("solve", name), store.read(name)
        if made and selection.matches(name, record.outcome["task"]):
            n_pruned += 1
            if read_only:
                continue
            record.trajectory["steps"] = PRUNED_STEPS
            change = store.begin(name, record, ("trajectory",))
            # written before the record is put in place, as in run/write.py
            store.note(name, stage="solve", state="adopted", read=made.read,
                       settings=made.settings, **store.sync(change).line())
            change.place()
    return [f"      {'would remove' if read_only else 'removed'} the messages of "
            f"{plural(n_pruned, 'attempt')} at tasks that an agent always solves ([solve] keep)"]
