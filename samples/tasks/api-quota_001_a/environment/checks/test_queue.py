import uuid

import psycopg2
import pytest

from jobq import Queue, admin
from jobq.migrate import migrate

SERVER = "host=127.0.0.1 port=5433 user=jobq"


@pytest.fixture
def dsn():
    name = f"check_{uuid.uuid4().hex[:8]}"
    conn = psycopg2.connect(f"{SERVER} dbname=jobq")
    conn.autocommit = True
    conn.cursor().execute(f"CREATE DATABASE {name}")
    dsn = f"{SERVER} dbname={name}"
    migrate(dsn)
    with psycopg2.connect(dsn) as fresh:
        fresh.cursor().execute("INSERT INTO tenants VALUES ('a', 2, 10, 60)")
    fresh.close()
    yield dsn
    conn.cursor().execute(f"DROP DATABASE {name} WITH (FORCE)")
    conn.close()


def test_life_of_a_job(dsn):
    queue = Queue(dsn, clock=lambda: 1000)
    first, second = queue.enqueue("a", {"n": 1}), queue.enqueue("a", priority=1)
    job = queue.claim("w", 30)
    assert (job.id, job.tenant, job.attempts) == (second, "a", 1)
    assert queue.heartbeat(job, 30) and queue.finish(job) and not queue.finish(job)
    job = queue.claim("w", 30)
    assert job.id == first and job.payload == {"n": 1}
    assert queue.fail(job, 5) and queue.claim("w", 30) is None
    queue.close()
    assert admin.purge(dsn, 2000) == 1


def test_limit_of_running_jobs(dsn):
    queue = Queue(dsn, clock=lambda: 1000)
    for _ in range(3):
        queue.enqueue("a")
    assert queue.claim("w", 30) and queue.claim("w", 30) and queue.claim("w", 30) is None
    queue.close()
