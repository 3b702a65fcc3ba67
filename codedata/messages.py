"""Read and change messages of the chat API, whatever tools they call."""
from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import groupby

# keys that hold a model's thinking outside of its text; they are not sent to other models
REASONING = ("reasoning_content", "reasoning", "thinking_blocks")


def content_text(message: dict) -> str:
    """Return the text of a message: its content, or the texts of the content's parts."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content)
    return content or ""


def calls_text(message: dict) -> str:
    """Return the tool calls of a message as JSON text, to measure or compare them; "" if it has no
    calls."""
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    return json.dumps(calls, ensure_ascii=False) if calls else ""


def with_text(message: dict, text: str) -> dict:
    """Return the message with a text appended to its content."""
    if isinstance(message.get("content"), list):
        return {**message, "content": [*message["content"], {"type": "text", "text": text}]}
    return {**message, "content": f"{message.get('content') or ''}\n\n{text}"}


def behind(history: list[dict], text: str) -> list[dict]:
    """Return the history with a text appended to its last message, if that is the user's, or else
    added as a new user message."""
    if history and history[-1]["role"] == "user":
        return [*history[:-1], with_text(history[-1], text)]
    return [*history, {"role": "user", "content": text}]


def result_problem(messages: Iterable[dict]) -> str | None:
    """Return the reason why endpoints would refuse a history, or None: each call needs its result
    right after it."""
    waiting: set[str] = set()
    for message in [*messages, {"role": "end"}]:
        is_result = message["role"] == "tool"
        if is_result and message.get("tool_call_id") in waiting:
            waiting.remove(message["tool_call_id"])
        elif is_result or waiting:
            return "a history with a call without result, or a result without call"
        else:
            waiting = {call["id"] for call in message.get("tool_calls") or ()}
    return None


def by_calls(messages: Iterable[dict]) -> list[dict]:
    """Return the messages with each turn's tool results in the order of its calls, since many chat
    templates do not show the ids that match results to calls."""
    found: list[dict] = []
    ids: list[str] = []   # the calls of the previous turn
    for is_result, group in groupby(messages, lambda message: message["role"] == "tool"):
        some = [*group]
        if is_result and {one.get("tool_call_id") for one in some} <= {*ids}:
            some.sort(key=lambda one: ids.index(one["tool_call_id"]))
        ids = [call["id"] for call in some[-1].get("tool_calls") or ()]
        found += some
    return found


def to_send(messages: Iterable[dict]) -> list[dict]:
    """Return messages without the keys of REASONING."""
    return [{key: value for key, value in message.items() if key not in REASONING}
            for message in messages]
