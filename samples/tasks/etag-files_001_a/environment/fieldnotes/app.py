import sqlite3

from flask import Flask, g, jsonify, request

from . import notes
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

    return app
