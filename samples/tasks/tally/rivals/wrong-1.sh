#!/bin/bash
# "sorted by the code points of the names" (in the order in which they came)
cat > tally.py <<'END'
import re
import sys
from collections import Counter

totals = Counter()
for line in sys.stdin:
    if found := re.fullmatch(r"(.+),(-?[0-9]+)", line.rstrip("\n")):
        totals[found[1]] += int(found[2])
for name, total in totals.items():
    print(name, total)
END
