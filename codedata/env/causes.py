"""Name why an environment was not set up: a cause from a closed list, and the line that shows
it."""
from __future__ import annotations

import re
from dataclasses import dataclass

from codedata.env.recipes.package_index import table
from codedata.texts import CONTROL, displayed

MAX_CHARS = 300      # limit for the evidence
MAX_LINE_CHARS = 1000   # limit for a line, since a pattern may take quadratic time
MIN_SHARE = 0.05   # matching lines that a cause needs per failed case


@dataclass(frozen=True)
class Cause:
    """Hold the name of a cause and the line that shows it; both are empty if there is none."""

    name: str = ""
    evidence: str = ""


def cause_of(phase: str, text: str, n_failed: int = 0) -> Cause:
    """Return the cause that a log of the install or of the tests shows; else "other".

    In an install, the first cause in causes.toml that matches wins, since a build reports one fault
    in many ways. In tests, the cause with the most matching lines wins; a cause that is marked
    `consequence` wins only if all matching causes are. Ignore a cause if fewer than MIN_SHARE ×
    `n_failed` lines match it. The evidence for "other" is the last line with a word. Escape
    sequences and control characters are removed.
    """
    lines = [line[:MAX_LINE_CHARS] for line in CONTROL.sub("", displayed(text)).split("\n")]
    text = "\n".join(lines)
    causes = {cause["name"]: cause for cause in table("causes")["cause"]
              if cause.get("phase", phase) == phase}
    starts = {name: [match.start(match.re.groups) for pattern in cause["patterns"]
                     for match in re.finditer(pattern, text, re.MULTILINE)]
              for name, cause in causes.items()}
    starts = {name: found for name, found in starts.items()
              if len(found) >= max(1, n_failed * MIN_SHARE)}
    if not starts:
        last = next((line for line in reversed(lines) if re.search(r"\w", line)), "")
        return Cause("other", last.strip()[:MAX_CHARS])
    name = next(iter(starts))
    if phase != "install":
        name = max(starts, key=lambda one: (not causes[one].get("consequence"), len(starts[one])))
    line = lines[text.count("\n", 0, starts[name][0])]
    return Cause(name, line.strip()[:MAX_CHARS])
