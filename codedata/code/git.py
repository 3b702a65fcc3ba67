"""Run this machine's git on untrusted folders and patches, without the settings of the system or
the user. Of a clone that somebody has handed over it reads own_repository() alone."""
from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from codedata.bounded import read_bounded
from codedata.sandbox.archives import UnsafeArchive
from codedata.sandbox.process_labels import temporary_folder
from codedata.texts import printable

PROGRAMS = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
GIT_S = 600                # seconds for one command
MAX_BYTES = 1_000_000      # of a HEAD or a config
HISTORY = ("objects", "refs", "packed-refs", "shallow")   # of .git, beside HEAD
# Replace refs would change what git reads from the objects.
GIT = {"GIT_DIR": ".git", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
       "GIT_ATTR_NOSYSTEM": "1", "GIT_NO_REPLACE_OBJECTS": "1",
       "GIT_NO_LAZY_FETCH": "1", "GIT_ALLOC_LIMIT": "1g"}


def run_git(folder: str | Path, *words: str, stdin: BinaryIO | None = None) -> str:
    """Return what this machine's git prints. Raise UnsafeArchive where it fails."""
    try:
        done = subprocess.run(["git", *words], cwd=folder, env=PROGRAMS | GIT, timeout=GIT_S,
                              stdin=subprocess.DEVNULL if stdin is None else stdin,
                              capture_output=True, text=True, errors="replace",
                              start_new_session=True)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise UnsafeArchive(f"git {words[0]}: {e}") from e
    if done.returncode:
        raise UnsafeArchive(f"git {words[0]} failed: {done.stderr.strip()[-300:]}")
    return done.stdout


@contextmanager
def own_repository(clone: Path) -> Iterator[Path]:
    """Yield a repository with a clone's objects, refs and HEAD: no setting, hook or attribute of
    the clone has an effect there. Beside its .git lies `config`, the clone's own. Raise
    UnsafeArchive where it is no clone, or one of these is a link or would make git wait."""
    history = clone / ".git" if os.path.lexists(clone / ".git") else clone
    with temporary_folder() as folder:
        own = Path(folder, ".git")
        own.mkdir()
        try:
            _refuse_links(history)
            for copy in (own / "HEAD", Path(folder, "config")):
                copy.write_bytes(read_bounded(history / copy.name, MAX_BYTES))
        except OSError as e:
            raise UnsafeArchive(f"git cannot read {e.filename}: {e.strerror}") from e
        for name in HISTORY:
            (own / name).symlink_to((history / name).resolve())
        yield Path(folder)


def _refuse_links(history: Path) -> None:
    """Raise UnsafeArchive where git would follow a link, or wait for a FIFO, in a history."""
    if history.is_symlink():
        raise UnsafeArchive(f"git would follow {history}")
    left = [str(history / name) for name in ("HEAD", "config", *HISTORY)
            if os.path.lexists(history / name)]
    while left:
        mode = os.lstat(place := left.pop()).st_mode
        if stat.S_ISDIR(mode):
            left += [f"{place}/{name}" for name in os.listdir(place)]
        elif not stat.S_ISREG(mode):
            raise UnsafeArchive(f"git would follow or wait for {printable(place)}")


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
    """Yield the output of this machine's git as a stream, while it runs; `stdin` is its input.
    Raise UnsafeArchive if all output was read and git failed."""
    with tempfile.TemporaryFile() as given:
        given.write(stdin.encode())
        given.seek(0)
        process = subprocess.Popen(["git", *words], cwd=folder, env=PROGRAMS | GIT, stdin=given,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   start_new_session=True)
        with process:
            try:
                yield process.stdout
                if not process.stdout.read(1) and process.wait():
                    raise UnsafeArchive(f"git {words[0]} failed")
            finally:
                process.kill()
