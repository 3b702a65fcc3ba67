"""Define what audit.py writes: the results of a task's checks."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from codedata.records.field_types import Object, Seconds

# results of an audit's check, the worst first
AUDIT_RESULTS = FAILED, UNFINISHED, REVIEW, PASSED, NO_CASE = (
    "failed", "not checked", "review", "passed", "no case")


class AuditCheck(TypedDict):
    """Hold the result of one check of an audit."""

    name: str
    version: str             # the check's version; raised if its results would change
    result: str              # one of AUDIT_RESULTS
    why: str                 # "" if it passed
    evidence: list[str]
    figures: Object          # measured numbers
    tries: list[Object]      # variants for a reviewer: {path, line, operator, place, diff, …}
    seconds: Seconds
    command: str             # repeats this check


@dataclass(frozen=True)
class TaskAudit:
    """Hold the audit of a task, with the result of each check: audit/<id>.json."""

    directory = "audit"
    instance_id: str
    kind: str                # the task's kind
    content: str             # digest of the audited task
    rivals: str              # digest of the scripts in rivals/; "" without
    checks: list[AuditCheck]
    seconds: Seconds
