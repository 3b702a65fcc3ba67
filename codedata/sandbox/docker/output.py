"""Collect a command's output: keep its beginning and end, count the bytes between, hide secrets."""
from __future__ import annotations

import re
import time
from collections.abc import Iterable

from codedata.sandbox import OUTPUT_BYTES, TIMED_OUT, Result

HIDDEN = b"<hidden>"


class Output:
    """Collect any number of bytes, and keep about `limit`. Never return a text in `hide`, even if
    it arrives in pieces."""

    def __init__(self, hide: Iterable[str] = (), limit: int = OUTPUT_BYTES):
        secrets = sorted(map(str.encode, hide), key=len, reverse=True)
        self.n_bytes = 0
        self._began = time.monotonic()
        self._secret = re.compile(b"|".join(map(re.escape, secrets)) or b"(?!)")
        self._half = limit // 2
        # at each end, keep more than is shown, to find a secret across the cut
        self._n_kept = self._half + max(map(len, secrets), default=0)
        self._head = bytearray()
        self._tail = bytearray()

    def add(self, data: bytes) -> None:
        """Add a piece of output."""
        self.n_bytes += len(data)
        room = self._n_kept - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        # do not cut the tail after each piece, since cutting copies it
        if len(self._tail) > 4 * self._n_kept:
            del self._tail[:-self._n_kept]

    def text(self) -> str:
        """Return the kept output as storable text. If bytes were cut, a line in the middle gives
        their number."""
        data = self._head + self._tail
        n_cut = self.n_bytes - 2 * self._half
        if n_cut <= 0:
            return self._text(data, 0, len(data))
        head = self._text(data, 0, self._half)
        tail = self._text(data, len(data) - self._half, len(data))
        return f"{head}\n[... {n_cut:,} bytes cut ...]\n{tail}"

    def result(self, exit_code: int | None) -> Result:
        """Return the result of a command that started when this object was created. `exit_code` is
        None for a command that ran out of time."""
        timed_out = exit_code is None
        return Result(TIMED_OUT if timed_out else exit_code, self.text(),
                      time.monotonic() - self._began, timed_out, self.n_bytes)

    def _text(self, data: bytearray, start: int, end: int) -> str:
        """Return data[start:end] as text, with all overlapping secrets hidden."""
        shown = bytearray()
        for match in self._secret.finditer(data):
            if match.end() > start and match.start() < end:
                shown += data[start:match.start()] + HIDDEN
                start = match.end()
        shown += data[start:end]
        return shown.decode(errors="replace").replace("\0", "\ufffd")
