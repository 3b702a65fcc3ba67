"""Define the errors of expected problems. Each holds the problem, its place and the remedy, and is
printed without a traceback; any other exception is a bug.
"""
from __future__ import annotations

import errno
import os
import threading

from codedata.texts import printable

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def is_full_disk(error: Exception) -> bool:
    """Return whether an error says that a disk is full. Search its text, too: a shutil.Error has
    no errno."""
    return isinstance(error, OSError) and (
        error.errno in NO_ROOM or any(os.strerror(number) in str(error) for number in NO_ROOM))


class Trouble(Exception):
    """Report a problem that the user can fix. Uncaught, it ends the script with exit code 2 before
    anything is done."""

    exit_code = 2

    def __init__(self, what: str, where: str = "", todo: str = ""):
        where = printable(where)   # a path may have any name
        super().__init__(what, where, todo)
        self.what, self.where, self.todo = what, where, todo

    def __reduce__(self):
        return _restored, (type(self), self.args, vars(self))

    def __str__(self) -> str:
        head = f"{self.where} {self.what}" if self.where else self.what
        return f"{head}\n  {self.todo}" if self.todo else head


class BrokenRecord(Trouble):
    """Report a record on disk that cannot be read as its class. The run goes on with other records.
    """


class ItemFailed(Trouble):
    """Report that an item could not be made.

    It leaves a ledger line but no record; the next run tries it again.
    """

    exit_code = 1


class Excluded(Trouble):
    """Report that a rule leaves the item out.

    The item is named in the ledger and not tried again with the same inputs.
    """


class HttpTrouble(ItemFailed):
    """Report a request that was given up.

    `status` is the last HTTP status, None if no answer came.
    """

    def __init__(self, what: str, where: str = "", todo: str = "", status: int | None = None):
        super().__init__(what, where, todo)
        self.status = status


class RunStopped(Trouble):
    """Report that no further item can be made (endpoint, key, budget, disk). The rest stays
    missing."""

    def __init__(self, what: str, where: str = "", todo: str = "", exit_code: int = 1):
        super().__init__(what, where, todo)
        self.exit_code = exit_code


class MachineStopped(RunStopped):
    """Report that no further item can be made on this machine. Other machines of a cluster go on.
    """


class EndpointDown(RunStopped):
    """Report that an endpoint does not answer, or only with HTTP 429.

    A panel may go on with its other judges.
    """


class Interrupted(RunStopped):
    """Report that a signal or another item's RunStopped is ending the run: no new call starts."""

    def __init__(self):
        super().__init__("interrupted", exit_code=130)


def _restored(cls: type, args: tuple, values: dict) -> Trouble:
    trouble = cls.__new__(cls, *args)
    vars(trouble).update(values)
    return trouble


def start_thread(target) -> threading.Thread:
    """Start a thread and return it. Raise MachineStopped if the machine allows no more threads."""
    thread = threading.Thread(target=target, daemon=True)
    try:
        thread.start()
    except RuntimeError as e:
        raise MachineStopped("could not be started: the limit of threads or of memory is reached.",
                             "A further thread", "Lower --workers, or raise the limit (ulimit "
                             "-u, --pids-limit of a container).") from e
    return thread
