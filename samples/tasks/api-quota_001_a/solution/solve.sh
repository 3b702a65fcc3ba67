#!/bin/bash
set -e

cat > migrations/0003_admission.sql <<'EOF'
-- No foreign key: whoever holds the row of a tenant would hold up its claims.
CREATE TABLE starts (
    tenant text NOT NULL,
    at double precision NOT NULL
);
CREATE INDEX starts_tenant ON starts (tenant, at);
INSERT INTO starts SELECT tenant, started_at FROM jobs WHERE started_at IS NOT NULL;

-- The claim that a running job belongs to; `attempts` may be set back.
CREATE SEQUENCE claims;
ALTER TABLE jobs ADD COLUMN claim_no bigint;
UPDATE jobs SET claim_no = nextval('claims') WHERE state = 'running';

DROP INDEX jobs_state;
CREATE INDEX jobs_waiting ON jobs (tenant, priority DESC, id) WHERE state = 'waiting';
CREATE INDEX jobs_running ON jobs (tenant, lease_until) WHERE state = 'running';
CREATE INDEX jobs_leases ON jobs (lease_until) WHERE state = 'running';
EOF

python3 - <<'EOF'
from pathlib import Path

file = Path("jobq/queue.py")
text = file.read_text()
head, rest = text.split('CANDIDATE = """', 1)
rest = rest.split("\n@dataclass", 1)[1]
job, rest = rest.split("    def claim(", 1)
job = job.replace("    worker: str\n", "    worker: str\n    claim_no: int\n").replace(
    "        self.clock = clock\n",
    '        # What is read under the lock of a tenant has to be newer than the lock.\n'
    '        self.conn.set_session(isolation_level="READ COMMITTED")\n'
    "        self.clock = clock\n")
file.write_text(head + '''# The tenants that can start something, in their order.
CANDIDATES = """
    SELECT t.name FROM tenants t
    CROSS JOIN LATERAL (
        SELECT count(*) AS n FROM jobs j
        WHERE j.tenant = t.name AND j.state = 'running' AND j.lease_until > %(now)s
    ) running
    CROSS JOIN LATERAL (
        SELECT count(*) AS n FROM starts s WHERE s.tenant = t.name AND s.at > %(now)s - t.window_s
    ) recent
    CROSS JOIN LATERAL (SELECT max(s.at) AS at FROM starts s WHERE s.tenant = t.name) last
    LEFT JOIN LATERAL (
        SELECT j.id FROM jobs j WHERE j.tenant = t.name AND j.state = 'waiting' AND j.run_at <= %(now)s
        ORDER BY j.priority DESC, j.id LIMIT 1
    ) due ON true
    LEFT JOIN LATERAL (
        SELECT j.id FROM jobs j WHERE j.tenant = t.name AND j.state = 'running' AND j.lease_until <= %(now)s
        AND j.attempts < j.max_attempts LIMIT 1
    ) lost ON true
    WHERE running.n < t.max_running AND recent.n < t.starts_limit
        AND (due.id IS NOT NULL OR lost.id IS NOT NULL)
        AND (%(tenant)s::text IS NULL OR t.name = %(tenant)s)
    ORDER BY running.n / t.weight, last.at NULLS FIRST, t.name COLLATE "C"
"""

# The best job of a tenant, once of those that wait and once of those whose lease has ended.
JOBS = [
    f"""SELECT id, priority FROM jobs WHERE tenant = %(tenant)s AND {which}
        ORDER BY priority DESC, id LIMIT 1 FOR UPDATE SKIP LOCKED"""
    for which in ("state = 'waiting' AND run_at <= %(now)s",
                  "state = 'running' AND lease_until <= %(now)s AND attempts < max_attempts")
]

# What a tenant may do is read and written under this lock. A claim waits for one only while it holds no other.
LOCK = "SELECT pg_advisory_xact_lock(20051, hashtext(%s))"
TRY_LOCK = "SELECT pg_try_advisory_xact_lock(20051, hashtext(%s))"

BURY = """
    UPDATE jobs SET state = 'dead', finished_at = %(now)s WHERE id IN (
        SELECT id FROM jobs WHERE state = 'running' AND lease_until <= %(now)s AND attempts >= max_attempts
        FOR UPDATE SKIP LOCKED)
"""


@dataclass''' + job + '''    def claim(self, worker, lease_s):
        now = self.clock()
        with transaction(self.conn) as cursor:
            cursor.execute(BURY, {"now": now})
        while True:
            with transaction(self.conn) as cursor:
                cursor.execute(CANDIDATES, {"now": now, "tenant": None})
                tenants = [row["name"] for row in cursor.fetchall()]
            busy = None
            for tenant in tenants:
                with transaction(self.conn) as cursor:
                    cursor.execute(TRY_LOCK, (tenant,))
                    if not cursor.fetchone()[0]:
                        busy = busy or tenant
                        continue
                    job = self._start(cursor, tenant, worker, now, lease_s)
                    if job:
                        return job
            if busy is None:
                return None
            # All that is left is with others: what they leave may be enough for this one, too.
            with transaction(self.conn) as cursor:
                cursor.execute(LOCK, (busy,))
                job = self._start(cursor, busy, worker, now, lease_s)
                if job:
                    return job

    def _start(self, cursor, tenant, worker, now, lease_s):
        values = {"now": now, "tenant": tenant}
        cursor.execute(CANDIDATES, values)
        if cursor.fetchone() is None:
            return None
        found = []
        for query in JOBS:
            cursor.execute(query, values)
            found += cursor.fetchall()
        if not found:
            return None
        best = min(found, key=lambda row: (-row["priority"], row["id"]))
        # None is ever deleted: the window may be made longer.
        cursor.execute("INSERT INTO starts VALUES (%s, %s)", (tenant, now))
        cursor.execute(
            "UPDATE jobs SET state = 'running', worker = %s, lease_until = %s, started_at = %s,"
            " attempts = attempts + 1, claim_no = nextval('claims') WHERE id = %s RETURNING *",
            (worker, now + lease_s, now, best["id"]))
        row = cursor.fetchone()
        return Job(row["id"], row["tenant"], row["payload"], row["attempts"], row["worker"], row["claim_no"])

    def heartbeat(self, job, lease_s):
        now = self.clock()
        with transaction(self.conn) as cursor:
            cursor.execute(LOCK, (job.tenant,))
            # A lease that has ended at the last start may have made room for it, whatever this clock says.
            cursor.execute(
                "UPDATE jobs SET lease_until = %s WHERE id = %s AND claim_no = %s AND state = 'running'"
                " AND lease_until > greatest(%s, (SELECT max(at) FROM starts WHERE tenant = %s))",
                (now + lease_s, job.id, job.claim_no, now, job.tenant))
            return cursor.rowcount == 1

    def finish(self, job):
        with transaction(self.conn) as cursor:
            cursor.execute(
                "UPDATE jobs SET state = 'done', finished_at = %s WHERE id = %s AND claim_no = %s AND state = 'running'",
                (self.clock(), job.id, job.claim_no))
            return cursor.rowcount == 1

    def fail(self, job, retry_in):
        now = self.clock()
        with transaction(self.conn) as cursor:
            cursor.execute(
                "UPDATE jobs SET state = CASE WHEN attempts < max_attempts THEN 'waiting' ELSE 'dead' END,"
                " run_at = %s, finished_at = CASE WHEN attempts < max_attempts THEN NULL ELSE %s::float8 END"
                " WHERE id = %s AND claim_no = %s AND state = 'running'",
                (now + retry_in, now, job.id, job.claim_no))
            return cursor.rowcount == 1
''')
EOF
