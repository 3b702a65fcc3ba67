"""Parse patches in git's format, hunk by hunk, as far as they can be read, where other lines are
skipped; and make them."""
from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from codedata.code.hidden_text import git_output

MAX_LINES = 20_000   # lines of a patch that are read
HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+\d{1,9}(?:,(\d{1,9}))? @@(.*)")


@dataclass
class Hunk:
    """Hold one hunk of a patch; its lines are without their sign."""

    path: str
    source: str          # the caller's name for the patch
    start: int           # number of its first old line, from 1
    length: int          # number of its old lines, by its header
    header: str          # the text after the @@: the function around the hunk
    old: list[str]       # removed lines and those around them
    added: list[str]


def hunks_of(patch: str, source: str) -> Iterator[Hunk]:
    """Yield the hunks of a patch in their order."""
    hunk, path = None, ""
    n_new = 0   # new lines that the hunk still has, by its header
    for line in patch.split("\n")[:MAX_LINES]:
        sign = line[:1]
        if hunk and (n_new > 0 or len(hunk.old) < hunk.length):
            if sign != "\\":
                lines = hunk.added if sign == "+" else hunk.old
                lines.append(line[1:])
            if sign not in ("-", "\\"):
                n_new -= 1
            continue
        if match := HUNK.match(line):
            n_new = int(match[3] or 1)
            hunk = Hunk(path, source, int(match[1]), int(match[2] or 1), match[4].strip(), [], [])
            yield hunk
        elif line.startswith(("--- ", "+++ ")):
            name = line[4:].partition("\t")[0].strip().strip('"')
            path = path if name == "/dev/null" else re.sub(r"\A[ab]/", "", name)


def added_runs(patch: str) -> Iterator[str]:
    """Yield the lines that a patch adds, as one text for each run of them that no line of before
    interrupts."""
    run: list[str] = []
    n_old = n_new = 0   # lines that the hunk still has, by its header
    for line in patch.split("\n"):
        is_in_hunk = n_old > 0 or n_new > 0
        if is_in_hunk and line.startswith("+"):
            run.append(line[1:])
            n_new -= 1
            continue
        if is_in_hunk and line.startswith(("-", "\\")):
            n_old -= 1 if line[0] == "-" else 0
            continue
        if run:
            yield "\n".join([*run, ""])
            run = []
        if is_in_hunk:
            n_old -= 1
            n_new -= 1
        elif match := HUNK.match(line):
            n_old, n_new = int(match[2] or 1), int(match[3] or 1)
    if run:
        yield "\n".join([*run, ""])


def diff_of(old: Mapping[str, bytes], new: Mapping[str, bytes], n_context: int = 3) -> str:
    """Return the patch in git's format that makes the files `new` of the files `old`, both given by
    path: ordinary files of text in UTF-8. No file gets such a path on this machine."""
    with TemporaryDirectory(prefix="codedata_diff.") as folder:
        _git(folder, "init", "-q", "--template=")
        _git(folder, "config", "core.quotePath", "false")
        trees = [_tree(folder, files) for files in (old, new)]
        return _git(folder, "diff", "--no-color", "--no-ext-diff", "--no-renames", "--text",
                    f"-U{n_context}", *trees)


def _tree(folder: str, files: Mapping[str, bytes]) -> str:
    """Write files into the repository of a folder, and return the id of a tree of them."""
    places = [Path(folder, f"file{i}") for i in range(len(files))]
    for place, content in zip(places, files.values(), strict=True):
        place.write_bytes(content)
    names = "".join(f"{place.name}\n" for place in places)
    ids = _git(folder, "hash-object", "-w", "--no-filters", "--stdin-paths", stdin=names).split()
    lines = [f"100644 {id}\t{path}\0" for id, path in zip(ids, files, strict=True)]
    _git(folder, "read-tree", "--empty")
    _git(folder, "update-index", "-z", "--index-info", stdin="".join(lines))
    return _git(folder, "write-tree").strip()


def _git(folder: str, *words: str, stdin: str = "") -> str:
    with git_output(folder, *words, stdin=stdin) as output:
        return output.read().decode()
