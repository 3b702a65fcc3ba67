"""docs/sync.md: phones that follow GET /sync end with what GET /notes shows, through all writers, pages and compactions."""
import csv
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

HOME = Path("/srv/fieldnotes")
SECRET = "four score and seven"
FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

# What a database of today looks like.
VERSION_3 = """
create table users(id integer primary key, name text not null);
create table projects(id integer primary key, name text not null);
create table members(
    project_id integer not null references projects(id) on delete cascade,
    user_id integer not null references users(id) on delete cascade,
    primary key(project_id, user_id));
create table notes(
    id integer primary key, project_id integer not null references projects(id) on delete cascade, ref text not null,
    title text not null, body text not null default '', author_id integer not null references users(id),
    updated_at integer not null, unique(project_id, ref));
create table note_tags(
    note_id integer not null references notes(id) on delete cascade, tag text not null, primary key(note_id, tag));
create index notes_since on notes(project_id, updated_at);
create index members_user on members(user_id);
pragma user_version = 3;
"""

# A process that has the app, and plays the requests that come as lines.
WORKER = """
import json, sqlite3, sys, threading
sys.path.insert(0, sys.argv[1])
connect, main, turn, late = sqlite3.connect, threading.main_thread(), [0, None], []

def traced(*args, **more):
    conn = connect(*args, **more)
    if turn[1] and threading.current_thread() is main:
        conn.set_trace_callback(statement)
    return conn

def statement(_):
    if threading.current_thread() is main and turn[1]:
        turn[0] -= 1
        if turn[0] == 0:
            write, turn[1] = turn[1], None
            thread = threading.Thread(target=play, args=(write,), daemon=True)
            thread.start()
            thread.join(1)
            late.append(thread)

sqlite3.connect = traced
from fieldnotes.app import create_app
out, sys.stdout = sys.stdout, sys.stderr
def play(r):
    return create_app(r["db"], r["secret"]).test_client().open(
        r["path"], method=r["method"], json=r["body"], query_string=r["query"], headers=r["headers"])

clients = {}
for line in sys.stdin:
    r = json.loads(line)
    key = r["db"], r["secret"]
    try:
        if key not in clients:
            clients[key] = create_app(*key).test_client()
        turn[:] = r["at"], r["write"]
        res = clients[key].open(r["path"], method=r["method"], json=r["body"], query_string=r["query"], headers=r["headers"])
        turn[1] = None
        for thread in late:  # it may have had to wait for this one
            thread.join(20)
        late.clear()
        answer = res.status_code, res.get_json(silent=True), res.get_data(as_text=True)[:500]
    except Exception as err:
        answer = 599, None, repr(err)
    print(json.dumps(answer), file=out, flush=True)
"""


class Answer:
    def __init__(self, status_code, json, text):
        self.status_code, self.json, self.text = status_code, json, text


class Worker:
    def __init__(self):
        self.process = subprocess.Popen([sys.executable, "-c", WORKER, str(HOME)], cwd="/", text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def ask(self, db, method, path, user=None, body=None, query=None, secret=SECRET, at=0, write=None):
        """With `write` that request (method, path, user, body) comes in before the at-th statement for the database."""
        def request(method, path, user, body, query=None):
            headers = {} if user is None else {"X-User": str(user)}
            return {"db": str(db), "secret": secret, "method": method, "path": path, "body": body, "query": query, "headers": headers}

        line = json.dumps({**request(method, path, user, body, query), "at": at, "write": write and request(*write)})
        watchdog = threading.Timer(30, self.process.kill)
        watchdog.start()
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except OSError:
            answer = ""
        finally:
            watchdog.cancel()
        assert answer, "the process of the app has ended, or gives no answer in 30 s"
        return Answer(*json.loads(answer))

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def run(*args):
    return subprocess.run([sys.executable, *map(str, args)], cwd=HOME, capture_output=True, text=True, timeout=30)


def run_well(*args):
    done = run(*args)
    assert done.returncode == 0, f"{args}: {done.stderr[-2000:]}"


@pytest.fixture(scope="module")
def empty():
    folder = Path(tempfile.mkdtemp(dir=FAST))
    run_well("-m", "fieldnotes.migrate", folder / "empty.db")
    yield folder / "empty.db"
    shutil.rmtree(folder, ignore_errors=True)


class Backend:
    """The API on a database of its own; an open connection keeps the WAL alive, which is quicker."""

    def __init__(self, source, worker):
        self.worker = worker
        self.folder = Path(tempfile.mkdtemp(dir=FAST))
        self.path = self.folder / "notes.db"
        shutil.copy(source, self.path)
        self.sql = sqlite3.connect(self.path, isolation_level=None)
        self.sql.execute("PRAGMA journal_mode = WAL")
        self.sql.execute("SELECT count(*) FROM notes").fetchone()

    def close(self):
        self.sql.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, method, path, user, body=None, want=None):
        res = self.worker.ask(self.path, method, path, user, body)
        assert want is None or res.status_code == want, f"{method} {path}: {res.status_code} {res.text}"
        return res

    def user(self, name):
        return self.call("POST", "/users", 0, {"name": name}, 201).json["id"]

    def project(self, owner, *members):
        project = self.call("POST", "/projects", owner, {"name": "p"}, 201).json["id"]
        for member in members:
            self.join(owner, project, member)
        return project

    def join(self, by, project, member):
        self.call("PUT", f"/projects/{project}/members/{member}", by, None, 204)

    def leave(self, by, project, member):
        self.call("DELETE", f"/projects/{project}/members/{member}", by, None, 204)

    def note(self, user, project, ref, tags=()):
        return self.call("POST", "/notes", user, {"project": project, "ref": ref, "title": ref, "tags": list(tags)}, 201).json["id"]

    def patch(self, user, note, **values):
        return self.call("PATCH", f"/notes/{note}", user, values, 200)

    def delete(self, user, note):
        self.call("DELETE", f"/notes/{note}", user, None, 204)

    def notes(self, user):
        return {n["id"]: n for n in self.call("GET", "/notes", user, None, 200).json}

    def rows(self):
        """The number of rows of all tables."""
        tables = [name for name, in self.sql.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")]
        return sum(self.sql.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables)

    def visible(self):
        shown = {}
        for user, note in self.sql.execute("SELECT m.user_id, n.id FROM notes n JOIN members m ON m.project_id = n.project_id"):
            shown.setdefault(user, set()).add(note)
        return shown

    def sync(self, user, token=None, limit=None, worker=None, secret=SECRET, **more):
        query = {k: v for k, v in (("token", token), ("limit", limit)) if v is not None}
        return (worker or self.worker).ask(self.path, "GET", "/sync", user, None, query, secret, **more)

    def bring(self, rows):
        """Runs the import with (project, ref, title, author, updated_at)."""
        file = self.folder / "in.csv"
        with open(file, "w", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(["project", "ref", "title", "body", "author", "updated_at"])
            writer.writerows([p, r, t, "imported", a, u] for p, r, t, a, u in rows)
        run_well(HOME / "scripts" / "import_csv.py", self.path, file)

    def compact(self):
        run_well("-m", "fieldnotes.compact", self.path)


@pytest.fixture(scope="module")
def workers():
    both = Worker(), Worker()
    yield both
    for worker in both:
        worker.close()


@pytest.fixture
def open_backend(empty, workers):
    opened = []

    def opener(source=None):
        opened.append(Backend(source or empty, workers[0]))
        return opened[-1]

    yield opener
    for backend in opened:
        backend.close()


class Phone:
    def __init__(self, backend, user, limit=500):
        self.backend, self.user, self.limit = backend, user, limit
        self.forget()

    def forget(self):
        self.copy, self.token, self.seen, self.lost = {}, None, set(), set()

    def page(self, **more):
        if self.token is None:
            self.seen, self.lost = set(self.backend.visible().get(self.user, ())), set()
        res = self.backend.sync(self.user, self.token, self.limit, **more)
        assert res.status_code == 200, f"{res.status_code} {res.text}"
        data = res.json
        assert set(data) == {"changes", "token", "more"} and isinstance(data["token"], str) and isinstance(data["more"], bool)
        assert len(data["changes"]) <= self.limit, "more changes than the limit"
        for change in data["changes"]:
            if change["op"] == "put":
                assert set(change) == {"op", "note"}
                self.copy[change["note"]["id"]] = change["note"]
            else:
                assert set(change) == {"op", "id"} and change["op"] == "remove", change
                assert change["id"] in self.seen, "hears of a note that its user could not see"
                self.copy.pop(change["id"], None)
                self.lost.discard(change["id"])
        self.token = data["token"]
        if not data["more"]:
            self.seen = set(self.backend.visible().get(self.user, ()))
            self.lost = set()
        return data

    def sync(self):
        """Follows the pages to the end, without writes between them; what has changed as {id: op}."""
        told = []
        for _ in range(500):
            data = self.page()
            told += [(c["note"]["id"] if c["op"] == "put" else c["id"], c["op"]) for c in data["changes"]]
            if not data["more"]:
                break
        else:
            assert False, "more: true for ever"
        assert len(dict(told)) == len(told), f"a note is told of more than once: {told}"
        assert self.copy == self.backend.notes(self.user), "the copy is not what GET /notes shows"
        return dict(told)


def test_phones_are_told_what_has_changed_and_nothing_else(open_backend, workers):
    b = open_backend()
    ann, bob, eve = b.user("Ann"), b.user("Bob"), b.user("Eve")
    one, two, private = b.project(ann, bob), b.project(ann), b.project(eve)
    notes = [b.note(ann, one, f"n{i}", ["x", "y"][: i % 3]) for i in range(7)]
    secret = b.note(eve, private, "secret")
    gone = b.note(ann, one, "gone")
    b.delete(ann, gone)

    for limit in (1, 3, 7, 8, 500):
        assert Phone(b, bob, limit).sync() == {n: "put" for n in notes}
    for bad in ("0", "501", "-1", "x", "", "1.5", "1_0", "9" * 30, "+7", " 7", "\u0667"):
        res = b.sync(bob, limit=bad)
        assert (res.status_code, res.json) == (400, {"error": "bad_limit"}), bad
    assert b.sync(bob).status_code == 200
    assert b.sync(None).status_code == 401
    crowd = open_backend()
    kim = crowd.user("Kim")
    crowded = crowd.project(kim)
    crowd.bring([(crowded, f"k{i}", "t", kim, i) for i in range(101)])
    first = crowd.sync(kim).json
    assert len(first["changes"]) == 100 and first["more"] is True, "a limit of 100, if none is given"

    a, p = Phone(b, ann, 2), Phone(b, bob, 2)
    e = Phone(b, eve, 1)
    a.sync(), p.sync(), e.sync()
    before = [(phone.user, phone.token, dict(phone.copy)) for phone in (a, p)]

    def told(for_ann, for_bob, for_eve=None):
        assert (a.sync(), p.sync(), e.sync()) == (for_ann, for_bob, for_eve or {})
        assert (a.sync(), p.sync(), e.sync()) == ({}, {}, {}), "up to date, but told of something"

    told({}, {})
    for title in ("a", "b", "c"):
        b.patch(ann, notes[1], title=title)
    told({notes[1]: "put"}, {notes[1]: "put"})
    b.call("PUT", f"/notes/{notes[2]}/tags", bob, {"tags": ["z"]}, 200)
    told({notes[2]: "put"}, {notes[2]: "put"})
    b.call("PUT", f"/notes/{notes[2]}/tags", bob, {"tags": []}, 200)
    told({notes[2]: "put"}, {notes[2]: "put"})
    mine = b.note(bob, one, "bob's")
    told({mine: "put"}, {mine: "put"})
    b.call("PATCH", f"/users/{bob}", bob, {"name": "Robert"}, 200)
    told({mine: "put"}, {mine: "put"})
    assert a.copy[mine]["author"] == "Robert"

    b.patch(ann, notes[0], project=two)
    told({notes[0]: "put"}, {notes[0]: "remove"})
    b.patch(ann, notes[0], project=one)
    told({notes[0]: "put"}, {notes[0]: "put"})
    b.join(ann, one, eve)
    everything = set(notes) | {mine}
    told({}, {}, {n: "put" for n in everything})
    b.join(ann, one, eve)
    told({}, {}, {})
    b.patch(eve, notes[3], project=private)
    told({notes[3]: "remove"}, {notes[3]: "remove"}, {notes[3]: "put"})
    everything.remove(notes[3])
    b.leave(ann, one, eve)
    told({}, {}, {n: "remove" for n in everything})
    b.patch(eve, secret, title="still secret")
    b.delete(eve, notes[3])
    told({}, {}, {secret: "put", notes[3]: "remove"})
    assert b.call("PATCH", f"/notes/{notes[4]}", ann, {"title": "never", "ref": "n5"}).status_code == 409
    told({}, {})

    # The scripts: a row that is there is replaced by one with another id.
    b.bring([(one, "n4", "new four", ann, 500), (one, "fresh", "fresh", bob, 501), (private, "theirs", "t", eve, 10**10)])
    ids = {n["ref"]: i for i, n in b.notes(ann).items()}
    both = {notes[4]: "remove", ids["n4"]: "put", ids["fresh"]: "put"}
    assert ids["n4"] != notes[4]
    told(both, both, {next(i for i, n in b.notes(eve).items() if n["ref"] == "theirs"): "put"})
    run_well(HOME / "scripts" / "cleanup.py", b.path, 501)
    told({ids["n4"]: "remove"}, {ids["n4"]: "remove"})
    b.call("DELETE", f"/projects/{one}", bob, None, 204)
    left = (everything - {notes[4]}) | {ids["fresh"]}
    told({n: "remove" for n in left}, {n: "remove" for n in left})
    assert p.copy == {}
    lone = b.user("Lone")
    left = b.project(lone)
    only, phone = b.note(lone, left, "only"), Phone(b, lone)
    assert phone.sync() == {only: "put"}
    b.leave(lone, left, lone)
    assert phone.sync() == {only: "remove"}
    b.call("PATCH", f"/users/{lone}", lone, {"name": "Nobody sees what I wrote"}, 200)

    # Old tokens, for answers that got lost; tokens of others, and broken ones.
    for user, token, copy in before:
        late = Phone(b, user)
        late.token, late.copy, late.seen = token, copy, set(range(100))
        assert not late.page()["more"] and late.copy == b.notes(user)
    other = workers[1]
    assert b.sync(bob, p.token, worker=other).json["changes"] == []
    half = b.sync(eve, limit=1).json
    assert half["more"]
    with sqlite3.connect(b.folder / "backup.db") as backup:
        b.sql.backup(backup)
    moved = open_backend(b.folder / "backup.db")
    assert moved.sync(bob, p.token).json["changes"] == [] and moved.sync(eve, half["token"]).status_code == 200, "the database is elsewhere now"
    for good, user in ((a.token, ann), (half["token"], eve)):
        assert b.sync(user, good, worker=other).status_code == 200
        flipped = [good[:i] + ("Q" if good[i] != "Q" else "R") + good[i + 1:] for i in range(0, len(good) - 1, 1 + len(good) // 16)]
        raised = [good[:i] + ("7" if good[i] != "7" else "8") + good[i + 1:] for i in range(len(good)) if good[i] in "0123456789"][:24]
        for token in [*flipped, *raised, good[:-1], good[:-3], good[: len(good) // 2], good[1:], "x", "7", "1.2.3", "\u00e4\u20ac", "."]:
            res = b.sync(user, token)
            assert (res.status_code, res.json) == (400, {"error": "bad_token"}), (good, token)
        assert b.sync(bob, good).status_code == 400
        assert b.sync(user, good, secret="another secret").status_code == 400


def write_something(b, pick, people, projects, names):
    """One random write."""
    user = pick.choice(people)
    mine = [p for p in projects if b.sql.execute("SELECT 1 FROM members WHERE project_id = ? AND user_id = ?", (p, user)).fetchone()]
    notes = sorted(b.visible().get(user, ()))
    what = pick.choice(["new", "new", "new", "title", "title", "ref", "move", "move", "tags", "delete", "delete", "join", "join", "leave", "rename", "project", "end"])
    if what == "new" and mine:
        b.call("POST", "/notes", user, {"project": pick.choice(mine), "ref": pick.choice(names), "title": "t", "tags": pick.sample("abc", pick.randrange(3))})
    elif what == "title" and notes:
        b.patch(user, pick.choice(notes), title=pick.choice(names))
    elif what == "ref" and notes:
        b.call("PATCH", f"/notes/{pick.choice(notes)}", user, {"ref": pick.choice(names), "body": "moved"})
    elif what == "move" and notes:
        b.call("PATCH", f"/notes/{pick.choice(notes)}", user, {"project": pick.choice(mine)})
    elif what == "tags" and notes:
        b.call("PUT", f"/notes/{pick.choice(notes)}/tags", user, {"tags": pick.sample("abcde", pick.randrange(4))}, 200)
    elif what == "delete" and notes:
        b.delete(user, pick.choice(notes))
    elif what == "join" and mine:
        b.join(user, pick.choice(mine), pick.choice(people))
    elif what == "leave" and mine:
        b.leave(user, pick.choice(mine), pick.choice(people))
    elif what == "rename":
        b.call("PATCH", f"/users/{user}", user, {"name": pick.choice(names)}, 200)
    elif what == "project" and len(projects) < 6:
        projects.append(b.project(user))
    elif what == "end" and mine and pick.randrange(3) == 0:
        gone = pick.choice(mine)
        b.call("DELETE", f"/projects/{gone}", user, None, 204)
        projects.remove(gone)


def test_phones_converge_whatever_happens_between_the_pages(open_backend):
    for seed in range(1, 5):
        pick = random.Random(seed)
        b = open_backend()
        people = [b.user(f"u{i}") for i in range(4)]
        projects = [b.project(people[0], *people[1:3]), b.project(people[1], people[3])]
        names = [f"r{i}" for i in range(12)]
        for name in names[:8]:
            b.note(people[1], pick.choice(projects), name)
        phones = [Phone(b, people[i % 4], limit) for i, limit in enumerate((1, 2, 3, 500, 1, 2))]
        shown = b.visible()
        for step in range(60):
            if step in (20, 45) and projects:
                b.bring([(pick.choice(projects), name, "imported", pick.choice(people), pick.randrange(10**10)) for name in pick.sample(names, 4)])
            elif step == 33:
                run_well(HOME / "scripts" / "cleanup.py", b.path, 5 * 10**9 if seed % 2 else 10**9)
            else:
                write_something(b, pick, people, projects, names)
            now = b.visible()
            for phone in phones:
                after = now.get(phone.user, set())
                phone.lost = (phone.lost | (shown.get(phone.user, set()) - after)) - after
                phone.seen |= after
            shown = now
            if step in (28, 50):
                b.compact()
                for phone in phones:
                    status = b.sync(phone.user, phone.token, phone.limit).status_code
                    if phone.token is None or not phone.lost:
                        assert status == 200, "a token that needs none of the forgotten removals is refused"
                    elif phone.lost & set(phone.copy):
                        assert status == 410, "a forgotten removal is never told"
                    if status == 410:
                        phone.forget()
            if pick.randrange(3):
                phone = pick.choice(phones)
                phone.page() if pick.randrange(3) else phone.sync()
        for phone in phones:
            phone.sync()
        for phone in phones:
            assert phone.sync() == {}


    # A write that comes in while a page is being made.
    b = open_backend()
    ann = b.user("Ann")
    project = b.project(ann)
    phone = Phone(b, ann)
    for at in range(1, 15):
        for method in ("PATCH", "DELETE"):
            written = b.note(ann, project, f"{method} {at}")
            phone.seen.add(written)
            phone.page(at=at, write=(method, f"/notes/{written}", ann, {"title": f"t{at}"}))
            phone.seen.add(written)
            phone.sync()


def test_compaction_refuses_only_those_who_need_what_is_forgotten(open_backend):
    b = open_backend()
    ann, bob, eve, dan = (b.user(n) for n in ("Ann", "Bob", "Eve", "Dan"))
    shared, other = b.project(ann, bob, dan), b.project(eve)
    notes = [b.note(ann, shared, f"n{i}") for i in range(8)]
    apart = [b.note(eve, other, f"e{i}") for i in range(3)]

    def refused(user, token):
        res = b.sync(user, token)
        assert (res.status_code, res.json) == (410, {"error": "resync"})

    a, p, e, d = (Phone(b, u, 2) for u in (ann, bob, eve, dan))
    for phone in (a, p, e, d):
        phone.sync()
    half = Phone(b, eve, 1)
    half.page()
    b.compact()
    for phone in (a, p, e, d):
        assert phone.sync() == {}

    old = {phone: phone.token for phone in (a, p, e, d)}
    midway = Phone(b, bob, 2)
    midway.page()
    gone = min(midway.copy)
    keep = [n for n in notes if n != gone]
    b.leave(ann, shared, dan)
    b.delete(ann, gone)
    assert a.sync() == {gone: "remove"}
    late = Phone(b, bob, 2)
    late.page()
    b.join(ann, shared, dan)
    b.compact()
    assert a.sync() == {}
    refused(ann, old[a])
    refused(bob, old[p])
    refused(dan, old[d])
    refused(bob, midway.token)
    assert set(late.sync().values()) == {"put"}
    assert e.sync() == {}
    half.sync()
    assert set(half.copy) == set(apart)
    fresh = Phone(b, bob, 1)
    assert fresh.sync() == {n: "put" for n in keep}

    # A second one, with nothing new to forget.
    b.compact()
    refused(ann, old[a])
    refused(bob, old[p])
    for phone in (a, late, e, fresh):
        assert phone.sync() == {}

    # Away and back before the compaction: nothing that has to be removed is forgotten.
    for phone in (a, e, fresh):
        phone.sync()
    b.leave(ann, shared, bob)
    b.patch(ann, keep[2], title="meanwhile")
    b.join(ann, shared, bob)
    b.compact()
    assert keep[2] in fresh.sync()
    assert a.sync() == {keep[2]: "put"}

    # All forgotten, all gone: the order of things goes on.
    tokens = [(ph.user, ph.token) for ph in (a, fresh)]
    b.call("DELETE", f"/projects/{shared}", ann, None, 204)
    recorded = b.rows()
    b.compact()
    assert b.rows() <= recorded - len(keep), "too little was forgotten"
    b.compact()
    for user, token in tokens:
        refused(user, token)
    empty_one = Phone(b, bob, 1)
    assert empty_one.sync() == {}
    again = b.project(ann, bob)
    more = [b.note(bob, again, f"m{i}") for i in range(3)]
    assert empty_one.sync() == {n: "put" for n in more}
    for user, token in tokens:
        refused(user, token)
    first = Phone(b, ann, 1)
    first.page()
    b.compact()
    first.page()
    assert set(first.sync()) | set(first.copy) == set(more)


def schema(path):
    with sqlite3.connect(path) as conn:
        return sorted((k, n, "".join((s or "").lower().split())) for k, n, s in conn.execute("SELECT type, name, sql FROM sqlite_master"))


def test_a_database_of_today_is_migrated_with_its_rows(open_backend, empty, tmp_path):
    path, kims = tmp_path / "today.db", range(8_134_500, 8_134_545)
    conn = sqlite3.connect(path)
    conn.executescript(VERSION_3)
    conn.executemany("INSERT INTO users VALUES (?, ?)", [(1, "Ann"), (2, "Bob"), (3, "Eve"), (4, "Kim")])
    conn.executemany("INSERT INTO projects VALUES (?, ?)", [(1, "a"), (2, "b"), (3, "c")])
    conn.executemany("INSERT INTO members VALUES (?, ?)", [(1, 1), (1, 2), (2, 2), (3, 4)])
    conn.executemany("INSERT INTO notes VALUES (?, 3, ?, 'k', '', 4, 7)", [(i, f"k{i % 100}") for i in kims])
    conn.executemany("INSERT INTO notes VALUES (?, ?, ?, ?, 'x; y', 1, ?)", [(i, 1 + i % 2, f"r{i}", f"t{i}", 100 * i) for i in (3, 4, 5, 8, 9)])
    conn.executemany("INSERT INTO note_tags VALUES (?, ?)", [(4, "b"), (4, "a"), (9, "c")])
    conn.commit()
    before = list(conn.iterdump()), 3
    conn.close()
    old = shutil.copy(path, tmp_path / "old.db")

    run_well("-m", "fieldnotes.migrate", path)
    with sqlite3.connect(path) as conn:
        once = list(conn.iterdump()), conn.execute("PRAGMA user_version").fetchone()[0]
    run_well("-m", "fieldnotes.migrate", path)
    with sqlite3.connect(path) as conn:
        assert (list(conn.iterdump()), conn.execute("PRAGMA user_version").fetchone()[0]) == once, "the second run did something"
    assert once[1] > 3 and schema(path) == schema(empty), "a new database has another schema"

    # Whatever stops it, nothing is done by half: here files of more than so many bytes.
    new = []
    for size in range(30_000, 300_000, 18_000):
        half = tmp_path / f"{size}.db"
        shutil.copy(old, half)
        limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size})); "
        run("-c", f"{limit}import runpy, sys; sys.argv = ['migrate', {str(half)!r}]; runpy.run_module('fieldnotes.migrate', run_name='__main__')")
        with sqlite3.connect(half) as conn:
            new.append((list(conn.iterdump()), conn.execute("PRAGMA user_version").fetchone()[0]))
        assert new[-1] in (before, once), f"a migration that failed has left something ({size} bytes)"
        if new[-1] == once:
            break
    assert before in new

    # One that cannot be migrated stays as it was: a table is in the way.
    odd = tmp_path / "odd.db"
    with sqlite3.connect(odd) as conn:
        conn.execute("CREATE TABLE note_tags (x)")
    was = schema(odd)
    assert run("-m", "fieldnotes.migrate", odd).returncode != 0
    assert schema(odd) == was, "a migration that failed has left something"

    b = open_backend(path)
    assert [n["id"] for n in b.call("GET", "/notes", 1, None, 200).json] == [4, 8]
    assert b.notes(1)[4] == {"id": 4, "project": 1, "ref": "r4", "title": "t4", "body": "x; y", "author": "Ann", "tags": ["a", "b"], "updated_at": 400}
    for since, ids in (("0", [3, 4, 5, 8, 9]), ("399", [4, 5, 8, 9]), ("400", [5, 8, 9]), ("900", [])):
        assert [n["id"] for n in b.call("GET", f"/notes?since={since}", 2, None, 200).json] == ids
    assert b.call("GET", "/notes?since=x", 2).json == {"error": "bad_since"}

    one, two, none = Phone(b, 1, 1), Phone(b, 2, 2), Phone(b, 3)
    assert one.sync() == {4: "put", 8: "put"}
    two.page()
    b.delete(2, 4)
    b.call("PUT", "/notes/9/tags", 2, {"tags": []}, 200)
    b.call("PATCH", "/users/1", 1, {"name": "Anna"}, 200)   # old phones are told neither of tags nor of names
    assert b.notes(2)[9]["updated_at"] == 900 and b.call("GET", "/notes?since=900", 2, None, 200).json == []
    two.sync()
    assert two.sync() == {} and none.sync() == {}
    assert one.sync() == {4: "remove", 8: "put"}
    b.join(1, 1, 3)
    assert none.sync() == {8: "put"}
    b.leave(1, 1, 3)
    assert none.sync() == {8: "remove"}
    run_well("-m", "fieldnotes.migrate", b.path)
    b.compact()
    assert (one.sync(), two.sync(), none.sync()) == ({}, {}, {})
    for note in kims[:-1]:
        b.delete(4, note)
    b.compact()
    kept = "\n".join(b.sql.iterdump())
    assert sum(str(note) in kept for note in kims[:-1]) <= 2, "removals are still recorded"
