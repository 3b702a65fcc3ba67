"""List what each layer of an image holds, from the engine's tar of the image (docker save)."""
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import BinaryIO

from codedata.sandbox import docker_engine
from codedata.sandbox.archives import PIECE, Bounds, Stream, members, read_tar

BOUNDS = Bounds(max_bytes=100_000_000_000, max_files=5_000_000, max_depth=1_000, max_seconds=900)
MAX_JSON_BYTES = 10_000_000
HEAD_BYTES = 512
MAGIC_AT = 257             # where a tar says what it is


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
            file = tar.extractfile(member)
            head = file.read(HEAD_BYTES)
            if head[MAGIC_AT:].startswith(b"ustar"):
                contents[member.name] = _content(head, file, count)
            elif member.size <= MAX_JSON_BYTES:
                texts[member.name] = head + file.read()
    manifest = json.loads(texts["manifest.json"])[0]
    names = iter(manifest["Layers"])
    found = []
    for step in json.loads(texts[manifest["Config"]])["history"]:
        name = "" if step.get("empty_layer") else links[next(names)]
        found.append(Layer(step.get("created_by", ""), *contents.get(name, (0, ()))))
    return found


def _content(head: bytes, file: BinaryIO, count: Callable[..., None]) -> tuple[int, tuple]:
    """Return (size, paths) of a layer's tar, of which the first bytes were read."""
    n_bytes = 0
    paths = []
    rest = iter(partial(file.read, PIECE), b"")
    with read_tar(Stream(chain([head], rest))) as tar:
        for member in members(tar):
            count(member.name, member.size)
            n_bytes += member.size
            paths.append(member.name)
    return n_bytes, tuple(paths)
