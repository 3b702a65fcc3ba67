"""Define what solve.py writes: attempts at tasks, with their outcomes."""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypedDict

from codedata.records.field_types import Integer, ItemName, Object

# outcomes of an attempt: "solved" if the verifier rewarded it, otherwise the reason why not
ATTEMPT_STATUSES = SOLVED, WRONG, NO_SUBMISSION, CHEATED, *_ = (
    "solved", "wrong", "no submission", "cheated", "out of steps", "out of time",
    "out of context", "out of money", "refused")

PRUNED = "messages removed by solve.py --prune"
# the steps of a trajectory whose messages were removed
PRUNED_STEPS = [{"step_id": 1, "source": "system", "message": PRUNED}]


class AgentRun(TypedDict):
    """Hold trajectory.json: an agent's trajectory in Harbor's ATIF 1.8, which has further keys."""

    steps: list[Object]


class AttemptOutcome(TypedDict):
    """Hold record.json: the outcome of an attempt."""

    task: ItemName
    kind: str                # the task's kind
    content: str             # the task's digest
    agent: str               # name, model and 6 hex digits of the settings
    model: str               # "" for nop and gold
    settings: Object         # the agent's sampling and limits
    attempt: Integer         # its number, from 1
    planned: Integer         # number of attempts that the run planned
    status: str              # one of ATTEMPT_STATUSES
    why: str                 # details of the status
    reward: float
    until: list[Integer]     # the setting [solve] until
    verifier: str            # the end of the verifier's output
    replayed: Integer        # replies reused from a killed run
    usage: Object            # calls, tokens_in, tokens_out, cost_usd
    memory_bytes: Integer    # used by the container when the agent had ended; 0: not measured
    seconds: Object          # keys: model, verifier, agent (with the model's), all


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
    patch: str | None = None   # the work directory's diff; null: none, too long, or not text
