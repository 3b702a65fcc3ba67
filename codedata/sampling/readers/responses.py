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


def reply_of(items: Iterable[dict]) -> dict:
    """Return the items of one response as one message."""
    parts = [*filter(None, map(message_of, items))]
    return {"role": "assistant", "content": [one for part in parts for one in part["content"]],
            "tool_calls": [call for part in parts for call in part["tool_calls"]]}
