"""Find the session files of coding agents below a home folder, and list them in a table.

--source sessions reads the user's home folder, and sessions:PATH another one. Links out of that
folder are not followed.
"""
from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path, PurePath

from codedata.bounded import files_below
from codedata.errors import Trouble
from codedata.sampling.draw import prompts_of
from codedata.settings import SESSIONS
from codedata.terminal import aligned, say
from codedata.texts import printable

MAX_SECONDS = 10**11   # a larger Unix time is in milliseconds
PLACES = (   # globs of the programs' session files below a home folder
    ".claude/projects/**/*.jsonl", ".codex/*sessions/**/rollout-*.jsonl",
    ".pi/agent/sessions/**/*.jsonl", ".gemini/tmp/*/chats/session-*.json*",
    ".qwen/*/*/chats/*.json*", ".kimi/sessions/*/*/context*.jsonl",
    *(f"{folder}/tasks/*/api_conversation_history.json" for folder in (   # Cline, Roo Code
        ".cline/data", ".config/*/User/globalStorage/*",
        "Library/Application Support/*/User/globalStorage/*")))
NOTICE = ("Sessions can hold private text. Prompts go to the endpoints of your models as they are "
          "(king.py --show-config lists the endpoints); only exports mask keys and personal data. "
          "Choose with --only-repo NAME, sessions:PATH or [exclude].")


def is_sessions(source: str) -> bool:
    """Return whether a source is the sessions below a home folder."""
    return source.partition(":")[0] == SESSIONS


def session_files(source: str) -> list[str]:
    """Return the session files of the source "sessions" or "sessions:PATH". Raise Trouble if there
    are none."""
    home = Path.home() if source == SESSIONS else Path(source.partition(":")[2])
    found = [str(path) for glob in PLACES for path in files_below(home, glob)]
    if not found:
        raise Trouble("has no session files of coding agents.", str(home), "Give sessions:PATH of "
                      "a home folder, or the path of session files. For opencode, write them with: "
                      "opencode export SESSION > FILE.json")
    return found


def is_of(row: dict, repo: str) -> bool:
    """Return whether a trajectory is of the repository `repo`: its name, its working folder's path,
    or the name of a folder in that path."""
    folder = PurePath(str(row["origin"].get("folder", "")))
    return repo in (row["repo"], str(folder), *folder.parts)


def print_table(source) -> None:
    """Print the number of sessions and turns, and the first and last day, of each program and
    working folder of an open source. Print nothing for a source of another kind."""
    if not is_sessions(source.name):
        return
    by_place = defaultdict(list)   # [(number of turns, days)], since rows need much memory
    for row in source.in_pages(source.n_rows):
        origin = row.get("origin", {})
        days = [*map(_day, filter(None, map(origin.get, ("begin", "end"))))]
        by_place[row["agent"], str(origin.get("folder") or origin.get("project", ""))].append(
            (len(prompts_of(row)[0]), days))
    table = [["program", "working folder", "sessions", "turns", "first day", "last day"]]
    for (program, folder), sessions in sorted(by_place.items(), key=lambda item: -len(item[1])):
        days = sorted(day for _, of_session in sessions for day in of_session) or [""]
        n_turns = sum(n for n, _ in sessions)
        table.append([program, printable(folder, 100), str(len(sessions)), f"{n_turns:,}", days[0],
                      days[-1]])
    for line in aligned(table):
        say(f"      {line}")
    say(f"      {NOTICE}")


def _day(time) -> str:
    """Return the day of a time: a text that begins with the date, or Unix time in s or ms."""
    if isinstance(time, int | float):
        with suppress(ValueError, OverflowError, OSError):
            seconds = time / 1000 if time > MAX_SECONDS else time
            time = datetime.fromtimestamp(seconds, timezone.utc).isoformat()
    return printable(str(time)[:10], 10)
