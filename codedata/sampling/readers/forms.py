"""Choose the reader of a document by its content, and return the row that it reads. All rows have
the same keys.

A document is a row of a table or the content of a file: a JSON object, or a list with the value of
each line. Its row is {instance_id, repo, messages, tools, agent, no_turns, unseen, is_cut,
subagents, origin}. `no_turns` are the indexes of messages that are not turns, because they are a
demonstration, are copied from another file, or were not written by a model. `unseen` is None, or a
function from the index of a turn to the indexes of the messages that its model did not see.
`is_cut` says whether turns are left out because their history was a summary. `subagents` are the
rows of the subagents in the same document. `origin` has what a session's file says of {folder,
project, branch, commit, begin, end}: the working folder, Gemini CLI's digest of it, the branch and
commit at the beginning, and the times of the first and last entry, as the file spells them. Rows of
Claude Code and Codex have all `lines` of their file, too.
"""
from __future__ import annotations

import re
from collections import defaultdict
from pathlib import PurePath

from codedata.disk.store import digest
from codedata.errors import Trouble
from codedata.sampling.readers import (
    adp,
    atif,
    claude_code,
    codex,
    hub_traces,
    openhands,
    rows,
    sessions,
    swe_agent,
)
from codedata.sampling.readers.chat import read_message, read_tools, with_ids
from codedata.sampling.readers.text_calls import with_calls

READERS = (atif, swe_agent, claude_code, codex, openhands, hub_traces, adp, rows)
BASE = "base-"   # prefix, in an id, of a session's base commit; a PR's own commit has none
UNNAMED = "unnamed-"   # prefix of the digest that names a row without any name
ENDINGS = re.compile(r"(\.traj|\.jsonl?|\.gz)+$", re.IGNORECASE)
# names of files and folders that do not name the instance
COMMON = re.compile(r"|trajector(y|ies)\b.*|agent(-\w{5,})?|subagents|events|.*completions|"
                    r"sessions|.*-\d{10}\.\d+|context(_\d+)?|api_conversation_history")
# {field of `origin`: keys of its values in a session's file}
ORIGIN = {"folder": ("cwd", "directory"), "project": ("projectHash",),
          "branch": ("gitBranch", "branch"), "commit": ("commit_hash",),
          "times": ("timestamp", "ts", "created", "startTime")}
WITHIN = ("messages", "payload", "git", "info", "time")   # keys of parts that may have such keys
TRIAL = re.compile(r"__[A-Za-z0-9]{7}$")   # what Harbor appends to the name of a task


def reader_of(document):
    """Return the reader of a document, or None."""
    program = sessions.PROGRAMS.get(sessions.program_of(document).get("name"))
    return program or next((reader for reader in READERS if reader.matches(document)), None)


def read(document, where: str, name: str = "") -> dict:
    """Return the row of a document. `name` is its file's name, "" if the file has several rows.

    Raise Trouble if its form is not known, or if it lacks what that form needs.
    """
    if refusal := sessions.program_of(document).get("refusal"):
        raise Trouble(refusal, where)
    reader = reader_of(document)
    if not reader:
        first = document[0] if document and isinstance(document, list) else document
        keys = [*first][:9] if isinstance(first, dict) else []
        raise Trouble(f"has no known form: keys {', '.join(keys) or 'none'}", where,
                      "docs/data.md has a row of each form.")
    try:
        found = reader.read(document)
        rows = [_row(one) for one in (found, *found.get("subagents", ()))]
    except (KeyError, TypeError, AttributeError, ValueError, IndexError,
            RecursionError) as e:
        reason = str(e) if type(e) is ValueError else (
            f"lacks {e}" if type(e) is KeyError else "a part of it has another type than expected")
        raise Trouble(f"is of the form {reader.FORM}, but {reason}", where) from e
    instance_id = found.get("instance_id") or (
        id_of_file(name, found.get("clone"), found.get("session")) if name else
        _made_id(found, rows[0]["messages"]))
    names = {"instance_id": str(instance_id), "repo": str(found.get("repo") or ""),
             "origin": _origin(document)}
    row, *subagents = [{**names, **one} for one in rows]
    lines = {"lines": found["lines"]} if "lines" in found else {}
    return {**row, "subagents": subagents, **lines}


def _row(found: dict) -> dict:
    """Return the row that a reader found, with its messages and tools in the form of the chat API.
    """
    tools = read_tools(found.get("tools"))
    functions = [one["function"] for one in tools or ()]
    required = {one["name"]: set((one.get("parameters") or {}).get("required") or ())
                for one in functions}
    messages = [read_message(one, required) for one in found["messages"]]
    no_turns, unseen = found.get("no_turns", ()), found.get("unseen")
    if not unseen and (written := with_calls(messages, tools)):
        messages, tools, places = written
        no_turns = {places[i] for i in no_turns}
    return {"messages": with_ids(messages), "tools": tools, "agent": found["agent"],
            "no_turns": no_turns, "unseen": unseen, "is_cut": found.get("is_cut")}


def _origin(document) -> dict:
    """Return the `origin` of a session: the first value of each field."""
    found = defaultdict(list)
    parts = [document]
    for part in parts:   # grows
        if isinstance(part, list):
            parts += part
        elif isinstance(part, dict):
            parts += [part[key] for key in WITHIN if key in part]
            for field, keys in ORIGIN.items():
                found[field] += [part[key] for key in keys if part.get(key)]
    times = sorted(found.pop("times", ()), key=str)
    found |= {"begin": times[:1], "end": times[-1:]}
    return {field: values[0] for field, values in found.items() if values}


def _made_id(found: dict, messages: list[dict]) -> str:
    """Return an instance id for a row that names none: its repository and base commit, or else its
    own `id`, or else a digest."""
    repo, commit = found.get("repo"), found.get("commit")
    if repo and commit:
        path = str(repo).removesuffix(".git").replace(":", "/")   # may be an address
        return f"{'__'.join(path.split('/')[-2:])}-{BASE}{str(commit)[:8]}"
    own_id = re.sub(r"[^A-Za-z0-9._-]", "-", str(found.get("id") or "")).lstrip("._")[:200]
    return own_id or f"{UNNAMED}{digest(messages)[:8]}"


def id_of_file(name: str, clone: str | None = None, session: str | None = None) -> str:
    """Return the instance id in the name of a file, or else in the name of the nearest folder.

    If the agent worked in `clone` (owner__name), a name that ends with an issue number is enough. A
    subagent's file in the folder of its `session` gets the session's id, unless the folder is named
    after an instance.
    """
    path = PurePath(name)
    stem = ENDINGS.sub("", path.name)
    folders = [TRIAL.sub("", folder.name) for folder in path.parents]
    if session and not re.search("__|^subagents$", folders[0]):
        folders.insert(0, session)
    telling = next((word for word in [stem, *folders] if not COMMON.fullmatch(word)), stem)
    number = re.search(r"-\d+$", telling)
    if clone and number and "__" not in telling:
        telling = f"{clone}{number[0]}"
    return re.sub(r"[^A-Za-z0-9._-]", "-", telling).lstrip("._")[:200]
