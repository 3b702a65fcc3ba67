"""Read the tool calls of coding agents, by the table tools.toml.

A call is {id, type, function {name, arguments}}, as in the chat API. This module returns its
Effect, the equivalent shell command, and the text that judges read. Some tools work on the file
that SWE-agent's editor has open: `history`, the conversation before the call, shows which one.
Nothing here predicts whether a call would succeed.
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

import orjson

from codedata.disk.store import digest
from codedata.messages import content_text
from codedata.texts import fenced, toml_of

# keys of the table that name an argument
KEYS = ("command", "folder", "path", "pattern", "include", "line", "count", "range", "first",
        "last", "old", "new", "all", "edits", "patch", "blocks")
LONG = ("command", "old", "new", "edits", "patch", "blocks")   # keys whose values are shown
# {type in the table: type of the array's items}
TYPES = {"strings": "string", "integers": "integer", "objects": "object"}
OLD_AND_NEW = (("old_string", "old", "oldText"), ("new_string", "new", "newText"))
OF_AN_EDIT = {*OLD_AND_NEW[0], *OLD_AND_NEW[1], "replace_all"}   # keys of one of several edits
# no group has the beginning of another block, since time would grow with the cube of a text
BLOCKS = re.compile(
    r"^[<-]{5,9} SEARCH>?\n(?::start_line:[^\n]*\n)?(?:-{5,9}\n)?"
    r"((?:(?!^={5,9}\n|^[<-]{5,9} SEARCH).)*?)\n?^={5,9}\n"
    r"((?:(?!^[<-]{5,9} SEARCH).)*?)\n?^[>+]{5,9} REPLACE", re.DOTALL | re.MULTILINE)
WINDOW = 100       # lines that SWE-agent's editor shows
END = 10**9        # means the last line of a file
MAX_MESSAGES = 100   # newest messages to search for the open file
SHELL_FLAGS = ("-c", "-lc", "-ilc")
NO_COMMAND = "# no shell command does this: "   # prefix for a call without an equivalent command
FILE = re.compile(r"^\[File: (.+?) \(\d+ lines total\)\]\s*$", re.MULTILINE)
OPEN_FILE = re.compile(r"^\(Open file: (/.+?)\)\s*$", re.MULTILINE)
SHOWN_LINE = re.compile(r"^(\d+):(.*?)\r?$", re.MULTILINE)


@dataclass(frozen=True)
class Effect:
    """Hold the effect of a call. Fields that do not apply are empty; lines count from 1."""

    does: str            # kind of effect, as in the table
    command: str = ""
    folder: str = ""     # work directory of the command
    path: str = ""
    pattern: str = ""
    include: str = ""    # a pattern of the files to search
    first: int = 0       # first line shown or replaced; an insertion goes after line `last`
    last: int = 0
    edits: tuple[tuple[str, str, str], ...] = ()   # (old text, new text, "only" or "all")
    patch: str = ""


@lru_cache
def _table() -> tuple[dict, dict, dict]:
    """Return (entries by the name of the tool, entries by heading, the rest of the table)."""
    table = toml_of("codedata.conversation", "tools.toml")
    rest = {key: table.pop(key) for key in ("agents", "commands", "others")}
    by_name = defaultdict(list)
    by_heading = {}
    for heading, entries in table.items():
        entries = entries if isinstance(entries, list) else [entries]
        by_heading[heading] = [{"name": heading, **entry} for entry in entries]
        for entry in by_heading[heading]:
            by_name[entry["name"]].append(entry)
    return by_name, by_heading, rest


def parts_of(call: dict) -> tuple[str, dict | None]:
    """Return (name, arguments) of a call. The arguments are None unless they are a JSON object with
    unique keys and values that can be stored as JSON."""
    arguments = call["function"].get("arguments") or {}
    try:
        if isinstance(arguments, str):
            arguments = json.loads(arguments, strict=False, object_pairs_hook=_unique_keys,
                                   parse_constant=int)   # int("NaN") raises ValueError
        orjson.dumps(arguments)
    except (ValueError, TypeError, RecursionError):
        arguments = None
    is_object = isinstance(arguments, dict)
    return call["function"]["name"], arguments if is_object else None


def _unique_keys(pairs: list[tuple]) -> dict:
    """Return the object of these pairs; raise ValueError if a key occurs twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


def effect_of(name: str, arguments: dict, history: Sequence[dict] = ()) -> Effect | None:
    """Return the effect of a call, or None if the table has no such call."""
    entry = _entry(name, arguments)
    if not entry and name not in _table()[2]["others"]:
        return None
    if not entry or entry["does"] == "other":
        return Effect("other", f"{NO_COMMAND}{name} {json.dumps(arguments, ensure_ascii=False)}")
    values = {key: arguments.get(entry[key]) for key in KEYS if key in entry}
    texts = {key: _text(values.get(key))
             for key in ("folder", "path", "pattern", "include", "patch")}
    shown: dict[int, str] = {}
    if entry.get("open") and not texts["path"]:
        texts["path"], shown = _open_file(history)
    first, last = _lines(entry, values, [*shown])
    several = values.get("edits")
    edits = [(*(_text(next(filter(None, map(one.get, keys)), None)) for keys in OLD_AND_NEW),
              "all" if one.get("replace_all") else "only")
             for one in (several if isinstance(several, list) else [several])
             if isinstance(one, dict)]
    edits += [(*found, "only") for found in BLOCKS.findall(_text(values.get("blocks")))]
    if "new" in entry or "old" in entry:
        old = _text(values.get("old"))
        if entry["does"] == "lines" and {first, last} <= shown.keys():
            old = "\n".join(shown.get(i, "") for i in range(first, last + 1))
        edits = [(old, _text(values.get("new")), "all" if values.get("all") else "only")]
    return Effect(entry["does"], _command(values.get("command")), first=first, last=last,
                  edits=tuple(edits), **texts)


def is_known(name: str) -> bool:
    """Return whether a tool is in the table."""
    return name in _table()[0]


def text_effect(command: str, history: Sequence[dict] = ()) -> Effect:
    """Return the effect of a command in SWE-agent's text form: a command of SWE-agent or the shell.
    """
    command = command.strip()
    for entry in _table()[0].get(command.split()[0], ()) if command else ():
        arguments = _text_arguments(entry, command)
        if arguments is not None and _fits(entry, arguments):
            return effect_of(entry["name"], arguments, history)
    return Effect("run", command)


def _text_arguments(entry: dict, command: str) -> dict | None:
    """Return the arguments of a command, or None if it is not in the text form of the entry."""
    form = entry.get("text")
    if isinstance(form, str):
        match = re.fullmatch(form, command, re.DOTALL)
        return match and match.groupdict()
    try:
        words = shlex.split(command)[1:]
    except ValueError:
        return None
    if form is None or "\n" in command or len(words) > len(form):
        return None
    return dict(zip(form, words, strict=False))


def shell_command(effect: Effect) -> str:
    """Return the shell command that has the same effect as a call."""
    old, new, _ = effect.edits[0] if effect.edits else ("", "", "")
    template = _template(effect, old, new)
    path = f"./{effect.path}" if effect.path.startswith("-") else effect.path or "."
    values = {"command": effect.command, "patch": effect.patch, "new": new.removesuffix("\n"),
              "folder": shlex.quote(effect.folder), "path": shlex.quote(path),
              "pattern": shlex.quote(effect.pattern), "edits": list(effect.edits),
              "include": f"--include={shlex.quote(effect.include)} " if effect.include else "",
              "first": effect.first, "last": "$" if effect.last >= END else effect.last,
              "end": _unused_word(effect)}
    if template == "no_end":
        values["new"] = shlex.quote(new)
    if template in ("edit", "lines"):   # these run Python
        values["path"] = repr(path)
    if template == "lines":
        inserts = effect.does == "insert"
        values |= {"first": effect.last if inserts else effect.first - 1,
                   "last": 0 if inserts else effect.last, "new": repr(new.split("\n"))}
    return re.sub(r"\{(\w+)\}", lambda match: str(values[match[1]]),
                  _table()[2]["commands"][template].strip("\n"))


def _template(effect: Effect, old: str, new: str) -> str:
    """Return the table's key of the command for an effect whose first edit replaces old by new."""
    does = effect.does
    if does in ("read", "window"):
        return "range" if effect.last else "read"
    if does == "run":
        return "run" if effect.folder in ("", ".") else "folder"
    if does in ("lines", "insert"):
        return "lines"
    if does == "create" or (does == "replace" and not old):
        return "create" if new.endswith("\n") else "no_end"
    return "edit" if does == "replace" else does


def call_effect(call: dict, history: Sequence[dict]) -> Effect | None:
    """Return a call's effect, or None if its arguments cannot be read or the table lacks it."""
    name, arguments = parts_of(call)
    return None if arguments is None else effect_of(name, arguments, history)


def bash_texts(calls: Sequence[dict], history: Sequence[dict]) -> list[str]:
    """Return a block for each call without an equivalent shell command, then a bash block with the
    equivalent commands of the others, in order."""
    texts, commands = [], []
    for call in calls:
        effect = call_effect(call, history)
        if effect and effect.does != "other":
            commands.append(shell_command(effect))
        else:
            texts.append(call_text(call, history))
    return [*texts, fenced("bash", "\n".join(commands))] if commands else texts


def call_text(call: dict, history: Sequence[dict] = ()) -> str:
    """Return a call as text. A shell command becomes a bash block, after a block with the other
    arguments. Any other call becomes a block with its arguments and, for an edit, the diff."""
    name, arguments = parts_of(call)
    effect = call_effect(call, history)
    if not effect or effect.does == "other":
        raw = call["function"].get("arguments")
        return fenced("tool", f"{name} {raw if isinstance(raw, str) else json.dumps(raw)}")
    entry = _entry(name, arguments)
    long = {entry[key] for key in LONG if key in entry}
    if not all(isinstance(one, dict) and one.keys() <= OF_AN_EDIT
               for one in arguments.get("edits") or ()):
        long -= {"edits"}   # show edits whole, since the diff lacks their other keys
    others = {key: value for key, value in arguments.items() if key not in long}
    head = f"{name} {json.dumps(others, ensure_ascii=False)}"
    if effect.does != "run":
        return fenced("tool", "\n".join([head, *_shown_lines(effect)]))
    block = fenced("bash", effect.command)
    return f"{fenced('tool', head)}\n\n{block}" if others else block


def shell_call(command: str, tools: list[dict]) -> dict | None:
    """Return a call that runs a command with the shell tool among `tools`, or None without one.
    Other required arguments get the first value that the definition allows, or ""."""
    for function in map(function_of, tools):
        schema = function.get("parameters") or {}
        properties = schema.get("properties") or {}
        for entry in _table()[0].get(function.get("name"), ()):
            name = entry.get("command")
            if entry["does"] == "run" and (name in properties or not properties):
                arguments = {key: [*properties.get(key, {}).get("enum", ()), ""][0]
                             for key in schema.get("required") or ()}
                takes_words = properties.get(name, {}).get("type") == "array"
                arguments[name] = ["bash", "-lc", command] if takes_words else command
                return new_call(function["name"], json.dumps(arguments, ensure_ascii=False))
    return None


def new_call(name: str, arguments: str) -> dict:
    """Return a call whose id depends only on the name and the arguments: models learn ids, so an id
    must carry no other information."""
    return {"id": f"call_{digest([name, arguments])[:8]}", "type": "function",
            "function": {"name": name, "arguments": arguments}}


def function_of(tool: dict) -> dict:
    """Return {name, description, parameters} from the definition of a tool."""
    return tool.get("function") or tool


def default_tools(agent: str, messages: Sequence[dict]) -> tuple[list[dict], dict[str, list[int]]]:
    """Return (definitions of an agent's tools, for a trajectory that does not record them; {name:
    indices of messages that call it} for tools known only from calls).

    The definitions are the set in the table that fits the most calls, plus called tools that the
    set lacks, with any arguments. For a known agent, tools of other agents are left out. The whole
    set is returned, not only the called tools: a blind answer must not learn which of them the
    trajectory calls later.
    """
    _, by_heading, rest = _table()
    called = [(*parts_of(call), i) for i, message in enumerate(messages)
              for call in message.get("tool_calls") or ()]
    # {name of a set: {name of a tool: its entries in the table}}
    sets = {title: {by_heading[heading][0]["name"]: by_heading[heading] for heading in headings}
            for title, headings in rest["agents"].items()}
    spelled = agent.casefold().replace("-", " ")
    own = [title for title in sets if title.partition(",")[0] in spelled]
    foreign = set().union(*sets.values()).difference(*map(sets.get, own)) if own else set()

    def cover(title: str) -> tuple[int, bool]:
        """Return (number of calls that fit a set; whether the set is one of the agent's). A call
        with unreadable arguments fits by its name."""
        n = sum(any(arguments is None or _fits(entry, arguments)
                    for entry in sets[title].get(name, ())) for name, arguments, _ in called)
        return n, title in own

    title = max(sets, key=cover)
    known = sets[title] if any(cover(title)) else {}
    others = defaultdict(list)
    for name, _, i in called:
        if name not in {*known, *foreign}:
            others[name].append(i)
    added = [_function(name, "", {}, []) for name in others]
    return [*map(_definition, known.values()), *added], {**others}


def _definition(entries: list[dict]) -> dict:
    """Return the definition of a tool from its entries in the table."""
    properties = {}
    for entry in entries:
        for argument, value in entry.get("when", {}).items():
            properties.setdefault(argument, {"type": "string", "enum": []})["enum"].append(value)
        for argument in [*_needed(entry), *entry.get("optional", ())]:
            kind = entry.get("types", {}).get(argument, "string")
            of_items = {"type": "array", "items": {"type": TYPES.get(kind, "")}}
            properties.setdefault(argument, of_items if kind in TYPES else {"type": kind})
    required = [name for name in properties
                if all(name in (*_needed(entry), *entry.get("when", ())) for entry in entries)]
    return _function(entries[0]["name"], entries[0]["about"], properties, required)


def _needed(entry: dict) -> list[str]:
    """Return the arguments that an entry requires of a call."""
    named = (entry[key] for key in KEYS if key in entry)
    return [argument for argument in named if argument not in entry.get("optional", ())]


def _function(name: str, about: str, properties: dict, required: list[str]) -> dict:
    """Return the definition of a tool in the form of the chat API."""
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function",
            "function": {"name": name, "description": about, "parameters": parameters}}


def _entry(name: str, arguments: dict) -> dict | None:
    """Return the first entry of the table that a call fits, or None."""
    return next((one for one in _table()[0].get(name, ()) if _fits(one, arguments)), None)


def _fits(entry: dict, arguments: dict) -> bool:
    """Return whether a call with these arguments fits the entry."""
    return arguments.keys() >= {*_needed(entry)} and all(
        arguments.get(key) == value for key, value in entry.get("when", {}).items())


def _lines(entry: dict, values: dict, shown: list[int]) -> tuple[int, int]:
    """Return the first and the last line that a call shows or changes; (0, 0) for all."""
    shown = shown or [0]
    line, count = _number(values.get("line")), _number(values.get("count"))
    view = values.get("range")
    if entry["does"] == "insert":
        after = line if values.get("line") is not None else END
        return after, after
    if isinstance(view, list) and len(view) == 2:
        first, last = map(_number, view)
        return first, last if last > 0 else END
    if "first" in entry:
        return _number(values["first"]), _number(values["last"])
    if entry["name"].startswith("scroll_"):
        first = shown[-1] + 1 if entry["name"] == "scroll_down" else max(1, shown[0] - WINDOW)
        return first, first + WINDOW - 1
    if line or count:
        first = max(1, line + 1 - entry.get("base", 1))
        count = count or (WINDOW if "text" in entry else END)
        return first, min(END, first + count - 1)
    return 0, 0


def _open_file(history: Sequence[dict]) -> tuple[str, dict[int, str]]:
    """Return (path of the file open in SWE-agent's editor, {number: line} last shown), or ("", {}).
    """
    for message in reversed(history[-MAX_MESSAGES:]):
        text = content_text(message)
        if match := FILE.search(text):
            path = OPEN_FILE.search(text, match.end()) or match
            return path[1], {int(number): line
                             for number, line in SHOWN_LINE.findall(text, match.end())}
    return "", {}


def _command(value) -> str:
    """Return a command as a line for the shell; a list holds a program and its arguments."""
    if not isinstance(value, list):
        return _text(value)
    words = [*map(str, value)]
    return words[2] if len(words) == 3 and words[1] in SHELL_FLAGS else shlex.join(words)


def _shown_lines(effect: Effect) -> Iterator[str]:
    """Yield the lines of a program or patch, or the diff of an edit with all lines of both texts:
    a judge must see the whole effect of the call."""
    for old, new, _ in effect.edits:
        before, after = old.splitlines(), new.splitlines()
        n = len(before) + len(after)
        lines = [*difflib.unified_diff(before, after, n=n, lineterm="")][3:]   # without its header
        yield from lines or [f" {line}" for line in before]
    yield from (effect.patch or effect.command).splitlines()


def _unused_word(effect: Effect) -> str:
    """Return a word to end a here-document with: one that does not occur in the effect's texts."""
    word = "END"
    text = repr(effect)
    while word in text:
        word += "_"
    return word


def _text(value) -> str:
    return "" if value is None else str(value)


def _number(value) -> int:
    """Return an integer, which a model may have written as a text; 0 for anything else."""
    return int(value) if re.fullmatch(r"-?\d{1,9}", str(value)) else 0
