"""rvforget against docs/forget.md, with a reader and a writer of vaults of its own; the vaults are other ones at each run."""
import contextlib
import ctypes
import os
import random
import re
import resource
import struct
import subprocess
import tempfile
import time
import zlib
from hashlib import blake2b, sha256
from pathlib import Path

APP = Path("/app")
GIVEN = {"vault.c": "5ecfd304661390df42bdb0b2", "vault.h": "ef56883c60aa9c1afe604149", "Makefile": "7746483afdf857d735d6fa79"}
SEED = os.urandom(8).hex()
ERASED = b"personnel/okonjo-" + bytes(random.Random(SEED).sample(range(1, 256), 12)) + b"\n\xff"
ENV = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}     # nothing preloaded: the bound on memory is for the tool alone
built = []


def tool():
    if not built:
        (APP / "rvforget").unlink(missing_ok=True)
        done = subprocess.run(["make", "rvforget"], cwd=APP, env=ENV, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and (APP / "rvforget").is_file(), done.stdout + done.stderr
        for name, digest in GIVEN.items():
            assert sha256((APP / name).read_bytes()).hexdigest().startswith(digest), f"{name} is not as it was"
        read = subprocess.run(["gcc", "-std=gnu11", "-MM", "rvforget.c"], cwd=APP, env=ENV, capture_output=True, text=True, timeout=60).stdout
        assert set(read.replace("\\\n", " ").split()) <= {"rvforget.o:", "rvforget.c", "vault.h"}, "it is more than one file"
        wanted = subprocess.run(["nm", "-D", "-u", "rvforget"], cwd=APP, env=ENV, capture_output=True, text=True, timeout=60).stdout
        assert not re.search(r" (f?exec\w+|popen|system|posix_spawnp?|dlopen)@", wanted), "it needs another program"
        built.append(str(APP / "rvforget"))
    return built[0]


def all_ended():
    """Wait for whoever has lost its parent: until then its time does not count as a child's."""
    for _ in range(1500):
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        time.sleep(0.02)
    return False


def processor():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


WENT, CAME, CHANGED = 0x40, 0x80, 0x302     # moved away, moved here; written to, made or taken away: of inotify(7)


@contextlib.contextmanager
def changes_of(folder):
    """Gives a function that returns what has happened to the vault in a folder."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if fd < 0:      # others of this machine may hold all that there are
        yield list
        return
    libc.inotify_add_watch(fd, os.fsencode(folder), WENT | CAME | CHANGED)

    def seen():
        data, kinds = b"", []
        with contextlib.suppress(BlockingIOError):
            while True:
                data += os.read(fd, 65536)
        while data:
            kind, size = struct.unpack_from("<4xI4xI", data)
            if data[16:16 + size].rstrip(b"\0") == b"case.rv":
                kinds.append(kind)
            data = data[16 + size:]
        return kinds

    try:
        yield seen
    finally:
        os.close(fd)


def forget(raw, name=ERASED, before="ulimit -v 65536", mode=0o640):
    """Runs it on a vault: the exit code, the new vault, and what a reader sees who had it open."""
    path_to = tool()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "case.rv")
        path.write_bytes(raw)
        path.chmod(mode)
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)      # orphans become children of this process
        used = processor()
        with path.open("rb") as had_open, changes_of(folder) as changes:
            try:
                done = subprocess.run(["bash", "-c", before + ' && ulimit -t 10 && exec "$@"', "bash", path_to, str(path) if mode == 0o640 else path.name, name], cwd=folder, env=ENV, capture_output=True, timeout=60)
            except subprocess.TimeoutExpired:
                assert False, "it does not end"
            assert done.returncode not in (-9, -24), "it takes more than 10 seconds"    # of the processor: other load does not count
            assert all_ended() and processor() - used < 10, "it takes more than 10 seconds"
            Path(folder).chmod(0o700)
            seen = changes()
            gone = [kind for kind in seen if kind != CAME]
            assert not gone or (gone == [WENT] and seen.index(WENT) > 0), "the vault is not replaced in one step"
            assert had_open.read() == raw, "who has the vault open sees something new"
        assert [p.name for p in Path(folder).iterdir()] == ["case.rv"], "a file is left beside the vault"
        assert path.stat().st_mode & 0o7777 == mode, "another mode"
        return done.returncode, path.read_bytes()


# The format

def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out) + bytes([n])


def pack_ops(ops):
    return b"".join(b"I" + varint(n) + a if kind == "I" else kind.encode() + varint(a) + varint(n) for kind, a, n in ops)


def link(chain, crc):
    value = 0xcbf29ce484222325
    for b in struct.pack("<QI", chain, crc):
        value = (value ^ b) * 0x100000001b3 & (1 << 64) - 1
    return value


def seal(records, tail=b""):
    out, chain = bytearray(), 0
    for kind, body in records:
        crc = zlib.crc32(kind + body)
        chain = link(chain, crc)
        out += struct.pack("<I", len(body)) + kind + body + struct.pack("<IQ", crc, chain)
    return b"RVAULT1\n" + struct.pack("<QQ", 24 + len(out), chain) + out + tail


class Rev:
    def __init__(self, name, time, flags, base, ops, length):
        self.name, self.time, self.flags, self.base, self.ops, self.length = name, time, flags, base, ops, length

    def literals(self):
        return [a for kind, a, n in self.ops if kind == "I"]


class Vault:
    """A revision in full has base None and one literal."""

    def __init__(self):
        self.items, self.names, self.revs = [], [], []

    def name(self, text):
        self.items.append(("N", text))
        self.names.append(text)
        return len(self.names) - 1

    def revision(self, name, base, ops, flags=0):
        when = 10 ** 9 + 77 * len(self.revs) << 33 * (len(self.revs) % 7 == 3)
        rev = Rev(name, when, flags, base, ops, sum(n for _, _, n in ops))
        self.revs.append(rev)
        self.items.append(("R", len(self.revs) - 1))
        return len(self.revs) - 1

    def full(self, name, content, flags=0):
        return self.revision(name, None, [("I", content, len(content))], flags)

    def tag(self, label, which):
        self.items.append(("T", label, which))

    def records(self):
        for item in self.items:
            if item[0] == "N":
                yield b"N", item[1]
            elif item[0] == "T":
                yield b"T", varint(len(item[1])) + item[1] + varint(len(item[2])) + b"".join(map(varint, item[2]))
            else:
                rev = self.revs[item[1]]
                start = bytes([rev.flags]) + varint(rev.name) + varint(rev.time)
                if rev.base is None:
                    yield b"F", start + rev.ops[0][1]
                else:
                    yield b"D", start + varint(item[1] - rev.base) + varint(rev.length) + pack_ops(rev.ops)

    def raw(self, tail=b""):
        return seal(self.records(), tail)


class Reader:
    def __init__(self, body):
        self.body, self.at = body, 0

    def varint(self):
        value = shift = 0
        while True:
            assert self.at < len(self.body), "a record ends too early"
            b = self.body[self.at]
            self.at += 1
            value |= (b & 127) << shift
            if b < 128:
                assert (b or not shift) and value < 1 << 64, "a varint is not in its shortest form"
                return value
            shift += 7

    def take(self, n):
        assert self.at + n <= len(self.body), "a record ends too early"
        self.at += n
        return self.body[self.at - n:self.at]


def read(raw):
    assert raw[:8] == b"RVAULT1\n" and len(raw) >= 24, "no header"
    size, last = struct.unpack_from("<QQ", raw, 8)
    assert 24 <= size <= len(raw), "committed length"
    v, at, chain = Vault(), 24, 0
    while at < size:
        assert at + 17 <= size, "a record is cut off"
        n, kind = struct.unpack_from("<Ic", raw, at)
        assert at + 17 + n <= size, "a record is cut off"
        body = raw[at + 5:at + 5 + n]
        crc = zlib.crc32(kind + body)
        chain = link(chain, crc)
        assert struct.unpack_from("<IQ", raw, at + 5 + n) == (crc, chain), "checksum of a record"
        at += 17 + n
        r = Reader(body)
        if kind == b"N":
            assert body, "empty name"
            v.name(body)
        elif kind == b"T":
            label = r.take(r.varint())
            which = [r.varint() for _ in range(r.varint())]
            assert r.at == n and which == sorted(set(which)) and all(w < len(v.revs) for w in which), "bad tag"
            v.tag(label, which)
        else:
            assert kind in b"FD", "unknown record"
            flags, name, time = r.take(1)[0], r.varint(), r.varint()
            assert flags < 2 and name < len(v.names), "bad revision"
            if kind == b"F":
                v.full(name, r.take(n - r.at), flags)
            else:
                base, length, ops, have = len(v.revs) - r.varint(), r.varint(), [], 0
                assert 0 <= base < len(v.revs), "bad base"
                while r.at < n:
                    op = chr(r.take(1)[0])
                    assert op in "CSI", "unknown operation"
                    offset = 0 if op == "I" else r.varint()
                    m = r.varint()
                    assert m, "operation without a length"
                    assert op != "C" or offset + m <= v.revs[base].length, "copy from outside the base"
                    assert op != "S" or offset < have, "copy from outside the content"
                    ops.append((op, r.take(m) if op == "I" else offset, m))
                    have += m
                assert have == length, "content of another length"
                v.revision(name, base, ops, flags)
            v.revs[-1].time = time
    assert chain == last, "chain value of the header"
    return v


def apply(ops, base):
    out = bytearray()
    for kind, a, n in ops:
        if kind == "I":
            out += a
        elif kind == "C":
            out += memoryview(base)[a:a + n]
        elif n <= len(out) - a:
            out += out[a:a + n]
        else:
            out += (bytes(out[a:]) * (n // (len(out) - a) + 1))[:n]
    return bytes(out)


def contents(v):
    """All contents by ordinal; each is dropped behind its last use as a base."""
    last = {rev.base: i for i, rev in enumerate(v.revs)}
    held = {}
    for i, rev in enumerate(v.revs):
        content = rev.ops[0][1] if rev.base is None else apply(rev.ops, held[rev.base])
        yield i, content
        if last.get(i, -1) > i:
            held[i] = content
        if last.get(rev.base) == i:
            held.pop(rev.base, None)


def windows(data, size=8):
    return {data[i:i + size] for i in range(len(data) - size + 1)}


# The promises

def check(old_raw, name=ERASED, traces=False, **how):
    old = read(old_raw)
    code, new_raw = forget(old_raw, name, **how)
    assert code == 0, f"exit code {code}"
    new = read(new_raw)
    left = [i for i, rev in enumerate(old.revs) if old.names[rev.name] != name]
    number = {i: k for k, i in enumerate(left)}
    names = {i: k for k, i in enumerate(i for i, text in enumerate(old.names) if text != name)}
    expected = []
    for item in old.items:
        if item[0] == "N" and item[1] != name:
            expected.append(item)
        elif item[0] == "R" and item[1] in number:
            expected.append(("R", number[item[1]]))
        elif item[0] == "T":
            expected.append(("T", item[1], [number[i] for i in item[2] if i in number]))
    assert new.items == expected, "names, revisions and tags, in their order"
    digests = {number[i]: blake2b(c).digest() for i, c in contents(old) if i in number}
    assert digests == {i: blake2b(c).digest() for i, c in contents(new)}, "a remaining revision has another content"
    for i in left:
        was, now = old.revs[i], new.revs[number[i]]
        assert (now.name, now.time, now.flags) == (names[was.name], was.time, was.flags), f"name, time or flags of revision {i}"
        if was.base is None:
            assert now.base is None, f"revision {i} was in full"
        elif was.base in number:
            assert now.base == number[was.base] and now.ops == was.ops, f"revision {i} has a base that remains"
        else:
            literal, base = sum(map(len, was.literals())), was.base
            while base is not None and base not in number:
                literal += sum(map(len, old.revs[base].literals()))
                base = old.revs[base].base
            if base is not None:
                assert now.base == number[base], f"revision {i} is not on its nearest remaining ancestor"
                assert sum(map(len, now.literals())) <= literal, f"revision {i} has more literal bytes than it may have"
    if traces:
        assert name not in new_raw, "the name is left"
        forgotten, kept = set(), set()
        for i, rev in enumerate(old.revs):
            if i not in number:
                for one in rev.literals():
                    forgotten |= windows(one, 12)
        found = forgotten & windows(new_raw, 12)
        if found:
            for i, content in contents(new):
                kept |= windows(content)
        leaked = [one for one in found if not windows(one) & kept]      # a few bytes behind what is kept may be the same by chance
        assert not leaked, "bytes of the forgotten document are left"
    return new_raw


# Vaults

def some_ops(rng, size):
    ops, have = [], 0
    if size > 40 and rng.random() < .5:
        cut = sorted(rng.randrange(size) for _ in range(2))
        ops = [("C", 0, cut[0]), ("I", rng.randbytes(30), 30), ("C", cut[1], size - cut[1])]
        return [op for op in ops if op[2]]
    for _ in range(rng.randrange(1, 8)):
        kind = rng.choice("CCCSSI")
        if kind == "C" and size:
            a = rng.randrange(size)
            op = ("C", a, rng.randrange(1, min(size - a, 900) + 1))
        elif kind == "S" and have:
            op = ("S", rng.randrange(max(0, have - 40), have) if rng.random() < .5 else rng.randrange(have), rng.randrange(1, 200))
        else:
            n = rng.randrange(1, 40)
            op = ("I", rng.randbytes(n), n)
        ops.append(op)
        have += op[2]
    return ops


def some_vault(seed, count, apart, near=8, share=.4):
    """apart: no other document stands on the secret one."""
    rng, v = random.Random(f"{SEED} {seed}"), Vault()
    plain = [b"minutes/board.txt", b"plan/site-2", b"ledger", b"personnel/okonjo"]
    ids = [[v.name(text)] for text in plain[:2]]
    secret = [v.name(ERASED)]
    ids += [[v.name(text)] for text in plain[2:]]
    for k in range(count):
        hidden = rng.random() < share
        if rng.random() < .08:
            which = rng.randrange(len(plain))
            (secret if hidden else ids[which]).append(v.name(ERASED if hidden else plain[which]))
        name = rng.choice(secret if hidden else rng.choice(ids))
        bases = [i for i in range(max(0, k - near), k) if hidden or not apart or v.revs[i].name not in secret]
        flags = int(rng.random() < .15)
        if not bases or rng.random() < .07:
            v.full(name, rng.randbytes(rng.randrange(1200)), flags)
        else:
            base = rng.choice(bases)
            v.revision(name, base, some_ops(rng, v.revs[base].length), flags)
        if rng.random() < .1:
            v.tag(b"tag %d" % k, sorted(rng.sample(range(k + 1), min(k + 1, rng.randrange(6)))))
    v.tag(b"only secret", [i for i, rev in enumerate(v.revs) if rev.name in secret][:3])
    return v, rng


def test_a_document_goes_and_the_rest_stays():
    for seed in range(4):
        v, rng = some_vault(seed, 60, apart=True)
        hidden = [one for rev in v.revs if v.names[rev.name] == ERASED for one in rev.literals()]
        tail = struct.pack("<I", 4000) + b"F\0" + ERASED + max(hidden, key=len)
        check(v.raw(tail if seed % 2 else b""), traces=True, mode=0o604 if seed else 0o640)
    many = Vault()
    first, secret = many.name(b"ledger"), many.name(ERASED)
    root = many.full(first, bytes(range(256)) * 4)
    for k in range(400):    # distances, ids and ordinals that need one byte less afterwards
        many.full(secret, b"entry %d" % k) if k % 3 else many.revision(first, root, [("C", k, 300)])
        many.name(b"other %d" % k if k % 2 else ERASED)
    root = many.revision(many.name(b"late"), root, [("C", 0, 1024), ("S", 1000, 500)], 1)
    many.tag(b"all", list(range(root + 1)))
    raw = check(many.raw(), traces=True)
    for name in (b"late", b"ledger"):
        raw = check(raw, name, traces=True)
    unused = Vault()
    unused.name(b"ledger")
    unused.name(ERASED)
    check(unused.raw(), traces=True)
    alone = Vault()
    alone.full(alone.name(ERASED), b"nothing else here")
    alone.tag(b"", [0])
    check(alone.raw(b"nothing else here"), traces=True)


def test_failures_leave_the_vault_alone():
    v, rng = some_vault(11, 40, apart=False)
    raw = v.raw(b"left over")
    for name in (b"personnel", ERASED[:-1], ERASED + b"x", b"tag 1"):
        assert forget(raw, name) == (1, raw), "a name that is not there"
    big = Vault()
    big.full(big.name(ERASED), b"x")
    big.full(big.name(b"big"), rng.randbytes(30000))
    full = big.raw()
    assert forget(full, before="trap '' XFSZ; ulimit -f 8") == (3, full), "the disk is full"
    assert forget(full, before='chmod 500 "$(dirname "$2")"') == (3, full), "the folder cannot be written"
    broken = [raw[:size] for size in (0, 7, 23, 24, 300)] + [b"RVAULT2\n" + raw[8:]]
    for at in (9, 16, 25, 28, 40, len(raw) - 12):
        broken.append(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1:])
    start = [(b"N", b"a"), (b"N", ERASED), (b"F", b"\0\0\0" + b"abcdefgh")]
    for body in (b"\0\0\0\2\3C\0\3", b"\0\0\0\0\3C\0\3", b"\0\0\0\1\4C\6\4", b"\0\0\0\1\4C\0\3", b"\0\0\0\1\3S\0\3", b"\0\0\0\1\3X\0\3", b"\0\2\0\1\3C\0\3",
                 b"\2\0\0\1\3C\0\3", b"\0\0\0\1\3C\0\x83\0", b"\0\0\0\1\3I\3ab", b"\0\0\0\1\3C\0\3C\0\0", b"\0\0\0\1\2C\0\3"):
        broken.append(seal(start + [(b"D", body)]))
    broken += [seal(start + [one]) for one in ((b"N", b""), (b"Q", b"a"), (b"T", b"\1a\1\1"), (b"T", b"\1a\2\0\0"), (b"T", b"\1a\1\0\0"),
                                               (b"F", b"\0\0" + b"\xff" * 9 + b"\2x"), (b"F", b"\0\0" + b"\x80" * 10 + b"\1x"),
                                               (b"F", b"\0\2\0x"), (b"F", b"\2\0\0x"), (b"T", b"\1a\0\0"), (b"T", b"\5a\0"), (b"T", b"\1a\1\0\0"))]
    broken.append(b"RVAULT1\n" + struct.pack("<QQ", 24, 5))
    for one in broken:
        code, now = forget(one)
        assert (code, now) == (2, one), "a damaged vault"


def test_dependents_are_put_on_their_remaining_ancestor():
    rng, v = random.Random(f"{SEED} 3"), Vault()
    a, secret = v.name(b"ledger"), v.name(ERASED)
    text = [rng.randbytes(20) for _ in range(4)]
    root = v.full(a, rng.randbytes(300))
    s = v.revision(secret, root, [("C", 100, 50), ("I", text[0], 20), ("S", 50, 200), ("C", 0, 50)])
    twice = v.revision(a, s, [("C", 55, 10), ("C", 50, 30), ("I", text[1], 20), ("C", 48, 200)])
    s = v.revision(secret, s, [("C", 60, 205), ("I", text[2], 20), ("C", 60, 205), ("S", 200, 300)])
    s = v.revision(secret, s, [("I", text[3], 20), ("S", 0, 33), ("C", 400, 300), ("C", 3, 300)])
    v.revision(a, s, [("C", 30, 500), ("S", 499, 40), ("C", 0, 300)])
    v.revision(a, twice, [("C", 0, 200), ("I", b"on a revision that was put elsewhere", 36)])
    check(v.raw(), traces=True)
    for seed in range(24):
        near, share = [(2, .75), (8, .4), (25, .6)][seed % 3]
        v, _ = some_vault(100 + seed, 30 if seed % 3 == 0 else 45, False, near, share)
        check(v.raw(), traces=seed % 4 == 0)


def test_templates_images_and_long_chains():
    rng, v = random.Random(f"{SEED} 8"), Vault()
    secret = v.name(ERASED)
    revs = [v.full(secret, rng.randbytes(60000))]
    for _ in range(3):
        size, ops, at = v.revs[revs[-1]].length, [], 0
        for cut in sorted(rng.sample(range(1, size), 2)) + [size]:
            ops += [("C", at, cut - at), ("I", rng.randbytes(200), 200)]
            at = cut
        revs.append(v.revision(secret, revs[-1], ops))
    for k in range(160):
        on = rng.choice(revs)
        cuts = [0] + sorted(rng.sample(range(1, v.revs[on].length), rng.randrange(1, 4))) + [v.revs[on].length]
        pieces = [("C", a, b - a) for a, b in zip(cuts, cuts[1:])]
        rng.shuffle(pieces)
        ops = []
        for one in pieces:
            ops += [one, ("I", rng.randbytes(150), 150)]
        v.revision(v.name(b"contract/%d" % k), on, ops)
    raw = v.raw()
    new = check(raw)
    assert len(new) <= 1.1 * len(raw), f"the vault with a template has grown from {len(raw)} to {len(new)}"

    v = Vault()
    disk, secret = v.name(b"images/work"), v.name(ERASED)
    M = 1 << 20
    root = v.full(disk, rng.randbytes(3000))
    double = [("C", 0, 3000), ("I", rng.randbytes(16), 16)]
    double += [("S", 3000, 16 << k) for k in range(20)]
    s = v.revision(secret, root, double)
    s = v.revision(secret, s, [("C", 5 * M, 9 * M + 7), ("I", b"\0", 1), ("S", 9 * M + 7, 30 * M), ("C", 0, 4000)])
    v.revision(disk, s, [("C", M, 11 * M), ("I", b"boot", 4), ("C", 5 * M + 3, 20 * M), ("C", 38 * M, M + 4007)])
    raw = v.raw()
    new = check(raw)
    assert len(raw) < 10000 and len(new) < 100000, "the images have no longer long runs"

    v = Vault()
    ledger, secret = v.name(b"ledger"), v.name(ERASED)
    s = v.full(ledger, rng.randbytes(300000))
    for k in range(800):
        size, ops, at = v.revs[s].length, [], 0
        for cut in sorted(rng.sample(range(1, size), 6)):
            ops += [("C", at, cut - at), ("I", rng.randbytes(12), 12)]
            at = cut + 12
        ops = [op for op in ops if op[2] > 0]
        if at < size:
            ops.append(("C", at, size - at))
        hidden = k < 600 or k % 40
        t = v.revision(secret if hidden else ledger, s, ops)
        if k < 600 and k % 100 == 99:
            v.revision(ledger, t, [("C", 1000, 200000), ("I", b"closed", 6), ("C", 0, 99000)])
        s = t
    check(v.raw())
