"""Run workers in threads until their work is done or the run is stopped."""
from __future__ import annotations

import gc
import re
import sys
import tempfile
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from codedata.disk.ledger import disk_trouble
from codedata.errors import (
    Interrupted,
    ItemFailed,
    RunStopped,
    Trouble,
    is_full_disk,
    start_thread,
)
from codedata.llm.client import Models
from codedata.llm.replies import ReplyLog
from codedata.run.talk import Step

MAX_ALIKE = 3       # stop if this many first items fail in the same way: a setting must be wrong
# matches only the status, since the body differs if it names the request
NO_REPLY = re.compile(r"HTTP (?:40[45]|(?:4|200 without).*)", re.DOTALL)


@dataclass(frozen=True)
class Engine:
    """Make items in this process. A cluster's engine has the same members."""

    n_workers: int                                # maximum number of items in flight
    make: Callable[[ReplyLog, Step, list], Any]   # makes an item, in the item's thread
    end: Callable[[], list[str]]                  # calls the stage's close() on each machine
    where: Callable[[], Counter[str]] = Counter   # items in flight by machine, if there are several
    close: Callable[[], object] = list            # stops the engine's processes


class WorkerPool:
    """Run workers in threads, and hold the reason why they were stopped."""

    def __init__(self, models: Models):
        self.stop_reason: Trouble | None = None
        self.is_interrupted = False   # set if a signal has stopped the run
        self._models = models
        self._alike = Counter()   # {HTTP status: number of failed items}
        self._lock = threading.Lock()

    def stop(self, reason: Trouble) -> None:
        """Start no further items and no new calls, and end commands in sandboxes. The first reason
        is kept, but any reason replaces an interruption."""
        with self._lock:
            if self.stop_reason is None or isinstance(self.stop_reason, Interrupted):
                self.stop_reason = reason
        self._models.stop.set()

    def interrupt(self) -> None:
        """Stop because of a signal."""
        self.is_interrupted = True
        self.stop(Interrupted())

    def note_failure(self, error: Trouble) -> None:
        """Stop if no model has answered yet and MAX_ALIKE items have failed with the same status.
        """
        how = NO_REPLY.search(error.what)
        if how and self._models.clients() and not self._models.http.has_answered:
            self._alike[how[0]] += 1
            if self._alike[how[0]] >= MAX_ALIKE:
                self.stop(RunStopped(f"the first items all failed alike: {error.what}",
                                     todo=error.todo, exit_code=2))

    def run(self, workers: Iterable[Callable[[], None]], show: Callable[[], None]) -> None:
        """Run each worker in its own thread until all threads have ended. Call show() regularly."""
        threads = []
        try:
            for worker in workers:
                threads.append(start_thread(worker))
        except RunStopped as e:   # let the workers that have started finish their items
            self.stop(e)
        for thread in threads:
            while thread.is_alive():
                thread.join(0.1)
                show()


@contextmanager
def tuned_interpreter() -> Iterator[None]:
    """Make garbage collections and thread switches rare within the block."""
    gc.freeze()   # exclude the plan's objects from collections, since they stay to the end
    thresholds, interval_s = gc.get_threshold(), sys.getswitchinterval()
    # collect rarely: later objects stay to the end, too, and few of them are in cycles
    gc.set_threshold(20_000, 50, 100)
    sys.setswitchinterval(0.05)   # seconds between thread switches
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(interval_s)


def trouble_of(work: Callable[[], None], print_line: Callable[[str], None]) -> Trouble | None:
    """Call work(); return the Trouble that it raised, or None. Let RunStopped pass, and raise it
    for a full disk. Print the traceback of any other exception, and return it as ItemFailed."""
    try:
        work()
    except RunStopped:
        raise
    except Trouble as e:
        return e
    except Exception as e:
        if is_full_disk(e):
            raise disk_trouble(e, e.filename or tempfile.gettempdir()) from e
        print_line(traceback.format_exc())
        return ItemFailed(f"{type(e).__name__}: {e}")
    return None
