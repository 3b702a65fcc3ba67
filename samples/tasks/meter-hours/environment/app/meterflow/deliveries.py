"""Read deliveries of all suppliers into one table of quarters."""
from pathlib import Path

from meterflow import north, south
from meterflow.rows import BadRow

READERS = {"north": north.Reader, "south": south.Reader}


class Unusable(Exception):
    """Say what is wrong with a delivery, and where."""


def load(paths):
    """Return {(meter, start in UTC): Wh} of all deliveries."""
    quarters = {}
    for path in sorted(paths):
        quarters.update(read(path))
    return quarters


def read(path):
    """Return {(meter, start in UTC): Wh} of one delivery."""
    head, rows = split(path)
    if head.get("supplier") not in READERS:
        raise Unusable(f"{path}: supplier {head.get('supplier')!r} is not known")
    reader = READERS[head["supplier"]](head)
    for number, line in rows:
        try:
            reader.add(line)
        except BadRow as error:
            raise Unusable(f"{path}, line {number}: {error}") from error
    return reader.quarters()


def split(path):
    """Return a delivery's head, and its rows with their line numbers."""
    head, rows = {}, []
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        if line.startswith("#"):
            key, _, value = line[1:].partition(":")
            head[key.strip()] = value.strip()
        elif line:
            rows.append((number, line))
    return head, rows[1:]
