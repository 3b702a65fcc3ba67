"""Read the session files of Claude Code, which hold a block of a message in each line.

A trajectory ends where its history was compacted; sidechains (subagents) are no part of it. The
system prompt and the tools are not in these files.
"""
from __future__ import annotations

from codedata.sampling.readers.chat import (
    add_calls,
    add_thinking,
    plain_text,
    tool_call,
    tool_result,
)

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
            messages += _of_user(blocks)
            continue
        reply_id = body.get("id") or line["uuid"]
        if reply_id not in replies:
            replies[reply_id] = {"role": "assistant", "content": ""}
            messages.append(replies[reply_id])
        _add_blocks(replies[reply_id], blocks)
    return {"messages": messages, "agent": FORM}


def _of_user(blocks: list[dict]) -> list[dict]:
    """Return the results of tools, then what the user said."""
    results = [tool_result(block["tool_use_id"], block.get("content")) for block in blocks
               if block["type"] == "tool_result"]
    text = plain_text([block for block in blocks if block["type"] != "tool_result"])
    return [*results, {"role": "user", "content": text}] if text else results


def _add_blocks(message: dict, blocks: list[dict]) -> None:
    for block in blocks:
        if block["type"] == "text":
            message["content"] += block["text"]
        elif block["type"] == "thinking":
            add_thinking(message, block["thinking"])
        elif block["type"] == "tool_use":
            add_calls(message, tool_call(block["id"], block["name"], block["input"]))
