import random
import struct
import sys
import zlib


def v(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


class Vault:
    def __init__(self):
        self.records, self.chain, self.names, self.revisions = b"", 0, 0, 0

    def record(self, kind, body):
        crc = zlib.crc32(kind + body)
        hash = 0xcbf29ce484222325
        for b in struct.pack("<QI", self.chain, crc):
            hash = (hash ^ b) * 0x100000001b3 & (1 << 64) - 1
        self.chain = hash
        self.records += struct.pack("<I", len(body)) + kind + body + struct.pack("<IQ", crc, hash)

    def name(self, text):
        self.record(b"N", text.encode())
        self.names += 1
        return self.names - 1

    def full(self, name, content, flags=0):
        self.record(b"F", bytes([flags]) + v(name) + v(1700000000 + self.revisions) + content)
        self.revisions += 1
        return self.revisions - 1

    def delta(self, name, base, *ops, flags=0):
        length, out = 0, b""
        for op in ops:
            if isinstance(op, bytes):
                out, length = out + b"I" + v(len(op)) + op, length + len(op)
            else:
                out, length = out + op[0].encode() + v(op[1]) + v(op[2]), length + op[2]
        self.record(b"D", bytes([flags]) + v(name) + v(1700000000 + self.revisions) + v(self.revisions - base) + v(length) + out)
        self.revisions += 1
        return self.revisions - 1

    def tag(self, label, *which):
        self.record(b"T", v(len(label)) + label.encode() + v(len(which)) + b"".join(map(v, which)))

    def write(self, path, tail=b""):
        with open(path, "wb") as f:
            f.write(b"RVAULT1\n" + struct.pack("<QQ", 24 + len(self.records), self.chain) + self.records + tail)


folder, rng = sys.argv[1], random.Random(5)
words = "the board site plan cost of repair roof beam east wing budget until spring not yet agreed with owner".split()


def text(n):
    return " ".join(rng.choice(words) for _ in range(n)).encode() + b"\n"


a = Vault()
board, jane = a.name("minutes/board.txt"), a.name("personnel/jane.txt")
b0 = a.full(board, text(60))
j0 = a.full(jane, b"Jane, born 1971, room 12\n" + text(30))
b1 = a.delta(board, b0, ("C", 0, 80), b"Agreed on 4 May. ", ("C", 80, 120))
j1 = a.delta(jane, j0, ("C", 0, 25), b"Salary band 7\n", ("C", 25, 90), flags=1)
a.tag("spring", b1, j1)
plan = a.name("plan/site-2")
p0 = a.delta(plan, b1, b"PLAN\n", ("S", 0, 20), ("C", 60, 100))
j2 = a.delta(a.name("personnel/jane.txt"), j1, ("C", 0, 39), b"Left in June\n")
p1 = a.delta(plan, j2, b"Contact: ", ("C", 0, 4), b"\n", ("S", 0, 9))
a.tag("summer", b1, p0, j2)
a.write(f"{folder}/office.rv", tail=text(9))

f = Vault()
form = f.name("templates/contract")
clause = b"Clause 7. " + text(12)
old = f.full(form, rng.randbytes(3000).hex().encode())
new = f.delta(form, old, ("C", 0, 2000), clause, ("C", 2000, 4000))
for i in range(20):
    on, size = rng.choice([(old, 6000), (new, 6000 + len(clause))])
    cut = rng.randrange(500, 5000)
    f.delta(f.name(f"contracts/{i}"), on, ("C", 0, cut), b"Party: " + text(8), ("C", cut, size - cut))
f.write(f"{folder}/contracts.rv")

d = Vault()
disk, work = d.name("images/base"), d.name("images/work")
e = d.full(d.name("images/empty"), rng.randbytes(512))
i0 = d.delta(disk, e, ("C", 0, 512), b"\0", ("S", 512, 4 << 20), rng.randbytes(300), ("S", 600, 1 << 20))
i1 = d.delta(disk, i0, ("C", 0, 1 << 20), rng.randbytes(200), ("C", 1 << 20, 4 << 20))
d.delta(work, i1, ("C", 0, 3 << 20), b"work", ("C", 1 << 20, 3 << 20))
d.write(f"{folder}/images.rv")
