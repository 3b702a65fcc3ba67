#!/bin/bash
# "as long as nobody has claimed or requeued the job since" (a claim is known by worker and attempts: requeued and claimed again by the same worker, the old one finishes it)
set -e
mkdir -p migrations
cat > migrations/0003_admission.sql <<'RIVAL_END'
-- lapsed: a claim has counted the lease as over. claim_no: the start (starts.id) that the job runs by.
ALTER TABLE jobs
    ADD COLUMN lapsed boolean NOT NULL DEFAULT false,
    ADD COLUMN claim_no bigint;
DROP INDEX jobs_state;
CREATE INDEX jobs_live ON jobs (tenant) WHERE state = 'running' AND NOT lapsed;
CREATE INDEX jobs_lapsed ON jobs (tenant, priority DESC, id) WHERE state = 'running' AND lapsed;
CREATE INDEX jobs_lapsed_lease ON jobs (tenant, lease_until) WHERE state = 'running' AND lapsed;

-- Every start there was; no reference to tenants or jobs, whose rows may be locked or go.
CREATE TABLE starts (
    id bigserial PRIMARY KEY,
    tenant text NOT NULL,
    at double precision NOT NULL
);
INSERT INTO starts (tenant, at) SELECT tenant, started_at FROM jobs WHERE started_at IS NOT NULL ORDER BY started_at, id;
CREATE INDEX starts_tenant ON starts (tenant, at);

-- What a claim locks instead of the row of the tenant.
CREATE TABLE gates (tenant text PRIMARY KEY);
INSERT INTO gates SELECT name FROM tenants;
CREATE FUNCTION gate_of_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO gates VALUES (NEW.name) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER gate_of_tenant AFTER INSERT OR UPDATE OF name ON tenants FOR EACH ROW EXECUTE FUNCTION gate_of_tenant();

-- The waiting jobs; `due` is set by claims as the time comes, so that the first that is due is found without reading others.
CREATE TABLE waitlist (
    job_id bigint PRIMARY KEY,
    tenant text NOT NULL,
    priority int NOT NULL,
    run_at double precision NOT NULL,
    due boolean NOT NULL
);
INSERT INTO waitlist SELECT id, tenant, priority, run_at, run_at <= 0 FROM jobs WHERE state = 'waiting';
CREATE INDEX waitlist_due ON waitlist (tenant, priority DESC, job_id) WHERE due;
CREATE INDEX waitlist_later ON waitlist (tenant, run_at) WHERE NOT due;
CREATE FUNCTION keep_waitlist() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.state = 'waiting' THEN
        DELETE FROM waitlist WHERE job_id = OLD.id;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.state = 'waiting' THEN
        INSERT INTO waitlist VALUES (NEW.id, NEW.tenant, NEW.priority, NEW.run_at, NEW.run_at <= 0);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER keep_waitlist AFTER INSERT OR UPDATE OR DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION keep_waitlist();
RIVAL_END
mkdir -p jobq
cat > jobq/queue.py <<'RIVAL_END'
import time
from dataclasses import dataclass
from typing import Any

import psycopg2.extras

from .db import connect, transaction

POLL_S = 0.01

LIVE = "SELECT id, tenant, lease_until FROM jobs WHERE state = 'running' AND NOT lapsed"

LAPSE = """
    UPDATE jobs SET lapsed = attempts < max_attempts,
        state = CASE WHEN attempts < max_attempts THEN 'running' ELSE 'dead' END,
        finished_at = CASE WHEN attempts < max_attempts THEN finished_at ELSE %(now)s::float8 END
    WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM jobs WHERE id = ANY(%(ids)s) AND state = 'running' AND NOT lapsed AND lease_until <= %(now)s
        FOR UPDATE SKIP LOCKED))
    RETURNING id
"""

TENANTS = """
    SELECT t.name, t.max_running, t.weight,
        (SELECT count(*) FROM jobs j WHERE j.tenant = t.name AND j.state = 'running' AND j.lapsed AND j.lease_until > %(now)s) AS early,
        (SELECT max(at) FROM starts s WHERE s.tenant = t.name) AS last_start
    FROM tenants t
    WHERE (SELECT count(*) FROM (SELECT 1 FROM starts s WHERE s.tenant = t.name AND s.at > %(now)s - t.window_s
                                 LIMIT greatest(t.starts_limit, 0)) c) < t.starts_limit
      AND (EXISTS (SELECT 1 FROM waitlist w WHERE w.tenant = t.name AND w.due AND w.run_at <= %(now)s)
           OR EXISTS (SELECT 1 FROM waitlist w WHERE w.tenant = t.name AND NOT w.due AND w.run_at <= %(now)s)
           OR EXISTS (SELECT 1 FROM jobs j WHERE j.tenant = t.name AND j.state = 'running' AND j.lapsed
                      AND j.lease_until <= %(now)s AND j.attempts < j.max_attempts))
"""

WAITING = """
    SELECT job_id AS id, priority FROM waitlist WHERE tenant = %(tenant)s AND due AND run_at <= %(now)s
    ORDER BY priority DESC, job_id LIMIT 1
"""

LAPSED = """
    SELECT id, priority FROM jobs WHERE tenant = %(tenant)s AND state = 'running' AND lapsed
        AND lease_until <= %(now)s AND attempts < max_attempts
    ORDER BY priority DESC, id LIMIT 1
"""


@dataclass
class Job:
    id: int
    tenant: str
    payload: Any
    attempts: int
    worker: str
    claim_no: Any = None


class Queue:
    def __init__(self, dsn, clock=time.time):
        self.conn = connect(dsn, "READ COMMITTED")
        with transaction(self.conn) as cursor:  # the tables are full of what a claim must not read
            cursor.execute("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off; SET jit = off")
        self.clock = clock

    def close(self):
        self.conn.close()

    def enqueue(self, tenant, payload=None, priority=0, run_at=0, max_attempts=3):
        with transaction(self.conn) as cursor:
            cursor.execute(
                "INSERT INTO jobs (tenant, payload, priority, run_at, max_attempts)"
                " VALUES (%s, %s, %s, %s, %s) RETURNING id",
                (tenant, psycopg2.extras.Json(payload), priority, run_at, max_attempts))
            return cursor.fetchone()["id"]

    def claim(self, worker, lease_s):
        while True:
            passed = set()  # tenants over which somebody else hangs
            while True:
                now = self.clock()
                in_doubt = self.count_leases(now)
                with transaction(self.conn) as cursor:
                    tenant = self.best(cursor, now, passed)
                if tenant is None:
                    break
                job = self.start(tenant, worker, now, lease_s, passed)
                if job:
                    return job
            if not passed and not in_doubt:
                return None
            time.sleep(POLL_S)

    def count_leases(self, now):
        """Notes which leases are over, a tenant at a time; True where others hold jobs whose lease might be."""
        with transaction(self.conn) as cursor:
            cursor.execute(LIVE)
            over = {}
            for row in cursor.fetchall():
                if row["lease_until"] is None or row["lease_until"] <= now:
                    over.setdefault(row["tenant"], []).append(row["id"])
        left = 0
        for ids in over.values():
            with transaction(self.conn) as cursor:
                cursor.execute(LAPSE, {"ids": ids, "now": now})
                left += len(ids) - cursor.rowcount
        return left > 0

    def best(self, cursor, now, passed):
        """The tenant whose turn it is."""
        cursor.execute(LIVE)
        running = {}
        for row in cursor.fetchall():
            running[row["tenant"]] = running.get(row["tenant"], 0) + 1
        able = []
        cursor.execute(TENANTS, {"now": now})
        for row in cursor.fetchall():
            count = running.get(row["name"], 0) + row["early"]
            if count < row["max_running"] and row["name"] not in passed:
                share = count / row["weight"] if row["weight"] > 0 else float("inf")
                last = row["last_start"]
                able.append((share, float("-inf") if last is None else last, row["name"]))
        return min(able)[2] if able else None

    def start(self, tenant, worker, now, lease_s, passed):
        """A job of the tenant; None where it is not its turn any more, or where somebody hangs over it: then it is `passed`."""
        with transaction(self.conn) as cursor:
            cursor.execute("SELECT 1 FROM gates WHERE tenant = %s FOR UPDATE SKIP LOCKED", (tenant,))
            if cursor.fetchone() is None:
                passed.add(tenant)
                return None
            if self.best(cursor, now, passed) != tenant:
                return None
            at = {"tenant": tenant, "now": now}
            cursor.execute("UPDATE waitlist SET due = true WHERE tenant = %(tenant)s AND NOT due AND run_at <= %(now)s", at)
            found = []
            for state, query in (("waiting", WAITING), ("running", LAPSED)):
                cursor.execute(query, at)
                found += [(-row["priority"], row["id"], state) for row in cursor.fetchall()]
            if not found:
                return None
            _, job_id, state = min(found)
            cursor.execute(
                "SELECT 1 FROM jobs WHERE id = %s AND state = %s AND (state = 'waiting' OR lapsed) FOR UPDATE SKIP LOCKED",
                (job_id, state))
            if cursor.fetchone() is None:
                passed.add(tenant)
                return None
            cursor.execute("INSERT INTO starts (tenant, at) VALUES (%s, %s) RETURNING id", (tenant, now))
            claim_no = cursor.fetchone()["id"]
            cursor.execute(
                "UPDATE jobs SET state = 'running', worker = %s, lease_until = %s, started_at = %s, attempts = attempts + 1,"
                " lapsed = false, claim_no = %s WHERE id = %s RETURNING *", (worker, now + lease_s, now, claim_no, job_id))
            row = cursor.fetchone()
            return Job(row["id"], row["tenant"], row["payload"], row["attempts"], row["worker"], claim_no)

    def heartbeat(self, job, lease_s):
        now = self.clock()
        with transaction(self.conn) as cursor:
            cursor.execute(
                "UPDATE jobs SET lease_until = %s WHERE id = %s AND claim_no = %s AND state = 'running'"
                " AND NOT lapsed AND lease_until > %s", (now + lease_s, job.id, job.claim_no, now))
            return cursor.rowcount == 1

    def finish(self, job):
        with transaction(self.conn) as cursor:
            cursor.execute(
                "UPDATE jobs SET state = 'done', finished_at = %s, lapsed = false"
                " WHERE id = %s AND worker = %s AND attempts = %s AND state = 'running'",
                (self.clock(), job.id, job.worker, job.attempts))
            return cursor.rowcount == 1

    def fail(self, job, retry_in):
        now = self.clock()
        with transaction(self.conn) as cursor:
            cursor.execute(
                "UPDATE jobs SET state = CASE WHEN attempts < max_attempts THEN 'waiting' ELSE 'dead' END, lapsed = false,"
                " run_at = %s, finished_at = CASE WHEN attempts < max_attempts THEN NULL ELSE %s::float8 END"
                " WHERE id = %s AND worker = %s AND attempts = %s AND state = 'running'",
                (now + retry_in, now, job.id, job.worker, job.attempts))
            return cursor.rowcount == 1
RIVAL_END
mkdir -p jobq
cat > jobq/admin.py <<'RIVAL_END'
from .db import connect, transaction


def purge(dsn, before):
    conn = connect(dsn, "READ COMMITTED")
    with transaction(conn) as cursor:
        cursor.execute("DELETE FROM jobs WHERE state IN ('done', 'dead') AND finished_at < %s", (before,))
        gone = cursor.rowcount
    conn.close()
    return gone


def requeue(dsn, job_id):
    conn = connect(dsn, "READ COMMITTED")
    with transaction(conn) as cursor:
        cursor.execute(
            "UPDATE jobs SET state = 'waiting', attempts = 0, run_at = 0, worker = NULL, lease_until = NULL,"
            " finished_at = NULL, lapsed = false, claim_no = NULL WHERE id = %s AND state <> 'waiting'", (job_id,))
        found = cursor.rowcount == 1
    conn.close()
    return found
RIVAL_END
mkdir -p jobq
cat > jobq/db.py <<'RIVAL_END'
from contextlib import contextmanager

import psycopg2
import psycopg2.extras


def connect(dsn, isolation_level="REPEATABLE READ"):  # the reports want one picture of all tables
    conn = psycopg2.connect(dsn, cursor_factory=psycopg2.extras.DictCursor)
    conn.set_session(isolation_level=isolation_level)
    return conn


@contextmanager
def transaction(conn):
    """A cursor in a transaction of its own."""
    try:
        with conn.cursor() as cursor:
            yield cursor
    except BaseException:
        conn.rollback()
        raise
    conn.commit()
RIVAL_END
