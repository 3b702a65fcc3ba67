"""Remember what the files of an image hold, so that each image made of it is searched without
reading them again: an environment's files are 400 MB and more, those that a bug changes a few.

They are kept in a temporary file, unpacked as Search unpacks them; the files of the source are left
out, since each image has its own. Of each 32 bytes two are in memory. The file goes with its
object.
"""
from __future__ import annotations

import tempfile
from bisect import bisect
from mmap import ACCESS_READ, MADV_DONTNEED, mmap
from typing import BinaryIO

import numpy as np

from codedata.sandbox import docker_engine
from codedata.tasks.hidden_text import STRIDE, WINDOW, Search, Windows, kind_of, samples_of

MAX_BYTES = 4_000_000_000   # that are remembered of an image


class KnownFiles(Search):
    """Hold the files of an image beside its source. `is_whole` says whether all are held."""

    def __init__(self, image: str, source: str):
        super().__init__((), source)
        self._file = tempfile.TemporaryFile(prefix="codedata_known.")
        self._starts: list[int] = []    # in the file, of pieces
        self._places: list[str] = []    # of the same pieces: their files
        self._found: dict[bytes, set[str]] = {}   # that hold what was searched for
        self._anew: set[str] = set()    # files of which more is asked than what they hold
        self._file_now = ""             # which is being read, perhaps packed files in it
        self._size = self._file.write(bytes(STRIDE))   # so that it is never empty
        self.is_whole = True
        api = docker_engine.connect()
        with docker_engine.files_of(api, image) as files:
            self.look_through(files.all())
        self.is_whole = self._size <= MAX_BYTES and not self.traces
        self._file.flush()
        if self.is_whole:
            self._data = mmap(self._file.fileno(), 0, access=ACCESS_READ)
            self._kinds = kind_of(samples_of(self._data))
            self._data.madvise(MADV_DONTNEED)

    def found(self, search: Search) -> set[str]:
        """Return the files that have to be searched one by one: all that hold what is searched for,
        and some more."""
        return self._anew.union(*map(self._holding, search.all_windows))

    def _holding(self, windows: Windows) -> set[str]:
        """Return the files that hold one of the windows; many bugs hide the same tests."""
        key = windows.key
        if key not in self._found:
            self._found[key] = {self._places[bisect(self._starts, start) - 1]
                                for start, _ in self.hits(windows)}
        return self._found[key]

    def hits(self, windows: Windows) -> list[tuple[int, bytes]]:
        """Return (place in all that is known, window) of those that stand there."""
        samples = np.flatnonzero(windows.kinds[self._kinds])
        found = [*windows.hits(self._data, samples, samples_of(self._data)[samples])]
        self._data.madvise(MADV_DONTNEED)   # what was read of it is no memory of this process
        return found

    def look(self, place: str, file: BinaryIO, depth: int = 0) -> None:
        """Remember one file, and what is packed in it."""
        if not depth:
            self._file_now = place
        super().look(place, file, depth)

    def _wants(self, place: str) -> bool:
        return not place.startswith(self._source) and self._size <= MAX_BYTES

    def _trace_in(self, place: str, data: bytes) -> str:
        """Remember a piece of a file; it holds nothing that is searched for."""
        if place.endswith(".pyc") and self._source.encode() in data:
            self._anew.add(self._file_now)
        if len(data) >= WINDOW:
            self._starts.append(self._size)
            self._places.append(self._file_now)
            self._size += self._file.write(data.ljust(-(-len(data) // STRIDE) * STRIDE, b"\0"))
        return ""
