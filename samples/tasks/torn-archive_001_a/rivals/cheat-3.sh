#!/bin/bash
# "Copies of up to a thousand frames take less than 20 seconds" (the checksum of each frame is led on from the start of the log, word by word)
set -e
cat >restore.py <<'E'
"""Restores a database from its copied files; see RULES.md."""
import json
import struct
import sys
from pathlib import Path

MASK = 0xffffffff


def forward(data, order, sums):
    s0, s1 = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for x, y in zip(words[::2], words[1::2]):
        s0 = s0 + x + s1 & MASK
        s1 = s1 + y + s0 & MASK
    return s0, s1


def backward(data, order, sums):
    """The checksum before these data, from the one behind them."""
    s0, s1 = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for x, y in zip(words[-2::-2], words[::-2]):
        s1 = s1 - y - s0 & MASK
        s0 = s0 - x - s1 & MASK
    return s0, s1


def slowly(data, order, sums):
    s0, s1 = sums
    order = "little" if order == "<" else "big"
    for at in range(0, len(data), 8):
        s0 = (s0 + int.from_bytes(data[at:at + 4], order) + s1) % 2 ** 32
        s1 = (s1 + int.from_bytes(data[at + 4:at + 8], order) + s0) % 2 ** 32
    return s0, s1


class Copy:
    """A copied file and which of its bytes could not be read."""

    def __init__(self, folder, name, bad):
        self.data = Path(folder, name).read_bytes()
        self.bad = bytearray(len(self.data))
        for file, at, length in bad:
            if file == name:
                n = max(0, min(length, len(self.data) - at))
                self.bad[at:at + n] = b"\1" * n

    def get(self, at, length):
        """These bytes, or None if one of them could not be read."""
        return None if any(self.bad[at:at + length]) else self.data[at:at + length]


class Log:
    def __init__(self, copy):
        magic, _, self.size, _, *salts = struct.unpack(">6I", copy.data[:24])
        self.order = "<" if magic == 0x377f0682 else ">"
        self.salts, self.sums = tuple(salts), struct.unpack(">2I", copy.data[24:32])
        self.copy, self.step = copy, 24 + self.size
        self.count = (len(copy.data) - 32) // self.step

    def words(self, i, offset):
        two = self.copy.get(32 + i * self.step + offset, 8)
        return two and struct.unpack(">2I", two)

    def page(self, i):
        return self.copy.get(32 + i * self.step + 24, self.size)

    def body(self, i, header):
        page = self.page(i)
        return None if header is None or page is None else struct.pack(">2I", *header) + page

    def differs(self, i, offset, words):
        """Does what can be read of the two words there tell that they are others?"""
        at = 32 + i * self.step + offset
        return any(not self.copy.bad[at + k] and self.copy.data[at + k] != byte for k, byte in enumerate(struct.pack(">2I", *words)))

    def run(self, first, salts, sums, limit=None):
        """The frames of one log from `first` on: for each (page number, size at a commit) or None, and its page or None."""
        i, after = first, {first - 1: sums}
        while i < (self.count if limit is None else limit):
            if self.differs(i, 8, salts):
                break
            body, stored = self.body(i, self.words(i, 0)), self.words(i, 16)
            made = None
            if body and after[i - 1]:
                again = after[first - 1]
                for k in range(first, i + 1):
                    known = self.body(k, self.words(k, 0))
                    again = slowly(known, self.order, again) if known and again else after[min(k, i - 1)]
                made = again
            if made and self.differs(i, 16, made):
                break
            after[i] = stored or made
            i += 1
        end, headers = i, {k: self.words(k, 0) for k in range(first, i)}
        for i in range(end - 1, first - 1, -1):
            body = self.body(i, headers[i])
            if body and after[i] and not after[i - 1]:
                before = backward(body, self.order, after[i])
                if i > first and self.differs(i - 1, 16, before):
                    return self.run(first, salts, sums, i)
                after[i - 1] = before
        for i in range(first, end):
            if headers[i] is None and self.page(i):
                headers[i] = self.solve(i, self.sum_at(i - 1, after, first), self.sum_at(i, after, first))
        return end, [(headers[i], self.page(i)) for i in range(first, end)]

    def masked(self, at, order):
        """Two words, each with a mask of its bits that cannot be read."""
        unknown = bytes(255 * bad for bad in self.copy.bad[at:at + 8])
        return list(zip(struct.unpack(f"{order}2I", self.copy.data[at:at + 8]), struct.unpack(f"{order}2I", unknown)))

    def sum_at(self, i, after, first):
        if after[i]:
            return [(word, 0) for word in after[i]]
        return self.masked(32 + i * self.step + 16, ">") if i >= first else [(0, MASK)] * 2

    def solve(self, i, before, after):
        """The only page number and size that fit the checksums, or None."""
        words = self.masked(32 + i * self.step, self.order) + before + after
        if sum(mask.bit_count() for _, mask in words) > 72:
            return None
        page = self.page(i)
        still, one, two = (forward(page, self.order, start) for start in ((0, 0), (1, 0), (0, 1)))
        (a, b), (c, d) = (((one[k] - still[k]) & MASK, (two[k] - still[k]) & MASK) for k in (0, 1))
        # the checksum before the page is s0 + s1 + x, s0 + 2 s1 + x + y, and the one behind it depends on it linearly
        rows = [(a + b, b, a + b, a + 2 * b, -1, 0, still[0]), (c + d, d, c + d, c + 2 * d, 0, -1, still[1])]
        found = [[word & ~mask for word, mask in words]]
        for bit in range(32):           # the lower bits of a sum depend on lower bits alone
            for k, (_, mask) in enumerate(words):
                if mask >> bit & 1:
                    found += [[*known[:k], known[k] | 1 << bit, *known[k + 1:]] for known in found]
            found = [known for known in found
                     if not any(sum(x * y for x, y in zip(row, known + [1])) >> bit & 1 for row in rows)]
            if len(found) > 1 << 14:
                return None
        pairs = {struct.unpack(">2I", struct.pack(f"{self.order}2I", *known[:2])) for known in found}
        return pairs.pop() if len(pairs) == 1 else None

    def left_behind(self, first):
        """What the log before the live one proves of the main file."""
        while first < self.count and self.words(first, 8) in (None, self.salts):
            first += 1
        if first == self.count:
            return {}
        salts = self.words(first, 8)
        if salts[0] != self.salts[0] - 1 & MASK:
            return {}
        proved, pending = {}, {}
        for header, page in self.run(first, salts, None)[1]:
            if header is None:
                proved, pending = {}, {}
                continue
            pending[header[0]] = page
            if header[1]:
                proved.update(pending)
                pending = {}
        return proved


def main(folder, out):
    bad = [line.split() for line in Path(folder, "bad.txt").read_text().splitlines() if line.strip()]
    bad = [(name, int(at), int(length)) for name, at, length in bad]
    db, log = Copy(folder, "app.db", bad), Log(Copy(folder, "app.db-wal", bad))
    size = log.size
    end, live = log.run(0, log.salts, log.sums)
    proved = log.left_behind(end)
    count = len(db.data) // size
    held = {}
    for n in range(1, count + 1):
        page = db.get((n - 1) * size, size)
        held[n] = proved.get(n) if page is None else page
    commits, best, state = [], None, None

    def commit(frame, pages):
        nonlocal best, state
        lost = [n for n in range(1, pages + 1) if held.get(n) is None]
        commits.append({"frame": frame, "pages": pages, "lost": lost})
        if not lost:
            best, state = frame, b"".join(held[n] for n in range(1, pages + 1))

    commit(0, count)
    for frame, (header, page) in enumerate(live, 1):
        if header is None:
            held.clear()
            continue
        held[header[0]] = page
        if header[1]:
            commit(frame, header[1])
    if state is not None:
        Path(out).write_bytes(state)
    print(json.dumps({"commits": commits, "restored": best}))
    return 0 if state is not None else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
E
