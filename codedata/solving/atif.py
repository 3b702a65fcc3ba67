"""Write an agent's run as a trajectory in ATIF 1.8, the form of Harbor (docs/solve.md)."""
from __future__ import annotations

import json

import codedata
from codedata.agent import AgentResult
from codedata.messages import content_text
from codedata.records import Object

VERSION = "ATIF-v1.8"
SOURCES = {"system": "system", "user": "user", "assistant": "agent"}


def atif_of(result: AgentResult, session: str, agent: str, model: str, extra: Object) -> Object:
    """Return the trajectory of a run. The result of a call stands with the step that made it."""
    steps: list[Object] = []
    for message in result.messages:
        text = content_text(message)
        if message["role"] == "tool":
            results = steps[-1].setdefault("observation", {"results": []})["results"]
            results.append({"source_call_id": message["tool_call_id"], "content": text})
            continue
        step = {"step_id": len(steps) + 1, "source": SOURCES[message["role"]], "message": text}
        if reasoning := message.get("reasoning_content"):
            step["reasoning_content"] = reasoning
        if calls := message.get("tool_calls"):
            step["tool_calls"] = [
                {"tool_call_id": call["id"], "function_name": call["function"]["name"],
                 "arguments": json.loads(call["function"]["arguments"])} for call in calls]
        steps.append(step)
    usage = result.usage
    metrics = {"total_prompt_tokens": usage["tokens_in"],
               "total_completion_tokens": usage["tokens_out"],
               "total_cost_usd": usage["cost_usd"], "total_steps": len(steps)}
    tools = {"tool_definitions": result.tools} if result.tools else {}
    models = {"model_name": model} if model else {}
    return {"schema_version": VERSION, "session_id": session, "steps": steps,
            "agent": {"name": agent, "version": codedata.__version__, **models, **tools},
            "final_metrics": {key: value for key, value in metrics.items() if value is not None},
            "extra": extra}
