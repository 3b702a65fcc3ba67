"""Convert the messages of trajectory files to the form of the chat API."""
from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping

from codedata.conversation.turn import TAG, split_thinking
from codedata.messages import content_text
from codedata.texts import decoded

ROLES = {"system": "system", "developer": "system", "user": "user", "human": "user",
         "assistant": "assistant", "agent": "assistant", "gpt": "assistant", "ai": "assistant",
         "tool": "tool", "observation": "tool"}
# keys of a message's text: in the chat API, in ShareGPT, and in the SWE-agent rows of nebius
TEXTS = ("content", "value", "text", "system_prompt")
CLEARED = "[Old tool result content cleared]"   # in Claude Code and opencode


def read_message(raw: dict, required: Mapping[str, list]) -> dict:
    """Return a message with only the keys of the chat API. Thinking within its text becomes its
    reasoning. `required` has the arguments of each tool that are kept even if null.

    Raise ValueError if its role is not in ROLES, or if it has neither a text nor a call.
    """
    role = raw.get("role", raw.get("from"))
    if role not in ROLES:
        raise ValueError(f"a message has the role {role!r}")
    content = first(raw, *TEXTS)
    calls = [*(decoded(raw.get("tool_calls")) or ())]
    thoughts = [*(raw.get("thinking_blocks") or ())]
    if isinstance(content, list):
        parts = []
        for block in content:
            kind = block.get("type")
            if kind in ("tool_use", "toolCall"):
                calls.append(block)
            elif kind in ("thinking", "redacted_thinking", "think", "reasoning"):
                thoughts.append(block)
            else:
                text = block.get("text")
                # e.g. an image, or a tool that was looked up
                text = f"[{block.get('tool_name') or kind}]" if text is None else text
                parts.append({"type": "text", "text": text})
        content = parts or ""
    inline = ""
    if ROLES[role] == "assistant" and isinstance(content, (str, list)):
        text = content_text({"content": content}).strip()
        rest, within = split_thinking(text)
        if within:
            inline, content = TAG.sub("", within).strip(), rest
    call_ids = dict.fromkeys([raw.get("tool_call_id"), *(raw.get("tool_call_ids") or ())])
    thoughts = filter(None, [first(one, "thinking", "think", "text") for one in thoughts])
    optional = {
        "reasoning_content": first(raw, "reasoning_content", "reasoning") or (
            "\n\n".join(thoughts)) or inline,
        "tool_calls": [read_call(call, required) for call in calls],
        "tool_call_id": next(filter(None, call_ids), None) if role == "tool" else None}
    if not isinstance(content, (str, list)) and (content or not calls):
        raise ValueError("a message has no text")
    return {"role": ROLES[role], "content": content,
            **{key: value for key, value in optional.items() if value}}


def with_ids(messages: list[dict]) -> list[dict]:
    """Return messages with an id for each call, and in each result the id of its call. Results
    without an id belong to the calls before them, in the same order.
    """
    waiting = OrderedDict()   # ids of calls without a result
    for i, message in enumerate(messages):
        for k, call in enumerate(message.get("tool_calls", ())):
            call["id"] = call["id"] or f"call_{i}_{k}"
        if message["role"] == "assistant":
            waiting = OrderedDict.fromkeys(call["id"] for call in message.get("tool_calls", ()))
        elif message["role"] == "tool" and waiting:
            waiting.pop(message.setdefault("tool_call_id", next(iter(waiting))), None)
    return messages


def unseen_in(lines: list[list], parents: Mapping) -> Callable[[int], set[int]] | None:
    """Return a function from the index of a message to the indexes of earlier messages on other
    branches. Return None if there is only one branch.

    `lines` are the ids of each message's lines, `parents` the line before each line, or None. If
    that line is missing, the history is unknown: all earlier messages are returned, and the turn is
    refused. Raise TypeError if an id is a list or an object.
    """
    hash(tuple(parents.values()))

    def of_others(i: int) -> set[int]:
        chain = set()
        line = lines[i][0]
        while line in parents and line not in chain:
            chain.add(line)
            line = parents[line]
        if line is not None:   # the chain breaks off at a missing line
            return {*range(i)}
        return {k for k, ids in enumerate(lines[:i]) if chain.isdisjoint(ids)}

    return of_others if lines and of_others(len(lines) - 1) else None


def split_results(message: dict) -> list[dict]:
    """Return a message of Anthropic's API as messages: its results, then the rest of it."""
    blocks = message["content"] if isinstance(message.get("content"), list) else []
    results = [{"role": "tool", "tool_call_id": block["tool_use_id"],
                "content": block.get("content") or ""}
               for block in blocks if block.get("type") == "tool_result"]
    rest = [block for block in blocks if block.get("type") != "tool_result"]
    return results + ([{**message, "content": rest}] if rest else []) if results else [message]


def with_cleared(row: dict, cleared: Mapping[int, int]) -> dict:
    """Return a row whose later turns see CLEARED in place of some results. `cleared` has, for the
    index of a result, the index of the first message after the change.

    Each such result is in the messages twice; every turn sees one of them.
    """
    if not cleared:
        return row
    # (index in the old messages, whether it is the changed copy)
    places = [(i, is_new) for i in range(len(row["messages"]))
              for is_new in (False, True)[:1 + (i in cleared)]]
    others = row.get("unseen")

    def unseen(k: int) -> set[int]:
        turn = places[k][0]
        hidden = others(turn) if others else ()
        return {n for n, (i, is_new) in enumerate(places[:k]) if i in hidden or (
            i in cleared and is_new != (cleared[i] <= turn))}

    return {**row, "unseen": unseen, "messages": [
        {**row["messages"][i], **({"content": CLEARED} if is_new else {})}
        for i, is_new in places], "no_turns": {
            k for k, (i, _) in enumerate(places) if i in row["no_turns"]}}


def half_answered(messages: list[dict]) -> set[int]:
    """Return the indexes of the messages with several calls but fewer results. In formats with one
    call per line, these may have been separate messages.
    """
    return {i for i, message in enumerate(messages)
            if (n := len(message.get("tool_calls") or ())) > 1
            and [one["role"] for one in messages[i + 1:i + 1 + n]] != ["tool"] * n}


def distinct(values: list) -> list:
    """Return JSON values in order, without duplicates."""
    return [*{json.dumps(value, sort_keys=True): value for value in values}.values()]


def read_tools(tools) -> list[dict] | None:
    """Return the definitions of tools, given as objects or as JSON text; None if there are none or
    one is not in the form of the chat API. Raise TypeError, KeyError or AttributeError if a part
    has the wrong type.
    """
    tools = [*map(_chat_tool, map(decoded, decoded(tools) or ()))]
    if not (tools and all("function" in tool for tool in tools)):
        return None
    tools = _without_nulls(tools)
    for tool in tools:
        schema = tool["function"].get("parameters") or {}
        _check_names(tool["function"]["name"], *schema.get("required") or (),
                     *schema.get("properties", {}).keys())
    return tools


def _chat_tool(tool):
    """Return a definition of Anthropic's or the Responses API in the form of the chat API."""
    if not (isinstance(tool, dict) and "name" in tool and tool.keys() & {
            "input_schema", "parameters"}):
        return tool
    return {"type": "function", "function": {
        "name": tool["name"], "description": tool.get("description") or "",
        "parameters": first(tool, "input_schema", "parameters")}}


def begins_with(value, *keys: str) -> bool:
    """Return whether a value is a list that begins with an object with one of these keys."""
    first = value[0] if value and isinstance(value, list) else None
    return isinstance(first, dict) and any(key in first for key in keys)


def is_conversation(value) -> bool:
    """Return whether a value is a list that begins with a message."""
    return begins_with(value, "role", "from")


def first(raw: dict, *keys: str):
    """Return the value of the first key that has one, or None."""
    return next((raw[key] for key in keys if raw.get(key) is not None), None)


def _check_names(*names) -> None:
    """Raise TypeError if a name is not a text."""
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"{names!r} should be names")


def read_call(call: dict, required: Mapping[str, list]) -> dict:
    """Return a call in the form of the chat API, with its arguments as JSON text."""
    function = call.get("function") or call
    _check_names(function["name"])
    arguments = first(function, "arguments", "input") or {}
    if not isinstance(arguments, str):
        arguments = _without_nulls(arguments, required.get(function["name"]) or ())
        arguments = json.dumps(arguments, ensure_ascii=False)
    return {"id": call.get("id") or "", "type": "function",
            "function": {"name": function["name"], "arguments": arguments}}


def _without_nulls(value, kept: Collection[str] = ()):
    """Return a value without null keys, except `kept` in the outermost object. Arrow adds such
    keys: it gives each object of a column the keys of all others."""
    if isinstance(value, list):
        return [*map(_without_nulls, value)]
    if not isinstance(value, dict):
        return value
    return {key: _without_nulls(part) for key, part in value.items()
            if part is not None or key in kept}
