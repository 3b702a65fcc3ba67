"""Parse patches in git's format, hunk by hunk, as far as they can be read. Other lines are
skipped."""
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

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
