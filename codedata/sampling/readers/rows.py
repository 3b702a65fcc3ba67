"""Read rows with a conversation: those of data sets, and the files of mini-swe-agent, which have
the same form. A document may also be a bare list of messages.
"""
from __future__ import annotations

from codedata.sampling.readers.chat import decoded, is_conversation

COLUMNS = ("messages", "conversations", "trajectory")
IDS = ("instance_id", "task")   # the second in the rows that Harbor exports
FORM = f"rows with {', '.join(COLUMNS)}"
AGENTS = {"mini-swe-agent-1": "mini-swe-agent 1", "mini-swe-agent-1.1": "mini-swe-agent 2"}


def matches(document) -> bool:
    """Return whether a document has a column for a conversation, or is a list of messages."""
    return is_conversation(document) or (
        isinstance(document, dict) and any(name in document for name in COLUMNS))


def read(document) -> dict:
    """Return the row."""
    row = {"messages": document} if isinstance(document, list) else document
    messages = decoded(next(filter(None, map(row.get, COLUMNS)), []))
    tools = decoded(row.get("tools") or row.get("tool_definitions")) or ()
    return {"instance_id": next((row[name] for name in IDS if name in row), None),
            "repo": row.get("repo"), "tools": [*map(decoded, tools)],
            "messages": [message for message in messages if message.get("role") != "exit"],
            "agent": AGENTS.get(row.get("trajectory_format"), "rows")}
