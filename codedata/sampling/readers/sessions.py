"""Read the session files of opencode, Pi, Gemini CLI, Qwen Code, Kimi CLI, Cline and Roo Code, by
the table PROGRAMS.

These files do not have the tools, and only Kimi CLI's and those of early opencode the system
prompt. A trajectory ends where its history was summarized, except that of Kimi CLI, which begins a
new file with the summary. If a user went back, each branch has its own history. Replies that the
program does not send again (errors, aborted ones) are left out.
"""
from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

from codedata.messages import content_text
from codedata.sampling.readers.chat import (
    begins_with,
    split_results,
    unseen_in,
    with_cleared,
)

PI = "Pi coding agent"
CLINE = "Cline or Roo Code"
CLEARED = "[Old tool result content cleared]"   # by opencode
INTERRUPTED = "[Tool execution was interrupted]"
SUMMARY = "Previous context has been compacted."   # in the first message of a file of Kimi CLI
BRANCH = "The following is a summary of a branch that this conversation came back from:"
TASKS = ("<task>", "<user_message>")   # beginnings of the first message of Cline and Roo Code


class Program(NamedTuple):
    """Hold a form: a reader for the readers in forms.py."""

    FORM: str
    matches: Callable[[object], bool]
    read: Callable[[object], dict]


def _lines(*keys: str) -> Callable[[object], bool]:
    """Return a function that says whether one of a file's first lines has all these keys."""
    return lambda document: isinstance(document, list) and any(
        isinstance(line, dict) and line.keys() >= {*keys} for line in document[:3])


def _result(call_id: str | None, content) -> dict:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


# opencode ----------------------------------------------------------------------------------------

def _is_opencode(document) -> bool:
    return isinstance(document, dict) and "info" in document and (
        begins_with(document.get("messages"), "parts"))


def _opencode(document: dict) -> dict:
    """Return the row of an export. Each step of a message is a message of its own."""
    # only early versions record the system prompt
    prompts = [one["info"]["system"] for one in document["messages"]
               if isinstance(one["info"].get("system"), list)]
    messages = [{"role": "system", "content": "\n".join(prompt)} for prompt in prompts[:1]]
    begun = [0] * len(messages)   # when each message was begun
    aborted = set()
    pruned = {}      # {index of a result: when it was cleared}
    is_cut = False
    for one in document["messages"]:
        info = one["info"]
        is_cut = info.get("summary") is True or any(
            part["type"] == "compaction" for part in one["parts"])
        if is_cut:
            break
        steps: list[list[dict]] = [[]]
        for part in one["parts"]:
            steps += [[]] if part["type"] == "step-start" else []
            steps[-1].append(part)
        for message, *results in filter(None, map(_opencode_step, steps)):
            if info.get("error"):
                aborted.add(len(messages))
            messages += [{**message, "role": info["role"]}, *(one for one, _ in results)]
            n = len(messages) - len(results)
            pruned |= {n + i: time for i, (_, time) in enumerate(results) if time}
        begun += [(info.get("time") or {}).get("created", 0)] * (len(messages) - len(begun))
    row = {"messages": messages, "agent": "opencode", "is_cut": is_cut, "no_turns": aborted}
    return with_cleared(row, {i: (sum(begin < time for begin in begun), CLEARED)
                              for i, time in pruned.items()})


def _opencode_step(parts: list[dict]) -> list:
    """Return [the message of a step, (result, when it was cleared), ...]; [] if it has no content.
    """
    content, results = [], []
    for part in parts:
        kind = part["type"]
        if kind == "text" and not part.get("ignored"):
            content.append(part)
        elif kind == "reasoning":
            content.append({"type": "thinking", "thinking": part["text"]})
        elif kind == "file" and part.get("mime") not in ("text/plain", "application/x-directory"):
            content.append({"type": part.get("mime")})
        elif kind == "tool":
            state = part["state"]
            content.append({"type": "tool_use", "id": part["callID"], "name": part["tool"],
                            "input": state.get("input")})
            shown = {"completed": state.get("output"), "error": state.get("error")}
            results.append((_result(part["callID"], shown.get(state["status"], INTERRUPTED)),
                            (state.get("time") or {}).get("compacted")))
    return [{"content": content}, *results] if content else []


# Pi ----------------------------------------------------------------------------------------------

def _pi(document: list[dict]) -> dict:
    """Return the row of a session."""
    messages, lines = [], []
    parents: dict = {}
    left_out = set()   # calls of replies that are not sent again
    last = None
    is_cut = False
    for i, line in enumerate(document):
        if line["type"] == "compaction":
            is_cut = True
            break
        key = line.get("id", i)
        parents[key] = line.get("parentId", last)
        last = key
        message = line.get("message") or line
        role = message.get("role") or line["type"]
        content = message.get("content")
        if role in ("custom", "hookMessage", "custom_message"):
            role = "user"
        elif role == "branch_summary":
            role, content = "user", f"{BRANCH}\n\n<summary>\n{line['summary']}</summary>"
        elif role == "bashExecution" and not message.get("excludeFromContext"):
            role, content = "user", _shell_text(message)
        elif role == "toolResult" and message["toolCallId"] not in left_out:
            role = "tool"
        elif message.get("stopReason") in ("error", "aborted"):
            left_out |= {block.get("id") for block in content}
            continue
        if role in ("user", "assistant", "tool"):
            messages.append({"role": role, "content": content,
                             "tool_call_id": message.get("toolCallId")})
            lines.append([key])
    return {"messages": messages, "agent": PI, "is_cut": is_cut,
            "unseen": unseen_in(lines, parents)}


def _shell_text(message: dict) -> str:
    """Return a user's own command with its output, as Pi shows it to the model."""
    output = message.get("output")
    text = f"Ran `{message['command']}`\n" + (f"```\n{output}\n```" if output else "(no output)")
    if message.get("cancelled"):
        return f"{text}\n\n(command cancelled)"
    code = message.get("exitCode")
    return f"{text}\n\nCommand exited with code {code}" if code else text


# Gemini CLI and Qwen Code ------------------------------------------------------------------------

def _of_parts(role: str, parts) -> list[dict]:
    """Return the messages of a content of Gemini's API: one, or its results."""
    content, results = [], []
    for part in [parts] if isinstance(parts, (str, dict)) else parts or []:
        part = {"text": part} if isinstance(part, str) else part
        call, result = part.get("functionCall"), part.get("functionResponse")
        if result:
            response = result.get("response") or {}
            shown = response.get("output", response.get("error"))
            text = shown if isinstance(shown, str) else json.dumps(response, ensure_ascii=False)
            results.append(_result(result.get("id"), text))
        elif call:
            content.append({"type": "tool_use", "id": call.get("id"), "name": call["name"],
                            "input": call.get("args")})
        elif part.get("thought"):
            content.append({"type": "thinking", "thinking": part.get("text")})
        else:
            content.append({"type": "text" if "text" in part else "image",
                            "text": part.get("text")})
    return results or ([{"role": role, "content": content}] if content else [])


def _is_gemini(document) -> bool:
    keys = {"sessionId", "projectHash"}
    if isinstance(document, dict):
        return document.keys() >= {*keys, "messages"}
    return _lines(*keys)(document)


def _gemini(document) -> dict:
    """Return the row of a session: an object, or lines with updates among them."""
    records: dict = {}   # {id: newest version}
    parents: dict = {}
    cleared: dict = {}   # {id of a call: (number of records before the change, new content)}
    at = None
    is_cut = False
    for line in document["messages"] if isinstance(document, dict) else document:
        if "$rewindTo" in line:
            at = parents.get(line["$rewindTo"])
        history = (line.get("$set") or {}).get("messages")
        is_new = not any(one["type"] == "gemini" for one in records.values())
        if history is not None and not is_new:   # the history was cut or changed
            if any(one["id"] not in records for one in history):
                is_cut = True
                break
            at = history[-1]["id"] if history else None
            cleared |= {old["tool_call_id"]: (len(records), new["content"]) for one in history
                        for old, new in zip(_gemini_messages(records[one["id"]]),
                                            _gemini_messages(one), strict=False)
                        if old["role"] == "tool" and old != new}
            continue
        for one in history or [line]:
            if one.get("type") and one["id"] not in records:
                parents[one["id"]] = at
                at = one["id"]
            if one.get("type"):
                records[one["id"]] = one
    messages, lines, ends = [], [], []
    for key, record in records.items():
        messages += _gemini_messages(record)
        lines += [[key]] * (len(messages) - len(lines))
        ends.append(len(messages))
    row = {"messages": messages, "agent": "Gemini CLI", "is_cut": is_cut,
           "unseen": unseen_in(lines, parents)}
    return with_cleared(row, {
        i: (ends[cleared[call_id][0] - 1], cleared[call_id][1])
        for i, call_id in enumerate(one.get("tool_call_id") for one in messages)
        if call_id in cleared})


def _gemini_messages(record: dict) -> list[dict]:
    """Return the messages of a record: the user's, or a reply and its results."""
    if record["type"] != "gemini":
        found = _of_parts("user", record.get("content")) if record["type"] == "user" else []
        return [one for one in found if one["role"] == "user" and not content_text(
            one).lstrip().startswith(("/", "?"))]
    content = record.get("content")
    parts = [content] if isinstance(content, (str, dict)) and content else [*(content or ())]
    calls = record.get("toolCalls") or []
    if not any(isinstance(part, dict) and part.keys() & {"functionCall", "thought"}
               for part in parts):
        thoughts = [" ".join(filter(None, [one.get("subject"), one.get("description")]))
                    for one in record.get("thoughts") or ()]
        parts = [*({"text": text, "thought": True} for text in thoughts), *parts, *(
            {"functionCall": call} for call in calls)]
    found = _of_parts("assistant", parts)
    for call in calls:
        result = call.get("result")
        if isinstance(result, str):
            found.append(_result(call["id"], result))
        elif result:
            found += [{**one, "tool_call_id": call["id"]}
                      for one in _of_parts("user", result) if one["role"] == "tool"][:1]
    return found


def _qwen(document: list[dict]) -> dict:
    """Return the row of a session."""
    messages, lines = [], []
    parents: dict = {}
    is_cut = False
    for line in document:
        is_cut = line.get("subtype") == "chat_compression"
        if is_cut:
            break
        parents[line["uuid"]] = line.get("parentUuid")
        if line["type"] != "system" and line.get("message"):
            body = line["message"]
            messages += _of_parts({"model": "assistant"}.get(body["role"], "user"), body["parts"])
            lines += [[line["uuid"]]] * (len(messages) - len(lines))
    return {"messages": messages, "agent": "Qwen Code", "is_cut": is_cut,
            "unseen": unseen_in(lines, parents)}


def _is_qwen(document) -> bool:
    return isinstance(document, list) and any(
        isinstance(line, dict) and "uuid" in line and "parts" in (line.get("message") or ())
        for line in document)


# Kimi CLI, Cline and Roo Code --------------------------------------------------------------------

def _is_kimi(document) -> bool:
    return isinstance(document, list) and any(
        isinstance(line, dict) and line.get("role") in ("_system_prompt", "_checkpoint", "_usage")
        for line in document[:3])


def _kimi(document: list[dict]) -> dict:
    """Return the row of a context. Replies kept by a compaction are turns of the file before."""
    messages = []
    kept = set()
    is_kept = False
    for line in document:
        role = {"_system_prompt": "system"}.get(line["role"], line["role"])
        if role.startswith("_"):
            is_kept = False
            continue
        is_kept = is_kept or SUMMARY in content_text(line)[:100]
        if is_kept:
            kept.add(len(messages))
        messages.append({**line, "role": role})
    return {"messages": messages, "agent": "Kimi CLI", "no_turns": kept}


def _is_cline(document) -> bool:
    return begins_with(document, "content") and content_text(document[0]).startswith(TASKS)


def _cline(document: list[dict]) -> dict:
    """Return the row of a task. Raise ValueError if its calls are texts in XML."""
    is_cut = False
    messages: list[dict] = []
    n_calls = 0
    for message in document:
        is_cut = bool(message.get("isSummary") or message.get("isTruncationMarker"))
        if is_cut:
            break
        blocks = message.get("content")
        if isinstance(blocks, list):
            n_calls += sum(block["type"] == "tool_use" for block in blocks)
        messages += split_results(message)
    if not n_calls:
        raise ValueError("its calls are texts in XML; only native calls are read")
    return {"messages": messages, "agent": CLINE, "is_cut": is_cut}


PROGRAMS = (
    Program("opencode", _is_opencode, _opencode),
    Program(PI, _lines("type", "cwd", "id", "timestamp"), _pi),
    Program("Gemini CLI", _is_gemini, _gemini),
    Program("Qwen Code", _is_qwen, _qwen),
    Program("Kimi CLI", _is_kimi, _kimi),
    Program(CLINE, _is_cline, _cline))
