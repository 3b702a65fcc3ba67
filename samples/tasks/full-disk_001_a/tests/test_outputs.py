import ctypes
import fcntl
import hashlib
import os
import random
import shutil
import stat
import struct
import subprocess
import tempfile

PROGRAM = "/app/reclaim"
MANY = 1 << 50


def reclaim(root, need, *more, status=0):
    assert os.access(PROGRAM, os.X_OK), "there is no program"
    done = subprocess.run([PROGRAM, str(root), str(need), *more], timeout=60, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors="surrogateescape", cwd="/")
    assert done.returncode == status, (done.returncode, done.stdout[-500:], done.stderr[-500:])
    if status:
        assert done.stdout == "" and done.stderr.strip(), (done.stdout, done.stderr)
    return done.stdout


class Place:
    """A folder for a test, with ROOT and something outside of it."""

    def __init__(self, within=None):
        self.folder = tempfile.TemporaryDirectory(dir=within, ignore_cleanup_errors=True)
        self.root = os.path.join(self.folder.name, "backups")
        os.mkdir(self.root)
        self.numbers = random.Random(17)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for inner, _, _ in os.walk(self.folder.name):
            os.chmod(inner, 0o755)
        self.folder.cleanup()

    def path(self, name):
        where = os.path.join(os.fsencode(self.root), os.fsencode(name))
        os.makedirs(os.path.dirname(where), exist_ok=True)
        return where

    def file(self, first, kib, *links):
        where = self.path(first)
        with open(where, "wb") as out:
            if kib:
                os.posix_fallocate(out.fileno(), 0, kib * 1024)
            out.write(self.numbers.randbytes(kib * 1024))
        for link in links:
            os.link(where, self.path(link))
        return where

    def conf(self, text):
        with open(self.path("reclaim.conf"), "w") as out:
            out.write(text)

    def state(self):
        """All that there is below the folder, as far as a user can tell."""
        found = {}
        start = os.fsencode(self.folder.name)
        for inner, folders, files in os.walk(start):
            for name in folders + files:
                where = os.path.join(inner, name)
                status = os.lstat(where)
                what = status.st_mode
                if stat.S_ISLNK(what):
                    what = what, os.readlink(where)
                elif stat.S_ISREG(what):
                    with open(where, "rb") as data:
                        what = what, status.st_ino, hashlib.sha1(data.read()).hexdigest()
                found[os.path.relpath(where, start)] = what
        return found


def space(*paths):
    return sum(os.lstat(path).st_blocks * 512 for path in paths)


def plan(*lines):
    """The output for (name, bytes) pairs."""
    return "".join(f"{name} {size}\n" for name, size in lines) + f"total {sum(size for _, size in lines)}\n"


def names(output):
    return [line.split()[0] for line in output.splitlines()[:-1]]


def test_what_each_removal_frees():
    with Place() as place:
        place.conf("keep_last = 1\nkeep_monthly = 0\n")
        day = "2024-01-0{}".format
        a = place.file(day(1) + "/a", 100)
        b = place.file(day(1) + "/deep/er/b", 300, day(2) + "/b")
        c = place.file(day(2) + "/c", 500, day(2) + "/once more/c2")
        place.file(day(3) + "/d", 700, "current/d")
        place.file(day(3) + "/e", 900, "../elsewhere/e")
        f = place.path(day(3) + "/f")
        with open(f, "wb") as out:
            out.truncate(20 << 20)
            os.posix_fallocate(out.fileno(), 0, 64 * 1024)
            out.write(place.numbers.randbytes(64 * 1024))
        g = place.file(day(4) + "/g", 1100, day(5) + "/g")
        h = place.file(day(4) + "/h", 1300, day(4) + "/h that goes")
        k = place.file(day(4) + "/k as it was", 2100)
        i = place.file(day(2) + "/i", 1500, day(3) + "/i", day(5) + "/i")
        place.file(day(5) + "/j", 1700, day(6) + "/j")
        place.file(day(5) + "/nothing", 0)
        big = place.file("../elsewhere/big", 1900)
        os.symlink(big, place.path(day(1) + "/link"))
        os.symlink(os.path.dirname(big), place.path(day(4) + "/folder"))
        assert space(f) < 1 << 20, "a file system without holes"
        os.link(g, place.path("../elsewhere/g that goes"))

        sizes = [(day(1), space(a)), (day(2), space(b, c)), (day(3), space(f)), (day(5), space(i))]
        # held by another program alone, and under names that have gone or changed since, outside of ROOT and in it
        gone = [place.path("../elsewhere/g that goes"), place.path(day(4) + "/h that goes")]
        with open(gone[0], "rb") as one, open(gone[1], "rb") as two, open(k, "rb") as three:
            # as the first descriptor, as one of the next, and as a high one
            high = fcntl.fcntl(three.fileno(), fcntl.F_DUPFD, 400)
            holder = subprocess.Popen(["sleep", "120"], stdin=one, pass_fds=[two.fileno(), high])
            os.close(high)
        for path in gone:
            os.unlink(path)
        os.rename(k, place.path(day(4) + "/inner/k"))
        k = place.path(day(4) + "/inner/k")
        before = place.state()
        try:
            everything = sum(size for _, size in sizes)
            assert reclaim(place.root, everything) == plan(*sizes)
            reclaim(place.root, everything + 1, status=3)
            assert reclaim(place.root, space(a)) == plan((day(1), space(a)))
            # with the second one the first is of no use any more
            assert reclaim(place.root, space(a) + 1) == plan((day(2), space(c)))
            assert reclaim(place.root, space(a, c)) == plan((day(1), space(a)), (day(2), space(b, c)))
            # four never frees anything, five only together with two and three
            assert reclaim(place.root, space(a, b, c, f) + 1) == plan(
                (day(2), space(c)), (day(3), space(f)), (day(5), space(i)))
        finally:
            holder.kill()
            holder.wait()
        sizes[3:] = [(day(4), space(h, k)), (day(5), space(g, i))]
        assert reclaim(place.root, sum(size for _, size in sizes)) == plan(*sizes)
        assert place.state() == before
    # a program that runs is mapped, but nobody holds it as a descriptor
    with Place() as place:
        place.conf("keep_last = 1\nkeep_monthly = 0\n")
        tool = place.path(day(1) + "/sleep")
        shutil.copy("/bin/sleep", tool)
        place.file(day(2) + "/newest", 4)
        runs = subprocess.Popen([tool, "120"], stdin=subprocess.DEVNULL)
        try:
            assert reclaim(place.root, 1) == plan((day(1), space(tool)))
        finally:
            runs.kill()
            runs.wait()
    # what is open in another file system may have the inode number of a file here
    if os.access("/dev/shm", os.W_OK):
        with Place("/dev/shm") as place, open("/dev/zero") as one, open("/dev/full", "w") as two, open("/dev/urandom", "w") as three:
            place.conf("keep_last = 1\nkeep_monthly = 0\n")
            files = [place.file(f"{day(1)}/{number}", 4) for number in range(40)]
            place.file(day(2) + "/newest", 4)
            holder = subprocess.Popen(["sleep", "120"], stdin=one, stdout=two, stderr=three)
            try:
                assert reclaim(place.root, 1) == plan((day(1), space(*files)))
            finally:
                holder.kill()
                holder.wait()


def test_what_may_go_and_the_choice():
    dates = ["2022-11-30", "2022-12-31", "2023-05-07", "2023-05-28", "2023-11-02", "2024-01-31", "2024-02-01", "2024-02-29",
             "2024-03-10", "2024-03-17", "2024-03-24", "2024-03-31"]
    others = ["2024-1-5", "2024-02-30", "2023-02-29", "2024-13-01", "2024-00-10", "2024-04-00", "20240105", "2024-W01-1",
              "2024-01-05.old", ".2024-01-05", "x2024-01-05", "2024-01-05 ", "2024_01_05", ".removing-2024-02-30",
              ".removing-2024-1-5", ".removing-", ".removing-current", "removing-2024-01-05", "2024-01-5 ",
              "2024-05-02\n", ".removing-2024-05-02\n", "\uff12\uff10\uff12\uff14-01-05", "2024-01-0\u0665",
              ".removing-2024-01-0\u0665"]
    with Place() as place:
        files = {date: place.file(date + "/own", 16) for date in dates}
        for name in others:
            place.file(name + "/own", 64)
        place.file("2024-01-06", 64)
        place.file(".removing-2024-01-06", 64)
        place.file("../far/2024-01-07/own", 64)
        os.symlink("../far/2024-01-07", place.path("2024-01-07"))
        os.symlink("../far/2024-01-07", place.path(".removing-2024-01-07"))
        own = {date: space(file) for date, file in files.items()}

        def goes(conf, *wanted):
            if conf is not None:
                place.conf(conf)
            need = sum(own[date] for date in wanted)
            assert names(reclaim(place.root, need)) == list(wanted), conf
            if conf is None or not wanted:
                reclaim(place.root, need + 1, status=3)

        goes(None, "2022-11-30", "2023-05-07", "2024-02-01", "2024-03-10")
        goes("keep_last = 0\nkeep_monthly = 0\n", *dates)
        goes("# few\n\nkeep_last = 1\n\nkeep_monthly=3\n#keep_last = 9\n", *dates[:5], *dates[6:7], *dates[8:-1])
        goes("keep_last = 5\nkeep_monthly = 2\n", *dates[:7])
        goes("keep_last = 0\nkeep_monthly = 4\npin = 2023-05-07\npin=2024-03-10\npin = 2024-01-06\npin = 2021-01-01\n",
             "2022-11-30", "2022-12-31", "2023-05-28", "2024-02-01", "2024-03-17", "2024-03-24")
        goes("keep_monthly = 0\n", *dates[:-3])
        goes("keep_last = 40\nkeep_monthly = 0\n")

    numbers = random.Random(2024)
    for _ in range(4):
        with Place() as place:
            place.conf("keep_last = 2\nkeep_monthly = 0\n")
            dates = sorted(f"2021-{numbers.randrange(1, 13):02}-{numbers.randrange(1, 29):02}" for _ in range(9))
            dates = sorted(set(dates))
            rests = [".removing-" + date for date in numbers.sample(dates, 2)] if numbers.random() < 0.5 else []
            rests.sort()
            may_go = rests + dates[:-2]
            files = []
            for number in range(26):
                if numbers.random() < 0.6:
                    first = numbers.randrange(len(dates))
                    where = dates[first:first + numbers.choice([1, 1, 2, 3, 5])]
                else:
                    where = numbers.sample(dates, numbers.randrange(1, 4))
                where += [rest for rest in rests if numbers.random() < 0.2]
                where += [".new"] if numbers.random() < 0.08 else []
                paths = [f"{name}/{number}" for name in where] + [f"{where[0]}/again-{number}"] * numbers.randrange(2)
                files.append((set(where), place.file(paths[0], 4 * numbers.randrange(1, 60), *paths[1:])))
            for date in dates:
                os.makedirs(place.path(date), exist_ok=True)
            for name in dates + rests:
                place.file(name + "/none", 0)
            files = [(where, space(path)) for where, path in files]

            def free(removed):
                return sum(size for where, size in files if where <= set(removed))

            def choice(need):
                chosen = list(rests)
                for date in dates[:-2]:
                    if free(chosen) < need:
                        chosen.append(date)
                added = len(chosen)
                for date in chosen[len(rests):][::-1]:
                    others = [name for name in chosen if name != date]
                    if free(others) >= need:
                        chosen = others
                return added - len(chosen), chosen

            # exactly what the first ones free, a little more, and those of many in which most are spared
            some = free(may_go[:numbers.randrange(1, len(may_go))])
            needs = sorted((numbers.randrange(free(may_go) + 1) for _ in range(60)), key=lambda need: choice(need)[0])[-3:]
            for need in [some, min(some + 1, free(may_go)), *needs][numbers.randrange(2):]:
                chosen = choice(need)[1]
                wanted = [(name, free(chosen[:k + 1]) - free(chosen[:k])) for k, name in enumerate(chosen)]
                assert reclaim(place.root, need) == plan(*wanted), (need, files)


class Watch:
    """The order in which names in folders change, as the kernel tells it."""

    MOVED_FROM, MOVED_TO, DELETE = 0x40, 0x80, 0x200

    def __init__(self, *folders):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = self.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.folders = {}
        for folder in folders:
            number = self.libc.inotify_add_watch(self.descriptor, folder, self.MOVED_FROM | self.MOVED_TO | self.DELETE)
            assert number >= 0, os.strerror(ctypes.get_errno())
            self.folders[number] = folder

    def events(self):
        data = b""
        while True:
            try:
                data += os.read(self.descriptor, 1 << 16)
            except BlockingIOError:
                break
        os.close(self.descriptor)
        found = []
        while data:
            number, mask, _, length = struct.unpack_from("iIII", data)
            name = data[16:16 + length].rstrip(b"\0")
            data = data[16 + length:]
            if number in self.folders:
                found.append((self.folders[number], mask & 0x2c0, name))
        return found


def test_removal():
    with Place() as place:
        place.conf("keep_last = 1\nkeep_monthly = 0\npin = 2024-05-03\n")
        rest = place.file(".removing-2024-05-02/half/left", 200, "2024-05-01/left")
        one = place.file("2024-05-01/own", 400, "2024-05-01/sub/own again")
        two = place.file("2024-05-02/own", 600, "2024-05-01/of two")
        place.file("2024-05-03/pinned", 800, "2024-05-02/pinned", "2024-05-01/sub/pinned")
        four = place.file("2024-05-04/four", 1000)
        place.file("2024-05-05/newest", 1200, "2024-05-04/newest")
        small = []
        for name in ([b"line\nbreak", b" blanks ", b"-rf", b"\xff\xfe bytes", b"quo'te\"s", b"back\\slash", b"*", b".hidden",
                      "ümläut".encode()]):
            small.append(place.file(b"2024-05-02/" + name + b"/" + name, 4))
            place.file(b"2024-05-03/" + name, 4)
        outside = place.file("../precious/thing", 64)
        place.file("other/thing", 64)
        os.symlink(os.path.dirname(outside), place.path("2024-05-01/out"))
        os.symlink(b"../other", place.path("2024-05-02/out"))
        os.symlink(outside, place.path(".removing-2024-05-02/out"))
        os.symlink(b"nowhere", place.path("2024-05-04/broken"))
        os.symlink(os.path.dirname(outside), place.path("2024-04-01"))
        os.symlink(os.path.dirname(outside), place.path(".removing-2024-04-01"))
        os.mkdir(place.path("2024-05-01/empty"))
        locked = place.file("2024-05-01/locked/inner/file", 4)
        for name in ("2024-05-01/locked/inner", "2024-05-01/locked", "2024-05-02/-rf", "2024-05-02", ".removing-2024-05-02/half"):
            os.chmod(place.path(name), 0o555)

        before = place.state()
        need = space(rest, one, two)
        output = reclaim(place.root, need)
        assert place.state() == before, "something has changed without --apply"
        assert output == plan((".removing-2024-05-02", 0), ("2024-05-01", space(rest, one, locked)),
                              ("2024-05-02", space(two, *small))), output

        inner = [place.path(name) for name in ("2024-05-01", "2024-05-01/sub", "2024-05-01/locked/inner", "2024-05-02")]
        watch = Watch(os.fsencode(place.root), *inner)
        assert reclaim(place.root, need, "--apply") == output
        events = watch.events()

        gone = (b"backups/.removing-2024-05-02", b"backups/2024-05-01", b"backups/2024-05-02")
        wanted = {path: what for path, what in before.items()
                  if path not in gone and not path.startswith(tuple(name + b"/" for name in gone))}
        after = place.state()
        assert set(after) == set(wanted), (sorted(set(after) ^ set(wanted)))
        assert after == wanted

        root = os.fsencode(place.root)
        steps = [(mask, name) for folder, mask, name in events if folder == root]
        assert steps == [(Watch.DELETE, b".removing-2024-05-02")] + [
            step for date in (b"2024-05-01", b"2024-05-02") for step in (
                (Watch.MOVED_FROM, date), (Watch.MOVED_TO, b".removing-" + date), (Watch.DELETE, b".removing-" + date))], steps
        for date, folders in ((b"2024-05-01", inner[:3]), (b"2024-05-02", inner[3:])):
            renamed = events.index((root, Watch.MOVED_FROM, date))
            assert not [event for event in events[:renamed] if event[0] in folders], f"{date} was not whole under its name"

        # what is left has changed what more can be freed
        size = space(four)
        assert reclaim(place.root, size, "--apply") == plan(("2024-05-04", size))
        assert set(place.state()) == {path for path in wanted if not (path + b"/").startswith(b"backups/2024-05-04/")}
        reclaim(place.root, 1, "--apply", status=3)


def test_out_of_reach_and_rests():
    with Place() as place:
        place.conf("keep_last = 1\nkeep_monthly = 0\n")
        rests = [place.file(".removing-2023-06-01/a", 100), place.file(".removing-2024-07-02/b", 300, ".removing-2023-06-01/b")]
        snapshots = [place.file("2023-05-01/c", 500), place.file("2023-05-02/d", 700)]
        place.file("2023-05-03/e", 900)
        shared = place.file("2023-05-01/f", 1100, ".removing-2024-07-02/f")
        before = place.state()
        everything = space(*rests, *snapshots, shared)
        for more in ([], ["--apply"]):
            reclaim(place.root, everything + 1, *more, status=3)
            reclaim(place.root, MANY, *more, status=3)
            assert place.state() == before
        first = (".removing-2023-06-01", space(rests[0])), (".removing-2024-07-02", space(rests[1]))
        assert reclaim(place.root, 0) == plan(*first)
        assert reclaim(place.root, space(*rests)) == plan(*first)
        # the rests count: the older snapshot is enough, and what it shares with a rest is freed with it
        assert reclaim(place.root, space(*rests) + 1) == plan(*first, ("2023-05-01", space(snapshots[0], shared)))
        need = space(*rests, snapshots[0], shared) + 1
        assert reclaim(place.root, need) == plan(*first, ("2023-05-01", space(snapshots[0], shared)), ("2023-05-02", space(snapshots[1])))
        assert reclaim(place.root, everything) == plan(
            *first, ("2023-05-01", space(snapshots[0], shared)), ("2023-05-02", space(snapshots[1])))
        assert place.state() == before
        assert reclaim(place.root, space(rests[0]), "--apply") == plan(*first)
        wanted = {path: what for path, what in before.items() if not path.startswith(b"backups/.removing-")}
        assert place.state() == wanted
        # without rests there is nothing to do for NEED 0, nor in a ROOT that is empty
        assert reclaim(place.root, 0, "--apply") == "total 0\n"
        assert place.state() == wanted
    with Place() as place:
        assert reclaim(place.root, 0, "--apply") == "total 0\n"
        reclaim(place.root, 1, "--apply", status=3)
