"""Read rows with a conversation: data sets, and the files of mini-swe-agent, which have the same
form. A file may also be a bare list of messages.
"""
from __future__ import annotations

from codedata.sampling.readers.chat import decoded, is_conversation, read_message

COLUMNS = ("messages", "conversations", "trajectory")
IDS = ("instance_id", "task")   # the second in the rows that Harbor exports
FORM = f"rows with {', '.join(COLUMNS)}"


def matches(document) -> bool:
    """Return whether an object has a conversation, or a list is one."""
    return is_conversation(document) or (isinstance(document, dict) and bool(_columns(document)))


def read(document) -> dict:
    """Return the row. Messages that are none are left as they are."""
    row = {"messages": document} if isinstance(document, list) else document
    columns = _columns(row)
    messages = decoded(next((row[name] for name in columns if row[name] is not None), None))
    if isinstance(messages, list) and all(isinstance(message, dict) for message in messages):
        messages = [read_message(message) for message in messages if message.get("role") != "exit"]
    tools = decoded(row.get("tools") or row.get("tool_definitions")) or ()
    return {"instance_id": next((row[name] for name in IDS if name in row), None),
            "repo": row.get("repo"), "messages": messages, "tools": [*map(decoded, tools)],
            "agent": _agent(row, messages)}


def _columns(row: dict) -> list[str]:
    return [name for name in COLUMNS if name in row]


def _agent(row: dict, messages) -> str:
    info = row.get("info")
    is_mini = str(row.get("trajectory_format")).startswith("mini-swe-agent") or (
        isinstance(info, dict) and "mini_version" in info)
    if not is_mini:
        return ""
    has_calls = any("tool_calls" in message for message in messages or ())
    return f"mini-swe-agent {2 if has_calls else 1}"
