"""Append the pull request and a note to a conversation, within a model's token limit.

The order is conversation, pull request, rule on leaks, so that one entry in an endpoint's prefix
cache serves challenger, leak judge and the judge's later checks.
"""
from __future__ import annotations

from codedata.code.entities import is_document, is_of_tests
from codedata.code.patches import files_of
from codedata.disk.store import digest
from codedata.llm import Client
from codedata.messages import behind, content_text
from codedata.records import Commit, Message
from codedata.texts import fill, holds, text_of

NONE = "(none)"
IN_TASK = "(as the task says)"
RECORD = text_of("codedata.leak", "pull_request.md")
RULE = text_of("codedata.leak", "rule.md")
SHARED = digest([RECORD, RULE])[:8]   # in the settings of all models that receive both texts


def with_pull_request(client: Client, history: list[Message], note: str, commit: Commit,
                      beside: str = "", **parts: str) -> list[Message]:
    """Return the history followed by the pull request and `note`, a template that takes the rule on
    leaks and `parts`.

    `beside`, such as tools, is sent in addition to the messages and counts for the prompt limit.
    """
    record = {"repo": commit.repo, "language": commit.language, "issue": _issue(commit, history),
              "description": commit.description or NONE, "files": "\n".join(commit.files)}
    note = fill(note, rule=RULE, **parts)
    fixed = fill(RECORD, **record, patch=NONE, test_patch=NONE) + note
    patches = _code_first(commit.patch), commit.test_patch
    fitted = client.fit(history, fixed + beside, patches)
    patch, test_patch = (text or NONE for text in fitted.patches)
    text = fill(RECORD, **record, patch=patch, test_patch=test_patch)
    return behind(fitted.messages, text + note)


def _issue(commit: Commit, history: list[Message]) -> str:
    """Return the issue's text, or IN_TASK if the task, which is never cut, contains it."""
    if any(holds(content_text(one), commit.issue) for one in history[:2]):
        return IN_TASK
    return commit.issue or NONE


def _code_first(patch: str) -> str:
    """Return the patch with tests and documentation last, since the end is cut first."""
    whole = patch if patch.endswith("\n") else f"{patch}\n"
    files = sorted(files_of(whole), key=lambda file: is_of_tests(file[0]) or is_document(file[0]))
    return "".join(text for _, text in files) or patch
