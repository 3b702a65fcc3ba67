"""What a ticket may contain, and how it is written to its hash."""
from .errors import Invalid
from .settings import STATES

MAX_DUE = 10 ** 17 - 1


def text(value, name, empty=False):
    if not isinstance(value, str) or (not value and not empty):
        raise Invalid(f"{name} has to be a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Invalid(f"{name} is not valid text")
    return value


def integer(value, name, low, high):
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Invalid(f"{name} has to be an integer from {low} to {high}")
    return value


def check(values):
    if not isinstance(values, dict):
        raise Invalid("an object is needed")
    good = {}
    for name, value in values.items():
        if name == "queue":
            good[name] = text(value, name)
        elif name == "subject":
            good[name] = text(value, name, empty=True)
        elif name == "assignee":
            good[name] = None if value is None else text(value, name)
        elif name == "state":
            if value not in STATES:
                raise Invalid("state is unknown")
            good[name] = value
        elif name == "priority":
            good[name] = integer(value, name, -99, 99)
        elif name == "due":
            good[name] = None if value is None else integer(value, name, 0, MAX_DUE)
        else:
            raise Invalid(f"{name} cannot be set")
    return good


def encode(ticket):
    return {k: str(v) for k, v in ticket.items() if k != "id" and v is not None}


def decode(ident, stored):
    return {
        "id": ident,
        "queue": stored["queue"],
        "state": stored["state"],
        "priority": int(stored["priority"]),
        "due": int(stored["due"]) if "due" in stored else None,
        "assignee": stored.get("assignee"),
        "subject": stored["subject"],
        "version": int(stored["version"]),
    }
