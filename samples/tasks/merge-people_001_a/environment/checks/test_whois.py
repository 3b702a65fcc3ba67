import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from whois.app import create_app  # noqa: E402
from whois.store import Store  # noqa: E402


@pytest.fixture
def client(tmp_path):
    return create_app(Store(tmp_path / "whois.db")).test_client()


def test_same_mail_and_surname(client):
    ann = {"given": "Ann", "surname": "Bee", "mail": "Ann@Bee.example", "source": "shop"}
    assert client.post("/records", json=ann).json == {"id": 1, "person": "p1"}
    assert client.post("/records", json={**ann, "mail": "ann@bee.example ", "source": "news"}).json["person"] == "p1"
    assert client.get("/people").json == [{"person": "p1", "records": [1, 2]}]
    assert client.get("/people/p2").status_code == 301
    assert client.get("/events").json[-1]["records"] == [1, 2]


def test_decisions_and_errors(client):
    for name in ("Cid", "Dan"):
        client.post("/records", json={"given": name})
    assert client.put("/decisions/2-1", json={"verdict": "same"}).status_code == 200
    assert client.get("/people/p1").json["records"] == [1, 2]
    assert client.delete("/decisions/1-2").status_code == 204
    assert client.delete("/decisions/1-2").status_code == 404
    assert client.put("/decisions/1-1", json={"verdict": "same"}).status_code == 400
    assert client.post("/records", json={"given": 5}).status_code == 400
    assert client.get("/people/p9").status_code == 404
