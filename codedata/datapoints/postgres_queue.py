"""Keep the queue of tasks in a PostgreSQL database, for agents on many machines.

The rows are the lines that a file would have. Each call has a connection of its own: a transaction
that waits for the lock of the queue, reads the new rows, and adds its own. As in the file, one
lock makes claims and keys unique. The server ends a connection, and so its lock, after a
minute without a statement. The clock is the server's.

A call that loses its connection is repeated for a minute; other errors end it. If the server had
committed it, its repetition may be refused; a claim made by it ends with its lease. Processes do
not see that rows were deleted or changed.
"""
from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from codedata.datapoints.task_queue import TaskManager, parsed
from codedata.errors import Trouble
from codedata.terminal import say

REPEAT_S, PAUSE_S = 60, 0.2
LOST = psycopg.OperationalError, psycopg.errors.IdleInTransactionSessionTimeout
# 5317: any number that is not another program's
LOCK = """
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
SET idle_in_transaction_session_timeout = '1min';
SELECT pg_advisory_xact_lock(5317);
CREATE TABLE IF NOT EXISTS codedata_queue (n bigserial PRIMARY KEY, line bytea)"""
CLOCK = "SELECT extract(epoch FROM clock_timestamp())::double precision"


class PostgresTasks(TaskManager):
    """Hand out the tasks in a database. Threads may share one."""

    def __init__(self, url: str, lease_s: float):
        self._url = url
        self._one_call = threading.Lock()
        self._tasks, self._end, self._newest = {}, 0, 0
        super().__init__("", lease_s)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the queue against all other calls. Raise Trouble if the database cannot be used."""
        with self._one_call:
            try:
                with psycopg.connect(self._url) as self._database:   # commits at the end
                    self._database.execute(LOCK)
                    yield
            except BaseException as e:
                self._tasks, self._end = {}, 0   # this call's rows are not in the database
                if not isinstance(e, psycopg.Error):
                    raise
                raise Trouble(f"cannot be used: {e}", "--queue",
                              "It looks like postgresql://user@host/database.") from e

    def _read_new_lines(self) -> None:
        for n, line in self._database.execute(
                "SELECT n, line FROM codedata_queue WHERE n > %s ORDER BY n", [self._end]):
            self._end = n
            try:
                self._take_in(parsed(line))
            except ValueError as e:
                say(f"codedata_queue: row {n} is skipped, as no queue writes it: {e}")

    def _append(self, raw: bytes) -> None:
        self._database.execute("INSERT INTO codedata_queue (line) VALUES (%s)", [raw])

    def _read_clock(self) -> float:
        return self._database.execute(CLOCK).fetchone()[0]


def _repeated(method):
    def call(*args, **kwargs):
        deadline = time.monotonic() + REPEAT_S
        while True:
            try:
                return method(*args, **kwargs)
            except Trouble as e:
                if time.monotonic() > deadline or not isinstance(e.__cause__, LOST):
                    raise
            time.sleep(PAUSE_S)
    return call


for _name, _method in vars(TaskManager).items():
    if not _name.startswith("_"):
        setattr(PostgresTasks, _name, _repeated(_method))
