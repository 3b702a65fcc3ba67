r"""Parse a judge's reply: find the last complete verdict that the judge wrote and did not quote.

    {"reason": "MODEL 2 runs the test.", "correctness": 2, "grounding": "draw",
     "progress": "model 2", "protocol": 0, "efficiency": "MODEL_1"}

1.  The content is read. The reasoning is read only if the content is blank and the finish reason is
    "stop". Thinking at the start of either is skipped, up to the end if it has no closing tag. If a
    text has very many objects, only its end is read (texts.json_objects).
2.  Every JSON object in the text (RFC 8259: no NaN, no raw newline in a string, no comment) is a
    candidate, in prose, in a fence or inside another object. A complete verdict has all five
    metrics, each with one of these tokens: 0, -0, draw, tie; 1, model 1, model_1; 2, model 2,
    model_2. Numbers may be JSON numbers or strings; strings are trimmed and case is ignored. 2.0,
    true, null and 3 are rejected. Other keys are ignored; the last of equal keys counts.
3.  Incomplete verdicts, and verdicts inside a complete verdict, are ignored.
4.  An object that occurs in the judge's input (an answer, its run's output, the conversation), in
    any spacing and escaping, is a quotation and not a verdict.
5.  The last of the remaining verdicts counts. Two objects are never combined.

That verdict may still not be the judge's own: the prompt must delimit the answers clearly.
"""
from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass

from codedata.records import METRICS
from codedata.texts import json_objects

TOKENS = {"0": 0, "-0": 0, "draw": 0, "tie": 0,
          "1": 1, "model 1": 1, "model_1": 1,
          "2": 2, "model 2": 2, "model_2": 2}
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")   # a record cannot hold these

# Integers stay text: 2 and 2.0 differ, and no number is too long. int() raises ValueError for NaN.
DECODER = json.JSONDecoder(parse_int=str, parse_constant=int)


@dataclass(frozen=True)
class Verdict:
    """Hold a judge's verdict in one order, in terms of MODEL 1 and MODEL 2."""

    picks: dict[str, int]   # metric: 0 draw, 1 MODEL 1, 2 MODEL 2
    reason: str             # from the same object; "" if it is missing; a number as its digits


def parse_verdict(content: str, reasoning: str = "", finish_reason: str = "stop",
                  answers: Collection[str] = ()) -> Verdict | None:
    """Return the verdict of a reply, or None if it holds none. Objects in `answers` (all texts that
    the judge was shown) are quotations.

    Never raise, whatever the texts are.
    """
    text = content
    if finish_reason == "stop" and not text.strip():
        text = reasoning
    found, its_end = None, 0
    for _, end, value in json_objects(text, DECODER, answers):   # the last first
        picks = {metric: TOKENS.get(_text(value.get(metric)).strip().lower()) for metric in METRICS}
        if None not in picks.values() and end >= its_end:   # it contains the found one
            reason = UNSTORABLE.sub("\ufffd", _text(value.get("reason")))
            found, its_end = Verdict(picks, reason), end
    return found


def _text(value: object) -> str:
    """Return a decoded text or integer as it was written; "" for any other value."""
    return value if isinstance(value, str) else ""
