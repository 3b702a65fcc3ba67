"""Read the layers in an engine's tar of an image (docker save)."""
import re
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import BinaryIO

from codedata.sandbox.archives import GZIP, PIECE, ZSTD, Stream, UnsafeArchive, inflated

TAR = re.compile(rb"(?s).{257}ustar")   # a layer, which each engine calls by another name


def unpacked(file: BinaryIO) -> Iterator[bytes]:
    """Yield a part of an engine's tar as it was before newer engines compressed it. Raise
    UnsafeArchive for zstd."""
    head = file.read(PIECE)
    is_packed = not TAR.match(head)   # a tar begins with a name, which may look like anything
    if is_packed and head.startswith(ZSTD):
        raise UnsafeArchive("a layer is compressed by zstd, which is not read")
    pieces = chain([head], iter(partial(file.read, PIECE), b""))
    yield from inflated(Stream(pieces)) if is_packed and head.startswith(GZIP) else pieces
