"""Read the standard form of the Agent Data Protocol: a list of actions and observations.

Actions between two observations are one message. An observation behind calls is the result of the
call that it names, or else of the first one without a result.
"""
from __future__ import annotations

import re

from codedata.sampling.readers.chat import begins_with

FORM = "Agent Data Protocol"
# the tool and its argument for code in a language; code in another one is a call that nobody knows
LANGUAGES = {"bash": ("bash", "command"), "sh": ("bash", "command"),
             "python": ("execute_ipython_cell", "code")}
RUN = re.compile(r"(?:\.[a-z0-9]{8})?_\d+$")   # what data sets append to the id of an instance


def matches(document) -> bool:
    """Return whether an object has a content of actions and observations."""
    return isinstance(document, dict) and begins_with(document.get("content"), "class_")


def read(document: dict) -> dict:
    """Return the row."""
    messages: list[dict] = []
    waiting: dict[str, None] = {}   # ids of calls without a result
    for i, part in enumerate(document["content"]):
        kind = part["class_"]
        if kind.endswith("_observation"):
            messages.append(_observation(part, waiting))
            continue
        last = messages[-1] if messages else {}
        if last.get("role") != "assistant":
            last = {"role": "assistant", "content": "", "tool_calls": []}
            messages.append(last)
            waiting.clear()
        said = [last["content"], part.get("description"), part.get("content")]
        if kind != "message_action":
            del said[2:]
            last["tool_calls"].append(_call(part, part.get("tool_call_id") or f"call_{i}"))
            waiting[last["tool_calls"][-1]["id"]] = None
        last["content"] = "\n\n".join(filter(None, said))
        if part.get("reasoning_content"):
            last["reasoning_content"] = part["reasoning_content"]
    name = str(document["id"])
    return {"messages": messages, "agent": FORM, "id": name,
            "instance_id": RUN.sub("", name) if "__" in name else None}


def _call(action: dict, call_id: str) -> dict:
    if action["class_"] == "api_action":
        return {"id": call_id, "name": action["function"], "arguments": action["kwargs"]}
    name, argument = LANGUAGES.get(action["language"], (action["language"], "code"))
    return {"id": call_id, "name": name, "arguments": {argument: action["content"]}}


def _observation(part: dict, waiting: dict[str, None]) -> dict:
    """Return an observation as a message; the call that it answers does not wait any longer."""
    text = part.get("content")
    content = text if isinstance(text, str) else [{"type": part["class_"]}]
    call_id = part.get("tool_call_id")
    if call_id not in waiting:
        call_id = next(iter(waiting), None)
    if call_id:
        del waiting[call_id]
        return {"role": "tool", "tool_call_id": call_id, "content": content}
    return {"role": "agent" if part.get("source") == "agent" else "user", "content": content}
