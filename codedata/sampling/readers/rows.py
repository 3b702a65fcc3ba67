"""Read rows with a conversation: of data sets, or of mini-swe-agent, whose files have the same
form. A document may also be a bare list of messages, with items of the Responses API among them.

Also read rows with `prompt` and `completion` (TRL, verifiers), rollouts of NeMo Gym, and logs of
requests to a model with their responses. Only the messages of the completion or response are turns.
"""
from __future__ import annotations

from codedata.sampling.readers.chat import first, is_conversation, split_results
from codedata.sampling.readers.responses import message_of, messages_of, reply_of
from codedata.texts import decoded

COLUMNS = ("messages", "conversations", "trajectory")
FORM = f"rows with {', '.join(COLUMNS)}"
AGENTS = {"mini-swe-agent-1": "mini-swe-agent 1", "mini-swe-agent-1.1": "mini-swe-agent 2"}


def matches(document) -> bool:
    """Return whether a document has a column for a conversation, or is a list of messages."""
    return is_conversation(document) or (isinstance(document, dict) and (
        any(name in document for name in COLUMNS) or _is_exchange(document)))


def read(document) -> dict:
    """Return the row."""
    row = {"messages": document} if isinstance(document, list) else document
    conversation = decoded(next(filter(None, map(row.get, COLUMNS)), []))
    before, turns, tools = _exchange(row) if _is_exchange(row) else (
        _system(row.get("system")), _messages(conversation), None)
    return {**names_in(row), "tools": tools or row.get("tools") or row.get("tool_definitions"),
            "messages": before + turns, "no_turns": range(len(before)),
            "agent": AGENTS.get(row.get("trajectory_format"), "rows")}


def _is_exchange(row: dict) -> bool:
    """Return whether a row has a prompt and its completion, or a request and its response."""
    return (is_conversation(decoded(row.get("prompt"))) and "completion" in row) or bool(
        _body(_request(row)).keys() & {"messages", "input"} and _body(row.get("response")))


def _request(row: dict):
    return first(row, "responses_create_params", "request")


def _exchange(row: dict) -> tuple[list[dict], list[dict], list | None]:
    """Return (the messages before the turns, the messages with the turns, the tools) of a row with
    a prompt or request."""
    if "completion" in row:
        return _messages(decoded(row["prompt"])), _messages(decoded(row["completion"])), None
    request, response = _body(_request(row)), _body(row["response"])
    before = _system(first(request, "system", "instructions")) + _messages(
        request.get("messages") or request["input"])
    choice, *_ = response.get("choices") or [{"message": response}]
    turns = messages_of(response["output"]) if "output" in response else _messages(
        [choice["message"]])
    return before, turns, request.get("tools")


def _body(value) -> dict:
    """Return a request or response, which may be within the record of its HTTP exchange."""
    value = decoded(value)
    body = decoded(value.get("body", value)) if isinstance(value, dict) else None
    return body if isinstance(body, dict) else {}


def _system(prompt) -> list[dict]:
    """Return [the system prompt that a row has next to its conversation], or []."""
    return [{"role": "system", "content": prompt}] if prompt is not None else []


def _messages(conversation) -> list[dict]:
    """Return the messages of a conversation."""
    found = [one for one in map(decoded, conversation) if one.get("role") != "exit"]
    if any(one.get("type") == "function_call" for one in found):
        return messages_of(found)
    return [part for one in found for part in split_results(_message(one))]


def names_in(row: dict) -> dict:
    """Return the names that a row gives its task. Rows that Harbor exports have the instance in
    `task`."""
    # a `task` with spaces is the text of the task, not its name
    if isinstance(info := decoded(row.get("info")), dict):   # in rows of verifiers
        row = {**info, **row}
    keys = ("instance_id", "task")[:1 if " " in str(row.get("task")) else 2]
    return {"instance_id": first(row, *keys), "repo": row.get("repo"),
            "commit": first(row, "base_commit", "commit"),
            "id": first(row, "traj_id", "session_id", "id")}


def _message(message: dict) -> dict:
    """Return a message; join the items of a reply (by mini-swe-agent's *_response models)."""
    if first(message, "role", "from"):
        return message
    if isinstance(message.get("output"), list) and not message.get("type"):
        return reply_of(message["output"])
    return message_of(message)
