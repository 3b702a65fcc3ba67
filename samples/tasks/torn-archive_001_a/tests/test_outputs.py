"""Incidents made here, other ones at each run, so that the truth is known; restore.py is started on each and its report and its database compared with it."""
import ctypes
import json
import os
import random
import resource
import sqlite3
import struct
import subprocess
import tempfile
import time
from pathlib import Path

LOST = None


class Unfit(Exception):
    """What was made by chance does not show what it is meant to show: another is made."""


def fresh(make):
    """The first incident that is fit."""
    for _ in range(200):
        try:
            return make()
        except Unfit:
            pass
    raise AssertionError("no such incident")


def fit(good):
    if not good:
        raise Unfit


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

    def __init__(self, size=1024, big=False, older=0, earlier=0, live=10, loose=(0, 0, 0), torn=0, rows=14, salt=None):
        self.rng, self.size = random.Random(), size
        rng = self.rng
        images = history(rng, size, 1 + older + earlier + live, rows)
        self.images = images[older + earlier:]
        self.db = self.images[0]
        self.wal, logs, at = bytearray(), [], 0
        salt = rng.randrange(1 << 32) if salt is None else salt
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
        assert n * self.size <= len(self.db)
        a = self.rng.randrange(self.size)
        self.lose("app.db", (n - 1) * self.size + a, self.rng.randrange(1, self.size - a + 1))
        self.bad_main.add(n)

    def over(self, n):
        """From the last bytes of a page of the main file to the first of the next but one."""
        self.lose("app.db", n * self.size - 3, self.size + 5)
        self.bad_main |= {n, n + 1, n + 2}

    def up_to(self, n):
        """The end of a page of the main file, not the next page."""
        self.lose("app.db", n * self.size - 1, 1)
        self.bad_main.add(n)

    def over_frames(self, k):
        """From the last bytes of a frame over the whole header of the next, not into its page."""
        self.lose("app.db-wal", self.at(k + 1) - 2, 26)
        self.bad_pages.add(k)
        self.bad_headers.add(k + 1)

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
            named = list(self.bad)
            for file, start, length in self.rng.sample(self.bad, len(self.bad) // 3):   # some twice, the second time a part
                cut = self.rng.randrange(length)
                named.append((file, start + cut, length - cut))
            self.rng.shuffle(named)
            (here / "bad.txt").write_text("".join("%s %d %d\n" % one for one in named))
            ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)     # orphans become children of this process
            before = processor()
            try:
                done = subprocess.run(["python3", "/app/restore.py", str(here), str(out)], capture_output=True, text=True, timeout=90)
            except subprocess.TimeoutExpired:
                assert False, "restore.py does not end"
            assert all_ended() and processor() - before < 20, "restore.py takes more than 20 seconds"
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
    for turn, (size, big, loose, torn) in enumerate(((1024, False, 0, 0), (512, True, 3, 0), (4096, False, 0, 2), (1024, True, 2, 1), (512, False, 0, 0))):
        def make():
            one = Incident(size, big, live=14, loose=(0, 0, loose), torn=torn)
            for k in sorted(one.rng.sample(range(1, one.commits), 5)):
                one.page(k, whole=k % 2 == 0)
            if turn == 4:               # the newest commits are lost: an older state is the newest whole one
                one.page(one.commits)
            report, best = one.expected()
            sizes = [c["pages"] for c in report]
            fit(best and any(c["lost"] for c in report) and (turn < 4 or sizes != sorted(sizes)))
            return one

        fresh(make).check()


def test_ranges_that_end_in_another_page():
    def make(size, ends_at_border):
        one = Incident(size, size == 512, live=14, rows=40)
        later = {n for n, _, _ in one.live}
        count = len(one.db) // size
        places = [n for n in range(2, count - 2) if not later & {n, n + 1, n + 2}]
        fit(places)
        (one.up_to if ends_at_border else one.over)(one.rng.choice(places))
        ends = [k for k, frame in enumerate(one.live, 1) if frame[1]]
        k = one.rng.choice(ends[3:9])
        fit(k + 2 not in ends)
        one.over_frames(k)
        report, _ = one.expected()
        fit(any(c["lost"] for c in report[1:]))
        return one

    for size in (512, 1024):
        for ends_at_border in (False, True):
            fresh(lambda: make(size, ends_at_border)).check()


def test_headers_that_cannot_be_read():
    def solvable(big):
        one = Incident(1024, big, live=14, loose=(0, 0, 2))
        ends = [k for k, frame in enumerate(one.live, 1) if frame[1]]
        one.header(1)
        for k in (ends[3], ends[6], ends[9]):
            one.header(k)
        one.header(ends[12] - 2 if ends[12] - 2 not in ends else ends[12])
        fit(not any({k, k + 1} <= one.bad_headers for k in one.bad_headers))
        return one

    def neighbours(big):
        one = Incident(512, big, live=16)
        ends = [k for k, frame in enumerate(one.live, 1) if frame[1]]
        fit(ends[1] < ends[2] - 1 and ends[5] + 1 < ends[8])
        one.all_but_sum(ends[2] - 1)
        one.header(ends[2])
        one.header(ends[5])             # beside a page that cannot be read: not to be known
        one.page(ends[5] + 1)
        one.page(ends[8])               # before it a lost page: the checksum is there all the same
        one.header(ends[8] + 1)
        return one

    def two(big):
        one = Incident(1024, big, live=16)
        ends = [k for k, frame in enumerate(one.live, 1) if frame[1]]
        one.frame(ends[1])
        one.frame(ends[1] + 1)
        one.header(ends[7])
        return one

    for big in (False, True):
        assert fresh(lambda: solvable(big)).check()[1], "all of these can be known"
        fresh(lambda: neighbours(big)).check()
    fresh(lambda: two(True)).check()
    for torn, older in ((0, 0), (1, 0), (0, 9)):        # of a newest transaction the salts alone
        one = Incident(512, torn == 1, older=older, live=5, torn=torn)
        one.salts(one.commits)
        assert one.check()[1][0] == one.commits


def old_logs(turn):
    """An incident in which the main file is damaged and older logs have left something, of ten kinds."""
    size = 512 if turn % 2 else 1024
    loose = ((0, 0, 0), (0, 2, 0), (2, 1, 1), (0, 0, 0), (0, 3, 0), (0, 0, 0), (0, 0, 0), (0, 8, 0), (0, 8, 0), (0, 3, 0))[turn]
    earlier, live = (1, 6) if turn == 6 else (11, 3)           # in kind 6 only a still older log is left
    one = Incident(size, turn % 2 == 1, older=18, earlier=earlier, live=live, loose=loose, torn=turn % 3, rows=50,
                   salt=(1 << 32) - 2 if turn in (1, 5) else None)     # salt 1 of the live log is 0
    count = len(one.earlier)
    fit(count > one.first + 6 if turn != 6 else count < one.first < len(one.wal) // (24 + size))
    ends = [k for k, frame in enumerate(one.earlier, 1) if frame[1] and k > one.first + 3]
    pages = range(1, len(one.db) // size + 1)
    if turn >= 7:
        proved = set(one.left_behind()) & set(pages)
        later = {n for n, _, _ in one.earlier[-loose[1]:]} & set(pages)
        kept = later - {n for n, _, _ in one.live}
        if turn == 7:                   # later, uncommitted versions lie behind: they are not it
            fit(proved & kept)
            chosen = proved & later
        elif turn == 8:                 # what was never committed proves nothing
            fit(later - proved and proved & kept)
            chosen = later
        else:                           # what lies behind the last commit may have been one
            fit(len(proved) > 3)
            chosen = proved
            one.frame(count - 1)
        for n in sorted(chosen):
            one.main(n)
        return one
    if turn == 3:                       # a frame that may hold any page; what comes after it proves
        fit(len(ends) > 2)
        one.frame(ends[1] + 1)
    if turn == 4:                       # the last version of a page is lost, an earlier one is there
        fit(ends)
        where = {}
        for k in range(one.first + 2, min(max(ends), count - 4) + 1):
            where.setdefault(one.earlier[k - 1][0], []).append(k)
        twice = [(n, found[-1]) for n, found in sorted(where.items()) if len(found) > 1 and n in pages
                 and not any(f[0] == n for f in one.earlier[found[-1]:max(ends)])]
        fit(len(twice) > 2)
        for n, k in twice[:5]:
            one.page(k)
            one.main(n)
    if turn == 5:                       # these are known by their checksums
        fit(len(ends) > 5 and ends[2] + 1 < ends[4] < count)
        one.header(ends[2])
        one.header(ends[4])
    for n in pages:
        if n == 1 or turn and one.rng.random() < .6 or not turn and n in one.left_behind():
            one.main(n)
    if turn == 0:
        one.salts(count)
    if turn == 2:                       # uncommitted versions of these lie behind
        for n in {frame[0] for frame in one.earlier[-1:] if frame[0] in pages} - one.bad_main:
            one.main(n)
    found = len(set(one.left_behind()) & one.bad_main)
    fit(found > 2 if turn != 6 else not found)
    return one


def test_the_main_file_and_what_older_logs_left():
    for turn in range(10):
        fresh(lambda: old_logs(turn)).check()


def mixture(turn):
    size = (512, 1024)[turn % 2]
    one = Incident(size, turn % 3 == 0, older=36, earlier=26, live=16, loose=(1, turn % 2, turn % 3), torn=turn % 2, rows=30)
    count, rng = len(one.live), one.rng
    safe = set(range(2, one.commits - 3)) | set(range(one.first + 2, len(one.earlier) - 6))
    fit(len(safe) > 40)
    for k in sorted(rng.sample(sorted(safe), 8)):
        if not {k - 1, k + 1} & one.bad_headers:
            one.header(k)
    for k in rng.sample(sorted(safe), 8):
        one.page(k)
    if turn % 2:
        k = rng.choice([k for k in range(count // 3, count // 2) if not {k - 1, k, k + 1} & one.bad_headers])
        one.frame(k)
    for n in range(1, len(one.db) // size + 1):
        if rng.random() < .3:
            one.main(n)
    return one


def test_everything_together():
    for turn in range(1, 5):
        fresh(lambda: mixture(turn)).check()
    one = Incident(1024, live=3)
    for n in range(1, len(one.db) // 1024 + 1):
        one.main(n)
    one.frame(2)
    assert one.check()[1] is None
    one = Incident(4096, True, live=120, loose=(0, 0, 5), rows=60)
    for k in one.rng.sample(range(3, one.commits - 3), 12):
        one.page(k)
    one.check()
