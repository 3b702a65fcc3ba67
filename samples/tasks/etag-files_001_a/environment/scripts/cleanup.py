"""cleanup.py DB TIME: deletes the notes that nobody has touched since TIME (seconds)."""
import sqlite3
import sys


def main(db_path, before):
    conn = sqlite3.connect(db_path, timeout=10)
    conn.execute("PRAGMA foreign_keys = ON")
    with conn:
        gone = conn.execute("DELETE FROM notes WHERE updated_at < ?", (int(before),)).rowcount
    conn.close()
    print(f"{gone} notes")


if __name__ == "__main__":
    main(*sys.argv[1:])
