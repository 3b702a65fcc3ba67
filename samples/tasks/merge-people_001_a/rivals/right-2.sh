#!/bin/bash
# All records in memory as a graph of key buckets that is loaded at the start (tables as in release 1) and matched around each write.
set -e
python3 - <<'EOF'
from pathlib import Path


def patch(name, *changes):
    path = Path("whois", name)
    text = path.read_text()
    for old, new in changes:
        assert text.count(old) == 1, (name, old)
        text = text.replace(old, new)
    path.write_text(text)


patch("normalise.py",
      ("if not unicodedata.combining(char))", "if not unicodedata.category(char).startswith(\"M\"))"),
      ('return re.sub(r"[^0-9]", "", text or "")', 'return re.sub(r"[^0-9]", "", text or "").lstrip("0")'))
patch("app.py",
      ("""            raise Wrong(f"{field} is not a string")
""", """            raise Wrong(f"{field} is not a string")
        try:
            (value or "").encode()
        except UnicodeEncodeError as error:
            raise Wrong(f"{field} is not text") from error
"""))
patch("__init__.py", ("RELEASE = 1", "RELEASE = 2"))
EOF
cat > whois/matching.py <<'EOF'
"""All records in memory, by what they have in common, and the people that follow from it."""
from collections import Counter, defaultdict

SHARED_FROM = 4


class Graph:
    def __init__(self):
        self.values = {}                        # record: its values
        self.same = defaultdict(set)            # record: those that a decision says are the same
        self.different = defaultdict(set)
        self.bucket = defaultdict(set)          # key: the records that have it
        self.names = defaultdict(Counter)       # (field, value): given names
        self.keys_with = defaultdict(Counter)   # (field, value): its keys that several records have
        self.person = {}                        # record: its person
        self.members = {}                       # person: its records in order
        self.open = {}                          # (level, smallest record): the records of a set for review
        self.sets_of = defaultdict(set)         # record: keys of `open` that it is the smallest of

    @staticmethod
    def keys(v):
        """The keys of a record with these values: (level, field that may be shared, its value, more)."""
        if v["tax"]:
            yield 3, None, v["tax"], ()
        if v["mail"] and v["surname"]:
            yield 2, "mail", v["mail"], ("surname", v["surname"])
        if v["mail"] and v["born"]:
            yield 2, "mail", v["mail"], ("born", v["born"])
        if v["phone"] and v["given"] and v["surname"]:
            yield 1, "phone", v["phone"], (v["given"], v["surname"])

    def is_shared(self, field, value):
        return len(self.names.get((field, value), ())) >= SHARED_FROM

    def valid(self, key):
        return key[1] is None or not self.is_shared(key[1], key[2])

    # What is there

    def put(self, number, v):
        """Set the values of a record (None: it is gone); return the records whose people may be others now."""
        old = self.values.get(number)
        touched = self.around({number}) if old else {number}
        marks = {(field, w[field]) for w in (old, v) if w for field in ("mail", "phone") if w[field]}
        before = {mark: self.is_shared(*mark) for mark in marks}
        if old:
            self.count(number, old, -1)
            del self.values[number]
        if v:
            self.values[number] = v
            self.count(number, v, 1)
        else:
            for table in (self.same, self.different):
                for other in table.pop(number, ()):
                    table[other].discard(number)
        for mark, was in before.items():
            if self.is_shared(*mark) != was:
                for key in self.keys_with.get(mark, ()):
                    touched |= self.bucket[key]
        return touched

    def count(self, number, v, by):
        for key in self.keys(v):
            bucket = self.bucket[key]
            (bucket.add if by > 0 else bucket.discard)(number)
            if key[1]:
                several = self.keys_with[key[1:3]]
                if len(bucket) > 1:
                    several[key] = len(bucket)
                else:
                    several.pop(key, None)
                if not several:
                    del self.keys_with[key[1:3]]
            if not bucket:
                del self.bucket[key]
        for field in ("mail", "phone"):
            if v[field] and v["given"]:
                names = self.names[field, v[field]]
                names[v["given"]] += by
                if not names[v["given"]]:
                    del names[v["given"]]
                if not names:
                    del self.names[field, v[field]]

    def decide(self, a, b, verdict):
        """Set or (None) take away a decision; return the records whose people may be others now."""
        touched = self.around({a, b})
        for one, other in ((a, b), (b, a)):
            self.same[one].discard(other)
            self.different[one].discard(other)
            if verdict:
                (self.same if verdict == "same" else self.different)[one].add(other)
        return touched

    def around(self, numbers):
        """These records and all that evidence leads to from them."""
        seen, todo, used = set(), [number for number in numbers if number in self.values], set()
        while todo:
            number = todo.pop()
            if number in seen:
                continue
            seen.add(number)
            todo.extend(self.same.get(number, ()))
            for key in self.keys(self.values[number]):
                if key not in used and self.valid(key):
                    used.add(key)
                    todo.extend(self.bucket[key])
        return seen

    # Who is who

    def match(self, touched):
        """Match these records and all around them anew; return {person: records} of the people that have changed."""
        numbers = self.around(touched)
        people, review = self.solve(numbers)
        gone = {number for number in touched if number not in self.values}
        before = {self.person[number] for number in numbers | gone if number in self.person}
        was = {person: self.members.pop(person) for person in before}
        for number in gone:
            self.person.pop(number, None)
        for records in people:
            self.members[records[0]] = records
            for number in records:
                self.person[number] = records[0]
        for number in numbers | gone:
            for key in self.sets_of.pop(number, ()):
                del self.open[key]
        for level, records in review:
            self.open[level, records[0]] = records
            self.sets_of[records[0]].add((level, records[0]))
        now = {records[0]: records for records in people}
        return {person: now.get(person, []) for person in sorted(was.keys() | now.keys())
                if was.get(person) != now.get(person)}

    def solve(self, numbers):
        """The groups of records that nothing outside is connected with, and the sets for review."""
        group_of = {number: (number,) for number in numbers}
        by_level = {level: defaultdict(list) for level in (3, 2, 1)}
        for number in numbers:
            for key in self.keys(self.values[number]):
                if self.valid(key):
                    by_level[key[0]][key].append(number)
        pairs = [[number, other] for number in numbers for other in self.same.get(number, ()) if number < other]
        review = []
        for level, edges in ((4, pairs), *((level, by_level[level].values()) for level in (3, 2, 1))):
            for groups in self.connected(group_of, edges):
                records = tuple(sorted(number for group in groups for number in group))
                if self.contradiction(records):
                    review.append((level, list(records)))
                else:
                    group_of.update(dict.fromkeys(records, records))
        return [list(group) for group in {group[0]: group for group in group_of.values()}.values()], review

    @staticmethod
    def connected(group_of, edges):
        """The sets of two and more groups which the edges connect, by a walk through them."""
        edges_of = defaultdict(list)
        groups_of = []
        for edge in edges:
            groups = {group_of[number][0]: group_of[number] for number in edge}
            if len(groups) > 1:
                for name in groups:
                    edges_of[name].append(len(groups_of))
                groups_of.append(groups)
        walked, used = set(), set()
        for start in edges_of:
            if start in walked:
                continue
            walked.add(start)
            ahead, found = [start], []
            names = {}
            while ahead:
                name = ahead.pop()
                found.append(name)
                for at in edges_of[name]:
                    if at in used:
                        continue
                    used.add(at)
                    names.update(groups_of[at])
                    for other in groups_of[at]:
                        if other not in walked:
                            walked.add(other)
                            ahead.append(other)
            yield [names[name] for name in found]

    def contradiction(self, records):
        for field in ("tax", "born"):
            if len({self.values[number][field] for number in records if self.values[number][field]}) > 1:
                return True
        inside = set(records)
        return any(not inside.isdisjoint(self.different[number]) for number in records if number in self.different)
EOF
cat > whois/store.py <<'EOF'
import sqlite3
from contextlib import contextmanager
from pathlib import Path

from . import events, matching
from .normalise import FIELDS, values

SCHEMA = Path(__file__).with_name("schema.sql")


class Missing(Exception):
    """There is no such record, decision or person."""


class Store:
    """The records in SQLite; the graph of all of them is kept in memory and follows."""

    def __init__(self, path):
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.db.row_factory = sqlite3.Row
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = NORMAL")
        self.db.execute("PRAGMA foreign_keys = ON")
        self.db.executescript(SCHEMA.read_text())
        self.db.execute("CREATE INDEX IF NOT EXISTS decisions_b ON decisions (b)")
        with self.transaction():
            self.changed = self.load()

    def close(self):
        self.db.close()

    @contextmanager
    def transaction(self):
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise

    @contextmanager
    def write(self):
        """A transaction after which the graph is as the database, whatever happens."""
        try:
            with self.transaction():
                yield
        except Missing:
            raise   # comes before anything is done
        except BaseException:
            with self.transaction():
                self.load()
            raise

    def load(self):
        """Fill the graph from the tables; tell what has changed, and return how many people that are."""
        self.graph = graph = matching.Graph()
        was = {}
        for row in self.db.execute("SELECT * FROM records ORDER BY id"):
            graph.values[row["id"]] = values(row)
            was.setdefault(row["person"], []).append(row["id"])
            graph.count(row["id"], graph.values[row["id"]], 1)
        for row in self.db.execute("SELECT * FROM decisions"):
            table = graph.same if row["verdict"] == "same" else graph.different
            table[row["a"]].add(row["b"])
            table[row["b"]].add(row["a"])
        graph.match(set(graph.values))
        changed = {person: graph.members.get(person, []) for person in sorted({*was, *graph.members})
                   if was.get(person) != graph.members.get(person)}
        self.keep(changed)
        return len(changed)

    def keep(self, changed):
        for person, records in changed.items():
            self.db.executemany("UPDATE records SET person = ? WHERE id = ?", [(person, number) for number in records])
            events.add(self.db, person, records)

    def record(self, number):
        row = self.db.execute("SELECT * FROM records WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise Missing(f"record {number}")
        return row

    def show(self, number):
        row = self.record(number)
        return {"id": row["id"], **{field: row[field] for field in FIELDS}, "person": f"p{row['person']}"}

    def add(self, fields):
        with self.write():
            number = self.db.execute(
                f"INSERT INTO records ({', '.join(FIELDS)}) VALUES ({', '.join('?' * len(FIELDS))})",
                [fields.get(field) for field in FIELDS]).lastrowid
            self.keep(self.graph.match(self.graph.put(number, values(self.record(number)))))
        return number

    def change(self, number, fields):
        with self.write():
            self.record(number)
            for field, value in fields.items():
                self.db.execute(f"UPDATE records SET {field} = ? WHERE id = ?", (value, number))
            self.keep(self.graph.match(self.graph.put(number, values(self.record(number)))))

    def remove(self, number):
        with self.write():
            self.record(number)
            self.db.execute("DELETE FROM records WHERE id = ?", (number,))
            self.keep(self.graph.match(self.graph.put(number, None)))

    def decide(self, a, b, verdict):
        a, b = sorted((a, b))
        with self.write():
            self.record(a)
            self.record(b)
            self.db.execute("INSERT OR REPLACE INTO decisions VALUES (?, ?, ?)", (a, b, verdict))
            self.keep(self.graph.match(self.graph.decide(a, b, verdict)))

    def withdraw(self, a, b):
        a, b = sorted((a, b))
        with self.write():
            if not self.db.execute("DELETE FROM decisions WHERE a = ? AND b = ?", (a, b)).rowcount:
                raise Missing(f"decision {a}-{b}")
            self.keep(self.graph.match(self.graph.decide(a, b, None)))

    def people(self):
        return [{"person": f"p{person}", "records": records} for person, records in sorted(self.graph.members.items())]

    def person(self, number):
        """The number of the person of a record, and the records of that person."""
        person = self.graph.person.get(number)
        if person is None:
            raise Missing(f"record {number}")
        return person, self.graph.members[person]

    def review(self):
        return [{"level": level, "records": records} for (level, _), records in sorted(self.graph.open.items())]
EOF
cat > whois/rebuild.py <<'EOF'
"""python3 -m whois.rebuild DB: match all records of a database anew, as the service does when it starts."""
import sys

from .store import Store


def rebuild(path):
    store = Store(path)
    store.close()
    return store.changed


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 -m whois.rebuild DB")
    print(f"{rebuild(sys.argv[1])} people changed")
EOF
