"""List what each layer of an image holds, from the engine's tar of the image (docker save)."""
from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import BinaryIO

from codedata.sandbox import docker_engine
from codedata.sandbox.archives import (
    GZIP,
    PIECE,
    ZSTD,
    Bounds,
    Stream,
    UnsafeArchive,
    inflated,
    members,
    read_tar,
)

BOUNDS = Bounds(max_bytes=100_000_000_000, max_files=5_000_000, max_depth=1_000, max_seconds=900)
MAX_JSON_BYTES = 10_000_000
TAR = re.compile(rb"(?s).{257}ustar")   # a layer, which each engine calls by another name


@dataclass(frozen=True)
class Layer:
    """Hold what one step of an image added."""

    created_by: str
    n_bytes: int
    paths: tuple[str, ...]     # files and folders; x/.wh.y means that y was removed


def layers(image: str) -> list[Layer]:
    """Return the steps of a local image in their order. One that added no file, such as ENV, has
    no paths. Raise UnsafeArchive where the engine's tar cannot be read."""
    api = docker_engine.connect()
    count = BOUNDS.meter()
    texts: dict[str, bytes] = {}
    contents: dict[str, tuple[int, tuple[str, ...]]] = {}
    links: dict[str, str] = {}   # of a layer that occurs twice
    with read_tar(Stream(api.get_image(image))) as tar:
        for member in members(tar):
            links[member.name] = member.linkname.removeprefix("../") or member.name
            if not member.isreg():
                continue
            pieces = unpacked(tar.extractfile(member))
            head = next(pieces, b"")
            if TAR.match(head):
                contents[member.name] = _content(chain([head], pieces), count)
            elif member.size <= MAX_JSON_BYTES:
                texts[member.name] = b"".join([head, *pieces])
    manifest = json.loads(texts["manifest.json"])[0]
    names = iter(manifest["Layers"])
    found = []
    for step in json.loads(texts[manifest["Config"]])["history"]:
        name = "" if step.get("empty_layer") else links[next(names)]
        found.append(Layer(step.get("created_by", ""), *contents.get(name, (0, ()))))
    return found


def unpacked(file: BinaryIO) -> Iterator[bytes]:
    """Yield a part of an engine's tar as it was before newer engines compressed it. Raise
    UnsafeArchive for zstd."""
    head = file.read(PIECE)
    is_packed = not TAR.match(head)   # a tar begins with a name, which may look like anything
    if is_packed and head.startswith(ZSTD):
        raise UnsafeArchive("a layer is compressed by zstd, which is not read")
    pieces = chain([head], iter(partial(file.read, PIECE), b""))
    yield from inflated(Stream(pieces)) if is_packed and head.startswith(GZIP) else pieces


def _content(pieces: Iterable[bytes], count: Callable[..., None]) -> tuple[int, tuple]:
    """Return (size, paths) of a layer's tar."""
    n_bytes = 0
    paths = []
    with read_tar(Stream(pieces)) as tar:
        for member in members(tar):
            count(member.name, member.size)
            n_bytes += member.size
            paths.append(member.name)
    return n_bytes, tuple(paths)
