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
    if "tool_definitions" in row:
        messages = with_calls(messages)
    return {"instance_id": next((row[name] for name in IDS if name in row), None),
            "repo": row.get("repo"), "tools": [*map(decoded, tools)],
            "messages": [message for message in messages if message.get("role") != "exit"],
            "agent": AGENTS.get(row.get("trajectory_format"), "rows")}


def with_calls(messages: list[dict]) -> list[dict]:
    """Return messages that Harbor exports with their calls, which are JSON in the text there, and
    with the results, which are a user's."""
    made: list[dict] = []
    for message in messages:
        role, content = message.get("role"), message.get("content")
        text, *parts = content.split("<tool_call>") if isinstance(content, str) else [""]
        calls = [decoded(part.partition("</tool_call>")[0]) for part in parts]
        if role == "assistant" and calls and all(isinstance(call, dict) for call in calls):
            message = {**message, "content": text.strip(), "tool_calls": calls}
        elif role == "user" and made and made[-1].get("tool_calls"):
            message = {**message, "role": "tool"}
        made.append(message)
    return made
