"""Read files that somebody else may have written: regular files only, opened without waiting, no
more than a limit.

A FIFO, a device or a folder is an OSError at once, also where it has taken the place of a record.
Links are followed; `inside` refuses those that lead out of a folder. Not promised: that a file
stays as it is while it is read.
"""
from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

MAX_RECORD_BYTES = 200_000_000   # of a record, and of a line of a ledger


def open_regular(path: Path | str) -> BinaryIO:
    """Open a regular file for reading.

    OSError (EINVAL) for anything else: it never blocks, as a FIFO would.
    """
    return open(regular_descriptor(path, os.O_RDONLY), "rb")


def open_appending(path: Path | str) -> int:
    """Return a descriptor for appending to a regular file, made where it is missing.

    A link is an OSError here.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    return making_folders(regular_descriptor, path, flags)


def making_folders(open_file, path: Path | str, flags: int) -> int:
    """Return open_file(path, flags); only where its folder is missing, that is made first."""
    try:
        return open_file(path, flags)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return open_file(path, flags)


def regular_descriptor(path: Path | str, flags: int) -> int:
    """Return a descriptor of a regular file.

    OSError (EINVAL) for anything else, without waiting.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return descriptor


def read_bounded(path: Path | str, max_bytes: int = MAX_RECORD_BYTES) -> bytes:
    """Return a regular file's content. OSError (EFBIG) where it is larger than `max_bytes`."""
    with open_regular(path) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"larger than {max_bytes:,} bytes", str(path))
    return content


def inside(folder: Path, path: Path) -> Path:
    """Return `path` with its links resolved. OSError (EXDEV) where that leads out of `folder`."""
    real = path.resolve()
    if not real.is_relative_to(folder.resolve()):
        raise OSError(errno.EXDEV, "leads out of the folder", str(path))
    return real
