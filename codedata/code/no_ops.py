"""Detect loops and stalls: commands that repeat earlier ones, or neither show nor change anything.

A program does it, because judges are known to miss a step that repeats one from many turns ago.
"""
from __future__ import annotations

import re

from codedata.code.commands import EDIT, SUBMIT, UNKNOWN, action_style, simple_commands

LAST = 10   # number of the agent's last turns that are compared
BLOCK = re.compile(r"^```(?:bash|sh)?[ \t]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
IDLE = {"true", ":", "sleep", "wait", "pwd", "cd", "echo", "printf", "clear", "date", "whoami"}


def repeated(command: str, messages: list[dict]) -> int:
    """Return how many of the agent's turns ago the same command was last given: 1 to LAST, else 0.

    Return 0 also after an edit in between, because that is a reason to give the command again, and
    after a command whose style is not known.
    """
    turns = [message["content"] for message in messages if message["role"] == "assistant"]
    between: list[str] = []
    for ago, turn in enumerate(reversed(turns[-LAST:]), 1):
        blocks = BLOCK.findall(turn)
        if any(block.split() == command.split() for block in blocks):
            has_edit = any(action_style(block) in (EDIT, UNKNOWN) for block in between)
            return 0 if has_edit else ago
        between += blocks
    return 0


def stalls(command: str) -> bool:
    """Return whether no part of the command can show or change anything, as in `sleep 1`.

    Return False if the reader of bash is not installed.
    """
    programs = {words[0] for words in simple_commands(command)}
    return bool(programs) and programs <= IDLE and action_style(command) != SUBMIT
