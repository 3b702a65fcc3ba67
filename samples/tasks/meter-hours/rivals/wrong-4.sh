#!/bin/bash
# "the time is not of that form, does not exist on that day's clock, or is not on a quarter" (a time that the clocks skip is taken)
set -e
cat > meterflow/__main__.py <<'EOF'
"""Read deliveries and write the hours: python3 -m meterflow hours --out OUT.csv DELIVERY..."""
import argparse
import sys

from meterflow import deliveries, hours, rejects


def main() -> int:
    parser = argparse.ArgumentParser(prog="meterflow")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("hours", help="write kWh by meter and hour")
    command.add_argument("--out", required=True, metavar="OUT.csv")
    command.add_argument("--rejects", metavar="REJECTS.csv")
    command.add_argument("deliveries", nargs="+", metavar="DELIVERY")
    args = parser.parse_args()
    try:
        quarters, rejected = deliveries.load(args.deliveries)
    except deliveries.Unusable as error:
        print(f"meterflow: {error}", file=sys.stderr)
        return 1
    hours.write(args.out, quarters)
    if args.rejects is not None:
        rejects.write(args.rejects, rejected)
    return 0


if __name__ == "__main__":
    sys.exit(main())
EOF
cat > meterflow/rejects.py <<'EOF'
"""Write the rows that could not be used, and why."""
import csv


def write(path, rejected):
    """Write [(file, line, reason)] as CSV."""
    with open(path, "w", encoding="utf-8", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(("file", "line", "reason"))
        table.writerows(rejected)
EOF
cat > meterflow/deliveries.py <<'EOF'
"""Read deliveries of all suppliers into one table of quarters."""
from datetime import datetime
from pathlib import Path

from meterflow import north, south
from meterflow.rows import BadRow

READERS = {"north": north.Reader, "south": south.Reader}


class Unusable(Exception):
    """Say what is wrong with a delivery, and where."""


def load(paths):
    """Return {(meter, start in UTC): Wh} of all deliveries, and [(file, line, reason)] of their rejected rows."""
    read_ones, rejected = [], []
    for path in paths:
        created, quarters, bad = read(path)
        read_ones.append((created, sorted(quarters.items()), quarters))
        rejected += bad
    read_ones.sort(key=lambda one: one[:2])
    quarters = {}
    for _, _, newer in read_ones:
        quarters.update(newer)
    return quarters, rejected


def read(path):
    """Return when one delivery was created, its {(meter, start in UTC): Wh}, and its rejected rows."""
    head, rows = split(path)
    if head.get("supplier") not in READERS:
        raise Unusable(f"{path}: supplier {head.get('supplier')!r} is not known")
    try:
        created = datetime.fromisoformat(head["created"])
        if created.tzinfo is None:
            raise ValueError("created has no offset")
        reader = READERS[head["supplier"]](head)
    except (KeyError, ValueError) as error:
        raise Unusable(f"{path}: {error}") from error
    rejected = []
    for number, line in rows:
        try:
            reader.add(line)
        except BadRow as error:
            rejected.append((Path(path).name, number, str(error)))
    return created, reader.quarters(), rejected


def split(path):
    """Return a delivery's head, and its rows with their line numbers."""
    head, rows, named = {}, [], False
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [line.rstrip("\n") for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"{path}: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not named and line.startswith("#"):
            key, _, value = line[1:].partition(":")
            head[key.strip()] = value.strip()
        elif line and not named:
            named = True
        elif line:
            rows.append((number, line))
    return head, rows
EOF
cat > meterflow/rows.py <<'EOF'
"""Split and check the fields that the rows of all suppliers have in common."""
from datetime import datetime


class BadRow(ValueError):
    """Say why a row cannot be used: columns, time or value."""


def columns(line: str, separator: str) -> list[str]:
    """Return the three columns of a row."""
    fields = line.split(separator)
    if len(fields) != 3:
        raise BadRow("columns")
    return fields


def moment(pattern, text: str) -> datetime:
    """Return the time whose parts the pattern finds in the text, without a zone."""
    match = pattern.fullmatch(text)
    try:
        return datetime(*map(int, match.groups()))
    except (AttributeError, ValueError) as error:
        raise BadRow("time") from error


def on_quarter(time: datetime) -> datetime:
    if time.minute % 15:
        raise BadRow("time")
    return time
EOF
cat > meterflow/clock.py <<'EOF'
"""Turn local times of a delivery into UTC."""
import re
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from meterflow.rows import BadRow, moment

FORM = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2}) ([0-9]{2}):([0-9]{2})")


class Clock:
    """Hold the clock of one zone, for the rows of one delivery."""

    def __init__(self, zone: str):
        self.zone = ZoneInfo(zone)
        self.latest = {}  # meter: what its row before was in UTC

    def utc(self, meter: str, text: str) -> datetime:
        """Return the time in UTC of a row of this meter; rows must come in their order."""
        local = moment(FORM, text)
        try:
            first, second = (local.replace(tzinfo=self.zone, fold=fold).astimezone(timezone.utc) for fold in (0, 1))
        except OverflowError as error:
            raise BadRow("time") from error
        before = self.latest.get(meter)
        time = second if before is not None and second > first <= before else first
        self.latest[meter] = time
        return time
EOF
cat > meterflow/north.py <<'EOF'
"""Read what supplier north delivers: kWh of each quarter, by local time."""
import re

from meterflow.clock import Clock
from meterflow.rows import BadRow, columns, on_quarter

KWH = re.compile(r"([0-9]+)(?:,([0-9]{1,3}))?")


class Reader:
    """Collect the quarters of one delivery."""

    def __init__(self, head):
        self.clock = Clock(head["zone"])
        self.wh = {}

    def add(self, line):
        """Take a row, or raise BadRow."""
        meter, start, kwh = columns(line, ";")
        begins = on_quarter(self.clock.utc(meter, start))
        match = KWH.fullmatch(kwh)
        if not match:
            raise BadRow("value")
        self.wh[meter, begins] = int(match[1] + (match[2] or "").ljust(3, "0"))

    def quarters(self):
        """Return {(meter, start in UTC): Wh}."""
        return self.wh
EOF
cat > meterflow/south.py <<'EOF'
"""Read what supplier south delivers: registers in Wh, by UTC."""
import re
from collections import defaultdict
from datetime import timedelta, timezone
from fractions import Fraction
from itertools import pairwise

from meterflow.rows import BadRow, columns, moment, on_quarter

FORM = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2})Z")
QUARTER = timedelta(minutes=15)


class Reader:
    """Collect the registers of one delivery."""

    def __init__(self, head):
        self.digits = int(head["digits"])
        self.value = re.compile(r"[0-9]{1,%d}" % self.digits)
        self.registers = defaultdict(dict)

    def add(self, line):
        """Take a row, or raise BadRow."""
        meter, text, register = columns(line, "|")
        time = on_quarter(moment(FORM, text)).replace(tzinfo=timezone.utc)
        if not self.value.fullmatch(register):
            raise BadRow("value")
        self.registers[meter][time] = int(register)

    def quarters(self):
        """Return {(meter, start in UTC): Wh}."""
        wh = {}
        for meter, registers in self.registers.items():
            for (begins, low), (ends, high) in pairwise(sorted(registers.items())):
                count = (ends - begins) // QUARTER
                used = (high - low) % 10 ** self.digits
                for number in range(count):
                    wh[meter, begins + number * QUARTER] = Fraction(used, count)
        return wh
EOF
cat > meterflow/hours.py <<'EOF'
"""Write what billing loads: kWh by meter and hour."""
import csv
from collections import defaultdict
from fractions import Fraction


def write(path, quarters):
    """Write the hours of {(meter, start in UTC): Wh} as CSV."""
    parts = defaultdict(list)
    for (meter, start), wh in quarters.items():
        parts[meter, start.replace(minute=0)].append(wh)
    with open(path, "w", encoding="utf-8", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(("meter", "hour", "kwh", "quarters"))
        for (meter, hour), whs in sorted(parts.items()):
            table.writerow((meter, hour.strftime("%Y-%m-%dT%H:%MZ").rjust(17, "0"), kwh(sum(whs)), len(whs)))


def kwh(wh):
    """Return Wh as kWh with three decimals, halves rounded up."""
    whole = (2 * Fraction(wh) + 1) // 2
    return f"{whole // 1000}.{whole % 1000:03d}"
EOF
