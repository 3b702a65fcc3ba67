"""Read trajectory.json of Harbor: the Agent Trajectory Interchange Format (ATIF) of any agent.

Steps of the system after the first step of another source are remarks of the harness, which the
agent did not see. They are left out. A trajectory ends at one that names subagents: they summarized
the history, and their files have what the model saw from there on. An output that names no call
answers the calls of its step that have none: of several, the last.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

FORM = "ATIF"


def matches(document) -> bool:
    """Return whether an object is a trajectory of ATIF."""
    return isinstance(document, dict) and document.keys() >= {"steps", "agent"}


def read(document: dict) -> dict:
    """Return the row, with those of the subagents that the document embeds."""
    row, *subagents = map(_trajectory, _embedded(document))
    return {**row, "subagents": subagents}


def _embedded(document: dict) -> Iterator[dict]:
    """Yield a trajectory and those of its subagents, and of theirs."""
    yield document
    for one in document.get("subagent_trajectories") or ():
        yield from _embedded(one)


def _trajectory(document: dict) -> dict:
    """Return the row of one trajectory. Steps that were copied from an earlier file, and those that
    no model wrote, are not turns."""
    agent = document["agent"]
    messages = []
    no_turns = set()
    n_copied = 0
    summaries = []
    for step in document["steps"]:
        role = step["source"]
        results = (step.get("observation") or {}).get("results") or ()
        if role == "system" and messages and messages[-1]["role"] != "system":
            if any(one.get("subagent_trajectory_ref") for one in results):
                summaries.append(len(messages))
            continue
        calls = [{"id": call["tool_call_id"], "name": call["function_name"],
                  "arguments": call["arguments"]} for call in step.get("tool_calls") or ()]
        if step.get("llm_call_count") == 0:
            no_turns.add(len(messages))
        messages.append({"role": role, "content": step.get("message") or "", "tool_calls": calls,
                         "reasoning_content": step.get("reasoning_content")})
        messages += _seen([call["id"] for call in calls], results)
        if step.get("is_copied_context"):
            n_copied = len(messages)
    no_turns.update(range(n_copied))
    return {"messages": messages, "tools": agent.get("tool_definitions"),
            "agent": f"{FORM}: {agent.get('name')}", "no_turns": no_turns,
            "summaries": summaries}


def _seen(call_ids: list[str], results: Sequence[dict]) -> Iterator[dict]:
    """Yield the messages that show the results of a step with these calls."""
    named = [result.get("source_call_id") for result in results]
    all_named = set(named)
    waiting = deque(call_id for call_id in call_ids if call_id not in all_named)
    n_silent = len(waiting) - named.count(None) if None in all_named else 0
    for _ in range(n_silent):
        yield {"role": "tool", "tool_call_id": waiting.popleft(), "content": ""}
    for result, name in zip(results, named, strict=True):
        call_id = name or (waiting.popleft() if waiting else None)   # none: the command was text
        text = result.get("content") or ""
        if call_id or text:
            yield {"role": "tool" if call_id else "user", "tool_call_id": call_id, "content": text}
