"""Limit the attempts that are open at once on a machine, by memory, and their busy work, by cores.

An attempt waits for its model nearly all the time, so many more are open than the cores could run.
Their containers stay idle meanwhile. Builds and gradings take turns. Commands of agents do not: if
they are long, set a lower [solve] workers.
"""
from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from codedata.errors import Interrupted
from codedata.run.talk import begin_step
from codedata.sandbox.sizes import bytes_of

MEMORY, CORE = "memory", "a core"
MEMINFO = Path("/proc/meminfo")
LOOK_S = 0.25              # seconds between two checks for room
UNMEASURED = 256 << 20     # bytes assumed for an idle attempt until one was measured
OVERHEAD = 16 << 20        # bytes of an attempt outside its container: shim, threads, sockets


class Room:
    """Hold the places of attempts in this process. In a cluster, each worker has its own.

    A build or grading runs for each core. One sandbox may use all of its `memory_request`; the rest
    of the memory is divided by the use of an idle attempt.
    """

    def __init__(self, memory_request: str, in_use: list[int], stop: threading.Event):
        self._margin = bytes_of(memory_request)
        self.in_use = in_use       # bytes that idle attempts were measured to use
        self._most = 0             # the most bytes that were available
        self._stop = stop
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    @property
    def bytes_each(self) -> int:
        """Return the bytes that an open attempt is expected to use."""
        return OVERHEAD + int(median(self.in_use)) if self.in_use else UNMEASURED

    def limit(self, what: str = MEMORY) -> int:
        """Return the number of places. While less than a memory_request is available, no more
        attempts are open than there are cores."""
        n_cores = os.cpu_count() or 1
        available = available_bytes()
        self._most = max(self._most, available)
        if what == CORE or available < self._margin:
            return n_cores
        return max(n_cores, (self._most - self._margin) // self.bytes_each)

    @contextmanager
    def place(self, what: str) -> Iterator[None]:
        """Wait for MEMORY for another attempt, or a CORE, and hold it in the block. Raise
        Interrupted if the run ends first."""
        begin_step(f"waiting for {what}")
        while not self._take(what):
            if self._stop.wait(LOOK_S):
                raise Interrupted()
        try:
            yield
        finally:
            with self._lock:
                self._taken[what] -= 1

    def _take(self, what: str) -> bool:
        with self._lock:
            if self._stop.is_set() or self._taken[what] >= self.limit(what):
                return False
            self._taken[what] += 1
        return True


def available_bytes() -> int:
    """Return the memory that new programs can use; without /proc, the machine's memory."""
    if not MEMINFO.exists():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(MEMINFO.read_text().partition("MemAvailable:")[2].split()[0]) << 10
