#!/bin/bash
# "A PACK of 2 MB with long damaged stretches takes less than 20 seconds of CPU time." (at each byte of a damaged stretch all of the rest of the pack is handed to zlib)
set -e
cat >/app/salvage.py <<'EOF'
#!/usr/bin/env python3
"""Bring the objects of a damaged pack file into a repository; see README.md."""
import hashlib
import os
import re
import struct
import subprocess
import sys
import zlib
from bisect import bisect_left, bisect_right
from collections import defaultdict

KINDS = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
NUMBERS = {name: number for number, name in KINDS.items()}
OFS, REF = 6, 7
BLOCK = 512
ZLIB = re.compile(b"(?=(?:" + b"|".join(
    re.escape(bytes([first])) + b"[" + b"".join(re.escape(bytes([second])) for second in range(256)
                                                if not second & 32 and (first << 8 | second) % 31 == 0) + b"]"
    for first in range(0x08, 0x80, 0x10)) + b"))", re.DOTALL)


class Entry:
    """An entry of the pack that is whole: what it says, and where it is in the file."""

    def __init__(self, start, end, kind, content, base):
        self.start, self.end, self.kind, self.content, self.base = start, end, kind, content, base
        self.size, self.source, self.segment = len(content), None, None
        if kind in (OFS, REF):
            self.source, self.size, _ = steps(content)


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def steps(delta):
    """The two sizes of a delta, and its instructions; ValueError for what is none."""
    try:
        source, at = varint(delta, 0)
        target, at = varint(delta, at)
        found, length = [], 0
        while at < len(delta):
            code = delta[at]
            at += 1
            if code & 128:
                place = amount = 0
                for bit in range(4):
                    if code >> bit & 1:
                        place |= delta[at] << 8 * bit
                        at += 1
                for bit in range(3):
                    if code >> 4 + bit & 1:
                        amount |= delta[at] << 8 * bit
                        at += 1
                amount = amount or 0x10000
                if place + amount > source:
                    raise ValueError("copies from behind the end")
                found.append((place, amount, None))
                length += amount
            else:
                text = delta[at:at + code]
                if not code or len(text) != code:
                    raise ValueError("bad instruction")
                found.append((0, 0, text))
                at += code
                length += code
    except IndexError:
        raise ValueError("cut off") from None
    if length != target:
        raise ValueError("bad size")
    return source, target, found


def patch(base, delta):
    return b"".join(base[place:place + amount] if text is None else text for place, amount, text in steps(delta)[2])


def inflate(pack, at, most):
    """Content of at most so many bytes, and the end, of the stream at an offset, or None."""
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(pack[at:])
    except zlib.error:
        return None
    return (content, len(pack) - len(inflater.unused_data)) if inflater.eof and len(content) <= most else None


def inflate_in_parts(pack, at, most):
    inflater, parts, total, size = zlib.decompressobj(), [], 0, 256
    try:
        while at < len(pack):
            chunk = pack[at:at + size]
            at += len(chunk)
            size = min(size * 4, 1 << 16)
            while chunk:
                part = inflater.decompress(chunk, most - total + 1)
                parts.append(part)
                total += len(part)
                if total > most:
                    return None
                if inflater.eof:
                    return b"".join(parts), at - len(inflater.unused_data)
                chunk = inflater.unconsumed_tail
    except zlib.error:
        pass
    return None


def head(pack, at):
    """Kind, size, base and end of the head of an entry, or None."""
    try:
        first = pack[at]
        at += 1
        kind, size, shift = first >> 4 & 7, first & 15, 4
        while first & 128:
            first = pack[at]
            at += 1
            size |= (first & 127) << shift
            shift += 7
        base = None
        if kind == REF:
            base = pack[at:at + 20]
            at += 20
        elif kind == OFS:
            byte = pack[at]
            at += 1
            base = byte & 127
            while byte & 128:
                byte = pack[at]
                at += 1
                base = base + 1 << 7 | byte & 127
            if not base:
                return None
        elif kind not in KINDS:
            return None
    except IndexError:
        return None
    return (kind, size, base, at) if at < len(pack) else None


def entry_at(pack, start):
    """The whole entry at an offset, or None."""
    found = head(pack, start)
    if not found:
        return None
    kind, size, base, at = found
    if size > 1040 * (len(pack) - at):
        return None
    inflated = inflate(pack, at, size)
    if not inflated or len(inflated[0]) != size:
        return None
    try:
        return Entry(start, inflated[1], kind, inflated[0], base)
    except ValueError:
        return None


def entries_with_stream(pack, low, stream):
    """The entries whose stream is at an offset, by what the bytes before may mean."""
    heads = {}
    for start in range(max(low, stream - 40), stream):
        found = head(pack, start)
        if found and found[3] == stream and found[1] <= 1040 * (len(pack) - stream):
            heads[start] = found
    if not heads:
        return []
    inflated = inflate(pack, stream, max(size for _, size, _, _ in heads.values()))
    if not inflated:
        return []
    content, end = inflated
    found = []
    for start, (kind, size, base, _) in heads.items():
        if size == len(content):
            try:
                found.append(Entry(start, end, kind, content, base))
            except ValueError:
                pass
    # part of a delta's head may look like the head of an object
    return [entry for entry in found if entry.kind in (OFS, REF)] or found[:1]


def scan(pack):
    """All whole entries that are not in others, as segments: runs in which no block can be missing."""
    segments, streams = [], [match.start() for match in ZLIB.finditer(pack)]
    at = 12 if pack[:8] == b"PACK\0\0\0\2" else 0
    torn = at == 0
    while at < len(pack):
        entry = entry_at(pack, at)
        found = [entry] if entry else []
        if not entry:
            low = at
            for start in range(low + 1, len(pack)):
                entry = entry_at(pack, start)
                if entry:
                    found = [entry]
                    break
            else:
                break
            torn = True
        if torn or not segments or found[0].start % BLOCK == 0:
            segments.append(Segment(found[-1].start, torn))
        segments[-1].add(found)
        at = segments[-1].end
        torn = False
    return segments


class Segment:
    def __init__(self, start, torn):
        self.start, self.torn = start, torn
        self.end = start
        self.entries = []

    def add(self, entries):
        self.entries += entries
        self.end = entries[0].end


class Gaps:
    """How many blocks are missing before each segment, as far as the deltas tell: segments whose distance is known are in a group."""

    def __init__(self, segments):
        self.segments = segments
        self.entries = [entry for segment in segments for entry in segment.entries]
        self.at = {entry.start: entry for entry in self.entries}
        self.group = list(range(len(segments)))
        self.members = {number: [number] for number in self.group}
        self.shift = [0] * len(segments)
        self.tears = [0]
        for segment in segments:
            self.tears.append(self.tears[-1] + segment.torn)
        alike = defaultdict(list)
        for number, segment in enumerate(segments):
            for entry in segment.entries:
                entry.segment = number
        for entry in self.entries:
            alike[entry.start % BLOCK, entry.size].append(entry)
        self.fixed, self.open = {}, {}
        for entry in self.entries:
            if entry.kind != OFS:
                continue
            place = entry.start - entry.base
            if place >= segments[entry.segment].start:
                base = self.at.get(place)
                if base and base.size == entry.source:
                    self.fixed[entry] = base
                continue
            self.open[entry] = []
            for base in alike[place % BLOCK, entry.source]:
                if base.start >= entry.start or base.segment == entry.segment:
                    break
                missing = (base.start - place) // BLOCK
                if missing >= (self.tears[entry.segment + 1] > self.tears[base.segment + 1]):
                    self.open[entry].append((base, missing))

    def claims(self):
        """What the deltas say about two groups' distance: (group, group, distance): deltas."""
        found = defaultdict(set)
        for entry, bases in self.open.items():
            mine = entry.segment
            for base, missing in bases:
                other = base.segment
                one, two = self.group[other], self.group[mine]
                if one == two:
                    continue
                distance = missing + self.shift[other] - self.shift[mine]
                if one > two:
                    one, two, distance = two, one, -distance
                found[one, two, distance].add(entry)
        return found

    def fits(self, one, two, distance):
        """Do the missing blocks never get fewer?"""
        both = sorted([(n, self.shift[n]) for n in self.members[one]] + [(n, self.shift[n] + distance) for n in self.members[two]])
        return all(a[1] <= b[1] for a, b in zip(both, both[1:]))

    def against(self, one, two, distance):
        """How many deltas would have a base inside of a whole entry."""
        runs = sorted([(self.segments[n].start + BLOCK * self.shift[n], n) for n in self.members[one]]
                      + [(self.segments[n].start + BLOCK * (self.shift[n] + distance), n) for n in self.members[two]])
        starts = [start for start, _ in runs]
        where = {n: start for start, n in runs}
        count = 0
        for entry in self.open:
            if entry.segment not in where:
                continue
            place = where[entry.segment] + entry.start - self.segments[entry.segment].start - entry.base
            at = bisect_right(starts, place) - 1
            if at < 0:
                continue
            segment = self.segments[runs[at][1]]
            within = place - starts[at] + segment.start
            if within < segment.end:
                base = self.at.get(within)
                count += not base or base.size != entry.source
        return count

    def whole(self, one, two, distance):
        """Does it say that nothing is missing where nothing is torn?"""
        for a, b in ((one, two), (two, one)):
            for n in self.members[a]:
                if n + 1 < len(self.segments) and self.group[n + 1] == b and not self.segments[n + 1].torn:
                    more = distance if a == one else -distance
                    if self.shift[n + 1] + more == self.shift[n]:
                        return True
        return False

    def settle(self):
        while True:
            claims = {claim: deltas for claim, deltas in self.claims().items() if self.fits(*claim)}
            scores = {}
            for claim, deltas in claims.items():
                score = len(deltas) - 2 * self.against(*claim) + self.whole(*claim) / 2
                if score > 0:
                    scores[claim] = score
            pairs, of = defaultdict(list), defaultdict(list)
            for claim in scores:
                pairs[claim[:2]].append(claim)
                for delta in claims[claim]:
                    of[delta].append(claim)
            for claim in sorted(scores, key=lambda claim: (-scores[claim], claim)):
                rivals = set(pairs[claim[:2]]).union(*(of[delta] for delta in claims[claim])) - {claim}
                if all(scores[rival] < scores[claim] for rival in rivals):
                    break
            else:
                return
            one, two, distance = claim
            for n in self.members.pop(two):
                self.shift[n] += distance
                self.group[n] = one
                self.members[one].append(n)

    def bases(self):
        self.settle()
        found = dict(self.fixed)
        for entry, bases in self.open.items():
            for base, missing in bases:
                if self.group[base.segment] == self.group[entry.segment]:
                    if self.shift[entry.segment] - self.shift[base.segment] == missing:
                        found[entry] = base
        return found


class Repository:
    def __init__(self, path):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        self.more = {"env": {**kept, "GIT_NO_REPLACE_OBJECTS": "1"}}
        self.git = ["git", "-c", "safe.directory=*", "-C", path]
        self.reader = subprocess.Popen([*self.git, "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       **self.more)

    def get(self, name):
        self.reader.stdin.write(name.encode() + b"\n")
        self.reader.stdin.flush()
        words = self.reader.stdout.readline().split()
        if len(words) != 3:
            return None
        return words[1].decode(), self.reader.stdout.read(int(words[2]) + 1)[:-1]

    def add(self, objects):
        self.reader.stdin.close()
        self.reader.wait()
        if not objects:
            return
        parts = [b"PACK" + struct.pack(">2I", 2, len(objects))]
        for kind, content in objects:
            size, byte = len(content) >> 4, NUMBERS[kind] << 4 | len(content) & 15
            while size:
                parts.append(bytes([byte | 128]))
                byte, size = size & 127, size >> 7
            parts.append(bytes([byte]))
            parts.append(zlib.compress(content, 1))
        data = b"".join(parts)
        subprocess.run([*self.git, "unpack-objects", "-q"], input=data + hashlib.sha1(data).digest(), check=True,
                       stdout=subprocess.DEVNULL, **self.more)


def name_of(kind, content):
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content).hexdigest()


def restore(entries, bases, repository):
    """The objects that can be had: id: (kind, content)."""
    objects, names, absent = {}, {}, set()

    def have(entry, kind, content):
        names[entry] = name_of(kind, content)
        objects[names[entry]] = kind, content

    for entry in entries:
        if entry.kind in KINDS:
            have(entry, KINDS[entry.kind], entry.content)
    waiting = [entry for entry in entries if entry.kind not in KINDS]
    while True:
        left = []
        for entry in waiting:
            if entry.kind == OFS:
                base = objects.get(names.get(bases.get(entry)))
            else:
                name = entry.base.hex()
                base = objects.get(name)
                if not base and name not in absent:
                    base = repository.get(name)
                    if not base:
                        absent.add(name)
            if base and len(base[1]) == entry.source:
                have(entry, base[0], patch(base[1], entry.content))
            else:
                left.append(entry)
        if len(left) == len(waiting):
            return objects
        waiting = left


def main(pack_path, repo):
    with open(pack_path, "rb") as file:
        pack = file.read()
    segments = scan(pack)
    gaps = Gaps(segments)
    repository = Repository(repo)
    objects = restore(gaps.entries, gaps.bases(), repository)
    repository.add(list(objects.values()))
    for name in sorted(objects):
        print(name, objects[name][0])


if __name__ == "__main__":
    main(*sys.argv[1:])
EOF
