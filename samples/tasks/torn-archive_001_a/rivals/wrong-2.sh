#!/bin/bash
# "What is left of still older logs proves nothing: what followed it may be overwritten." (the first other salts behind the live log are taken for the log before it, whatever salt 1 is)
set -e
cat >/app/restore.py <<'EOF'
"""Restores a database from its copied files; see RULES.md."""
import json
import struct
import sys
from pathlib import Path

WORD = 0xffffffff


def run(words, s0, s1):
    """The checksum over words, from another one on."""
    for x, y in zip(words[::2], words[1::2]):
        s0 = s0 + x + s1 & WORD
        s1 = s1 + y + s0 & WORD
    return s0, s1


def back(words, s0, s1):
    """The checksum from which words lead to this one."""
    for at in range(len(words) - 2, -1, -2):
        s1 = s1 - words[at + 1] - s0 & WORD
        s0 = s0 - words[at] - s1 & WORD
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

class File:
    """The bytes of a file, and which of them could be read."""

    def __init__(self, path, ranges, always=0):
        self.data = path.read_bytes()
        self.bad = bytearray(len(self.data))
        for at, length in ranges:
            at, end = max(at, always), min(at + length, len(self.data))
            if at < end:
                self.bad[at:end] = b"\1" * (end - at)

    def get(self, at, length):
        return self.data[at:at + length], self.bad[at:at + length]


class Known:
    """A checksum as far as it is known: eight bytes."""

    def __init__(self, data=bytes(8), bad=b"\1" * 8):
        self.data, self.bad = data, bytes(bad)

    def is_full(self):
        return not any(self.bad)

    def sums(self):
        return struct.unpack(">2I", self.data)

    def agrees(self, sums):
        return all(bad or one == other for one, other, bad in zip(self.data, struct.pack(">2I", *sums), self.bad))


class Frame:
    def __init__(self, log, at, size, order):
        head, self.head_bad = log.get(at, 8)
        self.head = head
        self.salts, self.salts_bad = log.get(at + 8, 8)
        self.stored = Known(*log.get(at + 16, 8))
        self.page, page_bad = log.get(at + 24, size)
        self.order = order
        self.page_known = not any(page_bad)
        self.head_known = not any(self.head_bad)
        if self.page_known:
            self.page_words = struct.unpack(f"{order}{size // 4}I", self.page)

    def words(self):
        return struct.unpack(f"{self.order}2I", self.head) + self.page_words

    def learn_head(self, before, after):
        """Take page number and size from the checksums before and after; False where they do not fit."""
        r0, r1 = back(self.page_words, *after)
        s0, s1 = before
        x = r0 - s0 - s1 & WORD
        y = r1 - s1 - r0 & WORD
        return self.set_head(x, y)

    def set_head(self, x, y):
        head = struct.pack(f"{self.order}2I", x, y)
        if any(not bad and one != other for one, other, bad in zip(head, self.head, self.head_bad)):
            return False
        self.head, self.head_known = head, True
        return True

    def number(self):
        return struct.unpack(">2I", self.head)[0] if self.head_known else None

    def pages(self):
        return struct.unpack(">2I", self.head)[1] if self.head_known else 0


def read_log(log, at, size, order, salts, before):
    """The frames of one log from a place on: rules 1 and 2."""
    frames, known = [], [before]  # known[n]: the checksum before frame n
    while at + 24 + size <= len(log.data):
        frame = Frame(log, at, size, order)
        if any(not bad and one != other for one, other, bad in zip(frame.salts, salts, frame.salts_bad)):
            break
        frames.append(frame)
        known.append(frame.stored)
        if not settle(frames, known):
            frames.pop()
            known.pop()
            break
        at += 24 + size
    for n, frame in enumerate(frames):
        if frame.page_known and not frame.head_known:
            masked = [masks(frame.head, frame.head_bad, order), masks(known[n].data, known[n].bad, ">"),
                      masks(known[n + 1].data, known[n + 1].bad, ">")]
            found = solve([word for pair in masked for word in pair], frame.page_words)
            if found:
                frame.set_head(*found)
    return frames, at


def masks(data, bad, order):
    values = struct.unpack(f"{order}2I", data)
    unknown = struct.unpack(f"{order}2I", bytes(255 if one else 0 for one in bad))
    return list(zip(values, unknown))


def settle(frames, known):
    """Draw conclusions from the newest frame; False (and no conclusions) if it does not continue those before."""
    found, heads = {}, []
    n = len(frames) - 1
    frame = frames[n]
    if frame.page_known and frame.head_known and known[n].is_full():
        sums = run(frame.words(), *known[n].sums())
        if not frame.stored.agrees(sums):
            return False
        known[n + 1] = Known(struct.pack(">2I", *sums), bytes(8))
        return True
    if not known[n + 1].is_full():
        return True
    # backwards, as far as something new is found
    after = known[n + 1].sums()
    while n >= 0:
        frame = frames[n]
        if not frame.page_known:
            break
        if not frame.head_known:
            if known[n].is_full():
                kept = frame.head
                if not frame.learn_head(known[n].sums(), after):
                    for other, head in heads:
                        other.head, other.head_known = head, False
                    return False
                heads.append((frame, kept))
            break
        before = back(frame.words(), *after)
        if not known[n].agrees(before):
            return False
        if known[n].is_full():
            break
        found[n] = Known(struct.pack(">2I", *before), bytes(8))
        after = before
        n -= 1
    for n, value in found.items():
        known[n] = value
    return True


def follow(frames, pages):
    """Let frames write pages (number: content, None for a lost one; all: whether the others are lost); give each commit."""
    everything = False
    for n, frame in enumerate(frames, 1):
        if not frame.head_known:
            pages, everything = {}, True
        else:
            pages = {**pages, frame.number(): frame.page if frame.page_known else None}
        if frame.pages():
            yield n, frame.pages(), pages, everything


def left_behind(log, at, size, order, salts):
    """The pages whose content in the main file the log before the live one proves."""
    step = 24 + size
    while at + step <= len(log.data):
        found, bad = log.get(at + 8, 8)
        if not any(bad) and found != salts:
            break
        at += step
    else:
        return {}
    frames, _ = read_log(log, at, size, order, found, Known())
    last = max((n for n, frame in enumerate(frames, 1) if frame.pages()), default=0)
    if any(not frame.head_known for frame in frames[last:]):
        return {}  # it may have been a commit with any page
    proven = {}
    for _, _, proven, _ in follow(frames, {}):
        pass
    return {number: page for number, page in proven.items() if page is not None}


def main(folder, out):
    ranges = {"app.db": [], "app.db-wal": []}
    for line in Path(folder, "bad.txt").read_text().splitlines():
        if line.strip():
            name, at, length = line.rsplit(None, 2)
            ranges.setdefault(name, []).append((int(at), int(length)))
    db = File(Path(folder, "app.db"), ranges["app.db"])
    log = File(Path(folder, "app.db-wal"), ranges["app.db-wal"], 32)
    magic, _, size = struct.unpack(">3I", log.data[:12])
    order, salts = "<" if magic == 0x377f0682 else ">", log.data[16:24]
    frames, end = read_log(log, 32, size, order, salts, Known(log.data[24:32], bytes(8)))
    proven = left_behind(log, end, size, order, salts)
    start, count = {}, len(db.data) // size
    for number in range(1, count + 1):
        content, bad = db.get((number - 1) * size, size)
        start[number] = content if not any(bad) else proven.get(number)

    commits, best = [], None
    for frame, total, pages, everything in [(0, count, start, False), *follow(frames, start)]:
        nothing = None if everything else bytes(size)
        state = [pages.get(number, nothing) for number in range(1, total + 1)]
        lost = [number for number, page in enumerate(state, 1) if page is None]
        commits.append({"frame": frame, "pages": total, "lost": lost})
        if not lost:
            best = frame, state
    print(json.dumps({"commits": commits, "restored": best[0] if best else None}))
    if not best:
        return 1
    Path(out).write_bytes(b"".join(best[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
EOF
