"""Search the layers of an image for texts that it must not contain."""
from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from codedata.sandbox.archives import PIECE, Stream, members, read_tar
from codedata.sandbox.docker import engine
from codedata.sandbox.images.layers import TAR, unpacked
from codedata.tasks.image.hidden_text import PACKAGES, Search, Spool

LAYER = "layer"   # prefix of a layer's files in a trace


class ImageSearch(Search):
    """Search the layers of an image. In folders of packages only long matches count, since short
    ones may be idioms of the language."""

    def __init__(self, texts: list[str]):
        super().__init__(texts, hidden=texts)

    def look_into(self, archive: Iterator[bytes], base: str) -> None:
        """Search the engine's tar archive of an image, without the layers of the image `base` ("":
        none). Raise UnsafeArchive if it cannot be read."""
        layers = engine.layers_of(base) if base else ()
        with read_tar(Stream(archive)) as tar:
            for member in members(tar):
                if member.isreg():
                    self.look_at(member.name, tar.extractfile(member), {*layers})

    def look_at(self, part: str, file: BinaryIO, known: set[str]) -> None:
        """Search a part of the engine's tar archive, unless it is a layer whose digest is in
        `known`. Raise UnsafeArchive if it cannot be read."""
        with Spool() as copy:
            hasher = hashlib.sha256()
            for piece in unpacked(file):
                self._count(part, len(piece), 0)
                hasher.update(piece)
                copy.write(piece)
            if f"sha256:{hasher.hexdigest()}" in known:
                return
            copy.seek(0)
            is_layer = TAR.match(copy.read(PIECE))
            copy.seek(0)
            if is_layer:
                self.look_through(Stream(iter(partial(copy.read, PIECE), b"")), LAYER)
            else:
                self.look(part, copy)

    def _trace_in(self, place: str, data: bytes) -> str:
        windows = self.all_windows[bool(PACKAGES.search(place))]
        window = next(windows.all_in(data), b"")
        return f"holds {window.decode(errors='replace')!r}" if window else ""
