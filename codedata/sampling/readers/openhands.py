"""Read what OpenHands leaves: events in one file, in a folder or in a row (`history`), those of
software-agent-sdk too, and logged completions (`llm_completions`).

A trajectory ends where its history was condensed. What microagents added to a message of the user
is not restored in old events.
"""
from __future__ import annotations

from codedata.messages import content_text, with_text
from codedata.sampling.readers.chat import begins_with

FORM = "OpenHands"
ACTS = ("run", "run_ipython", "read", "write", "edit", "browse")


def matches(document) -> bool:
    """Return whether a document has events, or is a logged completion."""
    if isinstance(document, dict):
        is_log = "messages" in document and isinstance(document.get("response"), dict)
        return is_log or _are_events(document.get("history"))
    return _are_events(document) and "timestamp" in document[0]


def read(document) -> dict:
    """Return the row; of a logged completion only the reply is a turn."""
    if isinstance(document, list):
        return _of_events(document)
    if "response" in document:
        return _of_completion(document)
    instance = document.get("instance") or {}
    return {**_of_events(document["history"]), "repo": instance.get("repo"),
            "instance_id": document.get("instance_id") or instance.get("instance_id")}


def _are_events(value) -> bool:
    return begins_with(value, "kind", "action", "observation")


def _of_completion(log: dict) -> dict:
    # where the model was shown tools as a text, the log has the calls beside it
    messages = log.get("fncall_messages") or log.get("raw_messages") or log["messages"]
    reply = (log.get("fncall_response") or log["response"])["choices"][0]["message"]
    return {"messages": [*messages, reply], "agent": FORM, "first_turn": len(messages),
            "tools": (log.get("kwargs") or {}).get("tools") or log.get("tools")}


def _of_events(events: list[dict]) -> dict:
    replies = {}   # by the id of the model's response: its calls are an event each
    messages = []
    tools = None
    for event in events:
        args = event.get("args") or event   # of the SDK there are none
        kind = event.get("kind") or event.get("action")
        if kind in ("Condensation", "condensation"):
            break
        if kind in ("SystemPromptEvent", "system"):
            tools = args.get("tools")
        message = (_sdk_message if "kind" in event else _old_message)(event, args, replies)
        messages += [message] if message else []
    return {"messages": messages, "tools": tools, "agent": FORM}


def _sdk_message(event: dict, _, replies: dict) -> dict | None:
    """Return the message that an event of software-agent-sdk adds, or None."""
    kind = event["kind"]
    if kind == "SystemPromptEvent":
        parts = [event.get(key) for key in ("system_prompt", "dynamic_context")]
        return {"role": "system", "content": [part for part in parts if part]}
    if kind == "MessageEvent":
        message = event["llm_message"]
        for part in event.get("extended_content") or ():
            message = with_text(message, part["text"])
        return message
    if kind == "ActionEvent":
        reply = replies.get(event["llm_response_id"])
        if reply:
            reply["tool_calls"].append(event["tool_call"])
            return None
        replies[event["llm_response_id"]] = {
            "role": "assistant", "content": event["thought"], "tool_calls": [event["tool_call"]],
            "reasoning_content": event.get("reasoning_content")}
        return replies[event["llm_response_id"]]
    seen = event.get("observation") or {"content": (
        event.get("error") or event.get("rejection_reason"))}
    return event.get("tool_call_id") and _result(event, seen, seen.get("metadata"))


def _old_message(event: dict, args: dict, replies: dict) -> dict | None:
    """Return the message that an event of OpenHands before the SDK adds, or None."""
    action = event.get("action")
    is_users = event.get("source") == "user"
    call = event.get("tool_call_metadata")
    if action in ACTS and not (call or is_users):
        raise ValueError("its actions have no tool_call_metadata, which came with 0.14")
    if action == "system" or (action == "message" and not call):
        role = "user" if is_users else "assistant"
        return {"role": role if action == "message" else action, "content": args["content"]}
    if not call:
        return None
    if not action:
        return _result(call, event, (event.get("extras") or {}).get("metadata"))
    response = call["model_response"]
    if response["id"] in replies:
        return None
    replies[response["id"]] = response["choices"][0]["message"]
    return replies[response["id"]]


def _result(call: dict, seen: dict, outcome: dict | None) -> dict:
    """Return a result as OpenHands shows it to the model: a command's ends with its outcome."""
    outcome = outcome or {}
    text = f"{outcome.get('prefix') or ''}{content_text(seen)}{outcome.get('suffix') or ''}"
    for key, words in (("working_dir", "Current working directory:"),
                       ("py_interpreter_path", "Python interpreter:"),
                       ("exit_code", "Command finished with exit code")):
        if outcome.get(key) not in (None, "", -1):
            text += f"\n[{words} {outcome[key]}]"
    return {"role": "tool", "content": text, "tool_call_id": call["tool_call_id"]}
