#!/bin/bash
cat > tally.py <<'END'
import re
import sys

LINE = re.compile(r"(.+),(-?[0-9]+)")
sys.set_int_max_str_digits(0)

totals = {}
for line in sys.stdin:
    if found := LINE.fullmatch(line.rstrip("\n")):
        name, amount = found.groups()
        totals[name] = totals.get(name, 0) + int(amount)
for name in sorted(totals):
    print(name, totals[name])
END
