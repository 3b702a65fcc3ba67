"""Hand out tasks to agents: each task to one agent at a time, for the length of a lease.

The queue is one file, <folder>/_queue.jsonl. Each transition is a line with the task as it is
afterwards; the task's data are in the line only if they changed. A call waits for the lock of the
file, reads the lines that others have added since the last call, and appends its own. So all
threads and processes see the same state, and a killed process leaves at most a torn line. Each
process skips torn or invalid lines, and reports them.

Times are seconds since 1970, and never earlier than the time of the newest line: setting the clock
neither ends a lease of a running process nor prolongs one. Only digests of tokens are on disk. Not
promised: that the last transitions outlive a power cut, that a process sees an edit of a line that
it has already read, or that a process which starts while the clock is set forward sees the claims
of others.
"""
from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import orjson

from codedata.bounded import MAX_RECORD_BYTES, open_appending
from codedata.disk.ledger import append_lines, disk_trouble
from codedata.records import check_of
from codedata.terminal import named, say
from codedata.texts import printable

# the role of an agent by the type of its tasks
ROLES = {"generate_idea": "idea", "build_datapoint": "builder", "review_datapoint": "review"}
TASK_TYPES = GENERATE, BUILD, REVIEW = tuple(ROLES)
STATES = ("pending", "in_progress", "completed", "failed", "cancelled")
# fields shown with a task's data; `agent` is that of the newest claim
SHOWN = ("id", "type", "state", "parent", "priority", "attempts", "agent", "lease_until",
         "created_at", "errors", "result")
FIELDS = (*SHOWN, "key", "claim")   # the idempotency key, and the digest of the token
JOURNAL = "_queue.jsonl"
MAX_LEASE_S = 100_000   # the most that [dp] lease_s allows; a lease that ends later has expired
MAX_NAMED = 20   # invalid lines in one message
MAX_ATTEMPTS = 3   # claims of a task, after which it has failed


class Refusal(Exception):
    """Report why a request to the queue, or a command, is refused."""


class TaskManager:
    """Create, hand out and end the tasks of a folder. Threads may share one. The token of a claim
    shows that an agent holds the task."""

    def __init__(self, folder: Path | str, lease_s: float = 1800.0):
        self._path = Path(folder) / JOURNAL
        self._lease_s = lease_s
        self._file_id = 0   # of the file that was read
        with self._locked():
            self._read_new_lines()
        # from here on, setting the clock neither ends a lease nor prolongs one
        self._clock_s = max(time.time(), self._newest) - time.monotonic()

    def create_task(self, type: str, data: dict, *, parent: str = "", key: str = "",
                    priority: int = 0) -> str:
        """Return the id of a new task, or of the existing task with the same idempotency key; "" is
        no key. Raise Refusal if the type or `parent` is unknown, or if `data` cannot be written."""
        _check_type(type)
        with self._transaction() as tasks:
            for task in tasks.values() if key else ():
                if task["key"] == key:
                    return task["id"]
            if parent and parent not in tasks:
                raise Refusal(f"There is no task {printable(str(parent))}.")
            task = {"id": f"{type}_{secrets.token_hex(6)}", "type": type, "state": "pending",
                    "parent": parent, "priority": priority, "attempts": 0, "errors": [],
                    "created_at": self._now, "key": key}
            self._put(task, "created", data=data)
            return task["id"]

    def get_next_task(self, agent: str, type: str = "") -> dict | None:
        """Claim the pending task with the highest priority, the oldest if there are several; with
        `type` only one of that type. Return it with its data at the top level and its `token`; None
        if no task is pending."""
        if type:
            _check_type(type)
        token = secrets.token_hex(16)
        with self._transaction() as tasks:
            pending = [task for task in tasks.values()
                       if task["state"] == "pending" and type in ("", task["type"])]
            if not pending:
                return None
            task = max(pending, key=lambda task: task["priority"])   # the first of the highest
            task = self._put(task, "claimed", state="in_progress", agent=agent,
                             claim=_digest(token), attempts=task["attempts"] + 1)
        return {**_shown(task), "token": token}

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
            self._put(task, "released", state="pending", attempts=task["attempts"] - 1)

    def retry_failed(self, type: str) -> None:
        """Make the failed tasks of a type pending again, as if they had not been tried."""
        with self._transaction() as tasks:
            for task in [*tasks.values()]:
                if (task["type"], task["state"]) == (type, "failed"):
                    self._put(task, "retried", state="pending", attempts=0)

    def cancel_task(self, id: str, token: str, reason: str) -> None:
        """Cancel a pending task, or a claimed one as its holder."""
        with self._held(id, token, or_pending=True) as task:
            self._fail(task, "cancelled", reason, "cancelled")

    def get_task(self, id: str) -> dict:
        """Return a task with its data at the top level."""
        with self._known(id) as task:
            return _shown(task)

    def tasks(self, **wanted: str) -> list[dict]:
        """Return the tasks that have these values in fields (type, state, parent; "" is any value),
        the oldest first."""
        with self._transaction() as tasks:
            return [_shown(task) for task in tasks.values()
                    if all(value in ("", task[field]) for field, value in wanted.items())]

    def status(self) -> dict:
        """Return {tasks: {type: {state: number}}, oldest_lease_s: seconds since the renewal of the
        lease that was not renewed for the longest time, None if nobody holds a task}."""
        counts = {type: dict.fromkeys(STATES, 0) for type in TASK_TYPES}
        with self._transaction() as tasks:
            for task in tasks.values():
                counts[task["type"]][task["state"]] += 1
            renewed = [task["at"] for task in tasks.values() if task["state"] == "in_progress"]
            return {"tasks": counts,
                    "oldest_lease_s": self._now - min(renewed) if renewed else None}

    # transitions ---------------------------------------------------------------------------------

    @contextmanager
    def _held(self, id: str, token: str, or_pending: bool = False) -> Iterator[dict]:
        """Yield a task in a transaction. Raise Refusal unless it is held under this token, or it is
        pending and `or_pending` is set."""
        with self._known(id) as task:
            is_held = task["state"] == "in_progress" and task["claim"] == _digest(token)
            if not is_held and not (or_pending and task["state"] == "pending"):
                raise Refusal(f"{id} is {task['state']}, and not held under this token: a claim "
                              "ends with its lease.")
            yield task

    @contextmanager
    def _known(self, id: str) -> Iterator[dict]:
        with self._transaction() as tasks:
            if id not in tasks:
                raise Refusal(f"There is no task {printable(str(id))}.")
            yield tasks[id]

    @contextmanager
    def _transaction(self) -> Iterator[dict[str, dict]]:
        """Yield the tasks by id, the oldest first, while the file is locked. Before that, read
        its new lines and end the leases that have expired."""
        with self._locked():
            self._now = self._clock_s + time.monotonic()
            self._read_new_lines()
            for task in [one for one in self._tasks.values() if one["state"] == "in_progress"]:
                if not 0 <= task["lease_until"] - self._now <= MAX_LEASE_S:
                    self._fail(task, "expired", "The lease ended without a heartbeat.")
            yield self._tasks

    def _fail(self, task: dict, event: str, error: str, state: str = "") -> None:
        is_last = task["attempts"] >= MAX_ATTEMPTS
        error = printable(str(error))
        self._put(task, event, error, state=state or ("failed" if is_last else "pending"),
                  errors=[*task["errors"], error])

    def _put(self, task: dict, event: str, detail: str = "", **changes) -> dict:
        """Write a changed task to the file, and return it. A task in progress gets a new lease."""
        task = {**task, **changes}
        is_held = task["state"] == "in_progress"
        task["lease_until"] = self._now + self._lease_s if is_held else None
        line = {"at": self._now, "event": event, "detail": detail,
                "task": {field: task.get(field) for field in FIELDS}}
        if "data" in changes:
            line["data"] = task["data"]
        raw = _to_line(line)
        append_lines(self._journal.fileno(), raw, self._path)
        self._read_new_lines()   # so memory shares no objects with the arguments
        return self._tasks[task["id"]]

    # the file ------------------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the file against all other processes and threads, and open it for reading. Raise
        Trouble if the file cannot be opened, read or written."""
        try:
            with open(open_appending(self._path), "rb") as journal:
                fcntl.flock(journal, fcntl.LOCK_EX)   # freed by closing
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
            self._tasks: dict[str, dict] = {}
            self._end = self._n_lines = 0   # of the part that was read
            self._newest = 0                # the latest time of a line
        self._journal.seek(self._end)
        raw, faults = b"\n", []
        for raw in iter(partial(self._journal.readline, MAX_RECORD_BYTES), b""):
            self._end += len(raw)
            self._n_lines += 1
            try:
                self._take_in(_parsed(raw))
            except ValueError as e:
                faults += [f"line {self._n_lines}: {e}"] if raw.strip() else []
        if faults:
            say(f"{self._path} has lines that no queue writes. They are skipped: "
                f"{named(faults, MAX_NAMED)}")
        if not raw.endswith(b"\n"):   # the last line is torn: end it
            append_lines(self._journal.fileno(), b"", self._path)
            self._end += 1

    def _take_in(self, line: dict) -> None:
        task = line["task"]
        data = line.get("data", self._tasks.get(task["id"], {}).get("data"))
        self._newest = max(self._newest, line["at"])
        if data is not None:   # else the line that created it is gone
            self._tasks[task["id"]] = {**task, "data": data, "at": line["at"]}


def _to_line(line: dict) -> bytes:
    """Return a task transition as a line of the file. Raise Refusal if it cannot be written as
    JSON, or if reading the line would fail or give another value."""
    try:
        raw = orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
        if _parsed(raw) != line:
            raise ValueError("it has NaN, a tuple or a date")
    except (TypeError, ValueError) as e:
        raise Refusal(f"This cannot be stored: {printable(str(e))}.") from e
    return raw


def _parsed(raw: bytes) -> dict:
    """Parse a line of the file. Raise ValueError if a queue would not write such a line."""
    line = orjson.loads(raw)
    if fault := check_of("QueueLine")(line):
        raise ValueError(printable(fault.lstrip(". ")))
    try:
        orjson.dumps(line)   # it must be possible to write it again
    except TypeError as e:   # it is nested too deep
        raise ValueError(str(e)) from e
    task = line["task"]
    if taken := sorted({*SHOWN, "token"} & line.get("data", {}).keys()):
        raise ValueError(f"a task's data cannot have {', '.join(taken)}: fields of the task")
    is_one = (task["type"] in TASK_TYPES and task["state"] in STATES and len(task) == len(FIELDS)
              and task["id"].startswith(task["type"]) and task["attempts"] >= 0
              and (task["state"] == "in_progress") == (task["lease_until"] is not None))
    if not is_one or len(raw) >= MAX_RECORD_BYTES:
        raise ValueError("its type, id, state and lease do not fit together, or it is larger than "
                         f"{MAX_RECORD_BYTES:,} bytes")
    return line


def _shown(task: dict) -> dict:
    """Return a copy of a task with its data at the top level."""
    return orjson.loads(orjson.dumps(
        {**task["data"], **{field: task[field] for field in SHOWN}}))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def _check_type(type: str) -> None:
    if type not in TASK_TYPES:
        raise Refusal(f"{printable(type)} is no type of task. Known: {', '.join(TASK_TYPES)}.")
