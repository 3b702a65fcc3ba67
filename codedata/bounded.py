"""Read untrusted files: only regular files, without blocking, up to a size limit.

Opening a FIFO, device or folder raises OSError immediately, even in place of a record. Links are
followed; `inside` and `resolved_in` refuse links that lead out of a folder. A file may still change
while it is read.
"""
from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from codedata.errors import BrokenRecord, Trouble
from codedata.texts import printable

MAX_RECORD_BYTES = 200_000_000   # limit for a record, and for a line of a ledger
# limit for one untrusted line, row or .json file: parsing `{},` takes 24 bytes of memory per byte
MAX_ROW_BYTES = 20_000_000
MAX_LINES_BYTES = 20_000_000_000   # limit for a file that is read line by line
MAX_NAME_BYTES = 255


def open_regular(path: Path | str, max_bytes: float = math.inf) -> BinaryIO:
    """Open a regular file for reading. Raise OSError (EINVAL) for anything else, without blocking,
    and OSError (EFBIG) for a file longer than `max_bytes` (a sparse file's holes count)."""
    file = open(regular_descriptor(path, os.O_RDONLY), "rb")
    if os.fstat(file.fileno()).st_size > max_bytes:
        file.close()
        raise OSError(errno.EFBIG, f"larger than {max_bytes:,} bytes", str(path))
    return file


def open_appending(path: Path | str) -> int:
    """Return a descriptor for appending to a regular file, which is created if it is missing.

    Raise OSError for a link.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    return making_folders(regular_descriptor, path, flags)


def making_folders(open_file, path: Path | str, flags: int) -> int:
    """Return open_file(path, flags), creating the file's folder first if it is missing."""
    try:
        return open_file(path, flags)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return open_file(path, flags)


def regular_descriptor(path: Path | str, flags: int) -> int:
    """Return a descriptor of a regular file. Raise OSError (EINVAL) for anything else; never block.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return descriptor


def read_bounded(path: Path | str, max_bytes: int = MAX_RECORD_BYTES) -> bytes:
    """Return a regular file's content. Raise OSError (EFBIG) if it is larger than `max_bytes`."""
    with open_regular(path, max_bytes) as file:
        size = min(os.fstat(file.fileno()).st_size, max_bytes)
        content = file.read(size + 1)   # a larger number takes three times as long
        if len(content) > size:   # the file has grown
            content += file.read(max_bytes + 1 - len(content))
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"larger than {max_bytes:,} bytes", str(path))
    return content


def row_in(text: str | bytes):
    """Return the value of an untrusted JSON text. Raise ValueError if it is broken, nested too
    deeply, or longer than MAX_ROW_BYTES."""
    if len(text) > MAX_ROW_BYTES:
        raise ValueError(f"more than {MAX_ROW_BYTES:,} bytes (a list may be written as .jsonl)")
    try:
        return json.loads(text)
    except RecursionError as e:
        raise ValueError(str(e)) from e


def numbered_lines(path: Path, todo: str) -> dict[str, str]:
    """Return {"file:number": line} of each non-blank line. Raise Trouble for an unreadable file."""
    try:
        lines = read_bounded(path).decode().split("\n")   # splitlines() would cut texts at U+2028
    except (OSError, UnicodeDecodeError) as e:
        raise Trouble(f"cannot be read: {e}", str(path), todo) from e
    return {f"{path}:{i}": line for i, line in enumerate(lines, 1) if line.strip()}


def inside(root: Path | str, *parts: str) -> Path:
    """Return root/part/… for untrusted parts: names, or relative paths.

    Raise BrokenRecord for any other part, and for a link below the root that leads out of the root
    or in a circle.
    """
    path = str(root)
    try:
        for name in (name for part in parts for name in _names_in(part)):
            path = f"{path}/{name}"
            with suppress(FileNotFoundError):
                if stat.S_ISLNK(os.lstat(path).st_mode):
                    resolved_in(Path(root), Path(path))
                    os.stat(path)   # raises an OSError for a circle, from Python 3.13 on
    except (OSError, RuntimeError, ValueError) as e:
        why = getattr(e, "strerror", None) or str(e)
        where = f"{printable('/'.join(parts), 300)!r} in {root}"
        raise BrokenRecord(f"is refused: {why}.", where) from e
    return Path(path)


def own_folder(directory: Path, *names: str) -> Path:
    """Return directory/name/…, a folder where codedata creates and deletes files. Raise Trouble if
    a name is a link, since it may lead to a user's files. `directory` itself may be a link."""
    for name in names:
        directory = directory / name
        if directory.is_symlink():
            raise Trouble("is a link; codedata writes and deletes files here.", str(directory),
                          "Delete the link.")
    return directory


def check_links(root: Path, stages: re.Pattern, may_be_links: bool) -> None:
    """Raise Trouble if a stage's folder is a link (unless `may_be_links`), or if it has an entry
    that begins with `_` and is a link: scripts write through these. The root may be a link."""
    folders = [root]
    for folder in folders:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
            for entry in entries:
                is_stage = folder == root or folder.name == "variants"
                if not (stages.fullmatch(entry.name) if is_stage else entry.name[0] == "_"):
                    continue
                if entry.is_symlink() and not (is_stage and may_be_links):
                    raise Trouble("is a link; codedata writes and deletes files here.", entry.path,
                                  "Put the folder there, or set [run] linked_folders = true."
                                  if is_stage else "Delete the link.")
                folders.append(Path(entry.path))


def files_below(folder: Path, pattern: str = "**/*") -> list[Path]:
    """Return the files in a folder that match a pattern, sorted. Links to folders, and links out of
    this folder, are not followed."""
    root = folder.resolve()
    return [path for path in sorted(folder.glob(pattern))
            if path.is_file() and path.resolve().is_relative_to(root)]


def _names_in(part: str) -> list[str]:
    """Return the names in a relative path. Raise ValueError for any other text."""
    names = [name for name in part.split("/") if name not in ("", ".")]
    if part.startswith("/") or not names or ".." in names or "\0" in part:
        raise ValueError("it leads out of the folder, or is not a path")
    if max(len(name.encode()) for name in names) > MAX_NAME_BYTES:
        raise ValueError(f"it has a name of more than {MAX_NAME_BYTES} bytes")
    return names


def resolved_in(folder: Path, path: Path) -> Path:
    """Return `path` with links resolved. Raise OSError (EXDEV) if that leads out of `folder`."""
    real = path.resolve()
    if not real.is_relative_to(folder.resolve()):
        raise OSError(errno.EXDEV, "leads out of the folder", str(path))
    return real
