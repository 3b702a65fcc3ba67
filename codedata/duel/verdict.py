r"""Read a judge's reply: the last complete verdict that stands in it and is the judge's own.

    {"reason": "MODEL 2 runs the test.", "correctness": 2, "grounding": "draw", "progress": "model 2",
     "protocol": 0, "efficiency": "MODEL_1"}

1.  The content is read. The reasoning is read only where the content is blank and the model stopped by itself.
2.  Every JSON object in the text (RFC 8259: no NaN, no raw newline in a text, no comment) is a candidate, in prose, in
    a fence or inside another object. A complete verdict has all five metrics, each with one of these tokens: 0, draw,
    tie; 1, model 1, model_1; 2, model 2, model_2. Numbers as numbers or texts, texts trimmed and in any case. 2.0,
    -0, true, null and 3 are none. Other keys do not matter; of a key that comes twice, the last one counts.
3.  What is not a complete verdict neither counts nor spoils. What stands inside a complete verdict does not beat it.
4.  An object that stands word for word in one of the two answers is a quotation and no verdict.
5.  Of the rest the last one counts. Nothing is put together from two objects.

Promises nothing about who wrote an object that stands in no answer: keep the answers marked off in the prompt.

Linear time, for any text. A try starts at a "{" and reads on until the object closes or the text stops being JSON; a
"{" that a try meets outside its strings needs no try of its own, because it would end at the same place. So a second
try that overlaps a first one starts inside one of its strings, at {"; that quote ends the first one's string and starts
the second one's, and from there on whatever is text to the one is syntax to the other (a backslash in syntax ends a
try). A third one would find its "{" in the syntax of one of the two. No character is read by more than two tries.
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
_START = re.compile(rf"\{{(?={_WS}{_TEXT}{_WS}:)")   # an object with a key in it: an empty one is no verdict
_MEMBER = re.compile(rf"{_WS}({_TEXT}){_WS}:{_WS}{_VALUE}").match   # groups: key, whole value, opening bracket
_ELEMENT = re.compile(rf"(){_WS}{_VALUE}").match                    # the same groups, the key is empty
_SEPARATOR = re.compile(rf"{_WS}([,}}\]])").match
_ARRAY = -1
_NAMES = {f'"{name}"': name for name in ("reason", *METRICS)}
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")      # what JSON can escape and a record cannot hold


@dataclass(frozen=True)
class Verdict:
    """What one judge said in one order, as it stands in its reply: MODEL 1 and MODEL 2, not yet the sides."""

    picks: dict[str, int]   # metric: 0 draw, 1 MODEL 1, 2 MODEL 2
    reason: str             # of the same object; "" where it has none or it is not a text


@dataclass(frozen=True)
class _Found:
    start: int
    end: int
    picks: dict[str, int]
    reason: str | None      # the JSON literal


def parse_verdict(content: str, reasoning: str = "", finish_reason: str = "stop",
                  answers: tuple[str, str] = ("", "")) -> Verdict | None:
    """The verdict of a reply, or None where it holds none. Never raises, whatever the texts are."""
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
    """Every JSON object of the text that has the five metrics with accepted tokens, nested ones too."""
    found, met = [], set()
    for start in _START.finditer(text):
        if start.start() not in met:
            _try(text, start.start(), found, met)
    return found


def _outermost(found: list[_Found]) -> list[_Found]:
    """Those that lie in no other one, in the order of the text."""
    kept, reach = [], 0
    for one in sorted(found, key=lambda one: one.start):
        if one.end > reach:
            kept.append(one)
            reach = one.end
    return kept


def _try(text: str, at: int, found: list[_Found], met: set[int]) -> None:
    """Read the object that starts at `at` until it closes or is no JSON; note verdicts and every "{" on the way."""
    stack: list[int] = []                # what is open: where an object starts, or ARRAY
    literals: dict[int, dict] = {}       # where an object starts: what it says for the names we know
    opening, at = "{", at + 1            # `at` is behind the opening bracket
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
        while True:   # a value ends here; the containers around it may too
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
    """The five picks, or None where one is missing or not accepted."""
    if len(literals) < len(METRICS):
        return None
    picks = {metric: TOKENS.get(_token(literals.get(metric))) for metric in METRICS}
    return None if None in picks.values() else picks


def _token(literal: str | None) -> str:
    if literal and literal[0] == '"':
        return json.loads(literal).strip().lower()
    return literal or ""


def _reason(literal: str | None) -> str:
    return UNSTORABLE.sub("\ufffd", json.loads(literal)) if literal and literal[0] == '"' else ""
