"""Compare the steps of an agent: two commands are the same step if they look at the same place, run
the same program on the same targets, or make the same edit.

Commands are compared by their words (the extra `code`). Edits, commands of the style "other" and,
without the extra, all commands are the same only if equal up to whitespace. Commands that count as
different may still do the same.

Two turns are the same if their calls are, in any order. But order matters among calls that may
interact: edits of one file, and calls with unknown changes, such as a command that runs code.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from codedata.conversation.bash_commands import (
    EDIT,
    EXPLORE,
    IDLE,
    OTHER,
    SUBMIT,
    action_style,
    simple_commands,
)
from codedata.conversation.tool_calls import Effect, shell_command

# programs that show a file, or a part of it: they count as equal
SHOWS = {"cat", "sed", "head", "tail", "nl", "less", "more", "bat", "awk", "view"}
RUNS = {"python", "python3", "-m"}   # words before the name of the program
RANGE = re.compile(r"(\d+)(?:,(\d+))?p?")
END = 10**9
LOOKS = {"read", "window", "list", "search", "regex", "find", "glob"}   # effects
EDITS_A_FILE = {"create", "replace", "lines", "insert"}
ANY_FILE = ""


@dataclass(frozen=True)
class CommandStep:
    """Hold the comparable parts of a command."""

    style: str
    words: frozenset[str]          # without numbers and ranges
    lines: tuple[int, int] = (1, END)   # the lines of a file that it shows


def same_step(one: str, other: str) -> bool:
    """Return whether two shell commands take the same step."""
    if one.split() == other.split():
        return True
    first, second = step_of(one), step_of(other)
    if first.style in (EDIT, OTHER) or first.style != second.style:
        return False
    if first.style == SUBMIT:
        return True
    overlap = first.lines[0] <= second.lines[1] and second.lines[0] <= first.lines[1]
    return bool(first.words) and first.words == second.words and overlap


def same_turn(one: Sequence[Effect | None], other: Sequence[Effect | None],
              same: Callable[[str, str], bool] = same_step) -> bool:
    """Return whether two turns are the same, by the effects of their calls. `same` compares two
    shell commands. A turn with an unknown effect (None) equals no other turn."""
    if len(one) != len(other) or None in (*one, *other):
        return False
    left = dict(enumerate(map(shell_command, other)))
    places = []   # for each call, the index of its counterpart in the other turn
    for command in map(shell_command, one):
        place = next((place for place, of_other in left.items() if same(command, of_other)), None)
        if place is None:
            return False
        del left[place]
        places.append(place)
    pairs = combinations(zip(places, one, strict=True), 2)
    return not any(place > later and _may_meet(effect, next_effect)
                   for (place, effect), (later, next_effect) in pairs)


def _may_meet(*effects: Effect) -> bool:
    """Return whether the order of two calls matters: both may change the same file, or one looks
    at a file that the other edits."""
    files = [*map(_changed_file, effects)]
    if None not in files:
        return ANY_FILE in files or files[0] == files[1]
    return any(file not in (None, ANY_FILE) and file.rpartition("/")[2] in shell_command(other)
               for file, other in zip(files, effects[::-1], strict=True))


def _changed_file(effect: Effect) -> str | None:
    """Return the file that a call may change; ANY_FILE if it is unknown, None if it changes
    nothing."""
    if effect.does in EDITS_A_FILE:
        return effect.path
    command = shell_command(effect)   # cd affects later commands, so it is not a look
    is_look = effect.does in LOOKS or (action_style(command) == EXPLORE
                                       and not re.match(r"\s*(?:cd|pushd|popd)\b", command))
    return None if is_look else ANY_FILE


def step_of(command: str) -> CommandStep:
    """Return the step of a shell command."""
    style = action_style(command)
    words = set()
    lines = 1, END
    for program, *arguments in simple_commands(command):
        name = program.rpartition("/")[2]
        if name in IDLE:   # ignore it in a list of commands
            continue
        if name not in (SHOWS | RUNS if style == EXPLORE else RUNS):
            words.add(name)
        for argument in arguments:
            match = RANGE.fullmatch(argument.lstrip("-n"))
            if match and name in SHOWS:
                lines = _lines(name, match)
            elif not (match or argument in RUNS or (name in SHOWS and argument.startswith("-"))):
                words.add(argument.removeprefix("./"))
    return CommandStep(style, frozenset(words), lines)


def _lines(program: str, match: re.Match) -> tuple[int, int]:
    """Return the lines that a program shows, by its number or range. With one number, `head` shows
    the first lines; any other program counts as showing all."""
    first, last = match[1], match[2]
    if last:
        return int(first), int(last)
    return (1, int(first)) if program == "head" else (1, END)
