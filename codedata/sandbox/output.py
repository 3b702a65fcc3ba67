"""Collect what a command prints, as it comes: keep the beginning and the end, and count the
middle."""
from __future__ import annotations

import re

from codedata.sandbox import OUTPUT_BYTES

HIDDEN = b"<hidden>"


class Output:
    """Take any number of bytes and hold at most `limit`. Texts in `hide` are never returned,
    wherever they were split."""

    def __init__(self, hide: list[str] | None = None, limit: int = OUTPUT_BYTES):
        self.n_bytes = 0
        self._head, self._tail, self._half, self._n_cut = bytearray(), bytearray(), limit // 2, 0
        secrets = sorted((text.encode() for text in hide or []), key=len, reverse=True)
        self._secret = re.compile(b"|".join(map(re.escape, secrets))) if secrets else None
        self._held, self._longest = b"", len(secrets[0]) if secrets else 0

    def add(self, data: bytes) -> None:
        """Add a piece of output."""
        self.n_bytes += len(data)
        self._take(self._without_secrets(data, self._longest - 1) if self._secret else data)

    def text(self) -> str:
        """Return what was kept as a text that can be stored, with a line in the middle that says
        how many bytes were cut."""
        if self._secret:
            self._take(self._without_secrets(b"", 0))
        self._shorten()
        if not self._n_cut:
            return _text(self._head + self._tail)
        return f"{_text(self._head)}\n[... {self._n_cut:,} bytes cut ...]\n{_text(self._tail)}"

    def _without_secrets(self, data: bytes, n_held: int) -> bytes:
        """Return the data that can be kept. Its last `n_held` bytes may be the beginning of a
        secret, and wait for the next piece."""
        data, done, out = self._held + data, 0, bytearray()
        certain = max(len(data) - n_held, 0)
        for found in self._secret.finditer(data):
            if found.start() >= certain:
                break
            out += data[done:found.start()] + HIDDEN
            done = found.end()
        out += data[done:certain]
        self._held = data[max(done, certain):]
        return bytes(out)

    def _take(self, data: bytes) -> None:
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 4 * self._half:   # not for each piece, since shortening moves what is kept
            self._shorten()

    def _shorten(self) -> None:
        if (n := len(self._tail) - self._half) > 0:
            del self._tail[:n]
            self._n_cut += n


def _text(data: bytearray) -> str:
    return data.decode(errors="replace").replace("\0", "\ufffd")
