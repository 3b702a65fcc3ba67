"""Change requests to endpoints that refuse the usual form, mostly of a history with tool calls.

A cure is applied after the refusal that it answers, and to all later requests of the run. The cures
are, in this order, for Gemini 3, DeepSeek, Mistral, OpenAI's GPT-5.4, and endpoints that only
stream. A request's digest stays the digest of its usual form, so kept replies are found by it.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from codedata.disk.store import digest

# substitute for the signature of a call by another model; Gemini's documentation allows it
UNSIGNED = {"google": {"thought_signature": "skip_thought_signature_validator"}}
ID_CHARS = 9   # length of Mistral's ids
Parts = dict[str, tuple[str, dict]]   # {id of a call: (thinking before it, its extra_content)}


@dataclass(frozen=True)
class Cure:
    """Hold a refusal (a pattern of the endpoint's sentence), the change of a request's body that
    answers it, and a description of the change."""

    refusal: re.Pattern
    apply: Callable[[dict, Parts], None]
    says: str


def _sign(body: dict, parts: Parts) -> None:
    for _, calls in _turns(body):
        for call in calls:
            signature = parts.get(call["id"], ("", {}))[1]
            if signature or call is calls[0]:   # Gemini signs the first of parallel calls
                call["extra_content"] = signature or UNSIGNED


def _think(body: dict, parts: Parts) -> None:
    for message, calls in _turns(body):
        message["reasoning_content"] = parts.get(calls[0]["id"], ("",))[0] or " "


def _shorten_ids(body: dict, _: Parts) -> None:
    for message in body["messages"]:
        if "tool_call_id" in message:
            message["tool_call_id"] = _short(message["tool_call_id"])
    for _, calls in _turns(body):
        for call in calls:
            call["id"] = _short(call["id"])


def _think_not(body: dict, _: Parts) -> None:
    if body.get("tools"):
        body.setdefault("reasoning_effort", "none")


def _stream(body: dict, _: Parts) -> None:
    body["stream"] = True
    body.setdefault("stream_options", {"include_usage": True})


def _turns(body: dict) -> Iterator[tuple[dict, list[dict]]]:
    """Yield (message, its calls) for each message with tool calls."""
    for message in body["messages"]:
        if calls := message.get("tool_calls"):
            yield message, calls


def _short(call_id: str) -> str:
    is_short = re.fullmatch(rf"[a-zA-Z0-9]{{{ID_CHARS}}}", call_id)
    return call_id if is_short else digest(call_id)[:ID_CHARS]


CURES = {
    "signatures": Cure(re.compile("thought_signature"), _sign,
                       "wants each call signed: its own signatures go back, and calls of other "
                       "models have the vendor's substitute"),
    "thinking": Cure(re.compile(r"[Mm]issing\W+reasoning_content\b"
                                r"|reasoning_content\W.*\b(?:must|missing|required)\b"), _think,
                     "wants the thinking before each call: its own goes back, and other turns "
                     "have a blank"),
    "ids": Cure(re.compile(r"\b[Tt]ool call (?:id|IDs?|ids)\b.*\b9\b"), _shorten_ids,
                "wants ids of nine letters or digits: calls are sent with such"),
    "effort": Cure(re.compile(r"\btools with reasoning_effort\b"), _think_not,
                   'takes tools only without thinking: it is sent reasoning_effort = "none"'),
    "stream": Cure(re.compile(r"\b[Ss]tream must be\b|\bnon-stream"), _stream,
                   "answers only in a stream: it is asked for one"),
}
