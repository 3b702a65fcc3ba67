"""Hand out tasks to agents, each to one agent at a time, for the length of its lease.

Files are the truth: each transition is a line of <folder>/_queue.jsonl with the task after it; its
data are in the line only where they changed. The database _queue.sqlite knows where in the journal
the lines of a task begin, and may be deleted. Where it is behind the journal (a kill before its
commit, another file in its place) the further lines are taken in; where it is missing, ahead of the
journal or of another schema, it is made again. A line that is torn, or none that a queue writes, is
named then, and passed over. Each call waits for the lock of the journal and holds it, so that even
processes with different databases agree.

Times are seconds since 1970, and not earlier than the newest line's: setting the clock neither ends
a lease of a process that runs nor prolongs one. Tokens are on disk as digests only. Not promised:
that the last transitions outlive a power cut, that an edited line counts before the database is
deleted, that an object works on both sides of a fork (each process makes its own), or that a
process which starts when the clock was put forward sees what others hold.
"""
from __future__ import annotations

import fcntl
import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import orjson

from codedata.bounded import MAX_RECORD_BYTES, check_regular, open_appending
from codedata.errors import Trouble
from codedata.ledger import Appender, disk_trouble
from codedata.progress import say
from codedata.records import check_of
from codedata.texts import printable

TASK_TYPES = ("generate_idea", "build_datapoint", "review_datapoint")
STATES = ("pending", "in_progress", "completed", "failed", "cancelled")
# what is shown of a task, beside its data; agent: of its newest claim
SHOWN = ("id", "type", "state", "parent", "priority", "attempts", "agent", "lease_until",
         "created_at", "errors", "result")
FIELDS = (*SHOWN, "key", "claim")   # the idempotency key, and the digest of the token
DATABASE, JOURNAL = "_queue.sqlite", "_queue.jsonl"
BUSY_S = 30.0   # that a call waits for another program that holds the database
MAX_LEASE_S = 100_000   # as [dp] lease_s: what says that it ends later has ended
MAX_NAMED = 20   # lines that are passed over
VERSION = 2
SCHEMA = (
    "PRAGMA journal_mode = WAL",
    "BEGIN IMMEDIATE",
    "DROP TABLE IF EXISTS tasks",
    "DROP TABLE IF EXISTS events",
    # line, data_line: where the newest line of the task begins, and the newest one with data
    "CREATE TABLE tasks (n INTEGER PRIMARY KEY, id UNIQUE, type, parent, key, priority, state,"
    " lease_until, line, data_line)",
    "CREATE INDEX task_key ON tasks (key) WHERE key <> ''",
    "CREATE INDEX task_parent ON tasks (parent)",
    "CREATE INDEX task_turn ON tasks (state, priority DESC, n, type, lease_until)",
    "CREATE TABLE events (n INTEGER PRIMARY KEY, at, id, event, agent, state, lease_until, detail,"
    " line, line_end)",
    "CREATE TRIGGER task_follows AFTER INSERT ON events BEGIN UPDATE tasks SET state = NEW.state,"
    " lease_until = NEW.lease_until, line = NEW.line WHERE id = NEW.id; END",
    f"PRAGMA user_version = {VERSION}")
HAS_ENDED = f"state = 'in_progress' AND NOT lease_until - ? BETWEEN 0 AND {MAX_LEASE_S}"
# one row: the end of the newest line, whether a lease has ended, and where a task's lines are
FIND = ("SELECT (SELECT line_end FROM events ORDER BY n DESC LIMIT 1) AS line_end, EXISTS"
        f" (SELECT 1 FROM tasks WHERE {HAS_ENDED}) AS has_ended,"
        " line, data_line FROM (SELECT 1) LEFT JOIN tasks ON n = (SELECT n FROM tasks WHERE {})")
NEXT = ("state = 'pending' AND type IN (SELECT value FROM json_each(?))"
        " ORDER BY priority DESC, n LIMIT 1")
PUT_DATA = ("INSERT INTO tasks (id, type, parent, key, priority, data_line)"
            " VALUES (:id, :type, :parent, :key, :priority, :line)"
            " ON CONFLICT (id) DO UPDATE SET data_line = excluded.data_line")
PUT_EVENT = ("INSERT INTO events (at, id, event, agent, state, lease_until, detail, line, line_end)"
             " VALUES (:at, :id, :event, :agent, :state, :lease_until, :detail, :line, :line_end)")
PASS_OVER = "INSERT INTO events (line, line_end) VALUES (?, ?)"
OLDEST_S = ("SELECT ? - min(at) FROM events JOIN tasks ON tasks.line = events.line"
            " WHERE tasks.state = 'in_progress'")


class Refused(Exception):
    """Say in a sentence why the queue does not do what was asked; the task stays as it is."""


class TaskManager:
    """Create, hand out and end the tasks of a folder. Threads may share one.

    It remembers the token of each claim by task and agent; two workers of one name have to pass it.
    """

    def __init__(self, folder: Path | str, lease_s: float = 1800.0, max_attempts: int = 3):
        try:
            import sqlalchemy
        except ImportError:
            raise Trouble("needs SQLAlchemy, which is not installed.", "The queue of tasks",
                          "pip install 'codedata[queue]'") from None
        self._path = Path(folder) / JOURNAL
        self._database = Path(folder) / DATABASE
        self._lease_s = lease_s
        self._max_attempts = max_attempts
        self._tokens = {}   # by task and agent
        self._database_error = sqlalchemy.exc.SQLAlchemyError
        with self._locked():
            for ending in ("", "-wal", "-shm"):
                check_regular(self._path.with_name(f"{DATABASE}{ending}"))
            if not self._database.exists():   # what belonged to a deleted one would break a new one
                for ending in ("-wal", "-shm"):
                    self._path.with_name(f"{DATABASE}{ending}").unlink(missing_ok=True)
            self._connection = sqlalchemy.create_engine(   # BEGIN IMMEDIATE before a first change
                sqlalchemy.URL.create("sqlite", database=str(self._database)),
                connect_args={"timeout": BUSY_S, "isolation_level": "IMMEDIATE"}).connect()
            with self._connection.begin():
                self._sql("PRAGMA synchronous = NORMAL")   # a kill loses nothing
                if self._sql("PRAGMA user_version").scalar() != VERSION:
                    for statement in SCHEMA:
                        self._sql(statement)
                newest = self._sql("SELECT max(CAST(at AS REAL)) FROM events").scalar()
        # from here on a clock that is set ends no lease, and holds none
        self._clock_s = max(time.time(), newest or 0) - time.monotonic()

    def create_task(self, type: str, data: dict, *, parent: str = "", key: str = "",
                    priority: int = 0) -> str:
        """Return the id of a new task, or of the one that has the idempotency key already."""
        _check_types([type])
        _check_data(data)
        with self._transaction("key = ? AND key <> ''", key) as same:
            if same:
                return same["id"]
            if parent and not self._tasks("id = ?", parent):
                raise Refused(f"There is no task {printable(str(parent))}.")
            task = {"id": f"{type}_{secrets.token_hex(6)}", "type": type, "state": "pending",
                    "parent": parent, "priority": priority, "attempts": 0, "errors": [],
                    "created_at": self._now, "key": key}
            self._put(task, "created", data=data)
            return task["id"]

    def get_next_task(self, agent: str, task_types: list[str] | None = None) -> dict | None:
        """Claim the pending task of the highest priority, of these the oldest; return it with its
        data at the top level and its `token`. Return None where none is pending.
        """
        types = TASK_TYPES if task_types is None else task_types
        _check_types(types)
        token = secrets.token_hex(16)
        with self._transaction(NEXT, orjson.dumps(types).decode()) as task:
            if not task:
                return None
            task = self._put(task, "claimed", state="in_progress", agent=agent,
                             claim=_digest(token), attempts=task["attempts"] + 1)
        self._tokens[task["id"], agent] = token
        return {**_shown(task), "token": token}

    def heartbeat(self, id: str, agent: str, token: str = "") -> None:
        """Renew the lease of a claimed task."""
        with self._held(id, agent, token) as task:
            self._put(task, "renewed")

    def update_task_data(self, id: str, agent: str, data: dict, token: str = "") -> None:
        """Set keys of a claimed task's data, and renew its lease."""
        _check_data(data)
        with self._held(id, agent, token) as task:
            self._put(task, "updated", data={**task["data"], **data})

    def complete_task(self, id: str, agent: str, result=None, token: str = "") -> None:
        """End a claimed task with a result, any JSON."""
        with self._held(id, agent, token) as task:
            self._put(task, "completed", state="completed", result=result)

    def fail_task(self, id: str, agent: str, error: str, token: str = "") -> None:
        """End an attempt: the task is pending again, or failed if that was the last one."""
        with self._held(id, agent, token) as task:
            self._fail(task, "attempt_failed", error)

    def release(self, id: str, agent: str, token: str = "") -> None:
        """Give a claimed task back; the attempt does not count."""
        with self._held(id, agent, token) as task:
            self._put(task, "released", state="pending", attempts=task["attempts"] - 1)

    def retry_failed(self, type: str) -> int:
        """Make the failed tasks of a type pending again, as if they had not been tried; return
        their number."""
        with self._transaction():
            failed = self._tasks("type = ? AND state = 'failed'", type)
            for task in failed:
                self._put(task, "retried", state="pending", attempts=0)
            return len(failed)

    def cancel_task(self, id: str, reason: str, agent: str = "", token: str = "") -> None:
        """Cancel a pending task, or a claimed one as its holder."""
        with self._held(id, agent, token, or_pending=True) as task:
            self._fail({**task, "agent": agent}, "cancelled", reason, "cancelled")

    def get_task(self, id: str) -> dict:
        """Return a task with its data at the top level."""
        with self._known(id) as task:
            return _shown(task)

    def children(self, id: str) -> list[dict]:
        """Return the tasks that have a task as their parent, the oldest first."""
        with self._known(id):
            return [*map(_shown, self._tasks("parent = ? ORDER BY n", id))]

    def tasks(self, type: str = "", state: str = "") -> list[dict]:
        """Return all tasks, or those of a type, of a state; the oldest first."""
        with self._transaction():
            return [*map(_shown, self._tasks("? IN ('', type) AND ? IN ('', state) ORDER BY n",
                                             type, state))]

    def events(self, id: str = "") -> list[dict]:
        """Return all transitions, or those of a task, in the order of time."""
        with self._transaction():
            rows = self._sql("SELECT at, id, event, agent, state, detail FROM events"
                             " WHERE id <> '' AND ? IN ('', id) ORDER BY n", (id,))
            return [dict(row) for row in rows.mappings()]

    def status(self) -> dict:
        """Return the numbers of tasks by type and state, and for how many seconds the oldest lease
        has not been renewed (None: nobody holds a task).
        """
        counts = {type: dict.fromkeys(STATES, 0) for type in TASK_TYPES}
        with self._transaction():
            for type, state, n in self._sql("SELECT type, state, count(*) FROM tasks"
                                            " GROUP BY type, state"):
                counts[type][state] = n
            return {"tasks": counts, "oldest_lease_s": self._sql(OLDEST_S, (self._now,)).scalar()}

    # transitions ---------------------------------------------------------------------------------

    @contextmanager
    def _held(self, id: str, agent: str, token: str, or_pending: bool = False) -> Iterator[dict]:
        """Yield a task that the agent holds, or one that waits for anybody, in a transaction."""
        token = token or self._tokens.get((id, agent), "")
        with self._known(id) as task:
            is_held = task["state"] == "in_progress" and task["agent"] == agent
            is_free = or_pending and task["state"] == "pending"
            if not is_free and not (is_held and task["claim"] == _digest(token)):
                raise Refused(f"{id} is {task['state']}, and not held under this name and token: "
                              "a claim ends with its lease.")
            yield task

    @contextmanager
    def _known(self, id: str) -> Iterator[dict]:
        with self._transaction("id = ?", id) as task:
            if not task:
                raise Refused(f"There is no task {printable(str(id))}.")
            yield task

    def _fail(self, task: dict, event: str, error: str, state: str = "") -> None:
        is_last = task["attempts"] >= self._max_attempts
        error = printable(str(error))
        self._put(task, event, error, state=state or ("failed" if is_last else "pending"),
                  errors=[*task["errors"], error])

    def _put(self, task: dict, event: str, detail: str = "", **changes) -> dict:
        """Return a task after a change, which is written to the database and then to the journal.

        A task in progress has a new lease then. What is in the journal has happened, whatever
        becomes of the transaction.
        """
        task = {**task, **changes}
        is_held = task["state"] == "in_progress"
        task["lease_until"] = self._now + self._lease_s if is_held else None
        line = {"at": self._now, "event": event, "detail": detail,
                "task": {field: task.get(field) for field in FIELDS}}
        if "data" in changes:
            line["data"] = task["data"]
        raw = _to_line(line)
        start = self._path.stat().st_size
        self._take_in(line, start, start + len(raw))
        with closing(Appender(self._path)) as appender:
            appender.append(raw)
        return task

    # the database --------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self, condition: str = "0", *values) -> Iterator[dict | None]:
        """Yield the first task for which an SQL condition holds, in a transaction in which the
        database is up to date and no lease has ended.
        """
        with self._locked(), self._connection.begin():
            self._now = self._clock_s + time.monotonic()
            find = FIND.format(condition), (self._now, *values)
            found = self._sql(*find).one()
            if found.has_ended or found.line_end != self._path.stat().st_size:
                self._catch_up(found.line_end or 0)
                found = self._sql(*find).one()
            yield self._read(found) if found.line is not None else None

    def _catch_up(self, end: int) -> None:
        """Take in the lines behind the newest one, which ends there, and end leases."""
        if end > self._path.stat().st_size:
            self._sql("DELETE FROM tasks")
            self._sql("DELETE FROM events")
            end = 0
        self._journal.seek(end)
        odd = []
        while raw := self._journal.readline(MAX_RECORD_BYTES):
            start, end = end, end + len(raw)
            line, fault = _parsed(raw)
            if fault and raw.strip():
                odd.append((start, fault))
            if fault:
                self._sql(PASS_OVER, (start, end))
            else:
                self._take_in(line, start, end)
        self._name(odd)
        with closing(Appender(self._path)) as appender:
            appender.append(b"")   # ends a torn line
        for task in self._tasks(HAS_ENDED, self._now):
            self._fail(task, "expired", "The lease ended without a heartbeat.")

    def _name(self, odd: list[tuple[int, str]]) -> None:
        """Name lines that are passed over, each by where it begins and why."""
        n, place = 1, 0
        self._journal.seek(0)
        for start, why in odd[:MAX_NAMED]:
            while place < start:
                piece = self._journal.read(min(start - place, 1 << 20))
                n, place = n + piece.count(b"\n"), place + len(piece)
            say(f"{self._path}:{n} is no line of a queue and is passed over: {why}")
        if len(odd) > MAX_NAMED:
            say(f"{self._path}: {len(odd) - MAX_NAMED:,} more lines are passed over.")

    def _take_in(self, line: dict, start: int, end: int) -> None:
        """Put a line of the journal into the tables."""
        row = {**line["task"], **line, "line": start, "line_end": end}
        if "data" in line:
            self._sql(PUT_DATA, row)
        self._sql(PUT_EVENT, row)

    def _tasks(self, condition: str, *values) -> list[dict]:
        rows = self._sql(f"SELECT line, data_line FROM tasks WHERE {condition}", values).all()
        return [*map(self._read, rows)]

    def _read(self, row) -> dict:
        return {**self._line(row.line)["task"], "data": self._line(row.data_line)["data"]}

    def _line(self, start: int) -> dict:
        self._journal.seek(start)
        line, fault = _parsed(self._journal.readline(MAX_RECORD_BYTES))
        if not fault:
            return line
        raise Trouble(f"was changed: it has none of its lines at byte {start:,}.", str(self._path),
                      f"Delete {DATABASE}: it is made again from the lines that are there.")

    def _sql(self, statement: str, values=()):
        return self._connection.exec_driver_sql(statement, values)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the journal, open for reading, against all other processes and threads.

        Raise Trouble for what goes wrong with the files.
        """
        try:
            with open(open_appending(self._path), "rb") as journal:
                fcntl.flock(journal, fcntl.LOCK_EX)   # freed by closing
                self._journal = journal
                yield
        except self._database_error as e:
            raise Trouble(f"cannot be used: {getattr(e, 'orig', e)}.", str(self._database),
                          "If another process holds it, try again. If it is broken, delete it with "
                          f"its -wal and -shm: it is made again from {JOURNAL}.") from e
        except OSError as e:
            raise disk_trouble(e, e.filename or self._path) from e
        except (UnicodeEncodeError, OverflowError) as e:
            raise Refused(f"This cannot be kept: {printable(str(e))}.") from e


def _to_line(line: dict) -> bytes:
    """Return a line of the journal. Raise Refused if it would not be read as it was given."""
    try:
        raw = orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
        is_kept = orjson.loads(raw) == line and len(raw) < MAX_RECORD_BYTES
    except TypeError as e:
        raise Refused(f"This cannot be kept as JSON: {printable(str(e))}.") from e
    if not is_kept:
        raise Refused("This cannot be kept: it has NaN, a tuple or a date, or is larger than "
                      f"{MAX_RECORD_BYTES:,} bytes.")
    return raw


def _parsed(raw: bytes) -> tuple[dict, str]:
    """Return (a line of the journal, ""), or ({}, why it is none that a queue writes)."""
    try:
        line = orjson.loads(raw)
        if fault := check_of("QueueLine")(line):
            return {}, fault.lstrip(". ")
        _check_data(line.get("data", {}))
        _to_line(line)
    except (ValueError, Refused) as e:
        return {}, printable(str(e))
    task = line["task"]
    is_one = (task["type"] in TASK_TYPES and task["state"] in STATES and len(task) == len(FIELDS)
              and task["id"].startswith(task["type"]) and task["attempts"] >= 0
              and (task["state"] == "in_progress") == (task["lease_until"] is not None))
    return (line, "") if is_one else ({}, "its type, id, state and lease do not fit together")


def _shown(task: dict) -> dict:
    return {**task["data"], **{field: task[field] for field in SHOWN}}


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _check_types(types) -> None:
    if unknown := [type for type in types if type not in TASK_TYPES]:
        raise Refused(f"{printable(str(unknown[0]))} is no type of task. Known: "
                      f"{', '.join(TASK_TYPES)}.")


def _check_data(data: dict) -> None:
    """Refuse data that cannot stand beside the task's own fields."""
    if not isinstance(data, dict):
        raise Refused("A task's data have to be an object.")
    if fault := check_of("QueueData")(data):
        raise Refused(f"A task's data are refused: {printable(fault.lstrip('. '))}.")
    if taken := sorted({*SHOWN, "token"} & data.keys()):
        raise Refused(f"A task's data cannot have {', '.join(taken)}: the task itself has that.")
