"""Read the session files of Codex (rollout-*.jsonl), which hold the items of its model's API.

A trajectory ends where its history was compacted. The instructions in the first line become a
system message unless a message of the user repeats them. These files do not have the tools. The
history of a turn lacks steps that the user rolled back. A result is moved directly after its call,
before messages that arrived while the call ran. A fork, or a subagent with its parent's history,
begins with a copy of the parent's lines, whose turns belong to the parent's file.
"""
from __future__ import annotations

from codedata.messages import content_text
from codedata.sampling.readers.chat import half_answered, unseen_in
from codedata.sampling.readers.responses import joins, message_of

FORM = "Codex"
MAX_BETWEEN = 20   # maximum of messages between a call and its result
# keys of a session's first lines: today's form, and the early one, whose other lines are bare items
LINES = ({"type", "payload"}, {"timestamp", "id", "instructions"})


def matches(document) -> bool:
    """Return whether a list begins as a session does."""
    return isinstance(document, list) and any(
        isinstance(line, dict) and line.keys() >= keys for line in document[:3] for keys in LINES)


def read(document: list[dict]) -> dict:
    """Return the row. The items of a reply, up to the results of its calls, become one message."""
    messages = []
    parents: dict = {}   # {index of a message: index of the message before it}
    at = None      # the index of the last message that was not rolled back
    is_cut = False
    own = _first_own(document)
    n_copied = 0
    for i, line in enumerate(document):
        if line.get("type") == "compacted":
            is_cut = True
            break
        if line.get("type") == "session_meta" and messages:   # the parent's
            continue
        event = line.get("payload") or {}
        n_turns = event["num_turns"] if event.get("type") == "thread_rolled_back" else 0
        while n_turns > 0 and at is not None:
            n_turns -= int(_is_asked(messages[at]))
            at = parents[at]
        message = _of_line(line)
        if message.get("role") == "developer" and messages:   # later rules become a user message
            message["role"] = "user"
        if message and (at is None or not joins(messages[at], message)):
            parents[len(messages)] = at
            at = len(messages)
            messages.append(message)
            _move_to_call(messages, parents, at)
        n_copied = len(messages) if i < own else n_copied

    if any(one["role"] == "user" and messages[0]["role"] == "system"
           and content_text(messages[0]) in content_text(one) for one in messages):
        parents = {i: before or None for i, before in parents.items()}   # leave out message 0
    return {"messages": messages, "agent": FORM, "lines": document, "is_cut": is_cut,
            "no_turns": half_answered(messages).union(range(n_copied)),
            "unseen": unseen_in([[i] for i in parents], parents)}


def _first_own(document: list[dict]) -> int:
    """Return the index of the first line of a fork that is not copied from its parent; 0 if the
    session is not a fork.

    Copied lines have new timestamps. But the ids of turns are UUIDs of version 7, which begin with
    the time, so a turn of the fork has a greater one than the fork. Without such ids, the last turn
    is taken for the fork's, though it may be copied.
    """
    meta = document[0].get("payload") or {}
    if not meta.get("forked_from_id"):
        return 0
    turns = {i: str(line["payload"].get("turn_id")) for i, line in enumerate(document)
             if line.get("type") == "turn_context"}
    dated = {i: turn[:13] for i, turn in turns.items() if turn[14:15] == "7"}
    later = (i for i, begin in dated.items() if begin >= meta["id"][:13])
    return next(later, len(document) if dated else max(turns, default=0))


def _move_to_call(messages: list[dict], parents: dict, i: int) -> None:
    """Move a result before the user messages that arrived while its call ran."""
    for _ in range(MAX_BETWEEN):
        before = parents[i]
        if messages[i]["role"] != "tool" or before is None or messages[before]["role"] != "user":
            return
        messages[i], messages[before] = messages[before], messages[i]
        i = before


def _is_asked(message: dict) -> bool:
    """Return whether the user wrote a message. User messages by Codex itself begin with a tag."""
    return message["role"] == "user" and not content_text(message).startswith("<")


def _of_line(line: dict) -> dict:
    """Return the message of a line, or the part of one; {} if it has none."""
    kind = line.get("type")
    item = line.get("payload") or line
    if kind == "session_meta" or "instructions" in line:
        rules = (item.get("base_instructions") or {}).get("text") or item.get("instructions")
        return {"role": "system", "content": rules} if rules else {}
    has_item = kind == "response_item" or (kind and item is line)
    return message_of(item) if has_item else {}
