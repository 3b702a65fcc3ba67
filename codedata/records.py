"""The schema: one frozen record a directory. Reading checks every field and names what is wrong.

Keys that a record does not know are left alone on disk: a person may add notes to any record.
"""
from __future__ import annotations

import json
import re
from dataclasses import MISSING, dataclass, fields

from codedata.errors import BrokenRecord

Message = dict[str, str]   # {"role": …, "content": …}
SAFE_NAME = re.compile(r"[A-Za-z0-9-][A-Za-z0-9._-]*\Z")


@dataclass(frozen=True)
class Prompt:
    """One turn to answer: an entry of prompt/prompts_<count>_<k>.json."""

    directory = "prompt"
    instance_id: str
    repo: str
    language: str
    turn: int                # index among the assistant turns of its trajectory, from 0
    messages: list[Message]  # the history as the agent saw it: {role, content}
    assistant: str           # the dataset's own next turn: the reference
    order: int = 0           # 1-based position in its file when it was written; 0: not numbered yet


@dataclass(frozen=True)
class Commit:
    """The hidden pull request of an instance: commit/<instance_id>.json."""

    directory = "commit"
    named_by_id = True
    instance_id: str
    repo: str
    language: str
    base_commit: str
    issue: str               # what the agent was told (problem_statement); may be empty
    description: str         # what the pull request says of itself; may be empty
    files: list[str]         # paths that patch and test_patch touch
    patch: str
    test_patch: str
    created_at: str | None = None   # ISO 8601, UTC
    licence: str | None = None      # of the repository, SPDX where the source has it


@dataclass(frozen=True)
class Answer:
    """The two answers to one prompt: answer/<source>_<order>.json. A side that is null is not made yet."""

    directory = "answer"
    sharded = True           # answer/, answer_0/, answer_1/ … are read as one
    instance_id: str
    messages: list[Message]
    assistant: str
    king: str | None = None
    challenger: str | None = None


def text_problem(value: str) -> str | None:
    """Why a text cannot be stored or sent (NUL byte, lone surrogate), or None."""
    if "\x00" in value:
        return "has a NUL byte"
    if value.isascii():
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return "has a lone surrogate (half a character)"
    return None


def safe_name(name: str) -> bool:
    """True where an id may be a file name: up to 200 of [A-Za-z0-9._-], not starting with a dot or an underscore."""
    return len(name) <= 200 and bool(SAFE_NAME.match(name))


def parse(cls, data, where: str, todo: str = ""):
    """`data` as a record of `cls`, or BrokenRecord with every fault of it in one sentence."""
    article = "an" if cls.__name__[0] in "AEIOU" else "a"
    if not isinstance(data, dict):
        raise BrokenRecord(f"is not {article} {cls.__name__}: it is {_kind(data)}, not an object.", where, todo)
    faults, values = [], {}
    for field in fields(cls):
        if field.name not in data:
            if field.default is MISSING:
                faults.append(f"`{field.name}` is missing")
            continue
        values[field.name] = value = data[field.name]
        if fault := _CHECKS[field.type](value):
            faults.append(f"`{field.name}` {fault}")
    if faults:
        raise BrokenRecord(f"is not {article} {cls.__name__}: {', '.join(faults)}.", where, todo)
    return cls(**values)


def _kind(value) -> str:
    return {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}.get(
        type(value), "a number")


def _text(value):
    return text_problem(value) if isinstance(value, str) else f"is {_kind(value)}, not a text"


def _int(value):
    return None if type(value) is int else f"is {_kind(value)}, not a whole number"


def _optional_text(value):
    return None if value is None else _text(value)


def _texts(value):
    if not isinstance(value, list):
        return f"is {_kind(value)}, not a list of texts"
    return next((f"[{i}] {fault}" for i, item in enumerate(value) if (fault := _text(item))), None)


def _messages(value):
    if not isinstance(value, list):
        return f"is {_kind(value)}, not a list of messages"
    try:   # one look at all of it together; only where that finds something, which message it is
        if all(len(m) == 2 for m in value) and not text_problem("".join([m["role"] + m["content"] for m in value])):
            return None
    except (TypeError, KeyError):
        pass
    for i, message in enumerate(value):
        if not isinstance(message, dict):
            return f"[{i}] is {_kind(message)}, not a message"
        for key in ("role", "content"):
            if fault := _text(message.get(key)):
                return f"[{i}].{key} {fault}"
        if len(message) > 2 and (fault := text_problem(json.dumps(message, ensure_ascii=False))):
            return f"[{i}] {fault}"
    return None


_CHECKS = {"str": _text, "int": _int, "str | None": _optional_text, "list[str]": _texts,
           "list[Message]": _messages}
