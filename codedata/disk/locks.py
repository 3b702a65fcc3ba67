"""Locked files and temporary folders: what is locked belongs to a process that lives."""
from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from codedata.bounded import open_appending

FOLDERS = "codedata-"      # how the names of temporary folders begin
FILE = "_lock.process"     # the lock of a temporary folder; a process's has user and number behind


def locked(path: Path, how: int = fcntl.LOCK_EX | fcntl.LOCK_NB) -> TextIO:
    """Return a file that this process has locked till it is closed. Raise BlockingIOError where
    another process has, OSError for a link and for what is no file."""
    file = open(path, "a", opener=lambda name, _: open_appending(name))
    try:
        fcntl.flock(file, how)
    except OSError:
        file.close()
        raise
    return file


def locked_folder() -> tuple[Path, TextIO]:
    """Return a new temporary folder, and the file in it whose lock this process holds till that is
    closed: then any start may remove the folder."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=FOLDERS)).resolve()
        lock = locked(folder / FILE, fcntl.LOCK_EX)
        if Path(lock.name).exists():   # else a start was quicker
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
