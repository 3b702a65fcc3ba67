#!/bin/bash
# "A token that is another user's, altered, cut short or invented is 400" (the signature is of the user alone: whoever has a token may write any place into it)
set -euo pipefail

cat > migrations/004_sync.sql <<'EOF'
-- What each user has to be told of each note: one row, moved to the end whenever there is something new about it.
CREATE TABLE sync_feed (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL,
    note_id INTEGER NOT NULL,
    present INTEGER NOT NULL
);

CREATE INDEX sync_feed_user ON sync_feed (user_id, seq);

CREATE INDEX sync_feed_note ON sync_feed (note_id, user_id);

-- The last removal that was forgotten.
CREATE TABLE sync_forgotten (
    user_id INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL
);

INSERT INTO sync_feed (user_id, note_id, present)
SELECT m.user_id, n.id, 1 FROM notes n JOIN members m ON m.project_id = n.project_id ORDER BY n.id, m.user_id;

CREATE TRIGGER sync_feed_one AFTER INSERT ON sync_feed BEGIN
    DELETE FROM sync_feed WHERE note_id = NEW.note_id AND user_id = NEW.user_id AND seq < NEW.seq;
END;

CREATE TRIGGER sync_note_added AFTER INSERT ON notes BEGIN
    INSERT INTO sync_feed (user_id, note_id, present) SELECT user_id, NEW.id, 1 FROM members WHERE project_id = NEW.project_id;
END;

CREATE TRIGGER sync_note_changed AFTER UPDATE ON notes BEGIN
    INSERT INTO sync_feed (user_id, note_id, present)
    SELECT user_id, OLD.id, 0 FROM sync_feed
    WHERE note_id = OLD.id AND present = 1 AND user_id NOT IN (SELECT user_id FROM members WHERE project_id = NEW.project_id);
    INSERT INTO sync_feed (user_id, note_id, present) SELECT user_id, NEW.id, 1 FROM members WHERE project_id = NEW.project_id;
END;

CREATE TRIGGER sync_note_removed AFTER DELETE ON notes BEGIN
    INSERT INTO sync_feed (user_id, note_id, present)
    SELECT user_id, OLD.id, 0 FROM sync_feed WHERE note_id = OLD.id AND present = 1;
END;

CREATE TRIGGER sync_member_added AFTER INSERT ON members BEGIN
    INSERT INTO sync_feed (user_id, note_id, present)
    SELECT NEW.user_id, id, 1 FROM notes WHERE project_id = NEW.project_id ORDER BY id;
END;

CREATE TRIGGER sync_member_removed AFTER DELETE ON members BEGIN
    INSERT INTO sync_feed (user_id, note_id, present)
    SELECT OLD.user_id, n.id, 0 FROM notes n JOIN sync_feed f ON f.note_id = n.id AND f.user_id = OLD.user_id AND f.present = 1
    WHERE n.project_id = OLD.project_id;
END;

CREATE TRIGGER sync_tag_added AFTER INSERT ON note_tags BEGIN
    INSERT INTO sync_feed (user_id, note_id, present)
    SELECT user_id, note_id, 1 FROM sync_feed WHERE note_id = NEW.note_id AND present = 1;
END;

CREATE TRIGGER sync_tag_removed AFTER DELETE ON note_tags BEGIN
    INSERT INTO sync_feed (user_id, note_id, present)
    SELECT user_id, note_id, 1 FROM sync_feed WHERE note_id = OLD.note_id AND present = 1;
END;

CREATE TRIGGER sync_author_renamed AFTER UPDATE OF name ON users WHEN NEW.name IS NOT OLD.name BEGIN
    INSERT INTO sync_feed (user_id, note_id, present)
    SELECT f.user_id, f.note_id, 1 FROM notes n JOIN sync_feed f ON f.note_id = n.id AND f.present = 1 WHERE n.author_id = NEW.id;
END;
EOF

cat > fieldnotes/sync.py <<'EOF'
"""GET /sync. A token is a user, the place in the user's feed up to which the phone has been told, and the place at which its
first sync began while that lasts: of what was removed before, the phone has never had a copy."""
import hashlib
import hmac

from . import notes


class BadToken(Exception):
    pass


class Resync(Exception):
    pass


def seal(secret, user, place, start):
    text = f"{user}.{place}.{start}"
    key = secret if isinstance(secret, bytes) else secret.encode()
    return f"{text}.{hmac.new(key, b'sync %d' % user, hashlib.sha256).hexdigest()}"


def unseal(secret, user, token):
    parts = token.split(".")
    if len(parts) != 4 or not all(p.isascii() and p.isdecimal() and len(p) < 19 for p in parts[:3]):
        raise BadToken
    owner, place, start = map(int, parts[:3])
    if owner != user or not hmac.compare_digest(seal(secret, owner, place, start).encode(), token.encode()):
        raise BadToken
    return place, start


def page(conn, secret, user, token, limit):
    """The next changes for the user. To be called within a transaction."""
    row = conn.execute("SELECT seq FROM sqlite_sequence WHERE name = 'sync_feed'").fetchone()
    now = row["seq"] if row else 0
    if token is None:
        place, start = 0, now
    else:
        place, start = unseal(secret, user, token)
        forgotten = conn.execute("SELECT seq FROM sync_forgotten WHERE user_id = ?", (user,)).fetchone()
        if forgotten and forgotten["seq"] > max(place, start):
            raise Resync
    rows = conn.execute(
        "SELECT seq, note_id, present FROM sync_feed WHERE user_id = ? AND seq > ? AND (present = 1 OR seq > ?) ORDER BY seq LIMIT ?",
        (user, place, start, limit + 1),
    ).fetchall()
    more = len(rows) > limit
    changes = []
    for row in rows[:limit]:
        if row["present"]:
            changes.append({"op": "put", "note": notes.get(conn, user, row["note_id"])})
        else:
            changes.append({"op": "remove", "id": row["note_id"]})
    token = seal(secret, user, rows[limit - 1]["seq"], start) if more else seal(secret, user, now, 0)
    return {"changes": changes, "token": token, "more": more}
EOF

cat > fieldnotes/compact.py <<'EOF'
"""python3 -m fieldnotes.compact DB: forgets the removals that are recorded for the phones."""
import sys

from .db import connect, transaction


def compact(db_path):
    conn = connect(db_path)
    try:
        with transaction(conn):
            conn.execute(
                "INSERT OR REPLACE INTO sync_forgotten (user_id, seq) SELECT user_id, max(seq) FROM sync_feed WHERE present = 0 GROUP BY user_id"
            )
            conn.execute("DELETE FROM sync_feed WHERE present = 0")
    finally:
        conn.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 -m fieldnotes.compact DB")
    compact(sys.argv[1])
EOF

python3 - <<'EOF'
from pathlib import Path


def change(name, *pairs):
    path = Path(name)
    text = path.read_text()
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text)


# REPLACE fires the triggers of what it deletes only so.
change("fieldnotes/db.py", ('    conn.execute("PRAGMA foreign_keys = ON")\n',
                            '    conn.execute("PRAGMA foreign_keys = ON")\n    conn.execute("PRAGMA recursive_triggers = ON")\n'))
change("scripts/import_csv.py", ('    conn.execute("PRAGMA foreign_keys = ON")\n',
                                 '    conn.execute("PRAGMA foreign_keys = ON")\n    conn.execute("PRAGMA recursive_triggers = ON")\n'))
change("fieldnotes/migrate.py",
       ("import re\nimport sys\n", "import re\nimport sqlite3\nimport sys\n"),
       ('    for part in text.split(";"):\n        if part.strip():\n            yield part\n',
        '    part = ""\n'
        '    for line in text.splitlines(keepends=True):\n'
        '        part += line\n'
        '        if sqlite3.complete_statement(part):\n'
        '            yield part\n'
        '            part = ""\n'
        '    if part.strip():\n'
        '        yield part\n'))
change("fieldnotes/app.py",
       ("from . import notes\n", "from . import notes, sync\n"),
       ('    @app.post("/notes")\n',
        '    @app.get("/sync")\n'
        '    def sync_page():\n'
        '        me = user()\n'
        '        limit = request.args.get("limit", "100")\n'
        '        if not (limit.isascii() and limit.isdecimal() and len(limit) < 9 and 1 <= int(limit) <= 500):\n'
        '            raise ApiError(400, "bad_limit")\n'
        '        try:\n'
        '            with transaction(db(), "DEFERRED"):\n'
        '                return jsonify(sync.page(db(), app.config["SECRET_KEY"], me, request.args.get("token"), int(limit)))\n'
        '        except sync.BadToken:\n'
        '            raise ApiError(400, "bad_token")\n'
        '        except sync.Resync:\n'
        '            raise ApiError(410, "resync")\n'
        '\n'
        '    @app.post("/notes")\n'))
EOF
