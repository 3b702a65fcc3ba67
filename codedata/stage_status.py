"""Gather the status of every stage of a root for status.py. Nothing is written.

A script that is called with --status within gathering() hands over the counts of its plan instead
of printing them. Costs, tokens and rates come from the ledgers.
"""
from __future__ import annotations

import heapq
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from codedata.llm.costs import Cost
from codedata.llm.reply_log import attempts_under
from codedata.progress import plural, usd

STATES_SHOWN = ("done", "stale", "edited", "failed", "orphan")   # columns even where all are 0
MADE = ("done", "failed", "excluded")   # in the ledger: an item that a run has worked on
NEWEST = 2000     # attempts of a stage from which its rate is taken
PAUSE_S = 60.0    # with nothing in flight: an earlier run has ended there
OTHERS = "others"

_gathered: ContextVar[list | None] = ContextVar("gathered", default=None)


@dataclass
class StageStatus:
    """Hold the status of one stage in one directory of a root."""

    stage: str                              # "refine judge"
    place: str                              # the directory that it writes: "score/_attempts/"
    counts: dict[str, int] = field(default_factory=dict)   # items by state
    n_todo: int = 0
    note: str = ""                          # what else there is to say
    n_calls: int = 0
    n_unpriced: int = 0                     # calls whose cost is unknown
    cost_usd: float = 0.0                   # of the others
    tokens_in: int = 0
    tokens_out: int = 0
    items_per_hour: float | None = None     # in its last run; None: not known
    hours_to_go: float | None = None


@dataclass(frozen=True)
class Gathered:
    """Hold what a script hands over: its status, and where its lines in ledgers are."""

    status: StageStatus
    key: str = ""                           # the stage's name there; "": it has no items
    directories: tuple[Path, ...] = ()


@contextmanager
def gathering() -> Iterator[list[Gathered]]:
    """Yield the list to which stages that are called with --status add themselves."""
    gathered: list[Gathered] = []
    token = _gathered.set(gathered)
    try:
        yield gathered
    finally:
        _gathered.reset(token)


def hand_over(status: Callable[[], Gathered]) -> bool:
    """Hand over a stage's status where statuses are gathered; return whether they are."""
    gathered = _gathered.get()
    if gathered is not None:
        gathered.append(status())
    return gathered is not None


class Usage:
    """Add up what a stage's attempts cost, and keep the times of the newest."""

    def __init__(self):
        self.cost = Cost("", "")
        self._newest: list[tuple[str, float]] = []   # a heap of (time of its end, seconds)

    def add(self, line: dict, calls: list[dict]) -> None:
        """Add an attempt's ledger line with its calls."""
        for call in calls:
            self.cost.add(call)
        at, seconds = line.get("at"), line.get("seconds", 0.0)
        if line.get("state") in MADE and isinstance(at, str) and isinstance(seconds, (int, float)):
            push = heapq.heappushpop if len(self._newest) == NEWEST else heapq.heappush
            push(self._newest, (at, seconds))

    def items_per_hour(self) -> float | None:
        """Return the rate of the last run, None where it is not known."""
        n = 0
        begin = last = None
        for at, seconds in sorted(self._newest, reverse=True):
            with suppress(ValueError):   # a time that somebody wrote
                end = datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp()
                last = end if last is None else last
                if n and end < begin - PAUSE_S:
                    break
                begin = min(end - seconds, begin or end)
                n += 1
        return 3600 * n / (last - begin) if n and last > begin else None


def with_usage(root: Path, gathered: list[Gathered]) -> list[StageStatus]:
    """Return the statuses with what their stages have used, and one for the calls of all others."""
    owners = {(directory, one.key): i for i, one in enumerate(gathered)
              for directory in one.directories}
    usage: dict[int, Usage] = defaultdict(Usage)
    for directory, line, calls in attempts_under(root):
        usage[owners.get((directory, str(line.get("stage"))), len(gathered))].add(line, calls)
    statuses = [*(one.status for one in gathered), StageStatus(OTHERS, "")]
    for i, used in usage.items():
        _fill(statuses[i], used)
    return statuses if statuses[-1].n_calls else statuses[:-1]


def _fill(status: StageStatus, used: Usage) -> None:
    cost = used.cost
    status.n_calls, status.n_unpriced = cost.calls, cost.n_unpriced
    status.cost_usd = round(cost.cost_usd, 8)
    status.tokens_in, status.tokens_out = cost.tokens_in, cost.tokens_out
    if status.stage != OTHERS:
        status.items_per_hour = used.items_per_hour()
    if status.n_todo and status.items_per_hour:
        status.hours_to_go = status.n_todo / status.items_per_hour


@dataclass(frozen=True)
class RootStatus:
    """Hold the status of a root: its stages, the disk, and the containers of this package."""

    root: str
    stages: list[StageStatus]
    root_bytes: int
    free_bytes: int
    containers: list[str]      # the labels of those that run, of any root; none without an engine

    @classmethod
    def of(cls, root: Path, gathered: list[Gathered], containers: list[str]) -> RootStatus:
        """Return the status of a root whose stages were gathered."""
        return cls(str(root), with_usage(root, gathered), _tree_bytes(root),
                   shutil.disk_usage(root).free, containers)

    def as_dict(self) -> dict:
        """Return it as a JSON object."""
        return asdict(self)

    def line(self) -> str:
        """Return it as one line: what is done of each stage, and the cost."""
        stages = ", ".join(f"{one.stage} {one.counts.get('done', 0)}"
                           f"{f' (to do {one.n_todo})' if one.n_todo else ''}"
                           for one in self.stages if one.place)
        return f"{stages}   ${sum(one.cost_usd for one in self.stages):.2f}"

    def table(self) -> str:
        """Return it as a table for the terminal."""
        others = {state for one in self.stages for state, n in one.counts.items() if n}
        states = [*STATES_SHOWN, *sorted(others - {*STATES_SHOWN})]
        head = ["stage", "writes", *states, "to do", "cost", "tokens", "an hour", "to go"]
        rows = [head, *(_cells(one, states) for one in self.stages)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) if i < 2 else cell.rjust(width) for i, (cell, width)
                           in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows]
        lines += [f"{one.stage}: {one.note}" for one in self.stages if one.note]
        if any(one.n_unpriced for one in self.stages):
            lines.append("?: calls without a price ([prices] in chain.toml)")
        lines.append(f"disk: {self.root}/ {_short(self.root_bytes)}B, "
                     f"{_short(self.free_bytes)}B free")
        if self.containers:
            lines.append(f"{plural(len(self.containers), 'container')}: "
                         f"{', '.join(self.containers)}")
        return "\n".join(lines)


def _cells(one: StageStatus, states: list[str]) -> list[str]:
    """Return a stage's row of the table; what is 0 or not known is a dot."""
    has_tokens = one.tokens_in or one.tokens_out
    tokens = f"{_short(one.tokens_in)} + {_short(one.tokens_out)}" if has_tokens else ""
    priced = [usd(one.cost_usd)] if one.n_calls > one.n_unpriced else []
    cost = " + ".join([*priced, "?"] if one.n_unpriced else priced)
    rate = f"{one.items_per_hour:,.0f}" if one.items_per_hour else ""
    hours = one.hours_to_go or 0
    to_go = f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"
    cells = [*(f"{one.counts[state]:,}" if one.counts.get(state) else "" for state in states),
             f"{one.n_todo:,}" if one.n_todo else "", cost, tokens, rate, to_go if hours else ""]
    return [one.stage, one.place or "·", *(cell or "·" for cell in cells)]


def _short(n: int) -> str:
    """Return an amount as 950, 12k, 3.4M or 75G."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if n >= factor:
            return f"{n / factor:.1f}{unit}" if n < 10 * factor else f"{n / factor:.0f}{unit}"
    return str(n)


def _tree_bytes(folder: Path) -> int:
    """Return the disk space below a folder; what goes away meanwhile counts nothing."""
    n_bytes = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                n_bytes += _tree_bytes(entry.path)
            else:
                with suppress(OSError):
                    n_bytes += entry.stat(follow_symlinks=False).st_blocks * 512
    return n_bytes
