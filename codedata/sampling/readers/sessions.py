"""Read the session files of opencode, Pi, Gemini CLI, Qwen Code, Kimi CLI, Cline and Roo Code.

These files do not have the tools; only Kimi CLI's and those of early opencode have the system
prompt. A trajectory ends where its history was summarized, except in Kimi CLI, which begins a new
file with the summary. If a user went back, each branch has its own history. Replies that the
program does not send again, such as aborted ones, are left out.
"""
from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from codedata.messages import content_text
from codedata.sampling.readers.chat import first, split_results, unseen_in, with_cleared
from codedata.texts import toml_of

CLEARED = "[Old tool result content cleared]"   # by opencode
INTERRUPTED = "[Tool execution was interrupted]"
SUMMARY = "Previous context has been compacted."   # in the first message of a file of Kimi CLI
BRANCH = "The following is a summary of a branch that this conversation came back from:"
HEAD = 50   # lines of a file that are searched for the keys of a program
# (id of an entry, id of the entry before it, its messages), or None where the history was
# summarized. Further keys of a message: `is_kept` if it is not a turn, `begun`, and of a result
# `cleared`, the time when it was cleared.
Entry = tuple[object, object, list[dict]] | None


class Program(NamedTuple):
    """Hold a form, as the readers do that are modules."""

    FORM: str
    entries: Callable[[object], Iterator[Entry]]

    def read(self, document) -> dict:
        """Return the row."""
        messages: list[dict] = []
        lines: list[list] = []
        parents = {}
        is_cut = False
        for entry in self.entries(document):
            is_cut = entry is None
            if is_cut:
                break
            key, parents[key], found = entry
            messages += found
            lines += [[key]] * len(found)
        row = {"messages": messages, "agent": self.FORM, "is_cut": is_cut,
               "unseen": unseen_in(lines, parents),
               "no_turns": {i for i, one in enumerate(messages) if one.get("is_kept")}}
        return with_cleared(row, {
            i: (sum(other.get("begun", 0) < one["cleared"] for other in messages), CLEARED)
            for i, one in enumerate(messages) if one.get("cleared")})


def program_of(document) -> dict:
    """Return the entry of programs.toml for a document, or {}."""
    is_file = isinstance(document, list)
    lines = document[:HEAD] if is_file else [document]
    return next((one for one in _table() if (is_file or one.get("object")) and any(
        all(_has(line, key) for key in one["keys"]) for line in lines)), {})


@lru_cache
def _table() -> list[dict]:
    return toml_of("codedata.sampling.readers", "programs.toml")["program"]


def _has(value, key: str) -> bool:
    """Return whether a value has a key of the table."""
    path, _, pattern = key.partition("=")
    for step in path.split("."):
        try:
            value = value[int(step) if isinstance(value, list) else step]
        except (LookupError, TypeError, ValueError):
            return False
    return not pattern or bool(re.match(pattern, str(value)))


def _in_a_row(found: list[list[dict]]) -> Iterator[Entry]:
    """Yield entries that are not in branches."""
    return ((i, i - 1 if i else None, messages) for i, messages in enumerate(found))


def _result(call_id: str | None, content) -> dict:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def _opencode(document: dict) -> Iterator[Entry]:
    """Yield the messages of an export. Each step of a message is a message of its own."""
    system = next((one["info"]["system"] for one in document["messages"]
                   if isinstance(one["info"].get("system"), list)), None)   # in early versions
    found = [[{"role": "system", "content": "\n".join(system)}]] if system else []
    is_cut = False
    for one in document["messages"]:
        info = one["info"]
        is_cut = info.get("summary") is True or any(
            part["type"] == "compaction" for part in one["parts"])
        if is_cut:
            break
        common = {"begun": (info.get("time") or {}).get("created", 0)}
        for part in [{"type": "step-start"}, *one["parts"]]:
            if part["type"] == "step-start":
                found.append([{**common, "role": info["role"], "content": [],
                               "is_kept": bool(info.get("error"))}])
            found[-1][0]["content"] += _opencode_block(part)
            if part["type"] == "tool":
                found[-1].append(common | _opencode_result(part["callID"], part["state"]))
    yield from _in_a_row([messages for messages in found if messages[0]["content"]])
    if is_cut:
        yield None


def _opencode_block(part: dict) -> list[dict]:
    """Return [what a part adds to its message], or []."""
    kind = part["type"]
    if kind == "text" and not part.get("ignored"):
        return [part]
    if kind == "reasoning":
        return [{"type": "thinking", "thinking": part["text"]}]
    if kind == "file" and part.get("mime") not in ("text/plain", "application/x-directory"):
        return [{"type": part.get("mime")}]
    if kind == "tool":
        return [{"type": "tool_use", "id": part["callID"], "name": part["tool"],
                 "input": part["state"].get("input")}]
    return []


def _opencode_result(call_id: str, state: dict) -> dict:
    shown = {"completed": state.get("output"), "error": state.get("error")}
    return {**_result(call_id, shown.get(state["status"], INTERRUPTED)),
            "cleared": (state.get("time") or {}).get("compacted")}


def _pi(document: list[dict]) -> Iterator[Entry]:
    """Yield the messages of a session's lines."""
    last = None
    left_out = set()   # calls of replies that are not sent again
    for i, line in enumerate(document):
        message = line.get("message") or line
        kind = message.get("role") or line["type"]
        content = message.get("content")
        if kind == "compaction":
            yield None
        if message.get("stopReason") in ("error", "aborted"):
            left_out |= {block.get("id") for block in content}
            kind = ""
        elif kind == "branch_summary":
            content = f"{BRANCH}\n\n<summary>\n{line['summary']}</summary>"
        elif kind == "bashExecution" and not message.get("excludeFromContext"):
            content = _shell_text(message)
        role = {"assistant": "assistant", "toolResult": "tool"}.get(kind, "user")
        call_id = message.get("toolCallId")
        is_seen = content is not None and kind and (role != "tool" or call_id not in left_out)
        key = line.get("id", i)
        yield key, line.get("parentId", last), [
            {"role": role, "content": content, "tool_call_id": call_id}] if is_seen else []
        last = key


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
        part = {"text": part} if isinstance(part, str) else part or {}
        if call := part.get("functionCall"):
            content.append({**call, "type": "tool_use", "input": call.get("args")})
        elif result := part.get("functionResponse"):
            shown = first(result.get("response") or {}, "output", "error")
            results.append(_result(result.get("id"), shown if isinstance(shown, str) else
                                   json.dumps(result.get("response"), ensure_ascii=False)))
        elif part:
            kind = "thinking" if part.get("thought") else "text"
            content.append({"type": kind, kind: part.get("text", "[image]")})
    return results or ([{"role": role, "content": content}] if content else [])


def _gemini(document) -> Iterator[Entry]:
    """Yield the messages of a session: an object, or lines with updates among them. It ends where
    its history was replaced by another one than its beginning."""
    records: dict = {}   # {id: newest version}
    parents: dict = {}
    at = None
    is_cut = False
    for line in document["messages"] if isinstance(document, dict) else document:
        if "$rewindTo" in line:
            at = parents.get(line["$rewindTo"])
        history = (line.get("$set") or {}).get("messages")
        is_begun = any(one["type"] == "gemini" for one in records.values())
        if history is not None and is_begun:
            is_cut = history != [records.get(one["id"]) for one in history]
            at = history[-1]["id"] if history else None
        if is_cut:
            break
        for one in [line] if history is None else () if is_begun else history:
            if one.get("type"):
                parents.setdefault(one["id"], at)
                at = at if one["id"] in records else one["id"]
                records[one["id"]] = one
    yield from ((key, parents[key], _gemini_messages(one)) for key, one in records.items())
    if is_cut:
        yield None


def _gemini_messages(record: dict) -> list[dict]:
    """Return the messages of a record: the user's, or a reply and its results."""
    content, calls = record.get("content") or [], record.get("toolCalls") or ()
    if record["type"] != "gemini":
        found = _of_parts(record["type"], content)
        return [one for one in found if one["role"] == "user"
                and not content_text(one).lstrip().startswith(("/", "?"))]   # local commands
    parts = content if isinstance(content, list) else [content]
    if not any("functionCall" in part or "thought" in part for part in parts):
        thoughts = [" ".join(filter(None, [one.get("subject"), one.get("description")]))
                    for one in record.get("thoughts") or ()]
        parts = [*({"text": text, "thought": True} for text in thoughts), *parts,
                 *({"functionCall": call} for call in calls)]
    found = _of_parts("assistant", parts)
    for call in calls:
        results = _of_parts("user", call.get("result"))
        found += [_result(call["id"], content_text(one)) for one in results[:1]]
    return found


def _qwen(document: list[dict]) -> Iterator[Entry]:
    """Yield the messages of a session's lines."""
    for line in document:
        if line.get("subtype") == "chat_compression":
            yield None
        body = line.get("message") or {}
        role = "assistant" if body.get("role") == "model" else "user"
        yield line["uuid"], line.get("parentUuid"), _of_parts(
            role, [] if line["type"] == "system" else body.get("parts", []))


def _kimi(document: list[dict]) -> Iterator[Entry]:
    """Yield the messages of a context. Replies that a compaction kept are turns of the file before.
    """
    found = []
    is_kept = False
    for line in document:
        role = "system" if line["role"] == "_system_prompt" else line["role"]
        is_kept = not role.startswith("_") and (is_kept or SUMMARY in content_text(line)[:100])
        if not role.startswith("_"):
            found.append([{**line, "role": role, "is_kept": is_kept}])
    return _in_a_row(found)


def _cline(document: list[dict]) -> Iterator[Entry]:
    """Yield the messages of a task. Raise ValueError if its calls are texts in XML."""
    if '"tool_use"' not in json.dumps(document):
        raise ValueError("its calls are texts in XML; only native calls are read")
    end = next((i for i, message in enumerate(document)
                if message.get("isSummary") or message.get("isTruncationMarker")), None)
    yield from _in_a_row([*map(split_results, document[:end])])
    if end is not None:
        yield None


PROGRAMS = {name: Program(name, entries) for name, entries in {
    "opencode": _opencode, "Pi coding agent": _pi, "Gemini CLI": _gemini, "Qwen Code": _qwen,
    "Kimi CLI": _kimi, "Cline or Roo Code": _cline}.items()}
