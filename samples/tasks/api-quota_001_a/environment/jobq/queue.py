import time
from dataclasses import dataclass
from typing import Any

import psycopg2.extras

from .db import connect, transaction

CANDIDATE = """
    SELECT j.id FROM jobs j JOIN tenants t ON t.name = j.tenant
    WHERE (j.state = 'waiting' AND j.run_at <= %(now)s OR j.state = 'running' AND j.lease_until < %(now)s)
      AND (SELECT count(*) FROM jobs r WHERE r.tenant = t.name AND r.state = 'running') < t.max_running
      AND (SELECT count(*) FROM jobs s WHERE s.tenant = t.name AND s.started_at > %(now)s - t.window_s)
          < t.starts_limit
    ORDER BY j.priority DESC, j.id
    LIMIT 1
"""


@dataclass
class Job:
    id: int
    tenant: str
    payload: Any
    attempts: int
    worker: str


class Queue:
    def __init__(self, dsn, clock=time.time):
        self.conn = connect(dsn)
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
        now = self.clock()
        with transaction(self.conn) as cursor:
            cursor.execute(CANDIDATE, {"now": now})
            row = cursor.fetchone()
            if row is None:
                return None
            cursor.execute(
                "UPDATE jobs SET state = 'running', worker = %s, lease_until = %s, started_at = %s,"
                " attempts = attempts + 1 WHERE id = %s RETURNING *",
                (worker, now + lease_s, now, row["id"]))
            row = cursor.fetchone()
            return Job(row["id"], row["tenant"], row["payload"], row["attempts"], row["worker"])

    def heartbeat(self, job, lease_s):
        with transaction(self.conn) as cursor:
            cursor.execute(
                "UPDATE jobs SET lease_until = %s WHERE id = %s AND worker = %s AND state = 'running'",
                (self.clock() + lease_s, job.id, job.worker))
            return cursor.rowcount == 1

    def finish(self, job):
        with transaction(self.conn) as cursor:
            cursor.execute(
                "UPDATE jobs SET state = 'done', finished_at = %s WHERE id = %s AND state = 'running'",
                (self.clock(), job.id))
            return cursor.rowcount == 1

    def fail(self, job, retry_in):
        now = self.clock()
        with transaction(self.conn) as cursor:
            cursor.execute(
                "UPDATE jobs SET state = CASE WHEN attempts < max_attempts THEN 'waiting' ELSE 'dead' END,"
                " run_at = %s, finished_at = CASE WHEN attempts < max_attempts THEN NULL ELSE %s::float8 END"
                " WHERE id = %s AND state = 'running'",
                (now + retry_in, now, job.id))
            return cursor.rowcount == 1
