"""Choose the reader of a document by what is in it, and give its row the shape of all rows.

A document is a row of a table, or the content of a file: a JSON object, or the list of its lines.
Its row is {instance_id, repo, messages, tools, agent, first_turn}. Assistant messages before that
of the number `first_turn` are no turns: demonstrations, or copies of those of other files.
"""
from __future__ import annotations

import re
from pathlib import PurePath

from codedata.errors import Trouble
from codedata.sampling.readers import atif, claude_code, codex, openhands, rows, swe_agent
from codedata.sampling.readers.chat import read_message, read_tools, with_ids

READERS = (atif, swe_agent, claude_code, codex, openhands, rows)
ENDINGS = re.compile(r"(\.traj|\.jsonl?|\.gz)+$", re.IGNORECASE)
# names of files and folders that say nothing of the instance
COMMON = re.compile(r"|trajector(y|ies)\b.*|agent|events|.*completions|sessions|.*-\d{10}\.\d+")
TRIAL = re.compile(r"__[A-Za-z0-9]{7}$")   # what Harbor appends to the name of a task


def reader_of(document):
    """Return the reader of a document, or None."""
    return next((reader for reader in READERS if reader.matches(document)), None)


def read(document, where: str, name: str = "") -> dict:
    """Return the row of a document; `name` is that of its file, if that holds no other.

    Raise Trouble if it has no form that is known, or not what that form should have.
    """
    reader = reader_of(document)
    if not reader:
        first = document[0] if document and isinstance(document, list) else document
        keys = [*first][:9] if isinstance(first, dict) else []
        raise Trouble(f"has no known form: keys {', '.join(keys) or 'none'}", where,
                      "docs/data.md has a row of each form.")
    try:
        found = reader.read(document)
        messages = with_ids([*map(read_message, found["messages"])])
        tools = read_tools(found.get("tools") or ())
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as e:
        reason = str(e) if type(e) is ValueError else f"not as expected: {e!r}"
        raise Trouble(f"is of the form {reader.FORM}, but {reason}", where) from e
    instance_id = found.get("instance_id") or (name and id_of_file(name, found.get("clone")))
    if not instance_id:
        raise Trouble("has no `instance_id`", where)
    return {"instance_id": str(instance_id), "repo": str(found.get("repo") or ""),
            "messages": messages, "tools": tools, "agent": found["agent"],
            "first_turn": found.get("first_turn", 0)}


def missing_columns(row: dict) -> str:
    """Return the columns that a table of trajectories needs and has not, "" if none is missing."""
    needed = {"`instance_id`": {*rows.IDS, "instance"} & row.keys(), "`messages`": reader_of(row)}
    return " and ".join(name for name, is_there in needed.items() if not is_there)


def id_of_file(name: str, clone: str | None = None) -> str:
    """Return the instance id that the name of a file gives, or else that of the nearest folder.

    Where the agent worked in `clone`, owner__name, the number of an issue at its end is enough.
    """
    path = PurePath(name)
    stem = ENDINGS.sub("", path.name)
    folders = [TRIAL.sub("", folder.name) for folder in path.parents]
    telling = next((word for word in [stem, *folders] if not COMMON.fullmatch(word)), stem)
    number = re.search(r"-\d+$", telling)
    if clone and number and "__" not in telling:
        telling = f"{clone}{number[0]}"
    return re.sub(r"[^A-Za-z0-9._-]", "-", telling).lstrip("._")[:200]
