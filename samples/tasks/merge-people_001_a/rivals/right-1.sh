#!/bin/bash
# Derived tables in SQLite (clues, given names of a mail or phone, review), each write matches what evidence connects with it; user_version 2, older databases are converted by rebuild, or when they are opened.
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
cat > whois/schema.sql <<'EOF'
CREATE TABLE IF NOT EXISTS records (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    source   TEXT,
    given    TEXT,
    surname  TEXT,
    mail     TEXT,
    phone    TEXT,
    tax      TEXT,
    born     TEXT,
    person   INTEGER NOT NULL DEFAULT 0
);

CREATE INDEX IF NOT EXISTS records_person ON records (person);

CREATE TABLE IF NOT EXISTS decisions (
    a        INTEGER NOT NULL REFERENCES records (id) ON DELETE CASCADE,
    b        INTEGER NOT NULL REFERENCES records (id) ON DELETE CASCADE,
    verdict  TEXT NOT NULL CHECK (verdict IN ('same', 'different')),
    PRIMARY KEY (a, b),
    CHECK (a < b)
);

CREATE INDEX IF NOT EXISTS decisions_b ON decisions (b);

CREATE TABLE IF NOT EXISTS events (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    person   TEXT NOT NULL,
    records  TEXT NOT NULL
);

-- What follows is derived from records and decisions.

-- Records with the same clue are evidence. Mark is the mail or phone in it, which may be shared.
CREATE TABLE IF NOT EXISTS clues (
    record   INTEGER NOT NULL,
    level    INTEGER NOT NULL,
    clue     TEXT NOT NULL,
    mark     TEXT
);

CREATE INDEX IF NOT EXISTS clues_record ON clues (record);
CREATE INDEX IF NOT EXISTS clues_clue ON clues (clue, record);
CREATE INDEX IF NOT EXISTS clues_mark ON clues (mark, clue) WHERE mark IS NOT NULL;

-- In how many records a given name stands with a mail or phone.
CREATE TABLE IF NOT EXISTS givens (
    mark     TEXT NOT NULL,
    given    TEXT NOT NULL,
    count    INTEGER NOT NULL,
    PRIMARY KEY (mark, given)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS review (
    level    INTEGER NOT NULL,
    first    INTEGER NOT NULL,
    records  TEXT NOT NULL,
    PRIMARY KEY (first, level)
) WITHOUT ROWID;
EOF
cat > whois/clues.py <<'EOF'
"""The clues of the records, and whether a mail or phone is shared: tables `clues` and `givens`."""
import json

from .normalise import values

MOST_GIVENS = 3


def marks_of(record):
    """The mail and the phone of a record, as far as it has them."""
    found = values(record)
    return {json.dumps([field, found[field]]) for field in ("mail", "phone") if found[field]}


def clues_of(record):
    """[(level, clue, mark)] of a record."""
    found = values(record)

    def clue(level, *fields, mark=None):
        if all(found[field] for field in fields):
            yield (level, json.dumps([*fields, *(found[field] for field in fields)]),
                   mark and json.dumps([mark, found[mark]]))

    return [*clue(3, "tax"),
            *clue(2, "mail", "surname", mark="mail"),
            *clue(2, "mail", "born", mark="mail"),
            *clue(1, "phone", "given", "surname", mark="phone")]


def note(db, record):
    db.executemany("INSERT INTO clues (record, level, clue, mark) VALUES (?, ?, ?, ?)",
                   [(record["id"], *clue) for clue in clues_of(record)])
    given = values(record)["given"]
    if given:
        for mark in marks_of(record):
            db.execute("INSERT INTO givens VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1", (mark, given))


def forget(db, record):
    db.execute("DELETE FROM clues WHERE record = ?", (record["id"],))
    given = values(record)["given"]
    if given:
        for mark in marks_of(record):
            db.execute("UPDATE givens SET count = count - 1 WHERE mark = ? AND given = ?", (mark, given))
            db.execute("DELETE FROM givens WHERE mark = ? AND given = ? AND count <= 0", (mark, given))


def shared(db, mark):
    """Whether too many have this mail or phone for it to tell something."""
    count = db.execute("SELECT count(*) FROM (SELECT 1 FROM givens WHERE mark = ? LIMIT ?)", (mark, MOST_GIVENS + 1))
    return count.fetchone()[0] > MOST_GIVENS


def holders(db, mark):
    """The records that a mail or phone connects if it is not shared."""
    rows = db.execute("SELECT record FROM clues WHERE clue IN"
                      " (SELECT clue FROM clues WHERE mark = ? GROUP BY clue HAVING count(*) > 1)", (mark,))
    return {row[0] for row in rows}
EOF
cat > whois/matching.py <<'EOF'
"""The groups that the rules of docs/matching.md give."""
from . import clues
from .normalise import KINDS


class Part:
    """All records that evidence connects with some, over any number of steps, and what connects them."""

    def __init__(self, db, seeds):
        self.db = db
        self.records = {}
        self.links = {4: [], 3: [], 2: [], 1: []}   # level: lists of records that it connects
        self.different = []
        self.shared = {}
        self.followed = set()
        ahead = list(seeds)
        while ahead:
            number = ahead.pop()
            if number not in self.records:
                row = db.execute("SELECT * FROM records WHERE id = ?", (number,)).fetchone()
                if row is not None:
                    self.records[number] = row
                    ahead.extend(self.follow(number))

    def follow(self, number):
        for row in self.db.execute("SELECT level, clue, mark FROM clues WHERE record = ?", (number,)).fetchall():
            if row["clue"] in self.followed or row["mark"] and self.is_shared(row["mark"]):
                continue
            self.followed.add(row["clue"])
            having = [other[0] for other in self.db.execute("SELECT record FROM clues WHERE clue = ?", (row["clue"],))]
            if len(having) > 1:
                self.links[row["level"]].append(having)
                yield from having
        for row in self.db.execute("SELECT * FROM decisions WHERE a = ? UNION ALL SELECT * FROM decisions WHERE b = ?",
                                   (number, number)).fetchall():
            if row["verdict"] == "different":
                self.different.append((row["a"], row["b"]))
            else:
                self.links[4].append([row["a"], row["b"]])
                yield from (row["a"], row["b"])

    def is_shared(self, mark):
        if mark not in self.shared:
            self.shared[mark] = clues.shared(self.db, mark)
        return self.shared[mark]

    def groups(self):
        """Return the groups, and [(level, records)] of the sets that are not put together."""
        group = {number: number for number in self.records}
        members = {number: [number] for number in self.records}
        review = []
        for level in (4, 3, 2, 1):
            for joined in self.sets(group, self.links[level]):
                records = sorted(number for name in joined for number in members[name])
                if self.contradicts(records):
                    review.append((level, records))
                    continue
                for name in joined:
                    del members[name]
                members[records[0]] = records
                for number in records:
                    group[number] = records[0]
        return {records[0]: records for records in map(sorted, members.values())}, review

    def sets(self, group, links):
        """Sets of more than one group which these links connect."""
        above = {}

        def top(name):
            while above.get(name, name) != name:
                above[name] = above.get(above[name], above[name])
                name = above[name]
            return name

        for having in links:
            first = top(group[having[0]])
            for number in having[1:]:
                other = top(group[number])
                if other != first:
                    above[other] = first
                    above.setdefault(first, first)
        found = {}
        for name in above:
            found.setdefault(top(name), []).append(name)
        return [joined for joined in found.values() if len(joined) > 1]

    def contradicts(self, records):
        inside = set(records)
        for field in ("tax", "born"):
            if len({KINDS[field](self.records[number][field]) for number in records} - {""}) > 1:
                return True
        return any(a in inside and b in inside for a, b in self.different)
EOF
cat > whois/store.py <<'EOF'
import json
import sqlite3
from contextlib import contextmanager
from pathlib import Path

from . import clues, events, matching
from .normalise import FIELDS

SCHEMA = Path(__file__).with_name("schema.sql")
RELEASE = 2


class Missing(Exception):
    """There is no such record, decision or person."""


class Store:
    def __init__(self, path):
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.db.row_factory = sqlite3.Row
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = NORMAL")
        self.db.execute("PRAGMA foreign_keys = ON")
        self.converted = 0
        if self.db.execute("PRAGMA user_version").fetchone()[0] != RELEASE:
            self.converted = self.rebuild()

    def close(self):
        self.db.close()

    def __enter__(self):
        self.db.execute("BEGIN IMMEDIATE")
        return self

    def __exit__(self, kind, value, trace):
        self.db.execute("COMMIT" if kind is None else "ROLLBACK")

    def rebuild(self):
        """Derive everything anew; return how many people have changed. Older releases are converted."""
        with self:
            for statement in SCHEMA.read_text().split(";"):
                self.db.execute(statement)
            for table in ("clues", "givens", "review"):
                self.db.execute(f"DELETE FROM {table}")
            before = {}
            for event in events.after(self.db, 0):
                before[event["person"]] = event["records"]
            numbers = []
            for record in self.db.execute("SELECT * FROM records").fetchall():
                clues.note(self.db, record)
                numbers.append(record["id"])
            self.settle(numbers)
            after = {f"p{row['person']}": [] for row in self.db.execute("SELECT person FROM records")}
            for row in self.db.execute("SELECT id, person FROM records ORDER BY id"):
                after[f"p{row['person']}"].append(row["id"])
            changed = [person for person in {**before, **after} if before.get(person, []) != after.get(person, [])]
            for person in sorted(changed, key=lambda person: int(person[1:])):
                events.add(self.db, person[1:], after.get(person, []))
            self.db.execute(f"PRAGMA user_version = {RELEASE}")
        return len(changed)

    def settle(self, numbers):
        """Write the groups and the review of whole parts; return {person: records} of their people."""
        part = matching.Part(self.db, numbers)
        people, review = part.groups()
        self.db.executemany("DELETE FROM review WHERE first = ?", [(number,) for number in {*numbers, *part.records}])
        self.db.executemany("INSERT INTO review (level, first, records) VALUES (?, ?, ?)",
                            [(level, records[0], json.dumps(records)) for level, records in review])
        for person, records in people.items():
            self.db.executemany("UPDATE records SET person = ? WHERE id = ?",
                                [(person, number) for number in records if part.records[number]["person"] != person])
        self.part = part
        return people

    @contextmanager
    def write(self, *numbers):
        """One write, which changes what is there of these records; a new one may be put into what is yielded."""
        with self:
            touched = list(numbers)
            old = [self.record(number) for number in numbers]
            near = set(matching.Part(self.db, numbers).records)
            gone = {record["id"]: record["person"] for record in old}
            was = {mark: clues.shared(self.db, mark) for record in old for mark in clues.marks_of(record)}
            for record in old:
                clues.forget(self.db, record)
            yield touched
            now = [row for number in touched
                   for row in self.db.execute("SELECT * FROM records WHERE id = ?", (number,))]
            for record in now:
                for mark in clues.marks_of(record) - was.keys():
                    was[mark] = clues.shared(self.db, mark)
            for record in now:
                clues.note(self.db, record)
            for mark, shared in was.items():
                if clues.shared(self.db, mark) != shared:
                    near |= clues.holders(self.db, mark)
            self.tell(near | set(touched), gone, touched[len(numbers):])

    def tell(self, near, gone, new):
        """Match these and all that they are connected with anew, and add the events."""
        people = self.settle(near)
        before = {}
        for row in self.part.records.values():
            if row["id"] not in new:
                before.setdefault(row["person"], set()).add(row["id"])
        for number, person in gone.items():
            before.setdefault(person, set()).add(number)
        after = {person: set(records) for person, records in people.items()}
        for person in sorted({*before, *after}):
            if before.get(person) != after.get(person):
                events.add(self.db, person, sorted(after.get(person, ())))

    def record(self, number):
        row = self.db.execute("SELECT * FROM records WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise Missing(f"record {number}")
        return row

    def show(self, number):
        row = self.record(number)
        return {"id": row["id"], **{field: row[field] for field in FIELDS}, "person": f"p{row['person']}"}

    def add(self, fields):
        with self.write() as touched:
            cursor = self.db.execute(
                f"INSERT INTO records ({', '.join(FIELDS)}) VALUES ({', '.join('?' * len(FIELDS))})",
                [fields.get(field) for field in FIELDS])
            touched.append(cursor.lastrowid)
        return cursor.lastrowid

    def change(self, number, fields):
        with self.write(number):
            for field, value in fields.items():
                self.db.execute(f"UPDATE records SET {field} = ? WHERE id = ?", (value, number))

    def remove(self, number):
        with self.write(number):
            self.db.execute("DELETE FROM records WHERE id = ?", (number,))

    def decide(self, a, b, verdict):
        a, b = sorted((a, b))
        with self.write(a, b):
            self.db.execute("INSERT OR REPLACE INTO decisions VALUES (?, ?, ?)", (a, b, verdict))

    def withdraw(self, a, b):
        a, b = sorted((a, b))
        if not self.db.execute("SELECT 1 FROM decisions WHERE a = ? AND b = ?", (a, b)).fetchone():
            raise Missing(f"decision {a}-{b}")
        with self.write(a, b):
            self.db.execute("DELETE FROM decisions WHERE a = ? AND b = ?", (a, b))

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
        return [{"level": row["level"], "records": json.loads(row["records"])}
                for row in self.db.execute("SELECT * FROM review ORDER BY level, first")]
EOF
cat > whois/rebuild.py <<'EOF'
"""python3 -m whois.rebuild DB: match all records of a database anew, of whatever release it is."""
import sys

from .store import Store


def rebuild(path):
    store = Store(path)
    changed = store.converted or store.rebuild()
    store.close()
    return changed


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 -m whois.rebuild DB")
    print(f"{rebuild(sys.argv[1])} people changed")
EOF
