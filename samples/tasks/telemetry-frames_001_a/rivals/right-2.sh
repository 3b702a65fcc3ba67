#!/bin/bash
# Byte by byte scan of starts, losses found by a search over the numbers of blocks missing at each tear, recursive resolving, loose objects written by itself.
set -e
cat >/app/salvage.py <<'EOF'
#!/usr/bin/env python3
"""Bring the objects of a damaged pack file into a repository; see README.md."""
import hashlib
import itertools
import os
import subprocess
import sys
import tempfile
import zlib
from collections import Counter, namedtuple

TYPES = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
# source, target: for a delta the lengths of its base and of its result
Item = namedtuple("Item", "start end type data distance base source target")


def numbers(data):
    """Read the numbers of a delta's beginning."""
    value = bits = 0
    for position, byte in enumerate(data):
        value |= (byte & 0x7f) << bits
        bits += 7
        if byte < 0x80:
            return value, data[position + 1:]
    raise IndexError


def apply(delta, base=None):
    """Return the lengths of base and result that a delta names, and, given a base, the result; IndexError for no delta."""
    source, rest = numbers(delta)
    target, rest = numbers(rest)
    stream, made, length = iter(rest), [], 0
    for byte in stream:
        if byte >= 0x80:
            bits = [next(stream, None) if byte >> n & 1 else 0 for n in range(7)]
            if None in bits:
                raise IndexError
            start = int.from_bytes(bytes(bits[:4]), "little")
            count = int.from_bytes(bytes(bits[4:]), "little") or 0x10000
            if start + count > source:
                raise IndexError
            if base is not None:
                made.append(base[start:start + count])
        else:
            piece = bytes(itertools.islice(stream, byte))
            count = byte
            if not byte or len(piece) < byte:
                raise IndexError
            made.append(piece)
        length += count
    if length != target:
        raise IndexError
    return source, target, b"".join(made) if base is not None else None


def is_stream(pack, at):
    return at + 1 < len(pack) and pack[at] & 0x8f == 8 and not pack[at + 1] & 0x20 and (pack[at] << 8 | pack[at + 1]) % 31 == 0


def parse(pack, start):
    """Return the whole entry at a place, or None."""
    at, limit = start, len(pack)
    byte = pack[at]
    type_, length, bits = byte >> 4 & 7, byte & 15, 4
    if type_ in (0, 5):
        return None
    at += 1
    while byte & 0x80:
        if at >= limit:
            return None
        byte = pack[at]
        length |= (byte & 0x7f) << bits
        bits += 7
        at += 1
    distance = base = None
    if type_ == 6:
        distance = -1
        while True:
            if at >= limit:
                return None
            byte = pack[at]
            at += 1
            distance = (distance + 1 << 7) + (byte & 0x7f)
            if byte < 0x80:
                break
        if distance == 0:
            return None
    elif type_ == 7:
        base = pack[at:at + 20].hex()
        at += 20
    if not is_stream(pack, at) or length > 1100 * (limit - at):
        return None
    data, end = unpack(pack, at, length)
    if data is None:
        return None
    source, target = None, length
    if type_ > 4:
        try:
            source, target, _ = apply(data)
        except IndexError:
            return None
    return Item(start, end, type_, data, distance, base, source, target)


def unpack(pack, at, length):
    inflater, data, window = zlib.decompressobj(), bytearray(), 128
    try:
        while not inflater.eof:
            piece = inflater.unconsumed_tail
            if not piece:
                piece = pack[at:at + window]
                at += len(piece)
                window = min(2 * window, 1 << 17)
                if not piece:
                    return None, 0
            data += inflater.decompress(piece, length + 1 - len(data))
            if len(data) > length:
                return None, 0
    except zlib.error:
        return None, 0
    return (bytes(data), at - len(inflater.unused_data)) if len(data) == length else (None, 0)


def islands(pack):
    """Return the runs of whole entries between which blocks may be missing, each with whether something is torn before it."""
    # horizon: the next place where a compressed stream may begin; an entry begins less than 45 bytes before one
    runs, at, torn = [], 0, True
    if pack.startswith(b"PACK\0\0\0\2"):
        at, torn = 12, False
    horizon = -1
    while at < len(pack):
        item = parse(pack, at)
        if item is None:
            at, torn = at + 1, True
            if horizon < at:
                horizon = next_stream(pack, at)
                at = max(at, horizon - 45)
                if horizon == len(pack):
                    break
            continue
        items = [item]
        if torn and item.type > 4:  # another reading of the same stream, as long as it is not certain where the entry begins
            others = (parse(pack, place) for place in range(at + 1, min(item.end, at + 45)))
            items += [other for other in others if other and other.end == item.end and other.type > 4]
        elif torn:
            others = (parse(pack, place) for place in range(at + 1, min(item.end, at + 45)))
            items = [other for other in others if other and other.end == item.end and other.type > 4] or items
        if torn or not runs or at % 512 == 0:
            runs.append((torn, []))
        runs[-1][1].extend(items)
        at, torn = item.end, False
    return runs


MAYBE = bytes(1 if byte & 0x8f == 8 else 0 for byte in range(256))


def next_stream(pack, at):
    """Return the first place from here on where a compressed stream may begin."""
    while at < len(pack):
        marks = pack[at:at + 4096].translate(MAYBE)
        found = marks.find(1)
        while found >= 0:
            if is_stream(pack, at + found):
                return at + found
            found = marks.find(1, found + 1)
        at += 4096
    return len(pack)


class Frames:
    """Sets of islands whose distance in the original is known: a frame has the blocks lost before each, but for a constant."""

    def __init__(self, runs):
        self.runs = runs
        self.first = [items[0].start for _, items in runs]
        self.last = [items[-1].end for _, items in runs]
        self.island = {item.start: n for n, (_, items) in enumerate(runs) for item in items}
        self.items = {item.start: item for _, items in runs for item in items}
        self.frame = {n: {n: 0} for n in range(len(runs))}  # island: its frame, shared by all islands of the frame
        self.torn = list(itertools.accumulate(int(torn) for torn, _ in runs))
        buckets = {}
        for item in self.items.values():
            buckets.setdefault((item.start % 512, item.target), []).append(item.start)
        self.options = {}  # an entry with a distance: {place of a possible base: blocks lost between them}
        for item in self.items.values():
            if item.type == 6:
                aim, home = item.start - item.distance, self.island[item.start]
                if aim >= self.first[home]:
                    near = self.items.get(aim)
                    self.options[item.start] = {aim: 0} if near and near.target == item.source else {}
                else:
                    self.options[item.start] = {
                        place: (place - aim) // 512 for place in buckets.get((aim % 512, item.source), ())
                        if place < self.first[home] and (place - aim) // 512 >= (self.torn[home] > self.torn[self.island[place]])}

    def joined(self, a, b, step):
        """The frame of two islands, the second of which has so many more blocks lost before it than the first."""
        one, two = self.frame[a], self.frame[b]
        return {**one, **{n: lost + one[a] + step - two[b] for n, lost in two.items()}}

    def verdict(self, frame):
        """Count the entries that find their base in a frame, and did not in those it is made of, less what speaks against it."""
        order = sorted(frame)
        if any(frame[a] > frame[b] for a, b in zip(order, order[1:])):
            return 0
        origins = [self.first[n] + 512 * frame[n] for n in order]
        good = bad = 0
        for home in order:
            for item in self.runs[home][1]:
                if item.type != 6 or item.start - item.distance >= self.first[home]:
                    continue
                aim = item.start + 512 * frame[home] - item.distance
                index = len(origins) - 1
                while index >= 0 and origins[index] > aim:
                    index -= 1
                if index < 0:
                    continue
                n = order[index]
                place = aim - 512 * frame[n]
                if self.frame[n] is self.frame[home] or place >= self.last[n]:
                    continue
                if place in self.options[item.start]:
                    good += 1
                else:
                    bad += 1
        bonus = any(a + 1 == b and not self.runs[b][0] and frame[a] == frame[b] and self.frame[a] is not self.frame[b]
                    for a, b in zip(order, order[1:]))
        return good - 2 * bad + 0.5 * bonus

    def join(self):
        while True:
            theories = {}
            for start, options in self.options.items():
                b = self.island[start]
                for place, step in options.items():
                    a = self.island[place]
                    if self.frame[a] is not self.frame[b]:
                        joined = self.joined(a, b, step)
                        low = min(joined)
                        key = tuple(sorted((n, lost - joined[low]) for n, lost in joined.items()))
                        theories.setdefault(key, (joined, set()))[1].add(start)
            judged = [(self.verdict(joined), key, joined, who) for key, (joined, who) in theories.items()]
            judged = sorted((theory for theory in judged if theory[0] > 0), key=lambda theory: (-theory[0], theory[1]))
            chosen = None
            for theory in judged:
                members = set(theory[2])
                rivals = [other for other in judged if other is not theory and (set(other[2]) == members or other[3] & theory[3])]
                if all(other[0] < theory[0] for other in rivals):
                    chosen = theory[2]
                    break
            if chosen is None:
                return
            for n in chosen:
                self.frame[n] = chosen

    def bases(self):
        self.join()
        found = {}
        for start, options in self.options.items():
            b = self.island[start]
            for place, step in options.items():
                a = self.island[place]
                if self.frame[a] is self.frame[b] and self.frame[b][b] - self.frame[b][a] == step:
                    found[start] = place
        return found


class Target:
    """The repository: read through git, written to its folder of objects."""

    def __init__(self, path):
        env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        env["GIT_NO_REPLACE_OBJECTS"] = "1"
        self.run = lambda *words, **more: subprocess.run(["git", "-c", "safe.directory=*", "-C", path, *words], env=env, check=True,
                                                         stdout=subprocess.PIPE, **more).stdout
        folder = self.run("rev-parse", "--git-path", "objects").decode().rstrip("\n")
        self.folder = os.path.join(path, folder)

    def read(self, ids):
        """Return those of these objects that are there."""
        out, found = self.run("cat-file", "--batch", input="".join(f"{id_}\n" for id_ in ids).encode()), {}
        for _ in ids:
            line, _, out = out.partition(b"\n")
            words = line.decode().split()
            if len(words) == 3:
                size = int(words[2])
                found[words[0]] = words[1], out[:size]
                out = out[size + 1:]
        return found

    def write(self, objects):
        listed = self.run("cat-file", "--batch-check", input="".join(f"{id_}\n" for id_ in objects).encode()).decode()
        absent = {line.split()[0] for line in listed.splitlines() if line.endswith("missing")}
        for id_ in absent:
            type_, data = objects[id_]
            folder = os.path.join(self.folder, id_[:2])
            os.makedirs(folder, exist_ok=True)
            handle, part = tempfile.mkstemp(dir=folder, prefix="tmp_obj_")
            with os.fdopen(handle, "wb") as file:
                file.write(zlib.compress(b"%s %d\0" % (type_.encode(), len(data)) + data))
            os.chmod(part, 0o444)
            os.replace(part, os.path.join(folder, id_[2:]))


def main(pack_path, repo):
    with open(pack_path, "rb") as file:
        pack = file.read()
    frames, target = Frames(islands(pack)), Target(repo)
    bases = frames.bases()
    foreign = target.read(sorted({item.base for item in frames.items.values() if item.base}))
    by_id = {}
    # who waits for a base: by its place or by its id
    waiting, ready = {}, []
    for item in frames.items.values():
        if item.type in TYPES:
            ready.append((item, TYPES[item.type], item.data))
        elif item.base:
            if item.base in foreign:
                ready.append((item, *foreign[item.base]))
            else:
                waiting.setdefault(item.base, []).append(item)
        elif item.start in bases:
            waiting.setdefault(bases[item.start], []).append(item)
    while ready:
        item, type_, data = ready.pop()
        if item.type not in TYPES:
            if len(data) != item.source:
                continue
            data = apply(item.data, data)[2]
        id_ = hashlib.sha1(b"%s %d\0" % (type_.encode(), len(data)) + data).hexdigest()
        by_id[id_] = type_, data
        for key in (item.start, id_):
            ready += [(other, type_, data) for other in waiting.pop(key, ())]
    target.write(by_id)
    sys.stdout.write("".join(sorted(f"{id_} {type_}\n" for id_, (type_, _) in by_id.items())))


if __name__ == "__main__":
    main(*sys.argv[1:])
EOF
