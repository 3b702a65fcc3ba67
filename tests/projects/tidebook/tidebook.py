"""Tide tables: heights by the hour of a day."""
from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

HOURS = range(24)


class TideError(Exception):
    """A table cannot be used."""


class GapError(TideError):
    """Hours are missing; `hours` says which."""

    def __init__(self, hours: list[int]):
        super().__init__(f"no height for {', '.join(map(str, hours))}")
        self.hours = hours


@dataclass
class Table:
    """Heights in metres by hour."""

    place: str
    heights: dict[int, float] = field(default_factory=dict)

    def add(self, hour: int, height: float, *, replace: bool = False) -> Table:
        """Set the height of an hour.

        Args:
            hour: of the day, from 0
            height: in metres above chart datum
            replace: whether an earlier height may go
        """
        if hour not in HOURS:
            raise ValueError(f"hour {hour} is not in 0-23")
        if hour in self.heights and not replace:
            raise KeyError(hour)
        self.heights[hour] = round(height, 2)
        return self

    @property
    def span(self) -> float:
        """How far the water rises."""
        if not self.heights:
            raise TideError(f"{self.place}: there are no heights, so no range either")
        return round(max(self.heights.values()) - min(self.heights.values()), 2)

    def peaks(self, count: int = 2) -> list[int]:
        ranked = sorted(self.heights, key=lambda hour: (-self.heights[hour], hour))
        return sorted(ranked[:count])

    def filled(self, step: int = 1) -> Iterator[tuple[int, float]]:
        """Yield (hour, height), with a straight line between the hours that are known."""
        known = sorted(self.heights)
        if len(known) < 2:
            raise GapError([hour for hour in HOURS if hour not in self.heights])
        for first, last in pairwise(known):
            slope = (self.heights[last] - self.heights[first]) / (last - first)
            for hour in range(first, last, step):
                yield hour, round(self.heights[first] + slope * (hour - first), 2)
        yield known[-1], self.heights[known[-1]]


def phase(before: float, now: float, /, tolerance: float = 0.05) -> str:
    """Tell "rising", "falling" or "slack"."""
    if abs(now - before) <= tolerance:
        return "slack"
    return "rising" if now > before else "falling"


def load(text: str, place: str = "", sep: str = "=", strict: bool = True) -> Table:
    """Read a table, a line an hour; `#` begins a comment."""
    table = Table(place)
    for line in text.splitlines():
        pair, _, _ = line.partition("#")
        if not pair.strip():
            continue
        hour, found, height = pair.partition(sep)
        if not found and strict:
            raise TideError(f"no {sep!r} in {line!r}")
        if found:
            table.add(int(hour), float(height), replace=not strict)
    return table


def dump(table: Table, *, indent: int | None = None) -> str:
    """Write a table as JSON."""
    rows = {str(hour): table.heights[hour] for hour in sorted(table.heights)}
    return json.dumps({"place": table.place, "heights": rows}, indent=indent)


async def gather(fetch: Callable[[str], Awaitable[str]], *places: str, **options) -> list[Table]:
    """Load the tables of places, one after the other."""
    tables = []
    for place in places:
        tables.append(load(await fetch(place), place, **options))
    return tables
