"""Read trajectory.json of Harbor: the Agent Trajectory Interchange Format (ATIF) of any agent.

Steps of the system after the first step of another source are remarks of the harness, which the
agent did not see. They are left out.
"""
from __future__ import annotations

FORM = "ATIF"


def matches(document) -> bool:
    """Return whether an object is a trajectory of ATIF."""
    return isinstance(document, dict) and document.keys() >= {"steps", "agent"}


def read(document: dict) -> dict:
    """Return the row. Steps that were copied from an earlier file are not turns."""
    agent = document["agent"]
    messages = []
    first_turn = 0
    for step in document["steps"]:
        role = step["source"]
        if role == "system" and any(message["role"] != "system" for message in messages):
            continue
        calls = [{"id": call["tool_call_id"], "name": call["function_name"],
                  "arguments": call["arguments"]} for call in step.get("tool_calls") or ()]
        messages.append({"role": role, "content": step.get("message") or "", "tool_calls": calls,
                         "reasoning_content": step.get("reasoning_content")})
        for result in (step.get("observation") or {}).get("results") or ():
            if result.get("content"):
                call_id = result.get("source_call_id")   # none: the command was text
                messages.append({"role": "tool" if call_id else "user", "tool_call_id": call_id,
                                 "content": result["content"]})
        if step.get("is_copied_context"):
            first_turn = len(messages)
    return {"messages": messages, "tools": agent.get("tool_definitions"),
            "agent": f"{FORM}: {agent.get('name')}", "first_turn": first_turn}
