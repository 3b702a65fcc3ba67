"""Read the .traj files of SWE-agent. `history` is what the agent saw, with its calls or commands.
"""
from __future__ import annotations

import re

from codedata.messages import content_text
from codedata.sampling.readers.chat import decoded, is_conversation

FORM = "SWE-agent"
# the folder of the clone, as early versions show it after each command
CLONE = re.compile(r"\(Current directory: /([\w.-]+?__[\w.-]+)")


def matches(document) -> bool:
    """Return whether an object has SWE-agent's history."""
    return isinstance(document, dict) and is_conversation(document.get("history"))


def read(document: dict) -> dict:
    """Return the row. Demonstrations stay in the history, but are not turns."""
    history = document["history"]
    config = decoded(document.get("replay_config")) or {}
    problem = config.get("problem_statement") or {}
    ids = [problem.get("id"), document.get("environment")]
    demonstrated = [i for i, message in enumerate(history, 1) if message.get("is_demo")]
    found = (CLONE.search(content_text(message)) for message in reversed(history))
    clone = next(filter(None, found), None)
    return {"instance_id": next((name for name in ids if "__" in str(name)), None),
            "clone": clone and clone[1], "messages": history, "agent": FORM,
            "no_turns": range(max(demonstrated, default=0))}
