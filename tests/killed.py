"""Kill a child of this process before any of its steps."""
import itertools
import os
import signal
import sys
from collections.abc import Callable, Collection
from contextlib import suppress


def is_killed_at(step: int, act: Callable[[], object], plant: Callable) -> bool:
    """Act in a child that is killed before its step number `step`; return whether it was.

    plant(count) has count() called before each step.
    """
    child = os.fork()
    if child == 0:
        left = itertools.count(step, -1)

        def count() -> None:
            if next(left) <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

        with suppress(Exception):   # else the child would go on as pytest
            plant(count)
            act()
            os._exit(0)
        os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL)
    return status != 0


def at_events(events: Collection[str]) -> Callable:
    """Return a plant() for the steps that are these audit events."""
    return lambda count: sys.addaudithook(lambda event, _: event in events and count())
