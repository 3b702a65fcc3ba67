#!/bin/bash
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
