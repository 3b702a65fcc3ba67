"""Read tool calls that a server without the model's parser leaves in the text of a reply.

The forms are Hermes' <tool_call>, <function=…> of Qwen, SWE-agent and OpenHands, and Kimi's
<|tool_call_begin|>.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from codedata.disk.store import digest
from codedata.texts import decoded

# the beginning of a call in a text
MARK = re.compile(r"<tool_call>|<function=|<\|tool_call_begin\|>")
HERMES = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
# FUNCTION and PARAMETER: groups are the name, the enclosed text, and the end (missing if cut off)
FUNCTION = re.compile(r"<function=([^>\n]{1,64})>(.*?)(</function>|\Z)", re.DOTALL)
PARAMETER = re.compile(r"<parameter=([^>\n]{1,64})>(.*?)(</parameter>|\Z)", re.DOTALL)
KIMI = re.compile(r"(?:<\|tool_calls_section_begin\|>)?<\|tool_call_begin\|>\s*(?:functions\.)?"
                  r"([^:<\s]{1,64})\S{0,9}\s*<\|tool_call_argument_begin\|>(.*?)"
                  r"(?:<\|tool_call_end\|>(?:<\|tool_calls_section_end\|>)?|\Z)", re.DOTALL)
# types of arguments that are parsed as JSON
DECODED = ("number", "integer", "boolean", "array", "object")


def written_calls(text: str, tools: list[dict], seed: str) -> tuple | None:
    """Return (the text before the calls, the calls in the form of the chat API) of a reply that
    ends with calls of `tools`. Return None for other replies, such as one that shows a call in a
    block of code. The ids depend only on the `seed`, so that a kept reply has the same ones each
    time it is read."""
    functions = {one.get("name"): one for one in (tool.get("function") or tool for tool in tools)}
    kinds = kinds_of(functions.values())
    for read in (hermes, functions_of, _kimi):
        before, calls = read(text) or ("", ())
        is_end = text.lstrip().startswith(before) and before.count("```") % 2 == 0
        if calls and is_end and all(call["name"] in functions and isinstance(
                call.get("arguments"), dict) for call in calls):
            return before, [{
                "id": f"call_{digest([seed, i])[:8]}", "type": "function", "function": {
                    "name": call["name"], "arguments": json.dumps(
                        typed(call, kinds), ensure_ascii=False)}} for i, call in enumerate(calls)]
    return None


def kinds_of(functions: Iterable[dict]) -> dict[tuple[str, str], object]:
    """Return {(function, argument): its type in the function's definition, or None}."""
    return {(one["name"], key): part.get("type") for one in functions
            for key, part in ((one.get("parameters") or {}).get("properties") or {}).items()
            if isinstance(part, dict)}


def typed(call: dict, kinds: Mapping):
    """Return a call's arguments; parse texts as JSON if their argument's kind is in DECODED."""
    arguments = call.get("arguments") or {}
    return {key: decoded(value) if kinds.get((call["name"], key)) in DECODED else value
            for key, value in arguments.items()} if isinstance(arguments, dict) else arguments


# each reader returns (a text without its calls, the calls), or None if no call can be read

def hermes(text: str) -> tuple | None:
    """Read the form <tool_call>{"name": …, "arguments": …}</tool_call>."""
    found = [object_at(body.strip())[0] for body in HERMES.findall(text)]
    if not found or not all(isinstance(call.get("name"), str) for call in found):
        return None
    return HERMES.sub("", text).strip(), found


def functions_of(text: str) -> tuple | None:
    """Read the form <function=NAME><parameter=NAME>…</parameter></function>. Values are texts."""
    calls = []
    for name, body, end in FUNCTION.findall(text):
        if not end:
            return None
        arguments, _ = object_at(body.strip())
        if not arguments:
            parameters = PARAMETER.findall(body)
            if PARAMETER.sub("", body).strip() or not all(end for *_, end in parameters):
                return None
            arguments = {key: value.removeprefix("\n").removesuffix("\n")
                         for key, value, _ in parameters}
        calls.append({"name": name, "arguments": arguments})
    text = re.sub(r"</?tool_call>", "", FUNCTION.sub("", text))
    return (text.strip(), calls) if calls else None


def _kimi(text: str) -> tuple | None:
    calls = [{"name": name, "arguments": decoded(arguments)}
             for name, arguments in KIMI.findall(text)]
    return KIMI.sub("", text).strip(), calls


def object_at(text: str) -> tuple[dict, int]:
    """Return (the JSON object at the start of a text, the index of its end), or ({}, 0)."""
    try:
        value, end = json.JSONDecoder(strict=False).raw_decode(text)
    except (ValueError, RecursionError):
        return {}, 0
    return (value, end) if isinstance(value, dict) else ({}, 0)
