"""Define what report.py writes: judged turns by bucket, as they are exported."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from codedata.records.answers import Choice
from codedata.records.field_types import Points, Side, Tools
from codedata.records.prompts import Message


class Reason(TypedDict):
    """Hold the reason that a judge gave for a verdict."""

    judge: str
    order: str
    reason: str


class Finding(TypedDict, total=False):
    """Hold an injection {side, kind, text}, or a leak {judge, kind, text, why}."""

    side: str
    judge: str
    kind: str
    text: str
    why: str


@dataclass(frozen=True)
class Sample:
    """Hold a judged turn as it is exported: <bucket>/<answer stem>.json.

    It is a copy: edit answer/ or score/ instead.
    """

    instance_id: str
    messages: list[Message]
    assistant: Side          # the reference
    king: Side | None
    challenger: Side | None
    score: Points            # the challenger's
    metrics: dict[str, Points | None]
    reasons: list[Reason]    # {judge, order, reason} of each verdict that has a reason
    injections: list[Finding]   # passages that address a judge; they keep a turn out of final/
    leaks: list[Finding] | None = None   # facts the challenger cannot know; null: no PR record
    tools: Tools | None = None
    several: bool | None = None
    choice: Choice | None = None


class Final(Sample):
    """Hold a Sample that the challenger reliably wins."""

    directory = "final"


class Refined(Sample):
    """Hold a Sample that the challenger often wins."""

    directory = "refined"


class Defeat(Sample):
    """Hold a Sample that the challenger does not often win."""

    directory = "defeat"


BUCKETS = (Final, Refined, Defeat)   # from the best to the worst
