"""Write turns of an agent that calls tools, as report.py leaves them.

    write_tool_turn(root, "t_1", "defeat", 10, king=calls(command="ls"))
"""
from __future__ import annotations

import json
from pathlib import Path

from judged import SYSTEM, words, write_turn

EDITOR = "str_replace_editor"
TOOLS = [{"type": "function", "function": {
    "name": name, "description": f"The tool {name}", "parameters": {
        "type": "object", "properties": {"command": {"type": "string"}},
        "required": ["command"]}}} for name in ("bash", EDITOR)]


def calls(name: str = "bash", thought: str = "I look.", id: str = "call_9", **arguments) -> dict:
    """Return a turn with one call of a tool."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"role": "assistant", "content": thought,
            "tool_calls": [{"id": id, "type": "function", "function": function}]}


def both(seed: str) -> dict:
    """Return a turn that looks and edits."""
    turn = edits(seed)
    return {**turn, "tool_calls": calls(id="call_8", command="ls")["tool_calls"]
            + turn["tool_calls"]}


def edits(seed: str) -> dict:
    """Return a turn that edits a file."""
    old, new = words(f"{seed} old", 9), words(f"{seed} new", 9)
    return calls(EDITOR, words(f"{seed} why"), command="str_replace", path="/a.py",
                 old_str=old, new_str=new)


def tool_history(seed: str, seen: str = "") -> list[dict]:
    """Return a history with thinking apart, a call without text, and a message with two calls."""
    both = calls("bash", words(f"{seed} two"), "b", command="pwd")
    both["tool_calls"] += calls(EDITOR, "", "c", command="view", path="/a.py")["tool_calls"]
    results = [{"role": "tool", "content": text, "tool_call_id": id} for text, id in (
        (seen, "a"), (words(f"{seed} seen"), "b"), ("1\tx", "c"))]
    return [{"role": "system", "content": SYSTEM},
            {"role": "user", "content": [{"type": "text", "text": f"Issue: {words(seed)}"}]},
            {**calls(thought="", id="a", command="ls"), "reasoning_content": f"why {seed}"},
            results[0], both, *results[1:]]


def write_tool_turn(root: Path, name: str, *args, **fields) -> dict:
    """Write a turn with tool calls into a bucket."""
    fields = {"messages": tool_history(name), "tools": TOOLS, "challenger": edits(name),
              "king": calls(thought=words(f"{name} king"), command=f"ls {name}"),
              "assistant": {**calls(command="make"), "reasoning_content": "It builds."}, **fields}
    return write_turn(root, name, *args, **fields)


def a_run(task: int, seed: str, did: str = "", **outcome) -> dict:
    """Return a row in which an agent with tools acts twice."""
    messages = [{"role": "system", "content": "rules"}, {"role": "user", "content": f"task {task}"}]
    for k in range(2):
        command = did or words(f"{seed} do {k}")
        messages += [calls(thought=words(f"{seed} {k}"), id=f"c{k}", command=command),
                     {"role": "tool", "tool_call_id": f"c{k}", "content": f"ok {k}"}]
    return {"instance_id": f"own__repo-{task}", "repo": f"own/repo{task}", "tools": TOOLS,
            "messages": messages, **outcome}
