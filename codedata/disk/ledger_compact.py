"""Shorten ledgers: keep the newest line of each stage and item, and add up the costs of the removed
lines in one line (state `summed`).

Each file has its own sum, so that a kill between two files changes no total. An item with kept
replies keeps all of its lines, because their call ids show which replies are already counted.
"""
from __future__ import annotations

from itertools import chain
from pathlib import Path

from codedata.disk.layouts import write_atomic
from codedata.disk.ledger import (
    AMOUNTS,
    LEDGER,
    PARTIAL,
    calls_of,
    in_time,
    is_sound,
    read_lines,
    to_line,
)


def compact(directories: list[Path]) -> tuple[int, int]:
    """Shorten the ledgers of directories; return the numbers of lines before and after.

    The caller must hold the lock of each whole directory, or lines that another process appends
    would be lost. Raise RunStopped if the disk is full.
    """
    by_path = {d / LEDGER: list(read_lines(d / LEDGER)) for d in directories}
    in_partial = {path.stem for d in directories for path in (d / PARTIAL).glob("*.jsonl")}
    lines = list(in_time(by_path.values()))
    staying = _newest(lines, in_partial)
    n_after = 0
    for path, its_lines in by_path.items():
        stay = [line for line in its_lines if id(line) in staying]
        dropped = [line for line in its_lines if id(line) not in staying]
        if sums := _sum_by_model(dropped):
            stay.insert(0, {"stage": "", "item": "", "state": "summed", "earlier": sums})
        if dropped:
            write_atomic(path, b"".join(map(to_line, stay)))
        n_after += len(stay)
    return len(lines), n_after


def _newest(lines: list[dict], with_replies: set[str]) -> set[int]:
    """Return the id() of each line to keep."""
    by_item = {}
    staying = []
    for line in lines:
        if not is_sound(line):   # keep an invalid line unchanged, for its calls
            staying.append(line)
        elif line.get("state") != "summed":
            item = line["item"]
            older = by_item.get(item, [])
            if item not in with_replies:
                older = [old for old in older if not _is_outdated(old, line)]
            by_item[item] = older
            older.append(line)
    return {id(line) for line in chain(staying, *by_item.values())}


def _is_outdated(old: dict, new: dict) -> bool:
    """Return whether the line `old` is not needed any more after the line `new` of its item."""
    if new.get("state") == "pruned":   # drop older lines of all stages: the record is gone
        return True
    # keep the line of another stage, or the line that names a user's edit
    if old["stage"] != new["stage"] or old.get("found"):
        return False
    if new.get("state") == "excluded":   # keep the older line if its record is still on disk
        return old.get("state") not in ("done", "adopted")
    # after a failure, keep the line of the record that is still on disk
    return new.get("state") != "failed" or old.get("state") == "failed"


def _sum_by_model(lines: list[dict]) -> list[dict]:
    """Return one sum of the lines' calls for each model, with the number of calls `n`.

    Calls without a price are summed separately; a sum that includes an unknown amount is None.
    """
    sums = {}   # by model, and whether the price is known
    for call in (call for line in lines for call in calls_of(line)):
        key = call["model"], call.get("cost_usd") is not None
        total = sums.setdefault(key, {"model": call["model"], "n": 0})
        total["n"] += call.get("n", 1)
        for amount in AMOUNTS:
            added = total.get(amount, 0), call.get(amount, 0)
            total[amount] = None if None in added else sum(added)
    return list(sums.values())
