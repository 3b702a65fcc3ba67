"""Read a developer's session for matching it with commits, from all lines of its file.

Claude Code and Codex are read, with the results of their tools. A call without a result, or with an
error, did nothing. Edits by shell commands are not read, except patches in the format of Codex.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from os.path import basename, join, normpath

from codedata.conversation.tool_calls import Effect, call_effect
from codedata.messages import content_text
from codedata.sampling.readers.chat import read_call
from codedata.sampling.readers.responses import message_of
from codedata.texts import bare, storable

# a command that commits; the limits of length keep the time of a search linear
COMMITS = re.compile(r"\bgit\b[^\n;|&]{0,999} commit\b")
REVERTS = re.compile(r"\bgit\b[^\n;|&]{0,999} revert\b")
# its output: short hash, subject. Early versions of Codex wrote the output as JSON
COMMITTED = re.compile(r'(?:^|"|\\n)\[[^\]\n]{0,999} ([0-9a-f]{7,40})\] (.+?)(?:\\n|\r?$)',
                       re.MULTILINE)
PATCHED = "Success. Updated the following files"   # output of apply_patch
SECTION = re.compile(r"^\*\*\* (?:Add|Update) File: (.+)\n((?:(?!\*\*\*).*\n?)*)",
                     re.MULTILINE)
NUMBERED = re.compile(r"^ *\d{1,9}(?:→|\t)(.*)$", re.MULTILINE)   # a line that Read shows
MIN_CHARS = 4   # shorter lines, such as lone brackets, do not count


Lines = set[tuple[str, str]]   # (name of a file without its folder, stripped line)


@dataclass
class AgentSession:
    """Hold what is known of a session. Times are Unix times."""

    times: list[float] = field(default_factory=list)
    folder: str = ""           # work directory at its start; "" if unknown
    branches: set[str] = field(default_factory=set)
    base: str = ""             # the commit that it names as its start; "" for none
    edits: list[tuple[float, str]] = field(default_factory=list)   # (time, absolute path)
    read: Lines = field(default_factory=set)    # from each file before its first edit
    wrote: Lines = field(default_factory=set)   # new ones that it did not remove again
    commits: list[tuple[str, str]] = field(default_factory=list)   # (short hash, subject)
    has_reverted: bool = False   # it ran git revert
    found: tuple[str, list] | None = None   # its commits in the clone, once they are looked for

    def edit(self, at: float, path: str, old: str, new: str, is_whole: bool) -> None:
        """Add an edit, or a look at a file (equal texts). `is_whole` says whether `old` consists of
        whole lines."""
        before, after = lines_in(path, old), lines_in(path, new)
        if is_whole and path not in {one for _, one in self.edits}:
            self.read |= before
        if old != new and path.startswith(self.folder):
            self.edits.append((at, path))
            self.wrote -= before - after
            self.wrote |= after - before - self.read

    @property
    def names(self) -> set[str]:
        """Return the names of the files that it edited."""
        return {basename(path) for _, path in self.edits}


Sessions = dict[str, AgentSession]   # by instance id


def lines_in(path: str, text: str) -> Lines:
    """Return the lines of a file's text, without short ones."""
    return {(basename(path), line.strip()) for line in text.split("\n")
            if len(bare(line)) >= MIN_CHARS}


def sessions_in(rows: Iterable[dict]) -> Sessions:
    """Return {instance id: session} of rows with the `lines` of their files. Files of one id, such
    as a subagent's, are one session."""
    found: Sessions = {}
    for row in rows:
        with suppress(LookupError, TypeError, AttributeError, ValueError, ArithmeticError):
            _read(row.get("lines", ()), found.setdefault(row["instance_id"], AgentSession()))
    return {name: session for name, session in found.items() if session.times}


def _read(lines: Iterable[dict], session: AgentSession) -> None:
    """Add the lines of a file to a session."""
    calls = {}
    for line in lines:
        body = line.get("message") or line.get("payload") or line
        git = body.get("git") or {}
        if line.get("timestamp"):
            session.times.append(
                datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00")).timestamp())
        session.folder = session.folder or storable(str(line.get("cwd") or body.get("cwd") or ""))
        session.base = session.base or storable(str(git.get("commit_hash") or ""))
        session.branches |= {*storable([str(line.get("gitBranch")), str(git.get("branch"))])}
        for key, call, output in _parts(body):
            if call:
                calls[key] = read_call(call, {})
            elif effect := key in calls and call_effect(calls[key], ()):
                _apply(effect, output, session)


def _parts(body: dict) -> Iterator[tuple[str, dict | None, str]]:
    """Yield (id, call, "") of each call in a line, and (id, None, output) of each result."""
    content = body.get("content")
    for block in content if isinstance(content, list) else ():
        if block.get("type") == "tool_use":
            yield block["id"], block, ""
        elif block.get("type") == "tool_result" and not block.get("is_error"):
            yield block["tool_use_id"], None, content_text({"content": block.get("content") or ""})
    if "call_id" in body and (message := message_of(body)):
        yield body["call_id"], next(iter(message["tool_calls"]), None), content_text(message)


def _apply(effect: Effect, output: str, session: AgentSession) -> None:
    """Add the effect of a call to its session."""
    for path, old, new in _edits(effect, output):
        path = normpath(join(session.folder, effect.folder, path))
        session.edit(session.times[-1], storable(path), old, new, effect.does != "replace")
    session.has_reverted |= bool(REVERTS.search(effect.command))
    if COMMITS.search(effect.command):
        session.commits += COMMITTED.findall(output)


def _edits(effect: Effect, output: str) -> Iterator[tuple[str, str, str]]:
    """Yield (path, old text, new text) of the files that a call edited or read. The texts are equal
    if it read them."""
    if effect.does == "read":
        shown = "\n".join(NUMBERED.findall(output))
        yield effect.path, shown, shown
    elif effect.does in ("create", "replace"):
        yield from ((effect.path, old, new) for old, new, _ in effect.edits)
    elif PATCHED in output:
        for path, body in SECTION.findall(effect.patch or effect.command):
            yield path, _side(body, "-"), _side(body, "+")


def _side(patch: str, sign: str) -> str:
    """Return the old ("-") or the new ("+") lines of a file's patch."""
    return "\n".join(line[1:] for line in patch.split("\n") if line[:1] in (" ", sign))
