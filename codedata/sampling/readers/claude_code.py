"""Read the session files of Claude Code, each line of which has a block of a message.

A trajectory ends where its history was compacted. Sidechains (subagents) are left out. The system
prompt and the tools are not in these files.
"""
from __future__ import annotations

FORM = "Claude Code"
ROLES = ("user", "assistant")


def matches(document) -> bool:
    """Return whether any entry of a list is a message of a session."""
    return isinstance(document, list) and any(
        isinstance(line, dict) and line.get("type") in ROLES and "message" in line
        for line in document)


def read(document: list[dict]) -> dict:
    """Return the row, with the lines of one message of the model joined."""
    messages: dict = {}   # by id, as a resumed session may repeat lines
    for i, line in enumerate(document):
        is_summary = line.get("isCompactSummary") or line.get("subtype") == "compact_boundary"
        if is_summary and messages:
            break
        role = line.get("type")
        body = line.get("message") or {}
        if role not in ROLES or line.get("isSidechain") or body.get("model") == "<synthetic>":
            continue
        blocks = body.get("content") or []
        if isinstance(blocks, str):
            blocks = [{"type": "text", "text": blocks}]
        key = body.get("id") or line.get("uuid", i)
        for block in blocks:
            if block["type"] == "tool_result":
                call_id = block["tool_use_id"]
                messages[call_id] = {"role": "tool", "tool_call_id": call_id,
                                     "content": block.get("content") or ""}
                continue
            message = messages.setdefault(key, {"role": role, "content": []})
            if block not in message["content"]:
                message["content"].append(block)
    return {"messages": [*messages.values()], "agent": FORM}
