"""Read pull requests from a local clone, as rows with the columns of SWE-bench.

git:PATH        the commits of HEAD's first-parent line
git:PATH@A..B   the commits of a range of such a line
git:PATH@A,B    these commits

PATH must not contain @. Git works in a separate folder with links to the clone's objects and refs,
so that no hook, attribute or configured program of the clone has an effect. Not supported: clones
with SHA-256 names, and commits that the clone lacks. A commit without a number may be only part of
a pull request.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from codedata.checks.requests import n_words, own_words
from codedata.code.entities import is_of_tests
from codedata.code.git import git_output, own_repository, run_git
from codedata.code.patches import files_of
from codedata.code.projects import licence_in
from codedata.errors import Trouble
from codedata.sampling.readers.forms import BASE
from codedata.sandbox.archives import UnsafeArchive

MAX_DIFF_BYTES = 20_000_000
UNDONE = {"no_patch": "it reverts another change, or a later one reverts it"}
MAX_MESSAGE = 100_000   # characters
NO_UTF8 = re.compile("[\udc80-\udcff]")       # surrogates of bytes that are not UTF-8
SPECIAL = re.compile(r'\\(?:[0-7]{3}|.)|[][*?!#"\s]')   # escape or special character of a path
# owner/name at the end of a remote's address; the path of a folder does not match
ADDRESS = re.compile(r"(?:://[^/]+/|^[^/:]+:(?!//))(?:.*/)?([^/]+/[^/]+?)(?:\.git)?/*\Z")
REVERT = re.compile(r'(?i)\A(?:\w{1,20}: )?revert "(.*)"')   # captures the reverted title
NUMBER = re.compile(r"(?:\AMerge pull request |\((?:pull request )?)#(\d{1,9})(?= from |\)\s*\Z)")


def cut_rows(path: str, revisions: str = "", instance_ids: Iterable[str] | None = None
             ) -> Iterator[dict]:
    """Yield a row for each commit of a clone with one of these ids, or for all commits, newest
    first. If a row has no patch, `no_patch` is the reason: its diff cannot be read or, if all
    commits are read, it is a revert or is reverted. An id made of a session's base commit gets the
    commit on top of that base.

    Ids are compared without case, and without the owner if the clone has no address. Raise Trouble
    if git cannot read the clone.
    """
    try:
        with own_repository(Path(path)) as folder:
            repo = repo_of(folder, Path(path))
            spelled = re.sub("[^a-zA-Z0-9_.-]", "-", repo.replace("/", "__"))
            prefix, licence = spelled.casefold(), licence_in(folder)
            wanted = {one.casefold(): one for one in instance_ids or ()}
            if "__" not in prefix:
                wanted = {key.rpartition("__")[2]: one for key, one in wanted.items()}
            reverted: set[str] = set()
            for commit, parents, time, message in _commits(folder, revisions):
                numbers = NUMBER.findall(message.partition("\n")[0])
                keys = [f"{prefix}-{mark}" for mark in (*numbers, commit[:8])]
                is_undone = False
                if instance_ids is None:
                    wanted = {keys[0]: keys[0].replace(prefix, spelled, 1)}
                    title = (own_words(message) or message).partition("\n")[0]
                    titles = REVERT.findall(title)
                    is_undone = titles or title in reverted
                    reverted.discard(title)
                    reverted.update(own_words(one) or one for one in titles)
                base = parents.partition(" ")[0]
                own_key = next(filter(wanted.__contains__, keys), None)
                for key in {own_key, f"{prefix}-{BASE}{base[:8]}"} & wanted.keys() if base else ():
                    yield {"instance_id": wanted.pop(key), "repo": repo, "created_at": time,
                           "pr_description": _description(folder, parents, message),
                           "license": licence,
                           "number": int(numbers[0]) if numbers else 0,
                           **(UNDONE if is_undone else patches_between(folder, base, commit))}
    except UnsafeArchive as e:
        raise Trouble(f"cannot be read: {e.what}", path, "Give git:PATH of a clone, git:PATH@A..B "
                      "or git:PATH@COMMIT,COMMIT. For commits newer than a clone in env/_sources/, "
                      "delete it.") from e


def _description(folder: Path, parents: str, message: str) -> str:
    """Return a commit's message. If a merge has no words of its own, add the words of its commits,
    oldest first."""
    first, *merged = parents.split()
    if merged and not own_words(message):
        added = run_git(folder, "log", "--reverse", "--no-merges", "-z", "--format=%B", *merged,
                        f"^{first}")
        words = filter(lambda one: n_words(one) > 1, map(own_words, added.split("\0")))
        message = "\n\n".join([message.strip(), *words])
    return message[:MAX_MESSAGE].strip()


def repo_of(own: Path, path: Path) -> str:
    """Return owner/name in a clone's address, or else the name of its folder."""
    url = run_git(own, "config", "--file", "config", "--get", "--default", "", "remote.origin.url")
    address = ADDRESS.search(url.strip()[:1000])
    return address[1] if address else path.resolve().name.removesuffix(".git")


def _commits(folder: Path, revisions: str) -> Iterator[tuple[str, ...]]:
    """Return (id, parents, author's time, message) of each commit of a range, a list, or HEAD's
    first-parent line.
    """
    is_line = not revisions or ".." in revisions
    output = run_git(folder, "log", "-z", "--format=%H%x00%P%x00%at%x00%B",
                     "--first-parent" if is_line else "--no-walk=unsorted", "--end-of-options",
                     *(revisions or "HEAD").split(","), "--")
    return zip(*[iter(output.split("\0"))] * 4, strict=False)


def patches_between(folder: Path, base: str, commit: str) -> dict[str, str]:
    """Return the columns with the changes from one commit to another. Show changes of files that
    are not UTF-8 as binary."""
    attributes = folder / ".git/info/attributes"
    attributes.parent.mkdir(exist_ok=True)
    attributes.unlink(missing_ok=True)
    try:
        found = _diff(folder, base, commit)
        binary = [SPECIAL.sub("?", path) for path, text in files_of(found) if NO_UTF8.search(text)]
        if binary:
            attributes.write_text("".join(f"/{path} -diff\n" for path in binary))
            found = _diff(folder, base, commit)
        files = [*files_of(found.encode(errors="surrogateescape").decode())]
    except (UnsafeArchive, UnicodeDecodeError) as e:
        return {"no_patch": f"its diff cannot be read: {e}"}
    patches = {"base_commit": base, "patch": "", "test_patch": ""}
    for path, text in files:
        patches["test_patch" if is_of_tests(path) else "patch"] += text
    return patches


def _diff(folder: Path, base: str, commit: str) -> str:
    """Return git's diff, which follows the folder's attributes, with surrogates for bytes that are
    not UTF-8. Raise UnsafeArchive if it is too large."""
    with git_output(folder, "diff-tree", "-p", "-M", "--binary", "--full-index", base,
                    commit) as output:
        diff = output.read(MAX_DIFF_BYTES + 1)
    if len(diff) > MAX_DIFF_BYTES:
        raise UnsafeArchive(f"it has more than {MAX_DIFF_BYTES:,} bytes")
    return diff.decode(errors="surrogateescape")
