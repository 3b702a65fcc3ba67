"""Run this machine's git on untrusted folders and patches, without settings of the system or the
user. Git reads an untrusted clone only through own_repository()."""
from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from codedata.bounded import inside, read_bounded
from codedata.disk.locks import temporary_folder
from codedata.errors import BrokenRecord
from codedata.sandbox.archives import UnsafeArchive
from codedata.texts import printable

PROGRAMS = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
GIT_S = 600                # seconds for one command
MAX_BYTES = 1_000_000      # size of a HEAD or config file
MAX_REFS_BYTES = 200_000_000   # size of packed-refs, which git reads whole
MAX_OUTPUT = 200_000_000   # bytes that a command may print
MAX_MEMORY = 2_000_000_000   # bytes, without mapped files; also limits the file names in a tree
MAX_CPU_S = 1_200          # seconds for all threads of a process, even if it outlives its parent
# starts git with limits, through a shell, since a preexec function may hang with other threads
LIMITED = ("sh", "-c", f'ulimit -d {MAX_MEMORY // 1024}; ulimit -t {MAX_CPU_S}; exec "$@"', "sh")
HISTORY = ("objects", "refs", "packed-refs", "shallow")   # linked by own_repository()
ALTERNATES = ("/objects/info/alternates", "/objects/info/http-alternates")
# GIT_NO_REPLACE_OBJECTS: replace refs would substitute other objects.
GIT = {"GIT_DIR": ".git", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
       "GIT_ATTR_NOSYSTEM": "1", "GIT_NO_REPLACE_OBJECTS": "1",
       "GIT_NO_LAZY_FETCH": "1", "GIT_ALLOC_LIMIT": "1g"}
COMMIT = re.compile(r"HEAD|[0-9a-f]{7,64}")   # matches no option of git


def run_git(folder: str | Path, *words: str, stdin: str = "") -> str:
    """Run this machine's git with an input; return its output. Raise UnsafeArchive if it fails or
    prints more than MAX_OUTPUT."""
    with git_output(folder, *words, stdin=stdin) as output:
        printed = output.read(MAX_OUTPUT + 1)
    if len(printed) > MAX_OUTPUT:
        raise UnsafeArchive(f"git {words[0]} prints more than {MAX_OUTPUT:,} bytes")
    return printed.decode(errors="replace")


@contextmanager
def own_repository(clone: Path) -> Iterator[Path]:
    """Yield a repository with a clone's objects, refs and HEAD, but without its settings, hooks and
    attributes; a copy of the clone's `config` is next to .git. Raise UnsafeArchive if the folder is
    not a clone, or if _refuse_links() refuses it."""
    history = clone / ".git" if os.path.lexists(clone / ".git") else clone
    with temporary_folder() as folder:
        own = folder / ".git"
        own.mkdir()
        try:
            _refuse_links(history)
            for copy in (own / "HEAD", folder / "config"):
                copy.write_bytes(read_bounded(history / copy.name, MAX_BYTES))
        except OSError as e:
            raise UnsafeArchive(f"git cannot read {e.filename}: {e.strerror}") from e
        for name in HISTORY:
            (own / name).symlink_to((history / name).resolve())
        yield folder


def _refuse_links(history: Path) -> None:
    """Raise UnsafeArchive if the git directory `history` has a link, alternates or a FIFO, or if a
    file outside of objects/ is larger than MAX_REFS_BYTES."""
    if history.is_symlink():
        raise UnsafeArchive(f"git would follow {history}")
    left = [str(history / name) for name in ("HEAD", "config", *HISTORY)
            if os.path.lexists(history / name)]
    while left:
        found = os.lstat(place := left.pop())
        mode = found.st_mode
        if stat.S_ISDIR(mode):
            left += [f"{place}/{name}" for name in os.listdir(place)]
        elif not stat.S_ISREG(mode) or (place.endswith(ALTERNATES) and os.path.getsize(place)):
            raise UnsafeArchive(f"git would follow or wait for {printable(place)}")
        elif found.st_size > MAX_REFS_BYTES and not place.startswith(f"{history}/objects/"):
            raise UnsafeArchive(f"{printable(place)} is larger than {MAX_REFS_BYTES:,} bytes")


def clone_in(folder: str, repo: str, commit: str) -> Path | None:
    """Return the clone of owner/name that has a commit (a hash, or HEAD), or None. Try owner/name,
    owner__name and name in the folder, each also with .git appended, then the folder itself. Raise
    BrokenRecord for a link that leads out of the folder."""
    names = (repo, repo.replace("/", "__"), repo.rpartition("/")[2])
    if not folder or not COMMIT.fullmatch(commit):
        return None
    try:
        places = [inside(folder, f"{name}{end}") for name in names for end in ("", ".git")]
    except BrokenRecord as e:
        if getattr(e.__cause__, "errno", 0) == errno.EXDEV:
            raise
        return None
    return next((one for one in (*places, Path(folder)) if has_commit(one, commit)), None)


def has_commit(folder: Path, commit: str) -> bool:
    """Return whether a folder is a clone that has a commit."""
    try:
        with own_repository(folder) as own:
            run_git(own, "cat-file", "-e", "--end-of-options", f"{commit}^{{commit}}")
    except UnsafeArchive:
        return False
    return True


@contextmanager
def git_output(folder: str | Path, *words: str, stdin: str = "") -> Iterator[BinaryIO]:
    """Run this machine's git for at most GIT_S, with the input `stdin`; yield its output as a
    stream. Raise UnsafeArchive if it cannot start, or if it failed and all output was read."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
        given.write(stdin.encode())
        given.seek(0)
        try:
            process = subprocess.Popen([*LIMITED, "git", *words], cwd=folder, env=PROGRAMS | GIT,
                                       stdin=given, stdout=subprocess.PIPE,
                                       stderr=errors, start_new_session=True)
        except OSError as e:
            raise UnsafeArchive(f"git {words[0]}: {e}") from e
        end = threading.Timer(GIT_S, process.kill)
        end.start()
        with process:
            try:
                yield process.stdout
                if not process.stdout.read(1) and process.wait():
                    errors.seek(0)
                    reason = errors.read(2000).decode(errors="replace").strip()[-300:]
                    raise UnsafeArchive(
                        f"git {words[0]} failed: {reason or f'exit code {process.returncode}'}")
            finally:
                end.cancel()
                process.kill()
