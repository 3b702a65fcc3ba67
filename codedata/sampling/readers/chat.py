"""Bring the messages of trajectory files into the form of the chat API."""
from __future__ import annotations

import json

ROLES = {"human": "user", "gpt": "assistant", "ai": "assistant", "observation": "tool"}
# keys of a message's text: of the chat API, ShareGPT, and the SWE-agent rows of nebius
TEXTS = ("content", "value", "text", "system_prompt")
APART = ("thinking", "tool_use")   # blocks of a content that become keys of their own


def read_message(raw: dict) -> dict:
    """Return a message with the keys of the chat API alone. Role and content may be unusable."""
    role = raw.get("role", raw.get("from"))
    content = _first(raw, *TEXTS)
    blocks = content if are_objects(content) else []
    if content and isinstance(content, list):
        parts = [_part(block) for block in blocks if block.get("type") not in APART]
        is_readable = blocks and all("text" in part for part in parts)
        content = (parts or "") if is_readable else None
    message = {"role": ROLES.get(str(role), role), "content": content}
    thinking = _first(raw, "reasoning_content", "reasoning") or "".join(
        block.get("thinking") or "" for block in [*blocks, *(raw.get("thinking_blocks") or [])])
    if thinking:
        message["reasoning_content"] = thinking
    calls = [*(decoded(raw.get("tool_calls")) or ()),
             *(block for block in blocks if block.get("type") == "tool_use")]
    if calls:
        message["tool_calls"] = [*map(_call, calls)]
    call_id = raw.get("tool_call_id") or next(iter(raw.get("tool_call_ids") or ()), None)
    if call_id and role == "tool":
        message["tool_call_id"] = call_id
    return message


def decoded(value):
    """Return the value of a JSON text, and anything else as it is."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def are_objects(value) -> bool:
    """Return whether a value is a list of objects, with one at least."""
    return isinstance(value, list) and bool(value) and all(isinstance(x, dict) for x in value)


def is_conversation(value) -> bool:
    """Return whether a value is a list of objects that begins with a message."""
    return are_objects(value) and not {"role", "from"}.isdisjoint(value[0])


def _first(raw: dict, *keys: str):
    return next((raw[key] for key in keys if raw.get(key) is not None), None)


def _part(part: dict) -> dict:
    """Return a part of a content as {type, text}, or as it is if it has no type."""
    if isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    return {"type": "text", "text": f"[{part['type']}]"} if part.get("type") else part


def _call(call: dict) -> dict:
    function = call.get("function") or call
    arguments = _first(function, "arguments", "input") or {}
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return {"id": _first(call, "id", "call_id") or "", "type": "function",
            "function": {"name": function["name"], "arguments": arguments}}
