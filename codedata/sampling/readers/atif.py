"""Read trajectory.json of Harbor: the Agent Trajectory Interchange Format (ATIF) of any agent.

System steps after the first step of another source are remarks of the harness, which the agent did
not see. They are left out. A trajectory ends at a system step that names subagents, which
summarized the history: their files continue the trajectory. Outputs that name no call belong to the
last calls of their step that have no output.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence

FORM = "ATIF"


def matches(document) -> bool:
    """Return whether an object is a trajectory of ATIF."""
    return isinstance(document, dict) and document.keys() >= {"steps", "agent"}


def read(document: dict) -> dict:
    """Return the row, with the rows of the subagents that the document embeds."""
    row, *subagents = map(_trajectory, _embedded(document))
    return {**row, "subagents": subagents}


def _embedded(document: dict) -> Iterator[dict]:
    """Yield a trajectory and, recursively, the trajectories of its subagents."""
    yield document
    for one in document.get("subagent_trajectories") or ():
        yield from _embedded(one)


def _trajectory(document: dict) -> dict:
    """Return the row of one trajectory. Steps copied from an earlier file, and steps that no model
    wrote, are not turns."""
    agent, extra = document["agent"], document.get("extra") or {}
    if extra.get("text_from"):   # solve.py writes AgentResult.text_from there
        raise ValueError("its earlier calls were rewritten as texts")
    messages = []
    no_turns = set()
    n_copied = 0
    is_cut = False
    for step in document["steps"]:
        role = step["source"]
        results = (step.get("observation") or {}).get("results") or ()
        if role == "system" and messages and messages[-1]["role"] != "system":
            if any(one.get("subagent_trajectory_ref") for one in results):
                is_cut = True
                break
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
            "is_cut": is_cut, "instance_id": extra.get("instance_id"), "repo": extra.get("repo")}


def _seen(call_ids: list[str], results: Sequence[dict]) -> Iterator[dict]:
    """Yield the messages that show the results of a step with these calls."""
    found = [(result.get("source_call_id"), result.get("content") or "") for result in results]
    names = [name for name, _ in found]
    known = {*names}
    waiting = [call_id for call_id in call_ids if call_id not in known]
    n_silent = len(waiting) - names.count(None) if None in known else 0
    left = iter(waiting)
    for name, text in [(None, "")] * n_silent + found:
        call_id = name or next(left, None)   # None: the command was text
        if call_id or text:
            yield {"role": "tool" if call_id else "user", "tool_call_id": call_id, "content": text}
