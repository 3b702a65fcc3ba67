from contextlib import contextmanager

import psycopg2
import psycopg2.extras


def connect(dsn):
    conn = psycopg2.connect(dsn, cursor_factory=psycopg2.extras.DictCursor)
    conn.set_session(isolation_level="REPEATABLE READ")  # the reports want one picture of all tables
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
