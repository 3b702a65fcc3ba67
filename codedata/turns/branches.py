"""Branch a history of commands: each branch runs in a separate container. The container starts from
an image of the branch that it continues, the branch "below" it. So a branch sees the effects of the
branches below it, and of no others.

A branch has its container's rights and limits, and no network. Background processes continue in
their branch, but not in branches above it: an image holds only files, without /dev/shm. The engine
lists changed files, and they are read from outside, since no program of the image is trusted.
"""
from __future__ import annotations

import os
import posixpath
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tarfile import TarFile, TarInfo

from codedata.disk.layouts import sha256_of
from codedata.disk.locks import temporary_folder
from codedata.disk.store import digest
from codedata.sandbox import Result
from codedata.sandbox.archives import BOUNDS, Bounds, Source, members, read_tar
from codedata.sandbox.docker.container import SandboxDocker
from codedata.sandbox.docker.engine import Files
from codedata.sandbox.factory import SandboxFactory

IMAGES = "codedata-turn-try/"
DIFF_CHARS = 20_000
MAX_COMPARED = 2_000_000    # maximum of bytes of a file whose lines are compared
MAX_NAMES = 100_000         # maximum of characters of the listed paths together
MAX_READ = 20               # up to so many changed files, reading them one by one is quicker
MAX_DIFFS = 200             # maximum of files whose lines are compared
DIFF_S = 10.0               # time limit of comparing one file
IGNORED = ("/.git/", "/__pycache__/", "/.pytest_cache/", "/node_modules/.cache/")


@dataclass(frozen=True)
class Entry:
    """Describe the content of a path in the source; equal entries have equal content."""

    kind: str                  # file, link or special
    content: str               # digest of a file, target of a link
    mode: int = 0              # whether a file is executable


Entries = Mapping[str, Entry]   # by absolute path, without folders


class BranchedImage:
    """Make branches of an image."""

    how = "commit"

    def __init__(self, factory: SandboxFactory, image: str, label: str):
        """Read the image's source. SandboxFactory.forget(label) removes the images of the
        branches."""
        self.factory, self.image, self.label = factory, image, label
        self.workdir = factory.workdir_of(image)
        with factory.files_of(image) as files:
            self.source = {path: entry for path, entry in entries_at(files, self.workdir)
                           if counts(path)}

    @contextmanager
    def branch(self, *below: Branch) -> Iterator[Branch]:
        """Yield a new branch on top of another one, or of the image."""
        image = below[-1].committed() if below else self.image
        before = below[-1].entries() if below else self.source
        with self.factory.open(image, self.label, self.workdir) as sandbox:
            yield Branch(self, sandbox, before)


class Branch:
    """Run commands in a branch: a Sandbox without a network."""

    def __init__(self, image: BranchedImage, sandbox: SandboxDocker, before: Entries):
        self._image, self._sandbox, self._before = image, sandbox, before
        self.name, self.workdir, self.layers = sandbox.name, sandbox.workdir, (self,)
        self._committed = sandbox.image    # "" if something may have changed since
        self._entries: Entries | None = before

    def run(self, command: str, *, timeout_s: float = 120.0,
            env: Mapping[str, str] | None = None) -> Result:
        """Return the result of a bash command; see Sandbox.run."""
        self._committed, self._entries = "", None
        return self._sandbox.run(command, timeout_s=timeout_s, env=dict(env or {}))

    def put(self, source: Source, to: str) -> None:
        """Copy files of the host into the branch; see Sandbox.put."""
        self._committed, self._entries = "", None
        self._sandbox.put(source, to)

    def get(self, path: str, to: Path, bounds: Bounds = BOUNDS) -> None:
        """Copy files of the branch to the host; see Sandbox.get."""
        self._sandbox.get(path, to, bounds)

    def committed(self) -> str:
        """Return the name of an image with the branch's files."""
        if not self._committed:
            name = self._image.factory.temporary_name(IMAGES)
            # no command is running, so do not pause: a busy engine sometimes fails to pause
            self._sandbox.commit(name, keep=False, pauses=False)
            self._committed = name
        return self._committed

    def entries(self) -> Entries:
        """Return the present entries of the source, by path."""
        if self._entries is None:
            self._entries = self._read()
        return self._entries

    def tree(self) -> str:
        """Return a digest of the differences between the source now and in the image."""
        now, source = self.entries(), self._image.source
        return digest([(path, repr(now.get(path))) for path in sorted({*now, *source})
                       if now.get(path) != source.get(path)])

    def changes(self) -> dict[str, str]:
        """Return {path: diff} of the source's files that changed since the branch began. The diff
        is "" for files that are not text, and once DIFF_CHARS or MAX_DIFFS is reached. Leave out
        the files after the first MAX_NAMES characters of names."""
        now, found = self.entries(), {}
        n_left, n_chars = DIFF_CHARS, 0
        others = [path for path in sorted({*now, *self._before})
                  if now.get(path) != self._before.get(path)]
        if not others:
            return {}
        with self._sandbox.files(self._sandbox.image) as old, self._sandbox.files() as new:
            for i, path in enumerate(others):
                name = _shown(path[len(self.workdir) + 1:])
                n_chars += len(name)
                if n_chars > MAX_NAMES:
                    break
                text = ""
                if n_left > 0 and i < MAX_DIFFS:
                    text = _difference(name, path, (old, self._before.get(path)),
                                       (new, now.get(path)))
                found[name] = text if len(text) <= n_left else ""
                n_left -= len(found[name])
        return found

    def _read(self) -> Entries:
        """Return the present entries of the source, from the engine's list of differences from the
        branch below."""
        now, source = dict(self._before), f"{self.workdir}/"
        changed: list[tuple[str, bool]] = []
        for path, is_there in self._sandbox.differences():
            place = self.workdir if source.startswith(f"{path}/") else path
            if place != self.workdir and not (path.startswith(source) and counts(path)):
                continue
            changed.append((place, is_there))
            # the engine cannot return one file whose name is not UTF-8: then read all files
            if len(changed) > MAX_READ or place != _shown(place):
                changed = [(self.workdir, True)]
                break
        for path, _ in changed:
            for one in [one for one in now if f"{one}/".startswith(f"{path}/")]:
                del now[one]
        with self._sandbox.files() as files:
            for path in dict.fromkeys(path for path, is_there in changed if is_there):
                now |= {place: entry for place, entry in entries_at(files, path)
                        if place.startswith(source) and counts(place)}
        return now


def counts(path: str) -> bool:
    """Return whether a file belongs to the source, not to a cache or git."""
    return not any(part in f"{path}/" for part in IGNORED) and not path.endswith(".pyc")


def entries_at(files: Files, place: str) -> Iterator[tuple[str, Entry]]:
    """Yield (path, entry) of everything but folders at a place and below it; nothing if it is
    gone."""
    count = BOUNDS.meter()
    linked: dict[str, Entry] = {}
    with read_tar(files.below(place)) as tar:
        for member in members(tar):
            count(member.name, member.size)
            if member.isdir():
                continue
            yield posixpath.join(posixpath.dirname(place), member.name), _entry(tar, member, linked)


def _entry(tar: TarFile, member: TarInfo, linked: dict[str, Entry]) -> Entry:
    """Return the entry of a member; `linked` has the tar's files by name, for hard links to
    them."""
    if member.isreg():
        content = sha256_of(tar.extractfile(member))
        linked[member.name] = Entry("file", content, member.mode & 0o100)
        return linked[member.name]
    if member.issym():
        return Entry("link", member.linkname)
    special = Entry("special", str(member.type))
    return linked.get(member.linkname, special) if member.islnk() else special


def _shown(path: str) -> str:
    """Return a path as text, with bytes that are not UTF-8 as escapes."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _difference(name: str, path: str, *sides: tuple[Files, Entry | None]) -> str:
    """Return how a path differs between two sides, "" if one of them is not text."""
    new = sides[1][1]
    if new and new.kind == "link":
        return f"{name}: a link to {new.content!a}\n"
    texts = [_text(files, path) if entry and entry.kind != "link" else b""
             for files, entry in sides]
    if any(entry and entry.kind == "special" for _, entry in sides) or None in texts:
        return ""
    if texts[0] == texts[1]:
        return f"{name}: mode {0o644 + 0o111 * bool(new.mode):o}\n" if new else f"{name}: removed\n"
    with temporary_folder() as folder:
        places = [Path(folder, side) for side in "ab"]
        for place, text in zip(places, texts, strict=True):
            place.write_bytes(text)
        try:
            done = subprocess.run(["diff", "-u", "--label", f"a/{name}", "--label", f"b/{name}",
                                   *places], stdin=subprocess.DEVNULL, capture_output=True,
                                  start_new_session=True, timeout=DIFF_S)
        except subprocess.TimeoutExpired:
            return ""
    return done.stdout.decode(errors="replace")


def _text(files: Files, path: str) -> bytes | None:
    """Return the content of a file, None if it is gone, not text, or longer than MAX_COMPARED."""
    with read_tar(files.below(path)) as tar:
        member = tar.next()
        if not member or not member.isreg() or member.size > MAX_COMPARED:
            return None
        text = tar.extractfile(member).read()
    return None if b"\0" in text else text
