"""Read the session files of Claude Code: each line has one block of a message.

A trajectory ends where its history was compacted. A sidechain is the trajectory of a subagent, in
its session's file or in its own. These files have neither the system prompt nor the tools. If a
user went back and rewrote a message, the file has both branches: a turn's history is the chain of
`parentUuid` with the results of its calls, which may lie off that chain. A turn after a line whose
parent is missing is refused, since its history is incomplete. Turns copied from another session's
file (`forkedFrom`) are not turns. Results that Claude Code cleared are shown as its model saw them.
"""
from __future__ import annotations

from collections import defaultdict

from codedata.sampling.readers.chat import distinct, unseen_in, with_cleared

FORM = "Claude Code"
ROLES = ("user", "assistant")
LOCAL = ("<bash-input>", "<command-name>")   # beginnings of a user's own commands


def matches(document) -> bool:
    """Return whether any entry of a list is a message of a session."""
    return isinstance(document, list) and any(
        isinstance(line, dict) and line.get("type") in ROLES and "message" in line
        for line in document)


def read(document: list[dict]) -> dict:
    """Return the row of the session, with the rows of the subagents in its file. In a file without
    messages of the session, the first subagent's row takes the session's place.
    """
    sides = _sidechains(document)
    found = [_trajectory(document, False), *(_trajectory(lines, True) for lines in sides)]
    first, *others = [row for row in found if row["messages"]] or found
    session = None if found[0]["messages"] else document[0].get("sessionId")
    return {**first, "subagents": others, "session": session,
            "lines": document}


def _sidechains(document: list[dict]) -> list[list[dict]]:
    """Return the lines of each subagent, grouped by its id or, in early files, by its first
    line."""
    begins: dict = {}   # {line: the first line of its chain}
    sides = defaultdict(list)
    for i, line in enumerate(document):
        if line.get("isSidechain"):
            uuid = line.get("uuid", i)
            begins[uuid] = begins.get(line.get("parentUuid"), uuid)
            sides[line.get("agentId") or begins[uuid]].append(line)
    return [*sides.values()]


def _trajectory(document: list[dict], is_side: bool) -> dict:
    """Return the row of a session, or of a subagent's lines; lines of one message are joined."""
    messages: dict = {}   # by id, since a resumed session may repeat lines
    uuids: dict = {}      # {id of a message: its lines}
    parents: dict = {}    # {line: the line before it}
    cleared: dict = {}    # {id of a call: number of messages before its result was cleared}
    present = {None, *(line.get("uuid") for line in document)}
    copied = {line.get("uuid") for line in document if line.get("forkedFrom")}
    last = None
    is_cut = False
    remarks = {line.get("uuid") for line in document if line.get("isMeta")}   # by Claude Code
    for i, line in enumerate(document):
        role, body = _body(line)
        micro = line.get("microcompactMetadata") or {}
        cleared |= dict.fromkeys(micro.get("compactedToolIds", ()), len(messages))
        uuid = line.get("uuid", i)
        parent = line.get("parentUuid", last)
        if parent not in parents and parent in present and (parent is not None or role != "user"):
            parent = last
        if parent in remarks and str(body.get("content")).startswith(LOCAL):
            parent = last   # early versions attach all local commands to the first remark
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
            call_id = block.get("tool_use_id")   # only a result has it
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
    owners = _owners(messages)
    row = {"messages": [*messages.values()], "agent": FORM, "is_cut": is_cut,
           "no_turns": {i for i, key in enumerate(messages) if copied.intersection(uuids[key])},
           "unseen": unseen_in([uuids[owners.get(key, key)] for key in messages], parents)}
    return with_cleared(row, {i: cleared[key] for i, key in enumerate(messages)
                              if key in cleared})


def _owners(messages: dict) -> dict:
    """Return {id of a call: key of its message}. The results of parallel calls may lie off the
    chain, but belong to their calls."""
    return {block["id"]: key for key, message in messages.items()
            if message["role"] == "assistant"
            for block in message["content"] if block["type"] == "tool_use"}


def _body(line: dict) -> tuple[str | None, dict]:
    """Return (role, message) of a line."""
    attached = line.get("attachment") or {}
    if attached.get("type") == "queued_command":   # written while the model worked
        return "user", {"content": attached["prompt"]}
    return line.get("type"), line.get("message") or {}
