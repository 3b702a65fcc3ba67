"""Decompress the layers in an image's tar from `docker save`."""
import re
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import BinaryIO

from codedata.sandbox.archives import GZIP, PIECE, ZSTD, Stream, UnsafeArchive, inflated

TAR = re.compile(rb"(?s).{257}ustar")   # the start of a tar: an uncompressed layer


def unpacked(file: BinaryIO) -> Iterator[bytes]:
    """Yield the content of a file in the tar of an image; decompress gzip. Raise UnsafeArchive for
    zstd."""
    head = file.read(PIECE)
    is_packed = not TAR.match(head)   # a tar may begin with a name like the start of gzip
    if is_packed and head.startswith(ZSTD):
        raise UnsafeArchive("a layer is compressed by zstd, which is not read")
    pieces = chain([head], iter(partial(file.read, PIECE), b""))
    yield from inflated(Stream(pieces)) if is_packed and head.startswith(GZIP) else pieces
