"""What a person sees of a run: the plan, a bar with rate, failures, cost and time to go, and the outcome.

All of it goes to stderr. Where stderr is no terminal there is no bar: a plain line every now and then. Whatever stands
in a line, no control character reaches the terminal.
"""
from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field

from codedata.errors import Trouble
from codedata.texts import printable, terminal_safe

REDRAW_EVERY_S = 0.25
PLAIN_EVERY_S = 15.0
NAMED = 3   # items of one kind that a line names


def say(text: str) -> None:
    """Print a line on stderr. Where nobody reads it (a closed pipe), go on in silence: the answers are paid for."""
    text = terminal_safe(text)
    try:
        print(text, file=sys.stderr, flush=True)
    except UnicodeEncodeError:
        print(text.encode("ascii", "replace").decode(), file=sys.stderr, flush=True)
    except (OSError, ValueError):
        _go_silent()


def _go_silent() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)   # the interpreter flushes stderr once more at its end


def usd(cost: float) -> str:
    """Return an amount as "$1.23", with four decimals below one dollar."""
    return f"${cost:.2f}" if cost >= 1 or not cost else f"${cost:.4f}"


def money(cost_usd: float, n_unpriced: int, n_calls: int) -> str:
    """Return the cost of calls in words. An unknown cost is said to be unknown, never shown as 0."""
    if not n_unpriced:
        return usd(cost_usd)
    if n_unpriced == n_calls:
        return "cost unknown (no price)"
    return f"{usd(cost_usd)} + {plural(n_unpriced, 'call')} without a price"


def plural(n: int, noun: str) -> str:
    """Return "1 turn" or "2,000 turns"."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def named(names: list[str], at_most: int = NAMED) -> str:
    """Return the first names of a list and how many more there are."""
    rest = len(names) - at_most
    return ", ".join(printable(name, 300) for name in names[:at_most]) + (f" and {rest} more" if rest > 0 else "")


def table(columns: list[str], rows: list[list[str]], align: str) -> str:
    """Return a Markdown table; characters of the cells that Markdown would read are escaped."""
    def line(cells):
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
    return "\n".join([line(columns), "|" + "|".join("---:" if a == "r" else "---" for a in align) + "|",
                      *map(line, rows)])


def _per_time(rate: float) -> str:
    """Items a second, in a unit in which that is no 0."""
    return f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.0f}/min" if rate * 60 >= 2 else f"{rate * 3600:.0f}/h"


@dataclass
class RunTotals:
    """Count what a run has come to, as it goes."""

    wrote: int = 0
    refreshed: int = 0                 # written again without a call: only a copied field had changed
    failed: dict[str, Trouble] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    calls: int = 0
    served: int = 0                    # replies that an earlier, unfinished run had paid for
    unpriced: int = 0
    cost_usd: float = 0.0
    cut: int = 0
    excluded: int = 0                  # by a rule that the item function found
    asked_again: int = 0               # items whose answer was refused and asked for once more
    again_calls: int = 0               # how often, in all

    def add_calls(self, calls) -> None:
        """Add the calls of a finished item, with their cost where it is known."""
        for call in calls:
            self.calls += 1
            if call["cost_usd"] is None:
                self.unpriced += 1
            else:
                self.cost_usd += call["cost_usd"]

    @property
    def finished(self) -> int:
        """Return the number of items that need no more work in this run."""
        return self.wrote + self.refreshed + self.excluded + len(self.failed) + len(self.broken)

    def money(self) -> str:
        """Return the cost of all calls so far, in words."""
        return money(self.cost_usd, self.unpriced, self.calls)


class Bar:
    """Progress of one run. update() is cheap and called often, by one thread."""

    def __init__(self, stage: str, total: int, quiet: bool = False):
        self.stage, self.total, self.quiet = stage, total, quiet
        self._rich, self._task = None, None
        self._started = self._said = time.monotonic()
        if not quiet and total and sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console  # 60 ms of import that a plain run does not need
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
            from rich.table import Column
            note = TextColumn("{task.fields[note]}", markup=False,
                              table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1))
            self._rich = Progress(TextColumn("{task.description}"), MofNCompleteColumn(), BarColumn(bar_width=20), note,
                                  TimeRemainingColumn(), transient=True, expand=True, console=Console(stderr=True),
                                  auto_refresh=False)   # by update(): a thread of its own may be one too many
            self._task = self._rich.add_task(stage, total=total, note="")
            self._rich.start()

    def update(self, outcome: RunTotals, in_flight: int, doing: dict[str, str] | None = None) -> None:
        """`doing`: what items are at, by their names, where that takes minutes."""
        if self.quiet or not self.total:
            return
        now = time.monotonic()
        rate = outcome.finished / max(now - self._started, 1e-9)
        note = f"{_per_time(rate)}  " if rate else ""
        note += ", ".join(f"{name}: {what}" for name, what in [*doing.items()][:NAMED]) + "  " if doing else (
            f"{in_flight} under way  ")
        note += f"{len(outcome.failed)} failed  " if outcome.failed else ""
        note += outcome.money() if outcome.calls else ""
        if self._rich and now - self._said >= REDRAW_EVERY_S:
            self._said = now
            self._rich.update(self._task, completed=outcome.finished, note=printable(note), refresh=True)
        elif not self._rich and now - self._said >= PLAIN_EVERY_S:
            self._said = now
            left_s = (self.total - outcome.finished) / rate if rate else 0
            eta = f"  about {left_s / 60:.0f} min to go" if left_s >= 90 else f"  about {left_s:.0f} s to go"
            say(f"{self.stage}  {outcome.finished}/{self.total}  {note}{eta if left_s else ''}")

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self._rich:
            self._rich.console.print(terminal_safe(text), markup=False, highlight=False, soft_wrap=True)
        else:
            say(text)

    def close(self) -> None:
        """Take the bar away."""
        if self._rich:
            self._rich.stop()
