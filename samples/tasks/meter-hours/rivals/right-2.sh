#!/bin/bash
# One module of functions instead of the classes: epoch seconds, each quarter keeps when its delivery was created, local times are compared for the second pass; halves of a Wh are rounded to even.
set -e
cat > meterflow/pipeline.py <<'EOF'
"""From the paths of deliveries to hours: plain functions over lists of readings."""
import csv
import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

UTC = timezone.utc
SPAN = 900


class Unusable(Exception):
    """A delivery cannot be read at all."""


class Reject(Exception):
    """A row cannot be used: its reason."""


def parse(path):
    """Return a delivery as its head and [(line number, text)]."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"{path}: {error}") from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    head, at = {}, 0
    while at < len(lines) and (lines[at].startswith("#") or not lines[at]):
        key, _, value = lines[at].lstrip("#").partition(":")
        head[key.strip()] = value.strip()
        at += 1
    return head, [(number, line) for number, line in enumerate(lines, 1) if number > at + 1 and line]


def fields(line, separator):
    parts = line.split(separator)
    if len(parts) != 3:
        raise Reject("columns")
    return parts


def when(text, between, after):
    """Return a naive datetime, or reject."""
    if not re.fullmatch(rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}{between}[0-9]{{2}}:[0-9]{{2}}{after}", text):
        raise Reject("time")
    try:
        return datetime.fromisoformat(text[:16])
    except ValueError as error:
        raise Reject("time") from error


def seconds(moment):
    return int(moment.timestamp())


def north(head, rows, reject):
    """Return [(meter, begin in epoch seconds, Wh)]."""
    zone = ZoneInfo(head["zone"])
    last = {}      # meter: local time of its row before
    passes = {}    # meter: the two UTC offsets of the repeated time that it goes through for the second time
    found = []
    for number, line in rows:
        try:
            meter, text, value = fields(line, ";")
            local = when(text, " ", "")
            early, late = (local.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
            offsets = early.utcoffset(), late.utcoffset()
            if offsets[0] < offsets[1]:
                raise Reject("time")
            if offsets[0] > offsets[1]:
                before = last.get(meter)
                if before is not None and local <= before:
                    passes[meter] = local
                second = meter in passes and abs(local - passes[meter]) < timedelta(hours=12)
            else:
                passes.pop(meter, None)
                second = False
            last[meter] = local
            try:
                begin = seconds(late if second else early)
            except (OverflowError, ValueError) as error:
                raise Reject("time") from error
            if local.minute % 15:
                raise Reject("time")
            if not re.fullmatch("[0-9]+(,[0-9]{1,3})?", value):
                raise Reject("value")
            found.append((meter, begin, Decimal(value.replace(",", ".")) * 1000))
        except Reject as error:
            reject(number, error)
    return [(meter, begin, Fraction(wh)) for meter, begin, wh in found]


def south(head, rows, reject):
    """Return [(meter, begin in epoch seconds, Wh)]."""
    digits = int(head["digits"])
    readings = []
    for number, line in rows:
        try:
            meter, text, register = fields(line, "|")
            time = when(text, "T", "Z")
            if time.minute % 15:
                raise Reject("time")
            if not (register.isascii() and register.isdigit() and len(register) <= digits):
                raise Reject("value")
            readings.append((meter, seconds(time.replace(tzinfo=UTC)), int(register)))
        except Reject as error:
            reject(number, error)
    readings = [(meter, at, value) for (meter, at), value in
                {(meter, at): value for meter, at, value in readings}.items()]
    readings.sort()
    found = []
    for (meter, begin, low), (other, end, high) in zip(readings, readings[1:]):
        if meter != other:
            continue
        used = high - low if high >= low else high - low + 10 ** digits
        share = Fraction(used * SPAN, end - begin)
        found.extend((meter, at, share) for at in range(begin, end, SPAN))
    return found


SUPPLIERS = {"north": north, "south": south}


def gather(paths):
    """Return {(meter, begin): Wh} and the rejects of all deliveries."""
    newest, rejects = {}, []
    for path in paths:
        head, rows = parse(path)
        try:
            supplier = SUPPLIERS[head["supplier"]]
            created = datetime.fromisoformat(head["created"]).astimezone(UTC)
            found = supplier(head, rows, lambda number, why: rejects.append((Path(path).name, number, str(why))))
        except (KeyError, ValueError) as error:
            raise Unusable(f"{path}: {error!r}") from error
        for meter, begin, wh in found:
            known = newest.get((meter, begin))
            if known is None or known[0] <= created:
                newest[meter, begin] = (created, wh)
    return {key: wh for key, (_, wh) in newest.items()}, rejects


def hourly(quarters):
    """Return the lines of the hours."""
    sums = {}
    for (meter, begin), wh in quarters.items():
        key = meter, begin - begin % 3600
        total, count = sums.get(key, (Fraction(0), 0))
        sums[key] = total + wh, count + 1
    for (meter, hour), (total, count) in sorted(sums.items()):
        wh = round(total)
        start = datetime(1970, 1, 1) + timedelta(seconds=hour)
        yield meter, start.isoformat(timespec="minutes") + "Z", f"{Decimal(wh).scaleb(-3):.3f}", count


def save(path, names, lines):
    with open(path, "w", encoding="utf-8", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(names)
        table.writerows(lines)
EOF
rm -f meterflow/clock.py meterflow/deliveries.py meterflow/hours.py meterflow/north.py meterflow/rows.py meterflow/south.py
cat > meterflow/__main__.py <<'EOF'
"""Read deliveries and write the hours: python3 -m meterflow hours --out OUT.csv [--rejects REJECTS.csv] DELIVERY..."""
import argparse
import sys

from meterflow import pipeline


def main() -> int:
    parser = argparse.ArgumentParser(prog="meterflow")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("hours", help="write kWh by meter and hour")
    command.add_argument("--out", required=True, metavar="OUT.csv")
    command.add_argument("--rejects", metavar="REJECTS.csv")
    command.add_argument("deliveries", nargs="+", metavar="DELIVERY")
    args = parser.parse_args()
    try:
        quarters, rejects = pipeline.gather(args.deliveries)
    except pipeline.Unusable as error:
        print(f"meterflow: {error}", file=sys.stderr)
        return 1
    pipeline.save(args.out, ("meter", "hour", "kwh", "quarters"), pipeline.hourly(quarters))
    if args.rejects is not None:
        pipeline.save(args.rejects, ("file", "line", "reason"), rejects)
    return 0


if __name__ == "__main__":
    sys.exit(main())
EOF
