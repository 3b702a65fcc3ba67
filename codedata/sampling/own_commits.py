"""Find the commits that came out of a developer's sessions, in a clone.

If a session ran `git commit` and its output names the commit, this is the commit. Otherwise it is
the first run of commits within DAYS after the session's start, on one of its branches or HEAD, with
at least half of the lines that the session wrote; at least half of the run's lines must be the
session's. The base of the run must have the files as the session read them, and contain the commit
at which the session says it began. A doubtful match is refused, with the reason.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import pairwise
from pathlib import Path, PurePath
from typing import NamedTuple

from codedata.code.git import own_repository, run_git
from codedata.code.patches import hunks_of
from codedata.code.projects import licence_in
from codedata.errors import Trouble
from codedata.sampling.git_prs import MAX_DIFF_BYTES, REVERT, UNDONE, patches_between, repo_of
from codedata.sampling.session_edits import Session, lines_in
from codedata.sandbox.archives import UnsafeArchive
from codedata.settings import SESSIONS

EXACT, BY_LINES = "commit in the session", "lines"
DAYS = 7
MAX_RUN = 5                  # commits of a session without one that it names
SLACK_S = 60                 # between a commit and the last line of its session
NO_COMMIT = "no commit came out of it"
Lines = dict[str, set[str]]  # {path: stripped lines}


class GitCommit(NamedTuple):
    """Hold a commit of a clone. Times are Unix times."""

    hash: str
    base: str                # hashes of its parents, joined by spaces
    authored: float
    committed: float
    subject: str
    message: str


class Found(NamedTuple):
    """Hold the commits of a session, oldest first; none if there is a reason in `how`."""

    how: str
    run: tuple[GitCommit, ...] = ()
    paths: frozenset[str] = frozenset()   # absolute paths of the session's files in them


def rows_of_sessions(spec: str, ids: Iterable[str], sessions: dict[str, Session]
                     ) -> Iterator[dict]:
    """Yield a row for each of these ids that is a session, like cut_rows(): with `matched`, or with
    the reason `no_patch`. `spec` is git:PATH, or SESSIONS. All sessions are compared, since a
    commit belongs to one of them."""
    clones: dict[str, dict[str, Session]] = defaultdict(dict)
    for name, session in sessions.items():
        path = spec.removeprefix("git:").partition("@")[0]
        clones[_clone_at(session.folder) if spec == SESSIONS else path][name] = session
    for path, its in clones.items():
        wanted = its.keys() & {*ids}
        try:
            yield from _rows(Path(path), wanted, its) if wanted else ()
        except UnsafeArchive as e:
            if spec != SESSIONS:
                raise Trouble(f"cannot be read: {e.what}", path, "Give git:PATH of a clone.") from e
            yield from ({"instance_id": name, "no_patch": f"its folder: {e.what}"}
                        for name in wanted)


def _clone_at(folder: str) -> str:
    """Return the nearest clone that contains a folder, or the folder. A linked worktree is no
    clone."""
    path = PurePath(folder)
    return str(next((one for one in (path, *path.parents) if Path(one, ".git").is_dir()), path))


def _rows(path: Path, wanted: Iterable[str], sessions: dict[str, Session]) -> Iterator[dict]:
    """Yield the rows of the sessions `wanted`; `sessions` are all in this clone."""
    with own_repository(path) as folder:
        clone = Clone(folder, min(min(one.times) for one in sessions.values()))
        found = {name: clone.commits_of(session) for name, session in sessions.items()}
        repo, licence = repo_of(folder, path), licence_in(folder)
        for name in sorted(wanted):
            how, run, _ = found[name]
            row = {"instance_id": name, "no_patch": f"session: {how}"}
            if run and (doubt := _doubt(name, found, sessions)):
                row["no_patch"] = f"session: {doubt}"
            elif run:
                row = {"instance_id": name, "repo": repo, "license": licence, "matched": how,
                       "created_at": str(run[-1].authored),
                       "pr_description": "\n\n".join(one.message.strip() for one in run),
                       **(UNDONE if clone.is_undone(run) else
                          patches_between(folder, run[0].base, run[-1].hash))}
            yield row


def _doubt(name: str, found: dict[str, Found], sessions: dict[str, Session]) -> str:
    """Return why the commits of the session `name` may hold another session's work, or ""."""
    how, run, paths = found[name]
    for other, its in found.items():
        if other != name and {*its.run} & {*run} and (how == BY_LINES or its.how == EXACT):
            return f"its commit may be of the session {other}"
        if other != name and any(min(sessions[name].times) <= at <= run[-1].committed
                                 for path in paths for at in sessions[other].edit_times(path)):
            return f"the session {other} edited its files before its commit"
    return ""


class Clone:
    """Read a clone's commits since `start`, a Unix time, through own_repository()."""

    def __init__(self, folder: Path, start: float):
        self._folder = folder
        output = run_git(folder, "log", "-z", f"--since=@{int(start - SLACK_S)}", "--branches",
                         "--remotes", "--format=%H%x00%P%x00%at%x00%ct%x00%s%x00%B", "HEAD", "--")
        self.commits = {one.hash: one for one in (
            GitCommit(row[0], row[1], float(row[2]), float(row[3]), *row[4:])
            for row in zip(*[iter(output.split("\0"))] * 6, strict=False))}
        refs = run_git(folder, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        self._refs = dict(line.split(" ") for line in refs)
        self._head = run_git(folder, "rev-parse", "HEAD").strip()
        self.diff = lru_cache(None)(self._diff)

    def _diff(self, base: str, tip: str) -> dict[str, tuple[str, set[str]]]:
        """Return {path: (old text, lines that the new text adds to it)} of the changed text files;
        {} if the diff is too large."""
        with suppress(UnsafeArchive):
            diff = run_git(self._folder, "diff-tree", "-p", "--no-renames", "-U1000000", base, tip)
            if len(diff) <= MAX_DIFF_BYTES:
                return {hunk.path: (old := "\n".join(hunk.old).replace("\r", ""),
                                    lines_in("\n".join(hunk.new)) - lines_in(old))
                        for hunk in hunks_of(diff)}
        return {}

    def _contains(self, commit: str, base: str) -> bool:
        with suppress(UnsafeArchive):
            run_git(self._folder, "merge-base", "--is-ancestor", "--end-of-options", base, commit)
            return True
        return False

    def commits_of(self, session: Session) -> Found:
        """Return the commits of a session."""
        start, end = min(session.times), max(session.times) + SLACK_S
        named = [one for one in self.commits.values() if start <= one.committed <= end and any(
            one.hash.startswith(short) and one.subject == subject
            for short, subject in session.commits)][::-1]
        if named:
            paths = _own_paths(session, self.diff(named[0].base, named[-1].hash))
            if any(after.base != one.hash for one, after in pairwise(named)):
                return Found("other commits are between its commits")
            return Found(EXACT, (*named,), frozenset(paths.values())) if paths else Found(
                "its commit has no file that it edited")
        names = [f"refs/{place}/{one}" for one in sorted(session.branches)
                 for place in ("heads", "remotes/origin")]
        found = Found(NO_COMMIT)
        for tip in dict.fromkeys([*map(self._refs.get, names), self._head]):
            line: list[GitCommit] = []
            while tip in self.commits:
                line.insert(0, self.commits[tip])
                tip = line[0].base.partition(" ")[0]
            near = [" " not in one.base and start <= one.authored and
                    start <= one.committed <= start + DAYS * 86_400 for one in line]
            for i in range(len(line)):
                for j in range(i + 1, min(i + MAX_RUN, len(line)) + 1):
                    if all(near[i:j]) and (paths := self._paths_if_own(session, line[i:j])):
                        return Found(BY_LINES, (*line[i:j],), frozenset(paths))
        return found

    def _paths_if_own(self, session: Session, run: list[GitCommit]) -> Iterable[str]:
        """Return the absolute paths of the session's files in these commits; () if the commits
        are not the session's."""
        base, diff = run[0].base, self.diff(run[0].base, run[-1].hash)
        paths = _own_paths(session, diff)
        if not all(_own_paths(session, self.diff(one.base, one.hash)) for one in run):
            return ()
        wrote: Lines = {}
        for path in {path for _, path, old, new in session.edits if old != new}:
            name = next((one for one, its in paths.items() if its == path), "")
            lines = session.wrote(path, diff[name][0] if name else "")
            if lines is None and name:
                return ()
            wrote[name or path] = lines or set()
        added = {path: lines for path, (_, lines) in diff.items()}
        is_own = _has_half(added, wrote) and _has_half(wrote, added) and (
            not session.base or self._contains(base, session.base))
        return paths.values() if is_own else ()

    def is_undone(self, run: tuple[GitCommit, ...]) -> bool:
        """Return whether commits are reverts, or reverted later: by messages, or because HEAD
        contains them but has none of their lines."""
        subjects = {one.subject for one in run}
        others = "\n".join(one.message for one in self.commits.values())
        added = {path: lines for path, (_, lines) in
                 self.diff(run[0].base, run[-1].hash).items()}
        now = {path: lines for path, (_, lines) in self.diff(run[0].base, self._head).items()}
        return any(map(REVERT.match, subjects)) or any(
            f"reverts commit {one.hash}" in others or f'Revert "{one.subject}"' in others
            for one in run) or (self._contains(self._head, run[-1].hash) and not any(
                lines & now.get(path, set()) for path, lines in added.items()))


def _own_paths(session: Session, names: Iterable[str]) -> dict[str, str]:
    """Return {path: absolute path} of the files of a diff that a session edited."""
    own = {path for _, path, old, new in session.edits if old != new}
    return {name: path for name in names for path in own if f"/{path}".endswith(f"/{name}")}


def _has_half(part: Lines, lines: Lines) -> bool:
    """Return whether `part` has at least half of these lines, and at least one."""
    n_in_part = sum(len(one & part.get(path, set())) for path, one in lines.items())
    return 0 < n_in_part * 2 >= sum(map(len, lines.values()))
