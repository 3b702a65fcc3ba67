import json
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psycopg2
import pytest

BIN = "/usr/lib/postgresql/15/bin"
STALL = (918273, 5)  # the advisory lock that a stalled transaction waits for

# A worker process: reads calls as lines of JSON, and answers each.
WORKER = """
import json, sys
sys.path.insert(0, "/app")
from jobq import Queue, admin
from jobq.migrate import migrate
now, taken, q = [0], [], None
for line in sys.stdin:
    do, dsn, now[0], words = json.loads(line)
    try:
        if do == "open":
            if q:
                q.close()
            q, answer = Queue(dsn, clock=lambda: now[0]), None
        elif do == "migrate":
            answer = migrate(dsn)
        elif do in ("purge", "requeue"):
            answer = getattr(admin, do)(dsn, *words)
        elif do == "claim":
            job = q.claim(*words)
            if job:
                taken.append(job)
            answer = job and {"n": len(taken) - 1, "id": job.id, "tenant": job.tenant, "attempts": job.attempts,
                              "worker": job.worker, "payload": job.payload}
        elif do == "enqueue":
            answer = q.enqueue(words[0], **words[1])
        else:
            answer = getattr(q, do)(taken[words[0]], *words[1:])
        print(json.dumps({"ok": answer}), flush=True)
    except Exception as error:
        print(json.dumps({"error": repr(error)}), flush=True)
"""

VERSION_2 = """
CREATE TABLE schema_version (version int PRIMARY KEY);
INSERT INTO schema_version VALUES (1), (2);
CREATE TABLE tenants (name text PRIMARY KEY, max_running int NOT NULL, starts_limit int NOT NULL,
    window_s double precision NOT NULL, weight double precision NOT NULL DEFAULT 1);
CREATE TABLE jobs (id bigserial PRIMARY KEY, tenant text NOT NULL REFERENCES tenants (name), payload jsonb,
    state text NOT NULL DEFAULT 'waiting', attempts int NOT NULL DEFAULT 0, worker text,
    lease_until double precision, started_at double precision, finished_at double precision);
CREATE INDEX jobs_state ON jobs (state);
ALTER TABLE jobs ADD COLUMN priority int NOT NULL DEFAULT 0, ADD COLUMN run_at double precision NOT NULL DEFAULT 0,
    ADD COLUMN max_attempts int NOT NULL DEFAULT 3;
CREATE INDEX jobs_finished ON jobs (finished_at);
"""


class Worker:
    def __init__(self, name):
        self.name, self.dsn, self.waits = name, None, False
        self.process = subprocess.Popen([sys.executable, "-c", WORKER], stdin=subprocess.PIPE, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def send(self, do, now, *words):
        self.process.stdin.write(json.dumps([do, self.dsn, now, words]) + "\n")
        self.process.stdin.flush()
        self.waits = True

    def ready(self, seconds=0):
        return bool(select.select([self.process.stdout], [], [], seconds)[0])

    def answer(self, seconds=30):
        assert self.ready(seconds), f"{self.name} got no answer in {seconds} s"
        self.waits = False
        answer = json.loads(self.process.stdout.readline() or '{"error": "the worker has ended"}')
        assert "ok" in answer, f"{self.name}: {answer}"
        return answer["ok"]

    def call(self, do, now, *words):
        self.send(do, now, *words)
        return self.answer()

    def claim(self, now, lease=100):
        return self.call("claim", now, self.name, lease)


class Gate:
    """A way to the database that calls `hook` before the at-th piece that comes by."""

    def __init__(self, folder):
        self.target, self.at, self.n, self.hook = str(folder / ".s.PGSQL.5432"), 0, 0, None
        self.folder = folder / "gate"
        self.folder.mkdir()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.folder / ".s.PGSQL.5432"))
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, server = self.listener.accept()[0], socket.socket(socket.AF_UNIX)
            server.connect(self.target)
            threading.Thread(target=self.pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, False), daemon=True).start()

    def pump(self, source, sink, counts):
        try:
            while piece := source.recv(1 << 16):
                self.n += counts
                if counts and self.n == self.at:
                    self.hook()
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class World:
    """A cluster of its own, workers as processes, and for each test a fresh database."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="jobq-", dir="/tmp"))
        shutil.copytree("/opt/pg/template", self.folder / "data")
        (self.folder / "data").chmod(0o700)
        # Workers are nobody's superuser: what PostgreSQL counts is out of their hands.
        word = secrets.token_hex(16)
        subprocess.run([f"{BIN}/postgres", "--single", "-D", str(self.folder / "data"), "postgres"], text=True, check=True,
                       input=f"ALTER ROLE postgres PASSWORD '{word}';\n", stdout=subprocess.DEVNULL, timeout=60)
        (self.folder / "data" / "pg_hba.conf").write_text("local all jobq trust\nlocal all all scram-sha-256\n")
        self.root = f"host={self.folder} user=postgres password={word}"
        done = subprocess.run([
            f"{BIN}/pg_ctl", "-D", str(self.folder / "data"), "-w", "-t", "60", "-l", str(self.folder / "log"), "-o",
            f"-c listen_addresses= -c unix_socket_directories={self.folder} -c max_connections=60", "start"],
            stdout=subprocess.DEVNULL, timeout=90)
        assert done.returncode == 0, "PostgreSQL does not start"
        self.number, self.pool, self.gate = 0, [], Gate(self.folder)

    def open(self, workers, *tenants, old=None):
        self.close()
        self.number += 1
        root = psycopg2.connect(f"{self.root} dbname=postgres")
        root.autocommit = True
        root.cursor().execute(f"CREATE DATABASE d{self.number} OWNER jobq")
        root.close()
        self.dsn = f"host={self.folder} user=jobq dbname=d{self.number}"
        self.conn = psycopg2.connect(f"{self.root} dbname=d{self.number}")
        self.conn.autocommit = True
        if old:
            self.sql(f"SET ROLE jobq; {VERSION_2}; {old}; RESET ROLE")
        while len(self.pool) < workers:
            self.pool.append(Worker(f"w{len(self.pool)}"))
        for worker in self.pool:
            if worker.waits:
                worker.process.kill()
                worker.__init__(worker.name)
            worker.dsn = self.dsn
        self.pool[0].call("migrate", 0)
        for name, running, starts, window, weight in tenants:
            self.sql("INSERT INTO tenants VALUES (%s, %s, %s, %s, %s)", name, running, starts, window, weight)
        for worker in self.pool[:workers]:
            worker.send("open", 0)
        for worker in self.pool[:workers]:
            worker.answer()
        self.files = self.shared()
        return self.pool[:workers]

    def close(self):
        if self.number:
            self.conn.close()

    def sql(self, text, *values):
        with self.conn.cursor() as cursor:
            cursor.execute(text, values or None)
            return cursor.fetchall() if cursor.description else None

    def shared(self):
        """The files that workers of one machine could share, and the times of their last changes."""
        tops = ["/tmp", "/var/tmp", "/dev/shm", "/app", os.environ.get("HOME", "/app")]
        others = ["-path", str(self.folder), "-prune", "-o", "-name", "__pycache__", "-prune", "-o", "-name", "PostgreSQL.*", "-o"]
        done = subprocess.run(["find", *tops, *others, "-name", "*faketime*", "-o", "-type", "f", "-printf", "%p %T@\n"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=30)
        return set(done.stdout.splitlines())

    def running(self, tenant, now):
        return self.sql("SELECT count(*) FROM jobs WHERE tenant = %s AND state = 'running' AND lease_until > %s",
                        tenant, now)[0][0]

    def stall(self, tenant):
        """From now on writes to the tenant's jobs stand still, until go()."""
        self.sql(f"""CREATE OR REPLACE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM pg_advisory_xact_lock_shared({STALL[0]}, {STALL[1]}); RETURN new; END $$;
            CREATE OR REPLACE TRIGGER stall BEFORE UPDATE ON jobs FOR EACH ROW WHEN (new.tenant = '{tenant}')
            EXECUTE FUNCTION stall(); SELECT pg_advisory_lock({STALL[0]}, {STALL[1]})""")

    def stalled(self, count=1):
        self.until(lambda: self.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                                    " AND classid = %s AND objid = %s", *STALL)[0][0] >= count, "nothing stands still")
        assert self.shared() == self.files, "workers leave files"
        for worker in self.pool:
            for about in Path(f"/proc/{worker.process.pid}/fdinfo").iterdir():
                assert "lock:" not in about.read_text(), f"{worker.name} holds a lock that other machines do not see"

    def settled(self, workers, looks=20):
        """Each of the workers has its answer, waits for a lock, or asks again and again."""
        end, asked = time.monotonic() + 4, {}
        while time.monotonic() < end:
            busy = 0
            for pid, start, event in self.sql("SELECT pid, query_start, wait_event_type FROM pg_stat_activity"
                                              " WHERE datname = current_database() AND pid <> pg_backend_pid()"):
                asked.setdefault(pid, set()).add(start)
                busy += event == "Lock" or len(asked[pid]) > looks
            if sum(not worker.ready() for worker in workers) <= busy:
                return
            time.sleep(0.005)

    def until(self, reached, what):
        end = time.monotonic() + 30
        while not reached():
            assert time.monotonic() < end, what
            time.sleep(0.005)

    def go(self):
        self.sql("SELECT pg_advisory_unlock(%s, %s)", *STALL)
        self.sql("DROP TRIGGER stall ON jobs")


@pytest.fixture(scope="module")
def world():
    world = World()
    yield world
    for worker in world.pool:
        worker.process.kill()
        worker.process.wait(timeout=20)
    subprocess.run([f"{BIN}/pg_ctl", "-D", str(world.folder / "data"), "-m", "immediate", "stop"],
                   stdout=subprocess.DEVNULL, timeout=60)
    shutil.rmtree(world.folder, ignore_errors=True)


def names(jobs):
    return [job and job["tenant"] for job in jobs]


def test_order_windows_and_leases(world):
    w, v = world.open(2, ("c", 3, 9, 10, 1), ("a", 3, 9, 10, 1), ("b", 9, 9, 10, 2))
    for tenant in "cba":
        for number in range(4):
            w.call("enqueue", 0, tenant, {"priority": number % 2, "payload": {"n": number}})
    # running / weight, then the longest without a start, then the name
    jobs = [w.claim(100 + n, 500) for n in range(9)]
    assert "".join(names(jobs)) == "abcbacbba", names(jobs)
    assert [job["payload"]["n"] for job in jobs if job["tenant"] == "b"] == [1, 3, 0, 2]
    assert names(w.claim(110 + n, 500) for n in range(3)) == ["c", None, None]

    # Starts: the window's edges, and a start stays one whatever becomes of its job.
    w, v = world.open(2, ("a", 9, 2, 10, 1))
    ids = [w.call("enqueue", 0, "a", {"run_at": at}) for at in (0, 0, 0, 120.5, 0)]
    first, second = w.claim(100), w.claim(104)
    assert w.call("finish", 105, first["n"]) is True and w.call("fail", 105, second["n"], 0) is True
    assert w.claim(109.9) is None
    assert v.call("purge", 109, 108) == 1 and v.call("requeue", 109, ids[0]) is False
    assert w.claim(109.95) is None
    again = v.claim(110)
    assert again["id"] == second["id"] and again["attempts"] == 2
    assert v.claim(113.9) is None and v.claim(114)["id"] == ids[2]
    assert v.claim(120)["id"] == ids[4] and v.claim(120.4) is None and v.claim(124)["id"] == ids[3]
    assert v.claim(1110)
    world.sql("UPDATE tenants SET window_s = 100 * window_s, starts_limit = 4")  # 114, 120 and 124 count again
    assert v.claim(1113.9) is None and v.claim(1114)

    # What is taken back stands in one row with what waits.
    w, v = world.open(2, ("a", 9, 99, 10, 1))
    ids = [w.call("enqueue", 0, "a", {"priority": 1}) for _ in range(3)]
    assert [w.claim(100, 5)["id"] for _ in range(2)] == ids[:2]
    ids += [w.call("enqueue", 0, "a", {"priority": priority}) for priority in (0, 2)]
    jobs = [v.claim(110) for _ in range(5)]
    assert [job["id"] for job in jobs] == [ids[4], *ids[:4]]
    assert v.call("fail", 111, jobs[0]["n"], 5) is True and v.claim(115.9) is None and v.claim(116)["id"] == ids[4]
    assert v.call("fail", 300, jobs[1]["n"], 0) is True, "nobody has claimed it since"

    # Leases: the edge, the late finish, requeue, the last attempt.
    w, v = world.open(2, ("a", 1, 99, 10, 1), ("b", 5, 99, 10, 1))
    ids = [w.call("enqueue", 0, "a", {"max_attempts": 2}) for _ in range(2)]
    job = w.claim(100, 10)
    assert v.claim(109.9) is None and w.call("heartbeat", 109.9, job["n"], 5) is True
    assert v.claim(114.25) is None and w.call("heartbeat", 114.5, job["n"], 0.5) is True
    assert w.call("heartbeat", 115, job["n"], 50) is False
    late = v.claim(115, 10)
    assert late["id"] == job["id"] and late["attempts"] == 2
    for call in (("heartbeat", 116, job["n"], 50), ("finish", 116, job["n"]), ("fail", 116, job["n"], 0)):
        assert w.call(*call) is False, f"{call[0]} of the old holder"
    assert v.call("requeue", 117, late["id"]) is True
    for call in (("heartbeat", 118, late["n"], 50), ("finish", 118, late["n"]), ("fail", 118, late["n"], 0)):
        assert v.call(*call) is False, f"{call[0]} after a requeue"
    anew = w.claim(119, 10)  # the same worker, the same job, the same number of attempts as the first holder had
    assert anew["id"] == ids[0] and anew["attempts"] == 1
    assert v.call("finish", 120, late["n"]) is False and w.call("finish", 120, job["n"]) is False
    columns = "SELECT state, worker, started_at, lease_until, finished_at FROM jobs WHERE id = %s"
    assert world.sql(columns, ids[0]) == [("running", w.name, 119, 129, None)]
    assert w.call("finish", 140, anew["n"]) is True, "nobody has claimed it since"
    assert world.sql(columns, ids[0])[0][::2] == ("done", 119, 140)
    last = [w.claim(200, 10), w.claim(210, 10)]
    assert [job["id"] for job in last] == [ids[1]] * 2
    other = v.call("enqueue", 0, "b", {})
    assert v.claim(219.9, 10)["id"] == other and v.claim(220, 10) is None
    assert world.sql("SELECT state, attempts FROM jobs WHERE id = %s", ids[1]) == [("dead", 2)]
    assert w.call("finish", 221, last[1]["n"]) is False and w.call("fail", 221, last[1]["n"], 0) is False
    assert v.call("purge", 222, 220) == 1 and v.call("purge", 222, 220.5) == 1


def test_calls_that_fall_together(world):
    # One may run; three claims.
    workers = world.open(9, ("x", 1, 99, 10, 1), ("y", 9, 99, 10, 1))
    a, b, c = workers[:3]
    for tenant in "xxxy":
        a.call("enqueue", 0, tenant, {})
    world.stall("x")
    a.send("claim", 100, "a", 50)
    world.stalled()
    assert b.claim(100)["tenant"] == "y", "a claim waits for a stranger, or passes y over"
    b.send("claim", 100, "b", 50)
    c.send("claim", 100, "c", 50)
    world.settled([a, b, c])
    world.go()
    jobs = [worker.answer() for worker in (a, b, c)]
    assert sorted(map(str, names(jobs))) == ["None", "None", "x"] and world.running("x", 100) == 1

    # The heartbeat and the claim at the lease's end, each of them first; one of the claims has a job to bury.
    for first in ("heartbeat", "claim", "burial"):
        world.open(3, ("x", 1, 99, 1000, 1), ("y", 9, 99, 10, 1))
        for tenant in "xyyy" if first == "burial" else "xxyy":
            a.call("enqueue", 0, tenant, {"max_attempts": 1 if first == "burial" else 3})
        job = a.claim(100, 10)
        assert job["tenant"] == "x"
        calls = [(a, ("heartbeat", 109.9, job["n"], 50)), (b, ("claim", 110.1, "b", 50))]
        if first != "heartbeat":
            calls.reverse()
            assert c.claim(105)["tenant"] == "y"
        if first == "claim":  # it takes another row than the heartbeat
            b.call("enqueue", 0, "x", {"priority": 5})
        world.stall("x")
        calls[0][0].send(*calls[0][1])
        world.stalled()
        assert c.claim(109.95 if first == "heartbeat" else 110.1)["tenant"] == "y", f"a claim waits for a stranger's {first}"
        calls[1][0].send(*calls[1][1])
        world.settled([a, b])
        world.go()
        answers = {calls[0][0].name: calls[0][0].answer(), calls[1][0].name: calls[1][0].answer()}
        assert world.running("x", 110.1) <= 1, f"{first} first: {answers}"
        assert answers[a.name] is (first == "heartbeat"), answers
        assert bool(answers[b.name]) or first == "heartbeat", answers

    # Eight at once, eight may start: of one tenant, and of four; by the starts, and by what runs.
    for tenants, running, starts in (("x", 8, 99), ("pqrs", 2, 99), ("x", 99, 8), ("pqrs", 99, 2)):
        world.open(9, *((name, running, starts, 10, 1) for name in tenants))
        for number in range(12):
            for name in tenants:
                a.call("enqueue", 0, name, {})
        world.stall(tenants[0])
        for worker in workers:
            worker.send("claim", 100, worker.name, 50)
        world.settled(workers)
        world.go()
        jobs = [worker.answer() for worker in workers]
        got = [job["id"] for job in jobs if job]
        assert all(job["worker"] == worker.name for worker, job in zip(workers, jobs) if job)
        assert len(got) == len(set(got)) == 8, f"{len(got)} of 8 jobs were started"
        for name in tenants:
            assert world.running(name, 100) == 8 // len(tenants)

    # A claim that stands still before each of its requests, while another one comes by; one may start, by either limit.
    world.open(2, *((f"{name}{at}", running, starts, 10, 1) for at in range(1, 40) for name, running, starts in (("r", 1, 99), ("s", 99, 1))))
    a.dsn = world.dsn.replace(str(world.folder), str(world.gate.folder))
    a.call("open", 0)
    for at in range(1, 40):
        for name in (f"r{at}", f"s{at}"):
            b.call("enqueue", 0, name, {})
            b.call("enqueue", 0, name, {})

            def come_by():
                b.send("claim", 100, "b", 50)
                world.settled([b], 5)

            world.gate.n, world.gate.at, world.gate.hook = 0, at, come_by
            got = names([a.claim(100), b.answer() if b.waits else None])
            assert sorted(map(str, got)) == ["None", name], f"{got}: two claims at once, one of them before its request {at}"
        if world.gate.n < at:
            break
    world.gate.at = 0

    # Support holds the tenant's row.
    world.open(2, ("x", 9, 99, 10, 1), ("y", 9, 99, 10, 1))
    for tenant in "xxy":
        a.call("enqueue", 0, tenant, {})
    support = psycopg2.connect(world.dsn)
    support.cursor().execute("SELECT * FROM tenants FOR UPDATE")
    a.send("claim", 100, "a", 50)
    assert a.ready(20), "a claim waits for support"
    job = a.answer()
    assert job and job["tenant"] == "x", "support is passed over"
    a.send("heartbeat", 101, job["n"], 50)
    assert a.ready(20) and a.answer() is True
    support.rollback()
    support.close()


def test_upgrade(world):
    w, v = world.open(2, old="""
        INSERT INTO tenants VALUES ('a', 2, 4, 100), ('b', 5, 2, 10), ('c', 1, 9, 10);
        INSERT INTO jobs (tenant, state, attempts, worker, lease_until, started_at, finished_at, run_at, max_attempts) VALUES
            ('a', 'done', 1, 'o', 990, 950, 960, 0, 3), ('a', 'waiting', 1, 'o', 990, 960, NULL, 0, 3),
            ('a', 'running', 1, 'o', 1030, 970, NULL, 0, 3), ('b', 'dead', 3, 'o', 990, 994, 995, 0, 3),
            ('b', 'waiting', 0, NULL, NULL, NULL, NULL, 0, 3), ('b', 'waiting', 0, NULL, NULL, NULL, NULL, 0, 3),
            ('c', 'running', 3, 'o', 1001, 990, NULL, 0, 3), ('c', 'waiting', 0, NULL, NULL, NULL, NULL, 0, 3);
    """)
    v.call("migrate", 0)
    assert v.call("purge", 1000, 2000) == 2
    # b: one start at 994, lowest load; a: one runs, and three starts since 900; c: its only slot is in use until 1001
    assert [(job["tenant"], job["id"]) for job in (w.claim(1000, 500), w.claim(1000, 500))] == [("b", 5), ("a", 2)]
    assert w.claim(1000.5) is None
    assert w.claim(1001, 5)["id"] == 8 and world.sql("SELECT state FROM jobs WHERE id = 7") == [("dead",)]
    assert w.claim(1003.9) is None and w.claim(1004, 500)["id"] == 6
    again = w.claim(1050, 5)  # a: 950 is out of the window, job 3's lease is over, and c's, whose load is lower
    assert (again["tenant"], again["id"], again["attempts"]) == ("c", 8, 2)
    again = w.claim(1050, 5)
    assert (again["tenant"], again["id"], again["attempts"]) == ("a", 3, 2)
    for number in range(3):
        w.call("enqueue", 0, "a", {})
    assert w.claim(1056, 5)["tenant"] == "c"
    assert w.claim(1059.9, 5) is None and w.claim(1060, 5)["id"] == 3


def test_cost(world):
    w, v = world.open(2, ("a", 5, 9, 10, 1), ("b", 5, 9, 10, 1), ("full", 1, 99, 10, 9), ("spent", 9, 1, 1000, 9))
    world.sql("""INSERT INTO jobs (tenant, priority, state, finished_at)
        SELECT (ARRAY['a', 'full', 'spent', 'b'])[1 + n % 4], n % 7, CASE WHEN n % 5 = 0 THEN 'done' ELSE 'waiting' END,
            CASE WHEN n % 5 = 0 THEN 50 END FROM generate_series(1, 20000) n""")
    world.sql("INSERT INTO jobs (tenant, priority) VALUES ('full', 9), ('spent', 9)")
    world.sql("ANALYZE")
    got = names(w.claim(100 + n, 900) for n in range(4))
    assert sorted(got) == ["a", "b", "full", "spent"]
    worker = Worker("measured")
    worker.dsn = world.dsn
    worker.call("open", 0)
    world.sql("INSERT INTO jobs (tenant, priority) VALUES ('b', 7), ('a', 7)")
    due = [row[0] for name in "ab" for row in world.sql(
        "SELECT id FROM jobs WHERE tenant = %s AND state = 'waiting' ORDER BY priority DESC, id LIMIT 3", name)]
    read = """SELECT (SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables)
        + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes)"""
    for process in (w, v):
        process.process.stdin.close()
        process.process.wait(timeout=20)
    world.pool[:2] = []
    world.until(lambda: world.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                                  " AND backend_type = 'client backend'")[0][0] == 2, "the workers do not end")
    world.sql("SELECT pg_stat_force_next_flush()")
    before = world.sql(read)[0][0]
    jobs = [worker.claim(200 + n, 900) for n in range(6)]
    assert names(jobs) == ["a", "b", "a", "b", "a", "b"] and [job["id"] for job in jobs[::2] + jobs[1::2]] == due
    assert worker.claim(206, 900)["tenant"] in "ab"
    worker.process.stdin.close()
    worker.process.wait(timeout=20)
    world.until(lambda: world.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                                  " AND backend_type = 'client backend'")[0][0] == 1, "the worker does not end")
    rows = world.sql(read)[0][0] - before
    assert 7 <= rows <= 7 * 250, f"seven claims have read {rows} rows"
