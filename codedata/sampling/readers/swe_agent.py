"""Read the .traj files of SWE-agent: what it saw is `history`, with its tool calls or commands."""
from __future__ import annotations

import re

from codedata.messages import content_text
from codedata.sampling.readers.chat import decoded, is_conversation

FORM = "SWE-agent"
CLONE = re.compile(r"\(Current directory: /([\w.-]+?__[\w.-]+)")   # of early versions


def matches(document) -> bool:
    """Return whether an object has SWE-agent's history."""
    return isinstance(document, dict) and is_conversation(document.get("history"))


def read(document: dict) -> dict:
    """Return the row; demonstrations are a part of the history, and no turns."""
    history = document["history"]
    config = decoded(document.get("replay_config")) or {}
    problem = config.get("problem_statement") or {}
    ids = [problem.get("id"), document.get("environment")]
    demonstrated = [i for i, message in enumerate(history, 1) if message.get("is_demo")]
    found = (CLONE.search(content_text(message)) for message in reversed(history))
    clone = next(filter(None, found), None)
    return {"instance_id": next((name for name in ids if "__" in str(name)), None),
            "clone": clone and clone[1], "messages": history, "agent": FORM,
            "first_turn": max(demonstrated, default=0)}
