"""Read the files of a repository that planning needs: regular files in its folder, within limits.

Links are resolved. A file counts as missing if it lies outside the folder or in `.git`, or if it
cannot be read or parsed; unreadable files are listed. Names are relative to the folder, with
slashes.
"""
from __future__ import annotations

import configparser
import errno
import io
import os
from collections.abc import Callable
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

import yaml

from codedata.bounded import open_regular, read_bounded, resolved_in
from codedata.env.recipes.package_index import Strings, table
from codedata.texts import printable

MAX_BYTES = 1_000_000     # limit per file; a manifest written by hand has about 10,000
MAX_FILES = 1_000         # limit for opened files
MAX_NAME = 1_000          # limit for a path's characters
MAX_NAMED = 50            # limit for files recorded as unreadable
MAX_WHY = 200             # limit for a reason's characters
LISTING = "."             # the name in `unreadable` for the listing of the folders
ABSENT = (FileNotFoundError, NotADirectoryError)
# raised for bad paths, e.g. with NUL bytes or circular links
UNREADABLE = (OSError, ValueError, RuntimeError)
RUBBISH = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError,
           MemoryError, SyntaxError, configparser.Error, yaml.YAMLError)   # raised by parsers


class RepositoryFiles:
    """Read the files of a repository's folder within limits. `skipped`, {name: reason}, are files
    that count as missing. `announce` is called with the name of each file before it is opened, so
    that a parent process knows which file this process read last."""

    def __init__(self, folder: Path, skipped: dict[str, str] | None = None,
                 announce: Callable[[str], None] = lambda name: None):
        self._folder, self._skipped, self.announce = folder.resolve(), skipped or {}, announce
        self.unreadable = {**self._skipped}   # name → why
        self._n_opened = 0

    def text(self, name: str) -> str:
        """Return a file's text, or "" if it is missing or unreadable."""
        name = name[:MAX_NAME]
        if name in self._skipped:
            return ""
        try:
            path = self._inside(name)
            self.announce(name)
            if self._n_opened >= MAX_FILES:
                raise ValueError(f"it is one of more than {MAX_FILES:,} files")
            content = io.BytesIO(read_bounded(path, MAX_BYTES))
            self._n_opened += 1
            return io.TextIOWrapper(content, encoding="utf-8-sig", errors="replace").read()
        except ABSENT:
            return ""
        except UNREADABLE as e:
            self._refuse(name, e)
            return ""

    def start(self, name: str) -> str:
        """Return the first bytes of a file of any size, or "" if it is missing or unreadable."""
        try:
            with open_regular(self._inside(name)) as file:
                return file.read(MAX_NAME).decode(errors="replace")
        except UNREADABLE:
            return ""

    def packages(self, pattern: str, manifest: str = "package.json") -> list[str]:
        """Return the sorted folders that match a pattern such as `packages/*` and have a manifest.
        `**` matches one level only."""
        pattern = f"{pattern.replace('**', '*')}/{manifest}"
        try:
            names = [path.relative_to(self._folder).as_posix()
                     for path in islice(self._folder.glob(pattern), MAX_FILES)]
        except UNREADABLE:
            return []
        return [name.rpartition("/")[0] for name in sorted(names) if self.has(name)]

    def parsed(self, name: str, parse: Callable, empty):
        """Return `parse` of a file's text, or `empty` if the file is missing or parsing fails."""
        text = self.text(name)
        try:
            return parse(text) if text else empty
        except RUBBISH as e:
            self._refuse(name, f"{type(e).__name__}: {e}")
            return empty

    def _refuse(self, name: str, why: object) -> None:
        """Record that a file counts as missing, with the reason."""
        if len(self.unreadable) < MAX_NAMED:
            reason = printable(getattr(why, "strerror", "") or str(why), MAX_WHY)
            self.unreadable.setdefault(name, reason)

    def has(self, name: str) -> bool:
        """Return whether a name is a regular file; list sockets and the like as unreadable."""
        try:
            path = self._inside(name)
            if path.exists() and not path.is_file() and not path.is_dir():
                raise ValueError("not a regular file")
            return path.is_file()
        except UNREADABLE as e:
            self._refuse(name, e)
            return False

    def matching(self, pattern: str) -> list[str]:
        """Return the sorted files in a folder that match a pattern: `.github/workflows/*.yml`."""
        folder, _, wanted = pattern.rpartition("/")
        try:
            with os.scandir(self._inside(folder)) as entries:
                names = [entry.name for entry in entries
                         if not entry.is_dir(follow_symlinks=False)]
        except UNREADABLE:
            return []
        return sorted(f"{folder}/{name}".lstrip("/") for name in names if fnmatchcase(name, wanted))

    def python_files(self) -> list[Strings]:
        """Return the parts of each Python file's path, sorted. Skip hidden folders, and folders
        that skip.toml names."""
        if LISTING in self._skipped:
            return []
        found: list[Strings] = []
        not_into = table("skip")["python"]["not_looked_into"]
        for place, folders, files in os.walk(self._folder):
            parts = Path(place).relative_to(self._folder).parts
            self.announce(LISTING)
            folders[:] = [name for name in folders if name[0] != "." and name not in not_into]
            found += [(*parts, name) for name in files if name.endswith(".py")]
        return sorted(found)

    def _inside(self, name: str) -> Path:
        path = resolved_in(self._folder, self._folder / name)
        if ".git" in path.relative_to(self._folder).parts:
            raise PermissionError(errno.EACCES, "lies in .git")
        return path
