#!/bin/bash
# "A line ends with a line feed alone" (or where splitlines() ends one)
cat > tally.py <<'END'
import re
import sys

sys.set_int_max_str_digits(0)
totals = {}
for line in sys.stdin.read().splitlines():
    if found := re.fullmatch(r"(.+),(-?[0-9]+)", line):
        totals[found[1]] = totals.get(found[1], 0) + int(found[2])
for name in sorted(totals):
    print(name, totals[name])
END
