"""Detect loops and stalls: commands that repeat earlier ones, or neither show nor change anything.

A program does it, because judges are known to miss a step that repeats one from many turns ago.
"""
from __future__ import annotations

import re

from codedata.code.commands import EDIT, REDIRECTED, SUBMIT, action_style, simple_commands

LAST = 10   # number of the agent's last turns that are compared
BLOCK = re.compile(r"^```(?:bash|sh)?[ \t]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
IDLE = {"true", ":", "sleep", "wait", "pwd", "cd", "echo", "printf", "clear", "date", "whoami"}


def repeated(command: str, messages: list[dict]) -> int:
    """Return how many of the agent's turns ago the same command was last given: 1 to LAST, else 0.

    Return 0 also after an edit in between, because that is a reason to give the command again.
    """
    own = " ".join(command.split())
    turns = [m["content"] for m in messages if m["role"] == "assistant"][-LAST:]
    blocks = [BLOCK.findall(turn) for turn in reversed(turns)]
    ago = next((i for i, of in enumerate(blocks, 1) if any(" ".join(b.split()) == own for b in of)), 0)
    if any(action_style(block) == EDIT for of in blocks[:max(0, ago - 1)] for block in of):
        return 0
    return ago


def stalls(command: str) -> bool:
    """Return whether no part of the command can show or change anything, as in `sleep 1`."""
    parts = simple_commands(command)
    return (bool(parts) and all(words[0] in IDLE and REDIRECTED not in words for words in parts)
            and action_style(command) != SUBMIT)
