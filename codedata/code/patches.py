"""Parse, apply and make patches in git's format, hunk by hunk."""
from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import unified_diff
from functools import cached_property
from itertools import groupby
from pathlib import Path

from codedata.code.git import run_git
from codedata.disk.layouts import Program
from codedata.disk.locks import temporary_folder
from codedata.disk.store import digest

LINE_ENDS = re.compile(rb"(?<=\n)")
NO_END = "\\ No newline at end of file"
HEADS = ("diff --git a/", "index ", "--- a/", "+++ b/")   # how lines before a file's hunks begin
REVERSIBLE = (*HEADS[:2], "--- ", "new file mode ", "deleted file mode ")
OPPOSITE = {"-": "+", "+": "-", "new": "deleted", "deleted": "new"}
FILE = re.compile(r'^(?=diff --git (.* "?b/.+))', re.MULTILINE)   # the head of a file's diff
HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+\d{1,9}(?:,(\d{1,9}))? @@(.*)")


@dataclass
class Hunk:
    """Hold one hunk of a patch."""

    path: str
    source: str          # the caller's name for the patch
    start: int           # number of its first old line, from 1
    length: int          # number of its old lines, by its header
    header: str          # the text after the @@: the function around the hunk
    lines: list[str]     # with their signs

    @cached_property
    def old(self) -> list[str]:
        """Return the removed lines and the context lines, without the leading `-` or space."""
        return [line[1:] for line in self.lines if not line.startswith(("+", "\\"))]

    @cached_property
    def new(self) -> list[str]:
        """Return the added lines and the context lines, without the leading "+" or space."""
        return [line[1:] for line in self.lines if not line.startswith(("-", "\\"))]

    @cached_property
    def changed(self) -> list[int]:
        """Return the numbers of the removed lines, and of the lines before added ones."""
        numbers = []
        at = self.start - 1 if self.length else self.start
        for line in self.lines:
            at += 0 if line.startswith(("+", "\\")) else 1
            if line.startswith(("+", "-")):
                numbers.append(at)
        return numbers

    @cached_property
    def added(self) -> list[str]:
        """Return the added lines, without their "+"."""
        return [line[1:] for line in self.lines if line.startswith("+")]


@dataclass(frozen=True, slots=True)
class Edit:
    """Describe a replacement of lines of a text."""

    line: int            # first old line, from 1; without old lines, `new` is inserted before it
    old: list[str]
    new: list[str]


def files_of(patch: str) -> Iterator[tuple[str, str]]:
    """Yield (path, patch) of each file in git's patch; for a renamed file, the new path."""
    _, *parts = FILE.split(patch)
    for names, text in zip(*[iter(parts)] * 2, strict=True):
        middle = len(names) // 2
        old, new = names[:middle].strip('"'), names[middle + 1:].strip('"')
        is_same = old.startswith("a/") and new == f"b/{old[2:]}"
        yield new[2:] if is_same else re.sub(r'\A.* "?b/(?=.)', "", names).removesuffix('"'), text


def hunks_of(patch: str, source: str = "", max_lines: int | None = None) -> list[Hunk]:
    """Return the hunks of a patch in order. `max_lines` limits the lines to read."""
    return _parsed(patch.split("\n")[:max_lines], source)[0]


def n_changed_lines(diff: str) -> int:
    """Return the number of lines that a diff adds or removes."""
    return sum(line.startswith(("+", "-")) for hunk in hunks_of(diff) for line in hunk.lines)


def _parsed(lines: Iterable[str], source: str = "") -> tuple[list[Hunk], list[str]]:
    """Return the hunks of a patch, and its other lines."""
    hunks = []
    others = []
    path = ""
    for is_in_hunk, line in _marked(lines):
        if is_in_hunk:
            hunks[-1].lines.append(line)
        elif match := HUNK.match(line):
            hunks.append(Hunk(path, source, int(match[1]), int(match[2] or 1), match[4].strip(),
                              []))
        else:
            others.append(line)
            if line.startswith(("--- ", "+++ ")):
                name = line[4:].partition("\t")[0].strip().strip('"')
                path = path if name == "/dev/null" else re.sub(r"\A[ab]/", "", name)
    return hunks, others


def _marked(lines: Iterable[str]) -> Iterator[tuple[bool, str]]:
    """Yield (whether the line is in a hunk, line) for each line of a patch."""
    n_old = n_new = 0    # remaining lines of the last hunk, by its header
    has_hunk = False
    for line in lines:
        sign = line[:1]
        if line.startswith("diff --git "):   # the previous hunk was cut short
            n_old = n_new = 0
        is_in_hunk = n_old > 0 or n_new > 0 or (has_hunk and sign == "\\")
        if is_in_hunk:
            n_old -= 0 if sign in ("+", "\\") else 1
            n_new -= 0 if sign in ("-", "\\") else 1
        elif match := HUNK.match(line):
            n_old, n_new, has_hunk = int(match[2] or 1), int(match[3] or 1), True
        yield is_in_hunk, line


def edits_of(patch: str, texts: Mapping[str, str]) -> dict[str, list[Edit]]:
    """Return {path: edits in the order of lines} of a patch. Raise ValueError if the patch does not
    apply exactly to the texts, or does more than change lines, such as create a file."""
    hunks, others = _parsed(patch.removesuffix("\n").split("\n"))
    others = [line for line in others if not line.startswith(HEADS)]
    others += [hunk.path for hunk in hunks if hunk.path not in texts]
    if others:
        raise ValueError(f"it does more than change lines: {others[0][:200]}")
    edits = defaultdict(list)
    for hunk in hunks:
        lines = texts[hunk.path].split("\n")
        at = hunk.start - 1 if hunk.length else hunk.start
        if hunk.lines[-1:] == [NO_END] and hunk.lines[-2:-1] == [f" {lines[-1]}"]:
            hunk.lines.pop()   # the end of the file is unchanged
        for line in hunk.lines:
            sign = line[:1] or " "
            if sign not in " -+" or (sign != "+" and lines[at:at + 1] != [line[1:]]):
                raise ValueError(f"it does not apply to {hunk.path[:200]}, line {at + 1}")
            if sign != " ":
                found = edits[hunk.path]   # extend the last edit if it ends at this line
                if not (found and found[-1].line + len(found[-1].old) == at + 1):
                    found.append(Edit(at + 1, [], []))
                (found[-1].old if sign == "-" else found[-1].new).append(line[1:])
            at += 0 if sign == "+" else 1
    return edits


def reversed_patch(patch: str) -> str:
    """Return the reverse of a patch that changes, creates or removes texts. Raise ValueError if the
    patch does more, such as rename a file."""
    out = []
    run = {"-": [], "+": []}   # changed lines by their old sign
    last = ""                                        # sign of the previous line
    for is_in_hunk, line in _marked([*patch.removesuffix("\n").split("\n"), ""]):
        sign = line[:1]
        if is_in_hunk and sign == "\\":
            run.get(last, out).append(line)
        elif is_in_hunk and sign in run:
            run[sign].append(OPPOSITE[sign] + line[1:])
        else:
            out += run["+"] + run["-"]
            run = {"-": [], "+": []}
            out += [line] if is_in_hunk else _reversed_head(line, out)
        last = sign
    return "\n".join(out)


def _reversed_head(line: str, out: list[str]) -> list[str]:
    """Return the reverse of a line outside of hunks. For the line with the new name, remove the
    line with the old name from `out` and return both."""
    if HUNK.match(line):
        return [re.sub(r"(?<!\S)-(\S+) \+(\S+)", r"-\2 +\1", line, count=1)]
    if line.startswith("+++ ") and out and out[-1].startswith("--- "):
        before = out.pop()[4:]
        return [re.sub("^--- b/", "--- a/", f"--- {line[4:]}"),
                re.sub(r"^\+\+\+ a/", "+++ b/", f"+++ {before}")]
    if line and not line.startswith(REVERSIBLE):
        raise ValueError(f"a patch with such a line is not reversed: {line[:200]!r}")
    line = re.sub(r"^index (\w+)\.\.(\w+)", r"index \2..\1", line)
    return [re.sub("^(new|deleted)(?= file mode)", lambda one: OPPOSITE[one[1]], line)]


def normalised(diff: str) -> str:
    """Return a digest of a diff's changes. It ignores line numbers, the names of enclosing
    functions and trailing whitespace."""
    hunks = sorted(hunks_of(diff), key=lambda hunk: (hunk.path, hunk.start))
    return digest([[hunk.path, *([line.rstrip() for line in lines]
                                 for lines in (hunk.old, hunk.added))] for hunk in hunks])


def edited(text: str, edits: Iterable[Edit]) -> str:
    """Apply edits, given in the order of their lines, to a text, and return the result."""
    lines = text.split("\n")
    for edit in reversed([*edits]):
        lines[edit.line - 1:edit.line - 1 + len(edit.old)] = edit.new
    return "\n".join(lines)


def added_runs(patch: str) -> Iterator[str]:
    """Yield the runs of lines that a patch adds, each as one text. A context line ends a run, a
    removed line does not."""
    for hunk in hunks_of(patch):
        lines = [line for line in hunk.lines if not line.startswith(("-", "\\"))]
        for is_added, run in groupby(lines, lambda line: line.startswith("+")):
            if is_added:
                yield "".join(f"{line[1:]}\n" for line in run)


def text_diff(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> str:
    """Return the patch between texts of the same paths, in git's format, without calling git,
    which would be too slow for thousands. Texts must be UTF-8, and paths need no quoting."""
    diff = ""
    for path, text in old.items():
        rows = [[line.decode() for line in LINE_ENDS.split(one) if line]
                for one in (text, new[path])]
        changes = [line if line.endswith("\n") else f"{line}\n{NO_END}\n"
                   for line in unified_diff(*rows, f"a/{path}", f"b/{path}")]
        diff += "".join([f"diff --git a/{path} b/{path}\n", *changes] if changes else [])
    return diff


def diff_of(old: Mapping[str, bytes], new: Mapping[str, bytes], n_context: int = 3) -> str:
    """Return the patch in git's format that turns the files `old` into the files `new`. Both map
    paths to UTF-8 texts; a Program is executable. No file is written at these paths."""
    with temporary_folder() as folder:
        run_git(folder, "init", "-q", "--template=")
        run_git(folder, "config", "core.quotePath", "false")
        return run_git(folder, "diff", "--no-color", "--no-ext-diff", "--no-renames", "--text",
                    f"-U{n_context}", *[_tree(folder, files) for files in (old, new)])


def _tree(folder: Path, files: Mapping[str, bytes]) -> str:
    """Write files into the repository in a folder, and return the id of their tree."""
    places = [folder / f"file{i}" for i in range(len(files))]
    for place, content in zip(places, files.values(), strict=True):
        place.write_bytes(content)
    names = "".join(f"{place.name}\n" for place in places)
    ids = run_git(folder, "hash-object", "-w", "--no-filters", "--stdin-paths", stdin=names).split()
    lines = [f"100{755 if isinstance(content, Program) else 644} {id}\t{path}\0"
             for id, (path, content) in zip(ids, files.items(), strict=True)]
    run_git(folder, "read-tree", "--empty")
    run_git(folder, "update-index", "-z", "--index-info", stdin="".join(lines))
    return run_git(folder, "write-tree").strip()
