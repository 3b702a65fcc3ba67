from . import fields, settings
from .errors import Exists, Invalid, Missing, Outdated


def key(ident):
    return "ticket:" + ident


def load(db, ident):
    stored = db.hgetall(key(ident))
    return fields.decode(ident, stored) if stored else None


def get(db, ident):
    ticket = load(db, ident)
    if ticket is None:
        raise Missing("no such ticket")
    return ticket


def create(db, ident, values):
    values = fields.check(values)
    if "queue" not in values:
        raise Invalid("queue is needed")
    if db.exists(key(ident)):
        raise Exists("there is such a ticket")
    ticket = {"id": ident, "queue": None, "state": "open", "priority": 0, "due": None,
              "assignee": None, "subject": "", **values, "version": 1}
    save(db, None, ticket)
    return ticket


def change(db, ident, values):
    if not isinstance(values, dict) or "version" not in values:
        raise Invalid("version is needed")
    version = fields.integer(values["version"], "version", 1, 2 ** 53)
    values = fields.check({k: v for k, v in values.items() if k != "version"})
    before = get(db, ident)
    if before["version"] != version:
        raise Outdated("the ticket has changed")
    after = {**before, **values, "version": version + 1}
    save(db, before, after)
    return after


def delete(db, ident):
    if not db.delete(key(ident)):
        raise Missing("no such ticket")


def save(db, before, after):
    name = key(after["id"])
    with db.pipeline() as pipe:
        pipe.hset(name, mapping=fields.encode(after))
        gone = [k for k, v in after.items() if v is None]
        if before and gone:
            pipe.hdel(name, *gone)
        was_closed = before is not None and before["state"] == "closed"
        if after["state"] == "closed" and not was_closed:
            pipe.expire(name, settings.CLOSED_TTL)
        elif was_closed and after["state"] != "closed":
            pipe.persist(name)
        pipe.execute()
