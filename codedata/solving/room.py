"""Limit the attempts that are open at once on a machine, by memory, and their busy work, by cores.

An attempt waits for its model nearly all the time, so many more are open than the cores could run.
Their containers stay idle meanwhile. Builds and gradings take turns. Commands of agents do not: if
they are long, set a lower [solve] workers.
"""
from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from statistics import fmean

from codedata.errors import Interrupted
from codedata.run.talk import begin_step
from codedata.sandbox.sizes import bytes_of

LOOK_S = 0.25              # seconds between two checks for room
UNMEASURED = 256 << 20     # bytes assumed for an idle attempt until one was measured
OVERHEAD = 32 << 20        # bytes of an attempt outside its container: shim, threads, sockets


class Room:
    """Hold what the attempts of this process take. In a cluster, each worker has its own.

    `n_busy` builds and gradings run at once; with 0, one for each core. One sandbox may use all of
    its `memory_request`; the rest of the memory is divided by the use of an idle attempt.
    """

    def __init__(self, n_busy: int, memory_request: str, in_use: list[int], stop: threading.Event):
        self.in_use = in_use       # bytes that idle attempts were measured to use
        self._given = n_busy
        self._margin = bytes_of(memory_request)
        self._stop = stop
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    @cached_property
    def _at_first(self) -> int:
        return available_bytes()

    @property
    def _n_busy(self) -> int:
        return self._given or os.cpu_count() or 1

    @property
    def bytes_each(self) -> int:
        """Return the bytes that an open attempt is expected to use."""
        return OVERHEAD + int(fmean(self.in_use)) if self.in_use else UNMEASURED

    def note(self, memory_bytes: int) -> None:
        """Note the memory that an idle attempt uses; ignore 0."""
        self.in_use += [memory_bytes] * bool(memory_bytes)

    def n_open(self) -> int:
        """Return the number of attempts that fit into the memory."""
        return max(self._n_busy, (self._at_first - self._margin) // self.bytes_each)

    def _n_open_now(self) -> int:
        """Return n_open(), or only n_busy while the memory is used up."""
        return self.n_open() if available_bytes() >= self._margin else self._n_busy

    def to_open(self) -> AbstractContextManager:
        """Wait until another attempt fits into the memory; hold its place in the block."""
        return self._place("memory", self._n_open_now)

    def to_work(self) -> AbstractContextManager:
        """Wait for cores, and hold them in the block."""
        return self._place("a core", lambda: self._n_busy)

    @contextmanager
    def _place(self, what: str, limit: Callable[[], int]) -> Iterator[None]:
        """Hold one of limit() places in the block. Raise Interrupted if the run ends first."""
        while not self._take(what, limit):
            begin_step(f"waiting for {what}")
            if self._stop.wait(LOOK_S):
                raise Interrupted()
        try:
            yield
        finally:
            with self._lock:
                self._taken[what] -= 1

    def _take(self, what: str, limit: Callable[[], int]) -> bool:
        with self._lock:
            is_free = self._taken[what] < limit()
            self._taken[what] += is_free
        return is_free


def available_bytes() -> int:
    """Return the memory that new programs can use; without /proc, the machine's memory."""
    with suppress(OSError):
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
        return int(text.partition("MemAvailable:")[2].split()[0]) << 10
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
