"""Copy files into and out of a sandbox as tar, without reading or writing outside of the given
folders.

The sandbox may have written the archive itself, so nothing in it is trusted. A link is created only
if its target is inside the folder. A member that is not a file, folder or link is refused. Bounds
are checked while the archive is read.
"""
from __future__ import annotations

import os
import tarfile
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from codedata.disk.layouts import Program
from codedata.disk.locks import temporary_folder
from codedata.errors import ItemFailed
from codedata.texts import printable

PIECE = 1 << 20
MAX_HEADER_BYTES = 1 << 17   # limit for a name, a link's target, or attributes
MAX_GLOBAL_BYTES = 1 << 10   # limit for a header that applies to all members; git's has 52 bytes
MAX_EMPTY = 10_000           # limit for empty gzip members in a row, which Bounds do not count
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
GZIP_OR_ZLIB = 47            # makes zlib detect the format
Source = Path | dict[str, bytes]   # a file or folder of the host, or {relative path: content}


class UnsafeArchive(ItemFailed):
    """Report an archive or a path that leads to forbidden places, or that cannot be read."""


class OverBounds(UnsafeArchive):
    """Report that Bounds are exceeded. `kind` names the limit: too_large, too_many, too_deep,
    too_slow."""

    def __init__(self, kind: str, what: str, where: str):
        super().__init__(what, printable(where, 200))
        self.kind = kind


@dataclass(frozen=True)
class Bounds:
    """Limit the content read from a tar or a folder. A hard link counts as a whole file."""

    max_bytes: int = 10_000_000_000
    max_files: int = 1_000_000      # folders and links included
    max_depth: int = 200
    max_seconds: float = 900.0

    def meter(self) -> Callable[..., None]:
        """Return a function to call with the name and the size of each file. It raises OverBounds
        when a limit is exceeded."""
        end = time.monotonic() + self.max_seconds
        total = Counter()

        def count(name: str, size: int, n: int = 1) -> None:
            total.update(n_bytes=size, n_files=n)
            if total["n_bytes"] > self.max_bytes:
                raise OverBounds("too_large", f"more than {self.max_bytes:,} bytes", name)
            if total["n_files"] > self.max_files:
                raise OverBounds("too_many", f"more than {self.max_files:,} files", name)
            if name.count("/") > self.max_depth:
                raise OverBounds("too_deep", f"more than {self.max_depth:,} folders deep", name)
            if time.monotonic() > end:
                raise OverBounds("too_slow", f"more than {self.max_seconds:g} seconds", name)
        return count


BOUNDS = Bounds()


def pack(source: Source, uid: int = 0, gid: int = 0,
         bounds: Bounds = BOUNDS) -> BinaryIO:
    """Return a tar of a file, of a folder's content, or of {relative path: content}. The files
    belong to `uid` and `gid`; a Program is executable.

    Links are packed as links, never followed; sockets, pipes and devices are left out.
    """
    if isinstance(source, dict):
        with temporary_folder() as folder:
            for name, content in source.items():
                place = folder.joinpath(*parts_of(name))
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
                if isinstance(content, Program):
                    place.chmod(0o755)
            return pack(folder, uid, gid, bounds)
    count = bounds.meter()

    def owned(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        count(member.name, member.size)
        member.uid = uid
        member.gid = gid
        member.uname = member.gname = ""
        # leave out devices and pipes; tarfile leaves out sockets
        return None if member.isdev() else member

    out = tempfile.TemporaryFile()
    with tarfile.open(fileobj=out, mode="w") as tar:
        if source.is_dir():
            for entry in sorted(source.iterdir()):
                tar.add(entry, entry.name, filter=owned)
        else:
            tar.add(source.resolve(), source.name, filter=owned)
    out.seek(0)
    return out


def unpack(archive: BinaryIO | Stream, to: Path, bounds: Bounds = BOUNDS, strip: int = 0,
           wanted: Callable[[tuple[str, ...]], bool] = bool) -> None:
    """Extract the `wanted` members of a tar into the folder `to`, without the first `strip` parts
    of their names.

    Raise UnsafeArchive for a member that leads out of `to`, OverBounds if `bounds` are exceeded;
    already extracted members stay. The files belong to this process's user, and keep only the rwx
    bits of their modes. Links are created last, so that no member is extracted through a link.
    """
    to.mkdir(parents=True, exist_ok=True)
    unpacker = _Unpacker(to, bounds.meter())
    with read_tar(archive) as tar:
        for member in members(tar):
            parts = parts_of(member.name)[strip:]
            origin = to.joinpath(*parts_of(member.linkname)[strip:]) if member.islnk() else None
            unpacker.count(member.name, unpacker.sizes.get(origin, member.size))
            if wanted(parts):
                unpacker.extract(tar, member, parts, origin)
    for place, member in unpacker.links:
        _remove(place, member.name)
        os.symlink(member.linkname, place)


class _Unpacker:
    """Extract the members of a tar one by one into the folder `to`."""

    def __init__(self, to: Path, count: Callable[..., None]):
        self.count = count
        self.sizes: dict[Path, int] = {}                      # sizes of the files so far
        self._to = to
        self._folders = {to}                                  # folders that were checked
        self.links: list[tuple[Path, tarfile.TarInfo]] = []

    def extract(self, tar: tarfile.TarFile, member: tarfile.TarInfo, parts: tuple[str, ...],
                origin: Path | None) -> None:
        """Extract a member to the path `parts`; `origin` is the file that a hard link names."""
        place = self._to.joinpath(*parts)
        self._make_folder(parts if member.isdir() else parts[:-1], member.name)
        if member.isreg():
            self._write(tar.extractfile(member), place, member)
        elif member.issym():
            _check_target(member.linkname, len(parts) - 1, member.name)
            self.links.append((place, member))
        elif member.islnk():
            if origin not in self.sizes:
                raise UnsafeArchive("is a hard link to a file outside the archive", member.name)
            _remove(place, member.name)
            os.link(origin, place)
            self.sizes[place] = self.sizes[origin]
        elif not member.isdir():
            raise UnsafeArchive("is a device, a pipe or something else that is not a file",
                                member.name)

    def _make_folder(self, parts: tuple[str, ...], name: str) -> None:
        """Create a folder. Raise UnsafeArchive if a part of its path is a link or a file."""
        place = self._to
        if place.joinpath(*parts) in self._folders:
            return
        for part in parts:
            place = place / part
            with suppress(FileExistsError):
                place.mkdir()
            if place.is_symlink() or not place.is_dir():
                raise UnsafeArchive("goes through a link or a file", name)
        self._folders.add(place)

    def _write(self, content: BinaryIO, place: Path, member: tarfile.TarInfo) -> None:
        """Write a new file, replacing an existing one."""
        _remove(place, member.name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with open(os.open(place, flags, 0o600 | member.mode & 0o777), "wb") as file:
            while piece := content.read(PIECE):
                file.write(piece)
                self.count(member.name, 0, 0)   # raise OverBounds if the time is over
        self.sizes[place] = member.size


@contextmanager
def read_tar(archive: BinaryIO | Stream) -> Iterator[tarfile.TarFile]:
    """Open a tar for reading once, from beginning to end. Raise UnsafeArchive if it cannot be read.
    """
    try:
        with tarfile.open(fileobj=archive, mode="r|", bufsize=PIECE, tarinfo=_Member) as tar:
            yield tar
    except (tarfile.TarError, EOFError, ValueError, RecursionError) as e:
        raise UnsafeArchive(f"is no archive that can be read: {e}") from e


def members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a tar one after the other, without keeping them in memory."""
    while member := tar.next():
        tar.members.clear()
        yield member


class _Member(tarfile.TarInfo):
    """Read a member's header. Refuse names and attributes that are too long for any file system,
    and sparse files."""

    def _proc_member(self, tar):
        is_global = self.type == tarfile.XGLTYPE
        limit = MAX_GLOBAL_BYTES if is_global else MAX_HEADER_BYTES
        if not (self.isreg() or self.size <= limit):
            raise UnsafeArchive(f"has a header of {self.size:,} bytes")
        if is_global and tar.pax_headers:
            raise UnsafeArchive("has more than one global header")
        return super()._proc_member(tar)

    def _refuse_sparse(self, *_):
        raise UnsafeArchive("has a sparse file", printable(self.name, 200))

    _proc_sparse = _refuse_sparse
    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse


def parts_of(name: str) -> tuple[str, ...]:
    """Return the parts of a relative path. Raise UnsafeArchive if it is absolute or goes up."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise UnsafeArchive("leads out of its folder", repr(name))
    return path.parts


class Stream:
    """Make pieces of bytes readable as a file, for read_tar() and unpack()."""

    def __init__(self, pieces: Iterable[bytes]):
        self._pieces = filter(None, pieces)

    def read(self, _) -> bytes:
        """Return the next piece, of any size; b"" at the end. tarfile calls again if it needs more.
        """
        return next(self._pieces, b"")


def inflated(file: BinaryIO | Stream) -> Iterator[bytes]:
    """Yield the content of a file that is compressed by zlib, or by gzip in one or more members.
    Raise UnsafeArchive for more than MAX_EMPTY empty members in a row."""
    engine = zlib.decompressobj(GZIP_OR_ZLIB)
    rest = b""
    n_empty = 0
    while data := rest or file.read(PIECE):
        piece = engine.decompress(data, PIECE)
        yield piece
        n_empty = 0 if piece else n_empty + 1
        if n_empty > MAX_EMPTY:
            raise UnsafeArchive(f"has more than {MAX_EMPTY:,} empty members of gzip in a row")
        rest = engine.unconsumed_tail
        if engine.eof:   # start again, since another gzip member may follow
            rest = engine.unused_data
            engine = zlib.decompressobj(GZIP_OR_ZLIB)


def _check_target(target: str, depth: int, name: str) -> None:
    """Raise UnsafeArchive if a symlink's target leads outside. The target may begin with `..` at
    most `depth` times; a later `..` is refused, since it may follow another link."""
    parts = PurePosixPath(target).parts
    n_up = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
    if not target or target[0] == "/" or ".." in parts[n_up:] or n_up > depth:
        raise UnsafeArchive(f"is a link that leads out, to {target!r}", name)


def _remove(place: Path, name: str) -> None:
    """Remove the file or link at `place`. Raise UnsafeArchive if it is a folder."""
    try:
        place.unlink(missing_ok=True)
    except (IsADirectoryError, PermissionError):
        raise UnsafeArchive("takes the place of a folder", name) from None
