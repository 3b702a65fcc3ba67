#!/bin/bash
# "A token that is another user's, altered, cut short or invented is 400 `{\"error\": \"bad_token\"}`." (another user's token is taken, as one's own)
set -e
mkdir -p migrations
cat > migrations/004_sync.sql <<'RIVAL_END'
-- What each user's phones have to hear of: one row for each note that the user sees or once saw, numbered anew with each change.
-- All is written by triggers, so that scripts and the API need not care. A statement's OR REPLACE or OR IGNORE would hold inside of
-- its triggers too, so nothing here relies on a conflict.
CREATE TABLE feed (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL,
    note_id INTEGER NOT NULL,
    visible INTEGER NOT NULL,
    since INTEGER, -- when the user saw the note first,
    came INTEGER,  -- when the user came to see it this time (both: where not with this change),
    gone INTEGER   -- when it had gone before that
);

CREATE INDEX feed_user ON feed (user_id, seq);

CREATE INDEX feed_note ON feed (note_id, user_id, seq);

-- the highest removal of a user that was forgotten
CREATE TABLE feed_forgotten (
    user_id INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL
);

CREATE VIEW feed_mark AS SELECT user_id, note_id, visible FROM feed;

CREATE TRIGGER feed_mark_insert INSTEAD OF INSERT ON feed_mark
BEGIN
    INSERT INTO feed (user_id, note_id, visible, since, came, gone)
        SELECT NEW.user_id, NEW.note_id, NEW.visible, coalesce(old.since, old.seq),
            CASE WHEN old.visible THEN coalesce(old.came, old.seq) END, CASE WHEN old.visible THEN old.gone ELSE old.seq END
        FROM (SELECT 1) LEFT JOIN feed old ON old.note_id = NEW.note_id AND old.user_id = NEW.user_id;
    DELETE FROM feed WHERE note_id = NEW.note_id AND user_id = NEW.user_id
        AND seq < (SELECT max(seq) FROM feed WHERE note_id = NEW.note_id AND user_id = NEW.user_id);
END;

CREATE TRIGGER feed_note_replace BEFORE INSERT ON notes
BEGIN
    INSERT INTO feed_mark SELECT f.user_id, f.note_id, 0 FROM notes n JOIN feed f ON f.note_id = n.id AND f.visible
        WHERE n.project_id = NEW.project_id AND n.ref = NEW.ref;
END;

CREATE TRIGGER feed_note_insert AFTER INSERT ON notes
BEGIN
    INSERT INTO feed_mark SELECT user_id, NEW.id, 1 FROM members WHERE project_id = NEW.project_id;
END;

CREATE TRIGGER feed_note_update AFTER UPDATE ON notes
    WHEN OLD.project_id IS NOT NEW.project_id OR OLD.ref IS NOT NEW.ref OR OLD.title IS NOT NEW.title OR OLD.body IS NOT NEW.body
        OR OLD.author_id IS NOT NEW.author_id OR OLD.updated_at IS NOT NEW.updated_at
BEGIN
    INSERT INTO feed_mark SELECT f.user_id, f.note_id, 0 FROM feed f WHERE f.note_id = NEW.id AND f.visible
        AND NOT EXISTS (SELECT 1 FROM members m WHERE m.project_id = NEW.project_id AND m.user_id = f.user_id);
    INSERT INTO feed_mark SELECT user_id, NEW.id, 1 FROM members WHERE project_id = NEW.project_id;
END;

CREATE TRIGGER feed_note_delete AFTER DELETE ON notes
BEGIN
    INSERT INTO feed_mark SELECT user_id, note_id, 0 FROM feed WHERE note_id = OLD.id AND visible;
END;

CREATE TRIGGER feed_tag_insert AFTER INSERT ON note_tags
BEGIN
    INSERT INTO feed_mark SELECT m.user_id, n.id, 1 FROM notes n JOIN members m ON m.project_id = n.project_id WHERE n.id = NEW.note_id;
END;

CREATE TRIGGER feed_tag_delete AFTER DELETE ON note_tags
BEGIN
    INSERT INTO feed_mark SELECT m.user_id, n.id, 1 FROM notes n JOIN members m ON m.project_id = n.project_id WHERE n.id = OLD.note_id;
END;

CREATE TRIGGER feed_member_insert AFTER INSERT ON members
BEGIN
    INSERT INTO feed_mark SELECT NEW.user_id, id, 1 FROM notes WHERE project_id = NEW.project_id ORDER BY id;
END;

CREATE TRIGGER feed_member_delete AFTER DELETE ON members
BEGIN
    INSERT INTO feed_mark SELECT f.user_id, f.note_id, 0 FROM notes n JOIN feed f ON f.note_id = n.id
        WHERE n.project_id = OLD.project_id AND f.user_id = OLD.user_id AND f.visible;
END;

CREATE TRIGGER feed_author AFTER UPDATE OF name ON users WHEN OLD.name IS NOT NEW.name
BEGIN
    INSERT INTO feed_mark SELECT m.user_id, n.id, 1 FROM notes n JOIN members m ON m.project_id = n.project_id WHERE n.author_id = NEW.id;
END;

INSERT INTO feed (user_id, note_id, visible)
    SELECT m.user_id, n.id, 1 FROM notes n JOIN members m ON m.project_id = n.project_id ORDER BY n.id, m.user_id;
RIVAL_END
mkdir -p fieldnotes
cat > fieldnotes/sync.py <<'RIVAL_END'
"""GET /sync: pages of a user's feed, and the tokens that say how far a phone has come.

A token is user.began.position.mac: `began` is where the feed ended when the first sync began.
"""
import hashlib
import hmac

from . import notes


class BadToken(Exception):
    pass


class Resync(Exception):
    pass


def mac(secret, text):
    key = secret.encode() if isinstance(secret, str) else bytes(secret)
    return hmac.new(key, b"sync " + text.encode(), hashlib.sha256).hexdigest()


def make_token(secret, user, began, position):
    text = f"{user}.{began}.{position}"
    return f"{text}.{mac(secret, text)}"


def read_token(secret, user, token):
    text, _, given = token.rpartition(".")
    if not hmac.compare_digest(mac(secret, text).encode(), given.encode("utf-8", "replace")):
        raise BadToken
    owner, began, position = map(int, text.split("."))
    return began, position


def end_of_feed(conn):
    row = conn.execute("SELECT seq FROM sqlite_sequence WHERE name = 'feed'").fetchone()
    return row["seq"] if row else 0


def page(conn, secret, user, token, limit):
    """To be called in a transaction."""
    end = end_of_feed(conn)
    if token is None:
        began, position = end, 0
    else:
        began, position = read_token(secret, user, token)
        row = conn.execute("SELECT seq FROM feed_forgotten WHERE user_id = ?", (user,)).fetchone()
        if row and row["seq"] > max(began, position):
            raise Resync
    # A removal counts where it came after the first sync began, and the phone can have the note.
    rows = conn.execute(
        "SELECT seq, note_id, visible FROM feed WHERE user_id = :user AND seq > :position AND "
        "(visible OR seq > :began AND (came <= :position OR since <= :position AND gone > max(:began, :position)))"
        " ORDER BY seq LIMIT :rows", {"user": user, "began": began, "position": position, "rows": limit + 1}).fetchall()
    more = len(rows) > limit
    changes = []
    for row in rows[:limit]:
        if row["visible"]:
            changes.append({"op": "put", "note": notes.get(conn, user, row["note_id"])})
        else:
            changes.append({"op": "remove", "id": row["note_id"]})
    position = rows[limit - 1]["seq"] if more else end
    return {"changes": changes, "token": make_token(secret, user, began, position), "more": more}
RIVAL_END
mkdir -p fieldnotes
cat > fieldnotes/compact.py <<'RIVAL_END'
"""python3 -m fieldnotes.compact DB: forgets all removals that are recorded."""
import sys

from .db import connect, transaction


def compact(db_path):
    conn = connect(db_path)
    try:
        with transaction(conn):
            # A removal is recorded only where the user does not see the note now.
            conn.execute(
                "REPLACE INTO feed_forgotten (user_id, seq)"
                " SELECT user_id, max(seq) FROM feed WHERE NOT visible GROUP BY user_id")
            conn.execute("DELETE FROM feed WHERE NOT visible")
    finally:
        conn.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 -m fieldnotes.compact DB")
    compact(sys.argv[1])
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
        try:
            with transaction(db(), "DEFERRED"):  # one picture of the database for the whole page
                return jsonify(sync.page(db(), app.config["SECRET_KEY"], me, request.args.get("token"), int(limit)))
        except sync.BadToken:
            raise ApiError(400, "bad_token")
        except sync.Resync:
            raise ApiError(410, "resync")

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
