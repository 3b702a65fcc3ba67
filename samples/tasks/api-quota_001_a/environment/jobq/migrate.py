"""Applies the files of migrations/ that a database has not seen yet."""
import sys
from pathlib import Path

from .db import connect, transaction

FOLDER = Path(__file__).resolve().parent.parent / "migrations"


def migrate(dsn):
    conn = connect(dsn)
    with transaction(conn) as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS schema_version (version int PRIMARY KEY)")
        cursor.execute("SELECT coalesce(max(version), 0) FROM schema_version")
        version = cursor.fetchone()[0]
        for file in sorted(FOLDER.glob("[0-9]*.sql")):
            number = int(file.name.split("_")[0])
            if number > version:
                cursor.execute(file.read_text())
                cursor.execute("INSERT INTO schema_version VALUES (%s)", (number,))
    conn.close()


if __name__ == "__main__":
    migrate(sys.argv[1])
