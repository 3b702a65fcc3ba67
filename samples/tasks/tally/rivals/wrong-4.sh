#!/bin/bash
# "prints `name total` for each name that has an amount" (a total of 0 is left out)
cat > tally.py <<'END'
import re
import sys
from collections import Counter

totals = Counter()
for line in sys.stdin:
    if found := re.fullmatch(r"(.+),(-?[0-9]+)", line.rstrip("\n")):
        totals[found[1]] += int(found[2])
for name in sorted(totals):
    if totals[name]:
        print(name, totals[name])
END
