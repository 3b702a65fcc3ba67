"""Read the .traj files of SWE-agent. `history` is what the agent saw, with its calls or commands.
"""
from __future__ import annotations

import re

from codedata.messages import content_text
from codedata.sampling.readers.chat import first, is_conversation
from codedata.texts import decoded

FORM = "SWE-agent"
# early versions show the clone's folder after each command
CLONE = re.compile(r"\(Current directory: /([\w.-]+?__[\w.-]+)")


def matches(document) -> bool:
    """Return whether an object has SWE-agent's history."""
    return isinstance(document, dict) and is_conversation(document.get("history"))


def read(document: dict) -> dict:
    """Return the row. Demonstrations stay in the history, but are not turns. A trajectory ends at
    the first step whose model saw a different history (shortened outputs)."""
    agent = document["history"][0].get("agent")   # the history also has subagents' messages
    history = [one for one in document["history"] if one.get("agent") == agent]
    texts = [*map(content_text, history)]
    config = decoded(document.get("replay_config")) or {}
    problem = config.get("problem_statement") or {}
    ids = [problem.get("id"), document.get("environment")]
    demonstrated = [i for i, message in enumerate(history, 1) if message.get("is_demo")]
    clone = next(filter(None, map(CLONE.search, reversed(texts))), None)
    n_demonstrated = max(demonstrated, default=0)
    turns = (i for i in range(n_demonstrated, len(history))
             if history[i].get("role") == "assistant")
    steps = (first(step, "messages", "query") for step in document.get("trajectory") or ())
    end = next((i for i, seen in zip(turns, steps, strict=False)
                if seen and [*map(content_text, seen[:i])] != texts[:i]), None)
    return {"instance_id": next((name for name in ids if "__" in str(name)), None),
            "clone": clone and clone[1], "messages": history[:end], "agent": FORM,
            "is_cut": end is not None, "no_turns": range(n_demonstrated)}
