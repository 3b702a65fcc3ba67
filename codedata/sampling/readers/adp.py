"""Read the standard form of the Agent Data Protocol: a list of actions and observations.

An action without a description continues the message of the action before it. An observation that
follows calls is the result of the call that it names, or else of the first one without a result.
Several calls with fewer results are not a turn: they may have been separate messages.
"""
from __future__ import annotations

import re

from codedata.conversation.tool_calls import shell_call
from codedata.sampling.readers.chat import begins_with, half_answered, read_tools

FORM = "Agent Data Protocol"
# {language of code: (tool, or "" for the shell; its argument with the code)}; code in any other
# language is a call of a tool with the language's name
LANGUAGES = {"bash": ("", "command"), "sh": ("", "command"),
             "python": ("execute_ipython_cell", "code")}
INSTANCE = re.compile(r"[\w.-]+__[\w.-]+")
RUN = re.compile(r"(?:\.[a-z0-9]{8})?_\d+$")   # suffixes that data sets append to instance ids


def matches(document) -> bool:
    """Return whether an object has a content of actions and observations."""
    return isinstance(document, dict) and begins_with(document.get("content"), "class_")


def read(document: dict) -> dict:
    """Return the row."""
    messages: list[dict] = []
    tools = read_tools((document.get("details") or {}).get("tools"))
    shell = "execute_bash" if "execute_bash" in str(document["content"][0]) else "bash"
    n_waiting = 0   # calls without a result
    for part in document["content"]:
        kind = part["class_"]
        if kind.endswith("_observation"):
            messages.append(_observation(part, n_waiting > 0))
            n_waiting -= 1
            continue
        last = messages[-1] if messages else {}
        # an action without a description is a further call of the same message
        if last.get("role") != "assistant" or (last["tool_calls"] and part.get("description")):
            messages.append({"role": "assistant", "content": [], "tool_calls": [],
                             "reasoning_content": part.get("reasoning_content")})
            n_waiting = 0
        last = messages[-1]
        texts = [part.get("description"), part.get("content")]
        if kind != "message_action":
            texts.pop()
            last["tool_calls"].append({**_call(part, tools, shell), "id": part.get("tool_call_id")})
            n_waiting += 1
        last["content"] += filter(None, texts)
    for message in messages:
        if message["role"] == "assistant":
            message["content"] = "\n\n".join(message["content"])
    name = str(document["id"])
    return {"messages": messages, "agent": FORM, "id": name, "tools": tools,
            "no_turns": half_answered(messages),
            "instance_id": RUN.sub("", name) if INSTANCE.fullmatch(name) else None}


def _call(action: dict, tools: list[dict] | None, shell: str) -> dict:
    """Return the call of an action. Shell code becomes a call of the shell tool in `tools`, or else
    of the tool named `shell`."""
    if action["class_"] == "api_action":
        return {"name": action["function"], "arguments": action["kwargs"]}
    name, argument = LANGUAGES.get(action["language"], (action["language"], "code"))
    made = None if name else shell_call(action["content"], tools or [])
    return made or {"name": name or shell, "arguments": {argument: action["content"]}}


def _observation(part: dict, is_result: bool) -> dict:
    """Return an observation as a message: a result, or a message of a user or another agent. Raise
    ValueError for an image, since the file has only its path."""
    if part["class_"] == "image_observation":
        raise ValueError("an observation is an image")
    text = part.get("content")
    source = "agent" if part.get("source") == "agent" else "user"
    return {"role": "tool" if is_result else source, "tool_call_id": part.get("tool_call_id"),
            "content": text if isinstance(text, str) else [{"type": part["class_"]}]}
