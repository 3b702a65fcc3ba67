"""Record which process of which root a sandbox or a temporary folder belongs to, so that the next
start in that root can remove what a killed process left.

A process holds the lock of a file for as long as it lives, however it ends. Whatever is labelled
with a lock that is free, or gone, or this process's own, is left over. `docker commit`, `docker
run` and FROM copy labels, so things made by hand from something left over are removed with it;
things made from a kept image stay.
"""
from __future__ import annotations

import fcntl
import os
import platform
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TextIO

from codedata.bounded import open_regular
from codedata.disk.locks import FILE, locked
from codedata.disk.store import digest
from codedata.driver import is_worker

RUN = "codedata.run"
HOST = "codedata.host"
USER = "codedata.user"
ROOT = "codedata.root"
LOCK = "codedata.lock"     # the file that its process has locked
PROCESS = "codedata.process"   # distinguishes processes that had the same lock in turn
PID = "codedata.pid"       # for people to read

_root: list[Path] = []     # the root in which this process works; only scripts have one
_held: dict[Path, TextIO] = {}   # the locks of this process, by the folders that contain them
_process = secrets.token_hex(8)


def work_in(root: Path) -> None:
    """Label everything that this process makes from now on with this root."""
    _root[:] = [root.resolve()]


def labels(run: str) -> dict[str, str]:
    """Return the labels for everything that this process makes in a run."""
    return {RUN: run or f"pid-{os.getpid()}", HOST: platform.node(), USER: str(os.getuid()),
            ROOT: _root_digest(), LOCK: _process_lock(), PROCESS: _process, PID: str(os.getpid())}


def of_root() -> str:
    """Return the label, with its value, of everything that is made in this process's root."""
    return f"{ROOT}={_root_digest()}"


def _root_digest() -> str:
    """Return the digest of the root's real path; an empty string without a root. A folder that was
    deleted and made again is the same root; host and user have their own labels."""
    return digest(str(_root[0])) if _root else ""


def _process_lock() -> str:
    """Return the path of the file that this process has locked: in the root, where all its
    processes see it, or, in a worker, which may not see the root, among the temporary folders."""
    is_rooted = _root and _root[0].is_dir() and not is_worker()
    folder = _root[0] if is_rooted else Path(tempfile.gettempdir())
    numbers = count()
    while folder not in _held:
        with suppress(BlockingIOError):   # another process has it
            # another user's file in /tmp cannot be opened
            _held[folder] = locked(folder / f"{FILE}.{os.getuid()}.{next(numbers)}")
    return _held[folder].name


def is_left(labels: Mapping[str, str], all_roots: bool) -> bool:
    """Return whether labels() were written by a process of this user and host that is gone, in this
    process's root; with `all_roots`, anywhere."""
    is_near = all_roots or "" != labels.get(ROOT) == _root_digest()
    is_ours = (labels.get(HOST), labels.get(USER)) == (platform.node(), str(os.getuid()))
    if not (is_near and is_ours and labels.get(LOCK)) or labels.get(PROCESS) == _process:
        return False
    is_ours_now = labels[LOCK] in {file.name for file in _held.values()}
    return is_ours_now or _is_free(Path(labels[LOCK]))


def _is_free(path: Path) -> bool:
    """Return whether a file is not locked by any process."""
    try:
        with open_regular(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except FileNotFoundError:   # a worker may not see the root
        return path.parent.is_dir() or not is_worker()
    except OSError:
        return False


