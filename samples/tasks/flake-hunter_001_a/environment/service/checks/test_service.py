from fastapi.testclient import TestClient

from booking.main import app

client = TestClient(app)
client.__enter__()


def test_add_room():
    answer = client.post("/rooms", json={"name": "Attic"})
    assert answer.status_code == 201
    assert client.get("/rooms").json() == [{"id": 1, "name": "Attic"}]


def test_book():
    answer = client.post(
        "/bookings", json={"room": 1, "start": 600, "minutes": 90}, headers={"X-Client": "ann"}
    )
    assert answer.status_code == 201
    assert answer.json()["price"] == 3000


def test_list():
    assert client.get("/bookings").json()["total"] == 1


def test_price_change():
    assert client.put("/bands/day", json={"percent": 200}).status_code == 200
    assert client.get("/quote", params={"start": 600, "minutes": 90}).json()["price"] == 6000


def test_end():
    client.__exit__(None, None, None)
