"""Bring the messages of trajectory files into the form of the chat API."""
from __future__ import annotations

import json

ROLES = {"human": "user", "gpt": "assistant", "ai": "assistant", "observation": "tool"}
# keys of a message's text: of the chat API, ShareGPT, and the SWE-agent rows of nebius
TEXTS = ("content", "value", "text", "system_prompt")


def read_message(raw: dict) -> dict:
    """Return a message with the keys of the chat API alone. Role and content may be unusable."""
    role = raw.get("role", raw.get("from"))
    content = next((raw[key] for key in TEXTS if raw.get(key) is not None), None)
    blocks = content if _is_objects(content) else []
    thinking = [*blocks, *(raw.get("thinking_blocks") or [])]
    if blocks:
        parts = [_part(block) for block in blocks if not _thought(block)]
        content = parts if all("text" in part for part in parts) else None
    message = {"role": ROLES.get(str(role), role), "content": content}
    add_thinking(message, raw.get("reasoning_content") or raw.get("reasoning") or "".join(
        map(_thought, thinking)))
    calls = decoded(raw.get("tool_calls")) or []
    add_calls(message, *(tool_call(call.get("id"), **_function(call)) for call in calls))
    call_id = raw.get("tool_call_id") or next(iter(raw.get("tool_call_ids") or ()), None)
    if call_id and role == "tool":
        message["tool_call_id"] = call_id
    return message


def add_thinking(message: dict, text: str) -> None:
    """Append to the thinking of a message that is apart from its content."""
    if text:
        message["reasoning_content"] = message.get("reasoning_content", "") + text


def add_calls(message: dict, *calls: dict) -> None:
    """Append tool calls to a message, which has the key only if there are some."""
    if calls:
        message.setdefault("tool_calls", []).extend(calls)


def tool_call(call_id: str | None, name: str, arguments) -> dict:
    """Return a tool call. Arguments that are an object become JSON text."""
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return {"id": call_id or "", "type": "function",
            "function": {"name": name, "arguments": arguments}}


def tool_result(call_id: str, content) -> dict:
    """Return the message with the result of a tool call."""
    return {"role": "tool", "content": plain_text(content), "tool_call_id": call_id}


def plain_text(content) -> str:
    """Return a text, or the texts of a list of parts; of an image only that there was one."""
    if not isinstance(content, list):
        return content or ""
    parts = (_part(part) for part in content)
    return "\n".join(part["text"] for part in parts if part.get("type") == "text")


def decoded(value):
    """Return the value of a JSON text, and anything else as it is."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def is_conversation(value) -> bool:
    """Return whether a value is a list that begins with a message."""
    return _is_objects(value) and not {"role", "from"}.isdisjoint(value[0])


def _is_objects(value) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(x, dict) for x in value)


def _part(part: dict) -> dict:
    """Return a part of a content as {type, text}, or as it is if it has no type."""
    kind = part.get("type")
    if isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    return {"type": "text", "text": f"[{kind}]"} if kind else part


def _thought(block: dict) -> str:
    return block.get("thinking") or "" if block.get("type") == "thinking" else ""


def _function(call: dict) -> dict:
    function = call.get("function") or call
    return {"name": function["name"], "arguments": function.get("arguments") or {}}
