import sqlite3


def connect(path):
    """A connection in autocommit mode; use transaction() for more than one statement."""
    conn = sqlite3.connect(path, timeout=10, isolation_level=None)
    conn.row_factory = sqlite3.Row
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA synchronous = NORMAL")
    conn.execute("PRAGMA foreign_keys = ON")
    return conn


class transaction:
    def __init__(self, conn, kind="IMMEDIATE"):
        self.conn = conn
        self.kind = kind

    def __enter__(self):
        self.conn.execute(f"BEGIN {self.kind}")
        return self.conn

    def __exit__(self, exc_type, exc, tb):
        self.conn.execute("COMMIT" if exc_type is None else "ROLLBACK")
        return False
