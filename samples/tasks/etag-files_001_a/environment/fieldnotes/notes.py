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
    conn.execute("DELETE FROM note_tags WHERE note_id = ?", (note_id,))
    conn.executemany("INSERT OR IGNORE INTO note_tags (note_id, tag) VALUES (?, ?)", [(note_id, tag) for tag in tags])


def touch(conn, note_id):
    conn.execute("UPDATE notes SET updated_at = ? WHERE id = ?", (int(time.time()), note_id))
