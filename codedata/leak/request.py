"""Lay a note with a pull request behind a conversation, within a model's limit.

The conversation comes first and unchanged, so that endpoints that cache what requests begin with serve the king, the
challenger and the leak judge from one entry.
"""
from __future__ import annotations

from codedata.llm import Client
from codedata.records import Commit, Message
from codedata.texts import fill

NONE = "(none)"
CUT = """
Lines such as "[… left out …]" stand for parts of the conversation that were cut for length. The agent has seen them:
what may well have stood there counts as shown.
"""


def with_pull_request(client: Client, history: list[Message], note: str, commit: Commit, **parts: str) -> list[Message]:
    """Return the request: the history, and `note` with the pull request and `parts` filled in behind it."""
    parts |= {"repo": commit.repo, "language": commit.language, "issue": commit.issue or NONE,
              "description": commit.description or NONE, "files": "\n".join(commit.files)}
    fixed = fill(note, **parts, cut=CUT, patch=NONE, test_patch=NONE)
    fitted = client.fit(history, fixed, (commit.patch, commit.test_patch))
    patch, test_patch = (text or NONE for text in fitted.patches)
    parts |= {"cut": CUT if fitted.cut else "", "patch": patch, "test_patch": test_patch}
    return behind(fitted.messages, fill(note, **parts))


def behind(history: list[Message], text: str) -> list[Message]:
    """Return the history with a text at the end of its last user message, or as one where it ends otherwise."""
    if history and history[-1]["role"] == "user":
        return [*history[:-1], {**history[-1], "content": f"{history[-1]['content']}\n\n{text}"}]
    return [*history, {"role": "user", "content": text}]
