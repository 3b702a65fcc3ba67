"""End a run by signals: the first one winds it down, the second one ends it immediately."""
from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress

from codedata.terminal import say
from codedata.texts import terminal_safe


@contextmanager
def signals(stage: str, stop: Callable[[], None], print_line: Callable[[str], None] = say,
            outcome: Callable[[], str] = lambda: "what was written is kept"):
    """Call stop() at the first SIGINT or SIGTERM; at the second one, print the outcome so far and
    end the process immediately."""
    def wind_down() -> None:
        stop()
        print_line(f"{stage}  stopping: calls in flight finish and are kept, commands end "
                   "(again: end at once)")

    def first(*_) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, second)
        try:   # in a thread: the interrupted code may hold a lock or be printing
            threading.Thread(target=wind_down).start()
        except RuntimeError:   # no thread can be started
            second()

    def second(*_) -> None:
        text = terminal_safe(f"{stage}  ended at once: {outcome()}\n")
        with suppress(OSError):   # not say(): the interrupted code may be printing
            os.write(2, b"\x1b[?25h\n" if os.isatty(2) else b"")   # the bar hides the cursor
            os.write(2, text.encode(errors="replace"))
        os._exit(130)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.signal(number, first) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
