"""Read rows of the Hub's agent traces: {harness, session_id, messages, tools, trace}.

`trace` is the agent's own file. It is read if its format is known, since it has more than the
messages that the Hub made from it. `tools` are the agent's tools.
"""
from __future__ import annotations

from codedata.sampling.readers import claude_code, codex, rows
from codedata.texts import decoded

FORM = "traces of the Hub"


def matches(document) -> bool:
    """Return whether an object has the columns."""
    return isinstance(document, dict) and document.keys() >= {"harness", "session_id"}


def read(document: dict) -> dict:
    """Return the row."""
    names = rows.names_in(document)
    trace = decoded(document.get("trace"))
    lines = map(decoded, trace.split("\n") if isinstance(trace, str) else trace or ())
    lines = [line for line in lines if isinstance(line, dict)]
    if claude_code.matches(lines):
        return {**names, **claude_code.read(lines), "tools": document.get("tools")}
    if codex.matches(lines):
        git = (lines[0].get("payload") or {}).get("git") or {}
        names |= {"repo": git.get("repository_url"), "commit": None}   # its id is the session's
        return {**names, **codex.read(lines), "tools": document.get("tools")}
    return {**rows.read(document), "agent": f"{FORM}: {document['harness']}"}
