"""Read calls that a model wrote as text: Hermes' <tool_call>, <function=…> of SWE-agent and
OpenHands, and the JSON of Terminus.

If a conversation keeps to one of PROTOCOLS, its calls become calls of the chat API, and the next
user message becomes their result; if several calls have one output, the last call gets it. The
description of the protocol is removed from the prompts (DROPPED), even if the calls already have
the API's form, because models answer with calls of the API. A call that is cut off stays text, so
that its message is not a well-formed turn.
"""
from __future__ import annotations

import re
from collections.abc import Mapping

from codedata.llm.written_calls import functions_of, hermes, kinds_of, object_at, typed
from codedata.messages import content_text
from codedata.sampling.readers.chat import read_call
from codedata.texts import decoded

RESPONSE = re.compile(r"<tool_response>\n?(.*?)\n?(?:</tool_response>|\Z)", re.DOTALL)
TOOLS = re.compile(r"<tools>(.*?)(?:</tools>|\Z)", re.DOTALL)
DESCRIBED = re.compile(r"^---- BEGIN FUNCTION #\d+:\s(\S+) ----\nDescription: (.*?)"
                       r"(?:\n---- END FUNCTION|\Z)", re.DOTALL | re.MULTILINE)
# the head of a parameter, up to its description
DESCRIBED_PARAMETER = re.compile(
    r"^ {2}\(\d+\) (\S+) \((\w{1,50})[^()\n]{0,500}, (required|optional)\): ", re.MULTILINE)
# the end of a function's description
NO_TEXT = re.compile(r"\n(?:Parameters:|No parameters are required for this function\.)\s*\Z")
# marks of a text about a protocol in a prompt, in their order: the text is dropped from the first
# mark to the end of the last one
DROPPED = (
    ("You have access to the following functions:", "If you choose to call a function",
     "</IMPORTANT>"),
    ("Here's a running example of how to perform a task", "START OF EXAMPLE",
     "NEW TASK DESCRIPTION ---------------------\n"),
    ("--------------------- END OF NEW TASK DESCRIPTION", "ONE FUNCTION CALL PER MESSAGE."),
    ("# Tools\n\nYou may call one or more functions", "</tool_call> XML tags", "</tool_call>"),
    ("<tools>\n[", "]\n</tools>"),
    ("Format your response as JSON with the following structure:",
     "(defaults to 1.0 if not present)"),
    ("- Extra text before or after the JSON", "- The JSON must be valid", "taking action"),
)
TERMINUS = {"analysis", "plan"}, {"state_analysis", "explanation"}   # required keys by version


def with_calls(messages: list[dict], tools: list[dict] | None) -> tuple | None:
    """Return (the messages, with calls of the API instead of calls in texts; the tools; the new
    index of each message). Return None if the conversation has no calls and follows no protocol."""
    replies = [content_text(one) for one in messages if one["role"] == "assistant"]
    is_native = any(one.get("tool_calls") for one in messages)
    # a text that only mentions calls must not turn its conversation into one with calls
    read = next((read for read in PROTOCOLS if replies and not is_native and
                 2 * sum(read(text) is not None for text in replies) >= len(replies)), None)
    if not read and not is_native:
        return None
    n_prompts = next((i for i, one in enumerate(messages) if one["role"] == "assistant"), 0)
    tools = tools or _tools_in("\n".join(map(content_text, messages[:n_prompts])))
    functions = [one["function"] for one in tools or ()]
    kinds = kinds_of(functions if read is functions_of else [])
    made: list[dict] = []
    places = []
    n_waiting = 0
    for i, message in enumerate(messages):
        text = content_text(message)
        calls = read(text) if read and message["role"] == "assistant" else None
        if i < n_prompts:
            kept = _without_protocol(text)
            message = message if is_native and kept == text else {**message, "content": kept}
        elif calls:
            message = {**message, "content": calls[0],
                       "tool_calls": [_typed(call, kinds) for call in calls[1]]}
        elif n_waiting and message["role"] == "user":
            is_last = not any(RESPONSE.search(content_text(one)) for one in messages[i + 1:i + 2])
            results, rest = _results_in(text, n_waiting, is_last)
            n_waiting -= len(results)
            *earlier, message = [*({"role": "tool", "content": one} for one in results),
                                 *[{**message, "content": rest}] * bool(rest)]
            made += earlier
        places.append(len(made))
        made.append(message)
        if message["role"] == "assistant":
            n_waiting = len(calls[1]) if calls else 0
    return made, tools, places


def _results_in(text: str, n_waiting: int, is_last: bool) -> tuple[list[str], str]:
    """Return (the results of waiting calls in a user's message, the remaining text). In the last
    message with results, the calls without one get an empty result."""
    results, rest = RESPONSE.findall(text), RESPONSE.sub("", text).strip()
    if not 0 < len(results) <= n_waiting:
        results, rest = [text], ""
    return [""] * (is_last * (n_waiting - len(results))) + results, rest


def _terminus(text: str) -> tuple | None:
    start = text.find("{")
    reply, length = object_at(text[start:])
    commands = reply.get("commands")
    if not isinstance(commands, list) or not all(isinstance(one, dict) for one in commands):
        return None
    if not any(reply.keys() >= keys for keys in TERMINUS):   # the harness refused it
        return None
    calls = [{"name": "bash_command", "arguments": one} for one in commands]
    if reply.get("task_complete"):
        calls.append({"name": "mark_task_complete", "arguments": {}})
    said = [f"{key.capitalize()}: {value}" for key, value in reply.items()
            if value and isinstance(value, str)]
    before = re.sub(r"```\w*\s*\Z", "", text[:start]).strip()
    after = text[start + length:].strip().removeprefix("```").strip()
    return ("\n".join(filter(None, [before, *said, after])), calls) if calls else None


# each reader returns (a text without its calls, the calls), or None if no call can be read
PROTOCOLS = (hermes, functions_of, _terminus)


def _typed(call: dict, kinds: Mapping) -> dict:
    """Return a call of the chat API. `kinds` are the types of text arguments by (tool, argument);
    arguments of the types in DECODED are parsed as JSON."""
    return read_call({"name": call["name"], "arguments": typed(call, kinds)}, {})


def _without_protocol(text: str) -> str:
    """Return a prompt without the parts that DROPPED marks; the marks are removed, too."""
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
    for text in TOOLS.findall(prompts):
        for line in dict.fromkeys(map(str.strip, [text, *text.splitlines()])):
            value = decoded(line)
            some = value if isinstance(value, list) else [value]
            found += [one for one in some if isinstance(one, dict) and "type" in one]
    for name, text in DESCRIBED.findall(prompts):
        about, *parts = DESCRIBED_PARAMETER.split(text)
        parameters = [*zip(*[iter(parts)] * 4, strict=True)]
        schema = {"type": "object",
                  "properties": {key: {"type": kind, "description": said.strip()}
                                 for key, kind, _, said in parameters},
                  "required": [key for key, _, need, _ in parameters if need == "required"]}
        found.append({"name": name, "description": NO_TEXT.sub("", about).strip(),
                      "parameters": schema})
    return [one if "function" in one else {"type": "function", "function": one}
            for one in found] or None
