import sqlite3
from pathlib import Path

from . import events, matching
from .normalise import FIELDS

SCHEMA = Path(__file__).with_name("schema.sql")


class Missing(Exception):
    """There is no such record, decision or person."""


class Store:
    def __init__(self, path):
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.db.row_factory = sqlite3.Row
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = NORMAL")
        self.db.execute("PRAGMA foreign_keys = ON")
        self.db.executescript(SCHEMA.read_text())

    def close(self):
        self.db.close()

    def __enter__(self):
        self.db.execute("BEGIN IMMEDIATE")
        return self

    def __exit__(self, kind, value, trace):
        self.db.execute("COMMIT" if kind is None else "ROLLBACK")

    def record(self, number):
        row = self.db.execute("SELECT * FROM records WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise Missing(f"record {number}")
        return row

    def show(self, number):
        row = self.record(number)
        return {"id": row["id"], **{field: row[field] for field in FIELDS}, "person": f"p{row['person']}"}

    def add(self, fields):
        with self:
            cursor = self.db.execute(
                f"INSERT INTO records ({', '.join(FIELDS)}) VALUES ({', '.join('?' * len(FIELDS))})",
                [fields.get(field) for field in FIELDS])
            number = cursor.lastrowid
            person = matching.find_person(self.db, self.record(number)) or number
            self.db.execute("UPDATE records SET person = ? WHERE id = ?", (person, number))
            events.tell(self.db, [person])
        return number

    def change(self, number, fields):
        with self:
            old = self.record(number)
            for field, value in fields.items():
                self.db.execute(f"UPDATE records SET {field} = ? WHERE id = ?", (value, number))
            found = matching.find_person(self.db, self.record(number))
            if found and found != old["person"]:
                self.join(old["person"], found)

    def remove(self, number):
        with self:
            person = self.record(number)["person"]
            self.db.execute("DELETE FROM records WHERE id = ?", (number,))
            events.tell(self.db, [person])

    def decide(self, a, b, verdict):
        with self:
            a, b = sorted((a, b))
            first, second = self.record(a), self.record(b)
            self.db.execute("INSERT OR REPLACE INTO decisions VALUES (?, ?, ?)", (a, b, verdict))
            if verdict == "same" and first["person"] != second["person"]:
                self.join(second["person"], first["person"])

    def withdraw(self, a, b):
        with self:
            a, b = sorted((a, b))
            if not self.db.execute("DELETE FROM decisions WHERE a = ? AND b = ?", (a, b)).rowcount:
                raise Missing(f"decision {a}-{b}")

    def join(self, one, other):
        keep, gone = sorted((one, other))
        self.db.execute("UPDATE records SET person = ? WHERE person = ?", (keep, gone))
        events.tell(self.db, [keep, gone])

    def people(self):
        people = {}
        for row in self.db.execute("SELECT id, person FROM records ORDER BY id"):
            people.setdefault(row["person"], []).append(row["id"])
        return [{"person": f"p{person}", "records": records}
                for person, records in sorted(people.items(), key=lambda item: item[1])]

    def person(self, number):
        """The number of the person of a record, and the records of that person."""
        person = self.record(number)["person"]
        return person, events.records_of(self.db, person)

    def review(self):
        return []
