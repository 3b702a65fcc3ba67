"""Shorten ledgers to the newest line of each stage and item; what the rest cost is summed up.

The sum is a line of its own in the same file (state `summed`), so that a kill between two files
changes nothing. Items with kept replies are left as they are: the ids in their lines tell which
replies are paid for.
"""
from __future__ import annotations

import os
from pathlib import Path

from codedata.ledger import (
    LEDGER,
    NOTHING,
    PARTIAL,
    calls_of,
    disk_trouble,
    in_time,
    is_sound,
    merged_digests,
    read_lines,
    to_line,
)

TOKENS = ("tokens_in", "tokens_out", "tokens_cached", "seconds")
MADE = ("done", "adopted")   # states after which a record is on disk


class _Line:
    """A line of a ledger: its place in time, its file and its content."""

    def __init__(self, path: Path, content: dict):
        self.number, self.path, self.content = 0, path, content

    def get(self, key: str, default=None):
        return self.content.get(key, default)


def compact(directories: list[Path]) -> tuple[int, int]:
    """Shorten the ledgers of directories; return the numbers of lines before and after.

    The caller holds the whole directory's lock: a process that went on appending to the old file
    would lose its lines. Raise RunStopped if the disk is full.
    """
    paths = [Path(directory) / LEDGER for directory in directories]
    kept_replies = {path.stem for d in directories for path in (Path(d) / PARTIAL).glob("*.jsonl")}
    lines = list(in_time([_lines_of(path) for path in paths]))
    for number, line in enumerate(lines):
        line.number = number
    kept, digests = _newest(lines, kept_replies)
    _move_lost_edits(kept, digests)
    n_after = 0
    for path in paths:
        n_after += _rewrite(path, [line for line in lines if line.path == path], kept)
    return len(lines), n_after


def _lines_of(path: Path):
    return (_Line(path, content) for content in read_lines(path))


def _newest(lines: list[_Line], kept_replies: set[str]) -> tuple[list[_Line], dict[str, dict]]:
    """Return the lines that stay, in time, and {item: digests of its record's fields}."""
    kept: list[_Line] = []
    by_item: dict[str, dict[str, list[_Line]]] = {}   # then by stage
    digests: dict[str, dict[str, str]] = {}
    for line in lines:
        if not is_sound(line.content):   # only its calls are ever read: it stays as it is
            kept.append(line)
            continue
        stage, item, state = line.get("stage"), line.get("item"), line.get("state")
        if state == "summed":
            continue
        by_stage = by_item.setdefault(item, {})
        if state == "pruned":
            digests.pop(item, None)
        if item not in kept_replies:
            _drop_outdated(state, stage, by_stage)
        if state in MADE:
            digests[item] = merged_digests(digests.get(item, NOTHING), line.content)
        by_stage.setdefault(stage, []).append(line)
    kept += [line for by_stage in by_item.values() for ls in by_stage.values() for line in ls]
    return sorted(kept, key=lambda line: line.number), digests


def _drop_outdated(state: str, stage: str, by_stage: dict[str, list[_Line]]) -> None:
    """Remove the lines that a new one of an item makes superfluous."""
    if state == "pruned":   # the earlier lines of the item, of whatever stage, are history
        by_stage.clear()
    elif state == "failed":   # the line of the record that is still there stays below it
        lines = by_stage.get(stage, [])
        by_stage[stage] = [line for line in lines if line.get("state") != "failed"]
    else:
        by_stage.pop(stage, None)


def _move_lost_edits(kept: list[_Line], digests: dict[str, dict[str, str]]) -> None:
    """Note an edit that only a dropped line had found in the item's newest line."""
    made = [line for line in kept if is_sound(line.content) and line.get("state") in MADE]
    after: dict[str, dict[str, str]] = {}
    newest: dict[str, _Line] = {}
    for line in made:
        item = line.get("item")
        after[item] = merged_digests(after.get(item, NOTHING), line.content)
        newest[item] = line
    for item, line in newest.items():
        then, now = after[item], digests.get(item, NOTHING)
        lost = {f: now.get(f, "") for f in {*then, *now} if then.get(f) != now.get(f)}
        if lost:
            line.content["found"] = {**(line.get("found") or {}), **lost}


def _rewrite(path: Path, lines: list[_Line], kept: list[_Line]) -> int:
    """Write the kept lines of a file, if any is dropped; return their number with the sum's."""
    stay = [line.content for line in kept if line.path == path]
    staying = {line.number for line in kept}
    dropped = [line.content for line in lines if line.number not in staying]
    sums = _sum_by_model(dropped)
    if sums:
        stay.insert(0, {"stage": "", "item": "", "state": "summed", "earlier": sums})
    if dropped:
        _write(path, stay)
    return len(stay)


def _write(path: Path, lines: list[dict]) -> None:
    tmp = path.with_name("_tmp." + path.name)
    try:
        with open(tmp, "wb") as file:
            file.writelines(map(to_line, lines))
            file.flush()
            os.fsync(file.fileno())
        os.replace(tmp, path)
    except OSError as e:
        tmp.unlink(missing_ok=True)
        raise disk_trouble(e, path) from e


def _sum_by_model(lines: list[dict]) -> list[dict]:
    """Return the sums of the calls of lines by model, each with `n`.

    Calls without a price make a sum of their own; a sum with an unknown amount is None.
    """
    sums: dict[tuple, dict] = {}
    for call in (call for line in lines for call in calls_of(line)):
        has_price = call.get("cost_usd") is not None
        total = sums.setdefault((call["model"], has_price), {"model": call["model"], "n": 0})
        total["n"] += call.get("n", 1)
        for key in ("cost_usd", *TOKENS):
            total[key] = _added(total.get(key, 0), call.get(key, 0))
    return list(sums.values())


def _added(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
