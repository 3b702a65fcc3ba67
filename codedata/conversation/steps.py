"""Compare the steps of an agent: two commands are the same step if they look at the same place, run
the same program on the same targets, or make the same edit.

Commands are compared by their words (the extra `code`); without it, and for edits, only commands
that are equal but for blanks are the same. Not promised: that other commands do something else.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

from codedata.conversation.commands import (
    EDIT,
    EXPLORE,
    IDLE,
    OTHER,
    SUBMIT,
    UNKNOWN,
    action_style,
    simple_commands,
)

# programs that show a file, or a part of it, and cut what is printed: which one does not matter
SHOWS = {"cat", "sed", "head", "tail", "nl", "less", "more", "bat", "awk", "view"}
RUNS = {"python", "python3", "-m"}   # before the program that matters
# flags that alter what a program prints, or when it stops, not what it looks at
DISPLAY = {"grep": "ABCEFGHPRabcehlmnoqrsy", "ls": "1AFhlaCpSt", "pytest": "qvxsrl", "": "qv"}
LONG_DISPLAY = re.compile(r"--(?:colou?r|tb|no-header|no-pager|quiet|verbose|exitfirst|line-number|"
                          r"recursive|context|max-count)\b")
RANGE = re.compile(r"(\d+)(?:,(\d+))?p?")
END = 10**9


@dataclass(frozen=True)
class CommandStep:
    """Hold what a command is about."""

    style: str
    words: frozenset[str]          # without flags of the display, numbers and ranges
    lines: tuple[int, int] = (1, END)   # of a file, that are shown


def same_step(one: str, other: str) -> bool:
    """Return whether two shell commands take the same step."""
    if one.split() == other.split():
        return True
    first, second = step_of(one), step_of(other)
    if first.style in (EDIT, OTHER, UNKNOWN) or first.style != second.style:
        return False
    if first.style == SUBMIT:
        return True
    overlap = first.lines[0] <= second.lines[1] and second.lines[0] <= first.lines[1]
    return bool(first.words) and first.words == second.words and overlap


def step_of(command: str) -> CommandStep:
    """Return what a shell command is about."""
    style = action_style(command)
    if style == UNKNOWN:
        return CommandStep(style, frozenset())
    words: set[str] = set()
    lines = 1, END
    for program, *arguments in simple_commands(command):
        name = program.rpartition("/")[2]
        if name in IDLE:   # of a list of commands, it decides nothing
            continue
        if name not in (SHOWS | RUNS if style == EXPLORE else RUNS):
            words.add(name)
        for argument in arguments:
            match = RANGE.fullmatch(argument.lstrip("-n"))
            if match and name in SHOWS:
                lines = _lines(name, match)
            elif not match and argument not in RUNS:
                words |= _words(name, arguments, argument)
    return CommandStep(style, frozenset(words), lines)


def _words(name: str, arguments: list[str], argument: str) -> set[str]:
    """Return what an argument says of the step; of a flag its letters, or a long one as it is, but
    nothing of one that only alters the display."""
    if not argument.startswith("-"):
        return {argument.removeprefix("./")}
    if name in SHOWS or LONG_DISPLAY.match(argument):
        return set()
    if argument.startswith("--"):
        return {argument}
    if name in RUNS:
        name = next((one for one in arguments if not one.startswith("-")), name)
    letters = re.findall("[A-Za-z]", argument)
    return {f"-{letter}" for letter in letters if letter not in DISPLAY.get(name, DISPLAY[""])}


def _lines(program: str, match: re.Match) -> tuple[int, int]:
    """Return the lines that a number or a range of a program shows; of the end of a file, all."""
    first, last = match[1], match[2]
    if last:
        return int(first), int(last)
    return (1, int(first)) if program == "head" else (1, END)
