"""Define what king.py, ch.py and run_turns.py write: both answers to a prompt, facts that leak, the
results of running a turn's candidates, and the tests that pass before each turn of a trajectory."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from codedata.records.field_types import AnyText, ItemName, Object, Seconds, Side, Tools
from codedata.records.prompts import Message

HOW = ("informed", "chosen")   # ways to make a challenger: [challenger] how
EVER_HOW = *HOW, "placebo"   # with the way of version 0.2.0, so that its records stay readable


class Pick(TypedDict):
    """Hold the chooser's reply for one order of the answers, with `how = "chosen"`. Only `why` is
    checked; `number` (0: none) is written, too."""

    why: str


class Choice(TypedDict, total=False):
    """Hold how a blind answer was chosen. `sample` (its number, from 1) and `of` (the number of
    samples) are written, but not checked."""

    picks: list[Pick]   # one for each order; [] if hidden tests left one answer


@dataclass(frozen=True)
class Answer:
    """Hold the two answers to one prompt: answer/<source>_<order>.json.

    A missing side is null; on disk, an empty text also means a missing side.
    """

    directory = "answer"
    sharded = True           # answer/, answer_0/, answer_1/ … are read as one
    instance_id: str
    messages: list[Message]
    assistant: Side
    king: Side | None = None
    challenger: Side | None = None
    tools: Tools | None = None
    several: bool | None = None   # as in the prompt
    choice: Choice | None = None   # with `how = "chosen"`

    def __post_init__(self):
        for side in ("king", "challenger"):
            if getattr(self, side) == "":
                object.__setattr__(self, side, None)


@dataclass(frozen=True)
class Fact:
    """Hold a text that a turn shares with a pull request although the conversation has not shown
    it. codedata/leak/leaked_facts.py finds such texts."""

    kind: str                # path | name | test | literal | line | code | anchor
    text: str                # verbatim from the turn
    start: int               # in the turn, in characters
    why: str
    certain: bool            # true: the turn is refused if there is no leak judge


class CallRun(TypedDict):
    """Hold the result of running one call of a candidate: an entry of CandidateRun.calls. A call
    that submits is not run; its exit code is 0."""

    command: str
    exit_code: int
    timed_out: bool
    seconds: Seconds
    output: AnyText          # as the agent would have seen it


class CandidateRun(TypedDict):
    """Hold the result of running one candidate turn: an entry of Executed.runs.

    A turn with several calls has the exit code of the last call that ran.
    """

    sides: list[str]         # sides that gave this turn: king, challenger, sample 1, …
    turns: list[str]         # digests of the sides' turns
    command: str
    exit_code: int
    timed_out: bool
    seconds: Seconds
    output: AnyText          # as the agent would have seen it
    calls: list[CallRun]     # in order; absent if the turn has one call
    changes: dict[str, str]  # {path: diff} of the source's files; "": the diff is not shown
    tests: dict[str, str]    # {hidden test: status} after the turn; {} if none ran


@dataclass(frozen=True)
class Executed:
    """Hold the results of a turn's candidates, run in the state before the turn:
    executed/<answer stem>.json. It names hidden tests, which no judge or model is shown."""

    directory = "executed"
    instance_id: str
    repo_name: ItemName      # the environment's
    image_name: str
    start: str               # state at the replay's start; turns/replay.py lists them
    how: str                 # commit | replayed (pods repeat the history for each candidate)
    replay: str              # equal | tree unchanged | unequal at turn n
    unequal: list[Object]    # observations that differ, shortened: {turn, recorded, got,
                             # tree_changed}
    n_commands: int          # in the history
    n_equal: int             # observations that are exactly equal
    n_masked: int            # observations equal except for parts that differ between two runs
    before: dict[str, str]   # {hidden test: status} before the turn; {} if no candidate edits
    runs: list[CandidateRun]
    seconds: Seconds


@dataclass(frozen=True)
class TurnStates:
    """Hold the results of the pull request's tests before each turn of a trajectory:
    executed/_states/<instance_id>.<digest of its messages>.json.
    """

    directory = "executed/_states"
    instance_id: str
    start: str               # as in Executed
    turns: dict[str, Object]   # {turn with a command: {passed, failed}}
