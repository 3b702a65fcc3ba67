"""Read the session files of Codex (rollout-*.jsonl), which hold the items of its model's API.

A trajectory ends where its history was compacted. The tools are not in these files.
"""
from __future__ import annotations

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
    """Return the row."""
    messages = []
    for line in document:
        kind = line.get("type")
        if kind == "compacted":
            break
        item = line.get("payload") or line
        if kind == "session_meta" or "instructions" in line:
            rules = (item.get("base_instructions") or {}).get("text") or item.get("instructions")
            messages += [{"role": "system", "content": rules}] if rules else []
        elif kind == "response_item" or (kind and item is line):
            _add(messages, item)
    return {"messages": messages, "agent": FORM}


def _add(messages: list[dict], item: dict) -> None:
    """Add an item. Those of a reply, up to the results of its calls, are one message."""
    kind = item.get("type", "message")
    if kind.endswith("_output"):
        output = item.get("output") or ""
        content = output.get("content") if isinstance(output, dict) else output
        messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": content})
        return
    if kind == "message" and item["role"] != "assistant":   # a developer's rules may come later
        role = "user" if messages else item["role"].replace("developer", "system")
        messages.append({"role": role, "content": item["content"]})
        return
    reply = messages[-1] if messages else {}
    blocks = []
    calls = []
    if kind == "message":
        blocks = item["content"]
    elif kind == "reasoning":
        blocks = [{"type": "thinking", "thinking": part["text"]}
                  for part in item.get("content") or item.get("summary") or []]
    elif kind in CALLS:
        # a custom tool has a text in place of arguments, the early shell an action
        arguments = item.get("arguments") or item.get("action") or {"input": item.get("input")}
        calls = [{"name": "local_shell", **item, "id": item.get("call_id"),
                  "arguments": arguments}]
    else:
        return
    if reply.get("role") != "assistant" or (reply["tool_calls"] and not calls):
        reply = {"role": "assistant", "content": [], "tool_calls": []}
        messages.append(reply)
    reply["content"] += blocks
    reply["tool_calls"] += calls
