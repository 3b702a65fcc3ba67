#!/bin/bash
# advisory locks for tenants, order and start as SQL functions, tables of ready and of later jobs kept by triggers, a ticket from a sequence for each claim
set -e
mkdir -p migrations
cat > migrations/0003_admission.sql <<'RIVAL_END'
ALTER TABLE jobs ADD COLUMN ticket bigint, ADD COLUMN over boolean NOT NULL DEFAULT false;
CREATE SEQUENCE tickets;

CREATE TABLE start_log (tenant text NOT NULL, at double precision NOT NULL);
INSERT INTO start_log SELECT tenant, started_at FROM jobs WHERE started_at IS NOT NULL;
CREATE INDEX start_log_tenant ON start_log (tenant, at);

DROP INDEX jobs_state;
CREATE INDEX jobs_held ON jobs (tenant) WHERE state = 'running' AND NOT over;
CREATE INDEX jobs_over ON jobs (tenant, priority DESC, id) WHERE state = 'running' AND over;
CREATE INDEX jobs_over_until ON jobs (tenant, lease_until) WHERE state = 'running' AND over;

-- Waiting jobs: those whose time has come, and those that a claim moves there when it has.
CREATE TABLE ready (tenant text, rank int, id bigint, run_at double precision, PRIMARY KEY (tenant, rank, id));
CREATE TABLE later (tenant text, run_at double precision, id bigint, rank int, PRIMARY KEY (tenant, run_at, id));
INSERT INTO ready SELECT tenant, -priority, id, run_at FROM jobs WHERE state = 'waiting' AND run_at <= 0;
INSERT INTO later SELECT tenant, run_at, id, -priority FROM jobs WHERE state = 'waiting' AND run_at > 0;

CREATE FUNCTION jobs_unqueue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM ready WHERE tenant = OLD.tenant AND rank = -OLD.priority AND id = OLD.id;
    DELETE FROM later WHERE tenant = OLD.tenant AND run_at = OLD.run_at AND id = OLD.id;
    RETURN NULL;
END $$;
CREATE FUNCTION jobs_queue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.run_at <= 0 THEN
        INSERT INTO ready VALUES (NEW.tenant, -NEW.priority, NEW.id, NEW.run_at);
    ELSE
        INSERT INTO later VALUES (NEW.tenant, NEW.run_at, NEW.id, -NEW.priority);
    END IF;
    RETURN NULL;
END $$;
-- by name: jobs_1_... comes before jobs_2_...
CREATE TRIGGER jobs_1_changed AFTER UPDATE ON jobs FOR EACH ROW WHEN (OLD.state = 'waiting') EXECUTE FUNCTION jobs_unqueue();
CREATE TRIGGER jobs_1_deleted AFTER DELETE ON jobs FOR EACH ROW WHEN (OLD.state = 'waiting') EXECUTE FUNCTION jobs_unqueue();
CREATE TRIGGER jobs_2_changed AFTER UPDATE ON jobs FOR EACH ROW WHEN (NEW.state = 'waiting') EXECUTE FUNCTION jobs_queue();
CREATE TRIGGER jobs_2_inserted AFTER INSERT ON jobs FOR EACH ROW WHEN (NEW.state = 'waiting') EXECUTE FUNCTION jobs_queue();

-- The tenants that can start something at a time, the first first.
CREATE FUNCTION turn_order(moment double precision) RETURNS TABLE (tenant text)
LANGUAGE sql STABLE SET enable_seqscan = off SET enable_bitmapscan = off AS $$
    SELECT t.name
    FROM tenants t
    CROSS JOIN LATERAL (
        SELECT (SELECT count(*) FROM jobs j WHERE j.tenant = t.name AND j.state = 'running' AND NOT j.over)
             + (SELECT count(*) FROM jobs j WHERE j.tenant = t.name AND j.state = 'running' AND j.over AND j.lease_until > moment) AS n) r
    WHERE r.n < t.max_running
      AND (SELECT count(*) FROM start_log s WHERE s.tenant = t.name AND s.at > moment - t.window_s) < t.starts_limit
      AND (EXISTS (SELECT FROM ready q WHERE q.tenant = t.name AND q.run_at <= moment)
        OR EXISTS (SELECT FROM later q WHERE q.tenant = t.name AND q.run_at <= moment)
        OR EXISTS (SELECT FROM jobs j WHERE j.tenant = t.name AND j.state = 'running' AND j.over
                   AND j.lease_until <= moment AND j.attempts < j.max_attempts))
    ORDER BY CASE WHEN t.weight > 0 THEN r.n / t.weight ELSE 'infinity' END,
             (SELECT max(s.at) FROM start_log s WHERE s.tenant = t.name) NULLS FIRST, t.name
$$;

-- Starts the first job of a tenant for which the caller has the lock; no row where somebody else holds that job.
CREATE FUNCTION start_first(whose text, who text, moment double precision, lease double precision) RETURNS SETOF jobs
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    first bigint;
BEGIN
    WITH moved AS (DELETE FROM later l WHERE l.tenant = whose AND l.run_at <= moment RETURNING *)
    INSERT INTO ready SELECT m.tenant, m.rank, m.id, m.run_at FROM moved m;
    SELECT c.id INTO first FROM (
        (SELECT q.rank, q.id FROM ready q WHERE q.tenant = whose AND q.run_at <= moment ORDER BY q.rank, q.id LIMIT 1)
        UNION ALL
        (SELECT -j.priority, j.id FROM jobs j WHERE j.tenant = whose AND j.state = 'running' AND j.over
            AND j.lease_until <= moment AND j.attempts < j.max_attempts ORDER BY j.priority DESC, j.id LIMIT 1)) c
    ORDER BY c.rank, c.id LIMIT 1;
    PERFORM FROM jobs j WHERE j.id = first AND (j.state = 'waiting' OR j.state = 'running' AND j.over) FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
        INSERT INTO start_log VALUES (whose, moment);
        RETURN QUERY UPDATE jobs j SET state = 'running', worker = who, lease_until = moment + lease, started_at = moment,
            attempts = j.attempts + 1, over = false, ticket = nextval('tickets') WHERE j.id = first RETURNING j.*;
    END IF;
END $$;
RIVAL_END
mkdir -p jobq
cat > jobq/queue.py <<'RIVAL_END'
import time
from dataclasses import dataclass, field
from typing import Any

import psycopg2.extras

from .db import connect, transaction

LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('jobq tenant ' || %s, 0))"
HELD = "SELECT tenant, array_agg(id) FROM jobs WHERE state = 'running' AND NOT over AND lease_until <= %s GROUP BY tenant"
SETTLE = """
    UPDATE jobs SET over = true, state = CASE WHEN attempts < max_attempts THEN 'running' ELSE 'dead' END,
        finished_at = CASE WHEN attempts < max_attempts THEN finished_at ELSE %(now)s::float8 END
    WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM jobs WHERE id = ANY(%(ids)s) AND state = 'running' AND NOT over AND lease_until <= %(now)s
        FOR UPDATE SKIP LOCKED))
"""


@dataclass
class Job:
    id: int
    tenant: str
    payload: Any
    attempts: int
    worker: str
    ticket: Any = field(default=None, repr=False)


class Queue:
    def __init__(self, dsn, clock=time.time):
        self.conn = connect(dsn, "READ COMMITTED")
        self.clock = clock
        with transaction(self.conn) as cursor:
            cursor.execute("SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off")

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
        pause = 0.002
        while True:
            now = self.clock()
            busy = self.settle(now)
            order = self.order(now)
            while order:
                outcome = self.attempt(order[0], worker, now, lease_s, skipping=busy_names(busy))
                if isinstance(outcome, Job):
                    return outcome
                if outcome == "busy":
                    busy.append(order[0])
                order = [name for name in self.order(now) if name not in busy]
            if not busy:
                return None
            time.sleep(pause)
            pause = min(pause * 2, 0.03)

    def settle(self, now):
        """Marks the leases that are over. [None] where somebody holds such a job, so that it is not known yet."""
        with transaction(self.conn) as cursor:
            cursor.execute(HELD, (now,))
            over = cursor.fetchall()
        held = False
        for _, ids in over:
            with transaction(self.conn) as cursor:  # one for each tenant: whoever hangs here holds up nobody else
                cursor.execute(SETTLE, {"ids": ids, "now": now})
                held = held or cursor.rowcount < len(ids)
        return [None] if held else []

    def order(self, now):
        with transaction(self.conn) as cursor:
            cursor.execute("SELECT tenant FROM turn_order(%s)", (now,))
            return [row[0] for row in cursor.fetchall()]

    def attempt(self, tenant, worker, now, lease_s, skipping):
        with transaction(self.conn) as cursor:
            cursor.execute(LOCK, (tenant,))
            if not cursor.fetchone()[0]:
                return "busy"
            cursor.execute("SELECT tenant FROM turn_order(%s)", (now,))
            first = [row[0] for row in cursor.fetchall() if row[0] not in skipping][:1]
            if first != [tenant]:
                return "late"
            cursor.execute("SELECT * FROM start_first(%s, %s, %s, %s)", (tenant, worker, float(now), float(lease_s)))
            row = cursor.fetchone()
            if row is None:
                return "busy"
            return Job(row["id"], row["tenant"], row["payload"], row["attempts"], row["worker"], row["ticket"])

    def change(self, job, what, *values):
        with transaction(self.conn) as cursor:
            cursor.execute(f"UPDATE jobs SET {what} AND id = %s AND ticket = %s AND state = 'running'",
                           (*values, job.id, job.ticket))
            return cursor.rowcount == 1

    def heartbeat(self, job, lease_s):
        now = self.clock()
        return self.change(job, "lease_until = %s WHERE NOT over AND lease_until > %s", now + lease_s, now)

    def finish(self, job):
        return self.change(job, "state = 'done', finished_at = %s WHERE true", self.clock())

    def fail(self, job, retry_in):
        now = self.clock()
        return self.change(job, "state = CASE WHEN attempts < max_attempts THEN 'waiting' ELSE 'dead' END, run_at = %s,"
                           " finished_at = CASE WHEN attempts < max_attempts THEN NULL ELSE %s::float8 END WHERE true",
                           now + retry_in, now)


def busy_names(busy):
    return {name for name in busy if name is not None}
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
            " finished_at = NULL, over = false, ticket = NULL WHERE id = %s AND state <> 'waiting'", (job_id,))
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
