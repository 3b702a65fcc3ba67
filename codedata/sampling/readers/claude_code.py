"""Read the session files of Claude Code, each line of which has a block of a message.

A trajectory ends where its history was compacted. A sidechain is the trajectory of a subagent, in
the file of its session or in one of its own. The system prompt and the tools are not in these
files. Where a user went back and wrote a message anew, the file has both branches: a turn's history
is the chain of `parentUuid`, with the results of its calls, as a result may hang beside that chain.
A turn after a line whose parent is missing is refused: its history is not all there.
"""
from __future__ import annotations

from collections import defaultdict

from codedata.sampling.readers.chat import distinct, unseen_in

FORM = "Claude Code"
ROLES = ("user", "assistant")
LOCAL = ("<bash-input>", "<command-name>")   # what a user's own command begins with


def matches(document) -> bool:
    """Return whether any entry of a list is a message of a session."""
    return isinstance(document, list) and any(
        isinstance(line, dict) and line.get("type") in ROLES and "message" in line
        for line in document)


def read(document: list[dict]) -> dict:
    """Return the row, with those of the subagents in the file; of a file that has only one, that.
    """
    sides = _sidechains(document)
    found = [_trajectory(document, False), *(_trajectory(lines, True) for lines in sides)]
    first, *others = [row for row in found if row["messages"]] or found
    session = None if found[0]["messages"] else document[0].get("sessionId")
    return {**first, "subagents": others, "session": session}


def _sidechains(document: list[dict]) -> list[list[dict]]:
    """Return the lines of each subagent: by its id or, in early files, by the line it began with.
    """
    begins: dict = {}   # of each line: the first one of its chain
    sides = defaultdict(list)
    for i, line in enumerate(document):
        if line.get("isSidechain"):
            uuid = line.get("uuid", i)
            begins[uuid] = begins.get(line.get("parentUuid"), uuid)
            sides[line.get("agentId") or begins[uuid]].append(line)
    return [*sides.values()]


def _trajectory(document: list[dict], is_side: bool) -> dict:
    """Return the row of a session, or of a subagent's lines; lines of one message are joined."""
    messages: dict = {}   # by id, as a resumed session may repeat lines
    uuids: dict = {}      # the lines of each message
    parents: dict = {}    # of each line: the line before it
    present = {None, *(line.get("uuid") for line in document)}
    last = None
    is_cut = False
    remarks = {line.get("uuid") for line in document if line.get("isMeta")}   # of Claude Code
    for i, line in enumerate(document):
        role = line.get("type")
        body = line.get("message") or {}
        attached = line.get("attachment") or {}
        if attached.get("type") == "queued_command":   # written while the model worked
            role, body = "user", {"content": attached["prompt"]}
        uuid = line.get("uuid", i)
        parent = line.get("parentUuid", last)
        if parent not in parents and parent in present and (parent is not None or role != "user"):
            parent = last
        if parent in remarks and str(body.get("content")).startswith(LOCAL):
            parent = last   # early versions hang all of them on their first remark
        parents.setdefault(uuid, parent)
        is_others = bool(line.get("isSidechain")) != is_side
        last = last if is_others else uuid
        is_summary = line.get("isCompactSummary") or line.get("subtype") == "compact_boundary"
        if is_summary and messages and not is_others:
            is_cut = True
            break
        is_error = body.get("model") == "<synthetic>" or line.get("isApiErrorMessage")
        if role not in ROLES or is_others or is_error:
            continue
        content = body.get("content") or []
        for block in content if isinstance(content, list) else [{"type": "text", "text": content}]:
            call_id = block.get("tool_use_id")   # of a result
            key = call_id or body.get("id") or uuid
            uuids.setdefault(key, []).append(uuid)
            if call_id:
                messages[key] = {"role": "tool", "tool_call_id": call_id,
                                 "content": block.get("content") or ""}
            else:
                messages.setdefault(key, {"role": role, "content": []})["content"].append(block)
    for message in messages.values():
        if message["role"] != "tool":
            message["content"] = distinct(message["content"])
    # a result belongs to its call: it may hang beside the chain, as where calls were parallel
    owners = {block["id"]: key for key, message in messages.items()
              if message["role"] == "assistant"
              for block in message["content"] if block["type"] == "tool_use"}
    return {"messages": [*messages.values()], "agent": FORM, "is_cut": is_cut,
            "unseen": unseen_in([uuids[owners.get(key, key)] for key in messages], parents)}
