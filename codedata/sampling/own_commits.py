"""Find the commits that came out of a developer's sessions, in a clone.

If a session ran `git commit` and its output names the commit, this is the commit. Otherwise take
the first run of commits that change its files within DAYS after its start, on one of its branches
or HEAD. Half of the lines that run or session wrote must be in both; half of each commit's lines
must be the session's. The run's base must have the files as the session read them. If the session
names its own base commit, the run's base must contain it. A doubtful match is refused, with the
reason.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import pairwise, product
from os.path import basename, isdir
from pathlib import Path, PurePath
from typing import NamedTuple

from codedata.code.git import own_repository, run_git
from codedata.code.patches import hunks_of
from codedata.code.projects import licence_in
from codedata.sampling.git_prs import MAX_DIFF_BYTES, REVERT, UNDONE, patches_between, repo_of
from codedata.sampling.session_edits import AgentSession, Lines, Sessions, lines_in
from codedata.sandbox.archives import UnsafeArchive
from codedata.settings import SESSIONS

EXACT, BY_LINES = "commit in the session", "lines"
DAYS, DAY_S = 7, 86_400
MAX_RUN = 5                  # commits of a session that names none
ANYWHERE = ":(glob)**/{}"     # pattern of a file's name in any folder
MAX_DIFFS = 500              # in memory
SLACK_S = 60                 # between a commit and the last line of its session


class GitCommit(NamedTuple):
    """Hold a commit of a clone. Times are Unix times."""

    hash: str
    base: str                # hashes of its parents, joined by spaces
    authored: float
    committed: float
    subject: str
    message: str


def rows_of_sessions(spec: str, ids: Iterable[str], all_sessions: Callable[[], Sessions]
                     ) -> Iterator[dict]:
    """Yield a row for each of these ids that is a session, like cut_rows(): with `matched`, or with
    the reason `no_patch`. `spec` is git:PATH[@…], or SESSIONS. All sessions are compared, since
    a commit belongs to one of them."""
    clones: dict[str, Sessions] = defaultdict(dict)
    for name, session in all_sessions().items():
        path = spec.removeprefix("git:").partition("@")[0]
        clones[_clone_at(session.folder) if spec == SESSIONS else path][name] = session
    for path, sessions in clones.items():
        wanted = sessions.keys() & {*ids}
        try:
            yield from _rows(Path(path), wanted, sessions) if wanted else ()
        except UnsafeArchive as e:
            yield from ({"instance_id": name, "no_patch": f"{path}: {e.what}"} for name in wanted)


def _clone_at(folder: str) -> str:
    """Return the nearest clone that contains a folder, or the folder. A linked worktree is no
    clone."""
    path = PurePath("/", folder)
    # Path.is_dir() raises an error for a folder of another user
    return str(next((one for one in (path, *path.parents) if isdir(one / ".git")), path))


def _rows(path: Path, wanted: Iterable[str], sessions: Sessions) -> Iterator[dict]:
    """Yield the rows of the sessions `wanted`; `sessions` are all in this clone."""
    with own_repository(path) as folder:
        clone = Clone(folder, min(min(one.times) for one in sessions.values()))
        for session in sessions.values():
            session.found = session.found or clone.commits_of(session)
        found = {name: session.found for name, session in sessions.items()}
        repo, licence = repo_of(folder, path), licence_in(folder)
        for name in sorted(wanted):
            how, run = found[name]
            row = {"instance_id": name, "repo": repo, "license": licence, "matched": how}
            if doubt := how if not run else _doubt(clone, name, found, sessions):
                yield row | {"no_patch": f"session: {doubt}"}
                continue
            yield row | {"created_at": str(run[-1].authored), "pr_description": "\n\n".join(
                one.message.strip() for one in run)} | (
                UNDONE if clone.is_undone(run) else
                patches_between(folder, run[0].base, run[-1].hash))


def _doubt(clone: Clone, name: str, found: dict, sessions: Sessions) -> str:
    """Return why the commits of the session `name` may hold another session's work, or ""."""
    how, run = found[name]
    session = sessions[name]
    names = names_in(clone.diff(run[0].base, run[-1].hash))
    paths = {path for _, path in session.edits if basename(path) in names}
    for other, (its_how, its_run) in found.items():
        if other != name and {*its_run} & {*run} and (how == BY_LINES or its_how == EXACT):
            return f"its commit may be of another session ({other})"
        if other != name and any(path in paths and min(session.times) <= at <= run[-1].committed
                                 for at, path in sessions[other].edits):
            return f"another session edited its files before its commit ({other})"
    return ""


class Clone:
    """Read a clone's commits since `start`, a Unix time, through own_repository()."""

    def __init__(self, folder: Path, start: float):
        self._folder = folder
        output = run_git(folder, "log", "-z", f"--since=@{int(start - SLACK_S)}", "--branches",
                         "--remotes", "--format=%H%x00%P%x00%at%x00%ct%x00%s%x00%B", "HEAD", "--")
        self._commits = {row[0]: GitCommit(row[0], row[1], float(row[2]), float(row[3]), *row[4:])
                         for row in zip(*[iter(output.split("\0"))] * 6, strict=False)}
        self.diff = lru_cache(MAX_DIFFS)(self._diff)

    def _diff(self, base: str, tip: str, *names: str) -> tuple[Lines, Lines]:
        """Return (the old lines of the changed text files, the lines that are new in them), or
        empty sets if the diff is too large. `names` limits the files."""
        diff = ""
        with suppress(UnsafeArchive):
            diff = run_git(self._folder, "diff-tree", "-p", "--no-renames", "-U1000000", base, tip,
                           "--", *map(ANYWHERE.format, names))
        old: Lines = set()
        new: Lines = set()
        for hunk in hunks_of(diff) if len(diff) <= MAX_DIFF_BYTES else ():
            old |= lines_in(hunk.path, "\n".join(hunk.old))
            new |= lines_in(hunk.path, "\n".join(hunk.new))
        return old, new - old

    def _contains(self, commit: str, base: str) -> bool:
        with suppress(UnsafeArchive):
            run_git(self._folder, "merge-base", "--is-ancestor", "--end-of-options", base, commit)
            return True
        return False

    def commits_of(self, session: AgentSession) -> tuple[str, list[GitCommit]]:
        """Return (how they were found, the commits of a session, oldest first), or (why there are
        none, [])."""
        if session.has_reverted:
            return "it reverts commits", []
        start, end = min(session.times), max(session.times) + SLACK_S
        named = [one for one in self._commits.values() if start <= one.committed <= end and any(
            one.hash.startswith(short) and one.subject == subject
            for short, subject in session.commits)][::-1]
        if named and not _follow_each_other(named):
            return "other commits are between its commits", []
        if named:
            diff = self.diff(named[0].base, named[-1].hash)
            return (EXACT, named) if session.names & names_in(diff) else (
                "its commit has no file that it edited", [])
        for line in self._near(session) if session.edits else ():
            for i, n in product(range(len(line)), range(MAX_RUN, 0, -1)):
                if _follow_each_other(line[i:i + n]) and self._is_own(session, line[i:i + n]):
                    return BY_LINES, line[i:i + n]
        return "no commit came out of it", []

    def _near(self, session: AgentSession) -> Iterator[list[GitCommit]]:
        """Yield the commits of the time after a session's first edit that change its files, on each
        of its branches and on HEAD, oldest first."""
        first, end = min(session.edits)[0], min(session.times) + DAYS * DAY_S
        names = [f"refs/{place}/{one}" for one in sorted(session.branches)
                 for place in ("heads", "remotes/origin")]
        for ref in (*names, "HEAD"):
            with suppress(UnsafeArchive):   # there may be no such branch
                output = run_git(self._folder, "rev-list", "--reverse", "--no-merges",
                                 f"--since=@{int(first)}", ref, "--", *_endings(session))
                near = [self._commits[one] for one in output.split() if one in self._commits]
                yield [one for one in near if first <= min(one[2:4]) and one.committed <= end]

    def _is_own(self, session: AgentSession, run: list[GitCommit]) -> bool:
        """Return whether commits and session share half of the lines of both together, and each
        commit's lines are half the session's."""
        base = run[0].base
        old, new = diff = self.diff(base, run[-1].hash)
        names = names_in(diff)
        return (old.issuperset(one for one in session.read if one[0] in names & session.names)
                and _has_half(new & session.wrote, new | session.wrote)
                and all(_has_half(session.wrote, self.diff(one.base, one.hash)[1]) for one in run)
                and (not session.base or self._contains(base, session.base)))

    def is_undone(self, run: list[GitCommit]) -> bool:
        """Return whether commits are reverts, or reverted later: by messages, or because HEAD had
        none of their lines DAYS later."""
        base, tip = run[0].base, run[-1].hash
        later = run_git(self._folder, "rev-list", "-1", "--first-parent",
                        f"--before=@{int(run[-1].committed) + DAYS * DAY_S}", "HEAD").strip()
        messages = "\n".join(one.message for one in self._commits.values())
        return any(REVERT.match(one.subject) or f"reverts commit {one.hash}" in messages
                   or f'Revert "{one.subject}"' in messages for one in run) or (
            later and self._contains(later, tip)
            and (diff := self.diff(base, tip))[1].isdisjoint(
                self.diff(base, later, *sorted(names_in(diff)))[1]))


def _follow_each_other(run: list[GitCommit]) -> bool:
    """Return whether each commit is on top of the one before it."""
    return all(after.base == one.hash for one, after in pairwise(run))


def names_in(diff: tuple[Lines, Lines]) -> set[str]:
    """Return the names of the changed files."""
    return {name for lines in diff for name, _ in lines}


def _endings(session: AgentSession) -> list[str]:
    """Return patterns for the edited files in a clone, whose root is the work directory or above
    it."""
    n_parts = len(PurePath(session.folder).parts)
    return [f":(literal){PurePath(*PurePath(path).parts[i:])}"
            for path in sorted({path for _, path in session.edits}) for i in range(1, n_parts + 1)]


def _has_half(part: Lines, lines: Lines) -> bool:
    """Return whether `part` has at least half of some lines, by their length."""
    return 0 < _n_chars(lines) <= 2 * _n_chars(lines & part)


def _n_chars(lines: Lines) -> int:
    """Return the total length of lines."""
    return sum(len(line) for _, line in lines)
