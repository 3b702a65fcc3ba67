"""Show a run on the terminal: the plan, a bar with rate, failures, cost and time to go, and the
outcome.

Everything goes to stderr, without control characters of untrusted texts. If stderr is not a
terminal, plain lines replace the bar: one every 15 seconds if anything but the time has changed,
else one every half minute.
"""
from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import starmap
from types import MappingProxyType

from codedata.errors import Trouble
from codedata.terminal import NAMED, Spending, duration, log, named, plural, say
from codedata.texts import natural, printable, terminal_safe

REDRAW_EVERY_S = 0.25
PLAIN_EVERY_S = 15.0
SILENT_S = 30.0   # maximum time between plain lines, even if nothing has changed
ROWS = 8    # maximum number of items listed below a bar


def _per_time(rate: float) -> str:
    """Return a rate (items per second) as text, in a unit that does not round it to 0."""
    if rate >= 1:
        return f"{rate:.1f}/s"
    return f"{rate * 60:.0f}/min" if rate * 60 >= 2 else f"{rate * 3600:.0f}/h"


def print_reasons(reasons: list[str]) -> None:
    """Print the five most frequent reasons why items are left out."""
    for reason, k in Counter(reasons).most_common(5):
        say(f"      left out: {k} ({_first_line(reason, 160)})")


def _first_line(text: str, max_chars: int = 120) -> str:
    return printable(text.partition("\n")[0], max_chars)


def plan_line(plan, reads: str, writes: str) -> str:
    """Return a Plan as one line: input, output, the number of items by state."""
    parts = []
    for state, names in plan.names.items():
        if not names:
            continue
        note = ""
        if state == "edited":
            also_stale = f", {plan.n_edited_stale} also stale" if plan.n_edited_stale else ""
            note = f" (kept{also_stale})"
        parts.append(f"{state} {len(names)}{note}")
    if plan.n_other_settings:
        parts.append(f"made with other settings {plan.n_other_settings}")
    counts = ", ".join(parts) or "nothing there"
    return f"{reads} {plan.n_read} → {writes}   {counts}   to do {len(plan.todo)}"


@dataclass
class RunTotals:
    """Count the results of a run as it goes."""

    wrote: int = 0
    refreshed: int = 0                 # rewritten without a call: only copied fields changed
    failed: dict[str, Trouble] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)   # items with a record that cannot be read
    spent: Spending = field(default_factory=Spending)
    served: int = 0                    # replies paid for by an earlier, unfinished run
    cut: int = 0                       # items with a request that was cut to fit
    excluded: Counter[str] = field(default_factory=Counter)   # by rule of the item function
    asked_again: int = 0               # items whose answer was refused and requested again
    again_calls: int = 0               # number of these further requests

    def add(self, paid: list[dict], log) -> None:
        """Add the calls of a finished item; `log` is its reply log."""
        for call in paid:
            self.spent.add(call)
        self.served += log.served
        self.cut += int(bool(log.cuts))
        again = log.notes.get("asked_again", 0)
        self.asked_again += int(bool(again))
        self.again_calls += again

    @property
    def finished(self) -> int:
        """Return the number of items that need no more work in this run."""
        return self.wrote + self.refreshed + self.excluded.total() + (
            len(self.failed) + len(self.broken))

    def failures(self) -> list[tuple[str, Trouble]]:
        """Return the failed items with their errors, in natural order."""
        return sorted(self.failed.items(), key=lambda item: natural(item[0]))


def summary_line(totals: RunTotals, n_todo: int) -> str:
    """Return the outcome of a run as one line."""
    n_left = n_todo - totals.finished
    again = f"{totals.asked_again} ({plural(totals.again_calls, 'call')})"
    rules = named([f"{n} ({_first_line(rule)})" for rule, n in totals.excluded.most_common()])
    parts = [
        (n_todo, f"wrote {totals.wrote}"),
        (not n_todo, "nothing to do"),
        (totals.refreshed, f"brought {totals.refreshed} up to date without a call"),
        (totals.served, f"{plural(totals.served, 'answer')} kept from an earlier attempt"),
        (totals.cut, f"{plural(totals.cut, 'request')} cut to fit"),
        (totals.asked_again, f"asked again {again}"),
        (totals.excluded, f"left out {totals.excluded.total()} by a rule: {rules}"),
        (n_left, f"left {n_left}"),
        (totals.failed, f"failed {len(totals.failed)}: {_failures_text(totals.failures())}"),
    ]
    line = ", ".join(text for is_shown, text in parts if is_shown)
    return f"{line}   {totals.spent}" if totals.spent.n_calls else line


def _failures_text(failures: list[tuple[str, Trouble]]) -> str:
    """Return the names of failed items, each with its reason, or all with their common reason."""
    reasons = {_first_line(error.what) for _, error in failures}
    if len(reasons) == 1:
        return f"{named([name for name, _ in failures])} ({reasons.pop()})"
    return named([f"{name} ({_first_line(error.what)})" for name, error in failures])


# the current step of an item ----------------------------------------------------------------------

@dataclass
class Step:
    """Hold the current step of an item, set by the code that does it and shown by the bar."""

    within: str = ""   # the activity, such as "python recipe"
    name: str = ""     # "3/6 tests without network"
    count: str = ""    # progress of the step: "43 of 99"
    began: float = field(default_factory=time.monotonic)

    def follow(self, other: Step) -> None:
        """Copy another process's step."""
        if other.name != self.name:
            self.began = time.monotonic()
        self.within, self.name, self.count = other.within, other.name, other.count

    def __str__(self) -> str:
        within = f"{self.within}: " if self.within and self.name else self.within
        return within + ", ".join(filter(None, (self.name, self.count)))


_current: ContextVar[Step | None] = ContextVar("step", default=None)


@contextmanager
def showing(step: Step) -> Iterator[None]:
    """Make `step` this thread's current step within the block."""
    token = _current.set(step)
    try:
        yield
    finally:
        _current.reset(token)


def current_step() -> Step:
    """Return the current item's step, or outside an item a step that is not shown."""
    return _current.get() or Step()


def begin_step(name: str, number: int = 0, total: int = 0) -> None:
    """Note that a step of the current item begins: its name and, if known, its number and the
    total."""
    step = current_step()
    step.name = f"{number}/{total} {name}" if total else name
    step.count, step.began = "", time.monotonic()


def _row(name: str, step: Step) -> str:
    """Return a row with an item's step, the time since it began, and the item's name (last, as it
    may be long)."""
    return printable(f"{step}, {duration(time.monotonic() - step.began)} ({name})")


class Bar:
    """Show the progress of one run. update() is cheap and called often, by one thread."""

    def __init__(self, stage: str, total: int, quiet: bool = False, above: Bar | None = None):
        """Start a bar, below the bar `above` if given."""
        self.stage, self.total, self.quiet = stage, total, quiet
        self._rich = None
        self._task = None
        self._started = time.monotonic()
        self._updated = self._started
        self._last = None     # the last plain line without times
        if above and above._rich:
            self._rich = above._rich
            self._task = self._rich.add_task(stage, total=total, note="", time="", rows=[])
        elif not quiet and total and sys.stderr is not None and sys.stderr.isatty():
            self._start_rich()

    def _start_rich(self) -> None:
        from rich.console import Console  # this import takes 60 ms, which a plain run saves
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.table import Column
        from rich.text import Text

        class WithRows(Progress):
            """Show the items in flight below the bars."""

            def get_renderables(self):
                yield self.make_tasks_table(self.tasks)
                for task in self.tasks:
                    for row in task.fields["rows"]:
                        yield Text(f"      {row}", no_wrap=True, overflow="ellipsis")

        note = TextColumn("{task.fields[note]}", markup=False,
                          table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1))
        # no auto_refresh: it would need another thread
        self._rich = WithRows(
            TextColumn("{task.description}"), MofNCompleteColumn(), BarColumn(bar_width=20), note,
            TextColumn("{task.fields[time]}"), transient=True, expand=True,
            console=Console(stderr=True), auto_refresh=False)
        self._task = self._rich.add_task(self.stage, total=self.total, note="", time="", rows=[])
        self._rich.start()

    def update(self, totals: RunTotals, n_in_flight: int, steps: Mapping[str, Step] | None = None,
               n_replies: int = 0, where: Mapping[str, int] = MappingProxyType({}),
               more: Iterable[Callable[[], str]] = ()) -> None:
        """Show the totals, the current steps of items, and the texts that `more` return.
        `n_replies` is the number of replies for items in flight, `where` the number of items by
        machine."""
        now = time.monotonic()
        every_s = REDRAW_EVERY_S if self._rich else PLAIN_EVERY_S
        if self.quiet or not self.total or now - self._updated < every_s:
            return
        steps = {name: step for name, step in (steps or {}).items() if str(step)}
        notes = [text for is_shown, text in (
            (True, f"{n_in_flight} in flight"), (totals.failed, f"{len(totals.failed)} failed"),
            (totals.again_calls, f"asked again {totals.again_calls}"),
            (totals.spent.n_calls, str(totals.spent)),
            (n_replies, f"{plural(n_replies, 'answer')} for these"),
            (where, ", ".join(f"{machine} {n}" for machine, n in sorted(where.items()))),
        ) if is_shown] + [*filter(None, (text() for text in more))]
        shown = totals.finished, notes, {name: str(step) for name, step in steps.items()}
        if not self._rich and shown == self._last and now - self._updated < SILENT_S:
            return
        self._last, self._updated = shown, now
        rate = totals.finished / max(now - self._started, 1e-9)
        note = "  ".join([_per_time(rate)] * bool(rate) + notes)
        to_go = _time_to_go((self.total - totals.finished) / rate) if rate else ""
        times = ", ".join(filter(None, (duration(now - self._started), to_go)))
        if self._rich:
            self._rich.update(self._task, completed=totals.finished, total=self.total, time=times,
                              note=printable(note), rows=[*starmap(_row, steps.items())][:ROWS],
                              refresh=True)
        else:   # list the items whose steps began last
            newest = sorted(steps.items(), key=lambda item: -item[1].began)[:NAMED]
            say("  ".join([self.stage, f"{totals.finished}/{self.total} in {times}", note,
                           *starmap(_row, newest)]))

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self._rich:
            log.info(text)
            self._rich.console.print(terminal_safe(text), markup=False, highlight=False,
                                     soft_wrap=True)
        else:
            say(text)

    def close(self) -> None:
        """Remove the bar."""
        if self._rich:
            self._rich.stop()


def _time_to_go(seconds: float) -> str:
    """Return the remaining time in words; "" at the end of the run."""
    if not seconds:
        return ""
    if seconds >= 90:
        return f"about {seconds / 60:.0f} min to go"
    return f"about {seconds:.0f} s to go"
