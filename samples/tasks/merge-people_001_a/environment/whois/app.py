import re
import threading

from flask import Flask, jsonify, redirect, request

from . import events
from .normalise import FIELDS
from .store import Missing


class Wrong(Exception):
    """The request cannot be understood."""


def number_of(text, prefix=""):
    match = re.fullmatch(prefix + r"([0-9]{1,15})", text)
    if not match:
        raise Missing(text)
    return int(match[1])


def pair_of(text):
    match = re.fullmatch(r"([0-9]{1,15})-([0-9]{1,15})", text)
    if not match:
        raise Missing(text)
    if int(match[1]) == int(match[2]):
        raise Wrong("a record and itself")
    return int(match[1]), int(match[2])


def fields_of(body):
    if not isinstance(body, dict):
        raise Wrong("not an object")
    for field, value in body.items():
        if field not in FIELDS:
            raise Wrong(f"no such field: {field}")
        if value is not None and not isinstance(value, str):
            raise Wrong(f"{field} is not a string")
    return body


def create_app(store):
    app = Flask("whois")
    lock = threading.Lock()

    @app.before_request
    def enter():
        lock.acquire()

    @app.teardown_request
    def leave(error):
        lock.release()

    @app.errorhandler(Missing)
    def missing(error):
        return jsonify(error=f"not found: {error}"), 404

    @app.errorhandler(Wrong)
    def wrong(error):
        return jsonify(error=str(error)), 400

    @app.post("/records")
    def add():
        number = store.add(fields_of(request.get_json(silent=True)))
        return jsonify(id=number, person=store.show(number)["person"]), 201

    @app.get("/records/<text>")
    def show(text):
        return jsonify(store.show(number_of(text)))

    @app.patch("/records/<text>")
    def change(text):
        number = number_of(text)
        store.change(number, fields_of(request.get_json(silent=True)))
        return jsonify(store.show(number))

    @app.delete("/records/<text>")
    def remove(text):
        store.remove(number_of(text))
        return "", 204

    @app.put("/decisions/<text>")
    def decide(text):
        body = request.get_json(silent=True)
        if not isinstance(body, dict) or body.get("verdict") not in ("same", "different"):
            raise Wrong("verdict")
        store.decide(*pair_of(text), body["verdict"])
        return jsonify(verdict=body["verdict"])

    @app.delete("/decisions/<text>")
    def withdraw(text):
        store.withdraw(*pair_of(text))
        return "", 204

    @app.get("/people")
    def people():
        return jsonify(store.people())

    @app.get("/people/<text>")
    def person(text):
        number = number_of(text, "p")
        found, records = store.person(number)
        if found != number:
            return redirect(f"/people/p{found}", 301)
        return jsonify(person=f"p{found}", records=records)

    @app.get("/review")
    def review():
        return jsonify(store.review())

    @app.get("/events")
    def log():
        text = request.args.get("after", "0")
        if not re.fullmatch("[0-9]{1,15}", text):
            raise Wrong("after")
        return jsonify(events.after(store.db, int(text)))

    return app
