"""Clone repositories, and check out their commits.

Each address is cloned once, into a folder of env/_sources/, and every commit is read from there.
Nothing is checked out in it, so several commits can be set up at once. A password in an address is
used only to fetch and never stored. Git runs no hook, filter or submodule of a repository.
"""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codedata.code.git import LIMITED, git_output, own_repository
from codedata.disk.locks import temporary_folder
from codedata.disk.store import digest
from codedata.driver import in_driver
from codedata.errors import BrokenRecord, ItemFailed, Trouble
from codedata.records import Environment
from codedata.sandbox.archives import Bounds, OverBounds
from codedata.suites.repo_names import parts_of

SOURCES = "_sources"
# a password in an address, or a token without a user name
SECRET = re.compile(r"(https?://)[^/\s'\"]*@|:[^/\s:'\"]*(@)")
# seconds for git to fetch, to check out, to query
FETCH_S, CHECKOUT_S, LOOK_S = 3600.0, 600.0, 30.0
# limits of one commit's files
TREE = Bounds(max_bytes=5_000_000_000, max_files=200_000, max_depth=100, max_seconds=FETCH_S)
GIT_LINE = """
    env GIT_TERMINAL_PROMPT=0 GIT_LFS_SKIP_SMUDGE=1 GIT_ALLOC_LIMIT=1g git
    -c core.hooksPath=/dev/null -c core.fsmonitor=false -c protocol.ext.allow=never
    -c submodule.recurse=false -c filter.lfs.smudge= -c filter.lfs.process=
    -c filter.lfs.required=false"""
GIT = GIT_LINE.split()
DEFAULT, BRANCHES = "origin/HEAD", "+refs/heads/*:refs/remotes/origin/*"
_locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)   # {clone: its lock}


def without_secret(text: str) -> str:
    """Return a text without the passwords and tokens in its addresses."""
    return SECRET.sub(lambda match: match[1] or match[2], text)


@in_driver
def cloned(origin: str, commit: str, root: Path) -> tuple[Path, str]:
    """Clone an address or folder below `root`, unless a clone exists, and fetch the commit if the
    clone lacks it. Return (the clone, the commit's full id); without `commit`, the default branch's
    last fetched commit. Raise Trouble if git fails, BrokenRecord if the commit's files exceed TREE.
    """
    place = clone_of(origin, root)
    with _locks[place]:
        with _served(origin) as address:
            if not place.exists():
                _clone(address, origin, place, commit)
            wanted = commit or DEFAULT
            for refs in (BRANCHES, commit):   # the commit may be on no branch
                if commit and not _id_of(wanted, place):
                    git("fetch", "--quiet", "--tags", "--", address, refs, cwd=place,
                        may_fail=True, timeout_s=FETCH_S)
    if not (full := _id_of(wanted, place)):
        raise Trouble(f"has no commit {wanted} that git can fetch.", without_secret(origin))
    _refuse_large(place, full)
    return place, full


def clone_of(origin: str, root: Path) -> Path:
    """Return the folder of an address's clone, in env/_sources/ of a root."""
    address = without_secret(origin)
    # add a digest, since addresses may end alike
    name = f"{parts_of(address)[-1]}-{digest(address)[:8]}"
    return root / Environment.directory / SOURCES / name


@contextmanager
def _served(origin: str) -> Iterator[str]:
    """Yield an address from which git can fetch `origin`, an address or a folder."""
    folder = Path(origin.removeprefix("file://"))
    if not folder.is_dir():
        yield origin
        return
    with own_repository(folder) as own:
        yield f"file://{own}"


def _clone(address: str, origin: str, to: Path, commit: str) -> None:
    """Clone an address. From a folder with an incomplete history, fetch only the commit."""
    to.parent.mkdir(parents=True, exist_ok=True)
    half = to.with_name(f"_tmp.{os.getpid()}.{to.name}")   # the next run removes it
    shutil.rmtree(half, ignore_errors=True)
    try:
        git("clone", "--quiet", "--no-checkout", "--template=", "--", address, str(half),
            timeout_s=FETCH_S)
    except Trouble:
        if address == origin:   # the address is not a folder
            raise
        git("init", "--quiet", "--template=", str(half))
        git("fetch", "--quiet", "--depth=1", "--", address,
            f"{commit or 'HEAD'}:refs/remotes/{DEFAULT}", cwd=half, timeout_s=FETCH_S)
    git("config", "remote.origin.url", without_secret(origin), cwd=half)
    try:
        os.rename(half, to)
    except OSError:   # another process was faster
        shutil.rmtree(half, ignore_errors=True)


def _id_of(commit: str, clone: Path) -> str:
    return git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}", cwd=clone,
               may_fail=True)


@contextmanager
def checked_out(clone: Path, commit: str) -> Iterator[Path]:
    """Yield a temporary folder with the files of a commit of a clone. Raise ItemFailed if git
    refuses to write them."""
    with temporary_folder() as folder:
        index = folder / "index"   # other checkouts would share the clone's own index
        files = folder / "files"
        files.mkdir()
        try:
            for words in (["read-tree", commit],
                          ["checkout-index", "--all", "--quiet", f"--prefix={files}/"]):
                git(*words, cwd=clone, timeout_s=CHECKOUT_S, index=index)
        except Trouble as e:
            raise ItemFailed(e.what) from e
        yield files


def date_of(commit: str, folder: Path) -> int:
    """Return the time of a commit of a repository, in seconds since 1970; 0 if it has no date."""
    date = git("show", "-s", "--format=%ct", commit or "HEAD", cwd=folder, may_fail=True)
    return int(date) if date.isdecimal() else 0


def distance(older: str, commit: str, clone: Path) -> int:
    """Return the number of commits from an older one to a commit; 0 if the older one is not an
    ancestor.
    """
    if git("merge-base", older, commit, cwd=clone, may_fail=True) != older:
        return 0
    return int(git("rev-list", "--count", f"{older}..{commit}", cwd=clone, timeout_s=CHECKOUT_S))


def _refuse_large(clone: Path, commit: str) -> None:
    """Raise BrokenRecord if a checkout would exceed TREE. Stop counting at the limit, since a tree
    can contain the same small tree millions of times."""
    count = TREE.meter()
    try:
        with git_output(clone, "ls-tree", "-r", "-t", "-l", commit) as listing:
            for line in listing:
                size, name = line.decode(errors="replace").split(maxsplit=4)[3:]
                count(name, int(size) if size.isdigit() else 0)
    except OverBounds as e:
        raise BrokenRecord(f"holds {e.what}.", str(clone), "It is not set up.") from e


def git(*words: str, cwd: Path | None = None, may_fail: bool = False, timeout_s: float = LOOK_S,
        index: Path | None = None) -> str:
    """Return git's output. Git never asks for a password. `index` replaces the repository's own
    index. Raise Trouble if git fails (with `may_fail`, return ""), ItemFailed if it takes too long
    or cannot start."""
    own_index = [f"GIT_INDEX_FILE={index}"] if index else []
    try:
        done = subprocess.run([*LIMITED, GIT[0], *own_index, *GIT[1:], *words], cwd=cwd,
                              capture_output=True, text=True, errors="replace", timeout=timeout_s,
                              start_new_session=True)
    except subprocess.TimeoutExpired:   # drop the error: its message contains the address
        raise ItemFailed(f"git {words[0]} took more than {timeout_s:g} s") from None
    except OSError as e:
        raise ItemFailed(f"git {words[0]}: {e}") from e
    if done.returncode and not may_fail:
        output = without_secret(done.stderr.strip()) or f"exit code {done.returncode}"
        raise Trouble(f"git {words[0]} failed: {output[-500:]}", without_secret(words[-1]))
    return "" if done.returncode else done.stdout.strip()
