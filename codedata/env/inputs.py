"""Read the repositories to set up: the rows of a JSONL file, or the one that --repo names.

A row is {repo, repo_name, image_name, reformat_path} and any other keys. `reformat_path` is the
folder of the source on this machine, relative to the row's file; without it the source is in the
image, in its working directory. A git address is cloned once into env/_sources/. A password in it
is used only for that and never stored. Git runs no hook, filter or submodule of a repository. It is
not guaranteed that a folder stays unchanged while it is copied.
"""
from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from codedata.bounded import numbered_lines, open_regular
from codedata.errors import BrokenRecord, ItemFailed, Trouble
from codedata.records import Environment, parse, safe_name, storable, text_problem
from codedata.sandbox.archives import Bounds, OverBounds
from codedata.store import Derived, Readers, digest

SOURCES = "_sources"
ADDRESS = re.compile(r"(?:https?|ssh|git|file)://|[\w.-]+@[\w.-]+:")
# over HTTP a token may come without a name
SECRET = re.compile(r"(https?://)[^/\s'\"]*@|:[^/\s:'\"]*(@)")
# seconds for git to fetch, to check out, to query
FETCH_S, CHECKOUT_S, LOOK_S = 3600.0, 600.0, 30.0
# of a repository
TREE = Bounds(max_bytes=5_000_000_000, max_files=200_000, max_depth=100, max_seconds=FETCH_S)
GIT_LINE = """
    env GIT_TERMINAL_PROMPT=0 GIT_LFS_SKIP_SMUDGE=1 git -c core.hooksPath=/dev/null
    -c core.fsmonitor=false -c protocol.ext.allow=never -c submodule.recurse=false
    -c filter.lfs.smudge= -c filter.lfs.process= -c filter.lfs.required=false"""
GIT = GIT_LINE.split()
NAMES = "Names of files and images are of [A-Za-z0-9._-]. Give the row a `repo_name`."


@dataclass(frozen=True)
class Row:
    """Hold what is read of a row of the input, which may have other keys."""

    title = "a repository"
    repo: str
    repo_name: str = ""
    image_name: str = ""
    reformat_path: str = ""


@dataclass(frozen=True)
class Repository:
    """Hold a row of the input."""

    repo: str                # as it was given
    repo_name: str           # its name in files and image tags
    base_image: str          # the row's image_name; "": [sandbox] base_image
    path: str                # the folder of the source; "": the source is in the image
    base_commit: str         # HEAD of a folder under git; "": not known
    source: str              # a digest of what is in the folder
    row: dict                # the row as it was given

    @property
    def called(self) -> str:
        """Return what records call the repository: no path, which would be one of this machine."""
        place = Path(self.path)
        is_path = place == Path(self.repo).resolve() or (
            SOURCES in place.parts and os.path.isdir(self.repo))
        return self.repo_name if is_path else self.repo

    @property
    def instance_id(self) -> str:
        """Return the name under which ledgers list the repository."""
        return self.repo_name


def repositories_of(path: Path) -> Derived:
    """Return the repositories of a JSONL file; open() reports lines that are not valid rows. Raise
    Trouble where the file cannot be read."""
    rows = numbered_lines(path, "--input takes JSON lines with `repo`.")
    return _repositories(rows, path.parent, path.name)


def _repositories(rows: dict[str, str], folder: Path, place: str, is_all: bool = True) -> Derived:
    """Return the repositories of rows, {location for messages: JSON}, by repo_name. Relative paths
    start at `folder`. With `is_all`, records of other repositories are orphans."""
    first: dict[str, str] = {}   # repo_name → the row that has it first

    def named(where: str, repository: Repository) -> dict[str, Repository]:
        name = repository.repo_name
        if first.setdefault(name, where) != where:
            raise BrokenRecord(f"has the repo_name of an earlier row, {name}.", where,
                               "Give one of them another `repo_name`.")
        return {name: repository}

    def read_rows() -> Readers:
        return {where: partial(_repository, row, where, folder) for where, row in rows.items()}

    return Derived(read_rows, named, place=place, keeps=lambda name: not is_all, derived=False)


def one_repository(argument: str, root: Path, may_clone: bool = True) -> Derived:
    """Return the repository that --repo names: PATH or ADDRESS, each with an optional @COMMIT.

    Without `may_clone`, an address that was not cloned before has no source yet. Raise Trouble
    where `argument` is neither a folder nor an address, or where `root` lies in the source.
    """
    address, commit = argument, ""
    is_host = re.fullmatch(r"\w+://[^/]*", argument)   # with a user before it
    if re.search(r"[^/:]@[\w.-]+\Z", argument) and not (is_host or os.path.exists(argument)):
        address, _, commit = argument.rpartition("@")
    place, argument = without_secret(address), without_secret(argument)
    is_folder = os.path.isdir(address)
    is_option = place.startswith("-") or commit.startswith("-")
    if is_option or not (is_folder or ADDRESS.match(place)):
        raise Trouble("is no folder and no git address.", argument,
                      "--repo takes PATH or GIT_URL, with @COMMIT behind.")
    last = re.split("[/:]", re.sub(r"\.git/?\Z|/+\Z", "", place))[-1]
    name = Path(place).resolve().name if is_folder else last
    repo_name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip("._-") or "repository"
    row = {"repo": place, "repo_name": repo_name}
    if commit or ADDRESS.match(place):
        clone = f"{repo_name}-{digest(place)[:8]}"   # two addresses may end in the same name
        folder = root / Environment.directory / SOURCES / clone
        if may_clone or folder.exists():
            source = os.path.abspath(address) if is_folder else address
            row["reformat_path"] = str(_cloned(source, commit, folder))
    elif root.resolve().is_relative_to(Path(place).resolve()):
        raise Trouble(f"lies in the source, {place}: what is written there would be part of it.",
                      str(root),
                      "Give another --root.")
    else:
        row["reformat_path"] = str(Path(place).resolve())
    return _repositories({argument: json.dumps(row)}, Path(), repo_name, is_all=False)


def _repository(line: str, where: str, folder: Path) -> Repository:
    """Return a row as a Repository. Raise BrokenRecord where the row is not valid."""
    try:
        return _checked(json.loads(line), where, folder)
    # raised for malformed JSON and malformed paths
    except (OSError, ValueError, RuntimeError, ItemFailed) as e:
        raise BrokenRecord(f"cannot be read: {e}"[:500], where, "Mend the row.") from e


def _checked(row, where: str, folder: Path) -> Repository:
    given = {key: value for key, value in row.items() if value} if isinstance(row, dict) else row
    known = parse(Row, given, where, "A row is {repo, repo_name, image_name, reformat_path}.")
    if storable(row) != row or text_problem(json.dumps(row, ensure_ascii=False)):
        raise BrokenRecord("has a NUL byte or half a character in it.", where, "Mend the row.")
    name = known.repo_name or known.repo.replace("/", "__")
    if not safe_name(name):
        raise BrokenRecord(f"has a name that is refused as a file name: {name[:80]!r}.", where,
                           NAMES)
    path = ""
    if known.reformat_path:
        source = folder / known.reformat_path
        if not source.is_dir():
            raise BrokenRecord(f"names a folder that is not there: {known.reformat_path}.", where,
                               "Mend its `reformat_path`.")
        path = str(source.resolve())
    return Repository(known.repo, name, known.image_name, path, base_commit(path) if path else "",
                      tree_digest(path) if path else "", row)


def without_secret(text: str) -> str:
    """Return a text without the passwords and tokens of its addresses."""
    return SECRET.sub(lambda match: match[1] or match[2], text)


def _cloned(address: str, commit: str, to: Path) -> Path:
    """Clone an address into `to`, unless it is there, check out `commit` or the default branch,
    and return `to`."""
    if not to.exists():
        to.parent.mkdir(parents=True, exist_ok=True)
        half = to.with_name(f"_tmp.{to.name}")
        shutil.rmtree(half, ignore_errors=True)
        _git("clone", "--quiet", "--no-checkout", "--template=", "--", address, str(half),
             timeout_s=FETCH_S)
        _git("remote", "set-url", "origin", without_secret(address), cwd=half)
        os.rename(half, to)
    if commit and _git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}", cwd=to,
                       may_fail=True) == "":
        heads = "+refs/heads/*:refs/remotes/origin/*"
        _git("fetch", "--quiet", "--tags", "--", address, heads, cwd=to, timeout_s=FETCH_S)
    wanted = commit or "origin/HEAD"
    _refuse_large(to, wanted)
    _git("checkout", "--quiet", "--force", "--detach", wanted, "--", cwd=to, timeout_s=CHECKOUT_S)
    return to


def _refuse_large(clone: Path, commit: str) -> None:
    """Raise BrokenRecord where a checkout would exceed TREE. A small tree may occur in another one
    many times, so counting stops at the limit."""
    count = TREE.meter()
    words = [*GIT, "ls-tree", "-r", "-t", "-l", commit]
    with subprocess.Popen(words, cwd=clone, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, start_new_session=True) as listing:
        try:
            for line in listing.stdout:
                size, name = line.decode(errors="replace").split(maxsplit=4)[3:]
                count(name, int(size) if size.isdigit() else 0)
        except OverBounds as e:
            raise BrokenRecord(f"holds {e.what}.", str(clone), "It is not set up.") from e
        finally:
            listing.kill()


def _git(*words: str, cwd: Path | None = None, may_fail: bool = False,
         timeout_s: float = LOOK_S) -> str:
    """Return what git prints; with `may_fail`, an empty string where it fails. Git never asks
    for a password. Raise Trouble where it fails, ItemFailed where it takes too long or cannot be
    run."""
    try:
        done = subprocess.run([*GIT, *words], cwd=cwd, capture_output=True, text=True,
                              errors="replace", timeout=timeout_s, start_new_session=True)
    except subprocess.TimeoutExpired:   # its message contains the address
        raise ItemFailed(f"git {words[0]} took more than {timeout_s:g} s") from None
    except OSError as e:
        raise ItemFailed(f"git {words[0]}: {e}") from e
    if done.returncode and not may_fail:
        output = without_secret(done.stderr.strip())
        raise Trouble(f"git {words[0]} failed: {output[-500:]}", without_secret(words[-1]))
    return "" if done.returncode else done.stdout.strip()


def base_commit(folder: str) -> str:
    """Return HEAD where the folder is the top of a git checkout, else an empty string."""
    head = os.path.join(folder, ".git", "HEAD")
    if os.path.exists(head):
        open_regular(head).close()   # git would block on a FIFO
    top = _git("rev-parse", "--show-toplevel", cwd=Path(folder), may_fail=True)
    is_top = top and Path(top) == Path(folder)
    return _git("rev-parse", "HEAD", cwd=Path(folder), may_fail=True) if is_top else ""


@cache
def tree_digest(folder: str) -> str:
    """Return a digest of the names and contents of all files below a folder, except .git. When
    it changes, everything made from the folder is stale. Raise OverBounds where the folder
    exceeds TREE."""
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
