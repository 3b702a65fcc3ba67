"""Define what solve.py writes: attempts at tasks, with their outcomes."""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypedDict

from codedata.records.field_types import Integer, ItemName, Object

# outcomes of an attempt: rewarded by the verifier, or why not
ATTEMPT_STATUSES = SOLVED, WRONG, NO_SUBMISSION, CHEATED, *_ = (
    "solved", "wrong", "no submission", "cheated", "out of steps", "out of time",
    "out of context", "out of money", "refused")


class AgentRun(TypedDict):
    """Hold an agent's trajectory, in Harbor's ATIF 1.8, which has further keys: trajectory.json."""

    steps: list[Object]


class AttemptOutcome(TypedDict):
    """Hold the outcome of an attempt: its record.json."""

    task: ItemName
    kind: str                # the task's
    content: str             # digest of the attempted task
    agent: str               # its name, model and 6 hex digits of its settings
    model: str               # "" for nop and gold
    settings: Object         # the agent's: sampling, limits
    attempt: Integer         # from 1
    planned: Integer         # attempts at the task that its run planned
    status: str              # one of ATTEMPT_STATUSES
    why: str                 # details of the status
    reward: float
    until: list[Integer]     # [solve] until at that time
    verifier: str            # the end of its output
    replayed: Integer        # replies reused from an earlier, killed run of it
    usage: Object            # calls, tokens_in, tokens_out, cost_usd
    seconds: Object          # for model, tools, verifier, and in total


@dataclass(frozen=True)
class Graded:
    """Hold the outcome of an attempt, without its trajectory and patch."""

    directory = "attempt"
    places: ClassVar = {"outcome": "record.json"}
    instance_id: str         # the folder's name
    outcome: AttemptOutcome

    @classmethod
    def completed(cls, data: dict) -> dict:
        """Return the fields of a folder unchanged."""
        return data


@dataclass(frozen=True)
class Attempt(Graded):
    """Hold an agent's attempt at a task: attempt/<task>.<content 8>.<agent>.<attempt>/."""

    places: ClassVar = {**Graded.places, "trajectory": "trajectory.json", "patch": "patch.diff"}
    trajectory: AgentRun
    patch: str | None = None   # the work directory's diff; null: none, or it has binary files
