"""Loops and stalls: commands that were given before, or that can neither show nor change anything. By program.

Judges are known to miss a step that repeats one of many turns ago.
"""
from __future__ import annotations

import re

from codedata.duel.action import EDIT, REDIRECTED, SUBMIT, action_style, simple_commands

LAST = 10   # turns back
BLOCK = re.compile(r"^```(?:bash|sh)?[ \t]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
IDLE = {"true", ":", "sleep", "wait", "pwd", "cd", "echo", "printf", "clear", "date", "whoami"}


def repeated(command: str, messages: list[dict]) -> int:
    """How many of the agent's turns ago the same command was given last, up to LAST; 0: it was not.

    What was edited in between counts as a reason to give it again.
    """
    own = " ".join(command.split())
    turns = [m["content"] for m in messages if m["role"] == "assistant"][-LAST:]
    blocks = [BLOCK.findall(turn) for turn in reversed(turns)]
    ago = next((i for i, of in enumerate(blocks, 1) if any(" ".join(b.split()) == own for b in of)), 0)
    if any(action_style(block) == EDIT for of in blocks[:max(0, ago - 1)] for block in of):
        return 0
    return ago


def stalls(command: str) -> bool:
    """True where no part of the command can show or change anything, as `sleep 1` or `echo thinking`."""
    parts = simple_commands(command)
    return (bool(parts) and all(words[0] in IDLE and REDIRECTED not in words for words in parts)
            and action_style(command) != SUBMIT)
