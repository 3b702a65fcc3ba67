"""Why an environment did not come about: one of a closed list, with the line that says so."""
from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from codedata.env.tables import table

# What no log says, beside the names in causes.toml
BESIDE = ("no_recipe", "manifest_unreadable", "time_limit", "crashed", "broken_off", "exit_code",
          "tests_fail", "part_of_suite", "unstable", "offline", "history", "shadowed", "sandbox_died",
          "source", "results_too_large", "results_too_many", "results_too_deep", "results_too_slow", "other")
LONGEST = 300        # characters of the evidence
LEAST_SHARE = 0.05   # lines for each case that failed


@dataclass(frozen=True)
class Cause:
    name: str = ""
    evidence: str = ""


def names() -> tuple[str, ...]:
    """The whole list."""
    return (*(cause["name"] for cause in table("causes")["cause"]), *BESIDE)


def cause_of(phase: str, text: str, n_failed: int = 0) -> Cause:
    """What a log of the install or of the tests shows: in an install what comes first in causes.toml, since a build
    reports what it missed in many ways; in tests what most lines say, if it is more than a few for `n_failed` cases."""
    lines: Counter[str] = Counter()
    first: dict[str, str] = {}
    for cause in table("causes")["cause"]:
        if cause.get("phase", phase) != phase:
            continue
        for pattern in cause["patterns"]:
            for found in re.finditer(pattern, text, re.MULTILINE):
                lines[cause["name"]] += 1
                first.setdefault(cause["name"], _line_of(text, found.start()))
    lines = Counter({name: n for name, n in lines.items() if n >= n_failed * LEAST_SHARE})
    if not lines:
        return Cause("other", _last_line(text))
    name = next(iter(lines)) if phase == "install" else max(lines, key=lambda n: lines[n])
    return Cause(name, first[name])


def _line_of(text: str, at: int) -> str:
    start, end = text.rfind("\n", 0, at) + 1, text.find("\n", at)
    return text[start:end if end >= 0 else None].strip()[:LONGEST]


def _last_line(text: str) -> str:
    return next((line.strip()[:LONGEST] for line in reversed(text.splitlines()) if line.strip()), "")
