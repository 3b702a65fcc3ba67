"""Undo as little of a change as makes its tests pass. What does no harm, such as the rest of a
feature, stays in the task."""
from __future__ import annotations

from collections.abc import Callable

from codedata.code.patches import CONTEXT, Edit, diff_of, edited, edits_of
from codedata.suites.source import Files

MAX_RUNS = 12
Part = tuple[str, list[Edit]]   # (path, the edits of a hunk; []: the file is made or removed)


def parts_of(before: Files, after: Files) -> list[Part]:
    """Return the parts of a change, each a hunk or a whole file. Raise ValueError if a part cannot
    be undone alone, such as a new mode or a line feed at the end of a file."""
    texts = {path: before[path].decode() for path in sorted(before.keys() & after.keys())}
    patch = diff_of(*({path: files[path] for path in texts} for files in (before, after)))
    parts: list[Part] = [(path, []) for path in sorted(before.keys() ^ after.keys())]
    for path, edits in (edits_of(patch, texts) if patch else {}).items():
        end = -2 * CONTEXT
        for edit in edits:
            if edit.line - end > 2 * CONTEXT:   # nearer ones belong together, as with a docstring
                parts.append((path, []))
            parts[-1][1].append(edit)
            end = edit.line + len(edit.old)
    return parts


def healed_files(before: Files, after: Files, is_healed: Callable[[Files], bool]) -> Files:
    """Return the changed files with as few parts of the change undone as is_healed() accepts, or
    all of them. Halves are tried first, then smaller groups, with at most MAX_RUNS calls."""
    try:
        parts = parts_of(before, after)
    except ValueError:
        return before

    def without(undone: list[Part]) -> Files:
        files = {**{path: before[path] for path, edits in undone if not edits and path in before},
                 **{path: text for path, text in after.items() if (path, []) not in undone}}
        for path in before.keys() & after.keys():
            kept = [edit for part in parts if part[0] == path and part not in undone
                    for edit in part[1]]
            files[path] = type(after[path])(edited(before[path].decode(), kept).encode())
        return files

    undone, n_runs = parts, 0
    size = len(parts) // 2
    while size:
        at = 0
        while at < len(undone) > size and n_runs < MAX_RUNS:
            rest = undone[:at] + undone[at + size:]
            n_runs += 1
            if is_healed(without(rest)):
                undone = rest
            else:
                at += size
        size //= 2
    return without(undone)
