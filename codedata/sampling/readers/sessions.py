"""Read the session files of opencode, Pi, Gemini CLI, Qwen Code, Kimi CLI, Cline and Roo Code.

These files do not have the tools; only Kimi CLI's and early opencode's have the system prompt. A
trajectory ends where its history was summarized, except in Kimi CLI, which begins a new file with
the summary. If a user went back, each branch has its own history. Replies that the program does not
send again, such as aborted ones, are left out.
"""
from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import NamedTuple

from codedata.messages import content_text
from codedata.sampling.readers.chat import first, split_results, unseen_in, with_cleared
from codedata.texts import toml_of

TABLE = toml_of("codedata.sampling.readers", "programs.toml")["program"]
INTERRUPTED = "[Tool execution was interrupted]"
SUMMARY = "Previous context has been compacted."   # in the first message of a file of Kimi CLI
BRANCH = "The following is a summary of a branch that this conversation came back from:"
MISSING = "result missing"   # what Cline sends if an interruption or a text took a result's place
FOLDED = ("text/plain", "application/x-directory")   # opencode adds such files as texts
HEAD = 50   # lines of a file that are searched for the keys of a program
# ({id of an entry: its messages}, whether the rest is left out since its history was summarized,
# {id of an entry: the id of the one before it, or None}, or nothing if there are no branches).
# Further keys of a message: `is_kept` if it is not a turn, `begun`, and of a result `cleared`, the
# time when it was cleared.
Entries = tuple[dict, bool] | tuple[dict, bool, dict]


class SessionForm(NamedTuple):
    """Hold a form, as the readers do that are modules."""

    FORM: str
    entries: Callable[[object], Entries]

    def read(self, document) -> dict:
        """Return the row."""
        entries, is_cut, *parents = self.entries(document)
        messages = [one for found in entries.values() for one in found]
        lines = [[key] for key, found in entries.items() for _ in found]
        row = {"messages": messages, "agent": self.FORM, "is_cut": is_cut,
               "unseen": unseen_in(lines, *parents) if parents else None,
               "no_turns": {i for i, one in enumerate(messages) if one.get("is_kept")}}
        return with_cleared(row, {
            i: sum(other["begun"] < one["cleared"] for other in messages)
            for i, one in enumerate(messages) if one.get("cleared")})


def program_of(document) -> dict:
    """Return the entry of programs.toml for a document, or {}."""
    is_file = isinstance(document, list)
    lines = document[:HEAD] if is_file else [document]
    return next((one for one in TABLE if (is_file or one.get("object")) and any(
        all(_has(line, key) for key in one["keys"]) for line in lines)), {})


def _has(value, key: str) -> bool:
    """Return whether a value has a key of the table."""
    path, _, pattern = key.partition("=")
    for step in path.split("."):
        try:
            value = value[int(step) if isinstance(value, list) else step]
        except (LookupError, TypeError, ValueError):
            return False
    return not pattern or bool(re.match(pattern, str(value)))


def _until(lines: list[dict], is_end: Callable[[dict], object]) -> tuple[list[dict], bool]:
    """Return (the lines before the first that ends a history, whether there is one)."""
    end = next((i for i, line in enumerate(lines) if is_end(line)), len(lines))
    return lines[:end], end < len(lines)


def _result(call_id: str | None, content) -> dict:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def _opencode(document: dict) -> Entries:
    """Return the messages of an export. Each step of a message is a message of its own."""
    found, is_cut = _until(document["messages"], lambda one: one["info"].get("summary") is True or (
        any(part["type"] == "compaction" for part in one["parts"])))
    prompts = [one["info"]["system"] for one in found
               if isinstance(one["info"].get("system"), list)]   # in early versions
    steps = [[{"role": "system", "content": "\n".join(prompt), "begun": 0}]
             for prompt in prompts[:1]]
    for one in found:
        info = one["info"]
        error = info.get("error")
        if error and error["name"] != "MessageAbortedError":   # opencode does not send it again
            continue
        begun = {"begun": (info.get("time") or {}).get("created", 0)}
        for part in [{"type": "step-start"}, *one["parts"]]:
            if part["type"] == "step-start":
                steps.append([{**begun, "role": info["role"], "content": [],
                               "is_kept": bool(error)}])
            content = steps[-1][0]["content"]
            if part["type"] == "tool":
                state = part["state"]
                content.append({"type": "tool_use", "id": part["callID"], "name": part["tool"],
                                "input": state.get("input")})
                shown = {"completed": state.get("output"), "error": state.get("error")}
                steps[-1].append(begun | _result(
                    part["callID"], shown.get(state["status"], INTERRUPTED)) | {
                        "cleared": (state.get("time") or {}).get("compacted")})
            elif not part.get("ignored") and (part["type"] in ("text", "reasoning") or not part.get(
                    "mime", "text/plain").startswith(FOLDED)):
                content.append(part)
    return dict(enumerate(step for step in steps if step[0]["content"])), is_cut


def _pi(document: list[dict]) -> Entries:
    """Return the messages of a session."""
    lines, is_cut = _until(document, lambda line: line["type"] == "compaction")
    found: dict = {}
    parents: dict = {}
    left_out = set()   # calls of replies that are not sent again
    last = None
    for i, line in enumerate(lines):
        message = line.get("message") or line
        kind = message.get("role") or line["type"]
        content = message.get("content")
        call_id = message.get("toolCallId")
        if message.get("stopReason") in ("error", "aborted"):
            left_out |= {block.get("id") for block in content}
            content = None
        elif kind == "branch_summary":
            content = f"{BRANCH}\n\n<summary>\n{line['summary']}</summary>"
        elif kind == "bashExecution" and not message.get("excludeFromContext"):
            content = _shell_text(message)
        role = {"assistant": "assistant", "toolResult": "tool"}.get(kind, "user")
        is_seen = content is not None and (call_id is None or call_id not in left_out)
        key = line.get("id", i)
        parents[key] = line.get("parentId", last)
        last = key
        found[key] = [{**_result(call_id, content), "role": role}] if is_seen else []
    return found, is_cut, parents


def _shell_text(message: dict) -> str:
    """Return a user's own command with its output, as Pi shows it to the model."""
    output, code = message.get("output"), message.get("exitCode")
    end = f"\n\nCommand exited with code {code}" if code else ""
    if message.get("cancelled"):
        end = "\n\n(command cancelled)"
    shown = f"```\n{output}\n```" if output else "(no output)"
    return f"Ran `{message['command']}`\n{shown}{end}"


def _of_parts(role: str, parts) -> list[dict]:
    """Return the messages of a content of Gemini's API: its results, or else one."""
    content, results = [], []
    for part in parts if isinstance(parts, list) else [parts]:
        part = {"text": part} if isinstance(part, str) else part
        if call := part.get("functionCall"):
            content.append({**call, "type": "tool_use", "input": call.get("args")})
        elif result := part.get("functionResponse"):
            shown = first(result.get("response") or {}, "output", "error")
            results.append(_result(result.get("id"), shown if isinstance(shown, str) else
                                   json.dumps(result.get("response"), ensure_ascii=False)))
        else:
            content.append({"type": "thinking" if part.get("thought") else "image", **part})
    return results or ([{"role": role, "content": content}] if content else [])


def _gemini(document) -> Entries:
    """Return the messages of a session: an object, or lines with updates among them. It ends where
    its history was replaced by another one than its beginning."""
    records: dict = {}   # {id: newest version}
    parents: dict = {}
    at = None
    is_cut = False
    for line in document["messages"] if isinstance(document, dict) else document:
        if "$rewindTo" in line:
            at = parents.get(line["$rewindTo"])
        history = (line.get("$set") or {}).get("messages")
        if history is not None and any(one["type"] == "gemini" for one in records.values()):
            is_cut = history != [records.get(one["id"]) for one in history]
            at = history[-1]["id"] if history else None
            history = []
        if is_cut:
            break
        for one in [line] if history is None else history:
            if one.get("type"):
                parents.setdefault(one["id"], at)
                at = at if one["id"] in records else one["id"]
                records[one["id"]] = one
    return {key: _gemini_messages(one) for key, one in records.items()}, is_cut, parents


def _gemini_messages(record: dict) -> list[dict]:
    """Return the messages of a record: the user's, or a reply and its results."""
    content = record.get("content") or []
    parts = content if isinstance(content, list) else [{"text": content}]
    if record["type"] == "user":
        return [one for one in _of_parts("user", parts) if one["role"] == "user"
                and not content_text(one).lstrip().startswith(("/", "?"))]   # local commands
    if record["type"] != "gemini":
        return []
    calls = record.get("toolCalls") or []
    thoughts = [f"{one.get('subject') or ''} {one.get('description') or ''}"
                for one in record.get("thoughts") or ()]
    found = _of_parts("assistant", [
        *({"text": text.strip(), "thought": True} for text in thoughts),
        *(part for part in parts if not part.keys() & {"functionCall", "thought"}),
        *({"functionCall": call} for call in calls)])
    return found + [_result(call["id"], one["content"]) for call in calls
                    for one in _of_parts("user", call.get("result") or [])[:1]]


def _qwen(document: list[dict]) -> Entries:
    """Return the messages of a session."""
    lines, is_cut = _until(document, lambda line: line.get("subtype") == "chat_compression")
    found = {}
    for line in lines:
        body = (line["type"] != "system" and line.get("message")) or {}
        role = "assistant" if body.get("role") == "model" else "user"
        found[line["uuid"]] = _of_parts(role, body.get("parts") or [])
    return found, is_cut, {line["uuid"]: line.get("parentUuid") for line in lines}


def _kimi(document: list[dict]) -> Entries:
    """Return the messages of a context. Replies that a compaction kept are turns of the file
    before."""
    found = {}
    is_kept = False
    for i, line in enumerate(document):
        role = line["role"].replace("_system_prompt", "system")
        if role.startswith("_"):
            is_kept = False
            continue
        is_kept = is_kept or SUMMARY in content_text(line)[:100]
        found[i] = [{**line, "role": role, "is_kept": is_kept}]
    return found, False


def _cline(document: list[dict]) -> Entries:
    """Return the messages of a task. Raise ValueError if its calls are texts in XML."""
    found = {}
    lines, is_cut = _until(document, lambda one: one.get("isSummary") or one.get(
        "isTruncationMarker"))
    n_calls = 0
    for i, message in enumerate(lines):
        calls = [block["id"] for block in _blocks(message) if block["type"] == "tool_use"]
        answered = {block.get("tool_use_id") for one in document[i + 1:i + 2]
                    for block in _blocks(one)}
        n_calls += len(calls)
        found[i] = split_results(message) + [
            _result(call_id, MISSING) for call_id in calls if call_id not in answered]
    if not n_calls:
        raise ValueError("its calls are texts in XML; only native calls are read")
    return found, is_cut


def _blocks(message: dict) -> list[dict]:
    return message["content"] if isinstance(message.get("content"), list) else []


PROGRAMS = {name: SessionForm(name, entries) for name, entries in {
    "opencode": _opencode, "Pi coding agent": _pi, "Gemini CLI": _gemini, "Qwen Code": _qwen,
    "Kimi CLI": _kimi, "Cline or Roo Code": _cline}.items()}
