#!/bin/bash
set -euo pipefail

# Local times: skipped ones are refused, repeated ones are told apart meter by meter.
cat > meterflow/clock.py <<'END'
"""Turn local times of a delivery into UTC."""
import re
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from meterflow.rows import BadRow

DAY = timedelta(days=1)
FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}")


class Clock:
    """Hold the clock of one zone, for the rows of one delivery."""

    def __init__(self, zone: str):
        self.zone = ZoneInfo(zone)
        self.before = {}     # the local time of each meter's row before
        self.second = set()  # the meters that are in a second pass

    def utc(self, meter: str, text: str) -> datetime:
        """Return the time in UTC of a row of this meter."""
        try:
            local = datetime.strptime(text, "%Y-%m-%d %H:%M")
        except ValueError as error:
            raise BadRow("time") from error
        if not FORM.fullmatch(text) or local.minute % 15:
            raise BadRow("time")
        first = local.replace(tzinfo=self.zone)
        if first.astimezone(timezone.utc).astimezone(self.zone).replace(tzinfo=None) != local:
            raise BadRow("time")
        before = self.before.get(meter, datetime.min)
        if first.utcoffset() == first.replace(fold=1).utcoffset() or local - before > DAY:
            self.second.discard(meter)
        elif local <= before:
            self.second.add(meter)
        self.before[meter] = local
        return first.replace(fold=int(meter in self.second)).astimezone(timezone.utc)
END

# Supplier south: differences of registers.
cat > meterflow/south.py <<'END'
"""Read what supplier south delivers: registers in Wh, by UTC."""
import re
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from itertools import pairwise

from meterflow.rows import BadRow, columns

QUARTER = timedelta(minutes=15)
FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}Z")


class Reader:
    """Collect the registers of one delivery."""

    def __init__(self, head):
        self.digits = int(head["digits"])
        self.registers = {}

    def add(self, line):
        """Take a row, or raise BadRow."""
        meter, text, register = columns(line, "|")
        try:
            time = datetime.strptime(text, "%Y-%m-%dT%H:%MZ").replace(tzinfo=timezone.utc)
        except ValueError as error:
            raise BadRow("time") from error
        if not FORM.fullmatch(text) or time.minute % 15:
            raise BadRow("time")
        if not re.fullmatch(r"[0-9]+", register) or len(register) > self.digits:
            raise BadRow("value")
        self.registers.setdefault(meter, {})[time] = int(register)

    def quarters(self):
        """Return {(meter, start in UTC): Wh}."""
        found = {}
        for meter, registers in self.registers.items():
            for (begin, low), (end, high) in pairwise(sorted(registers.items())):
                count = (end - begin) // QUARTER
                for place in range(count):
                    used = Fraction((high - low) % 10**self.digits, count)
                    found[meter, begin + place * QUARTER] = used
        return found
END

# Corrections: by the time of creation.
git apply <<'END'
--- a/meterflow/deliveries.py
+++ b/meterflow/deliveries.py
@@ -1,2 +1,3 @@
 """Read deliveries of all suppliers into one table of quarters."""
+from datetime import datetime
 from pathlib import Path
@@ -16,3 +17,3 @@ def load(paths):
     quarters = {}
-    for path in sorted(paths):
+    for path in sorted(paths, key=created):
         quarters.update(read(path))
@@ -46 +47,6 @@ def split(path):
     return head, rows[1:]
+
+
+def created(path):
+    """Return when a delivery was created."""
+    return datetime.fromisoformat(split(path)[0]["created"])
END

# Rejects: rows are passed over, and listed.
git apply <<'END'
--- a/meterflow/__main__.py
+++ b/meterflow/__main__.py
@@ -2,2 +2,3 @@
 import argparse
+import csv
 import sys
@@ -12,6 +13,10 @@ def main() -> int:
     command.add_argument("--out", required=True, metavar="OUT.csv")
+    command.add_argument("--rejects", metavar="REJECTS.csv")
     command.add_argument("deliveries", nargs="+", metavar="DELIVERY")
     args = parser.parse_args()
+    rejects = []
     try:
         quarters = deliveries.load(args.deliveries)
+        for path in args.deliveries:
+            deliveries.read(path, rejects)
     except deliveries.Unusable as error:
@@ -20,2 +25,6 @@ def main() -> int:
     hours.write(args.out, quarters)
+    if args.rejects:
+        with open(args.rejects, "w", encoding="utf-8", newline="") as out:
+            writer = csv.writer(out, lineterminator="\n")
+            writer.writerows([("file", "line", "reason"), *rejects])
     return 0
--- a/meterflow/deliveries.py
+++ b/meterflow/deliveries.py
@@ -21,3 +21,3 @@ def load(paths):
 
-def read(path):
+def read(path, rejects=None):
     """Return {(meter, start in UTC): Wh} of one delivery."""
@@ -31,3 +31,4 @@ def read(path):
         except BadRow as error:
-            raise Unusable(f"{path}, line {number}: {error}") from error
+            if rejects is not None:
+                rejects.append((Path(path).name, number, str(error)))
     return reader.quarters()
@@ -38,12 +39,13 @@ def split(path):
     """Return a delivery's head, and its rows with their line numbers."""
-    head, rows = {}, []
+    head, rows, is_head = {}, [], True
-    lines = Path(path).read_text(encoding="utf-8").splitlines()
+    lines = Path(path).read_text(encoding="utf-8").split("\n")
     for number, line in enumerate(lines, start=1):
-        if line.startswith("#"):
+        if is_head and line.startswith("#"):
             key, _, value = line[1:].partition(":")
             head[key.strip()] = value.strip()
         elif line:
             rows.append((number, line))
+            is_head = False
     return head, rows[1:]
 
 
END
