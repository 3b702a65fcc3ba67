"""Incidents made here, from fixed seeds, so that the truth is known; restore.py is started on each and its report and its database compared with it."""
import json
import random
import sqlite3
import struct
import subprocess
import tempfile
from pathlib import Path

LOST = None


def history(rng, size, count, rows):
    """The images of a database after each of `count` transactions."""
    images = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "h.db")
        c = sqlite3.connect(path, isolation_level=None)
        c.executescript(f"pragma page_size={size}; pragma auto_vacuum=full; pragma journal_mode=memory; pragma synchronous=off;"
                        "create table t(k integer primary key, who text, v blob); create index i on t(who)")
        while len(images) < count:
            c.execute("begin")
            held = [k for k, in c.execute("select k from t")]
            if len(held) > rows + 16 and rng.random() < .35:
                c.executemany("delete from t where k = ?", [(k,) for k in held if rng.random() < .6])
            for _ in range(rng.randrange(1, 3) if images else rows):
                c.execute("insert into t(who, v) values(?, ?)", (rng.randbytes(6).hex(), rng.randbytes(rng.randrange(size))))
            if held and rng.random() < .4:
                c.execute("update t set v = ? where k = ?", (rng.randbytes(size // 3), rng.choice(held)))
            c.execute("commit")
            image = bytearray(path.read_bytes())
            image[18:20] = b"\2\2"                                      # as in WAL mode,
            image[24:28] = image[92:96] = b"\0\0\0\7"                   # where a commit need not write page 1
            if not images or image != images[-1]:
                images.append(bytes(image))
        c.close()
    return images


def frames_of(images, size):
    """(page number, size at a commit, page) of the transactions between the images."""
    out = []
    for before, after in zip(images, images[1:]):
        pages = range(1, len(after) // size + 1)
        changed = [n for n in pages if before[(n - 1) * size:n * size] != after[(n - 1) * size:n * size]] or [1]
        out += [(n, len(pages) if n == changed[-1] else 0, after[(n - 1) * size:n * size]) for n in changed]
    return out


def checksum(data, order, s0, s1):
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for i in range(0, len(words), 2):
        s0 = (s0 + words[i] + s1) % 2 ** 32
        s1 = (s1 + words[i + 1] + s0) % 2 ** 32
    return s0, s1


def log_of(frames, size, salts, big, torn=()):
    order = ">" if big else "<"
    head = struct.pack(">6I", 0x377f0683 if big else 0x377f0682, 3007000, size, 5, *salts)
    sums = checksum(head, order, 0, 0)
    out = head + struct.pack(">2I", *sums)
    for n, pages, page in frames:
        start = struct.pack(">2I", n, pages)
        sums = checksum(start + page, order, *sums)
        out += start + struct.pack(">4I", *salts, *sums) + page
    for n, pages, page in torn:
        out += struct.pack(">6I", n, pages, *salts, sums[0] ^ 5, sums[1]) + page
    return out


class Incident:
    """older, earlier, live: transactions in the logs; loose: frames behind the last commit, by log; torn: frames behind the live log whose checksum is wrong."""

    def __init__(self, seed, size=1024, big=False, older=0, earlier=0, live=10, loose=(0, 0, 0), torn=0, rows=14):
        self.rng, self.size = random.Random(seed), size
        rng = self.rng
        images = history(rng, size, 1 + older + earlier + live, rows)
        self.images = images[older + earlier:]
        self.db = self.images[0]
        self.wal, logs, at = bytearray(), [], 0
        salt = rng.randrange(1 << 32)
        for count, extra in zip((older, earlier, live), loose):
            frames = frames_of(images[at:at + count + 1], size)
            at += count
            self.commits = len(frames)
            spare = sorted({n for n, _, _ in frames})
            frames += [(rng.choice(spare), 0, rng.randbytes(size)) for _ in range(extra)]
            logs.append(frames)
            last = count == live and at == older + earlier + live
            broken = [(rng.randrange(1, 9), k % 2 * 9, rng.randbytes(size)) for k in range(torn if last else 0)]
            if frames:
                raw = log_of(frames, size, (salt % 2 ** 32, rng.randrange(1 << 32)), big, broken)
                self.wal[:len(raw)] = raw
            salt += 1
        self.live, self.earlier = logs[2], logs[1]
        self.first = len(self.live) + torn + 1          # of the frames that the earlier log left behind
        self.bad, self.bad_main = [], set()
        self.bad_pages, self.bad_headers, self.sums = set(), set(), set()

    def at(self, k):
        return 32 + (k - 1) * (24 + self.size)

    def lose(self, file, start, length):
        self.bad.append((file, start, length))

    def page(self, k, whole=False):
        a = 0 if whole else self.rng.randrange(self.size)
        self.lose("app.db-wal", self.at(k) + 24 + a, self.size if whole else self.rng.randrange(1, self.size - a + 1))
        self.bad_pages.add(k)

    def header(self, k):
        self.lose("app.db-wal", self.at(k), 24)
        self.bad_headers.add(k)

    def frame(self, k):
        self.lose("app.db-wal", self.at(k), 24 + self.size)
        self.bad_headers.add(k)
        self.bad_pages.add(k)

    def salts(self, k):
        """What tells of the frame can be read all the same."""
        self.lose("app.db-wal", self.at(k) + 8, 8)

    def all_but_sum(self, k):
        self.lose("app.db-wal", self.at(k), 16)
        self.page(k, whole=True)
        self.bad_headers.add(k)
        self.sums.add(k)

    def main(self, n):
        a = self.rng.randrange(self.size)
        self.lose("app.db", (n - 1) * self.size + a, self.rng.randrange(1, self.size - a + 1))
        self.bad_main.add(n)

    def pages(self, log, first):
        """Whose page each frame from `first` on is, as far as it can be known: (number, at a commit the size, page or LOST), or LOST."""
        for k, (n, count, page) in enumerate(log[first - 1:], first):
            if k in self.bad_headers:
                solved = k not in self.bad_pages and k < len(log) and not {k + 1} & (self.bad_pages | self.bad_headers)
                if not solved or (k - 1 in self.bad_headers - self.sums):
                    yield k, LOST
                    continue
            yield k, (n, count, LOST if k in self.bad_pages else page)

    def left_behind(self):
        """The pages of the main file that the earlier log proves."""
        proved, pending = {}, {}
        for k, frame in self.pages(self.earlier, self.first):
            if frame is LOST:
                proved, pending = {}, {}
                continue
            pending[frame[0]] = frame[2]
            if frame[1]:
                proved.update(pending)
                pending = {}
        return {n: page for n, page in proved.items() if page is not LOST}

    def expected(self):
        size, proved = self.size, self.left_behind()
        held = {}
        for n in range(1, len(self.db) // size + 1):
            page = self.db[(n - 1) * size:n * size]
            assert proved.get(n, page) == page, "the incident itself is wrong"
            held[n] = proved.get(n, LOST) if n in self.bad_main else page
        report, best, images = [], None, iter(self.images)

        def commit(k, pages, image):
            nonlocal best
            lost = [n for n in range(1, pages + 1) if held.get(n) is LOST]
            report.append({"frame": k, "pages": pages, "lost": lost})
            if not lost:
                best = k, image
                assert b"".join(held[n] for n in range(1, pages + 1)) == image, "the incident itself is wrong"

        commit(0, len(self.db) // size, next(images))
        for (k, frame), (_, ends, _) in zip(self.pages(self.live, 1), self.live):
            image = next(images) if ends else None
            if frame is LOST:
                held.clear()
                continue
            held[frame[0]] = frame[2]
            if frame[1]:
                commit(k, frame[1], image)
        return report, best

    def check(self):
        report, best = self.expected()
        with tempfile.TemporaryDirectory() as folder:
            here, out = Path(folder, "copied"), Path(folder, "out.db")
            here.mkdir()
            for name, data in (("app.db", bytearray(self.db)), ("app.db-wal", bytearray(self.wal))):
                for file, start, length in self.bad:
                    if file == name:
                        data[start:start + length] = bytes(length)
                (here / name).write_bytes(data)
            self.rng.shuffle(self.bad)
            (here / "bad.txt").write_text("".join("%s %d %d\n" % one for one in self.bad))
            try:
                done = subprocess.run(["python3", "/app/restore.py", str(here), str(out)], capture_output=True, text=True, timeout=20)
            except subprocess.TimeoutExpired:
                assert False, "restore.py takes more than 20 seconds"
            assert done.returncode == (0 if best else 1), f"exit code {done.returncode}: {done.stderr[-500:]}"
            try:
                said = json.loads(done.stdout)
            except ValueError:
                assert False, f"no JSON: {done.stdout[:300]}"
            assert isinstance(said, dict) and [c["frame"] for c in said["commits"]] == [c["frame"] for c in report], "the commits of the live log"
            for a, b in zip(said["commits"], report):
                assert a == b, "a state in the report"
            assert said["restored"] == (best[0] if best else None), "the restored state"
            if best:
                assert out.read_bytes() == best[1], "the restored database"
                with sqlite3.connect(f"file:{out}?immutable=1", uri=True) as c:
                    assert c.execute("pragma integrity_check").fetchall() == [("ok",)]
                c.close()
            else:
                assert not out.exists(), "there is nothing to restore"
        return report, best


def test_pages_lost_and_written_again():
    for seed, size, big, loose, torn in ((1, 1024, False, 0, 0), (2, 512, True, 3, 0), (3, 4096, False, 0, 2), (4, 1024, True, 2, 1), (5, 512, False, 0, 0)):
        one = Incident(seed, size, big, live=14, loose=(0, 0, loose), torn=torn)
        for k in sorted(one.rng.sample(range(1, one.commits), 5)):
            one.page(k, whole=k % 2 == 0)
        if seed == 5:                   # the newest commits are lost: an older state is the newest whole one
            one.page(one.commits)
        report, best = one.check()
        assert best and any(c["lost"] for c in report)
    sizes = [c["pages"] for c in report]
    assert sizes != sorted(sizes), "the incident itself is wrong: it never shrinks"


def test_headers_that_cannot_be_read():
    for seed, big in ((21, False), (22, True)):
        one = Incident(seed, 1024, big, live=14, loose=(0, 0, 2))
        ends = [k for k, frame in enumerate(one.live, 1) if frame[1]]
        one.header(1)
        for k in (ends[3], ends[6], ends[9]):
            one.header(k)
        one.header(ends[12] - 2 if ends[12] - 2 not in ends else ends[12])
        assert one.check()[1], "all of these can be known"
    for seed, big in ((23, False), (24, True)):
        one = Incident(seed, 512, big, live=16)
        ends = [k for k, frame in enumerate(one.live, 1) if frame[1]]
        one.all_but_sum(ends[2] - 1)
        one.header(ends[2])
        one.header(ends[5])             # beside a page that cannot be read: not to be known
        one.page(ends[5] + 1)
        one.page(ends[8])               # before it a lost page: the checksum is there all the same
        one.header(ends[8] + 1)
        one.check()
    for seed, torn, older in ((26, 0, 0), (27, 1, 0), (28, 0, 9)):      # of a newest transaction the salts alone
        one = Incident(seed, 512, seed == 27, older=older, live=5, torn=torn)
        one.salts(one.commits)
        assert one.check()[1][0] == one.commits
    one = Incident(25, 1024, True, live=16)
    ends = [k for k, frame in enumerate(one.live, 1) if frame[1]]
    one.frame(ends[1])
    one.frame(ends[1] + 1)
    one.header(ends[7])
    one.check()


def test_the_main_file_and_what_older_logs_left():
    healed = hurt = 0
    for seed, size, loose in ((41, 1024, (0, 0, 0)), (42, 512, (0, 2, 0)), (43, 1024, (2, 1, 1)), (44, 512, (0, 0, 0)), (45, 1024, (0, 3, 0)), (46, 512, (0, 0, 0)), (47, 1024, (0, 0, 0))):
        earlier, live = (11, 3) if seed < 47 else (1, 6)        # at last only a still older log is left
        one = Incident(seed, size, seed % 2 == 0, older=18, earlier=earlier, live=live, loose=loose, torn=seed % 3, rows=50)
        ends = [k for k, frame in enumerate(one.earlier, 1) if frame[1] and k > one.first + 3]
        if seed == 44:                  # a frame that may hold any page; what comes after it proves
            one.frame(ends[1] + 1)
        if seed == 45:                  # the last version of a page is lost, an earlier one is there
            where = {}
            for k in range(one.first + 2, min(max(ends), len(one.earlier) - 4) + 1):
                where.setdefault(one.earlier[k - 1][0], []).append(k)
            twice = [(n, found[-1]) for n, found in sorted(where.items()) if len(found) > 1 and n <= len(one.db) // size
                     and not any(f[0] == n for f in one.earlier[found[-1]:max(ends)])]
            assert len(twice) > 2, "the incident itself is wrong"
            for n, k in twice[:5]:
                one.page(k)
                one.main(n)
        if seed == 46:                  # these are known by their checksums
            one.header(ends[2])
            one.header(ends[4])
        pages = range(1, len(one.db) // size + 1)
        for n in pages:
            if n == 1 or seed != 41 and one.rng.random() < .6 or seed == 41 and n in one.left_behind():
                one.main(n)
        if seed == 41:
            one.salts(len(one.earlier))
        if seed == 43:                  # uncommitted versions of these lie behind
            for n in {frame[0] for frame in one.earlier[-1:]} - one.bad_main:
                one.main(n)
        assert len(one.earlier) > one.first + 6 or seed == 47 and len(one.earlier) < one.first < len(one.wal) // (24 + size), "the incident itself is wrong"
        report, best = one.check()
        proved = set(one.left_behind())
        healed += len(proved & one.bad_main)
        hurt += len(report[0]["lost"])
    assert healed > 20 and hurt > 20, "the incidents themselves are wrong"


def test_everything_together():
    for seed in range(61, 65):
        size = (512, 1024)[seed % 2]
        one = Incident(seed, size, seed % 3 == 0, older=36, earlier=26, live=16, loose=(1, seed % 2, seed % 3), torn=seed % 2, rows=30)
        count, rng = len(one.live), one.rng
        safe = set(range(2, one.commits - 3)) | set(range(one.first + 2, len(one.earlier) - 6))
        for k in sorted(rng.sample(sorted(safe), 8)):
            if not {k - 1, k + 1} & one.bad_headers:
                one.header(k)
        for k in rng.sample(sorted(safe), 8):
            one.page(k)
        if seed % 2:
            k = rng.choice([k for k in range(count // 3, count // 2) if not {k - 1, k, k + 1} & one.bad_headers])
            one.frame(k)
        for n in range(1, len(one.db) // size + 1):
            if rng.random() < .3:
                one.main(n)
        one.check()
    one = Incident(70, 1024, live=3)
    for n in range(1, len(one.db) // 1024 + 1):
        one.main(n)
    one.frame(2)
    assert one.check()[1] is None
