"""Read the repositories to set up: the rows of a JSONL file, or the repository of --repo.

A row is {repo, base_commit, repo_name, image_name, reformat_path}, with any other keys, as in
SWE-bench and similar data sets. The source is `reformat_path`, a folder on this machine, relative
to the row's file; else the image's working directory; else `repo`, a git address, or owner/name on
GitHub. `repo` may be a folder only in --repo. With `base_commit`, that commit is set up. Not
promised: a consistent copy of a folder that changes while it is copied.
"""
from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache, partial
from pathlib import Path

from codedata.bounded import numbered_lines, open_regular, row_in
from codedata.code.git import clone_in, has_commit, own_repository
from codedata.disk.locks import temporary_folder
from codedata.disk.store import Derived, Readers, digest
from codedata.env.clones import TREE, checked_out, clone_of, cloned, date_of, git, without_secret
from codedata.errors import BrokenRecord, ItemFailed, Trouble
from codedata.records import parse
from codedata.sandbox import Sandbox
from codedata.sandbox.copies import at_hand
from codedata.suites.repo_names import (
    ADDRESS,
    LOCAL,
    clean_name,
    parts_of,
    repo_name_of,
    upstream_of,
)
from codedata.texts import safe_name, storable, text_problem

OWNER_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
GITHUB = "https://github.com/"
COMMIT = re.compile(r"[0-9a-f]{8,64}")
DATED_AFTER = 180 * 86_400   # seconds; for older commits, packages of their time are tried first
NAMES = "Names of files and images are of [A-Za-z0-9._-]. Give the row a `repo_name`."


@dataclass(frozen=True)
class Row:
    """Hold the keys that are read from a row of the input. The row may have other keys."""

    title = "a repository"
    repo: str
    base_commit: str = ""
    repo_name: str = ""
    image_name: str = ""
    reformat_path: str = ""


@dataclass(frozen=True)
class Repository:
    """Hold a row of the input."""

    repo: str                # as given
    repo_name: str           # its name in files and image tags
    base_image: str          # the row's image_name; "": [sandbox] base_image
    path: str                # the folder of the source; "": it is cloned, or in the image
    base_commit: str         # as requested, or HEAD of a folder under git; "": unknown
    source: str              # digest of the folder's content; "": no folder
    row: dict                # the row as given
    called: str              # its name in records; never a path, which only this machine knows
    # the address or folder to clone; "": none
    origin: str = field(default="", repr=False)

    @property
    def instance_id(self) -> str:
        """Return the name under which ledgers list the repository."""
        return self.repo_name


def repositories_of(path: Path) -> Derived:
    """Return the repositories of a JSONL file; open() reports lines that are not valid rows. Raise
    Trouble if the file cannot be read."""
    rows = numbered_lines(path, "--input takes JSON lines with `repo`.")
    return repositories_in(rows, path.parent, path.name)


def repositories_in(rows: dict[str, str], folder: Path, place: str, is_all: bool = True,
                    by_user: bool = False) -> Derived:
    """Return the repositories of `rows`, {location for messages: JSON}, by repo_name. Resolve
    relative paths from `folder`. With `is_all`, records of other repositories are orphans. With
    `by_user`, the user typed `repo`, so it may be a folder."""
    # {repo_name: (its first row, the source to set up)}
    first: dict[str, tuple] = {}

    def named(where: str, repository: Repository) -> dict[str, Repository]:
        name = repository.repo_name
        is_fixed = repository.row.get("base_commit") or upstream_of(repository.repo)[1]
        asked = is_fixed and (repository.base_commit, repository.origin, repository.base_image)
        place, other = first.setdefault(name, (where, asked))
        if place != where and not (asked and asked == other):
            raise BrokenRecord(f"has the repo_name of an earlier row, {name}.", where,
                               "Give one of them another `repo_name`.")
        return {name: repository} if place == where else {}   # skip a row of the same commit

    def read_rows() -> Readers:
        return {where: partial(_repository, row, where, folder, by_user)
                for where, row in rows.items()}

    return Derived(read_rows, named, place=place, keeps=lambda name: not is_all, derived=False)


def one_repository(argument: str, root: Path, may_clone: bool = True) -> Derived:
    """Return the repository that --repo names: PATH or ADDRESS, each with an optional @COMMIT.

    Without `may_clone`, clone nothing: the commit of an address stays unknown until it was cloned.
    Raise Trouble if `argument` is neither a folder nor an address, or if `root` is in the source.
    """
    address, commit = argument, ""
    is_host = re.fullmatch(r"\w+://[^/]*", argument)   # the @ ends a user's name
    if re.search(r"[^/:]@[\w.-]+\Z", argument) and not (is_host or os.path.exists(argument)):
        address, _, commit = argument.rpartition("@")
    place, argument = without_secret(address), without_secret(argument)
    is_folder = os.path.isdir(address)
    # a bare clone has no files checked out
    is_bare = is_folder and not os.path.lexists(f"{address}/.git") and has_commit(
        Path(address), "HEAD")
    is_option = place.startswith("-") or commit.startswith("-")
    if is_option or not (is_folder or ADDRESS.match(place)):
        raise Trouble("is neither a folder nor a git address.", argument,
                      "--repo takes PATH or GIT_URL, each with an optional @COMMIT.")
    name = clean_name(Path(place).resolve().name.removesuffix(".git") if is_folder
                      else parts_of(place)[-1])
    row = {"repo": place} if commit else {"repo": place, "repo_name": name}
    if commit or is_bare or not is_folder:
        origin = os.path.abspath(address) if is_folder else address
        if may_clone or clone_of(origin, root).exists():
            row["base_commit"] = cloned(origin, commit, root)[1]
    elif root.resolve().is_relative_to(Path(place).resolve()):
        raise Trouble(f"lies in the source, {place}: files written there would become part of it.",
                      str(root),
                      "Give another --root.")
    return repositories_in({argument: json.dumps(row)}, Path(), name, is_all=False, by_user=True)


def clones_for(spec: str, clones: str, root: Path) -> str:
    """Return the folder with clones of the pull requests' repositories, or the only clone; "" for
    none. `spec` is the source of the pull requests, `clones` the folder that the user named."""
    kind, _, name = spec.partition(":")
    name = name.partition("@")[0]
    if kind == "github" and not clones:
        return str(clone_of(f"{GITHUB}{name}", root))
    return name if kind == "git" else clones


def clone_for(repo: str, clones: str, root: Path) -> Path:
    """Return the clone of owner/name in a folder of clones, else a clone from GitHub in env/."""
    if not OWNER_NAME.fullmatch(repo):
        raise Trouble("is not owner/name.", repo)
    return clone_in(clones, repo, "HEAD") or cloned(f"{GITHUB}{repo}", "", root)[0]


def _repository(line: str, where: str, folder: Path, by_user: bool) -> Repository:
    """Return a row as a Repository. Raise BrokenRecord if the row is not valid."""
    try:
        return _checked(row_in(line), where, folder, by_user)
    # raised for malformed JSON and malformed paths
    except (OSError, ValueError, RuntimeError, ItemFailed) as e:
        raise BrokenRecord(f"cannot be read: {e}"[:500], where, "Mend the row.") from e


def _checked(row, where: str, folder: Path, by_user: bool) -> Repository:
    given = {key: value for key, value in row.items() if value} if isinstance(row, dict) else row
    known = parse(Row, given, where, "A row is {repo, base_commit, repo_name, image_name, "
                  "reformat_path}.")
    if storable(row) != row or text_problem(json.dumps(row, ensure_ascii=False)):
        raise BrokenRecord("has a NUL byte or half a character in it.", where, "Mend the row.")
    upstream, copied = upstream_of(known.repo)
    commit, repo = copied or known.base_commit, without_secret(known.repo)
    if commit and not COMMIT.fullmatch(commit):
        raise BrokenRecord(f"has a base_commit that is not a commit's id: {commit[:80]!r}.", where,
                           "Give 8 to 40 hexadecimal digits.")
    path = _folder(known, folder, where, by_user)
    is_local = bool(path) and Path(path) == (folder / repo).resolve()   # `repo` is a path
    name = known.repo_name or repo_name_of(without_secret(upstream), commit, is_local)
    if not safe_name(name):
        raise BrokenRecord(f"has a name that is refused as a file name: {name[:80]!r}.", where,
                           NAMES)
    called = without_secret(upstream)
    if is_local:
        called = f"{LOCAL}/{clean_name(Path(path).name)}" if commit else name
    is_elsewhere = not (path or known.image_name)
    origin = _address_of(upstream) if is_elsewhere else path if commit else ""
    if is_elsewhere and not by_user and (not origin or origin.startswith("file:")):
        raise BrokenRecord(f"has a `repo` that is not an address or owner/name: {repo[:80]!r}.",
                           where, "Name a folder by --repo.")
    if copied and known.image_name:
        commit = ""   # the repository in the image has a commit of its own
    if origin or not path:
        return Repository(repo, name, known.image_name, "", commit, "", {**row, "repo": repo},
                          called, origin)
    return Repository(repo, name, known.image_name, path, base_commit(path), tree_digest(path),
                      row, called)


def _folder(row: Row, folder: Path, where: str, by_user: bool) -> str:
    """Return the path of the folder that a row names, or ""."""
    source = folder / (row.reformat_path or row.repo)
    if row.reformat_path and not source.is_dir():
        raise BrokenRecord(f"names a folder that is not there: {row.reformat_path}.", where,
                           "Mend its `reformat_path`.")
    is_named = row.reformat_path or by_user
    return str(source.resolve()) if is_named and source.is_dir() else ""


def _address_of(repo: str) -> str:
    """Return `repo` if it is a git address, its GitHub address if it is owner/name, else ""."""
    if ADDRESS.match(repo):
        return repo
    return f"{GITHUB}{repo}" if OWNER_NAME.fullmatch(repo) else ""


def base_commit(folder: str) -> str:
    """Return the commit of HEAD if the folder is a clone, else ""."""
    if not os.path.isdir(os.path.join(folder, ".git")):
        return ""
    with own_repository(Path(folder)) as own:
        return git("rev-parse", "HEAD", cwd=own, may_fail=True)


@cache
def tree_digest(folder: str) -> str:
    """Return a digest of the names and contents of all files in a folder, except .git. If the
    digest changes, everything made from the folder is stale. Raise OverBounds if the folder exceeds
    TREE."""
    entries, count = [], TREE.meter()
    for directory, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != ".git")
        for path in (os.path.join(directory, name) for name in sorted([*folders, *files])):
            stat, relative = os.lstat(path), os.path.relpath(path, folder)
            count(relative, stat.st_size)
            if os.path.islink(path):
                entries.append([relative, "link", os.readlink(path)])
            elif os.path.isfile(path):
                entries.append([relative, bool(stat.st_mode & 0o100), _digest_of(path)])
    return digest(entries)


def _digest_of(path: str) -> str:
    """Return the digest of a file's content."""
    state = hashlib.blake2b(digest_size=16)
    with open_regular(path) as file:
        while piece := file.read(1 << 20):
            state.update(piece)
    return state.hexdigest()


# sources -----------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Source:
    """Hold the places of a repository's source."""

    files: Path              # a folder with the files, read-only
    place: Path | None       # its folder on the driver's machine; None: it is in the image
    near: Path | None = None   # `place`, or a copy of it on this machine
    commit: str = ""         # "": HEAD with uncommitted changes
    committed_at: int = 0    # seconds since 1970; 0: not known

    @property
    def until(self) -> str:
        """Return the date of the commit if it is older than DATED_AFTER, else ""."""
        is_old = 0 < self.committed_at < time.time() - DATED_AFTER
        return f"{datetime.fromtimestamp(self.committed_at, timezone.utc):%F}" if is_old else ""


@contextmanager
def source_of(repository: Repository, root: Path,
              open_image: Callable[[], Sandbox]) -> Iterator[Source]:
    """Yield a repository's source. Clone its `origin`, if set, below `root`. Without `origin` and
    `path`, copy the source from the working directory of the sandbox that open_image() opens. Raise
    ItemFailed if a commit cannot be fetched."""
    if repository.origin:
        try:
            clone, commit = cloned(repository.origin, repository.base_commit, root)
        except (Trouble, BrokenRecord) as e:
            raise ItemFailed(f"its source cannot be fetched: {e}") from e
        with at_hand(clone) as near, checked_out(near, commit) as files:
            yield Source(files, clone, near, commit, date_of(commit, near))
    elif repository.path:
        place = Path(repository.path)
        with at_hand(place) as near:
            yield Source(near, place, near)
    else:
        with temporary_folder() as folder:
            with open_image() as sandbox:
                sandbox.get(sandbox.workdir, folder)
            yield Source(folder, None, commit=repository.base_commit)
