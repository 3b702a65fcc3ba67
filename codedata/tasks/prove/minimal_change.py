"""Undo as few hunks of a breaking change as are needed for its failing tests to pass. Harmless
parts, such as the rest of a feature, stay in the task."""
from __future__ import annotations

import re
from collections.abc import Callable

from codedata.code.patches import diff_of, files_of
from codedata.suites.source import Files
from codedata.tasks.prove.outcomes import SURVIVES
from codedata.tasks.prove.run_suite import FirstRun

MAX_RUNS = 12
HUNK = re.compile("^(?=@@ )", re.MULTILINE)


def healed_files(first: FirstRun, run_with: Callable[[str], FirstRun]) -> Files:
    """Return the files of a change, with as few of its hunks undone as make the failing tests of
    its first run pass. run_with() runs the suite with a patch. Start with all hunks undone.
    Re-apply halves, then smaller groups, if the tests still pass, in at most MAX_RUNS runs."""
    heads: dict[str, str] = {}
    hunks: list[tuple[str, str]] = []   # (path, text)
    for path, text in files_of(diff_of(first.before, first.after)):
        heads[path], *texts = HUNK.split(text)
        hunks += [(path, one) for one in texts]
    healed, undone = first.before, hunks
    n_runs, size = 0, len(hunks) // 2
    while size and n_runs < MAX_RUNS:
        at, n_before = 0, len(undone)
        while at < len(undone) > size and n_runs < MAX_RUNS:
            fewer = undone[:at] + undone[at + size:]
            kept = [hunk for hunk in hunks if hunk not in fewer]
            run = run_with("".join(heads[path] + "".join(text for one, text in kept if one == path)
                                   for path in dict(kept)))
            n_runs += 1
            if run.screened.verdict == SURVIVES[0]:
                undone, healed = fewer, {**first.before, **run.after}
            else:
                at += size
        # repeat size 1 while hunks are re-applied: an earlier hunk may need a later one
        if size > 1 or len(undone) == n_before:
            size //= 2
    return healed
