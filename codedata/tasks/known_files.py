"""Remember what the files of an image hold, so that images made of it are searched without reading
them again: an environment has 400 MB of files and more, of which a bug changes a few.

A temporary file holds their content, unpacked as Search unpacks it. It lacks the files of the
source, since each image has its own. Two of every 32 bytes are kept in memory. The temporary file
is removed with its object.
"""
from __future__ import annotations

import tempfile
from bisect import bisect
from collections.abc import Callable
from mmap import ACCESS_READ, MADV_DONTNEED, mmap
from typing import BinaryIO

import numpy as np

from codedata.sandbox import docker_engine
from codedata.tasks.hidden_text import STRIDE, WINDOW, Search, Windows, kind_of, samples_of

MAX_BYTES = 4_000_000_000   # of an image's files that are remembered


class KnownFiles(Search):
    """Hold those files of an image that are outside of the source. `is_whole` is False if
    some could not be read, or if they have more than MAX_BYTES."""

    def __init__(self, image: str, source: str, files_of: Callable = docker_engine.files_of):
        super().__init__((), source)
        self._file = tempfile.TemporaryFile(prefix="codedata_known.")
        self._starts: list[int] = []    # of each piece in the temporary file
        self._places: list[str] = []    # of each piece: the path of its file
        self._holders: dict[bytes, set[str]] = {}   # {key of windows: files that hold one of them}
        self._bytecode: set[str] = set()   # files that may be bytecode of the source
        self._current = ""              # the file being read, also for files packed in it
        self._size = self._file.write(bytes(STRIDE))   # so that it is never empty
        self.is_whole = True
        with files_of(image) as files:
            self.look_through(files.all())
        self.is_whole = self._size <= MAX_BYTES and not self.traces
        self._file.flush()
        if self.is_whole:
            self._data = mmap(self._file.fileno(), 0, access=ACCESS_READ)
            self._kinds = kind_of(samples_of(self._data))
            self._data.madvise(MADV_DONTNEED)

    def found(self, search: Search) -> set[str]:
        """Return the files that have to be searched one by one: all that contain a text of the
        search, and possibly some more."""
        return self._bytecode.union(*map(self._holding, search.all_windows))

    def _holding(self, windows: Windows) -> set[str]:
        """Return the files that contain one of the windows. Cache the result, as many bugs hide the
        same tests."""
        key = windows.key
        if key not in self._holders:
            self._holders[key] = {self._places[bisect(self._starts, start) - 1]
                                  for start, _ in self.hits(windows)}
        return self._holders[key]

    def hits(self, windows: Windows) -> list[tuple[int, bytes]]:
        """Return (place in the temporary file, window) for the windows in it."""
        samples = np.flatnonzero(windows.kinds[self._kinds])
        hits = [*windows.hits(self._data, samples, samples_of(self._data)[samples])]
        self._data.madvise(MADV_DONTNEED)   # or what was read would count as this process's memory
        return hits

    def look(self, place: str, file: BinaryIO, depth: int = 0) -> None:
        """Store one file and the files that are packed in it."""
        if not depth:
            self._current = place
        super().look(place, file, depth)

    def _wants(self, place: str) -> bool:
        return not place.startswith(self._source) and self._size <= MAX_BYTES

    def _trace_in(self, place: str, data: bytes) -> str:
        """Store a piece of a file. Return "", as nothing is searched for here."""
        if place.endswith(".pyc") and self._source.encode() in data:
            self._bytecode.add(self._current)
        if len(data) >= WINDOW:
            self._starts.append(self._size)
            self._places.append(self._current)
            self._size += self._file.write(data.ljust(-(-len(data) // STRIDE) * STRIDE, b"\0"))
        return ""
