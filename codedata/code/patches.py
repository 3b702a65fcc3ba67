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
    length: int
    header: str          # the text after the @@: the function around the hunk
    old: list[str]       # removed lines and those around them
    added: list[str]


def hunks_of(patch: str, source: str) -> Iterator[Hunk]:
    """Yield the hunks of a patch in their order."""
    hunk, path = None, ""
    n_old = n_new = 0          # lines that the hunk still has, by its header
    for line in patch.split("\n")[:MAX_LINES]:
        if hunk and (n_old > 0 or n_new > 0):
            sign, bare = line[:1], line[1:]
            if sign == "+":
                hunk.added.append(bare)
            elif sign != "\\":
                hunk.old.append(bare)
            n_old -= sign not in ("+", "\\")
            n_new -= sign not in ("-", "\\")
        elif match := HUNK.match(line):
            n_old, n_new = int(match[2] or 1), int(match[3] or 1)
            hunk = Hunk(path, source, int(match[1]), n_old, match[4].strip(), [], [])
            yield hunk
        elif line.startswith(("--- ", "+++ ")):
            name = line[4:].partition("\t")[0].strip().strip('"')
            path = path if name == "/dev/null" else name[2:] if name[:2] in ("a/", "b/") else name
