"""Write files and folders atomically, and read the files of a store's items.

An item of a store is either a file or a folder. A file holds one JSON object, sorted and indented,
so that an edit is a one-line diff. If the record's class has `places`, {field: path}, an item is a
folder, with each field in the file or folder at that path. put_folder() replaces a folder of files
in one step.

A file is written to a temporary name in the same directory, flushed and renamed. A folder is built
in _tmp/, flushed and exchanged with the old one. So a kill leaves the old item or the new one.
"""
from __future__ import annotations

import ctypes
import hashlib
import itertools
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial, wraps
from pathlib import Path
from stat import S_ISDIR
from typing import BinaryIO, NamedTuple

import orjson
import tomli_w

from codedata.bounded import MAX_ROW_BYTES, inside, making_folders, own_folder, read_bounded
from codedata.disk.ledger import disk_trouble, from_json
from codedata.errors import BrokenRecord
from codedata.records import OMITTED_IF_NULL, Files
from codedata.texts import check_nesting, safe_name, toml_tables

NAMES = ("Names are up to 200 letters, digits, `.`, `_` and `-`, and do not start with `.` or "
         "`_`.")
# part of temporary names; not the pid, which may be equal on two machines that share a root
RUN = secrets.token_hex(4)
NEW, OLD = "_tmp", "_old."   # folder for new folders; prefix of a folder that is being replaced
MAX_SYNCS = 8                # files to flush in parallel, since each flush waits for the disk
EXCHANGE, HERE = 2, -100     # Linux's RENAME_EXCHANGE and AT_FDCWD
# limits of an item's folder: number of files, bytes of one file, bytes of all files
MAX_FILES, MAX_FILE_BYTES, MAX_FOLDER_BYTES = 5_000, 50_000_000, 200_000_000
_n_files = itertools.count(1)   # numbers for temporary names


def to_json(data) -> bytes:
    """Return a record, or a list of records, as JSON for the disk: sorted and indented.

    Inside the fields of OMITTED_IF_NULL, keys keep their order, since models see these fields.
    """
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    if isinstance(data, list):
        return orjson.dumps([_ordered(record, b"\n    ") for record in data], option=options)
    return orjson.dumps(_ordered(data, b"\n  "), option=options)


def _ordered(data, line_start: bytes):
    """Return a record with the fields of OMITTED_IF_NULL as JSON text, so that orjson does not sort
    their keys. `line_start` is the line end and indentation before these fields."""
    if not isinstance(data, dict) or data.keys().isdisjoint(OMITTED_IF_NULL):
        return data
    return data | {name: fragment(orjson.dumps(data[name], option=orjson.OPT_INDENT_2), line_start)
                   for name in data.keys() & {*OMITTED_IF_NULL}}


def fragment(text: bytes, line_start: bytes = b"\n  ") -> orjson.Fragment:
    """Return the indented JSON of a field, to be written as it is: its keys are not sorted."""
    return orjson.Fragment(text.replace(b"\n", line_start))


def write_atomic(path: Path, data: bytes) -> os.stat_result:
    """Write `data` to `path`, whole or not at all; return the file's stat. Raise RunStopped if the
    disk is full."""
    draft = Draft(path, data)
    stat = draft.sync()
    draft.place()
    return stat


def _keeps_disk_clean(method):
    """Decorate a draft's method: if writing fails, remove the draft and raise RunStopped."""
    @wraps(method)
    def call(self, *args):
        try:
            return method(self, *args)
        except OSError as e:
            self.drop()
            raise disk_trouble(e, self.path) from e
    return call


class Draft:
    """Hold a new file for `path`, written under a temporary name next to it. Create several drafts
    before the first sync() to let the disk write them together."""

    @_keeps_disk_clean
    def __init__(self, path: Path | str, data: bytes):
        self.path = path
        self._tmp = os.path.join(os.path.dirname(path), f"_tmp.{RUN}.{next(_n_files)}")
        self._fd = making_folders(partial(os.open, mode=0o666), self._tmp,
                                  os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view):]
        if hasattr(os, "posix_fadvise"):   # lets Linux start writing now
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    @_keeps_disk_clean
    def sync(self) -> os.stat_result:
        """Flush the file; return its stat, which stays valid after place()."""
        try:
            os.fsync(self._fd)   # flush before place(), so that a power cut leaves no empty file
            return os.fstat(self._fd)
        finally:
            os.close(self._fd)

    @_keeps_disk_clean
    def place(self) -> None:
        """Rename the file to its path, in one step."""
        os.replace(self._tmp, self.path)

    def drop(self) -> None:
        """Remove the temporary file."""
        with suppress(OSError):
            os.unlink(self._tmp)


def list_items(directory: Path, broken: list[BrokenRecord]) -> Iterator[tuple]:
    """Yield (name, stat) of each item of a directory whose items are files.

    Add an error to `broken` for an item whose name is refused, or whose stat cannot be read.
    """
    folder = f"{directory}/"
    for file in sorted(os.listdir(folder)):   # os.scandir() keeps a megabyte for a thousand files
        name = file.removesuffix(".json")
        if file[0] in "_." or name == file:
            continue
        if not safe_name(name):
            broken.append(BrokenRecord("has a name that is refused.", folder + file, NAMES))
            continue
        try:
            yield sys.intern(name), os.stat(folder + file)
        except OSError as e:
            broken.append(BrokenRecord(f"cannot be read: {e.strerror}.", folder + file,
                                       "Correct or delete it."))


class Stamp(NamedTuple):
    """Hold a folder's state in fields with the names of a file's stat, so that folders and files
    are compared in the same way."""

    st_size: int       # bytes of all files in the folder
    st_mtime_ns: int   # not a time: a hash of the paths, sizes and times of all files


def stamp_of(item: Path) -> Stamp | None:
    """Return the stamp of an item. For a file it holds the file's size and mtime; for a folder see
    Stamp. Links in a folder are not followed. Return None if there is no item."""
    try:
        stat = os.stat(item)
    except OSError:
        return None
    if not S_ISDIR(stat.st_mode):
        return Stamp(stat.st_size, stat.st_mtime_ns)
    files = []
    n_bytes = 0
    for at, _, names in os.walk(item):
        for name in names:
            path = os.path.join(at, name)
            stat = os.lstat(path)
            n_bytes += stat.st_size
            files.append((os.path.relpath(path, item), stat.st_size, stat.st_mtime_ns))
    hasher = hashlib.blake2b(repr(sorted(files)).encode(errors="replace"), digest_size=7)
    return Stamp(n_bytes, int.from_bytes(hasher.digest(), "big"))


def list_folders(directory: Path, broken: list[BrokenRecord]) -> Iterator[tuple]:
    """Yield (name, stamp) of each item of a directory whose items are folders.

    Add an error to `broken` for a refused name, a link, a .json file, or endlessly nested folders.
    """
    for entry in sorted(os.scandir(directory), key=lambda e: e.name):
        is_folder = entry.is_dir(follow_symlinks=False)
        if entry.name[0] in "_." or not (
                is_folder or entry.is_symlink() or entry.name.endswith(".json")):
            continue
        if not is_folder:
            broken.append(BrokenRecord("is not a folder.", entry.path, "Items are folders here."))
        elif not safe_name(entry.name):
            broken.append(BrokenRecord("has a name that is refused.", entry.path, NAMES))
        else:
            try:
                listed = stamp_of(Path(entry.path))
            except RecursionError:   # raised by os.walk() before Python 3.12
                broken.append(BrokenRecord("has endlessly nested folders.", entry.path,
                                           "Take them out."))
                continue
            if listed:   # skip a folder that has been removed meanwhile
                yield sys.intern(entry.name), listed


def load_folder(folder: Path, places: dict[str, str]) -> dict:
    """Return the record in an item's folder as {"instance_id": name, field: value, …}. The value of
    a missing file is None, of a missing folder {}.

    Raise BrokenRecord if a file cannot be read or is a link, or if the files exceed the limits.
    """
    data = {"instance_id": folder.name}
    n_left = [MAX_FILES, MAX_FOLDER_BYTES]
    for field, place in places.items():
        path = folder / place
        try:
            data[field] = load_files(path, n_left) if place.endswith("/") else _load_part(path)
        except (ValueError, RecursionError, OSError) as e:
            raise BrokenRecord(f"is not readable: {e}", str(path), "Correct that file.") from e
    return data


def _load_part(path: Path):
    if path.is_symlink():
        raise ValueError("it is a link")
    if not path.exists():
        return None
    raw = read_bounded(path, MAX_ROW_BYTES)
    if path.suffix == ".json":
        check_nesting(value := from_json(raw))
        return value
    text = raw.decode()
    return toml_tables(text) if path.suffix == ".toml" else text


def load_files(folder: Path, n_left: list[int] | None = None) -> Files:
    """Return {relative path: Path} of the files below a folder. `n_left` is [files, bytes] that may
    still be read; it is reduced. Raise ValueError if they are exceeded, or for a link."""
    files: Files = {}
    n_left = n_left or [MAX_FILES, MAX_FOLDER_BYTES]
    if folder.is_symlink():
        raise ValueError("it is a link")
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        name.encode()   # raise ValueError if the name is not UTF-8
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ValueError(f"{name[:200]!r} is a link, or not a regular file")
        if path.is_file():
            size = path.stat().st_size
            n_left[0] -= 1
            n_left[1] -= size
            if size > MAX_FILE_BYTES or min(n_left) < 0:
                raise ValueError(f"{name[:200]!r} is too large, or one file too many: at most "
                                 f"{MAX_FILES:,} files with {MAX_FOLDER_BYTES:,} bytes, "
                                 f"{MAX_FILE_BYTES:,} each")
            files[name] = path
    return files


class Program(bytes):
    """Hold the content of a file to be made executable, whatever its name."""


def unwrapped(folder: Path) -> Path:
    """Return the only entry of a folder if this entry is a folder too, else the folder itself."""
    inner = [*folder.iterdir()]
    return inner[0] if len(inner) == 1 and inner[0].is_dir() else folder


def without_paths(files: Files) -> Files:
    """Return the files with each path replaced by the file's content."""
    return {name: (Program if _may_run(file) else bytes)(content_of(file))
            for name, file in files.items()}


def _may_run(file: bytes | Path) -> bool:
    is_program = isinstance(file, Program)
    return is_program if isinstance(file, bytes) else os.access(file, os.X_OK)


def content_of(file: bytes | Path) -> bytes:
    """Return the content of an entry of Files. Raise BrokenRecord if it is gone."""
    try:
        return file if isinstance(file, bytes) else read_bounded(file, MAX_FILE_BYTES)
    except OSError as e:
        raise BrokenRecord(f"cannot be read: {e.strerror}.", str(file), "Run again.") from e


def files_digest(files: Files) -> str:
    """Return 16 hex digits of the names and contents of files."""
    hasher = hashlib.blake2b(digest_size=8)
    for name in sorted(files):
        content = hashlib.sha256(content_of(files[name])).hexdigest()
        hasher.update(f"{name}\0{content}\0".encode())
    return hasher.hexdigest()


class FolderDraft:
    """Hold a new version of an item's folder, built in _tmp/<within>/. `values` maps places to new
    content; None removes the file at a place. Other places keep the content of the present folder.
    """

    @_keeps_disk_clean
    def __init__(self, path: Path, values: dict, within: str):
        self.path = path
        built = self._built = own_folder(path.parent, NEW, within, path.name)
        shutil.rmtree(built, ignore_errors=True)
        if path.exists():
            shutil.copytree(path, built, symlinks=True)
        built.mkdir(parents=True, exist_ok=True)
        for name, value in values.items():
            place = built / name
            if name.endswith("/"):
                shutil.rmtree(place, ignore_errors=True)
                write_files(place, value or {})
            elif value is None:
                place.unlink(missing_ok=True)
            elif place.suffix == ".json":
                _write_file(place, to_json(value))
            else:
                text = tomli_w.dumps(value) if place.suffix == ".toml" else value
                _write_file(place, text.encode())

    @_keeps_disk_clean
    def sync(self) -> Stamp:
        """Flush the folder; return its stamp, which stays valid after place()."""
        _sync(self._built)
        return stamp_of(self._built)

    @_keeps_disk_clean
    def place(self) -> None:
        """Move the new folder to its place, and delete the present one, if any."""
        exchange_folders(self.path, self._built)

    def drop(self) -> None:
        """Remove the new folder."""
        shutil.rmtree(self._built, ignore_errors=True)


def write_files(folder: Path, files: Files) -> None:
    """Write files below a folder. A Program, and content for a file *.sh, becomes executable; a
    copied file keeps its mode."""
    for name, file in files.items():
        _write_file(inside(folder, name), file)   # check the name, which may be untrusted


def _write_file(path: Path, file: bytes | Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(file, bytes):
        path.write_bytes(file)
        is_program = path.suffix == ".sh" or isinstance(file, Program)
        path.chmod(0o755 if is_program else 0o644)
    else:
        shutil.copy(file, path)


def load(path: Path):
    """Return the JSON value of an item's file. Raise BrokenRecord if it is not readable."""
    try:
        return from_json(read_bounded(path))
    except FileNotFoundError as e:
        raise BrokenRecord("is gone.", str(path), "It was there a moment ago: run again.") from e
    except (ValueError, RecursionError, OSError) as e:
        raise BrokenRecord(f"is not readable JSON: {e}", str(path),
                           "Correct it, or delete it and run again.") from e


def set_aside(path: Path, keep: bool = True) -> Path:
    """Copy a file or folder to _replaced/ in its directory, as NAME.1.json, NAME.2.json, …; return
    the copy's path. Without `keep`, move the original instead."""
    suffix = "" if path.is_dir() else path.suffix
    aside = own_folder(path.parent, "_replaced")
    aside.mkdir(exist_ok=True)
    copies = (aside / f"{path.name.removesuffix(suffix)}.{n}{suffix}" for n in itertools.count(1))
    copy = next(copy for copy in copies if not copy.exists())
    if not keep:
        path.rename(copy)
    elif path.is_dir():
        shutil.copytree(path, copy)
    else:
        write_atomic(copy, read_bounded(path))
    return copy


def put_folder(path: Path, built: Path) -> None:
    """Flush the folder `built`, made under <directory>/_tmp/, then move it to `path` by
    exchange_folders(). Make the folders above `path`."""
    _sync(built)
    path.parent.mkdir(parents=True, exist_ok=True)
    exchange_folders(path, built)


def exchange_folders(path: Path, built: Path) -> None:
    """Move the folder `built` to `path`. If `path` exists, exchange the two in one step, then
    delete the old folder.

    On a file system that cannot exchange folders, a kill between two renames leaves nothing at
    `path`; clear_up() then restores the old folder. Raise Trouble if `path` is a link.
    """
    own_folder(path.parent, path.name)
    if not path.exists():
        built.rename(path)
        return
    old = built
    if not _exchange(built, path):
        old = path.rename(built.with_name(OLD + path.name))
        built.rename(path)
    shutil.rmtree(old)


def clear_up(directory: Path, within: str = "") -> None:
    """Remove the leftovers of killed runs in _tmp/<within>/. If a run was killed while it replaced
    a folder, restore the old folder. The caller must hold the directory's lock."""
    left = own_folder(directory, NEW, within)
    for old in left.glob(f"{OLD}*"):
        place = directory / old.name.removeprefix(OLD)
        if not place.exists():   # a run was killed between two renames
            old.rename(place)
    shutil.rmtree(left, ignore_errors=True)


def folder_digests(folder: Path, manifest: str) -> dict[str, str]:
    """Return {relative path: SHA-256 in hex} of all files except the manifest, sorted."""
    paths = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*"))}
    return {name: _file_sha256(path) for name, path in paths.items()
            if path.is_file() and name != manifest}


def path_sha256(path: Path, manifest: str) -> str:
    """Return the SHA-256 in hex of a file's content; for a folder, of folder_digests()."""
    if path.is_file():
        return _file_sha256(path)
    digests = orjson.dumps(folder_digests(path, manifest), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(digests).hexdigest()


def _file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return sha256_of(file)


def sha256_of(file: BinaryIO) -> str:
    """Return the SHA-256 in hex of the rest of an open file."""
    hasher = hashlib.sha256()
    while part := file.read(1 << 20):
        hasher.update(part)
    return hasher.hexdigest()


def _exchange(a: Path, b: Path) -> bool:
    """Swap the names of two folders in one step. Return False if the system cannot do it."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    return rename(HERE, os.fsencode(a), HERE, os.fsencode(b), EXCHANGE) == 0


def _sync(folder: Path) -> None:
    """Flush a folder and its files to disk, so that a power cut leaves no truncated file."""
    def flush(path: Path) -> None:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    with ThreadPoolExecutor(MAX_SYNCS) as pool:
        paths = [path for path in folder.rglob("*") if not path.is_symlink()]
        list(pool.map(flush, (*paths, folder)))
