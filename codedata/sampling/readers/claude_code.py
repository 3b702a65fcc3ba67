"""Read the session files of Claude Code, which hold a block of a message in each line.

A trajectory ends where its history was compacted; sidechains (subagents) are no part of it. The
system prompt and the tools are not in these files.
"""
from __future__ import annotations

FORM = "Claude Code"
ROLES = ("user", "assistant")


def matches(document) -> bool:
    """Return whether some line of a list is a message of a session."""
    return isinstance(document, list) and any(
        isinstance(line, dict) and line.get("type") in ROLES and "message" in line
        for line in document)


def read(document: list[dict]) -> dict:
    """Return the row, with the lines of one message of the model joined."""
    messages = []
    replies = {}   # by their id
    for line in document:
        is_summary = line.get("isCompactSummary") or line.get("subtype") == "compact_boundary"
        if is_summary and messages:
            break
        body = line.get("message") or {}
        is_of_harness = line.get("isSidechain") or body.get("model") == "<synthetic>"
        if line.get("type") not in ROLES or is_of_harness:
            continue
        blocks = body.get("content") or []
        if isinstance(blocks, str):
            blocks = [{"type": "text", "text": blocks}]
        if line["type"] == "user":
            messages += [{"role": "tool", "tool_call_id": block["tool_use_id"],
                          "content": block.get("content") or ""}
                         for block in blocks if block["type"] == "tool_result"]
            said = [block for block in blocks if block["type"] != "tool_result"]
            messages += [{"role": "user", "content": said}] if said else []
            continue
        reply_id = body.get("id") or line["uuid"]
        if reply_id not in replies:
            replies[reply_id] = {"role": "assistant", "content": []}
            messages.append(replies[reply_id])
        replies[reply_id]["content"] += blocks
    return {"messages": messages, "agent": FORM}
