"""Read calls that a model wrote as text: Hermes' <tool_call>, <function=…> of SWE-agent and
OpenHands, and the JSON of Terminus.

In a conversation that keeps to one of PROTOCOLS the calls become those of the chat API, the user's
message after them becomes their result, and what the prompts say of the protocol is taken out
(DROPPED): answers are calls of the API, too. A call that is cut stays text, so it is no turn.
"""
from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from codedata.messages import content_text

Calls = tuple[str, list[dict]]   # the text without its calls, and the calls
TOOL_CALL = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
# groups of these two: a name, what it encloses, and the end, which is missing where it was cut
FUNCTION = re.compile(r"<function=([^>\n]{1,64})>(.*?)(</function>|\Z)", re.DOTALL)
PARAMETER = re.compile(r"<parameter=([^>\n]{1,64})>(.*?)(</parameter>|\Z)", re.DOTALL)
RESPONSE = re.compile(r"<tool_response>\n?(.*?)\n?(?:</tool_response>|\Z)", re.DOTALL)
FENCE = re.compile(r"^```(?:json)?\s*$", re.MULTILINE)
TOOLS = re.compile(r"<tools>(.*?)(?:</tools>|\Z)", re.DOTALL)
DESCRIBED = re.compile(r"^---- BEGIN FUNCTION #\d+:\s(\S+) ----\nDescription: (.*?)"
                       r"\n(?:---- END FUNCTION|\Z)", re.DOTALL | re.MULTILINE)
DESCRIBED_PARAMETER = re.compile(
    r"^ {2}\(\d+\) (\S+) \((\w+)[^()\n]*, (required|optional)\): (.*)$", re.MULTILINE)
# what the prompts say of a protocol: from the first of these texts to the last, found in this order
DROPPED = (
    ("You have access to the following functions:", "If you choose to call a function",
     "</IMPORTANT>"),
    ("Here's a running example of how to perform a task", "START OF EXAMPLE",
     "NEW TASK DESCRIPTION ---------------------\n"),
    ("--------------------- END OF NEW TASK DESCRIPTION", "ONE FUNCTION CALL PER MESSAGE."),
    ("# Tools\n\nYou may call one or more functions", "</tool_call> XML tags", "</tool_call>"),
    ("Format your response as JSON with the following structure:",
     "(defaults to 1.0 if not present)"),
)
SAID = ("analysis", "state_analysis", "plan", "explanation")   # keys of what Terminus thinks


def with_calls(messages: list[dict], tools: list[dict] | None, system: str
               ) -> tuple[list[dict], list[dict] | None, list[int]] | None:
    """Return (the messages with the calls in their texts as calls, the tools, the new place of each
    message), or None if the conversation keeps to no protocol. `system` is a prompt that stands
    beside the messages."""
    replies = [content_text(one) for one in messages if one["role"] == "assistant"]
    if not replies or any(one.get("tool_calls") for one in messages):
        return None
    n_calls = {read: sum(read(text) is not None for text in replies) for read in PROTOCOLS}
    read = max(PROTOCOLS, key=n_calls.__getitem__)
    # without tools, a text that only speaks of calls must not make its conversation one of them
    if n_calls[read] < (1 if tools else len(replies) / 2):
        return None
    n_prompts = next(i for i, one in enumerate(messages) if one["role"] == "assistant")
    prompts = [{"role": "system", "content": system}] if system else []
    prompts += messages[:n_prompts]
    texts = [*map(content_text, prompts)]
    tools = tools or _tools_in("\n".join(texts))
    made = [{**one, "content": _without_protocol(text)}
            for one, text in zip(prompts, texts, strict=True)]
    places = [*range(len(made) - n_prompts, len(made))]
    types = _types(tools or ())
    n_waiting = 0
    for message in messages[n_prompts:]:
        calls = read(content_text(message)) if message["role"] == "assistant" else None
        if calls:
            message = {**message, "content": calls[0],
                       "tool_calls": [_call(call, types) for call in calls[1]]}
        elif n_waiting and message["role"] == "user":
            *earlier, text = _results(content_text(message), n_waiting)
            made += [{"role": "tool", "content": one} for one in earlier]
            message = {"role": "tool", "content": text}
        places.append(len(made))
        made.append(message)
        n_waiting = len(calls[1]) if calls else 0
    return made, tools, places


def _hermes(text: str) -> Calls | None:
    found = [_json_in(body) for body in TOOL_CALL.findall(text)]
    if not found or not all(isinstance(call.get("name"), str) for call in found):
        return None
    return TOOL_CALL.sub("", text).strip(), found


def _functions(text: str) -> Calls | None:
    calls = []
    for name, body, _ in FUNCTION.findall(text):
        arguments = _json_in(body)
        if not arguments:
            parameters = PARAMETER.findall(body)
            if PARAMETER.sub("", body).strip() or not all(end for *_, end in parameters):
                return None
            arguments = {key: value.removeprefix("\n").removesuffix("\n")
                         for key, value, _ in parameters}
        calls.append({"name": name, "arguments": arguments})
    text = re.sub(r"</?tool_call>", "", FUNCTION.sub("", text))
    return (text.strip(), calls) if calls else None


def _terminus(text: str) -> Calls | None:
    start = text.find("{")
    reply = _json_in(text[start:]) if start >= 0 else {}
    commands = reply.get("commands")
    if not isinstance(commands, list) or not all(isinstance(one, dict) for one in commands):
        return None
    calls = [{"name": "bash_command", "arguments": one} for one in commands]
    if reply.get("task_complete") or reply.get("is_task_complete"):
        calls.append({"name": "mark_task_complete", "arguments": {}})
    said = [f"{key.capitalize()}: {reply[key]}" for key in SAID if reply.get(key)]
    before = FENCE.sub("", text[:start]).strip()
    return ("\n".join(filter(None, [before, *said])), calls) if calls else None


PROTOCOLS: tuple[Callable[[str], Calls | None], ...] = (_hermes, _functions, _terminus)


def _json_in(text: str) -> dict:
    """Return the JSON object at the start of a text, {} if there is none."""
    try:
        value, _ = json.JSONDecoder(strict=False).raw_decode(text.strip())
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _call(call: dict, types: Mapping[str, Mapping[str, str]]) -> dict:
    """Return a call of the chat API. Arguments of another type than text are JSON in a text."""
    arguments = call.get("arguments") or {}
    if isinstance(arguments, dict):
        known = types.get(call["name"], {})
        arguments = {key: _decoded(value, known.get(key)) for key, value in arguments.items()}
        arguments = json.dumps(arguments, ensure_ascii=False)
    return {"id": "", "type": "function",
            "function": {"name": call["name"], "arguments": str(arguments)}}


def _decoded(value, kind: str | None):
    if kind in (None, "string") or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _results(text: str, n_calls: int) -> list[str]:
    """Return the results of some calls that a user's message has: of one output the last call has
    all."""
    parts = RESPONSE.findall(text)
    return parts if len(parts) == n_calls else [""] * (n_calls - 1) + [text]


def _types(tools) -> dict[str, dict[str, str]]:
    """Return {tool: {argument: its type}}."""
    schemas = {one["function"]["name"]: one["function"].get("parameters") or {} for one in tools}
    return {name: {key: part.get("type") for key, part in schema.get("properties", {}).items()
                   if isinstance(part, dict)} for name, schema in schemas.items()}


def _without_protocol(text: str) -> str:
    """Return a prompt without the parts between the texts of DROPPED."""
    for first, *others in DROPPED:
        start = end = text.find(first)
        for mark in others:
            at = text.find(mark, end) if end >= 0 else -1
            end = at + len(mark) if at >= 0 else -1
        if end >= 0:
            text = f"{text[:start].rstrip()}\n\n{text[end:].lstrip()}".strip()
    return text


def _tools_in(prompts: str) -> list[dict] | None:
    """Return the tools that the prompts describe, or None."""
    found = []
    for name, text in DESCRIBED.findall(prompts):
        parameters = DESCRIBED_PARAMETER.findall(text)
        about = text.partition("\n\nParameters:")[0].partition("\nNo parameters are required")[0]
        schema = {"type": "object",
                  "properties": {key: {"type": kind, "description": said}
                                 for key, kind, _, said in parameters},
                  "required": [key for key, _, need, _ in parameters if need == "required"]}
        found.append({"type": "function", "function": {
            "name": name, "description": about.strip(), "parameters": schema}})
    for text in TOOLS.findall(prompts) if not found else ():
        listed = _json_list(text)
        found += [one if "function" in one else {"type": "function", "function": one}
                  for one in listed if isinstance(one, dict)]
    return found or None


def _json_list(text: str) -> list:
    """Return the values of a JSON list, or of a JSON text a line."""
    try:
        value = json.loads(text)
        return value if isinstance(value, list) else [value]
    except (ValueError, RecursionError):
        return [*filter(None, map(_json_in, text.splitlines()))]
