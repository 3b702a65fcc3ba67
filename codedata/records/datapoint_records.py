"""Define what build_dp.py writes: checks of datapoints, and the queue of agents' tasks."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict

from codedata.records.field_types import AnyText, Integer, ItemName, Object, Seconds, UnixTime
from codedata.records.task_audits import AuditCheck


class DatapointCheck(TypedDict):
    """Hold the result of one check of a datapoint."""

    name: str
    status: str              # passed | failed | not checked
    why: str                 # "" if it passed
    evidence: list[str]
    seconds: Seconds


@dataclass(frozen=True)
class DatapointChecks:
    """Hold the validator's results for a datapoint's content: dp/_checks/<content>.json."""

    directory = "dp/_checks"
    instance_id: str
    content: str
    base_image: str          # the engine's id of the Dockerfile's base image
    validator: int           # version of the validator
    ok: bool
    checks: list[DatapointCheck]
    review: list[str]        # points for a reviewer
    seconds: Seconds
    engine_s: Seconds        # part of `seconds` spent in calls of the engine
    runs: list[Object] = field(default_factory=list)   # {of, reward, seconds}
    rivals: str = ""         # digest of the scripts in rivals/; "" without
    audit: list[AuditCheck] = field(default_factory=list)   # the audit's checks in full


class QueueTask(TypedDict):
    """Hold a task of dp/_queue.jsonl. Its `result`, any JSON, is not listed here."""

    id: ItemName             # begins with its type
    type: str
    state: str
    parent: str              # id of another task, or ""
    priority: Integer
    attempts: Integer
    agent: AnyText | None    # holder of the newest claim
    claim: str | None        # digest of the claim's token
    lease_until: UnixTime | None  # end of the claim; null: unclaimed
    created_at: UnixTime
    errors: list[str]
    key: AnyText             # idempotency key: unique unless it is ""


class QueueData(TypedDict, total=False):
    """Hold the keys of a task's data that codedata reads; it may have others."""

    seed: ItemName
    datapoint: ItemName
    content: str
    rates: Object
    tried: list[ItemName]    # attempts that led to the task


class QueueLine(TypedDict):
    """Hold a line of dp/_queue.jsonl: an event, and the task after it."""

    event: str
    detail: str
    at: UnixTime
    task: QueueTask
    data: QueueData          # if the event changed the data
