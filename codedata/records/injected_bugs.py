"""Define what bug_inject.py writes: settings, candidates, verdicts, reports."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from codedata.records.field_types import Object, Seconds
from codedata.records.repositories import OfRepository


@dataclass(frozen=True)
class BugConfig(OfRepository):
    """Configure how `bug_inject.py scale` injects and judges bugs in a repository:
    bug/_config/<repo_name>.json."""

    directory = "bug/_config"
    named_by_id = True
    environment: str         # digest of the image, test script and results that judge bugs
    roots: list[str]         # files and folders to inject bugs into; ["."]: all
    exclude: list[str]       # fnmatch patterns of paths to leave unchanged
    selection: str           # plugin: tests chosen by coverage/, in a warm process | none: all
    timeout_s: Seconds       # for a run of the whole suite
    max_candidates: int      # made by operators
    seed: int

    @staticmethod
    def faults_between(data: dict) -> list[str]:
        """Return the faults of an edited config."""
        faults = []
        if data["selection"] not in ("plugin", "none"):
            faults.append("`selection` is neither plugin nor none")
        if not data["roots"]:
            faults.append("`roots` names nothing: \".\" is all of the source")
        return faults + [f"`{field}` is below 1" for field in ("timeout_s", "max_candidates")
                         if data[field] < 1]


class ProposedChange(TypedDict):
    """Hold a candidate for a bug: an entry of Candidates. It may have further keys."""

    diff: str                # git's format, only source files
    symbol: str              # id of the changed function, as in analysis/; "": unknown
    summary: str             # the maker's description of the bug; not for publication


@dataclass(frozen=True)
class Candidates(OfRepository):
    """Hold changes that may be bugs, as one batch: bug/_candidates/<repo_name>.<batch>.json."""

    directory = "bug/_candidates"
    method: str              # origin of the changes: agent
    candidates: list[ProposedChange]
    trajectory: str          # path of the agent's trajectory, from the root; "": none
    usage: Object            # calls, tokens and cost of the agent
    seconds: Seconds


class BugVerdict(TypedDict):
    """Hold the result of screening a candidate: an entry of Verdicts."""

    diff: str                # digest of the candidate's diff
    instance_id: str         # id of the possible task
    good: bool               # whether the candidate may become a task
    reason: str              # why not; "" if good
    evidence: Object         # results of the runs


@dataclass(frozen=True)
class Verdicts(OfRepository):
    """Hold the results of screening the candidates of `bug_inject.py scale`:
    bug/_verdicts/<name>.json."""

    directory = "bug/_verdicts"
    verdicts: list[BugVerdict]   # one for each candidate, in their order
    seconds: Seconds


@dataclass(frozen=True)
class BugReport:
    """Hold the report of a bug: bug/<instance_id>.json. The bug itself is the task of that name."""

    directory = "bug"
    named_by_id = True
    instance_id: str         # <repo_name>.<batch>.<8 hex digits of the normalised diff>
    repo: str
    problem_statement: str   # as a user would write it; becomes the task's instruction
    reproduction: Object | None = None   # the script that shows the bug, and its two outputs
