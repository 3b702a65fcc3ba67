#!/bin/bash
# One module that goes from moments to local times: each row takes the earliest moment with its local time behind the meter's last one; Wh are fractions, deliveries are sorted once and laid over each other.
set -e
cat > meterflow/__main__.py <<'EOF'
"""Read deliveries and write the hours: python3 -m meterflow hours --out OUT.csv DELIVERY..."""
import argparse
import os
import re
import sys
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from zoneinfo import ZoneInfo

QUARTER = timedelta(minutes=15)
DATE = r"([0-9]{4})-([0-9]{2})-([0-9]{2})%s([0-9]{2}):(00|15|30|45)%s"


class Rejected(Exception):
    pass


def moment(pattern, text):
    found = re.fullmatch(pattern, text)
    try:
        return datetime(*map(int, found.groups()), tzinfo=timezone.utc)
    except (AttributeError, ValueError):
        raise Rejected("time") from None


def north(head, rows):
    zone, last, known = ZoneInfo(head["zone"]), {}, {}

    def add(meter, time, value):
        local = moment(DATE % (" ", ""), time)
        offsets = {(local + timedelta(hours=hours)).astimezone(zone).utcoffset() for hours in range(-30, 31, 6)}
        moments = [at for at in sorted(local - offset for offset in offsets)
                   if at.astimezone(zone).replace(tzinfo=timezone.utc) == local]
        if not moments:
            raise Rejected("time")
        at = next((at for at in moments if meter not in last or at > last[meter]), moments[-1])
        last[meter] = at
        if not re.fullmatch("[0-9]+(,[0-9]{1,3})?", value):
            raise Rejected("value")
        whole, _, part = value.partition(",")
        known[meter, at] = Fraction(int(whole + part.ljust(3, "0")))

    yield from each(rows, ";", add)
    return known


def south(head, rows):
    digits, registers = int(head["digits"]), {}

    def add(meter, time, value):
        at = moment(DATE % ("T", "Z"), time)
        if not re.fullmatch("[0-9]{1,%d}" % digits, value):
            raise Rejected("value")
        registers.setdefault(meter, []).append((at, int(value)))

    yield from each(rows, "|", add)
    known = {}
    for meter, readings in registers.items():
        readings.sort()
        for (begin, low), (end, high) in zip(readings, readings[1:]):
            if high < low:
                high += 10 ** digits
            count = (end - begin) // QUARTER
            for place in range(count):
                known[meter, begin + place * QUARTER] = Fraction(high - low, count)
    return known


def each(rows, mark, add):
    for number, row in rows:
        try:
            if row.count(mark) != 2:
                raise Rejected("columns")
            add(*row.split(mark))
        except Rejected as error:
            yield number, str(error)


def read(path, rejects):
    head, rows = {}, []
    with open(path, encoding="utf-8") as file:
        numbered = ((number, line) for number, line in enumerate(file.read().split("\n"), 1) if line)
    for _, line in numbered:
        if line[0] != "#":
            break
        key, _, value = line[1:].partition(":")
        head[key.strip()] = value.strip()
    rows = {"north": north, "south": south}[head["supplier"]](head, numbered)
    while True:
        try:
            number, reason = next(rows)
        except StopIteration as end:
            return datetime.fromisoformat(head["created"]), end.value
        rejects.append(f"{os.path.basename(path)},{number},{reason}\n")


def main():
    parser = argparse.ArgumentParser(prog="meterflow")
    command = parser.add_subparsers(dest="command", required=True).add_parser("hours")
    command.add_argument("--out", required=True)
    command.add_argument("--rejects")
    command.add_argument("deliveries", nargs="+")
    args = parser.parse_args()
    rejects, known, parts = ["file,line,reason\n"], {}, {}
    for _, quarters in sorted((read(path, rejects) for path in args.deliveries), key=lambda one: one[0]):
        known.update(quarters)
    for (meter, at), wh in known.items():
        parts.setdefault((meter, at.strftime("%Y-%m-%dT%H:00Z")), []).append(wh)
    with open(args.out, "w", encoding="utf-8", newline="") as out:
        out.write("meter,hour,kwh,quarters\n")
        for (meter, hour), whs in sorted(parts.items()):
            wh = int(sum(whs) + Fraction(1, 2))
            out.write(f"{meter},{hour},{wh // 1000}.{wh % 1000:03},{len(whs)}\n")
    if args.rejects:
        with open(args.rejects, "w", encoding="utf-8", newline="") as out:
            out.writelines(rejects)


if __name__ == "__main__":
    sys.exit(main())
EOF
rm -f meterflow/clock.py meterflow/deliveries.py meterflow/hours.py meterflow/north.py meterflow/south.py meterflow/rows.py
