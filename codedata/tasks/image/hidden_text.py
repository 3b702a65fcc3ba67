"""Search the files of an image for texts, including files in a zip or gzip file.

Nothing of the image is run: this machine reads the engine's tar of its files, within bounds. A file
holds a text if both share 40 consecutive bytes. An archive in an archive, or of another kind, is
not read but reported. Not found: texts that are shorter, or encoded in another way (escaped,
base64, encrypted).
"""
from __future__ import annotations

import keyword
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import BinaryIO

import numpy as np

from codedata.sandbox.archives import (
    GZIP,
    PIECE,
    Stream,
    UnsafeArchive,
    inflated,
    members,
    read_tar,
)
from codedata.suites.outside import BOUNDS
from codedata.texts import printable

WINDOW = 40                # consecutive bytes that reveal a text
# At least this many of these bytes must not be blanks. With 20, 11 % of 7,000 functions of nine
# packages share 40 bytes with an image without these packages; with 30, 3 %. 1.5 % of functions do
# not reach 28.
MIN_INK = 28
NAME = re.compile(rb"[A-Za-z_]\w{3,}")
# A file is a copy of a project's file if it has at least this share of the names in that file. Of
# 200 files compiled to bytecode, which has no comments, 9 have a share below 0.5, 3 one below 0.4.
NAMES_SHARE = 0.4
LONG_RUN = 200             # consecutive bytes that reveal a whole file
# matches a line that many programs share
IMPORTS = re.compile(r"^[ \t]*(?:from |import |(?:const|let|var) .+ = require\().*", re.MULTILINE)
STEP = 32                  # bytes between two windows of a text if only long runs count
WORD, STRIDE = 8, 16       # bytes of a word of data, and from one word to the next
SPOOL_BYTES = 32_000_000   # bytes of a file that are kept in memory
ZIP_END = b"PK\x05\x06"    # start of the last record of a zip file; a comment may follow it
ZIP_END_BYTES = 66_000
# first bytes of unread archives: packs and bundles of git, bzip2, xz, zstd, 7z
OTHERS = re.compile(rb"PACK\0\0\0|# v\d git bundle\n|BZh[1-9]1AY&SY|\xfd7zXZ\0|\x28\xb5\x2f\xfd|"
                    rb"7z\xbc\xaf\x27\x1c")
# folders of packages, which contain their own archives
PACKAGES = re.compile(r"^\w*/usr/(local/)?(lib\w*|share|include)/|/(node_modules|\w+-packages)/")
# raised for a file that only looks like an archive, or has a password
NO_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, KeyError)
KEYWORDS = {word.encode() for word in keyword.kwlist}


class Windows:
    """Find texts in data by windows: 40 bytes of a text, at each offset. With a longer `min_run`, a
    text is found only if the data has that many consecutive bytes of it (or all of a shorter text);
    then windows at every 32nd offset are enough."""

    def __init__(self, texts: Iterable[str], min_run: int = WINDOW):
        unix = [text.replace("\r\n", "\n") for text in texts]
        data = [one for text in unix for form in {text, text.replace("\n", "\r\n")}
                if len(one := form.encode(errors="replace")) >= WINDOW]
        self._runs = [(text, min(min_run, len(text))) for text in data] if min_run > WINDOW else []
        step = STEP if self._runs else 1   # a long run holds several windows of every step
        windows = {line[i:i + WINDOW] for line in data
                   for i in range(0, len(line) - WINDOW + 1, step)}
        self._take({window for window in windows if len(b"".join(window.split())) >= MIN_INK})

    def _take(self, windows: set[bytes]) -> None:
        """Search for these windows. `_words` are the words in them, as sorted numbers."""
        self._windows = windows
        words = {window[i:i + WORD] for window in windows for i in range(WINDOW - WORD + 1)}
        self._words = np.unique(np.frombuffer(b"".join(words), "<u8"))

    def remove(self, windows: set[bytes]) -> None:
        """Stop searching for these windows."""
        self._take(self._windows - windows)

    def all_in(self, data: bytes) -> Iterator[bytes]:
        """Yield the windows in the data, some of them twice.

        First the words at every 16th byte of the data are looked up: any window contains two such
        words in a row. If both are words of windows, the bytes are compared.
        """
        if not self._windows:
            return
        words = np.frombuffer(data, "<u8", len(data) // WORD)[::STRIDE // WORD]
        nearest = np.minimum(np.searchsorted(self._words, words), len(self._words) - 1)
        is_known = self._words[nearest] == words
        for place in (STRIDE * np.flatnonzero(is_known[:-1] & is_known[1:])).tolist():
            end = place + STRIDE + WORD
            if data[place:end].isspace():   # a window has fewer blanks, by MIN_INK
                continue
            for start in range(max(0, end - WINDOW), place + 1):
                window = data[start:start + WINDOW]
                if window in self._windows and self._goes_on(data, start):
                    yield window

    def _goes_on(self, data: bytes, start: int) -> bool:
        """Return whether a long enough run of one text surrounds this window, and the window is the
        first searched one in that run."""
        return not self._runs or any(
            data[first:first + n] in text for text, n in self._runs
            if data[start:start + n - STEP + 1] in text   # every such run has these bytes
            for first in range(max(0, start - STEP + 1), min(start, len(data) - n) + 1))


class Spool(tempfile.SpooledTemporaryFile):
    """Keep a file in memory, or on disk if it is too large."""

    def __init__(self):
        super().__init__(SPOOL_BYTES)

    def seekable(self) -> bool:
        """Return True. zipfile calls this; Python before 3.11 lacks it."""
        return True


class Search:
    """Search files for texts, one file after the other.

    `traces` gets a line for each file that contains some of the texts, and for bytecode in the
    folder `source` or of its files `paths`. `unread` has {place of an archive: its unread part},
    except for archives of packages. The texts `hidden` are whole files: only long runs of them
    without imports count, since any project may have the same single lines. After know(), lines of
    `texts` count only in copies of the project's files."""

    def __init__(self, texts: Iterable[str], source: str = "", paths: Iterable[str] = (),
                 hidden: Iterable[str] = ()):
        self.traces: list[str] = []
        self.unread: dict[str, str] = {}
        # short parts between imports, as the end of an import of many lines, occur anywhere
        parts = (part for some in map(IMPORTS.split, hidden) for part in some
                 if len(part) >= min(LONG_RUN, max(map(len, some))))
        self.all_windows = [Windows(texts), Windows(parts, LONG_RUN)]
        self.know(())
        self._line = ""            # a trace in the current file that counts if the file is a copy
        self._source = f"{source}/"
        self._paths = [f"{source}/{path}".encode() for path in paths]
        self._count = BOUNDS.meter()

    def exempt(self, file: BinaryIO) -> None:
        """Stop searching for the texts that this file contains. Archives in it are not opened."""
        found = [(windows, set()) for windows in self.all_windows]
        for data in self._overlapping("", file):
            for windows, present in found:
                present.update(windows.all_in(data))
        for windows, present in found:
            windows.remove(present)

    def know(self, texts: Iterable[str]) -> None:
        """Count a single line, from now on, only in a copy of one of the project's files. `texts`
        are the contents of these files; they contain the searched texts."""
        self.project = [(text.encode(errors="replace"), Windows(text.split("\n")))
                        for text in texts]

    def look_through(self, archive: Stream, folder: str = "") -> None:
        """Search all files of a tar archive, which holds the content of a folder of the image."""
        try:
            with read_tar(archive) as tar:
                for member in members(tar):
                    if member.isreg():
                        self.look(f"{folder}/{member.name}", tar.extractfile(member))
        except (UnsafeArchive, OSError) as e:
            self._add("the rest of the files", f"cannot be searched: {e}")

    def look(self, place: str, file: BinaryIO, archive: str = "") -> None:
        """Search one file and the files packed in it. `archive` is the place of the archive that
        contains it. Raise OverBounds if the files exceed BOUNDS."""
        with Spool() as copy:
            self._line = ""
            try:
                for data in self._overlapping(place, file, copy):
                    if what := self._trace_in(place, data):
                        self._add(place, what)
                        return
            except NO_ARCHIVE:
                pass   # the readable part is in the copy
            if self._line and any(self._is_copy_of(copy, *one) for one in self.project):
                self._add(place, self._line)
                return
            size = copy.seek(0, 2)
            copy.seek(max(0, size - ZIP_END_BYTES))
            is_zip = ZIP_END in copy.read()   # also after other bytes, as in pip's cache
            copy.seek(0)
            head = copy.read(PIECE)
            is_object = head[:1] == b"x" and int.from_bytes(head[:2], "big") % 31 == 0   # git's
            is_packed = is_zip or is_object or head.startswith(GZIP)
            if OTHERS.match(head) or (archive and is_packed):
                self._name_unread(place, archive or place)
                return
            copy.seek(0)
            if is_zip:
                self._look_into(place, copy)
            elif is_packed:
                self.look(f"{place}!", Stream(inflated(copy)), place)

    def _look_into(self, place: str, file: BinaryIO) -> None:
        """Search the members of a zip file. Report members as unread if zipfile would unpack a
        whole block of them at once."""
        with suppress(*NO_ARCHIVE), zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                inner = f"{place}!{member.filename}"
                self._count(inner, 0)
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    self._name_unread(inner, place)
                    continue
                with suppress(*NO_ARCHIVE), archive.open(member) as content:
                    self.look(inner, content, place)

    def _name_unread(self, place: str, archive: str) -> None:
        if not PACKAGES.search(archive):
            self.unread[archive] = printable(f"{place} is an archive that is not read", 500)

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

    @staticmethod
    def _is_copy_of(file: BinaryIO, text: bytes, windows: Windows) -> bool:
        """Return whether a file is a copy of one of the project's files, `text`: a part of it,
        around a window and about as long as `text`, has more than one line of `text` or, like
        bytecode, most of its names. Only a part is compared, since a large program has any names
        somewhere."""
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
            names.update([name[:-1] for name in names])   # in bytecode, a letter may follow a name
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
