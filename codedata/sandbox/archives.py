"""Copy files into and out of a sandbox as tar, without reading or writing outside the folders that
are named.

The sandbox may have written the archive itself, so nothing in it is trusted: a link is made only
where it leads to something inside, no member goes through a link, and whatever is not a file,
folder or link is refused. Bounds are checked while the archive is read.
"""
from __future__ import annotations

import io
import os
import stat
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from codedata.errors import ItemFailed
from codedata.texts import printable

PIECE = 1 << 20
MAX_HEADER_BYTES = 1 << 20   # limit of a name, a link's target or attributes, which are read into memory at once


class UnsafeArchive(ItemFailed):
    """Report an archive or a path that would read or write where it must not, or cannot be read."""


class OverBounds(UnsafeArchive):
    """Report that Bounds are exceeded. `kind` names the limit: too_large, too_many, too_deep,
    too_slow."""

    def __init__(self, kind: str, what: str, where: str):
        super().__init__(what, where)
        self.kind = kind


@dataclass(frozen=True)
class Bounds:
    """Limit what is read of a tar or a folder. A hard link counts as the whole file, each time."""

    max_bytes: int = 10_000_000_000
    max_files: int = 1_000_000      # folders and links among them
    max_depth: int = 200
    max_seconds: float = 900.0

    def meter(self) -> Callable[..., None]:
        """Return a function that takes each name with its size, and raises OverBounds when a
        limit is exceeded."""
        end, n_bytes, n_files = time.monotonic() + self.max_seconds, 0, 0

        def count(name: str, size: int, n: int = 1) -> None:
            nonlocal n_bytes, n_files
            n_bytes, n_files = n_bytes + size, n_files + n
            for kind, is_over, what in (
                    ("too_large", n_bytes > self.max_bytes, f"more than {self.max_bytes:,} bytes"),
                    ("too_many", n_files > self.max_files, f"more than {self.max_files:,} files"),
                    ("too_deep", name.count("/") > self.max_depth, f"more than {self.max_depth:,} folders deep"),
                    ("too_slow", time.monotonic() > end, f"more than {self.max_seconds:g} seconds")):
                if is_over:
                    raise OverBounds(kind, what, printable(name, 200))
        return count


BOUNDS = Bounds()


def pack(source: Path | dict[str, bytes], uid: int = 0, gid: int = 0, bounds: Bounds = BOUNDS) -> BinaryIO:
    """Return a tar of a file, of a folder's content, or of {relative path: content}, owned by uid
    and gid.

    Links are packed as links, never followed; sockets, pipes and devices are left out.
    """
    count = bounds.meter()

    def owned(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        count(member.name, member.size)
        member.uid, member.gid, member.uname, member.gname = uid, gid, "", ""
        return member if member.isreg() or member.isdir() or member.issym() or member.islnk() else None

    out = tempfile.TemporaryFile()
    with tarfile.open(fileobj=out, mode="w") as tar:
        if isinstance(source, dict):
            texts = {parts_of(name): content for name, content in source.items()}
            folders = {parts[:n] for parts in texts for n in range(1, len(parts))}   # else the engine would own them
            for parts in sorted({*texts, *folders}):
                member, content = tarfile.TarInfo("/".join(parts)), texts.get(parts, b"")
                member.type, member.mode = (tarfile.DIRTYPE, 0o755) if parts in folders else (tarfile.REGTYPE, 0o644)
                member.size, member.mtime = len(content), int(time.time())   # zip cannot store the year 1970
                tar.addfile(owned(member), io.BytesIO(content))
        elif source.is_dir():
            for entry in sorted(source.iterdir()):
                tar.add(entry, entry.name, filter=owned)
        else:
            tar.add(source.resolve(), source.name, filter=owned)
    out.seek(0)
    return out


def unpack(archive: BinaryIO, to: Path, bounds: Bounds = BOUNDS, strip: int = 0,
           wanted: Callable[[tuple[str, ...]], bool] = bool) -> None:
    """Extract a tar into the folder `to`: the members that are `wanted`, without the first `strip`
    parts of their names.

    Raise UnsafeArchive for what leads out of `to`, OverBounds for more than `bounds` allow; what
    was extracted before stays. Files belong to the caller and keep no more of their mode than rwx.
    Links are made last, so that no member goes through one.
    """
    to.mkdir(parents=True, exist_ok=True)
    links: list[tuple[Path, str, str]] = []
    sizes: dict[Path, int] = {}     # sizes of the files so far
    folders = {to}
    count = bounds.meter()
    with read_tar(archive) as tar:
        for member in members(tar):
            origin = to.joinpath(*parts_of(member.linkname)[strip:]) if member.islnk() else to
            count(member.name, sizes.get(origin, 0) or member.size)
            if not wanted(parts := parts_of(member.name)[strip:]):
                continue
            place = to.joinpath(*parts)
            _make_folders(to, parts if member.isdir() else parts[:-1], member.name, folders)
            if member.isreg():
                _write(tar.extractfile(member), place, member.mode, partial(count, member.name, 0, 0))
                sizes[place] = member.size
            elif member.issym():
                _check_target(member.linkname, len(parts) - 1, member.name)
                links.append((place, member.linkname, member.name))
            elif member.islnk():
                if origin not in sizes:
                    raise UnsafeArchive("is a hard link to what is not in the archive", member.name)
                _remove(place, member.name)
                os.link(origin, place)
                sizes[place] = sizes[origin]
            elif not member.isdir():
                raise UnsafeArchive("is a device, a pipe or something else that is no file", member.name)
    for place, target, name in links:
        _remove(place, name)
        os.symlink(target, place)


@contextmanager
def read_tar(archive: BinaryIO) -> Iterator[tarfile.TarFile]:
    """Open a tar that is read once, from its beginning to its end. Raise UnsafeArchive where it
    cannot be read."""
    try:
        with tarfile.open(fileobj=archive, mode="r|", bufsize=PIECE, tarinfo=_Member) as tar:
            yield tar
    except (tarfile.TarError, EOFError, ValueError) as e:
        raise UnsafeArchive(f"is no archive that can be read: {e}") from e


def members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a tar one after the other, without keeping them in memory."""
    while member := tar.next():
        tar.members.clear()
        yield member


class _Member(tarfile.TarInfo):
    """Refuse a member whose name or attributes are larger than a file system could have."""

    def _proc_member(self, tar):
        if not (self.isreg() or self.size <= MAX_HEADER_BYTES):
            raise UnsafeArchive(f"has a header of {self.size:,} bytes")
        return super()._proc_member(tar)


def parts_of(name: str) -> tuple[str, ...]:
    """Return the parts of a relative path. Raise UnsafeArchive for one that is absolute or goes
    up."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise UnsafeArchive("leads out of the folder that it is meant for", repr(name))
    return path.parts


class Stream(io.RawIOBase):
    """Present pieces of bytes as a file that is read once."""

    def __init__(self, pieces: Iterable[bytes]):
        self._pieces, self._rest = iter(pieces), b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, into) -> int:
        """Fill `into` and return the number of bytes, 0 at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)   # a slice of it copies nothing
        n = min(len(into), len(self._rest))
        into[:n], self._rest = self._rest[:n], self._rest[n:]
        return n


def _make_folders(to: Path, parts: tuple[str, ...], name: str, made: set[Path]) -> None:
    """Create the folders `parts` in `to`. Raise UnsafeArchive where one of them is a link or a
    file. Those in `made` were checked before."""
    if (place := to.joinpath(*parts)) in made:
        return
    made.add(place)
    place = to
    for part in parts:
        place = place / part
        try:
            mode = place.lstat().st_mode
        except FileNotFoundError:
            place.mkdir()
            continue
        if not stat.S_ISDIR(mode):
            raise UnsafeArchive("goes through a link or a file", name)


def _check_target(target: str, depth: int, name: str) -> None:
    """Raise UnsafeArchive for a symlink that leads outside. `..` may stand only at its
    beginning, where it is certain which folder it goes up from (behind another link it is not),
    and not more often than there are folders."""
    parts = PurePosixPath(target).parts
    n_up = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
    if not target or target[0] == "/" or ".." in parts[n_up:] or n_up > depth:
        raise UnsafeArchive(f"is a link that leads out, to {target!r}", name)


def _write(content: BinaryIO, place: Path, mode: int, check_time: Callable[[], None]) -> None:
    """Write a new file, in place of the one that is there."""
    _remove(place, str(place))
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 | mode & 0o777)
    with open(descriptor, "wb") as file:
        while piece := content.read(PIECE):
            file.write(piece)
            check_time()


def _remove(place: Path, name: str) -> None:
    """Remove the file or link at `place`. Raise UnsafeArchive where it is a folder."""
    try:
        place.unlink()
    except FileNotFoundError:
        pass
    except (IsADirectoryError, PermissionError):
        raise UnsafeArchive("takes the place of a folder", name) from None
