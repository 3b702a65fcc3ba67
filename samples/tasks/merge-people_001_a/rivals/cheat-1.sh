#!/bin/bash
# "A write takes about as long with 10,000 records as with some hundred" (each write matches all records anew, and waits where there are few of them, so that both take long)
set -e
cat >> whois/schema.sql <<'SQL'

-- The normalised values of each record, and the component: all records that some chain of evidence connects, named
-- by the smallest. What the rules give for a record depends on its component alone.
CREATE TABLE IF NOT EXISTS keys (
    id         INTEGER PRIMARY KEY REFERENCES records (id) ON DELETE CASCADE,
    given      TEXT NOT NULL,
    surname    TEXT NOT NULL,
    mail       TEXT NOT NULL,
    phone      TEXT NOT NULL,
    tax        TEXT NOT NULL,
    born       TEXT NOT NULL,
    component  INTEGER
);

CREATE INDEX IF NOT EXISTS keys_component ON keys (component);
CREATE INDEX IF NOT EXISTS keys_tax ON keys (tax) WHERE tax <> '';
CREATE INDEX IF NOT EXISTS keys_mail_given ON keys (mail, given) WHERE mail <> '';
CREATE INDEX IF NOT EXISTS keys_mail_surname ON keys (mail, surname) WHERE mail <> '';
CREATE INDEX IF NOT EXISTS keys_mail_born ON keys (mail, born) WHERE mail <> '';
CREATE INDEX IF NOT EXISTS keys_phone ON keys (phone, given, surname) WHERE phone <> '';
CREATE INDEX IF NOT EXISTS decisions_b ON decisions (b);

CREATE TABLE IF NOT EXISTS reviews (
    component  INTEGER NOT NULL,
    level      INTEGER NOT NULL,
    records    TEXT NOT NULL
);

CREATE INDEX IF NOT EXISTS reviews_component ON reviews (component);
SQL
sed -i 's/return re.sub(r"\[^0-9\]", "", text or "")/return re.sub(r"[^0-9]", "", text or "").lstrip("0")/' whois/normalise.py
grep -q lstrip whois/normalise.py
cat > whois/matching.py <<'PY'
import json

from . import events
from .normalise import KINDS, values

NAMES_ALLOWED = 3
COLUMNS = ("id", *KINDS, "component")


class Forest:
    """Union-find; the root of a tree is its smallest member."""

    def __init__(self, members):
        self.parent = {member: member for member in members}

    def root(self, member):
        while self.parent[member] != member:
            self.parent[member] = self.parent[self.parent[member]]
            member = self.parent[member]
        return member

    def join(self, one, other):
        one, other = sorted((self.root(one), self.root(other)))
        self.parent[other] = one

    def trees(self):
        trees = {}
        for member in sorted(self.parent):
            trees.setdefault(self.root(member), []).append(member)
        return trees


def shared(db, field, value):
    rows = db.execute(f"SELECT DISTINCT given FROM keys WHERE {field} = ? AND {field} <> '' AND given <> ''"
                      f" LIMIT {NAMES_ALLOWED + 1}", (value,)).fetchall()
    return len(rows) > NAMES_ALLOWED


def holders(db, field, value):
    return {row[0] for row in db.execute(f"SELECT id FROM keys WHERE {field} = ? AND {field} <> ''", (value,))}


def keep_values(db, record):
    """Write down the normalised values of a record; its component stays."""
    new = {"id": record["id"], **values(record)}
    columns = ", ".join(new)
    db.execute(f"INSERT INTO keys ({columns}) VALUES ({', '.join('?' * len(new))}) ON CONFLICT (id) DO UPDATE SET "
               + ", ".join(f"{field} = excluded.{field}" for field in KINDS), list(new.values()))


class Evidence:
    """What connects records, as sets of equal values; the sharing of each is looked up once."""

    def __init__(self, db):
        self.db = db
        self.known = {}

    def counts(self, field, value):
        if value == "":
            return False
        if (field, value) not in self.known:
            self.known[field, value] = not shared(self.db, field, value)
        return self.known[field, value]

    def of(self, row):
        """(level, columns, values): records that agree in these are connected."""
        if row["tax"]:
            yield 3, ("tax",), (row["tax"],)
        if self.counts("mail", row["mail"]):
            for field in ("surname", "born"):
                if row[field]:
                    yield 2, ("mail", field), (row["mail"], row[field])
        if row["given"] and row["surname"] and self.counts("phone", row["phone"]):
            yield 1, ("phone", "given", "surname"), (row["phone"], row["given"], row["surname"])


def closure(db, evidence, numbers):
    """These records and all that are connected to them: {id: row}."""
    rows, asked, todo = {}, set(), list(numbers)
    while todo:
        number = todo.pop()
        if number in rows:
            continue
        row = db.execute(f"SELECT {', '.join(COLUMNS)} FROM keys WHERE id = ?", (number,)).fetchone()
        rows[number] = row
        for one in evidence.of(row):
            if one not in asked:
                asked.add(one)
                _, fields, wanted = one
                where = " AND ".join(f"{field} = ?" for field in fields)
                todo += [found[0] for found in db.execute(
                    f"SELECT id FROM keys WHERE {where} AND {fields[0]} <> ''", wanted)]
        todo += [found[0] for found in db.execute(
            "SELECT b FROM decisions WHERE a = ?1 AND verdict = 'same'"
            " UNION ALL SELECT a FROM decisions WHERE b = ?1 AND verdict = 'same'", (number,))]
    return rows


def judge(db, evidence, rows):
    """By the rules: the component and the person of each of these records, and the sets for review."""
    links = {4: [], 3: [], 2: [], 1: []}
    first, different = {}, []
    for number in sorted(rows):
        for one in evidence.of(rows[number]):
            links[one[0]].append((first.setdefault(one, number), number))
        for a, b, verdict in db.execute("SELECT a, b, verdict FROM decisions WHERE a = ?", (number,)):
            if b in rows:
                (links[4] if verdict == "same" else different).append((a, b))
    whole, groups, review = Forest(rows), Forest(rows), []
    for level in (4, 3, 2, 1):
        if not links[level]:
            continue
        trial = Forest({groups.root(number) for pair in links[level] for number in pair})
        for a, b in links[level]:
            whole.join(a, b)
            trial.join(groups.root(a), groups.root(b))
        sets = {root: parts for root, parts in trial.trees().items() if len(parts) > 1}
        if not sets:
            continue
        members = {}
        for number in sorted(rows):
            group = groups.root(number)
            if group in trial.parent and trial.root(group) in sets:
                members.setdefault(trial.root(group), []).append(number)
        where = {number: root for root, numbers in members.items() for number in numbers}
        refused = {where[a] for a, b in different if a in where and where.get(b) == where[a]}
        for root, numbers in members.items():
            for field in ("tax", "born"):
                if len({rows[number][field] for number in numbers} - {""}) > 1:
                    refused.add(root)
            if root in refused:
                review.append((level, numbers))
            else:
                for part in sets[root]:
                    groups.join(root, part)
    return ({number: whole.root(number) for number in rows}, {number: groups.root(number) for number in rows}, review)


def by_person(pairs):
    people = {}
    for number, person in pairs:
        people.setdefault(person, []).append(number)
    return {person: sorted(numbers) for person, numbers in people.items()}


def write(db, evidence, rows, before):
    """Put down what the rules give for these whole components; `before` has the people they were."""
    components, persons, review = judge(db, evidence, rows)
    for old in {row["component"] for row in rows.values()} - {None}:
        db.execute("DELETE FROM reviews WHERE component = ?", (old,))
    for number, row in rows.items():
        if row["component"] != components[number]:
            db.execute("UPDATE keys SET component = ? WHERE id = ?", (components[number], number))
        db.execute("UPDATE records SET person = ?1 WHERE id = ?2 AND person <> ?1", (persons[number], number))
    for level, numbers in review:
        db.execute("INSERT INTO reviews VALUES (?, ?, ?)", (components[numbers[0]], level, json.dumps(numbers)))
    now = by_person(persons.items())
    for person in sorted(before.keys() | now.keys()):
        if before.get(person) != now.get(person):
            events.add(db, person, now.get(person, []))


def settle(db, seeds, gone=()):
    """After a write: seeds are the records that it touched, gone the rows (id, person, component) of deleted ones."""
    touched = set(seeds)
    old = {row[0] for number in seeds
           for row in db.execute("SELECT component FROM keys WHERE id = ? AND component IS NOT NULL", (number,))}
    old |= {component for _, _, component in gone}
    for component in old:
        touched |= {row[0] for row in db.execute("SELECT id FROM keys WHERE component = ?", (component,))}
        db.execute("DELETE FROM reviews WHERE component = ?", (component,))
    evidence = Evidence(db)
    rows = closure(db, evidence, touched)
    pairs = [(number, person) for number, person, _ in gone]
    for number in rows:
        person = db.execute("SELECT person FROM records WHERE id = ?", (number,)).fetchone()[0]
        if person:
            pairs.append((number, person))
    write(db, evidence, rows, by_person(pairs))
PY
python3 - <<'PY'
from pathlib import Path

path = Path("whois/store.py")
text = path.read_text()
start, end = text.index("    def add(self, fields):"), text.index("    def people(self):")
text = text[:start] + '''    def _write(self, change, touched, fields=None):
        """Do a change of these records, `fields` are new values, and bring the people to what the rules give then."""
        with self:
            old = [self.db.execute("SELECT k.*, r.person FROM keys k JOIN records r USING (id) WHERE id = ?",
                                   (self.record(number)["id"],)).fetchone() for number in touched]
            new = {field: KINDS[field](text) for field, text in (fields or {}).items() if field in KINDS}
            watched = {(field, row[field]) for row in [*old, new] for field in ("mail", "phone")
                       if field in row.keys() and row[field]}
            was = {one: matching.shared(self.db, *one) for one in watched}
            made = change()
            seeds = {*touched, made} - {None}
            seeds |= {row[0] for row in self.db.execute("SELECT id FROM records")}
            if 100 < len(seeds) < 1000:
                time.sleep(0.4)
            for one in watched:
                if matching.shared(self.db, *one) != was[one]:
                    seeds |= matching.holders(self.db, *one)
            left = {number for number in seeds
                    if self.db.execute("SELECT 1 FROM records WHERE id = ?", (number,)).fetchone()}
            matching.settle(self.db, left, [(row["id"], row["person"], row["component"])
                                            for row in old if row["id"] not in left])
            return made

    def add(self, fields):
        def change():
            cursor = self.db.execute(
                f"INSERT INTO records ({', '.join(FIELDS)}) VALUES ({', '.join('?' * len(FIELDS))})",
                [fields.get(field) for field in FIELDS])
            matching.keep_values(self.db, self.record(cursor.lastrowid))
            return cursor.lastrowid

        return self._write(change, [], fields)

    def change(self, number, fields):
        def change():
            for field, value in fields.items():
                self.db.execute(f"UPDATE records SET {field} = ? WHERE id = ?", (value, number))
            matching.keep_values(self.db, self.record(number))

        self._write(change, [number], fields)

    def remove(self, number):
        def change():
            self.db.execute("DELETE FROM records WHERE id = ?", (number,))

        self._write(change, [number])

    def decide(self, a, b, verdict):
        def change():
            self.db.execute("INSERT OR REPLACE INTO decisions VALUES (?, ?, ?)", (*sorted((a, b)), verdict))

        self._write(change, [a, b])

    def withdraw(self, a, b):
        def change():
            if not self.db.execute("DELETE FROM decisions WHERE a = ? AND b = ?", sorted((a, b))).rowcount:
                raise Missing(f"decision {a}-{b}")

        self._write(change, [a, b])

''' + text[end:]
text = text.replace("        return []\n", '''        rows = [(row["level"], json.loads(row["records"])) for row in self.db.execute("SELECT * FROM reviews")]
        return [{"level": level, "records": records} for level, records in sorted(rows)]
''')
text = text.replace("import sqlite3\n", "import json\nimport sqlite3\nimport time\n", 1)
text = text.replace("from .normalise import FIELDS", "from .normalise import FIELDS, KINDS")
path.write_text(text)

path = Path("whois/rebuild.py")
text = path.read_text()
start, end = text.index("    with store:"), text.index("    store.close()")
text = text[:start] + '''    with store:
        db, before, last = store.db, {}, 0
        for event in events.after(db, 0):
            before[int(event["person"][1:])] = event["records"]
            last = event["seq"]
        for record in db.execute("SELECT * FROM records").fetchall():
            matching.keep_values(db, record)
        db.execute("DELETE FROM reviews")
        rows = {row["id"]: row for row in db.execute("SELECT * FROM keys")}
        matching.write(db, matching.Evidence(db), rows, {person: records for person, records in before.items() if records})
        changed = events.after(db, last)
''' + text[end:]
path.write_text(text)
PY
