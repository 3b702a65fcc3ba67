import ctypes
import hashlib
import os
import random
import resource
import shutil
import subprocess
import time
import zlib

TYPES = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}


def git(repo, *words, stdin=b""):
    done = subprocess.run(["git", "-C", str(repo), *words], input=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, timeout=30)
    return done.stdout


def all_ended():
    """Wait for whoever has lost its parent: until then its time does not count as a child's."""
    for _ in range(3000):
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        time.sleep(0.02)
    return False


def name_of(kind, data):
    return hashlib.sha1(f"{kind} {len(data)}".encode() + b"\0" + data).hexdigest()


def base128(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out) + bytes([n])


def delta(old, new):
    """A delta of copies at both ends and an insertion in the middle."""
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    tail = 0
    while tail < min(len(old), len(new)) - same and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    out = [base128(len(old)), base128(len(new))]

    def copy(place, size):
        while size:
            now = min(size, 65536)
            code, args = 128, b""
            for bit, value in enumerate((place & 255, place >> 8 & 255, place >> 16, 0, now & 255, now >> 8 & 255)):
                if value:
                    code |= 1 << bit
                    args += bytes([value])
            out.append(bytes([code]) + args)
            place, size = place + now, size - now

    copy(0, same)
    middle = new[same:len(new) - tail]
    for k in range(0, len(middle), 127):
        out.append(bytes([len(middle[k:k + 127])]) + middle[k:k + 127])
    copy(len(old) - tail, tail)
    return b"".join(out)


class Pack:
    """A pack in the making. Items: dicts with type, data, base (index, id or None), start, end."""

    def __init__(self, dice):
        self.dice, self.items, self.body = dice, [], b"PACK\0\0\0\2\0\0\0\0"

    def encoded(self, kind, data, base, level):
        at, link = len(self.body), b""
        number = TYPES[kind]
        if isinstance(base, int):
            number, away = 6, at - self.items[base]["start"]
            link = bytes([away & 127])
            while away >> 7:
                away = (away >> 7) - 1
                link = bytes([away & 127 | 128]) + link
            data = delta(self.items[base]["data"], data)
        elif base is not None:
            number, link = 7, bytes.fromhex(base[0])
            data = delta(base[1], data)
        size = len(data)
        head = bytes([number << 4 | size & 15 | (128 if size > 15 else 0)]) + (base128(size >> 4) if size > 15 else b"")
        return head + link + zlib.compress(data, level)

    def add(self, kind, data, base=None, level=6):
        code = self.encoded(kind, data, base, level)
        start = len(self.body)
        self.body += code
        self.items.append({"type": kind, "data": data, "base": base, "start": start, "end": start + len(code),
                           "id": name_of(kind, data)})
        return len(self.items) - 1

    def raw(self, size):
        """A blob of random bytes, stored without compression."""
        return self.add("blob", self.dice.randbytes(size), level=0)

    def pad_to(self, rest, least=30):
        """A blob behind which the next entry starts at this rest modulo 512."""
        for size in range(least, least + 1100):
            if (len(self.body) + len(self.encoded("blob", bytes(size), None, 0))) % 512 == rest:
                return self.raw(size)
        raise AssertionError("no such padding")

    def text(self, size):
        words = b""
        while len(words) < size:
            words += b"%d " % self.dice.randrange(10 ** self.dice.randrange(1, 9))
        return words[:size]

    def edited(self, data):
        at = self.dice.randrange(len(data))
        return data[:at] + self.text(self.dice.randrange(20, 90)) + data[at + self.dice.randrange(40):]

    def history(self, files, turns, by_id=0.0):
        """Commits, trees and blobs, most of them deltas."""
        last, tree, parent = {}, None, ""
        for turn in range(turns):
            for name in range(files):
                if name in last and self.dice.random() < 0.3:
                    continue
                old = last.get(name)
                data = self.edited(self.items[old]["data"]) if old is not None else self.text(self.dice.randrange(300, 2500))
                base = old if old is not None and self.dice.random() < 0.85 else None
                if base is not None and self.dice.random() < by_id:
                    base = (self.items[old]["id"], self.items[old]["data"])
                last[name] = self.add("blob", data, base)
            listing = b"".join(b"100644 file%02d\0" % n + bytes.fromhex(self.items[last[n]]["id"]) for n in sorted(last))
            tree = self.add("tree", listing, tree if turn % 4 else None)
            commit = f"tree {self.items[tree]['id']}\n{parent}author A <a@b.c> {turn} +0000\ncommitter A <a@b.c> {turn} +0000\n\nturn {turn}\n"
            parent = f"parent {self.items[self.add('commit', commit.encode())]['id']}\n"

    def blocks(self, index, inner=True):
        """The blocks that lie in an entry, or (inner false) touch it."""
        low, high = self.items[index]["start"], self.items[index]["end"]
        return range(-(-low // 512), high // 512) if inner else range(low // 512, -(-high // 512))

    def whole(self):
        data = self.body[:8] + len(self.items).to_bytes(4, "big") + self.body[12:]
        return data + hashlib.sha1(data).digest()

    def without(self, lost):
        data = self.whole()
        return b"".join(data[k:k + 512] for k in range(0, len(data), 512) if k // 512 not in lost)

    def expected(self, lost, had):
        """The right answer: {id: item}."""
        there = [not any(k in lost for k in range(item["start"] // 512, -(-item["end"] // 512))) for item in self.items]
        known, ids, grown = set(), set(had), True
        while grown:
            grown = False
            for number, item in enumerate(self.items):
                base = item["base"]
                if there[number] and number not in known and (
                        base is None or (base in known if isinstance(base, int) else base[0] in ids)):
                    known.add(number)
                    ids.add(item["id"])
                    grown = True
        return {self.items[number]["id"]: self.items[number] for number in known}


def check(folder, pack, lost, had=(), bare=True, packed=False, label=""):
    """Salvage the pack without the lost blocks into a repository that has some objects (blobs, or with their types); the seconds of CPU time that took."""
    lost = set(lost)
    folder.mkdir()
    repo = folder / "repo"
    subprocess.run(["git", "init", "-q", *(["--bare"] if bare else []), str(repo)], check=True, timeout=30)
    typed = [one if isinstance(one, tuple) else ("blob", one) for one in had]
    before = {git(repo, "hash-object", "-w", "-t", kind, "--stdin", stdin=data).decode().strip() for kind, data in typed}
    if packed:
        git(repo, "pack-objects", "-q", str(repo / ("objects" if bare else ".git/objects") / "pack/pack"),
            stdin="\n".join(before).encode())
        git(repo, "prune-packed")
    damaged = folder / "damaged.pack"
    damaged.write_bytes(pack.without(lost))
    right = pack.expected(lost, before)
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)     # orphans become children of this process
    start = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run(["python3", "/app/salvage.py", str(damaged), str(repo)], capture_output=True, text=True,
                              timeout=60)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"{label}: no end after 60 seconds") from None
    assert all_ended(), f"{label}: processes go on behind its end"
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime
    assert done.returncode == 0, f"{label}: status {done.returncode}: {done.stderr[-300:]}"
    printed = done.stdout.splitlines()
    wanted = sorted(f"{name} {item['type']}" for name, item in right.items())
    missed, invented = set(wanted) - set(printed), set(printed) - set(wanted)
    assert not missed and not invented, f"{label}: {len(missed)} of {len(wanted)} objects are missed, {len(invented)} are invented"
    assert printed == wanted, f"{label}: not sorted, or not each once"
    shelf = folder / "shelf"    # what REPO has of its own: no links, no alternates
    subprocess.run(["git", "init", "-q", "--bare", str(shelf)], check=True, timeout=30)
    shutil.rmtree(shelf / "objects")
    shutil.copytree(repo / ("objects" if bare else ".git/objects"), shelf / "objects",
                    ignore=lambda at, names: [name for name in names if name == "info" or os.path.islink(os.path.join(at, name))])
    stored = set(git(shelf, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)").decode().split())
    assert stored == before | set(right), f"{label}: the repository has other objects than it should"
    answers = git(shelf, "cat-file", "--batch", stdin="\n".join(right).encode() + b"\n")
    assert answers == b"".join(f"{name} {item['type']} {len(item['data'])}\n".encode() + item["data"] + b"\n"
                               for name, item in right.items()), f"{label}: wrong content"
    return took


def test_plain_objects_and_bases_by_id(tmp_path):
    dice = random.Random()
    pack = Pack(dice)
    for size in (0, 1, 15, 16, 17, 2047, 2048, 700):
        pack.add("blob", pack.text(size))
    held = pack.items[-1]["data"]
    tagged = pack.items[-1]["id"]
    pack.add("tag", f"object {tagged}\ntype blob\ntag v1\ntagger A <a@b.c> 5 +0000\n\nfirst\n".encode())
    own, other = pack.text(900), pack.text(1300)
    outside = [(name_of("blob", data), data) for data in (own, other, pack.text(800))]
    early = pack.edited(other)
    pack.add("blob", pack.edited(early), (name_of("blob", early), early))
    torn = pack.raw(3000)
    pack.add("blob", pack.edited(own), outside[0])
    inner = Pack(dice)
    inner.history(2, 3)
    nested = pack.add("blob", inner.whole(), level=0)
    pack.add("blob", early, outside[1])
    pack.add("blob", pack.edited(outside[2][1]), outside[2])
    pack.add("blob", pack.items[5]["data"])
    rows = [b"100644 row%d\0" % n + dice.randbytes(20) for n in range(9)]
    listing = b"".join(rows[:8])
    pack.add("tree", b"".join(rows), (name_of("tree", listing), listing))
    pack.add("blob", pack.text(700))
    big = pack.raw(66000)
    data = pack.items[big]["data"]
    pack.add("blob", data[:65536] + b"!" + data[65539:], (pack.items[big]["id"], data))
    pack.add("blob", data[:300] + data[:65536], big)
    gone = pack.raw(1500)
    pack.add("blob", pack.edited(pack.items[gone]["data"]), (pack.items[gone]["id"], pack.items[gone]["data"]))
    pack.add("blob", pack.text(700), None)
    lost = [pack.blocks(torn)[1], pack.blocks(gone)[0]]
    check(tmp_path / "a", pack, lost, [own, other, held, ("tree", listing)], packed=True, label="a nested pack, bases in the repository")
    check(tmp_path / "b", pack, [0, *lost, pack.blocks(nested, False)[-1] + 1, len(pack.body) // 512], [own, pack.items[0]["data"]], bare=False,
          label="without header and trailer")
    pack = Pack(dice)
    pack.history(7, 12, by_id=1.0)
    pack.items = [item for item in pack.items if not isinstance(item["base"], int)]
    plain = Pack(dice)
    for item in dice.sample(pack.items, len(pack.items)):
        plain.add(item["type"], item["data"], item["base"])
    check(tmp_path / "c", plain, dice.sample(range(len(plain.body) // 512), 4), label="bases by id in any order")


def test_bases_by_distance(tmp_path):
    dice = random.Random(21)
    for number, (files, turns, by_id, share) in enumerate(((6, 12, 0, 0.03), (9, 14, 0.2, 0.06), (4, 30, 0.1, 0.1))):
        pack = Pack(dice)
        pack.history(files, turns, by_id)
        count = len(pack.body) // 512
        lost = set(dice.sample(range(count), max(2, int(count * share))))
        run = dice.randrange(count // 2, count - 9)
        check(tmp_path / str(number), pack, lost | set(range(run, run + 3)), label=f"history {number}")

    # nothing looks damaged: what is missing lies between two whole entries
    pack = Pack(dice)
    pack.history(3, 4)
    pack.pad_to(0)
    gone = pack.pad_to(0, 1200)
    pack.history(2, 2)
    bases = [n for n, item in enumerate(pack.items[:gone - 1]) if item["type"] == "blob"]
    for _ in range(6):
        pack.add("blob", pack.edited(pack.items[bases[-1 - _]]["data"]), bases[-1 - _])
    pack.pad_to(0)
    gone_too = pack.pad_to(0, 400)
    for _ in range(6):
        pack.add("blob", pack.edited(pack.items[-5]["data"]), len(pack.items) - 5)
    pack.add("blob", pack.edited(pack.items[bases[0]]["data"]), bases[0])
    check(tmp_path / "unseen", pack, {*pack.blocks(gone), *pack.blocks(gone_too)}, label="gaps on borders")


def doubtful(dice, before, after, base_lost):
    """Entries of one size at distances that fit, some in front of the true base and some behind it."""
    pack = Pack(dice)
    firm = [pack.add("blob", pack.text(400 + 37 * k)) for k in range(4)]
    base_size = 610
    rest, alike = None, []
    for k in range(before + 1 + after):
        if rest is None:
            pack.raw(90)
            rest = len(pack.body) % 512
        else:
            pack.pad_to(rest, 250 + 40 * k)
        alike.append(pack.raw(base_size))
        if k == before:
            barrier = pack.raw(2300)
    more = [pack.add("blob", pack.text(900 + 53 * k)) for k in range(4)]
    torn = pack.raw(6500)
    true = alike[before]

    def child(index):
        return pack.add("blob", pack.edited(pack.items[index]["data"]), index)

    twigs = [child(index) for index in (true, *firm[:2], *more[:2])]
    for index in (true, *firm[2:], *more[2:], alike[0], alike[-1], twigs[0], twigs[1]):
        child(index)
    lost = set(pack.blocks(torn)[1:10])
    lost |= set(pack.blocks(true)) if base_lost else set()
    return pack, lost | {pack.blocks(barrier)[1]}


def test_doubtful_bases(tmp_path):
    for number, (before, after, base_lost) in enumerate(((0, 1, False), (2, 0, False), (2, 2, False), (0, 2, True), (3, 1, True))):
        pack, lost = doubtful(random.Random(), before, after, base_lost)
        check(tmp_path / str(number), pack, lost, label=f"{before} before, {after} behind, base lost: {base_lost}")


def test_a_large_pack(tmp_path):
    dice = random.Random(41)
    pack = Pack(dice)
    torn, firm = [], []
    for k in range(12):
        torn.append(pack.raw(40000))
        firm.append(pack.add("blob", pack.text(3000 + 11 * k)))
        firm.append(pack.raw(110000))
    pack.history(5, 6)
    for index in firm[:8]:
        pack.add("blob", pack.edited(pack.items[index]["data"]), index)
    lost = {pack.blocks(index)[dice.randrange(3)] for index in torn} | {pack.blocks(torn[5])[9]}
    assert check(tmp_path / "large", pack, lost, label="large pack") < 20
