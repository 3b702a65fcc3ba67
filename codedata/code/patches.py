"""Parse patches in git's format, hunk by hunk, as far as they can be read, where other lines are
skipped; and make them."""
from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from codedata.code.git import git_output
from codedata.sandbox.process_labels import temporary_folder
from codedata.store import digest

MAX_LINES = 20_000   # lines of a patch that are read
CONTEXT = 3          # lines around a change
LINE_ENDS = re.compile(rb"(?<=\n)")
NO_LINE_FEED = b"\n\\ No newline at end of file\n"
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


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace lines of a text."""

    line: int            # the first of them, from 1; without old lines, those are put before it
    old: list[str]
    new: list[str]


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


def edits_of(patch: str, texts: Mapping[str, str]) -> dict[str, list[Edit]]:
    """Return the edits by which a patch changes texts, by path and in its order. Raise ValueError
    where it does not apply to the letter, or does something else, such as make a file."""
    found: dict[str, list[Edit]] = {}
    path, last = "", ""
    lines, at = [], 0
    n_old = n_new = 0   # lines that the hunk still has, by its header
    for line in patch.removesuffix("\n").split("\n"):
        sign, text = line[:1] or " ", line[1:]
        if n_old > 0 or n_new > 0:
            if sign not in " -+" or (sign != "+" and lines[at:at + 1] != [text]):
                raise ValueError(f"it does not apply to {path[:200]}, line {at + 1}")
            last = sign
            if sign != " ":
                _add(found[path], sign, at + 1, text)
            at += int(sign != "+")
            n_old -= int(sign != "+")
            n_new -= int(sign != "-")
            continue
        if match := HUNK.match(line):
            n_old, n_new = int(match[2] or 1), int(match[3] or 1)
            at = int(match[1]) - int(n_old > 0)
            if not path:
                raise ValueError("it names no file")
            if path not in found:
                found[path], lines = [], texts[path].split("\n")
            continue
        is_path = line.startswith("+++ b/")
        if is_path:
            path = line[6:].partition("\t")[0]
        is_known = is_path and path in texts
        # the end of the file is as it was
        is_end = sign == "\\" and texts.get(path, "\n")[-1:] != "\n" and last == " "
        if not (is_known or is_end or line.startswith(("diff --git a/", "index ", "--- a/"))):
            raise ValueError(f"it does more than change lines: {line[:200]}")
    return found


def _add(edits: list[Edit], sign: str, line: int, text: str) -> None:
    """Add a removed or added line to the edits of a text; `line` is that of the text it is at."""
    if not (edits and edits[-1].line + len(edits[-1].old) == line):
        edits.append(Edit(line, [], []))
    (edits[-1].old if sign == "-" else edits[-1].new).append(text)


def normalised(diff: str) -> str:
    """Return a digest of what a diff changes, without the numbers of lines, the names of functions
    around it and blanks at the ends of lines."""
    hunks = sorted(hunks_of(diff, ""), key=lambda hunk: (hunk.path, hunk.start))
    return digest([[hunk.path, *([line.rstrip() for line in lines]
                                 for lines in (hunk.old, hunk.added))] for hunk in hunks])


def edited(text: str, edits: Iterable[Edit]) -> str:
    """Return a text with its edits, which are in the order of its lines."""
    lines = text.split("\n")
    for edit in reversed([*edits]):
        lines[edit.line - 1:edit.line - 1 + len(edit.old)] = edit.new
    return "\n".join(lines)


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


class SpanDiffs:
    """Make patches that each replace a span of one file, in git's format but without git, which is
    too slow for thousands. The text is UTF-8, the path one that git does not quote."""

    def __init__(self, path: str, text: bytes):
        self._head = f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n"
        self._text = text
        self._lines = _lines_of(text)
        self._starts = [0, *accumulate(map(len, self._lines))]   # the last one is the end

    def diff(self, start: int, end: int, new: bytes) -> tuple[str, tuple[int, int]]:
        """Return (the patch that replaces the bytes from `start` to `end`, the first and the last
        line that it changes, from 1; of one that only adds, the line before)."""
        lines, starts, text = self._lines, self._starts, self._text
        first = min(bisect_right(starts, start), len(lines)) - 1
        last = max(first + 1, min(bisect_right(starts, end - 1), len(lines)))
        changed = text[starts[first]:start] + new + text[end:starts[last]]
        if changed and not changed.endswith(b"\n") and last < len(lines):
            changed += lines[last]   # the end of its last line is gone
            last += 1
        after = _lines_of(changed)
        while first < last and after and lines[first] == after[0]:
            first += 1
            after.pop(0)
        while first < last and after and lines[last - 1] == after[-1]:
            last -= 1
            after.pop()
        return self._head + self._hunk(first, last, after), (min(first + 1, last) or 1, last or 1)

    def _hunk(self, first: int, last: int, new: list[bytes]) -> str:
        """Return the hunk that replaces the lines from `first` until before `last`, from 0."""
        before = self._lines[max(0, first - CONTEXT):first]
        behind = self._lines[last:last + CONTEXT]
        n_around, at = len(before) + len(behind), first - len(before) + 1
        n_old, n_new = n_around + last - first, n_around + len(new)
        rows = ((b" ", before), (b"-", self._lines[first:last]), (b"+", new), (b" ", behind))
        body = b"".join(sign + (line if line.endswith(b"\n") else line + NO_LINE_FEED)
                        for sign, some in rows for line in some)
        return (f"@@ -{at if n_old else at - 1},{n_old} +{at if n_new else at - 1},{n_new} @@\n"
                + body.decode())


def _lines_of(text: bytes) -> list[bytes]:
    return [line for line in LINE_ENDS.split(text) if line]


def diff_of(old: Mapping[str, bytes], new: Mapping[str, bytes], n_context: int = 3) -> str:
    """Return the patch in git's format that makes the files `new` of the files `old`, both given by
    path: ordinary files of text in UTF-8. No file gets such a path on this machine."""
    with temporary_folder() as folder:
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
