"""Read the files of OpenHands and its software-agent-sdk: events in one file, in a folder or in a
row (`history`), and logged completions (`llm_completions`).

A trajectory ends where its history was condensed. Missing: the texts that microagents added to a
user's message, which old events lack, and the commands that a user ran in the agent's terminal.
"""
from __future__ import annotations

from codedata.messages import content_text
from codedata.sampling.readers.chat import begins_with, distinct, unseen_in

FORM = "OpenHands"
OF_EVENTS = ("kind", "action", "observation")
ACTS = ("run", "run_ipython", "read", "write", "edit", "browse")
# {key of a command's metadata: label of its value after the command's output}
OUTCOME = {"working_dir": "Current working directory:",
           "py_interpreter_path": "Python interpreter:",
           "exit_code": "Command finished with exit code"}
# what the model reads at the end of an old observation, by its kind
ENDS = {"error": "\n[Error occurred in processing last action]",
        "user_rejected": "\n[Last action has been rejected by the user]"}


def matches(document) -> bool:
    """Return whether a document has events, or is a logged completion."""
    is_row = isinstance(document, dict)
    return begins_with(document.get("history") if is_row else document, *OF_EVENTS) or (
        is_row and document.keys() >= {"messages", "response", "kwargs"})


def read(document) -> dict:
    """Return the row. In a logged completion, only the reply is a turn."""
    if isinstance(document, list):
        return _of_events(document)
    if "response" in document:
        return _of_completion(document)
    instance = document.get("instance") or {}
    return {**_of_events(document["history"]), "repo": instance.get("repo"),
            "instance_id": document.get("instance_id") or instance.get("instance_id")}


def _of_completion(log: dict) -> dict:
    """Return the row of a logged completion."""
    # if the model was sent its tools as text, the log has the messages with calls under other keys
    messages = log.get("fncall_messages") or log.get("raw_messages") or log["messages"]
    choice = (log.get("fncall_response") or log["response"])["choices"][0]
    is_cut_off = choice.get("finish_reason") == "length"
    return {"messages": [*messages, choice["message"]], "agent": FORM,
            "no_turns": range(len(messages) + is_cut_off),
            "tools": log["kwargs"].get("tools") or log.get("tools")}


def _of_events(events: list[dict]) -> dict:
    """Return the row of a list of events."""
    # {id of the model's response, or a number: message}: each call of a response is an event
    messages: dict = {}
    lines: dict = {}     # ids of the events of each message
    parents: dict = {}   # {event: the event before it, or the event that the user went back to}
    tools = last = None
    is_cut = False
    for i, event in enumerate(events):
        event_id = event.get("id", i)
        parent = event.get("parent_id", last)
        parents.setdefault(event_id, parent)
        last = event_id
        kind = event.get("kind") or event.get("action")
        if kind in ("Condensation", "condensation"):
            is_cut = True
            break
        if kind == "system":   # only in old events: the SDK records just the names of tools
            tools = event["args"].get("tools")
        read_event = _sdk_message if "kind" in event else _old_message
        message = read_event(event, kind)
        if not message:
            continue
        key = message.get("id", len(messages))
        lines.setdefault(key, []).append(event_id)
        known = messages.setdefault(key, message)
        if known is not message:
            known["tool_calls"] += message["tool_calls"]
    for message in messages.values():   # each event may have all calls of its response
        message["tool_calls"] = distinct(message.get("tool_calls") or [])
    return {"messages": [*messages.values()], "tools": tools, "agent": FORM, "is_cut": is_cut,
            "unseen": unseen_in([lines[key] for key in messages], parents)}


def _sdk_message(event: dict, kind: str) -> dict:
    """Return the message that an event of software-agent-sdk adds, with the `id` of its response if
    it is a part of one; {} if it adds none.
    """
    if kind == "SystemPromptEvent":
        parts = [event["system_prompt"], event.get("dynamic_context")]
        return {"role": "system", "content": [*filter(None, parts)]}
    if kind == "MessageEvent":
        message = event["llm_message"]
        added = event.get("extended_content") or []
        return {**message, "content": [*message["content"], *added]}
    if kind == "ActionEvent":
        return {"id": event["llm_response_id"], "role": "assistant", "content": event["thought"],
                "tool_calls": [event["tool_call"]],
                "reasoning_content": event.get("reasoning_content")}
    if not event.get("tool_call_id"):
        return {}
    seen = event.get("observation") or {"content": (
        event.get("error") or event.get("rejection_reason"))}
    return _result(event, seen, seen)


def _old_message(event: dict, kind: str | None) -> dict:
    """Return the message of an event from before the SDK, as _sdk_message does."""
    call = event.get("tool_call_metadata")
    is_users = event.get("source") == "user"
    if call and kind:
        response = call["model_response"]
        return {**response["choices"][0]["message"], "id": response["id"]}
    if call:
        return _result(call, event, event.get("extras") or {})
    if kind in ACTS and not is_users:
        raise ValueError("its actions have no tool_call_metadata, which came with 0.14")
    if event.get("observation") in ENDS:   # the observation of an invalid action
        return {**_result({}, event, {}), "role": "user"}
    if kind not in ("system", "message"):
        return {}
    role = "user" if is_users else "assistant"
    args = event.get("args") or event   # the oldest events have no args
    return {"role": role if kind == "message" else kind, "content": args["content"]}


def _result(call: dict, seen: dict, extras: dict) -> dict:
    """Return a result as OpenHands shows it to the model; a command's result ends with the lines of
    OUTCOME."""
    outcome = extras.get("metadata") or {}
    text = f"{outcome.get('prefix') or ''}{content_text(seen)}{outcome.get('suffix') or ''}"
    text += ENDS.get(seen.get("observation"), "")
    for key, words in OUTCOME.items():
        if outcome.get(key) not in (None, "", -1):
            text += f"\n[{words} {outcome[key]}]"
    return {"role": "tool", "content": text, "tool_call_id": call.get("tool_call_id")}
