"""Read trajectory.json of Harbor: the Agent Trajectory Interchange Format (ATIF) of any agent.

Steps of the system that come after the first of another source are remarks of the harness, which no
agent saw.
"""
from __future__ import annotations

from codedata.sampling.readers.chat import (
    add_calls,
    plain_text,
    read_message,
    tool_call,
    tool_result,
)

FORM = "ATIF"
ROLES = {"system": "system", "user": "user", "agent": "assistant"}


def matches(document) -> bool:
    """Return whether an object is a trajectory of ATIF."""
    return isinstance(document, dict) and isinstance(document.get("steps"), list) and (
        isinstance(document.get("agent"), dict))


def read(document: dict) -> dict:
    """Return the row; steps that were copied from an earlier file are no turns."""
    agent = document["agent"]
    messages = []
    first_turn = 0
    for step in document["steps"]:
        role = ROLES[step["source"]]
        if role == "system" and any(message["role"] != "system" for message in messages):
            continue
        message = read_message({"role": role, "content": step.get("message") or "",
                                "reasoning_content": step.get("reasoning_content")})
        add_calls(message, *(tool_call(call["tool_call_id"], call["function_name"],
                                       call["arguments"])
                             for call in step.get("tool_calls") or ()))
        messages += [message, *_results(step)]
        if step.get("is_copied_context"):
            first_turn = len(messages)
    return {"messages": messages, "tools": agent.get("tool_definitions"),
            "agent": f"{FORM}: {agent.get('name')}", "first_turn": first_turn}


def _results(step: dict) -> list[dict]:
    """Return the results of a step: of its calls, or of what its text said."""
    results = (step.get("observation") or {}).get("results") or []
    return [tool_result(result["source_call_id"], result["content"])
            if result.get("source_call_id")
            else {"role": "user", "content": plain_text(result["content"])}
            for result in results if result.get("content")]
