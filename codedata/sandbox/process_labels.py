"""Label containers, pods, networks and images with their process and root. With these labels, the
next start in that root can remove the leftovers of a killed process.

A process locks a file until it ends. A container, pod or image is a leftover if the lock file
that its labels name is unlocked or missing, or if this process has taken over the lock file.
`docker commit`, `docker run` and FROM copy labels, so things that a user made from a leftover are
removed, too; things made from a kept image stay.
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
LOCK = "codedata.lock"     # path of the file that the process has locked
PROCESS = "codedata.process"   # distinguishes successive processes with the same lock file
PID = "codedata.pid"       # only for users to read

_root: list[Path] = []     # this process's root; empty outside of a script
_held: dict[Path, TextIO] = {}   # {folder: this process's lock file in it}
_process = secrets.token_hex(8)


def label_with(root: Path) -> None:
    """Set the root for the labels of everything that this process creates from now on."""
    _root[:] = [root.resolve()]


def labels(run: str) -> dict[str, str]:
    """Return the labels for everything that this process creates in a run."""
    return {RUN: run or f"pid-{os.getpid()}", HOST: platform.node(), USER: str(os.getuid()),
            ROOT: _root_digest(), LOCK: _process_lock(), PROCESS: _process, PID: str(os.getpid())}


def of_root(root: Path) -> str:
    """Return the filter "label=value" that matches everything created in a root."""
    return f"{ROOT}={_digest(root)}"


def _digest(root: Path) -> str:
    """Return the digest of a root's real path. A folder that was deleted and created again is the
    same root; host and user have their own labels."""
    return digest(str(root.resolve()))


def _root_digest() -> str:
    """Return the digest of this process's root, or "" without one."""
    return _digest(_root[0]) if _root else ""


def _process_lock() -> str:
    """Return the path of this process's lock file, after locking it at the first call. The file is
    in the root or, in a worker, which may not see the root, in the temporary folder."""
    is_rooted = _root and _root[0].is_dir() and not is_worker()
    folder = _root[0] if is_rooted else Path(tempfile.gettempdir())
    numbers = count()
    while folder not in _held:
        with suppress(BlockingIOError):   # try the next number if another process holds the lock
            # add the user's id to the name, since a file of another user in /tmp cannot be opened
            _held[folder] = locked(folder / f"{FILE}.{os.getuid()}.{next(numbers)}")
    return _held[folder].name


def is_left(labels: Mapping[str, str], all_roots: bool) -> bool:
    """Return whether labels were made by a process of this user and host that has ended, for this
    process's root or, with `all_roots`, for any root."""
    is_near = all_roots or "" != labels.get(ROOT) == _root_digest()
    is_ours = (labels.get(HOST), labels.get(USER)) == (platform.node(), str(os.getuid()))
    if not (is_near and is_ours and labels.get(LOCK)) or labels.get(PROCESS) == _process:
        return False
    is_ours_now = labels[LOCK] in {file.name for file in _held.values()}
    return is_ours_now or _is_free(Path(labels[LOCK]))


def _is_free(path: Path) -> bool:
    """Return whether no process has locked a file."""
    try:
        with open_regular(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except FileNotFoundError:   # a worker may not see the root
        return path.parent.is_dir() or not is_worker()
    except OSError:
        return False


