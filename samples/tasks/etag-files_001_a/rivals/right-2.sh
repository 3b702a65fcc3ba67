#!/bin/bash
# no row per change and user: a tick for each note's content, and the stays of each user at each note (came, went); positions are (tick, note); base64 tokens
set -e
mkdir -p migrations
cat > migrations/004_sync.sql <<'RIVAL_END'
-- A clock that ticks with each write; when a note's content was last written; from when to when a user saw a note.
-- Phones get what lies after their position: (tick, note id).
CREATE TABLE ticks (now INTEGER NOT NULL);

INSERT INTO ticks VALUES (1);

CREATE TABLE written (
    note_id INTEGER PRIMARY KEY,
    tick INTEGER NOT NULL
);

CREATE TABLE stays (
    user_id INTEGER NOT NULL,
    note_id INTEGER NOT NULL,
    came INTEGER NOT NULL,
    went INTEGER
);

CREATE INDEX stays_user ON stays (user_id, note_id);

CREATE INDEX stays_open ON stays (note_id) WHERE went IS NULL;

CREATE TABLE compacted (
    user_id INTEGER NOT NULL,
    tick INTEGER NOT NULL,
    note_id INTEGER NOT NULL
);

CREATE INDEX compacted_user ON compacted (user_id);

-- INSERT OR REPLACE (the import) takes the old note away without a DELETE trigger.
CREATE TRIGGER sync_replace BEFORE INSERT ON notes
WHEN EXISTS (SELECT 1 FROM notes WHERE project_id = NEW.project_id AND ref = NEW.ref)
BEGIN
    UPDATE ticks SET now = now + 1;
    UPDATE stays SET went = (SELECT now FROM ticks) WHERE went IS NULL
        AND note_id = (SELECT id FROM notes WHERE project_id = NEW.project_id AND ref = NEW.ref);
END;

CREATE TRIGGER sync_insert AFTER INSERT ON notes
BEGIN
    UPDATE ticks SET now = now + 1;
    DELETE FROM written WHERE note_id = NEW.id;
    INSERT INTO written SELECT NEW.id, now FROM ticks;
    INSERT INTO stays SELECT m.user_id, NEW.id, t.now, NULL FROM members m, ticks t WHERE m.project_id = NEW.project_id;
END;

CREATE TRIGGER sync_update AFTER UPDATE OF ref, title, body, author_id, updated_at ON notes
WHEN (OLD.ref, OLD.title, OLD.body, OLD.author_id, OLD.updated_at) IS NOT (NEW.ref, NEW.title, NEW.body, NEW.author_id, NEW.updated_at)
BEGIN
    UPDATE ticks SET now = now + 1;
    UPDATE written SET tick = (SELECT now FROM ticks) WHERE note_id = NEW.id;
END;

CREATE TRIGGER sync_move AFTER UPDATE OF project_id ON notes WHEN OLD.project_id <> NEW.project_id
BEGIN
    UPDATE ticks SET now = now + 1;
    UPDATE written SET tick = (SELECT now FROM ticks) WHERE note_id = NEW.id;
    UPDATE stays SET went = (SELECT now FROM ticks) WHERE note_id = NEW.id AND went IS NULL
        AND user_id NOT IN (SELECT user_id FROM members WHERE project_id = NEW.project_id);
    INSERT INTO stays SELECT m.user_id, NEW.id, t.now, NULL FROM members m, ticks t WHERE m.project_id = NEW.project_id
        AND m.user_id NOT IN (SELECT user_id FROM stays WHERE note_id = NEW.id AND went IS NULL);
END;

CREATE TRIGGER sync_delete AFTER DELETE ON notes
BEGIN
    UPDATE ticks SET now = now + 1;
    UPDATE stays SET went = (SELECT now FROM ticks) WHERE note_id = OLD.id AND went IS NULL;
    DELETE FROM written WHERE note_id = OLD.id;
END;

CREATE TRIGGER sync_tag AFTER INSERT ON note_tags
BEGIN
    UPDATE ticks SET now = now + 1;
    UPDATE written SET tick = (SELECT now FROM ticks) WHERE note_id = NEW.note_id;
END;

CREATE TRIGGER sync_untag AFTER DELETE ON note_tags
BEGIN
    UPDATE ticks SET now = now + 1;
    UPDATE written SET tick = (SELECT now FROM ticks) WHERE note_id = OLD.note_id;
END;

CREATE TRIGGER sync_rename AFTER UPDATE OF name ON users WHEN OLD.name IS NOT NEW.name
BEGIN
    UPDATE ticks SET now = now + 1;
    UPDATE written SET tick = (SELECT now FROM ticks) WHERE note_id IN (SELECT id FROM notes WHERE author_id = NEW.id);
END;

CREATE TRIGGER sync_join AFTER INSERT ON members
BEGIN
    UPDATE ticks SET now = now + 1;
    INSERT INTO stays SELECT NEW.user_id, n.id, t.now, NULL FROM notes n, ticks t WHERE n.project_id = NEW.project_id;
END;

CREATE TRIGGER sync_leave AFTER DELETE ON members
BEGIN
    UPDATE ticks SET now = now + 1;
    UPDATE stays SET went = (SELECT now FROM ticks) WHERE user_id = OLD.user_id AND went IS NULL
        AND note_id IN (SELECT id FROM notes WHERE project_id = OLD.project_id);
END;

INSERT INTO written SELECT id, 1 FROM notes;

INSERT INTO stays SELECT m.user_id, n.id, 1, NULL FROM notes n JOIN members m ON m.project_id = n.project_id;
RIVAL_END
mkdir -p fieldnotes
cat > fieldnotes/sync.py <<'RIVAL_END'
"""What a phone has to hear: open stays (puts) and ended ones (removals), in the order of (tick, note)."""
import base64
import hmac
import json

from . import notes

LAST = 2 ** 62  # after all notes of a tick

PAGE = """
WITH mine AS (
    SELECT s.note_id, max(s.went IS NULL) AS seen, max(s.came) AS came, max(s.went) AS went,
           max((s.came, s.note_id) <= (:tick, :note) AND (s.went IS NULL OR s.went > :began AND (s.went, s.note_id) > (:tick, :note))) AS maybe_had
    FROM stays s WHERE s.user_id = :user GROUP BY s.note_id
), events AS (
    SELECT m.note_id, m.seen, CASE WHEN m.seen THEN max(m.came, w.tick) ELSE m.went END AS tick, m.maybe_had
    FROM mine m LEFT JOIN written w ON w.note_id = m.note_id
)
SELECT tick, note_id, seen FROM events
WHERE (tick, note_id) > (:tick, :note) AND (seen OR maybe_had AND tick > :began)
ORDER BY tick, note_id LIMIT :rows
"""


class SyncError(Exception):
    def __init__(self, status, error):
        super().__init__(error)
        self.status = status
        self.error = error


class Tokens:
    def __init__(self, secret):
        self.key = secret if isinstance(secret, bytes) else str(secret).encode()

    def write(self, *values):
        data = json.dumps(values, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(hmac.digest(self.key, b"fieldnotes/sync:" + data, "sha256") + data).decode()

    def read(self, user, token):
        try:
            raw = base64.urlsafe_b64decode(token.encode("ascii"))
            values = json.loads(raw[32:])
            good = hmac.compare_digest(self.write(*values), token)  # to the letter: base64 has several spellings
        except (ValueError, TypeError):
            good = False
        if not good or values[0] != user:
            raise SyncError(400, "bad_token")
        return values[1:]


def answer(conn, tokens, user, token, limit):
    (now,) = conn.execute("SELECT now FROM ticks").fetchone()
    if token is None:
        began, tick, note = now, 0, LAST
    else:
        began, tick, note = tokens.read(user, token)
        reached = max((began, LAST), (tick, note))
        for row in conn.execute("SELECT tick, note_id FROM compacted WHERE user_id = ?", (user,)):
            if (row["tick"], row["note_id"]) > reached:
                raise SyncError(410, "resync")
    found = conn.execute(PAGE, {"user": user, "tick": tick, "note": note, "began": began, "rows": limit + 1}).fetchall()
    more = len(found) > limit
    found = found[:limit]
    changes = [
        {"op": "put", "note": notes.get(conn, user, row["note_id"])} if row["seen"] else {"op": "remove", "id": row["note_id"]}
        for row in found
    ]
    tick, note = (found[-1]["tick"], found[-1]["note_id"]) if more else (now, LAST)
    return {"changes": changes, "token": tokens.write(user, began, tick, note), "more": more}
RIVAL_END
mkdir -p fieldnotes
cat > fieldnotes/compact.py <<'RIVAL_END'
"""python3 -m fieldnotes.compact DB: forgets the removals."""
import sys

from .db import connect, transaction

UNSEEN = "SELECT user_id, note_id FROM stays GROUP BY user_id, note_id HAVING count(*) = count(went)"


def main(db_path):
    conn = connect(db_path)
    with transaction(conn):
        for row in conn.execute(f"SELECT user_id, note_id, max(went) AS tick FROM stays WHERE (user_id, note_id) IN ({UNSEEN})"
                                " GROUP BY user_id, note_id").fetchall():
            old = conn.execute("SELECT tick, note_id FROM compacted WHERE user_id = ?", (row["user_id"],)).fetchone()
            new = (row["tick"], row["note_id"])
            if old is None or new > tuple(old):
                conn.execute("DELETE FROM compacted WHERE user_id = ?", (row["user_id"],))
                conn.execute("INSERT INTO compacted VALUES (?, ?, ?)", (row["user_id"], *new))
        conn.execute(f"DELETE FROM stays WHERE (user_id, note_id) IN ({UNSEEN})")
    conn.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 -m fieldnotes.compact DB")
    main(sys.argv[1])
RIVAL_END
mkdir -p fieldnotes
cat > fieldnotes/app.py <<'RIVAL_END'
import re
import sqlite3

from flask import Flask, g, jsonify, request

from . import notes, sync
from .db import connect, transaction


class ApiError(Exception):
    def __init__(self, status, error):
        super().__init__(error)
        self.status = status
        self.error = error


def create_app(db_path, secret):
    app = Flask(__name__)
    app.config.update(DB_PATH=db_path, SECRET_KEY=secret)

    def db():
        if "db" not in g:
            g.db = connect(app.config["DB_PATH"])
        return g.db

    def user():
        header = request.headers.get("X-User", "")
        if header.isdecimal() and db().execute("SELECT 1 FROM users WHERE id = ?", (int(header),)).fetchone():
            return int(header)
        raise ApiError(401, "unknown_user")

    def body(*required):
        data = request.get_json(silent=True)
        if not isinstance(data, dict) or any(name not in data for name in required):
            raise ApiError(400, "bad_body")
        return data

    def tag_list(value):
        if not isinstance(value, list) or any(not isinstance(t, str) or not t or "\n" in t for t in value):
            raise ApiError(400, "bad_tags")
        return value

    def need_project(project):
        if not isinstance(project, int) or not notes.is_member(db(), user(), project):
            raise ApiError(404, "no_such_project")

    def need_note(note_id):
        note = notes.get(db(), user(), note_id)
        if note is None:
            raise ApiError(404, "no_such_note")
        return note

    @app.teardown_appcontext
    def close(_):
        if "db" in g:
            g.pop("db").close()

    @app.errorhandler(ApiError)
    def api_error(err):
        return jsonify(error=err.error), err.status

    @app.get("/notes")
    def list_notes():
        since = request.args.get("since")
        if since is not None and not since.isdecimal():
            raise ApiError(400, "bad_since")
        return jsonify(notes.visible(db(), user(), None if since is None else int(since)))

    @app.post("/notes")
    def create_note():
        data = body("project", "ref", "title")
        tags = tag_list(data.get("tags", []))
        need_project(data["project"])
        try:
            with transaction(db()):
                note_id = notes.create(db(), user(), data["project"], data["ref"], data["title"], data.get("body", ""), tags)
        except sqlite3.IntegrityError:
            raise ApiError(409, "ref_taken")
        return jsonify(notes.get(db(), user(), note_id)), 201

    @app.patch("/notes/<int:note_id>")
    def patch_note(note_id):
        need_note(note_id)
        data = body()
        values = {name: data[name] for name in notes.FIELDS if name in data}
        if "project" in data:
            need_project(data["project"])
            values["project_id"] = data["project"]
        try:
            with transaction(db()):
                notes.change(db(), note_id, values)
        except sqlite3.IntegrityError:
            raise ApiError(409, "ref_taken")
        return jsonify(notes.get(db(), user(), note_id))

    @app.put("/notes/<int:note_id>/tags")
    def put_tags(note_id):
        need_note(note_id)
        tags = tag_list(body("tags")["tags"])
        with transaction(db()):
            notes.set_tags(db(), note_id, tags)
        return jsonify(notes.get(db(), user(), note_id))

    @app.delete("/notes/<int:note_id>")
    def delete_note(note_id):
        need_note(note_id)
        db().execute("DELETE FROM notes WHERE id = ?", (note_id,))
        return "", 204

    @app.post("/projects")
    def create_project():
        data = body("name")
        with transaction(db()):
            project = db().execute("INSERT INTO projects (name) VALUES (?)", (data["name"],)).lastrowid
            db().execute("INSERT INTO members (project_id, user_id) VALUES (?, ?)", (project, user()))
        return jsonify(id=project), 201

    @app.delete("/projects/<int:project>")
    def delete_project(project):
        need_project(project)
        db().execute("DELETE FROM projects WHERE id = ?", (project,))
        return "", 204

    @app.put("/projects/<int:project>/members/<int:member>")
    def add_member(project, member):
        need_project(project)
        try:
            db().execute("INSERT OR IGNORE INTO members (project_id, user_id) VALUES (?, ?)", (project, member))
        except sqlite3.IntegrityError:
            raise ApiError(404, "unknown_user")
        return "", 204

    @app.delete("/projects/<int:project>/members/<int:member>")
    def remove_member(project, member):
        need_project(project)
        db().execute("DELETE FROM members WHERE project_id = ? AND user_id = ?", (project, member))
        return "", 204

    @app.post("/users")
    def create_user():
        return jsonify(id=db().execute("INSERT INTO users (name) VALUES (?)", (body("name")["name"],)).lastrowid), 201

    @app.patch("/users/<int:user_id>")
    def rename_user(user_id):
        if user_id != user():
            raise ApiError(404, "unknown_user")
        db().execute("UPDATE users SET name = ? WHERE id = ?", (body("name")["name"], user_id))
        return jsonify(id=user_id)

    @app.get("/sync")
    def get_sync():
        user()
        limit = request.args.get("limit", "100")
        if not re.fullmatch(r"0*[1-9][0-9]{0,2}", limit, re.ASCII) or int(limit) > 500:
            raise ApiError(400, "bad_limit")
        me = user()
        tokens = sync.Tokens(app.config["SECRET_KEY"])
        try:
            with transaction(db(), "DEFERRED"):  # one picture of the database for the whole page
                return jsonify(sync.answer(db(), tokens, me, request.args.get("token"), int(limit)))
        except sync.SyncError as err:
            raise ApiError(err.status, err.error)

    return app
RIVAL_END
mkdir -p fieldnotes
cat > fieldnotes/migrate.py <<'RIVAL_END'
"""python3 -m fieldnotes.migrate DB: applies what is missing of migrations/*.sql."""
import re
import sqlite3
import sys
from pathlib import Path

from .db import connect, transaction

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def statements(text):
    """The statements of a script; a trigger is one, with the semicolons in its body."""
    statement = ""
    for part in text.split(";")[:-1]:
        statement += part + ";"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


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
RIVAL_END
mkdir -p fieldnotes
cat > fieldnotes/notes.py <<'RIVAL_END'
"""What a note looks like to the outside, and the writes that the API offers."""
import time

FIELDS = ("title", "body", "ref")

SHOWN = """
    SELECT n.id, n.project_id, n.ref, n.title, n.body, u.name AS author, n.updated_at,
           (SELECT group_concat(tag, char(10)) FROM (SELECT tag FROM note_tags WHERE note_id = n.id ORDER BY tag)) AS tags
    FROM notes n JOIN users u ON u.id = n.author_id
"""


def show(row):
    return {
        "id": row["id"],
        "project": row["project_id"],
        "ref": row["ref"],
        "title": row["title"],
        "body": row["body"],
        "author": row["author"],
        "tags": row["tags"].split("\n") if row["tags"] else [],
        "updated_at": row["updated_at"],
    }


def visible(conn, user, since=None):
    sql = SHOWN + " JOIN members m ON m.project_id = n.project_id AND m.user_id = ?"
    args = [user]
    if since is not None:
        sql += " WHERE n.updated_at > ?"
        args.append(since)
    return [show(row) for row in conn.execute(sql + " ORDER BY n.id", args)]


def get(conn, user, note_id):
    sql = SHOWN + " JOIN members m ON m.project_id = n.project_id AND m.user_id = ? WHERE n.id = ?"
    row = conn.execute(sql, (user, note_id)).fetchone()
    return show(row) if row else None


def is_member(conn, user, project):
    return conn.execute("SELECT 1 FROM members WHERE project_id = ? AND user_id = ?", (project, user)).fetchone() is not None


def create(conn, user, project, ref, title, body, tags):
    cursor = conn.execute(
        "INSERT INTO notes (project_id, ref, title, body, author_id, updated_at) VALUES (?, ?, ?, ?, ?, ?)",
        (project, ref, title, body, user, int(time.time())),
    )
    set_tags(conn, cursor.lastrowid, tags)
    return cursor.lastrowid


def change(conn, note_id, values):
    for column, value in values.items():
        conn.execute(f"UPDATE notes SET {column} = ? WHERE id = ?", (value, note_id))
    touch(conn, note_id)


def set_tags(conn, note_id, tags):
    """Writes differences only: the same tags again are no change for the phones."""
    old = {row["tag"] for row in conn.execute("SELECT tag FROM note_tags WHERE note_id = ?", (note_id,))}
    conn.executemany("DELETE FROM note_tags WHERE note_id = ? AND tag = ?", [(note_id, tag) for tag in old - set(tags)])
    conn.executemany("INSERT OR IGNORE INTO note_tags (note_id, tag) VALUES (?, ?)", [(note_id, tag) for tag in set(tags) - old])


def touch(conn, note_id):
    conn.execute("UPDATE notes SET updated_at = ? WHERE id = ?", (int(time.time()), note_id))
RIVAL_END
