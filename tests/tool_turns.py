"""Write turns of an agent that calls tools, as report.py leaves them.

    write_tool_turn(root, "t_1", "defeat", 10, king=calls("bash", command="ls"))
"""
from __future__ import annotations

import json
from pathlib import Path

from judged import SYSTEM, words, write_turn


def tool(name: str, *required: str) -> dict:
    """Return the definition of a tool whose arguments are texts."""
    properties = {argument: {"type": "string"} for argument in required}
    return {"type": "function", "function": {
        "name": name, "description": f"The tool {name}", "parameters": {
            "type": "object", "properties": properties, "required": [*required]}}}


TOOLS = [tool("bash", "command"), tool("str_replace_editor", "command", "path")]


def calls(name: str = "bash", thought: str = "I look.", id: str = "call_9", **arguments) -> dict:
    """Return a turn with one call of a tool."""
    call = {"id": id, "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)}}
    return {"role": "assistant", "content": thought, "tool_calls": [call]}


def result(text: str, id: str) -> dict:
    return {"role": "tool", "content": text, "tool_call_id": id}


def edits(seed: str) -> dict:
    """Return a turn that edits a file."""
    return calls("str_replace_editor", words(f"{seed} why"), command="str_replace", path="/a.py",
                 old_str=words(f"{seed} old", 9), new_str=words(f"{seed} new", 9))


def tool_history(seed: str) -> list[dict]:
    """Return a thought apart with a call without text, and a message with two calls."""
    both = calls("bash", words(f"{seed} two"), "b", command="pwd")
    both["tool_calls"] += calls("str_replace_editor", "", "c", command="view",
                                path="/a.py")["tool_calls"]
    return [{"role": "system", "content": SYSTEM},
            {"role": "user", "content": [{"type": "text", "text": f"Issue: {words(seed)}"}]},
            {**calls(thought="", id="a", command="ls"), "reasoning_content": f"why {seed}"},
            result("", "a"), both, result(words(f"{seed} seen"), "b"), result("1\tx", "c")]


def write_tool_turn(root: Path, name: str, *args, **fields) -> dict:
    """Write a turn with tool calls into a bucket."""
    sides = {"king": calls(thought=words(f"{name} king"), command=f"ls {name}"),
             "challenger": edits(name), "assistant": {
                 **calls(thought="", command="make"), "reasoning_content": "It should build."}}
    return write_turn(root, name, *args,
                      **{"messages": tool_history(name), "tools": TOOLS, **sides, **fields})
