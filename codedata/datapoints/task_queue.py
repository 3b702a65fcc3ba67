"""Hand out tasks to agents: each task to one agent at a time, for the length of a lease.

The queue is one file, <folder>/_queue.jsonl, or a database (postgres_queue.py). Each transition is
a line with the task's new state; the task's data are in the line only if they changed. A call waits
for the lock of the file, reads the lines that others have added since the last call, and appends
its own. So all threads and processes see the same state, and a killed process leaves at most a torn
line. Each process skips torn or invalid lines, and reports them.

Times are seconds since 1970, and never earlier than the time of the newest line: setting the clock
neither ends a lease of a running process nor prolongs one. Only digests of tokens are on disk.
Known limits: a power cut may lose the last transitions; a process does not see an edit of a line
that it has already read; a process that starts while the clock is set forward may not see claims of
others.
"""
from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from codedata.bounded import MAX_RECORD_BYTES, open_appending
from codedata.disk.ledger import append_lines, disk_trouble
from codedata.errors import ItemFailed, Trouble
from codedata.records import check_of
from codedata.terminal import named, say
from codedata.texts import printable

# the role of an agent by the type of its tasks
ROLES = {"generate_idea": "idea", "build_datapoint": "builder", "review_datapoint": "review"}
TASK_TYPES = GENERATE, BUILD, REVIEW = tuple(ROLES)
STATES = ("pending", "in_progress", "completed", "failed", "cancelled")
JOURNAL = "_queue.jsonl"
MAX_LEASE_S = 100_000   # maximum of [dp] lease_s; a lease with more time left counts as expired
MAX_NAMED = 20   # limit for invalid lines in one message
MAX_ATTEMPTS = 3   # claims of a task; if the last attempt fails, the task fails


class Refusal(ItemFailed):
    """Report why a request to the queue, or a command, is refused."""


@dataclass(frozen=True, kw_only=True)
class QueuedTask:
    """Hold the newest state of a task."""

    id: str
    type: str
    state: str = "pending"            # one of STATES
    parent: str = ""                  # id of the task that queued it
    priority: int = 0
    attempts: int = 0
    agent: str | None = None          # the agent of the newest claim
    lease_until: float | None = None  # None: it is not claimed
    created_at: float
    errors: list[str] = field(default_factory=list)
    result: Any = None
    key: str = ""                     # the idempotency key
    claim: str | None = None          # the digest of its token
    data: dict                        # QueueData of records/, and more keys
    at: float                         # time of its newest line
    token: str = ""                   # proves the claim; only get_next_task() returns it

    def shown(self) -> dict:
        """Return the task as agents see it: its data, and the fields SHOWN."""
        return {**self.data, **{name: getattr(self, name) for name in SHOWN}}


FIELDS = [one.name for one in fields(QueuedTask)][:-3]   # a task's keys in the file
SHOWN = FIELDS[:-2]   # shown to agents, together with its data


class TaskManager:
    """Create, hand out and end the tasks of a folder. Threads may share one. The token of a claim
    proves that an agent holds the task."""

    def __init__(self, folder: Path | str, lease_s: float = 1800.0):
        self._path = Path(folder) / JOURNAL
        self._lease_s = lease_s
        self._file_id = 0   # inode of the file that was read
        with self._locked():
            self._read_new_lines()
            # from now on, times ignore changes of the clock
            self._clock_s = max(self._read_clock(), self._newest) - time.monotonic()

    def create_task(self, type: str, data: dict, *, parent: str = "", key: str = "",
                    priority: int = 0) -> str:
        """Return the id of a new task, or of the existing task with the same idempotency key; "" is
        not a key. Raise Refusal if the type or `parent` is unknown, or if `data` cannot be
        written."""
        with self._transaction() as tasks:
            for task in tasks.values() if key else ():
                if task.key == key:
                    return task.id
            if parent:
                _known(tasks, parent)
            task = QueuedTask(
                id=f"{type}_{secrets.token_hex(6)}", type=type, parent=parent, priority=priority,
                created_at=self._now, key=key, data=data, at=self._now)
            return self._put(task, "created").id

    def get_next_task(self, agent: str, type: str = "") -> QueuedTask | None:
        """Claim the pending task with the highest priority, the oldest if there are several; with
        `type` only one of that type. Return it with the token of the claim; None if no task is
        pending."""
        if type not in ("", *TASK_TYPES):
            raise Refusal(f"{printable(type)} is not a type of task. Known: "
                          f"{', '.join(TASK_TYPES)}.")
        token = secrets.token_hex(16)
        with self._transaction() as tasks:
            pending = [task for task in tasks.values()
                       if task.state == "pending" and type in ("", task.type)]
            if not pending:
                return None
            task = max(pending, key=lambda task: task.priority)   # the first of the highest
            task = self._put(task, "claimed", state="in_progress", agent=agent,
                             claim=_digest(token), attempts=task.attempts + 1)
        return replace(task, token=token)

    def heartbeat(self, id: str, token: str) -> None:
        """Renew the lease of a claimed task."""
        with self._held(id, token) as task:
            self._put(task, "renewed")

    def complete_task(self, id: str, token: str, result=None) -> None:
        """Complete a claimed task with a result, which may be any JSON value."""
        with self._held(id, token) as task:
            self._put(task, "completed", state="completed", result=result)

    def fail_task(self, id: str, token: str, error: str) -> None:
        """End an attempt: the task is pending again, or failed if this was its last attempt."""
        with self._held(id, token) as task:
            self._fail(task, "attempt_failed", error)

    def release(self, id: str, token: str) -> None:
        """Give a claimed task back; the attempt does not count."""
        with self._held(id, token) as task:
            self._put(task, "released", state="pending", attempts=task.attempts - 1)

    def retry_failed(self, type: str) -> None:
        """Make the failed tasks of a type pending again, as if they had not been tried."""
        with self._transaction() as tasks:
            for task in [*tasks.values()]:
                if (task.type, task.state) == (type, "failed"):
                    self._put(task, "retried", state="pending", attempts=0)

    def cancel_task(self, id: str, token: str, reason: str) -> None:
        """Cancel a claimed task: it is never tried again."""
        with self._held(id, token) as task:
            self._fail(task, "cancelled", reason, "cancelled")

    def get_task(self, id: str) -> QueuedTask:
        """Return a task."""
        with self._transaction() as tasks:
            return _known(tasks, id)

    def tasks(self, **wanted: str) -> list[QueuedTask]:
        """Return the tasks with these values of fields (type, state, parent; "" matches any value),
        the oldest first."""
        with self._transaction() as tasks:
            return [task for task in tasks.values()
                    if all(value in ("", getattr(task, name)) for name, value in wanted.items())]

    def counts(self) -> dict[str, dict[str, int]]:
        """Return {type: {state: number of tasks}}."""
        counts = {type: dict.fromkeys(STATES, 0) for type in TASK_TYPES}
        for task in self.tasks():
            counts[task.type][task.state] += 1
        return counts

    # transitions ---------------------------------------------------------------------------------

    @contextmanager
    def _held(self, id: str, token: str) -> Iterator[QueuedTask]:
        """Yield a task in a transaction. Raise Refusal unless it is held under this token."""
        with self._transaction() as tasks:
            task = _known(tasks, id)
            if task.state != "in_progress" or task.claim != _digest(token):
                raise Refusal(f"{id} is {task.state}, and not held under this token: a claim "
                              "ends with its lease.")
            yield task

    @contextmanager
    def _transaction(self) -> Iterator[dict[str, QueuedTask]]:
        """Yield the tasks by id, the oldest first, while the file is locked. Before that, read
        its new lines and end the leases that have expired."""
        with self._locked():
            self._now = self._clock_s + time.monotonic()
            self._read_new_lines()
            for task in [*self._tasks.values()]:
                if task.lease_until is not None and not (
                        0 <= task.lease_until - self._now <= MAX_LEASE_S):
                    self._fail(task, "expired", "The lease ended without a heartbeat.")
            yield self._tasks

    def _fail(self, task: QueuedTask, event: str, error: str, state: str = "") -> None:
        is_last = task.attempts >= MAX_ATTEMPTS
        error = printable(str(error))
        self._put(task, event, error, state=state or ("failed" if is_last else "pending"),
                  errors=[*task.errors, error])

    def _put(self, task: QueuedTask, event: str, detail: str = "", **changes) -> QueuedTask:
        """Write a changed task to the file, and return it. A task in progress gets a new lease."""
        task = replace(task, at=self._now, **changes)
        lease_until = self._now + self._lease_s if task.state == "in_progress" else None
        raw = _to_line(replace(task, lease_until=lease_until), event, detail)
        self._append(raw)
        self._read_new_lines()   # so that memory shares no objects with the arguments
        return self._tasks[task.id]

    # the file ------------------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the file against all other processes and threads, and open it for reading. Raise
        Trouble if the file cannot be opened, read or written."""
        try:
            with open(open_appending(self._path), "rb") as journal:
                fcntl.flock(journal, fcntl.LOCK_EX)   # released on closing
                self._journal = journal
                yield
        except OSError as e:
            raise disk_trouble(e, e.filename or self._path) from e

    def _read_new_lines(self) -> None:
        """Read the lines that were added since the last call; read all lines if the file was
        replaced."""
        found = os.fstat(self._journal.fileno())
        if found.st_ino != self._file_id or found.st_size < self._end:
            self._file_id = found.st_ino
            self._tasks: dict[str, QueuedTask] = {}
            self._end = self._n_lines = 0   # end of the part read so far
            self._newest = 0                # the latest time of a line
        self._journal.seek(self._end)
        raw, faults = b"\n", []
        for raw in iter(partial(self._journal.readline, MAX_RECORD_BYTES), b""):
            self._end += len(raw)
            self._n_lines += 1
            try:
                self._take_in(parsed(raw))
            except ValueError as e:
                faults += [f"line {self._n_lines}: {e}"] if raw.strip() else []
        if faults:
            say(f"{self._path} has lines that no queue writes. They are skipped: "
                f"{named(faults, MAX_NAMED)}")
        if not raw.endswith(b"\n"):   # the last line is torn: end it
            self._append(b"")
            self._end += 1

    def _append(self, raw: bytes) -> None:
        append_lines(self._journal.fileno(), raw, self._path)

    def _read_clock(self) -> float:
        return time.time()

    def _take_in(self, task: QueuedTask) -> None:
        self._newest = max(self._newest, task.at)
        if task.data is None and task.id in self._tasks:
            task = replace(task, data=self._tasks[task.id].data)
        if task.data is not None:   # otherwise the line that created it is gone
            self._tasks[task.id] = task


def _to_line(task: QueuedTask, event: str, detail: str) -> bytes:
    """Return a task's transition as a line of the file. Raise Refusal if it cannot be written as
    JSON, or if reading the line back would fail or give another task."""
    line = {"at": task.at, "event": event, "detail": detail,
            "task": {name: getattr(task, name) for name in FIELDS}}
    if event == "created":
        line["data"] = task.data
    try:
        raw = orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
        if parsed(raw) != replace(task, data=line.get("data")):
            raise ValueError("it has NaN, a tuple or a date")
    except (TypeError, ValueError) as e:
        raise Refusal(f"This cannot be stored: {printable(str(e))}.") from e
    return raw


def parsed(raw: bytes) -> QueuedTask:
    """Return the task in a line of the file; its data are None if the line has none. Raise
    ValueError if a queue would not write such a line."""
    line = orjson.loads(raw)
    if fault := check_of("QueueLine")(line):
        raise ValueError(printable(fault.lstrip(". ")))
    try:
        orjson.dumps(line)   # it must be possible to write it again
        task = QueuedTask(**line["task"], at=line["at"], data=line.get("data"))
    except TypeError as e:   # it is nested too deep, or its task has other fields
        raise ValueError(printable(str(e))) from e
    if taken := sorted({*SHOWN, "token"} & (task.data or {}).keys()):
        raise ValueError(f"a task's data cannot have {', '.join(taken)}: fields of the task")
    is_one = (task.type in TASK_TYPES and task.state in STATES
              and line["task"].keys() == {*FIELDS}
              and task.id.startswith(task.type) and task.attempts >= 0
              and (task.state == "in_progress") == (task.lease_until is not None))
    if not is_one or len(raw) >= MAX_RECORD_BYTES:
        raise ValueError("its type, id, state and lease do not fit together, or it is larger than "
                         f"{MAX_RECORD_BYTES:,} bytes")
    return task


def open_queue(folder: Path, url: str = "", lease_s: float = 1800.0) -> TaskManager:
    """Return the queue in the PostgreSQL database at `url`; without one, the queue of a folder."""
    if not url:
        return TaskManager(folder, lease_s)
    try:
        from codedata.datapoints.postgres_queue import PostgresTasks  # an extra
    except ImportError as e:
        raise Trouble(f"needs psycopg: {e}.", "--queue",
                      "pip install 'codedata[postgres]'") from e
    return PostgresTasks(url, lease_s)


def counts_in(folder: Path, url: str) -> dict[str, dict[str, int]]:
    """Return TaskManager.counts() of open_queue(); {} for a folder without a queue. No file is
    written."""
    return open_queue(folder, url).counts() if url or (folder / JOURNAL).exists() else {}


def _known(tasks: dict[str, QueuedTask], id: str) -> QueuedTask:
    if id not in tasks:
        raise Refusal(f"There is no task {printable(str(id))}.")
    return tasks[id]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
