#!/bin/bash
# "sorted by the code points of the names" (small letters and capitals alike)
cat > tally.py <<'END'
import re
import sys

totals = {}
for line in sys.stdin:
    if found := re.fullmatch(r"(.+),(-?[0-9]+)", line.rstrip("\n")):
        totals[found[1]] = totals.get(found[1], 0) + int(found[2])
for name in sorted(totals, key=str.casefold):
    print(name, totals[name])
END
