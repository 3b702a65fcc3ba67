#!/bin/bash
# Bytes throughout: they sort as code points do, and only ASCII digits are digits.
cat > tally.py <<'END'
import sys
from collections import defaultdict

sys.set_int_max_str_digits(0)
amounts_of = defaultdict(list)
for line in sys.stdin.buffer.read().split(b"\n"):
    name, comma, amount = line.rpartition(b",")
    digits = amount[1:] if amount.startswith(b"-") else amount
    if name and digits.isdigit():
        amounts_of[name].append(int(amount))
for name, amounts in sorted(amounts_of.items()):
    sys.stdout.buffer.write(b"%s %d\n" % (name, sum(amounts)))
END
