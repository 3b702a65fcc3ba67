"""Record which process of which root a sandbox or a temporary folder belongs to, so that the next
start in that root can remove what a killed process left.

A process holds the lock of a file for as long as it lives, however it ends: what names a lock that
is free, or gone, is left over. Labels alone prove nothing else: `docker commit`, `docker run` and
FROM hand those of an image on. What is removed has the name that we gave it as well. An image that
has none counts, too: it lost its name to a later one, or is a step of a build or a commit that was
cut short.
"""
from __future__ import annotations

import fcntl
import os
import platform
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from codedata.driver import is_worker
from codedata.store import digest

RUN = "codedata.run"
HOST = "codedata.host"
USER = "codedata.user"
ROOT = "codedata.root"
LOCK = "codedata.lock"     # the file that its process has locked
PID = "codedata.pid"       # for people to read
BUILD = "codedata.build"   # of one build's images and containers, which the engine names
NAME = "codedata.name"     # what a container, network or image was called when it was made
FOLDERS = "codedata-"      # how the names of temporary folders begin
FILE = "_lock.process"     # how a process's lock is called; in a temporary folder, exactly so

_root: list[Path] = []     # in which this process works: a script has one, others have none
_held: dict[Path, TextIO] = {}   # the locks of this process, by the folders that they lie in


def work_in(root: Path) -> None:
    """Label what this process makes from now on as made in this root."""
    _root[:] = [root.resolve()]


def labels(run: str) -> dict[str, str]:
    """Return the labels of what this process makes for a run."""
    return {RUN: run or f"pid-{os.getpid()}", HOST: platform.node(), USER: str(os.getuid()),
            ROOT: _root_digest(), LOCK: _process_lock(), PID: str(os.getpid())}


def of_root() -> str:
    """Return the label, with its value, of all that is made in this process's root."""
    return f"{ROOT}={_root_digest()}"


def _root_digest() -> str:
    """Return the digest of the root's real path; an empty string where there is none. A folder that
    was deleted and made again is the same root; host and user stand in labels of their own."""
    return digest(str(_root[0])) if _root else ""


def _process_lock() -> str:
    """Return the path of the file that this process holds: in its root, which all see that work
    there; in a worker, which may not see it, among the temporary folders."""
    is_rooted = _root and _root[0].is_dir() and not is_worker()
    folder = _root[0] if is_rooted else Path(tempfile.gettempdir())
    while folder not in _held:
        path = folder / f"{FILE}.{secrets.token_hex(6)}"
        if file := _locked(path):
            _held[folder] = file
            weakref.finalize(file, path.unlink, missing_ok=True)   # at the interpreter's exit, too
    return _held[folder].name


def _locked(path: Path) -> TextIO | None:
    """Return a new file, locked; None where it was taken for a dead process's meanwhile."""
    file = open(path, "w")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file if path.exists() else file.close()


def is_left(labels: Mapping[str, str], all_roots: bool) -> bool:
    """Return whether labels() were written by a process of this user and host that is gone, in this
    process's root; with `all_roots`, anywhere."""
    is_near = all_roots or "" != labels.get(ROOT) == _root_digest()
    is_ours = (labels.get(HOST), labels.get(USER)) == (platform.node(), str(os.getuid()))
    return bool(is_near and is_ours and labels.get(LOCK)) and is_free(Path(labels[LOCK]))


def is_free(path: Path) -> bool:
    """Return whether the process that made a lock has ended."""
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except FileNotFoundError:   # a worker may not see the root where it lies
        return path.parent.is_dir() or not is_worker()
    except OSError:             # it is held
        return False


def take(path: Path) -> bool:
    """Return whether the process that made a lock has ended; the lock is gone then. Whoever is
    about to hold it makes another one."""
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(OSError):   # what cannot be removed is named then
                path.unlink()
            return True
    except OSError:
        return False


def drop_free_locks() -> None:
    """Remove the locks of processes that have ended."""
    for folder in (*_root, Path(tempfile.gettempdir())):
        for path in folder.glob(f"{FILE}.*"):
            take(path)


def has_our_name(name: str, labels: Mapping[str, str]) -> bool:
    """Return whether this package gave something its name."""
    return name.removesuffix(":latest") == labels.get(NAME, "").removesuffix(":latest")


def locked_folder() -> tuple[Path, TextIO]:
    """Return a new temporary folder, and the file in it whose lock this process holds till that is
    closed: then any start may remove the folder."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=FOLDERS)).resolve()
        if lock := _locked(folder / FILE):
            return folder, lock


@contextmanager
def temporary_folder() -> Iterator[str]:
    """Yield an empty temporary folder, which is removed in the end, or after a kill by the next
    start."""
    folder, lock = locked_folder()
    try:
        with lock, tempfile.TemporaryDirectory(dir=folder) as place:
            yield place
    finally:
        shutil.rmtree(folder, ignore_errors=True)
