"""Search the files of an image for texts, also inside zip and gzip files, and inside objects and
packs of git.

Nothing of the image is run: this machine reads the engine's tar of its files, within bounds. A file
holds a text if both have the same 40 bytes in a row. Not found: texts that are shorter, or encoded
in another way (escaped, base64, encrypted, xz, zstd).
"""
from __future__ import annotations

import keyword
import lzma
import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from mmap import mmap
from typing import BinaryIO

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from codedata.code.git import git_output, run_git
from codedata.sandbox.archives import (
    GZIP,
    PIECE,
    OverBounds,
    Stream,
    UnsafeArchive,
    inflated,
    members,
    read_tar,
)
from codedata.sandbox.process_labels import temporary_folder
from codedata.suites.outside import BOUNDS
from codedata.texts import printable

WINDOW = 40                # bytes in a row that give a text away
# At least so many of these bytes must not be blanks. With 20, 11 % of 7,000 functions of nine
# packages share 40 bytes with an image without these packages; with 30, 3 %. 1.5 % of functions do
# not reach 28.
MIN_INK = 28
NAME = re.compile(rb"[A-Za-z_]\w{3,}")
# A file is a copy of a project's file if it has at least this share of the names in that file. Of
# 200 files compiled to bytecode, which has no comments, 9 have a share below 0.5, 3 one below 0.4.
NAMES_SHARE = 0.4
LONG_RUN = 200             # bytes in a row that give a whole file away
STRIDE = 32                # bytes between two samples: every window contains a whole sampled word
WORD = 8                   # bytes of a sample
KIND_BITS = 16
MAX_DEPTH = 8              # of archives in archives
SPOOL_BYTES = 32_000_000   # of a file that is kept in memory
ZIP_END = b"PK\x05\x06"    # begins the last record of a zip file; a comment may follow it
ZIP_END_BYTES = 66_000
# raised for what only looks like an archive, or has a password
NO_ARCHIVE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError,
              KeyError)
PACK = (b"PACK\0\0\0\2", b"PACK\0\0\0\3")   # in both versions of git's format
KEYWORDS = {word.encode() for word in keyword.kwlist}
BUNDLE = re.compile(rb"# v\d git bundle\n(?s:.*?)\n(?=PACK)")   # its pack follows


class Windows:
    """Find texts in data, by windows. A window is 40 bytes of a text; there is one for each offset.
    With a longer `min_run`, a text is found only if the data has so many consecutive bytes of it
    (or all of a shorter text), so windows at every 32nd offset are enough."""

    def __init__(self, texts: Iterable[str], min_run: int = WINDOW):
        data = [variant.encode(errors="replace") for text in texts
                for variant in {text.replace("\r\n", "\n"),
                                text.replace("\r\n", "\n").replace("\n", "\r\n")}]
        self._runs = [(text, min(min_run, len(text))) for text in data] if min_run > WINDOW else []
        step = STRIDE if self._runs else 1   # a long run holds several windows of every step
        windows = {line[i:i + WINDOW] for line in data
                   for i in range(0, len(line) - WINDOW + 1, step)}
        self._take({window for window in windows if len(b"".join(window.split())) >= MIN_INK})

    def _take(self, windows: set[bytes]) -> None:
        """Index these windows. `_words` holds all their words, sorted; in `_offsets`, each word has
        a bit for each of its offsets in a window."""
        self._windows = windows
        rows = np.frombuffer(b"".join(windows), dtype=np.uint8).reshape(-1, WINDOW)
        words = np.ascontiguousarray(sliding_window_view(rows, WORD, axis=1)).view("<u8").ravel()
        bits = np.tile(np.left_shift(1, np.arange(STRIDE + 1, dtype="<u8")), len(rows))
        order = np.argsort(words, kind="stable")
        self._words, first = np.unique(words[order], return_index=True)
        self._offsets = np.bitwise_or.reduceat(bits[order], first) if len(rows) else bits
        self._ends = [np.unique(rows.view("<u8")[:, i]) for i in (0, -1)]
        self.kinds = np.zeros(1 << KIND_BITS, dtype=bool)
        self.kinds[kind_of(self._words)] = True

    @property
    def key(self) -> bytes:
        """Return a digest of the windows and runs that this searches for."""
        return blake2b(repr((sorted(self._windows), self._runs)).encode()).digest()

    def remove(self, windows: set[bytes]) -> None:
        """Stop searching for these windows."""
        self._take(self._windows - windows)

    def all_in(self, data: bytes) -> Iterator[bytes]:
        """Yield the windows in the data, each as often as it occurs."""
        words = samples_of(data)
        return (window for _, window in self.hits(data, np.arange(len(words)), words))

    def hits(self, data: bytes | mmap, samples: np.ndarray, words: np.ndarray
             ) -> Iterator[tuple[int, bytes]]:
        """Yield (place, window) for each window in the data that contains one of these samples.
        `samples` holds their numbers, `words` their values."""
        if not self._windows or len(data) < WINDOW:
            return
        at = np.minimum(np.searchsorted(self._words, words), len(self._words) - 1)
        known = np.flatnonzero(self._words[at] == words)
        if not len(known):
            return
        places, offsets = STRIDE * samples[known], self._offsets[at[known]]
        anywhere = np.ndarray((len(data) - WORD + 1,), "<u8", data, strides=(1,))
        for offset in range(STRIDE + 1):   # a window may have the word at several places
            starts = places[(offsets >> np.uint64(offset)) & np.uint64(1) == 1] - offset
            starts = starts[(starts >= 0) & (starts <= len(data) - WINDOW)]
            for end, in_window in zip(self._ends, (0, WINDOW - WORD), strict=True):
                starts = starts[np.isin(anywhere[starts + in_window], end)]
            for start in starts.tolist():
                window = data[start:start + WINDOW]
                if window in self._windows and self._goes_on(data, start):
                    yield start, window

    def _goes_on(self, data: bytes, start: int) -> bool:
        """Return whether a long enough run of one text surrounds this window, and the window is the
        first searched one in that run."""
        return not self._runs or any(
            data[first:first + n] in text for text, n in self._runs
            if data[start:start + n - STRIDE + 1] in text   # every such run has these bytes
            for first in range(max(0, start - STRIDE + 1), min(start, len(data) - n) + 1))


def samples_of(data: bytes | mmap) -> np.ndarray:
    """Return the word at each multiple of STRIDE. Every window of `data` contains such a word."""
    return np.frombuffer(data, dtype="<u8", count=len(data) // WORD)[::STRIDE // WORD]


def kind_of(words: np.ndarray) -> np.ndarray:
    """Return a small hash of each word, by which most words are ruled out quickly."""
    return ((words * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - KIND_BITS)).astype(np.uint16)


class Spool(tempfile.SpooledTemporaryFile):
    """Keep a file in memory, or on disk if it is too large."""

    def __init__(self):
        super().__init__(SPOOL_BYTES)

    def seekable(self) -> bool:
        """Return True, as Python 3.11 and later do, since zipfile calls this."""
        return True


class Search:
    """Search files for texts, one file after the other.

    `traces` gets a line for each file that contains some of the texts, for bytecode in the folder
    `source` or of its files `paths`, and for what cannot be read. `unread` gets a line for each
    archive that cannot be read; by default it is the same list. The texts `hidden` are whole files:
    only long runs of them count, since any project may have the same single lines. After know(),
    lines of `texts` count only in copies of the project's files."""

    def __init__(self, texts: Iterable[str], source: str = "", paths: Iterable[str] = (),
                 hidden: Iterable[str] = ()):
        self.traces: list[str] = []
        self.unread = self.traces
        self.all_windows = [Windows(texts), Windows(hidden, LONG_RUN)]
        self.know(())
        self._line = ""            # a trace in the current file that counts if the file is a copy
        self._source = f"{source}/"
        self._paths = [f"{source}/{path}".encode() for path in paths]
        self._count = BOUNDS.meter()

    def exempt(self, file: BinaryIO) -> None:
        """Stop searching for the texts that this file contains. Archives in it are not opened."""
        present = [set() for _ in self.all_windows]
        for data in self._overlapping("", file):
            for windows, known in zip(self.all_windows, present, strict=True):
                known.update(windows.all_in(data))
        for windows, known in zip(self.all_windows, present, strict=True):
            windows.remove(known)

    def know(self, texts: Iterable[str]) -> None:
        """Count a single line, from now on, only in a copy of one of the project's files. `texts`
        are the contents of these files; they contain what is searched for."""
        self.project = [(text.encode(errors="replace"), Windows(text.split("\n")))
                        for text in texts]

    def look_through(self, archive: Stream, folder: str = "") -> None:
        """Search all files of a tar archive, which holds the content of a folder of the image."""
        try:
            with read_tar(archive) as tar:
                for member in members(tar):
                    place = f"{folder}/{member.name}"
                    if member.isreg() and self._wants(place):
                        self.look(place, tar.extractfile(member))
        except (UnsafeArchive, OSError) as e:
            self._add("the rest of the files", f"cannot be searched: {e}")

    def look(self, place: str, file: BinaryIO, depth: int = 0) -> None:
        """Search one file and the files packed in it. Raise OverBounds if archives are nested too
        deeply, or the files exceed BOUNDS."""
        if depth > MAX_DEPTH:
            raise OverBounds("too_deep", f"archives are nested more than {MAX_DEPTH} deep", place)
        with Spool() as copy:
            self._line = ""
            try:
                for data in self._overlapping(place, file, copy):
                    if what := self._trace_in(place, data):
                        self._add(place, what)
                        return
            except NO_ARCHIVE:
                pass   # the readable part is in the copy
            if self._line and self._is_copy(copy):
                self._add(place, self._line)
                return
            try:
                for name, content in _packed(copy):
                    self.look(f"{place}!{name}", content, depth + 1)
            except OverBounds:
                raise
            except (UnsafeArchive, OSError) as e:
                self.unread.append(printable(f"{place} cannot be searched: {e}", 500))

    def _wants(self, place: str) -> bool:
        """Return whether a file is to be searched."""
        return True

    def _trace_in(self, place: str, data: bytes) -> str:
        """Return the trace that a piece of a file contains, or ""."""
        for windows in self.all_windows:
            if window := next(windows.all_in(data), b""):
                what = f"holds {window.decode(errors='replace')!r}"
                if not self.project or windows is not self.all_windows[0]:
                    return what
                self._line = self._line or what
        is_of_source = place.startswith(self._source) or any(path in data for path in self._paths)
        return "is bytecode" if place.endswith(".pyc") and is_of_source else ""

    def _is_copy(self, file: BinaryIO) -> bool:
        """Return whether a file is a copy of one of the project's files: it shares more than one
        line with that file, or most of its names, as bytecode does."""
        return any(self._shares_more(file, *one) for one in self.project)

    @staticmethod
    def _shares_more(file: BinaryIO, text: bytes, windows: Windows) -> bool:
        """Return whether a part of a file, around a window and about as long as `text`, has more
        than one line of it or most of its names. A large program has any names somewhere."""
        places: dict[bytes, int] = {}
        lines = text.split(b"\n")
        longest = len(max(lines, key=len))
        file.seek(0)
        for data in iter(partial(file.read, PIECE), b""):
            start = file.tell() - len(data)
            places |= {window: start + data.find(window) for window in windows.all_in(data)}
            if len(places) > longest:   # more windows than one line has
                return True
        for middle in places.values():
            shared = {window for window, at in places.items() if abs(at - middle) <= len(text)}
            file.seek(max(0, middle - len(text)))
            names = {*NAME.findall(file.read(2 * len(text)))}
            names.update([name[:-1] for name in names])   # in bytecode a letter may follow
            line = max(lines, key=lambda one: sum(window in one for window in shared))
            others = {*NAME.findall(text)}.difference(NAME.findall(line), KEYWORDS)
            if any(window not in line for window in shared) or (
                    len(others & names) >= NAMES_SHARE * len(others)):
                return True
        return False

    def _add(self, place: str, what: str) -> None:
        self.traces.append(printable(f"{place} {what}", 500))

    def _overlapping(self, place: str, file: BinaryIO, copy: BinaryIO | None = None
                     ) -> Iterator[bytes]:
        """Yield a file in pieces that begin with the end of the previous piece. Write the file to
        `copy`."""
        end = b""
        for piece in iter(partial(file.read, PIECE), b""):
            self._count(place, len(piece), 0)
            if copy:
                copy.write(piece)
            data = end + piece
            yield data
            end = data[-LONG_RUN + 1:]


def _packed(file: BinaryIO) -> Iterator[tuple[str, BinaryIO]]:
    """Yield (name, content) of each file in an archive; nothing if the file is no archive."""
    size = file.seek(0, 2)
    file.seek(max(0, size - ZIP_END_BYTES))
    is_zip = ZIP_END in file.read()
    file.seek(0)
    head = file.read(PIECE)
    bundle = BUNDLE.match(head)
    unread: list[str] = []
    if is_zip:   # also after other bytes, as in a cache of pip
        yield from _members_of_zip(file, unread)
    if bundle or head.startswith(PACK):
        yield from _objects_of_pack(file, bundle.end() if bundle else 0)
    file.seek(0)
    is_object = head[:1] == b"x" and int.from_bytes(head[:2], "big") % 31 == 0   # a git object
    if is_object or head.startswith(GZIP):
        yield "", Stream(inflated(file))
    if unread:   # at last: the others are searched
        raise UnsafeArchive(f"{unread[0]!r} is packed by bzip2 or lzma")


def _members_of_zip(file: BinaryIO, unread: list[str]) -> Iterator[tuple[str, BinaryIO]]:
    """Yield (name, content) of the members; add the names of those to `unread` of which zipfile
    unpacks a block at once, of any size."""
    with suppress(*NO_ARCHIVE), zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                unread.append(member.filename)
                continue
            with suppress(*NO_ARCHIVE), archive.open(member) as content:
                yield member.filename, content


def _objects_of_pack(file: BinaryIO, start: int) -> Iterator[tuple[str, BinaryIO]]:
    """Yield all objects of the pack that begins at `start` as one content, as read by this
    machine's git. Raise UnsafeArchive if git cannot read them."""
    with temporary_folder() as folder:
        run_git(folder, "init", "-q", "--template=")
        os.lseek(file.fileno(), start, os.SEEK_SET)   # seek() may not move what git reads
        run_git(folder, "index-pack", "--stdin", stdin=file)
        with git_output(folder, "cat-file", "--batch-all-objects", "--batch", "--buffer",
                        "--unordered") as content:
            yield "objects", content
