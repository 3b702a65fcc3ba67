"""Write a conversation as a trajectory in ATIF 1.8, Harbor's format."""
from __future__ import annotations

from collections.abc import Sequence

from codedata.conversation.tool_calls import parts_of
from codedata.messages import content_text
from codedata.records import Message, Object
from codedata.texts import check_nesting

VERSION = "ATIF-v1.8"
SOURCES = {"system": "system", "user": "user", "assistant": "agent"}


def atif_of(messages: Sequence[Message], tools: list | None, session: str, agent: Object,
            **more) -> Object:
    """Return messages as a trajectory. `agent` is {name, version, …}; `more` holds further keys of
    ATIF. A call's result belongs to the step that made the call."""
    steps = []
    for message in messages:
        text = content_text(message)
        if message["role"] == "tool":
            steps[-1].setdefault("observation", {"results": []})["results"].append(
                {"source_call_id": message.get("tool_call_id"), "content": text})
            continue
        step = {"step_id": len(steps) + 1, "source": SOURCES.get(message["role"], "user"),
                "message": text}
        if reasoning := message.get("reasoning_content"):
            step["reasoning_content"] = reasoning
        if calls := message.get("tool_calls"):
            step["tool_calls"] = [
                {"tool_call_id": call["id"], "function_name": name,
                 "arguments": _storable(arguments or {})}
                for call in calls for name, arguments in [parts_of(call)]]
        steps.append(step)
    tools = {"tool_definitions": tools} if tools else {}
    return {"schema_version": VERSION, "session_id": session, "steps": steps,
            "agent": {**agent, **tools}, **more}


def _storable(arguments: Object) -> Object:
    """Return a call's arguments, or {} if they are nested too deeply for our files."""
    try:
        check_nesting([[[[[arguments]]]]])
    except ValueError:
        return {}
    return arguments
