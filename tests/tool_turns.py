"""Write turns of an agent that calls tools, as report.py leaves them.

    write_tool_turn(root, "t_1", "defeat", 10, king=calls(command="ls"))
"""
import json
from pathlib import Path

from root import SYSTEM, read_json, words

EDITOR = "str_replace_editor"
TOOLS = [{"type": "function", "function": {
    "name": name, "description": f"The tool {name}", "parameters": {
        "type": "object", "properties": {"command": {"type": "string"}},
        "required": ["command"]}}} for name in ("bash", EDITOR)]


def call(name: str, arguments, id: str = "c1") -> dict:
    """Return a call of a tool; its arguments are an object, or the text of one."""
    arguments = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def arguments_of(call: dict) -> dict:
    return json.loads(call["function"]["arguments"])


def asks(*calls, text: str = "I look.") -> dict:
    """Return a turn with these calls."""
    return {"role": "assistant", "content": text, "tool_calls": [*calls]}


def result(id: str, text: str) -> dict:
    """Return the message with the result of a call."""
    return {"role": "tool", "tool_call_id": id, "content": text}


# a history with calls of another model
FOREIGN = [{"role": "user", "content": "Fix it."},
           asks(call("bash", {"command": "ls"}, "call_of_another"),
                call("bash", {"command": "pwd"}, "functions.bash:1")),
           result("call_of_another", "a.py"), result("functions.bash:1", "/src")]


def calls(name: str = "bash", thought: str = "I look.", id: str = "call_9", **arguments) -> dict:
    """Return a turn with one call of a tool."""
    return asks(call(name, arguments, id), text=thought)


def both(seed: str) -> dict:
    """Return a turn that looks and edits."""
    turn = edits(seed)
    return asks(call("bash", {"command": "ls"}, "call_8"), *turn["tool_calls"],
                text=turn["content"])


def edits(seed: str) -> dict:
    """Return a turn that edits a file."""
    old, new = words(f"{seed} old", 9), words(f"{seed} new", 9)
    return calls(EDITOR, words(f"{seed} why"), command="str_replace", path="/a.py",
                 old_str=old, new_str=new)


def tool_history(seed: str, seen: str = "") -> list[dict]:
    """Return a history with thinking apart, a call without text, and a message with two calls."""
    both = calls("bash", words(f"{seed} two"), "b", command="pwd")
    both["tool_calls"].append(call(EDITOR, {"command": "view", "path": "/a.py"}, "c"))
    return [{"role": "system", "content": SYSTEM},
            {"role": "user", "content": [{"type": "text", "text": f"Issue: {words(seed)}"}]},
            {**calls(thought="", id="a", command="ls"), "reasoning_content": f"why {seed}"},
            result("a", seen), both, result("b", words(f"{seed} seen")), result("c", "1\tx")]


def write_tool_turn(root: Path, name: str, *args, **fields) -> dict:
    """Write a turn with tool calls into a bucket."""
    fields = {"messages": tool_history(name), "tools": TOOLS, "challenger": edits(name),
              "king": calls(thought=words(f"{name} king"), command=f"ls {name}"),
              "assistant": {**calls(command="make"), "reasoning_content": "It builds."}, **fields}
    return read_json(root.with_turn(name, *args, **fields) / f"{(*args, 'final')[0]}/{name}.json")


def a_run(task: int, seed: str, did: str = "", **outcome) -> dict:
    """Return a row in which an agent with tools acts twice."""
    acts = [calls(thought=words(f"{seed} {k}"), id=f"c{k}",
                  command=did or words(f"{seed} do {k}")) for k in range(2)]
    messages = [{"role": "system", "content": "rules"}, {"role": "user", "content": f"task {task}"},
                acts[0], result("c0", "ok 0"), acts[1], result("c1", "ok 1")]
    return {"instance_id": f"own__repo-{task}", "repo": f"own/repo{task}", "tools": TOOLS,
            "messages": messages, **outcome}
