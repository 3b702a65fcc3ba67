"""Build releases of repositories that are made here, and verify archives that are made here."""
import contextlib
import ctypes
import functools
import glob
import gzip
import hashlib
import io
import os
import random
import shutil
import subprocess
import tarfile
import tempfile

import pytest

PATH = "/usr/local/bin:/usr/bin:/bin"
PACKAGES = "bash coreutils dash diffutils findutils git grep gzip mawk sed tar".split()
LIBC = ctypes.CDLL(None)
IN_OPEN = 0x20
AUTHOR = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b.example", "GIT_COMMITTER_NAME": "a",
          "GIT_COMMITTER_EMAIL": "a@b.example", "GIT_CONFIG_NOSYSTEM": "1"}
NAMES = ["README", "docs/a file.txt", "docs/  two", "-rf", "back\\slash\\n.txt", "Zebra", "apple",
         "docs.txt", "docs/\u00fcber/\u65e5\u672c", "lib/*.c", "q'uote \"s\"", "end ", "docs/MANIFEST",
         "tab\tbed", f"{'folder' * 20}/{'file' * 30}", "caf\udce9.txt"]


@functools.cache
def tools():
    """Return a folder with the programs that builders have."""
    listed = subprocess.run(["/usr/bin/dpkg", "-L", *PACKAGES], capture_output=True, check=True)
    names = {"sh", "awk", *map(os.path.basename, listed.stdout.decode().split())}
    folder = tempfile.mkdtemp()
    for place in PATH.split(":"):
        for name in names.intersection(os.listdir(place)):
            if not os.path.lexists(path := os.path.join(folder, name)):
                os.symlink(os.path.join(place, name), path)
    return folder


@functools.cache
def other_order():
    """Return the settings of a locale that sorts a, A, b, B, which no image has."""
    folder = tempfile.mkdtemp()
    marks = [f"<U{number:04X}>" for number in range(256)]
    with open(f"{folder}/map", "w", encoding="ascii") as file:
        file.write("<comment_char> %\n<escape_char> /\n<mb_cur_max> 1\nCHARMAP\n")
        file.writelines(f"{mark} /x{number:02x} x\n" for number, mark in enumerate(marks))
        file.write("END CHARMAP\n")
    with open(f"{folder}/order", "w", encoding="ascii") as file:
        file.write("comment_char %\nescape_char /\nLC_COLLATE\norder_start forward\n")
        order = sorted(range(256), key=lambda number: (chr(number).lower(), chr(number).isupper()))
        file.write("\n".join([*(marks[number] for number in order), "order_end",
                              "END LC_COLLATE", ""]))
    subprocess.run(["/usr/bin/localedef", "-c", "--no-archive", "--quiet", "-i", f"{folder}/order",
                    "-f", f"{folder}/map", f"{folder}/xx_XX"], capture_output=True, timeout=60)
    env = {"LOCPATH": folder, "LC_COLLATE": "xx_XX"}
    done = subprocess.run(["/usr/bin/sort"], input=b"B\na\n", capture_output=True, env=env)
    assert done.stdout == b"a\nB\n", "the locale is not there"
    return env


@functools.cache
def watch():
    """Return what notes whenever Python or Perl is opened, which builders do not have."""
    number = LIBC.inotify_init1(os.O_NONBLOCK)
    for path in [*glob.glob("/usr/bin/p[ey]*"), *glob.glob("/usr/local/bin/p[ey]*"),
                 *glob.glob("/usr/lib/python3*/encodings/__pycache__")]:
        LIBC.inotify_add_watch(number, path.encode(), IN_OPEN)
    return number


def opened():
    """Return what was noted since the last call."""
    with contextlib.suppress(BlockingIOError):
        return os.read(watch(), 1 << 20)
    return b""


def run(command, umask=-1, **env):
    env = {"PATH": tools(), "HOME": "/nonexistent", "LANG": "C.UTF-8", **env}
    opened()
    try:
        done = subprocess.run(command, capture_output=True, timeout=60, umask=umask, cwd="/tmp",
                              env=env)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AssertionError(f"{command[0]}: {error}") from error
    assert not opened(), "no builder has the Python or Perl that runs there"
    return done


def release(repository, tag, folder, umask=-1, **env):
    """Return the status of bin/release."""
    return run(["/app/bin/release", repository, tag, folder], umask, **env).returncode


def verify(path, **env):
    """Return the status of bin/verify, and its lines."""
    done = run(["/app/bin/verify", path], **env)
    return done.returncode, os.fsdecode(done.stdout).splitlines()


class Repository:
    """Hold a repository, and what its last commit has."""

    def __init__(self, path, seed):
        self.path = path
        self.numbers = random.Random(seed)
        self.files = {}   # path: (mode, bytes), as in the commit
        path.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *args, **env):
        env = {"PATH": PATH, "HOME": "/nonexistent", **AUTHOR, **env}
        done = subprocess.run(["/usr/bin/git", "-C", self.path, *args], capture_output=True,
                              timeout=60, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().strip()

    def state(self):
        """Return what changes when somebody works in the repository."""
        stats = {path: path.lstat() for path in self.path.rglob("*") if ".git" not in path.parts}
        return (self.git("status", "--porcelain", "--ignored"), self.git("rev-parse", "HEAD"),
                {path: (stat.st_ino, stat.st_ctime_ns) for path, stat in stats.items()})

    def write(self, name, data, mode=0o644):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if mode == 0o777:
            os.symlink(data, path)
        else:
            path.write_bytes(data)
            path.chmod(mode)
        self.files[name] = (mode, data)

    def fill(self, project):
        """Write files of all kinds."""
        self.write("release.conf", f"# of the release\nname = {project}\n".encode())
        for name in NAMES:
            data = bytes(self.numbers.choices(b"abc \r\n", k=self.numbers.randrange(400)))
            self.write(name, data + b"\r\n\n", self.numbers.choice([0o644, 0o755]))
        self.write("bin/run", b"\x00\xff" * self.numbers.randrange(9, 99), 0o755)
        self.write("empty", b"")
        self.write("current", b"docs/a file.txt", 0o777)
        self.write("lib/dangling", b"../no where", 0o777)

    def commit(self, tag, time):
        self.git("add", "-A")
        self.git("commit", "-q", "-m", tag, GIT_COMMITTER_DATE=f"{time} +0500",
                 GIT_AUTHOR_DATE=f"{time - 5000} +0100")
        self.git("tag", *self.numbers.choice([["-a", "-m", tag], []]), tag,
                 GIT_COMMITTER_DATE=f"{time + 900} +0000")


def manifest(files):
    """Return the manifest of files."""
    paths = sorted(files, key=os.fsencode)
    return b"".join(hashlib.sha256(files[path][1]).hexdigest().encode()
                    + (b" @" if files[path][0] == 0o777 else b"  ") + os.fsencode(path) + b"\n"
                    for path in paths)


def entries(path):
    """Return what an archive has, in its order."""
    assert path.is_file(), f"{path.name} was not written"
    try:
        with tarfile.open(path, "r:gz") as archive:
            return [(one, archive.extractfile(one).read() if one.isreg() else one.linkname.encode())
                    for one in archive.getmembers()]
    except (tarfile.TarError, OSError, EOFError, AttributeError) as error:
        raise AssertionError(f"{path.name} cannot be read: {error}") from error


def assert_is_release(path, top, files, time):
    found = entries(path)
    expected = {**files, "MANIFEST": (0o644, manifest(files))}
    names = sorted((f"{top}/{name}" for name in expected), key=os.fsencode)
    assert [one.name for one, _ in found] == names
    for one, data in found:
        mode, content = expected[one.name.partition("/")[2]]
        assert (one.name, data) == (one.name, content)
        assert (one.name, one.issym()) == (one.name, mode == 0o777)
        assert one.issym() or (one.name, one.mode) == (one.name, mode)
        assert (one.uid, one.gid, one.uname, one.gname, one.mtime) == (0, 0, "", "", time)


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "one" / "repository", 21)


def set_up(number, clone, home):
    """Make a builder's clone and home unlike those of the others."""
    if number % 2:
        for at, path in enumerate(sorted(clone.rglob("[a-z]*"))):
            if path.is_file() and ".git" not in path.parts and not path.is_symlink():
                os.utime(path, (at * 1000, at * 1000))
                path.chmod(0o600)
    if number == 3:
        (clone / ".git" / "info").mkdir(exist_ok=True)
        (clone / ".git" / "info" / "attributes").write_text("*.txt export-ignore\n* ident\n")
        with open(clone / ".git" / "config", "a", encoding="utf-8") as file:
            file.write("[core]\n\tautocrlf = true\n[tar]\n\tumask = 0077\n")
    home.mkdir()
    (home / "attributes").write_text("README export-ignore\n")
    (home / ".gitconfig").write_text(
        "[core]\n\tautocrlf = true\n\tquotePath = false\n\tattributesFile = ~/attributes\n"
        "[tar]\n\tumask = 0077\n[log]\n\tdate = relative\n\tshowSignature = true\n")


def test_builders_get_the_same_bytes(repository, tmp_path):
    repository.fill("kit")
    time = 1_650_000_000 + repository.numbers.randrange(10**7)
    repository.commit("v2.1-v3", time)
    order = other_order()
    stamp = tmp_path / "stamp"
    stamp.touch()
    builds = [("one", 0o022, {"TZ": "UTC"}),
              ("two words/a much longer path", 0o077, {"TZ": "Asia/Tokyo", "LC_ALL": "C"}),
              ("three", 0o000, {"TZ": "America/Lima", "HOME": str(tmp_path / "m/home")}),
              ("four", 0o027, order)]
    archives = []
    for number, (place, umask, env) in enumerate(builds):
        machine = tmp_path / "m"
        given = [machine / place / "clone", machine / place / "out"]
        if number == 2:
            repository.git("clone", "-q", "--no-local", ".", given[0])
        else:   # all times but the links' stay
            shutil.copytree(repository.path, given[0], symlinks=True)
        set_up(number, given[0], machine / "home")
        if not number:
            given = [os.path.relpath(one, "/tmp") for one in given]
        assert release(given[0], "v2.1-v3", given[1], umask, **env) == 0, "the release failed"
        archive = machine / place / "out" / "kit-2.1-v3.tar.gz"
        assert_is_release(archive, "kit-2.1-v3", repository.files, time)
        archives.append(archive.read_bytes())
        # the next one has another machine, where nothing is that was kept here
        shutil.rmtree(machine)
        subprocess.run(["/usr/bin/find", "/app", "/tmp", "/var/tmp", "/dev/shm", "/home", "/run",
                        "-type", "f", "-cnewer", stamp, "-delete"], capture_output=True, timeout=60)
    assert len(set(archives)) == 1, "the bytes differ"
    stamp = int.from_bytes(archives[0][4:8], "little")
    assert stamp in (0, time), "the gzip header has the time of the run"


def test_an_archive_has_the_commit_and_its_manifest(repository, tmp_path):
    repository.write("tools/inside", b"left out")
    repository.write("notes.psd", b"left out")
    repository.write("docs/in/draft", b"left out")
    repository.files.clear()
    repository.fill("tool-box.x")
    repository.write(".gitattributes", b"/tools export-ignore\n*.psd export-ignore\nkept.psd -export-ignore\n"
                     b"*.bat text eol=crlf\nversion export-subst\n")
    repository.write("docs/in/.gitattributes", b"draft export-ignore\n")
    repository.write("kept.psd", b"kept")
    repository.write("bin/set up\tnow.bat", b"@echo off\necho two lines\n")
    repository.write("version", b"$Format:%H$\n", 0o755)
    repository.write(".gitignore", b"*.log\n")
    repository.commit("3.0-rc1", 1_700_000_123)
    files = dict(repository.files)
    repository.write("apple", b"changed later")
    repository.write("later", b"")
    repository.write(".gitattributes", b"apple export-ignore\nlib export-ignore\n")
    repository.write("release.conf", b"name = renamed\n")
    repository.commit("v3.0", 1_700_009_999)
    repository.write("README", b"not committed")
    repository.write("scratch.txt", b"mine")
    repository.write("run.log", b"mine, and ignored")
    before = repository.state()
    folder = tmp_path / "new" / "out"
    assert release(repository.path, "3.0-rc1", folder) == 0, "the release failed"
    top = "tool-box.x-3.0-rc1"
    assert_is_release(folder / f"{top}.tar.gz", top, files, 1_700_000_123)
    assert repository.state() == before, "the repository was touched"


def write_archive(path, files, top="kit-1.0"):
    """Write an archive, with entries for directories."""
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT) as archive:
        names = {os.path.dirname(name) for name in files}
        for name in sorted(names):
            folder = tarfile.TarInfo(f"{top}/{name}".strip("/"))
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
        for name, (mode, data) in files.items():
            one = tarfile.TarInfo(f"{top}/{name}".lstrip("/"))
            one.mode = mode
            if mode == 0o777:
                one.type, one.linkname = tarfile.SYMTYPE, data.decode()
                archive.addfile(one)
            else:
                one.size = len(data)
                archive.addfile(one, io.BytesIO(data))
    return path


def test_verify_names_each_difference(tmp_path):
    numbers = random.Random(23)
    good = {name: (0o644, numbers.randbytes(50)) for name in NAMES}
    good |= {"current": (0o777, b"docs/a file.txt"), "lib/dangling": (0o777, b"../no where")}
    good |= dict.fromkeys(["docs/twin", "twin"], (0o644, b"the same in both"))
    listed = {**good, "MANIFEST": (0o644, manifest(good))}
    bad = dict(listed)
    changed = numbers.sample(NAMES, 4)
    for name in changed[:3]:
        bad[name] = (0o644, numbers.randbytes(50))
    bad[changed[3]] = (0o777, listed[changed[3]][1].hex().encode())
    bad["current"] = (0o644, b"docs/a file.txt")
    bad["lib/dangling"] = (0o777, b"../no  where")
    missing = numbers.sample(sorted(set(NAMES) - set(changed)), 3)
    for name in missing:
        del bad[name]
    extra = ["docs/a", "  scratch\\.txt", "lib/MANIFEST", ".hidden", "lib/link", "Extra"]
    bad |= dict.fromkeys(extra, (0o644, b"more")) | {"lib/link": (0o777, b"-rf")}
    bad["twin"] = (0o777, b"docs/twin")
    lines = [f"changed {name}" for name in [*changed, "current", "lib/dangling", "twin"]]
    lines += [f"missing {name}" for name in missing] + [f"extra {name}" for name in extra]
    whole = write_archive(tmp_path / "good.tar.gz", listed)
    assert verify(os.path.relpath(whole, "/tmp")) == (0, [])
    for env in ({}, other_order()):
        found = verify(write_archive(tmp_path / "bad one.tar.gz", bad), **env)
        assert found == (1, sorted(lines, key=os.fsencode))
    del bad["MANIFEST"]
    assert verify(write_archive(tmp_path / "a.tar.gz", bad))[0] == 2, "no MANIFEST"
    elsewhere = {"sub/MANIFEST": (0o644, b"")}
    assert verify(write_archive(tmp_path / "b.tar.gz", elsewhere))[0] == 2, "no MANIFEST on top"
    (tmp_path / "c.tar.gz").write_bytes(gzip.compress(numbers.randbytes(3000)))
    assert verify(tmp_path / "c.tar.gz")[0] == 2, "no tar"
    whole = gzip.decompress(whole.read_bytes())
    (tmp_path / "d.tar.gz").write_bytes(whole)
    assert verify(tmp_path / "d.tar.gz")[0] == 2, "a tar, but not gzipped"
    (tmp_path / "e.tar.gz").write_bytes((tmp_path / "good.tar.gz").read_bytes()[:-6])
    assert verify(tmp_path / "e.tar.gz")[0] == 2, "gzipped, but cut short"
    two = {f"kit-1.0/{name}": one for name, one in listed.items()} | {"other/x": (0o644, b"")}
    assert verify(write_archive(tmp_path / "f.tar.gz", two, top=""))[0] == 2, "two folders on top"


def listing(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def test_refusals_leave_nothing_behind(repository, tmp_path):
    out = tmp_path / "out"
    repository.write("a", b"a")
    repository.commit("v0.1", 1_600_000_000)
    repository.write("release.conf", b"# name = kit\nrename = kit\n")
    repository.commit("v0.2", 1_600_000_100)
    repository.write("release.conf", b"name =\nkit = name\n")
    repository.commit("v0.3", 1_600_000_200)
    repository.fill("kit")
    repository.commit("v1.0", 1_600_000_500)
    repository.git("branch", "v9.0")
    repository.git("branch", "v1.0", "v0.1")
    for tag in ["v1.1", "v9.0", "main", "HEAD", repository.git("rev-parse", "HEAD"), "v0.1",
                "v0.2", "v0.3"]:
        assert (release(repository.path, tag, out), listing(out)) == (2, {}), tag
    assert release(repository.path, "v1.0", out) == 0, "the release failed"
    first = listing(out)
    assert list(first) == ["kit-1.0.tar.gz"]
    assert release(repository.path, "v1.0", out) == 0, "the same archive is refused"
    assert listing(out) == first
    repository.write("more", b"more")
    repository.git("tag", "-d", "v1.0")
    repository.commit("v1.0", 1_600_000_900)
    assert release(repository.path, "v1.0", out) == 3, "an archive with other bytes is there"
    assert listing(out) == first
    assert release(repository.path, "v1.0", tmp_path / "other") == 0, "the release failed"
    assert_is_release(tmp_path / "other" / "kit-1.0.tar.gz", "kit-1.0",
                      repository.files, 1_600_000_900)
