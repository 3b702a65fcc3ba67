"""Read the layers in an image's tar from `docker save`."""
import re
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import BinaryIO

from codedata.sandbox.archives import GZIP, PIECE, ZSTD, Stream, UnsafeArchive, inflated

TAR = re.compile(rb"(?s).{257}ustar")   # marks a layer; its file name depends on the engine


def unpacked(file: BinaryIO) -> Iterator[bytes]:
    """Yield the content of a file in an engine's tar, decompressed if it is compressed by gzip.
    Raise UnsafeArchive for zstd."""
    head = file.read(PIECE)
    is_packed = not TAR.match(head)   # a tar's first name may look like the magic of a format
    if is_packed and head.startswith(ZSTD):
        raise UnsafeArchive("a layer is compressed by zstd, which is not read")
    pieces = chain([head], iter(partial(file.read, PIECE), b""))
    yield from inflated(Stream(pieces)) if is_packed and head.startswith(GZIP) else pieces
