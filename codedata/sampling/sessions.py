"""Read what connects a developer's session with commits, from all lines of its file.

Claude Code and Codex are read, with the results of their tools. A call without a result, or with an
error, did nothing. Edits by shell commands are not read, except patches in the format of Codex.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from os.path import join, normpath

from codedata.conversation.tool_calls import Effect, call_effect
from codedata.messages import content_text
from codedata.sampling.readers.chat import read_call
from codedata.sampling.readers.responses import message_of
from codedata.texts import bare, storable

COMMITS = re.compile(r"\bgit\b[^\n;|&]* commit\b")   # a command that commits
# its output: short hash, subject. Early versions of Codex wrote the output as JSON
COMMITTED = re.compile(r'(?:^|"|\\n)\[[^\]\n]* ([0-9a-f]{7,40})\] (.+?)(?:\\n|\r?$)', re.MULTILINE)
PATCHED = "Success. Updated the following files"   # output of apply_patch
SECTION = re.compile(r"^\*\*\* (Add|Update|Delete) File: (.+)\n((?:(?!\*\*\*).*\n?)*)",
                     re.MULTILINE)
NUMBERED = re.compile(r"^ *\d{1,9}(?:→|\t)(.*)$", re.MULTILINE)   # a line that Read shows
MIN_CHARS = 4   # shorter lines, such as lone brackets, do not count


@dataclass
class Session:
    """Hold what is known of a session. Times are Unix times."""

    times: list[float] = field(default_factory=list)
    folder: str = ""           # work directory at its start; "" if unknown
    branches: set[str] = field(default_factory=set)
    base: str = ""             # the commit that it names as its start; "" for none
    # (time, absolute path, old text, new text): old None creates the file; equal texts were read
    edits: list[tuple[float, str, str | None, str]] = field(default_factory=list)
    commits: list[tuple[str, str]] = field(default_factory=list)   # (short hash, subject)

    @cached_property
    def paths(self) -> set[str]:
        """Return the absolute paths of the files that it edited."""
        return {path for _, path, old, new in self.edits if old != new}

    @cached_property
    def first_edit(self) -> float:
        """Return the time of its first edit."""
        return min((at for at, _, old, new in self.edits if old != new), default=self.times[-1])

    def paths_in(self, names: Iterable[str]) -> dict[str, str]:
        """Return {path: absolute path} of the files of a repository that it edited."""
        return {name: path for name in names for path in self.paths if path.endswith(f"/{name}")}

    def wrote(self, texts: dict[str, str]) -> set[tuple[str, str]]:
        """Return (path, line) of the lines that its edits add, given the texts of some files at the
        start. Return nothing if one of them differs from what it read or replaced first. Later
        edits that do not apply are left out, since other programs may have changed the file."""
        lines = set()
        names = {path: name for name, path in self.paths_in(texts).items()}
        for path in self.paths:
            edits = [(old, new) for _, one, old, new in self.edits if one == path]
            if path not in names:   # the file is unchanged
                lines |= {(path, line) for old, new in edits if path.startswith(self.folder)
                          for line in lines_in(new) - lines_in(old or "")}
                continue
            before = now = texts[names[path]]
            for i, (old, new) in enumerate(edits):
                if old is None:
                    now = new
                elif old in now:
                    now = now.replace(old, new, -1 if old else 1)
                elif all(earlier == later for earlier, later in edits[:i]):
                    return set()
            lines |= {(names[path], line) for line in lines_in(now) - lines_in(before)}
        return lines


def lines_in(text: str) -> set[str]:
    """Return the stripped lines of a text, without short ones."""
    return {line.strip() for line in text.split("\n") if len(bare(line)) >= MIN_CHARS}


def sessions_in(rows: Iterable[dict]) -> dict[str, Session]:
    """Return {instance id: session} of rows with the `lines` of their files. Files of one id, such
    as a subagent's, are one session."""
    found: dict[str, Session] = {}
    for row in rows:
        with suppress(LookupError, TypeError, AttributeError, ValueError, ArithmeticError):
            _read(row.get("lines", ()), found.setdefault(row["instance_id"], Session()))
    for session in found.values():
        session.edits.sort(key=lambda edit: edit[0])
    return {name: session for name, session in found.items() if session.times}


def _read(lines: Iterable[dict], session: Session) -> None:
    """Add the lines of a file to a session."""
    calls, results = {}, {}
    for line in lines:
        body = line.get("message") or line.get("payload") or line
        git = body.get("git") or {}
        if line.get("timestamp"):
            session.times.append(
                datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00")).timestamp())
        session.folder = session.folder or storable(str(line.get("cwd") or body.get("cwd") or ""))
        session.base = session.base or storable(str(git.get("commit_hash") or ""))
        session.branches |= {str(line.get("gitBranch")), str(git.get("branch"))}
        content = body.get("content")
        for item in (body, *(content if isinstance(content, list) else ())):
            if item.get("type") == "tool_use":
                calls[item["id"]] = session.times[-1], item
            elif item.get("type") == "tool_result" and not item.get("is_error"):
                results[item["tool_use_id"]] = content_text({"content": item.get("content") or ""})
            elif "call_id" in item and (message := message_of(item)):
                results[item["call_id"]] = content_text(message)
                for call in message["tool_calls"]:
                    calls[call["id"]] = session.times[-1], call
    for id, (at, raw) in calls.items():
        effect = call_effect(read_call(raw, {}), ()) if id in results else None
        if effect:
            session.edits += [(at, normpath(join(session.folder, effect.folder, path)), old, new)
                              for path, old, new in _edits(effect, results[id])]
            if COMMITS.search(effect.command):
                session.commits += COMMITTED.findall(results[id])


def _edits(effect: Effect, result: str) -> Iterator[tuple[str, str | None, str]]:
    """Yield (path, old text, new text) of what a call edited or read."""
    if effect.does == "read":
        shown = "\n".join(NUMBERED.findall(result))
        yield effect.path, shown, shown
    elif effect.does in ("create", "replace"):
        for old, new, _ in effect.edits:
            yield effect.path, old if effect.does == "replace" else None, new
    elif PATCHED in result:
        for kind, path, body in SECTION.findall(effect.patch or effect.command):
            is_update = kind == "Update"
            for hunk in re.split("^@@.*\n", body, flags=re.MULTILINE) if is_update else [body]:
                yield path, _side(hunk, "-") if is_update else None, _side(hunk, "+")


def _side(hunk: str, sign: str) -> str:
    """Return the old ("-") or the new ("+") lines of a hunk."""
    return "\n".join(line[1:] for line in hunk.rstrip("\n").split("\n")
                     if line[:1] in ("", " ", sign))
