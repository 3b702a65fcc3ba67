"""Run a command in a branch, or list what a branch has changed. Runs in the container of
branches.py, whose files no command of a branch can reach.

  in_branch.py run LAYER,… WORKDIR ENVIRONMENT ARGV…   (in mount and process namespaces of its own)
  in_branch.py changes LAYER,… WORKDIR LIMIT           prints JSON: {path: diff}
  in_branch.py tree LAYER,… WORKDIR                    prints a digest of all that is changed

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
READ_ONLY_IN_PROC = ("sys", "sysrq-trigger", "irq", "bus", "fs")   # as the engine has them
HIDDEN_IN_PROC = ("kcore", "keys", "latency_stats", "timer_list", "sched_debug")
IGNORED = ("/.git/", "/__pycache__/", "/.pytest_cache/", "/node_modules/.cache/")
LOCALHOST = "127.0.0.1 localhost\n::1 localhost\n"
libc = ctypes.CDLL(None, use_errno=True)


def main():
    what, layers, workdir, *rest = sys.argv[1:]
    layers = layers.split(",")
    if what == "run":
        run(layers, workdir, json.loads(rest[0]), rest[1:])
    elif what == "tree":   # against the image, through all layers
        top = [f"{LAYERS}/{name}/files" for name in reversed(layers)]
        paths = sorted({path for layer in top for path in changed_paths(layer, [BELOW], workdir)})
        found = [(path, content(resolve([*top, BELOW], path))) for path in paths
                 if counts(path) and content(resolve([*top, BELOW], path)) !=
                 content(resolve([BELOW], path))]
        print(hashlib.blake2b(repr(found).encode(), digest_size=16).hexdigest())
    else:
        print(json.dumps(changes(layers, workdir, int(rest[0]))))


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
    os.chdir(workdir)
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


def changes(layers, workdir, limit):
    """Return {path: diff} of the files below the folder that the last layer has changed: at most
    `limit` characters of all, "" stands for one that is left out or no text."""
    *below, top = [f"{LAYERS}/{name}/files" for name in layers]
    below = [*reversed(below), BELOW]
    found = {}
    for path in sorted(changed_paths(top, below, workdir)):
        if not counts(path):
            continue
        old, new = resolve(below, path), resolve([top, *below], path)
        if content(old) == content(new):
            continue
        text = subprocess.run(
            ["diff", "-u", "--label", f"a{path[len(workdir):]}", "--label",
             f"b{path[len(workdir):]}", old or "/dev/null", new or "/dev/null"],
            stdin=subprocess.DEVNULL, capture_output=True).stdout.decode(errors="replace")
        is_shown = ("\0" not in text and not text.startswith("Binary files")
                    and len(text) <= limit)
        found[path[len(workdir) + 1:]] = text if is_shown else ""
        limit -= len(text) if is_shown else 0
    return found


def counts(path):
    """Return whether a file is of the source, and not of a cache or of git."""
    return not any(part in f"{path}/" for part in IGNORED) and not path.endswith(".pyc")


def changed_paths(top, below, workdir):
    """Yield the paths of files that the layer may have changed, with those it has removed."""
    for folder, folders, files in os.walk(top + workdir):
        inside = folder[len(top):]
        yield from (f"{inside}/{name}" for name in files)
        yield from (f"{inside}/{name}" for name in folders if os.path.islink(f"{folder}/{name}"))
        if is_opaque(folder):
            yield from all_files(below, inside)
        for name in files:   # of a folder that is removed, all files are
            if is_removed(f"{folder}/{name}"):
                yield from all_files(below, f"{inside}/{name}")


def all_files(layers, path):
    """Yield the paths of the files that the layers have in a folder."""
    for layer in layers:
        for folder, _, files in os.walk(layer + path):
            yield from (f"{folder[len(layer):]}/{name}" for name in files)


def resolve(layers, path):
    """Return the place of a file in the topmost layer that has it or, with one of its folders, has
    removed it; None if there is no such file."""
    parts = path.split("/")
    for layer in layers:
        for i in range(2, len(parts) + 1):
            place = layer + "/".join(parts[:i])
            if is_removed(place):
                return None
            if os.path.islink(place) or not os.path.lexists(place):
                break
        if os.path.lexists(place) and i == len(parts):
            return None if os.path.isdir(place) and not os.path.islink(place) else place
        if any(is_opaque(layer + "/".join(parts[:i])) for i in range(2, len(parts))):
            return None
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
