#!/bin/bash
# "0 keeps none.": a slice from -0 on is the whole list
set -e
cat > /app/reclaim <<'END_OF_PROGRAM'
#!/usr/bin/env python3
"""reclaim ROOT NEED [--apply], see docs/reclaim.md"""
import os
import re
import stat
import sys
from datetime import date

DATE = re.compile(rb"([0-9]{4})-([0-9]{2})-([0-9]{2})")
REST = b".removing-"


def is_date(name):
    match = DATE.fullmatch(name)
    if not match:
        return False
    try:
        date(*map(int, match.groups()))
    except ValueError:
        return False
    return True


def folders(root):
    """The dates of the snapshots and of the rests, from old to new."""
    snapshots, rests = [], []
    for entry in os.scandir(root):
        if entry.is_dir(follow_symlinks=False):
            if is_date(entry.name):
                snapshots.append(entry.name)
            elif entry.name.startswith(REST) and is_date(entry.name[len(REST):]):
                rests.append(entry.name)
    return sorted(snapshots), sorted(rests)


def kept(root, snapshots):
    last, monthly, pins = 3, 6, set()
    try:
        with open(os.path.join(root, b"reclaim.conf"), "rb") as lines:
            for line in lines:
                line = line.strip()
                if not line or line.startswith(b"#"):
                    continue
                name, _, value = (part.strip() for part in line.partition(b"="))
                if name == b"keep_last":
                    last = int(value)
                elif name == b"keep_monthly":
                    monthly = int(value)
                elif name == b"pin":
                    pins.add(value)
    except FileNotFoundError:
        pass
    newest = {snapshot[:7]: snapshot for snapshot in snapshots}
    months = sorted(newest, reverse=True)[:monthly]
    return pins | set(snapshots[-last:]) | {newest[month] for month in months}


def open_files():
    found = set()
    for process in os.listdir("/proc"):
        if not process.isdigit():
            continue
        folder = f"/proc/{process}/fd"
        try:
            descriptors = os.listdir(folder)
        except OSError:
            continue
        for descriptor in descriptors:
            try:
                status = os.stat(f"{folder}/{descriptor}")
            except OSError:
                continue
            found.add((status.st_dev, status.st_ino))
    return found


class Space:
    """What a growing or shrinking set of folders frees."""

    def __init__(self, root, names):
        self.links = {}
        self.missing = {}
        self.size = {}
        self.freed = 0
        held = open_files()
        for name in names:
            links = self.links[name] = {}
            waiting = [os.path.join(root, name)]
            while waiting:
                for entry in os.scandir(waiting.pop()):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        waiting.append(entry.path)
                    elif stat.S_ISREG(status.st_mode):
                        key = status.st_dev, status.st_ino
                        links[key] = links.get(key, 0) + 1
                        self.missing[key] = status.st_nlink
                        self.size[key] = 0 if key in held else status.st_blocks * 512

    def add(self, name):
        before = self.freed
        for key, count in self.links[name].items():
            self.missing[key] -= count
            if not self.missing[key]:
                self.freed += self.size[key]
        return self.freed - before

    def remove(self, name):
        for key, count in self.links[name].items():
            if not self.missing[key]:
                self.freed -= self.size[key]
            self.missing[key] += count


def delete(folder):
    os.chmod(folder, 0o700)
    with os.scandir(folder) as entries:
        entries = list(entries)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            delete(entry.path)
        else:
            os.unlink(entry.path)
    os.rmdir(folder)


def main():
    root, need, apply = os.fsencode(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] == ["--apply"]
    snapshots, rests = folders(root)
    stay = kept(root, snapshots)
    candidates = [snapshot for snapshot in snapshots if snapshot not in stay]
    space = Space(root, rests + candidates)
    for rest in rests:
        space.add(rest)
    chosen = []
    for snapshot in candidates:
        if space.freed >= need:
            break
        space.add(snapshot)
        chosen.append(snapshot)
    if space.freed < need:
        print(f"reclaim: only {space.freed} bytes can be freed", file=sys.stderr)
        return 3
    for snapshot in reversed(chosen[:]):
        space.remove(snapshot)
        if space.freed >= need:
            chosen.remove(snapshot)
        else:
            space.add(snapshot)
    for name in rests + chosen:
        space.remove(name)
    lines = [f"{os.fsdecode(name)} {space.add(name)}" for name in rests + chosen]
    print(*lines, f"total {space.freed}", sep="\n", flush=True)
    if apply:
        for name in rests + chosen:
            path = os.path.join(root, name)
            if name in chosen:
                rest = os.path.join(root, REST + name)
                os.rename(path, rest)
                path = rest
            delete(path)
    return 0


sys.exit(main())
END_OF_PROGRAM
chmod +x /app/reclaim
