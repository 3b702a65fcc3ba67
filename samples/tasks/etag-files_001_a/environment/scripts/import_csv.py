"""import_csv.py DB FILE: notes of the old system, as CSV with project,ref,title,body,author,updated_at.

The old system owns what it sends: a note that is there already is replaced, with its tags.
"""
import csv
import sqlite3
import sys


def main(db_path, csv_path):
    conn = sqlite3.connect(db_path, timeout=10)
    conn.execute("PRAGMA foreign_keys = ON")
    with open(csv_path, newline="") as file, conn:
        rows = [(r["project"], r["ref"], r["title"], r["body"], r["author"], r["updated_at"]) for r in csv.DictReader(file)]
        conn.executemany(
            "INSERT OR REPLACE INTO notes (project_id, ref, title, body, author_id, updated_at) VALUES (?, ?, ?, ?, ?, ?)", rows
        )
    conn.close()
    print(f"{len(rows)} notes")


if __name__ == "__main__":
    main(*sys.argv[1:])
