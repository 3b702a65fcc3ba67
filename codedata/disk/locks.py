"""Lock files, directories and temporary folders. A lock ends with its process."""
from __future__ import annotations

import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from codedata.bounded import open_appending, open_regular
from codedata.errors import Trouble
from codedata.texts import printable

FOLDERS = "codedata-"      # prefix of temporary folders
FILE = "_lock.process"     # name of a lock file; process_labels.py appends user and number


def locked(path: Path, how: int = fcntl.LOCK_EX | fcntl.LOCK_NB) -> TextIO:
    """Open and lock a file, and return it; closing the file ends the lock. Raise BlockingIOError if
    another process has locked the file, OSError if it is not a regular file."""
    file = open(path, "a", opener=lambda name, _: open_appending(name))
    try:
        fcntl.flock(file, how)
    except OSError:
        file.close()
        raise
    return file


def locked_folder() -> tuple[Path, TextIO]:
    """Return a new temporary folder and its open lock file. After the file is closed, the next
    script that starts may remove the folder."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=FOLDERS)).resolve()
        lock = locked(folder / FILE, fcntl.LOCK_EX)
        if Path(lock.name).exists():   # try again if another script has just removed the folder
            return folder, lock


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield an empty temporary folder; remove it at the end. After a kill, the next script that
    starts removes it."""
    folder, lock = locked_folder()
    try:
        with lock, tempfile.TemporaryDirectory(dir=folder) as place:
            yield Path(place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_directories(paths) -> None:
    """Raise Trouble if a path that should be a directory is a file."""
    for path in paths:
        if path.exists() and not path.is_dir():
            raise Trouble("is a file where a directory should be.", str(path),
                          "Move it away and run again.")


def lock(directory: Path, shard: tuple[int, int] | None, who: str, kind: str = "") -> TextIO:
    """Lock a directory, or only one shard or kind of its items, until this process ends; return the
    open lock file.

    Raise Trouble if another process holds the lock.
    """
    check_directories([directory])
    part = "all" if shard is None else f"{shard[0]}-of-{shard[1]}"
    name = f"_lock.{kind}.{part}" if kind else f"_lock.{part}"
    try:
        with locked(directory / "_lock", fcntl.LOCK_EX):   # held only while the locks are compared
            for path in sorted(directory.glob("_lock.*")):
                if path.name == name or _shares_items(path.name, kind, shard):
                    _refuse_held(path)
            held = locked(directory / name)
        held.truncate(0)
        held.write(f"{who} (process {os.getpid()} on {socket.gethostname()})\n")
        held.flush()
        return held
    except OSError as e:
        what = f"could not be written: {e.strerror or e}."
        raise Trouble(what, str(e.filename or directory), "Make it writable, or make room.") from e


def _shares_items(name: str, kind: str, shard: tuple[int, int] | None) -> bool:
    """Return whether the lock file `name` may cover items of this kind and shard. It covers none if
    it is for another kind, or for another shard of the same number of shards."""
    other_kind = name.split(".")[1] if name.count(".") > 1 else ""
    if kind and other_kind and kind != other_kind:
        return False
    return not (shard and name.endswith(f"-of-{shard[1]}"))


def _refuse_held(path: Path) -> None:
    """Raise Trouble if another process holds a lock file; the file names that process."""
    try:
        locked(path).close()
    except BlockingIOError:
        with open_regular(path) as file:
            holder = printable(file.read(300).decode(errors="replace").strip())
        raise Trouble(f"is in use by {holder or 'another process'}.", str(path.parent),
                      "Wait for it to end, or stop it. Stages can share it by --shard i/n."
                      ) from None
