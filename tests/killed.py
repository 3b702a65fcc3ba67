"""Kill a child of this process before any of its steps."""
import itertools
import os
import signal
from collections.abc import Callable


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

        plant(count)
        act()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL)
    return status != 0
