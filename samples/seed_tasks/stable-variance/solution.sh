#!/bin/bash
set -euo pipefail
cat > /app/moments.py <<'END'
import sys

first, count, mean, squares = None, 0, 0.0, 0.0   # mean and squares are of what exceeds the first
for line in sys.stdin:
    if line.strip():
        value = float(line)
        first = value if first is None else first
        count += 1
        delta = value - first - mean
        mean += delta / count
        squares += delta * (value - first - mean)
variance = squares / (count - 1) if count > 1 else float("nan")
print(count, repr(first + mean) if count else "nan", repr(variance))
END
