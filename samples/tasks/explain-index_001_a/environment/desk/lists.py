import base64
import json

from . import fields, settings, tickets
from .errors import Invalid, Missing

ANYBODY = object()


def position(ticket):
    due = ticket["due"]
    return (-ticket["priority"], due is None, due or 0, ticket["id"])


def to_cursor(ticket):
    raw = json.dumps([ticket["priority"], ticket["due"], ticket["id"]])
    return base64.urlsafe_b64encode(raw.encode()).decode()


def from_cursor(cursor):
    try:
        priority, due, ident = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        at = fields.check({"priority": priority, "due": due})
        return {**at, "id": fields.text(ident, "id")}
    except Exception:
        raise Invalid("after is not a cursor")


def walk(db):
    for name in set(db.scan_iter(match="ticket:*", count=500)):
        ticket = tickets.load(db, name[len("ticket:"):])
        if ticket:
            yield ticket


def select(db, queue, states, assignee=ANYBODY):
    found = [
        t for t in walk(db)
        if t["queue"] == queue and t["state"] in states
        and (assignee is ANYBODY or t["assignee"] == assignee)
    ]
    return sorted(found, key=position)


def page(db, queue, states, assignee, limit, after):
    found = select(db, queue, states, assignee)
    if after is not None:
        found = [t for t in found if position(t) > position(after)]
    found = found[:limit]
    return {"tickets": found, "next": to_cursor(found[-1]) if len(found) == limit else None}


def counts(db, queue):
    found = select(db, queue, settings.LISTED)
    return {state: sum(t["state"] == state for t in found) for state in settings.LISTED}


def claim(db, queue, agent):
    found = select(db, queue, ("open",), None)
    if not found:
        raise Missing("nothing to claim")
    first = found[0]
    after = {**first, "assignee": agent, "version": first["version"] + 1}
    tickets.save(db, first, after)
    return after
