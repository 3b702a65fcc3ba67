"""Measure the queue of tasks with many processes, some of them killed, beside bare statements.

Processes claim and complete the tasks of one folder. Some kill themselves (SIGKILL) while they hold
a task, as many are killed at any moment; leases are short, so that what they held returns. Before
and after that, as many processes do the same with two bare statements through SQLAlchemy, on a
database with the same settings and an index: UPDATE … RETURNING in BEGIN IMMEDIATE, and UPDATE.

  python benchmarks/task_queue.py            # 10,000 tasks, 32 processes: a minute
  python benchmarks/task_queue.py --n 2000

One JSON line on stdout. Exit 1 where a task is not completed exactly once, no process died with a
task, or the rate is below half of the bare one.
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
SUICIDES = KILLED = 4   # processes that kill themselves, and that are killed
FORK = get_context("fork")
TABLE = ("CREATE TABLE tasks (n INTEGER PRIMARY KEY, id UNIQUE, state, priority, agent, claim,"
         " lease_until, data, result)")
INDEX = "CREATE INDEX task_turn ON tasks (state, priority DESC, n)"
INSERT = "INSERT INTO tasks (id, state, priority, data) VALUES (?, 'pending', 0, ?)"
BEGIN = sqlalchemy.text("BEGIN IMMEDIATE")
CLAIM = sqlalchemy.text(
    "UPDATE tasks SET state = 'in_progress', agent = :agent, claim = :agent, lease_until = :until"
    " WHERE n = (SELECT n FROM tasks WHERE state = 'pending' ORDER BY priority DESC, n LIMIT 1)"
    " RETURNING id, data")
COMPLETE = sqlalchemy.text("UPDATE tasks SET state = 'completed', result = :result"
                           " WHERE id = :id AND claim = :agent")


def fill_queue(folder: Path, n: int) -> None:
    queue = TaskManager(folder)
    for i in range(n):
        queue.create_task("build_datapoint", {"seed": i})


def work_on_queue(folder: Path, number: int, started) -> None:
    queue, agent = TaskManager(folder, lease_s=LEASE_S), f"agent-{number}"
    last_claim = random.randint(10, 50) if number < SUICIDES else 0
    n_claims = 0
    started.wait()
    while True:
        task = queue.get_next_task(agent)
        n_claims += 1
        if n_claims == last_claim:
            os.kill(os.getpid(), signal.SIGKILL)
        if task:
            with suppress(Refused):   # slower than the lease
                queue.complete_task(task["id"], agent, {"seed": task["seed"]})
        elif not queue.tasks(state="in_progress"):
            return
        else:
            time.sleep(0.05)


def bare_engine(folder: Path):
    engine = sqlalchemy.create_engine(f"sqlite:///{folder / 'bare.sqlite'}",
                                      isolation_level="AUTOCOMMIT", connect_args={"timeout": 60})
    with engine.begin() as connection:   # which the pool keeps
        connection.exec_driver_sql("PRAGMA synchronous = NORMAL")
    return engine


def fill_bare(folder: Path, n: int) -> None:
    with bare_engine(folder).begin() as connection:
        for statement in ("PRAGMA journal_mode = WAL", TABLE, INDEX, "BEGIN"):
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql(INSERT,
                                   [(f"task_{i}", json.dumps({"seed": i})) for i in range(n)])


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
            connection.execute(COMPLETE, {"agent": agent, "id": row.id, "result": row.data})


def rate(fill, work, n: int, n_processes: int, n_killed: int, folder: Path) -> float:
    """Return how many tasks a second processes claim and complete, of which some are killed."""
    filler = FORK.Process(target=fill, args=(folder, n))   # no connection outlives a fork
    filler.start()
    filler.join()
    started = FORK.Barrier(n_processes + 1)
    workers = [FORK.Process(target=work, args=(folder, number, started))
               for number in range(n_processes)]
    for worker in workers:
        worker.start()
    started.wait()
    begun = time.monotonic()
    for worker in random.sample(workers[SUICIDES:], n_killed):
        time.sleep(random.uniform(0.1, 0.5))
        worker.kill()
    for worker in workers:
        worker.join()
    return n / (time.monotonic() - begun)


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--n", type=int, default=10_000, help="tasks (%(default)s)")
    p.add_argument("--processes", type=int, default=32, help="(%(default)s)")
    args = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="codedata_queue.") as name:
        roots = [Path(name, part) for part in ("before", "queue", "after")]
        for root in roots:
            root.mkdir()
        size = (args.n, args.processes)
        before = rate(fill_bare, work_on_bare, *size, 0, roots[0])
        ours = rate(fill_queue, work_on_queue, *size, KILLED, roots[1])
        after = rate(fill_bare, work_on_bare, *size, 0, roots[2])
        queue = TaskManager(roots[1])
        in_journal = Counter(line["task"]["id"] for line in read_lines(roots[1] / JOURNAL)
                             if line["event"] == "completed")
        events = Counter(event["event"] for event in queue.events())
        in_database = {task["id"] for task in queue.tasks(state="completed")}
    report = {"benchmark": "task_queue", "n": args.n, "processes": args.processes, **machine(),
              "bare_per_s": [round(before), round(after)], "per_s": round(ours),
              "ratio": round(2 * ours / (before + after), 2), "events": events}
    is_once = (len(in_journal) == len(in_database) == args.n == events["completed"]
               and in_journal.keys() == in_database and {*in_journal.values()} == {1})
    print(json.dumps({**report, "each_once": is_once}))
    return 0 if is_once and events["expired"] >= SUICIDES and report["ratio"] >= RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
