"""Read the commands of a conversation and their results, as the agent was shown them."""
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, takewhile

from codedata.conversation.bash_commands import EDIT, INSTALL, TEST, UNKNOWN, hands_in, last_act
from codedata.conversation.tool_calls import parts_of, shell_command
from codedata.conversation.turn import CallTurn, Turn, commands_of, form_of
from codedata.messages import content_text
from codedata.records import Message, Tools
from codedata.sandbox import Result
from codedata.texts import toml_of

FORMS = [re.compile(form["pattern"], re.DOTALL)
         for form in toml_of(__package__, "observations.toml")["forms"]]
# a failed check in the last five lines, though a pipe hides its exit code
FAILS = re.compile(r"(?m)(\b[1-9]\d* (?:failed|failures?|errors?)\b|^FAIL(?:ED)?\b|No module named|"
                   r"command not found)[^\n]*(?:\n[^\n]*){0,4}\s*\Z")
# names and commands of tools that edit
EDITS = re.compile(r"(?i)(?!\S*(?:todo|task|stdin|dispatch))"
                   r"\S*(?:edit|write|create|insert|replace|patch|undo)")


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
    return [RecordedStep(n, command, observation_of(content_text(result)), k)
            for n, k, turn, result in _turns(messages, tools) if result
            for command in commands_of(turn) if command.strip() and not hands_in(command)]


def _turns(messages: Sequence[Message], tools: Tools | None) -> Iterator[tuple]:
    """Yield (number of the turn, number of the call, the turn with only this call, its result or
    None) of each call, or of each text."""
    form = form_of(messages, tools)
    n = count()
    for i, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        turn, history = next(n), messages[:i]
        sides = [{**message, "tool_calls": [call]} for call in message.get("tool_calls") or ()]
        if not tools:
            sides = [content_text(message)]
        results = messages[i + 1:i + 2] or [None]
        if len(sides) > 1:
            following = takewhile(lambda one: one["role"] == "tool", messages[i + 1:])
            by_id = {one.get("tool_call_id"): one for one in following}
            results = [by_id.get(side["tool_calls"][0].get("id")) for side in sides]
        for k, (side, result) in enumerate(zip(sides, results, strict=False)):
            yield turn, k, form.read(side, history), result


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
    code must run code, and must not show an exit code other than 0 or a failure in its last lines.
    Commands without a shown exit code, and the last turn's, which have no results, may pass."""
    for n, _, turn, result in reversed([*_turns(messages, tools)]):
        act = _act(turn)
        if act == UNKNOWN:
            return INSTALL
        if act == TEST:
            text = content_text(result or {})   # its ends: forms are slow on a long text
            shown = observation_of(text[:5000] + text[5000:][-5000:])
            fails = FAILS.search(f"{shown.head}{shown.tail}"[-2000:])
            if shown.exit_code:
                return f"turn {n} ended with exit code {shown.exit_code}"
            return f"turn {n} shows: {fails[1]}" if fails else ""
        if act:
            return f"no code was run after the edit in turn {n}"
    return "no code was run"


def _act(turn: Turn | CallTurn) -> str:
    """Return the last_act() of a turn with one call, well-formed or not, since a harness may have
    run it. Calls without an equivalent command edit if their command or name says so."""
    effect = turn.effects[0]
    if effect and effect.does != "other":
        return EDIT if effect.edits or effect.patch else last_act(shell_command(effect))
    name, arguments = parts_of(turn.calls[0])
    return EDIT if EDITS.match(str((arguments or {}).get("command") or name)) else ""
