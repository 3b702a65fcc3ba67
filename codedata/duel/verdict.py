r"""Parse a judge's reply: find the last complete verdict that the judge wrote and did not quote.

    {"reason": "MODEL 2 runs the test.", "correctness": 2, "grounding": "draw", "progress": "model 2",
     "protocol": 0, "efficiency": "MODEL_1"}

1.  The content is read. The reasoning is read only if the content is blank and the finish reason is
    "stop".
2.  Every JSON object in the text (RFC 8259: no NaN, no raw newline in a string, no comment) is a
    candidate, in prose, in a fence or inside another object. A complete verdict has all five
    metrics, each with one of these tokens: 0, draw, tie; 1, model 1, model_1; 2, model 2, model_2.
    Numbers may be JSON numbers or strings; strings are trimmed and read in any case. 2.0, -0, true,
    null and 3 are rejected. Other keys are ignored; the last of equal keys counts.
3.  An incomplete verdict is ignored and does no harm. A verdict inside a complete verdict is
    ignored too.
4.  An object that occurs word for word in one of the two answers is a quotation and not a verdict.
5.  The last of the remaining verdicts counts. Two objects are never combined.

An object that occurs in neither answer may still not be the judge's: the prompt must delimit the
answers clearly.

The parser takes linear time for any text. A try starts at a "{" and reads until the object closes
or the text stops being JSON. A "{" that it meets outside its strings needs no try of its own, which
would end at the same place. So a second try that overlaps a first one starts inside one of its
strings, at {"; that quote ends the first try's string and starts one of the second's, and from
there on, text for one is syntax for the other (a backslash in syntax ends a try). A third try would
have to start in the syntax of one of the two. So no character is read by more than two tries.
"""
from __future__ import annotations

import json
import re
from dataclasses import dataclass

from codedata.records import METRICS

TOKENS = {"0": 0, "draw": 0, "tie": 0, "1": 1, "model 1": 1, "model_1": 1, "2": 2, "model 2": 2, "model_2": 2}

_WS = r"[ \t\n\r]*"
_TEXT = r'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*"'
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_VALUE = rf"(?:({_TEXT}|{_NUMBER}|true|false|null|\{{{_WS}\}}|\[{_WS}\])|([{{\[]))"   # whole, or an opening bracket
_START = re.compile(rf"\{{(?={_WS}{_TEXT}{_WS}:)")   # an object with at least one key
_MEMBER = re.compile(rf"{_WS}({_TEXT}){_WS}:{_WS}{_VALUE}").match   # groups: key, whole value, opening bracket
_ELEMENT = re.compile(rf"(){_WS}{_VALUE}").match                    # same groups, empty key
_SEPARATOR = re.compile(rf"{_WS}([,}}\]])").match
_ARRAY = -1
_NAMES = {f'"{name}"': name for name in ("reason", *METRICS)}
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")      # a record cannot hold these


@dataclass(frozen=True)
class Verdict:
    """Hold a judge's verdict in one order, in terms of MODEL 1 and MODEL 2."""

    picks: dict[str, int]   # metric: 0 draw, 1 MODEL 1, 2 MODEL 2
    reason: str             # from the same object; "" if it is missing or not a string


@dataclass(frozen=True)
class _Found:
    """Hold a complete verdict and its place in the text, as character offsets."""

    start: int
    end: int
    picks: dict[str, int]
    reason: str | None      # the JSON literal


def parse_verdict(content: str, reasoning: str = "", finish_reason: str = "stop",
                  answers: tuple[str, str] = ("", "")) -> Verdict | None:
    """Return the verdict of a reply, or None if it holds none.

    Never raise, whatever the texts are.
    """
    text = content or ""   # an endpoint may send null for either
    if not text.strip():
        text = (reasoning or "") if finish_reason == "stop" else ""
    found = _outermost(_complete_verdicts(text))
    if not found:
        return None
    lengths = {one.end - one.start for one in found}
    quotable = {answer[one.start:one.end] for answer in answers if answer for one in _complete_verdicts(answer)
                if one.end - one.start in lengths}
    own = [one for one in found if text[one.start:one.end] not in quotable]
    return Verdict(own[-1].picks, _reason(own[-1].reason)) if own else None


def _complete_verdicts(text: str) -> list[_Found]:
    """Return every complete verdict of the text, nested ones too."""
    found, met = [], set()
    for start in _START.finditer(text):
        if start.start() not in met:
            _try(text, start.start(), found, met)
    return found


def _outermost(found: list[_Found]) -> list[_Found]:
    """Return the verdicts that are not nested in another one, in text order."""
    kept, reach = [], 0
    for one in sorted(found, key=lambda one: one.start):
        if one.end > reach:
            kept.append(one)
            reach = one.end
    return kept


def _try(text: str, at: int, found: list[_Found], met: set[int]) -> None:
    """Read the object at `at` to its end; add verdicts to `found` and each "{" to `met`."""
    stack: list[int] = []                # the open containers: the start of an object, or _ARRAY
    literals: dict[int, dict] = {}       # start of an object: its literals by known key
    opening, at = "{", at + 1            # `at` is just after the opening bracket
    while True:
        if opening:
            stack.append(at - 1 if opening == "{" else _ARRAY)
            if opening == "{":
                met.add(at - 1)
        inside = stack[-1]
        entry = _ELEMENT(text, at) if inside == _ARRAY else _MEMBER(text, at)
        if not entry:
            return
        key, plain, opening = entry.groups()
        at = entry.end()
        if key and (name := _NAMES.get(json.dumps(json.loads(key)) if "\\" in key else key)):
            literals.setdefault(inside, {})[name] = plain
        if opening:
            continue
        while True:   # a value ends here, and perhaps the containers around it
            separator = _SEPARATOR(text, at)
            if not separator:
                return
            at = separator.end()
            if separator[1] == ",":
                break
            inside = stack.pop()
            if (separator[1] == "]") != (inside == _ARRAY):
                return
            said = literals.pop(inside, {})
            if picks := _picks(said):
                found.append(_Found(inside, at, picks, said.get("reason")))
            if not stack:
                return


def _picks(literals: dict[str, str | None]) -> dict[str, int] | None:
    """Return the picks of all metrics, or None if one is missing or not an accepted token."""
    if len(literals) < len(METRICS):
        return None
    picks = {metric: TOKENS.get(_token(literals.get(metric))) for metric in METRICS}
    return None if None in picks.values() else picks


def _token(literal: str | None) -> str:
    """Return a JSON literal as a token to look up: strings are trimmed and in lower case."""
    if literal and literal[0] == '"':
        return json.loads(literal).strip().lower()
    return literal or ""


def _reason(literal: str | None) -> str:
    """Return the reason as a string without characters that a record cannot hold."""
    return UNSTORABLE.sub("\ufffd", json.loads(literal)) if literal and literal[0] == '"' else ""
