"""Read the commands of a conversation and their results, as the agent was shown them."""
from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, takewhile

from codedata.conversation.bash_commands import INSTALL, TEST, UNKNOWN, hands_in, last_act
from codedata.conversation.turn import commands_of, form_of
from codedata.messages import content_text
from codedata.records import Message, Tools
from codedata.sandbox import Result
from codedata.texts import toml_of

FORMS = [re.compile(form["pattern"], re.DOTALL)
         for form in toml_of(__package__, "observations.toml")["forms"]]


@dataclass(frozen=True)
class ShownResult:
    """Hold the parts of a command's result that an agent was shown."""

    head: str
    tail: str = ""
    n_left_out: int = 0
    exit_code: int | None = None   # None: it was not shown

    def is_of(self, result: Result) -> bool:
        """Return whether this shows the given result."""
        if self.exit_code not in (None, result.exit_code):
            return False
        head, tail, output = self.head.strip(), self.tail.strip(), result.output.strip()
        if not self.n_left_out:
            return head == output
        n_between = len(output) - len(head) - len(tail)
        is_cut_so = output.startswith(head) and output.endswith(tail)
        return is_cut_so and abs(n_between - self.n_left_out) <= 4   # whitespace around the cut


@dataclass(frozen=True)
class RecordedStep:
    """Hold a command of the history, and the observation of it that the agent was shown."""

    turn: int                  # its number among the turns of the conversation, from 0
    command: str
    shown: ShownResult
    call: int = 0              # its number among the calls of its turn


def steps_of(messages: Sequence[Message], tools: Tools | None = None) -> list[RecordedStep]:
    """Return the steps of a conversation, without turns and calls that run nothing."""
    form = form_of(messages, tools)
    steps = []
    n = count()
    for i, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        turn, history = next(n), messages[:i]
        sides = [{**message, "tool_calls": [call]} for call in message.get("tool_calls") or ()]
        if not tools:
            sides = [content_text(message)]
        results = messages[i + 1:i + 2]
        if len(sides) > 1:
            following = takewhile(lambda one: one["role"] == "tool", messages[i + 1:])
            by_id = {one.get("tool_call_id"): one for one in following}
            results = [by_id.get(side["tool_calls"][0].get("id")) for side in sides]
        for k, (side, result) in enumerate(zip(sides, results, strict=False)):
            for command in commands_of(form.read(side, history)):
                if command.strip() and result and not hands_in(command):
                    steps.append(RecordedStep(turn, command,
                                              observation_of(content_text(result)), k))
    return steps


def observation_of(text: str) -> ShownResult:
    """Return the shown result in a message, by the first form that matches."""
    matches = (pattern.fullmatch(text.strip()) for pattern in FORMS)
    found = next(filter(None, matches)).groupdict()
    code = found.get("code")
    n_left_out = (found.get("n") or "0").replace(",", "")
    return ShownResult(found.get("output") or found.get("head") or "", found.get("tail") or "",
                       int(n_left_out), None if code is None else int(code))


def check_problem(messages: Sequence[Message], tools: Tools | None = None) -> str:
    """Return why a trajectory does not end in a check, or "". Its last command that edits or runs
    code must run code, and must not show an exit code other than 0. Commands without a shown exit
    code count as passed."""
    for step in reversed(steps_of(messages, tools)):
        act = last_act(step.command)
        if act == UNKNOWN:
            return INSTALL
        if act == TEST:
            code = step.shown.exit_code
            return f"turn {step.turn} ended with exit code {code}" if code else ""
        if act:
            return f"no code was run after the edit in turn {step.turn}"
    return "no code was run"
