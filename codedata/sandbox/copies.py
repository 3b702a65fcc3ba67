"""Use folders of the driver's machine in any process. The driver uses the folder itself, a worker
on another machine uses a copy."""
from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codedata.disk.locks import temporary_folder
from codedata.driver import in_driver, is_worker
from codedata.sandbox.archives import pack


@in_driver
def is_folder(path: Path) -> bool:
    """Return whether a path is a folder of the driver's machine."""
    return path.is_dir()


@in_driver
def text_at(path: str) -> str:
    """Return the text of a file of the driver's machine."""
    return Path(path).read_text()


@in_driver
def remove_folder(path: Path) -> None:
    """Remove a folder of the driver's machine, if it is there."""
    shutil.rmtree(path, ignore_errors=True)


@contextmanager
def at_hand(folder: Path | None) -> Iterator[Path | None]:
    """Yield a folder or, in a worker, a copy of it that is removed at the end; yield None for None.
    """
    if folder is None or not is_worker():
        yield folder
        return
    with temporary_folder() as place:
        copy = place / folder.name
        _extract(_packed(folder), copy)
        yield copy


@contextmanager
def new_folder(to: Path) -> Iterator[Path]:
    """Yield an empty folder that replaces the folder `to` at the end, if no exception is raised."""
    if is_worker():
        with temporary_folder() as place:
            yield place
            _put(to, _tar_of(place))
        return
    half = to.with_name(f"_half.{to.name}")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    try:
        yield half
        remove_folder(to)
        half.rename(to)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _tar_of(folder: Path) -> bytes:
    with pack(folder) as archive:
        return archive.read()


_packed = in_driver(_tar_of)   # a tar of a folder of the driver's machine


@in_driver
def _put(to: Path, content: bytes) -> None:
    with new_folder(to) as half:
        _extract(content, half)


def _extract(content: bytes, to: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        if hasattr(tarfile, "fully_trusted_filter"):   # not in early 3.11; trust our pack()
            archive.extraction_filter = staticmethod(tarfile.fully_trusted_filter)
        archive.extractall(to)
