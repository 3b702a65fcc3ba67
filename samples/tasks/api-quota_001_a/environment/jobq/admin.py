from .db import connect, transaction


def purge(dsn, before):
    conn = connect(dsn)
    with transaction(conn) as cursor:
        cursor.execute("DELETE FROM jobs WHERE state IN ('done', 'dead') AND finished_at < %s", (before,))
        gone = cursor.rowcount
    conn.close()
    return gone


def requeue(dsn, job_id):
    conn = connect(dsn)
    with transaction(conn) as cursor:
        cursor.execute(
            "UPDATE jobs SET state = 'waiting', attempts = 0, run_at = 0, worker = NULL, lease_until = NULL,"
            " finished_at = NULL WHERE id = %s AND state <> 'waiting'", (job_id,))
        found = cursor.rowcount == 1
    conn.close()
    return found
