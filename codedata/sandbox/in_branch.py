"""Run a command in a branch, or list what a branch has changed. Runs in the container of
branches.py, whose files no command of a branch can reach.

  in_branch.py run LAYER,… WORKDIR DROPPED,… ENVIRONMENT ARGV…   (in namespaces of its own)
  in_branch.py changes LAYER,… WORKDIR LIMIT   prints JSON: {path: diff}
  in_branch.py tree LAYER,… WORKDIR            prints a digest of all that is changed

A branch is a stack of layers over the folder BELOW; what changes is written to the last one.
"""
import ctypes
import hashlib
import json
import os
import stat
import struct
import subprocess
import sys

LAYERS, BELOW = "/run/layers", "/below"
BIND, READ_ONLY, REMOUNT, RECURSIVE = 0x1000, 0x1, 0x20, 0x4000
# the kernel's numbers of CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID
KEPT_CAPABILITIES = sum(1 << bit for bit in (0, 1, 3, 4, 5, 6, 7))
DROP_FROM_BOUNDING_SET, NO_NEW_PRIVILEGES, CAPABILITY_VERSION = 24, 38, 0x20080522
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
READ_ONLY_IN_PROC = ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi", "asound")
HIDDEN_IN_PROC = ("kcore", "keys", "latency_stats", "timer_list", "sched_debug")
IGNORED = ("/.git/", "/__pycache__/", "/.pytest_cache/", "/node_modules/.cache/")
MAX_COMPARED = 2_000_000    # bytes of a file whose lines are compared
MAX_NAMES = 100_000         # characters of the paths that are listed
LOCALHOST = "127.0.0.1 localhost\n::1 localhost\n"
libc = ctypes.CDLL(None, use_errno=True)


def main():
    what, layers, workdir, *rest = sys.argv[1:]
    layers = layers.split(",")
    if what == "run":
        dropped, environment, *argv = rest
        make_layers(layers, filter(None, dropped.split(",")))
        run(layers, workdir, json.loads(environment), argv)
    elif what == "tree":
        print(tree(layers, workdir))
    else:
        print(json.dumps(changes(layers, workdir, int(rest[0]))))


def make_layers(layers, dropped):
    """Remove the layers that are dropped, and make those that are not there yet."""
    if gone := [f"{LAYERS}/{layer}" for layer in dropped]:
        subprocess.run(["rm", "-rf", *gone], stdin=subprocess.DEVNULL)
    for top in (f"{LAYERS}/{layer}" for layer in layers):
        if not os.path.isdir(top):
            for name in ("work", "root", "files/tmp"):
                os.makedirs(f"{top}/{name}")
            os.chmod(f"{top}/files/tmp", 0o1777)


def run(layers, workdir, environment, argv):
    """Replace this process by the command, in the branch and without the rights to leave it."""
    top = f"{LAYERS}/{layers[-1]}"
    root = f"{top}/root"
    below = ":".join([f"{LAYERS}/{name}/files" for name in reversed(layers[:-1])] + [BELOW])
    mount("overlay", root, "overlay", 0, f"lowerdir={below},upperdir={top}/files,"
                                         f"workdir={top}/work,redirect_dir=off,metacopy=off")
    mount("proc", f"{root}/proc", "proc", 0)
    for name in READ_ONLY_IN_PROC:
        place = f"{root}/proc/{name}"
        if os.path.exists(place):
            mount(place, place, None, BIND | RECURSIVE)
            mount(None, place, None, BIND | REMOUNT | READ_ONLY)
    for name in HIDDEN_IN_PROC:
        if os.path.exists(f"{root}/proc/{name}"):
            mount("/dev/null", f"{root}/proc/{name}", None, BIND)
    mount("tmpfs", f"{root}/dev", "tmpfs", 0, "mode=755")
    for name in DEVICES:
        with open(f"{root}/dev/{name}", "wb"):
            pass
        mount(f"/dev/{name}", f"{root}/dev/{name}", None, BIND)
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{target}", f"{root}/dev/{name}")
    os.mkdir(f"{root}/dev/shm", 0o1777)
    os.chroot(root)
    os.chdir(workdir if os.path.isdir(workdir) else "/")
    for bit in range(64):
        if not KEPT_CAPABILITIES >> bit & 1:
            libc.prctl(DROP_FROM_BOUNDING_SET, bit, 0, 0, 0)
    words = [KEPT_CAPABILITIES, KEPT_CAPABILITIES, 0, 0, 0, 0]   # effective, permitted, inheritable
    check(libc.capset(struct.pack("Ii", CAPABILITY_VERSION, 0), struct.pack("6I", *words)))
    check(libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    if not os.path.exists("/etc/hosts") or not os.path.getsize("/etc/hosts"):
        with open("/etc/hosts", "w") as hosts:   # the engine's is none of the image's files
            hosts.write(LOCALHOST)
    os.umask(0o022)
    os.execve("/bin/bash", argv, environment)


def mount(source, target, kind, flags, options=""):
    """Mount, or raise OSError."""
    encoded = [text and text.encode() for text in (source, target, kind)]
    check(libc.mount(*encoded, flags, options.encode()))


def check(code):
    """Raise OSError if a call of libc has failed."""
    if code:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def tree(layers, workdir):
    """Return a digest of the files below the folder that are other than in the image."""
    top = [f"{LAYERS}/{name}/files" for name in reversed(layers)]
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted({path for layer in top for path in changed_paths(layer, [BELOW], workdir)}):
        if counts(path):
            now = content(resolve([*top, BELOW], path))
            if now != content(resolve([BELOW], path)):
                digest.update(repr((path, now)).encode())
    return digest.hexdigest()


def changes(layers, workdir, limit):
    """Return {path: diff} of the files below the folder that the last layer has changed: at most
    `limit` characters of all, "" stands for one that is left out or no text."""
    *below, top = [f"{LAYERS}/{name}/files" for name in layers]
    below = [*reversed(below), BELOW]
    found = {}
    n_chars = 0
    for path in sorted({*changed_paths(top, below, workdir)}):
        old, new = resolve(below, path), resolve([top, *below], path)
        if not counts(path) or content(old) == content(new):
            continue
        name = os.fsencode(path[len(workdir) + 1:]).decode(errors="replace")
        n_chars += len(name)
        if n_chars > MAX_NAMES:
            break
        text = difference(old, new, name)
        found[name] = text if len(text) <= limit else ""
        limit -= len(found[name])
    return found


def difference(old, new, name):
    """Return how two files differ, "" if one of them is no text."""
    if new and os.path.islink(new):
        return f"{name}: a link to {os.readlink(new)!a}\n"
    if old and os.path.islink(old):
        old = None
    places = [place or "/dev/null" for place in (old, new)]
    if any(place and (not os.path.isfile(place) or os.path.getsize(place) > MAX_COMPARED)
           for place in (old, new)):
        return ""
    done = subprocess.run(["diff", "-u", "--label", f"a/{name}", "--label", f"b/{name}", *places],
                          stdin=subprocess.DEVNULL, capture_output=True)
    text = done.stdout.decode(errors="replace")
    if not text:   # no line differs
        return f"{name}: mode {os.stat(new).st_mode & 0o777:o}\n" if new else f"{name}: removed\n"
    return "" if "\0" in text or text.startswith("Binary files") else text


def counts(path):
    """Return whether a file is of the source, and not of a cache or of git."""
    return not any(part in f"{path}/" for part in IGNORED) and not path.endswith(".pyc")


def changed_paths(top, below, workdir):
    """Yield the paths of files that the layer may have changed, with those it has removed."""
    if look(top, workdir)[1]:
        yield from all_files(below, workdir)
    for folder, names in walk(top, workdir):
        if is_opaque(top + folder):
            yield from all_files(below, folder)
        for name in names:
            yield f"{folder}/{name}"
            yield from all_files(below, f"{folder}/{name}")   # it may have been a folder


def all_files(layers, path):
    """Yield the paths of all that the layers have in a folder, but for its folders."""
    for layer in layers:
        for folder, names in walk(layer, path):
            yield from (f"{folder}/{name}" for name in names)


def walk(layer, path):
    """Yield (path of a folder, names of what is no folder in it) of all that a layer has there."""
    if look(layer, path)[0] == "folder":
        for folder, folders, files in os.walk(layer + path):
            links = [name for name in folders if os.path.islink(f"{folder}/{name}")]
            yield folder[len(layer):], files + links


def look(layer, path):
    """Return (what a layer has at a path: "folder", "file" or another thing that is none, "gone"
    where it has removed it or one of its folders, "" for nothing; whether a folder on the way hides
    what is below). No link is followed: it may lead out of the branch."""
    parts = path.split("/")
    is_hiding = False
    for i in range(2, len(parts) + 1):
        place = layer + "/".join(parts[:i])
        if is_removed(place):
            return "gone", True
        if not os.path.lexists(place):
            return "", is_hiding
        if os.path.islink(place) or not os.path.isdir(place):
            return ("file" if i == len(parts) else "gone"), True
        is_hiding = is_hiding or is_opaque(place)
    return "folder", is_hiding


def resolve(layers, path):
    """Return the place of a file in the topmost layer that has it; None if that layer has a folder
    there or has removed it, or none has it."""
    for layer in layers:
        kind, is_hiding = look(layer, path)
        if kind or is_hiding:
            return layer + path if kind == "file" else None
    return None


def content(place):
    """Return what a file holds: two are the same if this is equal."""
    if place is None:
        return None
    about = os.lstat(place)
    mode = about.st_mode & 0o100
    if stat.S_ISLNK(about.st_mode):
        return "link", os.readlink(place)
    if not stat.S_ISREG(about.st_mode):
        return "special", about.st_mode
    with open(place, "rb") as file:
        return mode, file.read(100_000_000)


def is_removed(place):
    """Return whether a layer says here that what is below is gone."""
    try:
        about = os.lstat(place)
    except OSError:
        return False
    return stat.S_ISCHR(about.st_mode) and about.st_rdev == 0


def is_opaque(folder):
    """Return whether a folder of a layer hides what the layers below have in it."""
    try:
        return os.getxattr(folder, "trusted.overlay.opaque", follow_symlinks=False) == b"y"
    except OSError:
        return False


if __name__ == "__main__":
    main()
