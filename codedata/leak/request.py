"""Append a note with a pull request to a conversation, within a model's token limit.

The conversation comes first, so that an endpoint's prefix cache serves king, challenger and leak
judge from one entry.
"""
from __future__ import annotations

from codedata.llm import Client
from codedata.messages import with_text
from codedata.records import Commit, Message
from codedata.texts import fill

NONE = "(none)"
CUT = """
Lines such as "[… left out …]" stand for parts of the conversation that were cut for length. \
The agent has seen them:
what may well have stood there counts as shown.
"""


def with_pull_request(client: Client, history: list[Message], note: str, commit: Commit,
                      beside: str = "", **parts: str) -> list[Message]:
    """Return the history followed by `note`, filled with the pull request and `parts`.

    `beside` is what is sent beside the messages, as the tools: it counts for the prompt limit.
    """
    parts |= {"repo": commit.repo, "language": commit.language, "issue": commit.issue or NONE,
              "description": commit.description or NONE, "files": "\n".join(commit.files)}
    fixed = fill(note, **parts, cut=CUT, patch=NONE, test_patch=NONE)
    fitted = client.fit(history, fixed + beside, (commit.patch, commit.test_patch))
    patch, test_patch = (text or NONE for text in fitted.patches)
    parts |= {"cut": CUT if fitted.cut else "", "patch": patch, "test_patch": test_patch}
    return behind(fitted.messages, fill(note, **parts))


def behind(history: list[Message], text: str) -> list[Message]:
    """Return the history with a text appended to a final user message, or as a new user message."""
    if history and history[-1]["role"] == "user":
        return [*history[:-1], with_text(history[-1], text)]
    return [*history, {"role": "user", "content": text}]
