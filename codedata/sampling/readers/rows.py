"""Read rows with a conversation: data sets, and the files of mini-swe-agent, which have the same
form. A file may also be a bare list of messages.
"""
from __future__ import annotations

from codedata.sampling.readers.chat import are_objects, decoded, is_conversation

COLUMNS = ("messages", "conversations", "trajectory")
IDS = ("instance_id", "task")   # the second in the rows that Harbor exports
FORM = f"rows with {', '.join(COLUMNS)}"


def matches(document) -> bool:
    """Return whether an object has a conversation, or a list is one."""
    return is_conversation(document) or (
        isinstance(document, dict) and any(name in document for name in COLUMNS))


def read(document) -> dict:
    """Return the row. Messages that are none are left as they are."""
    row = {"messages": document} if isinstance(document, list) else document
    messages = decoded(next((row[name] for name in COLUMNS if row.get(name) is not None), None))
    if are_objects(messages):
        messages = [message for message in messages if message.get("role") != "exit"]
    tools = decoded(row.get("tools") or row.get("tool_definitions")) or ()
    return {"instance_id": next((row[name] for name in IDS if name in row), None),
            "repo": row.get("repo"), "messages": messages, "tools": [*map(decoded, tools)],
            "agent": _agent(row, messages)}


def _agent(row: dict, messages) -> str:
    if not str(row.get("trajectory_format")).startswith("mini-swe-agent"):
        return ""
    has_calls = any("tool_calls" in message for message in messages or ())
    return f"mini-swe-agent {2 if has_calls else 1}"
