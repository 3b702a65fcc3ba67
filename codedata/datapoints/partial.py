"""Make partial solutions of a datapoint: the solved work directory with one change left out."""
from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher

from codedata.tasks.grade import Tree


def partial_solutions(before: Tree, after: Tree, most: int) -> list[tuple[str, Tree]]:
    """Return [(the change that is left out, the work directory without it)] for changes of a
    solution: a new file, or a run of lines of a changed file. If there are more than `most`
    changes, take `most` of them at equal distances."""
    found = []
    for path in sorted(after):
        old, new = before.get(path), after[path]
        if old == new or (not isinstance(new[2], bytes) and old is not None):
            continue
        if old is None:
            found.append((path, {name: one for name, one in after.items()
                                 if name != path and not name.startswith(f"{path}/")}))
        elif isinstance(old[2], bytes) and isinstance(new[2], bytes):
            found += [(f"{path}, line {line}", {**after, path: (*new[:2], content)})
                      for line, content in _without_a_change(old[2], new[2])]
    step = len(found) / most
    return found if step <= 1 else [found[int(i * step)] for i in range(most)]


def _without_a_change(old: bytes, new: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (line of a change in `new`, `new` with only this change undone) for each change."""
    lines, others = old.splitlines(keepends=True), new.splitlines(keepends=True)
    for kind, i, j, k, n in SequenceMatcher(None, lines, others, autojunk=False).get_opcodes():
        if kind != "equal":
            yield k + 1, b"".join([*others[:k], *lines[i:j], *others[n:]])
