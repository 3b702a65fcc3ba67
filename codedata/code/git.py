"""Run this machine's git on untrusted folders and patches, without the settings of the system or
the user. Not promised: to ignore settings and hooks in the folder's own .git; do not copy those."""
from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from codedata.sandbox.archives import UnsafeArchive

PROGRAMS = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
GIT_S = 600                # seconds for one command
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


def has_commit(folder: Path, commit: str) -> bool:
    """Return whether a folder is a clone that has a commit."""
    options = [] if (folder / ".git").exists() else ["--git-dir=."]
    try:
        run_git(folder, *options, "cat-file", "-e", "--end-of-options", f"{commit}^{{commit}}")
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
