"""Read the session files of Claude Code, each line of which has a block of a message.

A trajectory ends where its history was compacted. Sidechains (subagents) are left out. The system
prompt and the tools are not in these files. Where a user went back and wrote a message anew, the
file has both branches: a turn's history is the chain of `parentUuid`, with the results of its
calls, as a result may hang beside that chain.
"""
from __future__ import annotations

from collections.abc import Callable

from codedata.sampling.readers.chat import distinct

FORM = "Claude Code"
ROLES = ("user", "assistant")


def matches(document) -> bool:
    """Return whether any entry of a list is a message of a session."""
    return isinstance(document, list) and any(
        isinstance(line, dict) and line.get("type") in ROLES and "message" in line
        for line in document)


def read(document: list[dict]) -> dict:
    """Return the row, with the lines of one message of the model joined."""
    messages: dict = {}   # by id, as a resumed session may repeat lines
    uuids: dict = {}      # the lines of each message
    parents: dict = {}    # of each line: the line before it
    last = None
    for i, line in enumerate(document):
        is_summary = line.get("isCompactSummary") or line.get("subtype") == "compact_boundary"
        if is_summary and messages:
            break
        role = line.get("type")
        uuid = line.get("uuid", i)
        parent = line.get("parentUuid", last)
        is_known = parent in parents or (parent is None and role == "user")
        parents.setdefault(uuid, parent if is_known else last)
        last = last if line.get("isSidechain") else uuid
        body = line.get("message") or {}
        if role not in ROLES or line.get("isSidechain") or body.get("model") == "<synthetic>":
            continue
        blocks = body.get("content") or []
        if isinstance(blocks, str):
            blocks = [{"type": "text", "text": blocks}]
        key = body.get("id") or uuid
        for block in blocks:
            if block["type"] == "tool_result":
                call_id = block["tool_use_id"]
                uuids.setdefault(call_id, []).append(uuid)
                messages[call_id] = {"role": "tool", "tool_call_id": call_id,
                                     "content": block.get("content") or ""}
                continue
            uuids.setdefault(key, []).append(uuid)
            messages.setdefault(key, {"role": role, "content": []})["content"].append(block)
    for message in messages.values():
        if message["role"] != "tool":
            message["content"] = distinct(message["content"])
    return {"messages": [*messages.values()], "agent": FORM,
            "unseen": _unseen(messages, uuids, parents)}


def _unseen(messages: dict, uuids: dict, parents: dict) -> Callable[[int], set[int]] | None:
    """Return what finds the earlier messages that are of other branches, if there are such."""
    keys = [*messages]
    # a result belongs to its call: it may hang beside the chain, as where calls were parallel
    owners = {block["id"]: key for key, message in messages.items()
              if message["role"] == "assistant"
              for block in message["content"] if block["type"] == "tool_use"}

    def of_others(i: int) -> set[int]:
        chain = set()
        uuid = uuids[keys[i]][0]
        while uuid is not None:
            chain.add(uuid)
            uuid = parents[uuid]
        return {k for k, key in enumerate(keys[:i])
                if chain.isdisjoint(uuids[owners.get(key, key)])}

    return of_others if keys and of_others(len(keys) - 1) else None
