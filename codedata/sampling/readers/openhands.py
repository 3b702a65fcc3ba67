"""Read what OpenHands leaves: events in one file, in a folder or in a row (`history`), those of
software-agent-sdk too, and logged completions (`llm_completions`).

A trajectory ends where its history was condensed. What microagents and skills added to a message
of the user is not restored in old events.
"""
from __future__ import annotations

from codedata.messages import with_text
from codedata.sampling.readers.chat import (
    add_calls,
    add_thinking,
    plain_text,
    read_message,
    tool_call,
    tool_result,
)

FORM = "OpenHands"
OF_EVENTS = ("kind", "action", "observation")
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
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and any(
        key in value[0] for key in OF_EVENTS)


def _of_completion(log: dict) -> dict:
    # where the model was shown tools as a text, the log has the calls beside it
    messages = log.get("fncall_messages") or log.get("raw_messages") or log["messages"]
    reply = (log.get("fncall_response") or log["response"])["choices"][0]["message"]
    messages = [*map(read_message, [*messages, reply])]
    return {"messages": messages, "agent": FORM, "first_turn": len(messages) - 1,
            "tools": (log.get("kwargs") or {}).get("tools") or log.get("tools")}


def _of_events(events: list[dict]) -> dict:
    messages = []
    replies = {}   # by the id of the model's response: its calls are an event each
    tools = None
    for event in events:
        kind = event.get("kind") or event.get("action") or ""
        if kind.lower() == "condensation":
            break
        if kind in ("SystemPromptEvent", "system"):
            tools = event.get("tools") or (event.get("args") or {}).get("tools")
        if "kind" in event:
            messages += _sdk_message(event, replies)
        else:
            messages += _old_message(event, replies)
    return {"messages": messages, "tools": tools, "agent": FORM}


def _sdk_message(event: dict, replies: dict) -> list[dict]:
    """Return the messages that an event of software-agent-sdk adds, one or none."""
    kind = event["kind"]
    if kind == "SystemPromptEvent":
        parts = [event.get(key) for key in ("system_prompt", "dynamic_context")]
        return [{"role": "system", "content": "\n\n".join(part["text"] for part in parts if part)}]
    if kind == "MessageEvent":
        message = read_message(event["llm_message"])
        if added := plain_text(event.get("extended_content")):
            message = with_text(message, added)
        return [message]
    if kind == "ActionEvent":
        call = event["tool_call"]
        is_new = event["llm_response_id"] not in replies
        reply = replies.setdefault(event["llm_response_id"], {
            "role": "assistant", "content": plain_text(event["thought"])})
        if is_new:
            add_thinking(reply, event.get("reasoning_content") or "")
        add_calls(reply, tool_call(call["id"], call["name"], call["arguments"]))
        return [reply] if is_new else []
    if not event.get("tool_call_id"):
        return []
    seen = event.get("observation") or {}
    content = seen.get("content") or event.get("error") or event.get("rejection_reason")
    return [tool_result(event["tool_call_id"], _as_shown(content, seen))]


def _old_message(event: dict, replies: dict) -> list[dict]:
    """Return the messages that an event of OpenHands before the SDK adds, one or none."""
    action = event.get("action")
    args = event.get("args") or {}
    metadata = event.get("tool_call_metadata")
    if action in ACTS and not metadata and event.get("source") != "user":
        raise ValueError("its actions have no tool_call_metadata, which came with 0.14")
    if action == "system":
        return [{"role": "system", "content": args["content"]}]
    if not metadata:
        role = "user" if event.get("source") == "user" else "assistant"
        content = args.get("content", event.get("content"))
        return [{"role": role, "content": content}] if action == "message" else []
    if not action:
        content = _as_shown(event["content"], event.get("extras") or {})
        return [tool_result(metadata["tool_call_id"], content)]
    response = metadata["model_response"]
    if response["id"] in replies:
        return []
    replies[response["id"]] = read_message(response["choices"][0]["message"])
    return [replies[response["id"]]]


def _as_shown(content, seen: dict) -> str:
    """Return a result as OpenHands shows it to the model: a command's ends with its outcome."""
    text = plain_text(content)
    outcome = seen.get("metadata") or {}
    text = f"{outcome.get('prefix') or ''}{text}{outcome.get('suffix') or ''}"
    for key, words in (("working_dir", "Current working directory:"),
                       ("py_interpreter_path", "Python interpreter:")):
        if outcome.get(key):
            text += f"\n[{words} {outcome[key]}]"
    if outcome.get("exit_code", -1) != -1:
        text += f"\n[Command finished with exit code {outcome['exit_code']}]"
    return text
