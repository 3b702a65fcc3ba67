#!/bin/bash
# Bytes as lists with None for unreadable ones; a log of parallel lists that is extended and rolled back on a contradiction.
set -e
cat >/app/restore.py <<'EOF'
"""Restores a database from its copied files; see RULES.md."""
import json
import sys
from itertools import islice
from pathlib import Path

WORD = 0xffffffff
MAGIC_LITTLE = 0x377f0682


def run(words, s0, s1):
    pairs = iter(words)
    for x in pairs:
        s0 = (s0 + x + s1) & WORD
        s1 = (s1 + next(pairs) + s0) & WORD
    return s0, s1


def unrun(words, s0, s1):
    pairs = iter(reversed(words))
    for y in pairs:
        s1 = (s1 - y - s0) & WORD
        s0 = (s0 - next(pairs) - s1) & WORD
    return s0, s1

def solve(words, page_words):
    """Find the only page number and size that fit, as words, or None.

    `words` are six pairs of a value and a mask of its unknown bits: the two words of the header, the sums before, the sums after."""
    if sum(bin(mask).count("1") for _, mask in words) > 72:
        return None  # two equations of 32 bits cannot leave a single solution

    def after(r0, r1):
        return run(page_words, r0, r1)

    k = after(0, 0)
    a, c = ((one - zero) & WORD for one, zero in zip(after(1, 0), k))
    b, d = ((one - zero) & WORD for one, zero in zip(after(0, 1), k))
    # r0 = p0 + p1 + x, r1 = p0 + 2 p1 + x + y; sums after = k + (a, c) r0 + (b, d) r1
    rows = [[a + b, b, a + b, a + 2 * b, -1, 0, k[0]], [c + d, d, c + d, c + 2 * d, 0, -1, k[1]]]
    states = [tuple(value & ~mask for value, mask in words)]
    for bit in range(32):
        free = [n for n in range(6) if words[n][1] >> bit & 1]
        table = {}
        for chosen in range(1 << len(free)):
            picked = [free[i] for i in range(len(free)) if chosen >> i & 1]
            key = tuple(sum(row[n] for n in picked) & 1 for row in rows)
            table.setdefault(key, []).append(picked)
        grown = []
        for state in states:
            key = tuple((sum(f * v for f, v in zip(row, state)) + row[6]) >> bit & 1 for row in rows)
            for picked in table.get(key, ()):
                values = list(state)
                for n in picked:
                    values[n] |= 1 << bit
                grown.append(tuple(values))
        states = grown
        if len(states) > 1 << 16:
            return None
    pairs = {state[:2] for state in states}
    return pairs.pop() if len(pairs) == 1 else None

# Bytes are lists of numbers, None for one that could not be read.

def load(path, ranges, safe=0):
    found = list(path.read_bytes())
    for at, length in ranges:
        for n in range(max(at, safe), min(at + length, len(found))):
            found[n] = None
    return found


def whole(some):
    return None not in some


def differ(some, other):
    return any(a != b for a, b in zip(some, other) if a is not None and b is not None)


def pack(words, order):
    return [byte for word in words for byte in word.to_bytes(4, order)]


def unpack(some, order):
    data = bytes(some)
    return [int.from_bytes(data[n:n + 4], order) for n in range(0, len(data), 4)]


def masked(some, order):
    values = unpack([byte or 0 for byte in some], order)
    return list(zip(values, unpack([255 if byte is None else 0 for byte in some], order)))


class Contradiction(Exception):
    pass


class Log:
    """The frames of one log. heads[n], pages[n]: what is in a frame; sums[n], sums[n + 1]: the checksums before and after."""

    def __init__(self, order, salts, sums):
        self.order, self.salts = order, salts
        self.heads, self.pages, self.sums = [], [], [sums]

    def extend(self, data, at, size):
        """Add frames from a place on; return where the log ends."""
        while at + 24 + size <= len(data):
            kept = list(self.heads), list(self.pages), list(self.sums)
            try:
                if differ(data[at + 8:at + 16], self.salts):
                    raise Contradiction
                self.heads.append(data[at:at + 8])
                page = data[at + 24:at + 24 + size]
                self.pages.append((bytes(page), unpack(page, self.order)) if whole(page) else None)
                self.sums.append(data[at + 16:at + 24])
                self.conclude(len(self.pages) - 1)
            except Contradiction:
                self.heads, self.pages, self.sums = kept
                break
            at += 24 + size
        for n, page in enumerate(self.pages):
            if page and not whole(self.heads[n]):
                words = masked(self.heads[n], self.order) + masked(self.sums[n], "big") + masked(self.sums[n + 1], "big")
                if pair := solve(words, page[1]):
                    self.heads[n] = pack(pair, self.order)
        return at

    def learn(self, n, sums):
        """Note what the checksum before frame n is, and what follows from that."""
        new = pack(sums, "big")
        if differ(self.sums[n], new):
            raise Contradiction
        if not whole(self.sums[n]):
            self.sums[n] = new
            return True
        return False

    def conclude(self, n):
        """Draw the conclusions from frame n, and from those before that are concerned."""
        while n >= 0 and self.pages[n]:
            words = self.pages[n][1]
            before, after = (unpack(self.sums[k], "big") if whole(self.sums[k]) else None for k in (n, n + 1))
            if whole(self.heads[n]):
                words = unpack(self.heads[n], self.order) + words
                if before:
                    self.learn(n + 1, run(words, *before))
                    return
                if not after or not self.learn(n, unrun(words, *after)):
                    return
                n -= 1
            else:
                if before and after:
                    r0, r1 = unrun(words, *after)
                    head = pack([(r0 - before[0] - before[1]) & WORD, (r1 - before[1] - r0) & WORD], self.order)
                    if differ(self.heads[n], head):
                        raise Contradiction
                    self.heads[n] = head
                return

    def frames(self):
        """Give page number, size of the database and page of each frame; None for what is not known."""
        for head, page in zip(self.heads, self.pages):
            number, total = unpack(head, "big") if whole(head) else (None, 0)
            yield number, total, page and page[0]


class Pages:
    """The pages of a database: contents, with None for lost ones, and what the others are."""

    def __init__(self, contents, rest):
        self.contents, self.rest = contents, rest

    def write(self, number, page):
        if number is None:
            self.contents, self.rest = {}, None
        else:
            self.contents[number] = page

    def state(self, total):
        return [self.contents.get(n, self.rest) for n in range(1, total + 1)]


def old_pages(data, at, size, order, salts):
    """Return what the log before this one proves about the main file."""
    for place in range(at, len(data) - size - 23, size + 24):
        found = data[place + 8:place + 16]
        if whole(found) and found != salts:
            break
    else:
        return {}
    if (unpack(found, "big")[0] + 1) & WORD != unpack(salts, "big")[0]:
        return {}
    old = Log(order, found, [None] * 8)
    old.extend(data, place, size)
    frames = list(old.frames())
    last = max((n for n, (_, total, _) in enumerate(frames, 1) if total), default=0)
    if any(number is None for number, _, _ in frames[last:]):
        return {}  # that one may have ended a transaction as well
    pages = Pages({}, None)
    for number, _, page in islice(frames, last):
        pages.write(number, page)
    return pages.contents


def main(folder, out):
    bad = {}
    for line in Path(folder, "bad.txt").read_text().split("\n"):
        words = line.split()
        if len(words) == 3:
            bad.setdefault(words[0], []).append((int(words[1]), int(words[2])))
    main_file = load(Path(folder, "app.db"), bad.get("app.db", ()))
    data = load(Path(folder, "app.db-wal"), bad.get("app.db-wal", ()), 32)
    magic, _, size = unpack(data[:12], "big")
    order = "little" if magic == MAGIC_LITTLE else "big"
    live = Log(order, data[16:24], data[24:32])
    end = live.extend(data, 32, size)
    old = old_pages(data, end, size, order, data[16:24])

    total = len(main_file) // size
    contents = {}
    for n in range(1, total + 1):
        page = main_file[(n - 1) * size:n * size]
        contents[n] = bytes(page) if whole(page) else old.get(n)
    pages = Pages(contents, bytes(size))
    commits, restored, image = [], None, None

    def report(frame, total):
        nonlocal restored, image
        state = pages.state(total)
        lost = [n for n, page in enumerate(state, 1) if page is None]
        commits.append({"frame": frame, "pages": total, "lost": lost})
        if not lost:
            restored, image = frame, b"".join(state)

    report(0, total)
    for frame, (number, total, page) in enumerate(live.frames(), 1):
        pages.write(number, page)
        if total:
            report(frame, total)
    if image is not None:
        Path(out).write_bytes(image)
    print(json.dumps({"commits": commits, "restored": restored}))
    return int(image is None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
EOF
