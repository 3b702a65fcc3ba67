"""python3 -m fieldnotes.migrate DB: applies what is missing of migrations/*.sql."""
import re
import sys
from pathlib import Path

from .db import connect, transaction

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def statements(text):
    for part in text.split(";"):
        if part.strip():
            yield part


def pending(conn):
    (version,) = conn.execute("PRAGMA user_version").fetchone()
    for path in sorted(MIGRATIONS.glob("*.sql")):
        number = int(re.match(r"\d+", path.name).group())
        if number > version:
            yield number, path


def migrate(db_path):
    conn = connect(db_path)
    try:
        with transaction(conn):
            for number, path in list(pending(conn)):
                for statement in statements(path.read_text()):
                    conn.execute(statement)
                conn.execute(f"PRAGMA user_version = {number}")
    finally:
        conn.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 -m fieldnotes.migrate DB")
    migrate(sys.argv[1])
