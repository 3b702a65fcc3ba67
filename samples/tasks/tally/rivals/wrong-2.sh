#!/bin/bash
# "digits from 0 to 9, a `-` before them where it is negative, nothing else" (whatever int() reads)
cat > tally.py <<'END'
import sys

totals = {}
for line in sys.stdin:
    name, _, amount = line.strip().rpartition(",")
    try:
        totals[name] = totals.get(name, 0) + int(amount)
    except ValueError:
        pass
for name in sorted(totals):
    print(name, totals[name])
END
