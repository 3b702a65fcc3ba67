"""Read rows with a conversation: of data sets, or of mini-swe-agent, whose files have the same
form. A document may also be a bare list of messages, with items of the Responses API among them.
"""
from __future__ import annotations

from codedata.sampling.readers.chat import first, is_conversation
from codedata.sampling.readers.responses import message_of, reply_of
from codedata.texts import decoded

COLUMNS = ("messages", "conversations", "trajectory")
FORM = f"rows with {', '.join(COLUMNS)}"
AGENTS = {"mini-swe-agent-1": "mini-swe-agent 1", "mini-swe-agent-1.1": "mini-swe-agent 2"}


def matches(document) -> bool:
    """Return whether a document has a column for a conversation, or is a list of messages."""
    return is_conversation(document) or (
        isinstance(document, dict) and any(name in document for name in COLUMNS))


def read(document) -> dict:
    """Return the row."""
    row = {"messages": document} if isinstance(document, list) else document
    messages = [*map(decoded, decoded(next(filter(None, map(row.get, COLUMNS)), [])))]
    if isinstance(row.get("system"), str):   # in ShareGPT, next to the conversation
        messages.insert(0, {"role": "system", "content": row["system"]})
    return {**names_in(row), "tools": row.get("tools") or row.get("tool_definitions"),
            "messages": [_message(one) for one in messages if one.get("role") != "exit"],
            "agent": AGENTS.get(row.get("trajectory_format"), "rows")}


def names_in(row: dict) -> dict:
    """Return the names that a row gives its task. Rows that Harbor exports have the instance in
    `task`."""
    # a `task` with spaces is the text of the task, not its name
    keys = ("instance_id", "task")[:1 if " " in str(row.get("task")) else 2]
    return {"instance_id": first(row, *keys), "repo": row.get("repo"),
            "commit": first(row, "base_commit", "commit"),
            "id": first(row, "traj_id", "session_id", "id")}


def _message(message: dict) -> dict:
    """Return a message; join the items of a reply (by mini-swe-agent's *_response models)."""
    if first(message, "role", "from"):
        return message
    if isinstance(message.get("output"), list) and not message.get("type"):
        return reply_of(message["output"])
    return message_of(message)
