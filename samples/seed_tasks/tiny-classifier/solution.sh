#!/bin/bash
set -euo pipefail
cat > /app/classify.py <<'END'
import csv
import sys
from pathlib import Path

rows = [list(map(float, row)) for row in csv.reader(Path("/app/train.csv").open())]
for line in sys.stdin:
    x, y = map(float, line.split(","))
    near = sorted(rows, key=lambda row: (row[0] - x) ** 2 + (row[1] - y) ** 2)[:15]
    print(int(sum(row[2] for row in near) > 7.5))
END
