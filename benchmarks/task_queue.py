"""Measure the queue of tasks with many processes, some of them killed, beside bare statements.

Processes claim and complete the tasks of one folder. Some end by SIGKILL while they hold a task,
as many are killed at any moment; leases are short, so that what they held returns. Before and after
that, as many processes do it with bare statements through SQLAlchemy, on a database of the same
settings: UPDATE … RETURNING in BEGIN IMMEDIATE, and UPDATE.

  python benchmarks/task_queue.py            # 10,000 tasks, 32 processes: half a minute

One JSON line on stdout. Exit 1 where a task is not completed exactly once, nothing was held by a
killed process, or the rate is below half of the bare one.
"""
import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import sqlalchemy
from measure import PROJECT, machine

sys.path.insert(0, str(PROJECT))
from codedata.datapoints.queue import JOURNAL, Refused, TaskManager
from codedata.ledger import read_lines

RATIO = 0.5    # the least that the queue's rate may be of the bare one
LEASE_S = 3.0
KILLED = 4     # processes that end while they hold a task, and as many at any moment
FORK = get_context("fork")
BARE = ("PRAGMA journal_mode = WAL",
        "CREATE TABLE tasks (n INTEGER PRIMARY KEY, id UNIQUE, state, priority, agent, until,"
        " data)",
        "CREATE INDEX task_turn ON tasks (state, priority DESC, n)", "BEGIN")
INSERT = "INSERT INTO tasks (id, state, priority, data) VALUES (?, 'pending', 0, ?)"
BEGIN = sqlalchemy.text("BEGIN IMMEDIATE")
CLAIM = sqlalchemy.text(
    "UPDATE tasks SET state = 'in_progress', agent = :agent, until = :until WHERE n = (SELECT n"
    " FROM tasks WHERE state = 'pending' ORDER BY priority DESC, n LIMIT 1) RETURNING id, data")
COMPLETE = sqlalchemy.text("UPDATE tasks SET state = 'completed', data = :data"
                           " WHERE id = :id AND agent = :agent")


def fill_queue(folder: Path, n: int) -> None:
    queue = TaskManager(folder)
    for i in range(n):
        queue.create_task("build_datapoint", {"seed": i})


def work_on_queue(folder: Path, number: int, started) -> None:
    queue, agent = TaskManager(folder, lease_s=LEASE_S), f"agent-{number}"
    n_left = random.randint(10, 50) if number < KILLED else -1
    started.wait()
    while (task := queue.get_next_task(agent)) or queue.tasks(state="in_progress"):
        n_left -= 1
        if n_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if task:
            with suppress(Refused):   # slower than the lease
                queue.complete_task(task["id"], agent, {"seed": task["seed"]})
        else:
            time.sleep(0.05)


def bare_engine(folder: Path):
    engine = sqlalchemy.create_engine(f"sqlite:///{folder / 'bare.sqlite'}",
                                      isolation_level="AUTOCOMMIT", connect_args={"timeout": 60})
    with engine.begin() as connection:   # the pool keeps it
        connection.exec_driver_sql("PRAGMA synchronous = NORMAL")
    return engine


def fill_bare(folder: Path, n: int) -> None:
    with bare_engine(folder).begin() as connection:
        for statement in BARE:
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql(INSERT, [(f"task_{i}", f'{{"seed": {i}}}') for i in range(n)])


def work_on_bare(folder: Path, number: int, started) -> None:
    engine, agent = bare_engine(folder), f"agent-{number}"
    started.wait()
    while True:
        with engine.begin() as connection:
            connection.execute(BEGIN)
            row = connection.execute(CLAIM, {"agent": agent, "until": time.time()}).first()
        if not row:
            return
        with engine.begin() as connection:
            connection.execute(COMPLETE, {"agent": agent, "id": row.id, "data": row.data})


def rate(fill, work, args, folder: Path, n_killed: int = 0) -> float:
    """Return how many tasks a second are claimed and completed."""
    folder.mkdir()
    filler = FORK.Process(target=fill, args=(folder, args.n))   # no connection outlives a fork
    filler.start()
    filler.join()
    started = FORK.Barrier(args.processes + 1)
    workers = [FORK.Process(target=work, args=(folder, number, started))
               for number in range(args.processes)]
    for worker in workers:
        worker.start()
    started.wait()
    begun = time.monotonic()
    for worker in random.sample(workers[KILLED:], n_killed):
        time.sleep(random.uniform(0.1, 0.5))
        worker.kill()
    for worker in workers:
        worker.join()
    return args.n / (time.monotonic() - begun)


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--n", type=int, default=10_000, help="tasks (%(default)s)")
    p.add_argument("--processes", type=int, default=32, help="(%(default)s)")
    args = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="codedata_queue.") as name:
        root = Path(name)
        before = rate(fill_bare, work_on_bare, args, root / "before")
        ours = rate(fill_queue, work_on_queue, args, root / "queue", KILLED)
        after = rate(fill_bare, work_on_bare, args, root / "after")
        queue = TaskManager(root / "queue")
        events = Counter(event["event"] for event in queue.events())
        in_database = [task["id"] for task in queue.tasks(state="completed")]
        in_journal = [line["task"]["id"] for line in read_lines(root / "queue" / JOURNAL)
                      if line["event"] == "completed"]
    is_once = (sorted(in_journal) == sorted(in_database)
               and len(in_journal) == len({*in_journal}) == args.n)
    ratio = round(2 * ours / (before + after), 2)
    print(json.dumps({
        "benchmark": "task_queue", "n": args.n, "processes": args.processes, **machine(),
        "bare_per_s": [round(before), round(after)], "per_s": round(ours), "ratio": ratio,
        "events": events, "each_once": is_once}))
    return 0 if is_once and events["expired"] >= KILLED and ratio >= RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
