#!/bin/bash
# "which no process has open" (open files are known by their inode numbers alone, which files of other file systems have, too)
cat > reclaim <<'END'
#!/usr/bin/python3
"""reclaim ROOT NEED [--apply]: choose snapshots that free enough space, and remove them."""
import datetime
import os
import re
import stat
import sys
from collections import Counter

DATE = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def is_date(name):
    if not DATE.fullmatch(name):
        return False
    try:
        datetime.date(*map(int, name.split(b"-")))
    except ValueError:
        return False
    return True


class Links:
    """The regular files of all folders: how often each is linked there, and what it takes."""

    def __init__(self):
        self.files = {}     # (device, inode): (links in all, bytes)
        self.in_folder = {}  # name: Counter of (device, inode)

    def read(self, root, name):
        found, todo = Counter(), [os.path.join(root, name)]
        while todo:
            with os.scandir(todo.pop()) as entries:
                for one in entries:
                    if one.is_dir(follow_symlinks=False):
                        todo.append(one.path)
                    elif one.is_file(follow_symlinks=False):
                        info = one.stat(follow_symlinks=False)
                        key = info.st_dev, info.st_ino
                        self.files[key] = info.st_nlink, 512 * info.st_blocks
                        found[key] += 1
        self.in_folder[name] = found


def opened():
    """Return the (device, inode) of files that a process has open."""
    found = set()
    for pid in os.listdir("/proc"):
        if not pid.isdigit():
            continue
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                try:
                    info = os.stat(f"/proc/{pid}/fd/{fd}")
                    found.add(info.st_ino)
                except OSError:
                    pass
        except OSError:
            pass
    return found


def settings(root):
    values, pins = {"keep_last": 3, "keep_monthly": 6}, set()
    try:
        with open(os.path.join(root, b"reclaim.conf")) as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        lines = []
    for line in map(str.strip, lines):
        if line and not line.startswith("#"):
            name, _, value = (part.strip() for part in line.partition("="))
            if name == "pin":
                pins.add(value.encode())
            else:
                values[name] = int(value)
    return values["keep_last"], values["keep_monthly"], pins


def kept(snapshots, root):
    last, monthly, pins = settings(root)
    stay = set(snapshots[len(snapshots) - last:] if last < len(snapshots) else snapshots) if last else set()
    last_of = {one[:7]: one for one in snapshots}
    if monthly:
        stay |= {last_of[month] for month in sorted(last_of)[-monthly:]}
    return stay | pins


def remove(path):
    """Delete a folder with all that is in it; links are not followed."""
    os.chmod(path, 0o700)
    with os.scandir(path) as entries:
        entries = list(entries)
    for one in entries:
        if one.is_dir(follow_symlinks=False):
            remove(one.path)
        else:
            os.unlink(one.path)
    os.rmdir(path)


def main():
    root, need = os.fsencode(sys.argv[1]), int(sys.argv[2])
    apply = sys.argv[3:] == ["--apply"]
    folders = sorted(one.name for one in os.scandir(root) if one.is_dir(follow_symlinks=False))
    snapshots = [name for name in folders if is_date(name)]
    rests = [name for name in folders if name.startswith(b".removing-") and is_date(name[10:])]
    links = Links()
    for name in rests + snapshots:
        links.read(root, name)
    busy = opened()

    def frees(names):
        inside = Counter()
        for name in names:
            inside.update(links.in_folder[name])
        return sum(links.files[key][1] for key, n in inside.items() if n == links.files[key][0] and key[1] not in busy)

    stay = kept(snapshots, root)
    free = [name for name in snapshots if name not in stay]
    taken = []
    for name in free:
        if frees(rests + taken) >= need:
            break
        taken.append(name)
    if frees(rests + taken) < need:
        print(f"reclaim: all that may go frees {frees(rests + taken)} bytes", file=sys.stderr)
        return 3
    for name in taken[::-1]:
        without = [one for one in taken if one != name]
        if frees(rests + without) >= need:
            taken = without
    before, lines = 0, []
    chosen = rests + taken
    for n in range(1, len(chosen) + 1):
        now = frees(chosen[:n])
        lines.append(f"{chosen[n - 1].decode()} {now - before}")
        before = now
    print("\n".join([*lines, f"total {before}"]))
    sys.stdout.flush()
    if apply:
        for name in chosen:
            path = os.path.join(root, name)
            if name not in rests:
                rest = os.path.join(root, b".removing-" + name)
                os.rename(path, rest)
                path = rest
            remove(path)
    return 0


sys.exit(main())
END
chmod +x reclaim
