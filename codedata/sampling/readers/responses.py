"""Read the items of the Responses API, as Codex and mini-swe-agent 2 record them."""
from __future__ import annotations

from collections.abc import Iterable

CALLS = ("function_call", "custom_tool_call", "local_shell_call", "tool_search_call")


def message_of(item: dict) -> dict:
    """Return an item as a message, or as a part of one; {} for any other item."""
    kind = item.get("type") or "message"
    role = "assistant"
    content = []
    calls = []
    if kind == "message":
        role, content = item["role"], item["content"]
        content = [{"type": "text", "text": content}] if isinstance(content, str) else content
    elif kind == "reasoning":
        content = [{"type": "thinking", "thinking": part["text"]}
                   for part in item.get("content") or item.get("summary") or []]
    elif kind in CALLS:
        # instead of `arguments`, the early shell has `action`, and a custom tool has a text in
        # `input`
        arguments = item.get("arguments") or item.get("action") or {"input": item.get("input")}
        calls = [{"name": kind.removesuffix("_call"), **item, "id": item.get("call_id"),
                  "arguments": arguments}]
    elif kind.endswith("_output"):
        output = item.get("output") or ""
        content = output.get("content", [output]) if isinstance(output, dict) else output
        role = "tool"
    else:
        return {}
    return {"role": role, "content": content, "tool_calls": calls,
            "tool_call_id": item.get("call_id")}


def messages_of(items: Iterable[dict]) -> list[dict]:
    """Return items as messages. The items of a reply, up to the results of its calls, become one
    message."""
    messages: list[dict] = []
    for message in filter(None, map(message_of, items)):
        if not (messages and joins(messages[-1], message)):
            messages.append(message)
    return messages


def joins(last: dict, message: dict) -> bool:
    """Append a message to the last one if it is a part of the same reply; return whether it is."""
    is_part = message["role"] == last["role"] == "assistant" and (
        message["tool_calls"] or not last["tool_calls"])
    if is_part:
        last["content"] += message["content"]
        last["tool_calls"] += message["tool_calls"]
    return bool(is_part)


def reply_of(items: Iterable[dict]) -> dict:
    """Return the items of one response as one message."""
    parts = [*filter(None, map(message_of, items))]
    return {"role": "assistant", "content": [one for part in parts for one in part["content"]],
            "tool_calls": [call for part in parts for call in part["tool_calls"]]}
