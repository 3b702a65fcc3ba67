#!/bin/bash
# "a date of the calendar, written as YYYY-MM-DD" (digits of other scripts are digits, too)
set -e
cat > /app/reclaim <<'END_OF_PROGRAM'
#!/usr/bin/env python3
import argparse
import calendar
import collections
import glob
import os
import re
import shutil
import sys
from pathlib import Path


def dated(text):
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return False
    year, month, day = map(int, text.split("-"))
    return year > 0 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]


def settings(root):
    found = {"keep_last": ["3"], "keep_monthly": ["6"], "pin": []}
    path = root / "reclaim.conf"
    if path.exists():
        for line in path.read_text(errors="surrogateescape").splitlines():
            if line.strip() and not line.strip().startswith("#"):
                name, value = line.split("=", 1)
                found.setdefault(name.strip(), []).append(value.strip())
    return int(found["keep_last"][-1]), int(found["keep_monthly"][-1]), found["pin"]


def removable(root, snapshots):
    last, monthly, pins = settings(root)
    months = collections.defaultdict(list)
    for snapshot in snapshots:
        months[snapshot[:7]].append(snapshot)
    stay = set(pins)
    stay.update(sorted(snapshots, reverse=True)[:last])
    stay.update(max(months[month]) for month in sorted(months, reverse=True)[:monthly])
    return [snapshot for snapshot in sorted(snapshots) if snapshot not in stay]


def in_use():
    for link in glob.iglob("/proc/[0-9]*/fd/*"):
        try:
            status = os.stat(link)
        except OSError:
            continue
        yield status.st_dev, status.st_ino


def inventory(root, names):
    links, facts = collections.defaultdict(collections.Counter), {}
    for name in names:
        for folder, _, files in os.walk(root / name):
            for file in files:
                path = os.path.join(folder, file)
                if os.path.islink(path) or not os.path.isfile(path):
                    continue
                status = os.lstat(path)
                key = status.st_dev, status.st_ino
                links[key][name] += 1
                facts[key] = status.st_nlink, status.st_blocks * 512
    for key in in_use():
        facts.pop(key, None)
    return [(links[key], *fact) for key, fact in facts.items()]


def freed(files, names):
    names = set(names)
    return sum(size for links, number, size in files
               if sum(count for name, count in links.items() if name in names) == number)


def erase(folder):
    for inner, _, _ in os.walk(folder):
        os.chmod(inner, 0o755)
    shutil.rmtree(folder)


parser = argparse.ArgumentParser()
parser.add_argument("root", type=Path)
parser.add_argument("need", type=int)
parser.add_argument("--apply", action="store_true")
options = parser.parse_args()
root, need = options.root, options.need
here = [path.name for path in root.iterdir() if path.is_dir() and not path.is_symlink()]
rests = sorted(name for name in here if name.startswith(".removing-") and dated(name[10:]))
spare = removable(root, [name for name in here if dated(name)])
files = inventory(root, rests + spare)
if freed(files, rests + spare) < need:
    sys.stderr.write("reclaim: not enough can be freed\n")
    sys.exit(3)
number = next(n for n in range(len(spare) + 1) if freed(files, rests + spare[:n]) >= need)
plan = rests + spare[:number]
for name in plan[:len(rests) - 1 if rests else None:-1]:
    without = [other for other in plan if other != name]
    if freed(files, without) >= need:
        plan = without
before = 0
for place, name in enumerate(plan, 1):
    now = freed(files, plan[:place])
    print(name, now - before)
    before = now
print("total", before, flush=True)
if options.apply:
    for name in plan:
        path = root / name
        if name in spare:
            path = path.rename(root / (".removing-" + name))
        erase(path)
END_OF_PROGRAM
chmod +x /app/reclaim
