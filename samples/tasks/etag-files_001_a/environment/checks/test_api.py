import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fieldnotes.app import create_app  # noqa: E402
from fieldnotes.migrate import migrate  # noqa: E402


@pytest.fixture
def client(tmp_path):
    migrate(str(tmp_path / "x.db"))
    return create_app(str(tmp_path / "x.db"), "s").test_client()


def user(client, name):
    return {"X-User": str(client.post("/users", json={"name": name}).json["id"])}


def test_a_note_is_shown_to_members_only(client):
    ann, bob = user(client, "Ann"), user(client, "Bob")
    project = client.post("/projects", json={"name": "p"}, headers=ann).json["id"]
    note = client.post("/notes", json={"project": project, "ref": "r", "title": "t", "tags": ["b", "a"]}, headers=ann).json
    assert note["tags"] == ["a", "b"] and note["author"] == "Ann"
    assert client.get("/notes", headers=bob).json == []
    client.put(f"/projects/{project}/members/{bob['X-User']}", headers=ann)
    assert client.get("/notes", headers=bob).json == [note]


def test_refs_are_unique_in_a_project(client):
    ann = user(client, "Ann")
    project = client.post("/projects", json={"name": "p"}, headers=ann).json["id"]
    data = {"project": project, "ref": "r", "title": "t"}
    assert client.post("/notes", json=data, headers=ann).status_code == 201
    assert client.post("/notes", json=data, headers=ann).status_code == 409


def test_since(client):
    assert client.get("/notes?since=x", headers=user(client, "Ann")).status_code == 400
