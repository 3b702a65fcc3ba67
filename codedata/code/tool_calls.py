"""Say what the tool calls of coding agents do, by the table tools.toml.

A call is {id, type, function {name, arguments}}, as in the chat API. Of it are made its Effect, the
shell command that does the same, and the text that judges read. Where a tool works on the file that
SWE-agent's editor has open, the conversation before it (`history`) tells which that is. Whether a
call would succeed is not known here.
"""
from __future__ import annotations

import difflib
import json
import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from codedata.messages import content_text
from codedata.store import digest
from codedata.texts import text_of, tomllib

PLACES = ("command", "path", "pattern", "line", "count", "range", "first", "last", "old", "new",
          "edits", "patch")   # keys of the table that name an argument
LONG = ("old", "new", "edits", "patch")   # what they hold is shown as a diff
TYPES = {"strings": "string", "integers": "integer", "objects": "object"}   # of an array's items
WINDOW = 100       # lines that SWE-agent's editor shows
SHELLS = ("-c", "-lc", "-ilc")
FILE = re.compile(r"^\[File: (.+?) \(\d+ lines total\)\]\s*$", re.MULTILINE)
OPEN_FILE = re.compile(r"^\(Open file: (/.+?)\)\s*$", re.MULTILINE)
SHOWN_LINE = re.compile(r"^(\d+):(.*?)\r?$", re.MULTILINE)


@dataclass(frozen=True)
class Effect:
    """Hold what a call does; what it does not concern is empty, and lines count from 1."""

    does: str            # as in the table
    command: str = ""
    path: str = ""
    pattern: str = ""
    first: int = 0       # lines that are shown or replaced; an insertion is behind `last`
    last: int = 0
    edits: tuple[tuple[str, str], ...] = ()   # (old text, new text)
    patch: str = ""


@lru_cache
def _table() -> tuple[dict, dict, dict]:
    """Return (entries by the name of the tool, entries by heading, the rest of the table)."""
    table = tomllib.loads(text_of("codedata.code", "tools.toml"))
    rest = {key: table.pop(key) for key in ("agents", "commands")}
    by_name = defaultdict(list)
    by_heading = {}
    for heading, entries in table.items():
        entries = entries if isinstance(entries, list) else [entries]
        by_heading[heading] = [{"name": heading, **entry} for entry in entries]
        for entry in by_heading[heading]:
            by_name[entry["name"]].append(entry)
    return by_name, by_heading, rest


def parts_of(call: dict) -> tuple[str, dict | None]:
    """Return the name and the arguments of a call; None for arguments that are no JSON object."""
    arguments = call["function"].get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments, strict=False)
        except (ValueError, RecursionError):
            arguments = None
    is_object = isinstance(arguments, dict)
    return call["function"]["name"], arguments if is_object else None


def effect_of(name: str, arguments: dict, history: Sequence[dict] = ()) -> Effect | None:
    """Return what a call does, or None if the table has no such call."""
    entry = next((one for one in _table()[0].get(name, ()) if _fits(one, arguments)), None)
    if not entry:
        return None
    values = {place: arguments.get(entry[place]) for place in PLACES if place in entry}
    path, shown = "", {}
    if entry.get("open") and not values.get("path"):
        path, shown = _open_file(history)
    first, last = _lines(entry, values, [*shown])
    edits = [(_text(one.get("old_string")), _text(one.get("new_string")))
             for one in values.get("edits") or () if isinstance(one, dict)]
    if "new" in entry or "old" in entry:
        edits = [(_text(values.get("old")), _text(values.get("new")))]
    if entry["does"] == "lines" and {first, last} <= shown.keys():
        edits = [("\n".join(shown.get(i, "") for i in range(first, last + 1)), edits[0][1])]
    return Effect(entry["does"], _command(values.get("command")), _text(values.get("path")) or path,
                  _text(values.get("pattern")), first, last, tuple(edits),
                  _text(values.get("patch")))


def is_known(name: str) -> bool:
    """Return whether a tool is in the table."""
    return name in _table()[0]


def text_effect(command: str, history: Sequence[dict] = ()) -> Effect:
    """Return what a command of SWE-agent's text form does: one of its own, or the shell's."""
    for entries in _table()[0].values():
        for entry in entries:
            match = re.fullmatch(entry["text"], command.strip(), re.DOTALL) if (
                "text" in entry) else None
            if match:
                arguments = {name.rstrip("_"): value for name, value in match.groupdict().items()
                             if value is not None}
                return effect_of(entry["name"], arguments, history)
    return Effect("run", command)


def shell_command(effect: Effect) -> str:
    """Return the shell command that does the same."""
    commands = _table()[2]["commands"]
    does = effect.does
    new = effect.edits[0][1] if effect.edits else ""
    values = {"command": effect.command, "path": shlex.quote(effect.path or "."),
              "pattern": shlex.quote(effect.pattern), "first": effect.first, "last": effect.last,
              "patch": effect.patch, "new": new, "edits": list(effect.edits)}
    if does in ("read", "window"):
        does = "range" if effect.last else "read"
    elif does == "create":
        does = "create" if new else "touch"
        values["new"] = new.removesuffix("\n")
    elif does in ("lines", "insert"):
        first = effect.last if does == "insert" else effect.first - 1
        ends = not new or new.endswith("\n")
        values |= {"path": repr(effect.path), "first": first, "new": repr(new + "\n" * (not ends))}
        does = "lines"
    elif does == "replace":
        does = "edit"
        values["path"] = repr(effect.path)
    values["end"] = _unused("END", effect)
    return re.sub(r"\{(\w+)\}", lambda match: str(values[match[1]]), commands[does]).strip("\n")


def call_text(call: dict, history: Sequence[dict] = (), as_bash: bool = False) -> str:
    """Return a call as text: a block of bash for a shell's, else one of its arguments and diff.

    With `as_bash` it is the shell command that does the same, where there is one.
    """
    name, arguments = parts_of(call)
    effect = None if arguments is None else effect_of(name, arguments, history)
    if effect and (as_bash or effect.does == "run"):
        return _fenced("bash", shell_command(effect))
    if not effect:
        raw = call["function"].get("arguments")
        return _fenced("tool", f"{name} {raw if isinstance(raw, str) else json.dumps(raw)}")
    entry = next(one for one in _table()[0][name] if _fits(one, arguments))
    long = {entry[place] for place in LONG if place in entry}
    short = {key: value for key, value in arguments.items() if key not in long}
    lines = [f"{name} {json.dumps(short, ensure_ascii=False)}", *_diff(effect)]
    if effect.does == "python":
        lines = [name, effect.command]
    return _fenced("tool", "\n".join(lines))


def shell_call(command: str, tools: list[dict]) -> dict | None:
    """Return the call that runs a command by the shell among `tools`, or None without one."""
    for name in (function_of(tool).get("name") for tool in tools):
        for entry in _table()[0].get(name, ()):
            if entry["does"] == "run":
                takes_words = _type(entry, entry["command"]) == "strings"
                value = ["bash", "-lc", command] if takes_words else command
                arguments = json.dumps({entry["command"]: value}, ensure_ascii=False)
                return {"id": f"call_{digest([name, command])[:8]}", "type": "function",
                        "function": {"name": name, "arguments": arguments}}
    return None


def function_of(tool: dict) -> dict:
    """Return what the definition of a tool says of it: name, description, parameters."""
    return tool.get("function") or tool


def default_tools(agent: str, messages: Sequence[dict]) -> list[dict]:
    """Return the definitions of an agent's tools, for a trajectory that does not record them.

    They are those of the set in the table that has most of the tools that are called; called tools
    that it lacks are added, with any arguments. All of a set are given, not the called ones alone:
    which of them a trajectory needs later is none of a blind answer's business.
    """
    _, by_heading, rest = _table()
    called = [parts_of(call) for message in messages for call in message.get("tool_calls") or ()]

    def cover(item: tuple[str, list[str]]) -> tuple[int, bool]:
        title, headings = item
        entries = [entry for heading in headings for entry in by_heading[heading]]
        n = sum(any(entry["name"] == name and _fits(entry, arguments or {}) for entry in entries)
                for name, arguments in called)
        return n, agent.startswith(title.partition(",")[0])

    title, headings = max(rest["agents"].items(), key=cover)
    tools = [] if cover((title, headings)) == (0, False) else [
        _definition(by_heading[heading]) for heading in headings]
    known = {tool["function"]["name"] for tool in tools}
    others = dict.fromkeys(name for name, _ in called if name not in known)
    return tools + [_function(name, "", {}, []) for name in others]


def _definition(entries: list[dict]) -> dict:
    """Return the definition of the tool that some entries of the table are about."""
    properties: dict[str, dict] = {}
    for entry in entries:
        for argument, value in entry.get("when", {}).items():
            properties.setdefault(argument, {"type": "string", "enum": []})["enum"].append(value)
        for argument in [*_needed(entry), *entry.get("optional", ())]:
            kind = _type(entry, argument)
            of_items = {"type": "array", "items": {"type": TYPES.get(kind, "")}}
            properties.setdefault(argument, of_items if kind in TYPES else {"type": kind})
    required = [name for name in properties
                if all(name in (*_needed(entry), *entry.get("when", ())) for entry in entries)]
    return _function(entries[0]["name"], entries[0]["about"], properties, required)


def _type(entry: dict, argument: str) -> str:
    return entry.get("types", {}).get(argument, "string")


def _needed(entry: dict) -> list[str]:
    """Return the arguments that a call of an entry has to have."""
    named = (entry[place] for place in PLACES if place in entry)
    return [argument for argument in named if argument not in entry.get("optional", ())]


def _function(name: str, about: str, properties: dict, required: list[str]) -> dict:
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function",
            "function": {"name": name, "description": about, "parameters": parameters}}


def _fits(entry: dict, arguments: dict) -> bool:
    """Return whether a call with these arguments is of the entry."""
    return arguments.keys() >= {*_needed(entry)} and all(
        arguments.get(key) == value for key, value in entry.get("when", {}).items())


def _lines(entry: dict, values: dict, shown: list[int]) -> tuple[int, int]:
    """Return the first and the last line that a call shows or changes; (0, 0) for all."""
    shown = shown or [0]
    line, count = _number(values.get("line")), _number(values.get("count"))
    view = values.get("range")
    if entry["does"] == "insert":
        return line, line or shown[-1]
    if isinstance(view, list) and len(view) == 2:
        first, last = map(_number, view)
        return first, last if last > 0 else 10 ** 6
    if "first" in entry:
        return _number(values["first"]), _number(values["last"])
    if entry["name"].startswith("scroll_"):
        first = shown[-1] + 1 if entry["name"] == "scroll_down" else max(1, shown[0] - WINDOW)
        return first, first + WINDOW - 1
    if line or count:
        return max(1, line), max(1, line) + (count or WINDOW) - 1
    return 0, 0


def _open_file(history: Sequence[dict]) -> tuple[str, dict[int, str]]:
    """Return the path that SWE-agent's editor has open, and the lines that it showed last."""
    for message in reversed(history):
        text = content_text(message)
        if match := FILE.search(text):
            path = OPEN_FILE.search(text, match.end()) or match
            lines = SHOWN_LINE.findall(text, match.end())
            return path[1], {int(number): line for number, line in lines}
    return "", {}


def _command(value) -> str:
    """Return a command as the shell reads it; a list is a program with its arguments."""
    if not isinstance(value, list):
        return _text(value)
    words = [*map(str, value)]
    return words[2] if len(words) == 3 and words[1] in SHELLS else shlex.join(words)


def _diff(effect: Effect) -> Iterator[str]:
    """Yield the lines of the texts that an edit replaces and puts in."""
    for old, new in effect.edits:
        lines = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="")
        yield from [*lines][3:]   # behind its header
    yield from effect.patch.splitlines()


def _unused(word: str, effect: Effect) -> str:
    """Return a word that ends a here-document: it does not occur in the effect's texts."""
    text = repr(effect)
    while word in text:
        word += "_"
    return word


def _fenced(language: str, text: str) -> str:
    ticks = "```"
    while ticks in text:
        ticks += "`"
    return f"{ticks}{language}\n{text}\n{ticks}"


def _text(value) -> str:
    return "" if value is None else str(value)


def _number(value) -> int:
    """Return a whole number that a model may have written as a text, 0 for anything else."""
    return int(value) if re.fullmatch(r"-?\d{1,9}", str(value)) else 0
