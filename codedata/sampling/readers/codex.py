"""Read the session files of Codex (rollout-*.jsonl), which hold the items of its model's API.

A trajectory ends where its history was compacted. The tools are not in these files.
"""
from __future__ import annotations

from codedata.sampling.readers.chat import (
    add_calls,
    add_thinking,
    plain_text,
    tool_call,
    tool_result,
)

FORM = "Codex"
LINES = ("session_meta", "response_item", "turn_context")
CALLS = ("function_call", "custom_tool_call", "local_shell_call")


def matches(document) -> bool:
    """Return whether a list begins as a session does; that of early versions with its items."""
    return isinstance(document, list) and any(
        isinstance(line, dict) and ((line.get("type") in LINES and "payload" in line)
                                    or line.keys() >= {"id", "timestamp", "instructions"})
        for line in document[:3])


def read(document: list[dict]) -> dict:
    """Return the row: the items of a reply, up to the results of its calls, are one message."""
    messages = []
    for line in document:
        kind = line.get("type")
        if kind == "compacted":
            break
        item = line.get("payload") or line
        if kind == "session_meta" or "instructions" in line:
            base = item.get("base_instructions") or {}
            texts = filter(None, (base.get("text"), item.get("instructions")))
            _add_rules(messages, *texts)
        elif kind == "response_item" or (kind and item is line):
            _add(messages, item)
    return {"messages": messages, "agent": FORM}


def _add(messages: list[dict], item: dict) -> None:
    kind = item.get("type", "message")
    if kind.endswith("_output"):
        output = item.get("output")
        text = output.get("content") if isinstance(output, dict) else output
        messages.append(tool_result(item["call_id"], text))
        return
    if kind == "message" and item["role"] == "developer":
        _add_rules(messages, plain_text(item["content"]))
        return
    if kind == "message" and item["role"] != "assistant":
        messages.append({"role": "user", "content": plain_text(item["content"])})
        return
    if kind not in ("message", "reasoning", *CALLS):
        return
    reply = messages[-1] if messages else {}
    if reply.get("role") != "assistant" or (kind not in CALLS and "tool_calls" in reply):
        reply = {"role": "assistant", "content": ""}
        messages.append(reply)
    if kind == "message":
        reply["content"] += plain_text(item["content"])
    elif kind == "reasoning":
        add_thinking(reply, plain_text(item.get("content") or item.get("summary")))
    else:
        add_calls(reply, _call(item))


def _add_rules(messages: list[dict], *texts: str) -> None:
    """Append texts to the one system message, or, where others follow it, as if a user said them.
    """
    for text in texts:
        if len(messages) == 1 and messages[0]["role"] == "system":
            messages[0]["content"] += f"\n\n{text}"
        else:
            messages.append({"role": "user" if messages else "system", "content": text})


def _call(item: dict) -> dict:
    """Return a call; a custom tool has a text in place of arguments."""
    arguments = item.get("arguments") or item.get("action") or {"input": item.get("input")}
    return tool_call(item.get("call_id"), item.get("name", "local_shell"), arguments)
