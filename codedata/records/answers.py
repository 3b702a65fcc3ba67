"""Define what king.py and ch.py write: both answers to a prompt, and facts that leak."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from codedata.records.field_types import Side, Tools
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
