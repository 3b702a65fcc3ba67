"""Replay the history of a turn: run its commands again, from the state in which the recording
began, and compare what they print with what the agent was shown.

A recording may have begun at the base commit or with the tests of the pull request in place, or
with the modes of umask 022 or others. The start is found by trying: the first one with which most
of the first observations are equal.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from codedata.conversation.commands import SUBMIT, action_style
from codedata.conversation.tool_calls import NO_COMMAND
from codedata.conversation.turn import form_of
from codedata.errors import ItemFailed
from codedata.messages import content_text
from codedata.records import Message, Object, Tools
from codedata.sandbox import Result, Sandbox
from codedata.turns.branches import Branch
from codedata.turns.observations import (
    EQUAL,
    UNEQUAL,
    ShownResult,
    compare,
    cut,
    observation_of,
)

N_TRIED = 12               # commands of the history by which starts are compared
MAX_TRIED_S = 2.0          # seconds of a command that counts there
MAX_UNEQUAL = 20           # observations that a record shows
SHOWN_CHARS = 600          # of each
TESTS, MODES = "test patch", "umask 022"
BASE = "base"
# what makes a start of the base commit
PREPARE = {TESTS: "", MODES: "chmod -R u=rwX,go=rX ."}
ACTIVATE = re.compile(r"^[ \t]*(?:\.|source) (\S+)/bin/activate\s*$", re.MULTILINE)


@dataclass(frozen=True)
class RecordedStep:
    """Hold a turn of the history: its command, and what the agent was shown of it."""

    turn: int                  # its number among the turns of the conversation, from 0
    command: str
    shown: ShownResult


@dataclass
class Replayed:
    """Hold what a replay came to."""

    start: str
    results: dict[int, str] = field(default_factory=dict)     # by turn
    seconds: dict[int, float] = field(default_factory=dict)
    unequal: list[Object] = field(default_factory=list)
    diverged: int | None = None   # turn after which the files are other ones than recorded

    def n(self, result: str) -> int:
        """Return how many observations compare so."""
        return sum(one == result for one in self.results.values())

    @property
    def state(self) -> str:
        """Return `equal`, `tree unchanged`, or from which turn on the state is another one."""
        if self.diverged is not None:
            return f"unequal at turn {self.diverged}"
        return "tree unchanged" if self.unequal else EQUAL


def steps_of(messages: Sequence[Message], tools: Tools | None = None) -> list[RecordedStep]:
    """Return the steps of a conversation, without turns that run nothing."""
    form = form_of(messages, tools)
    steps = []
    n = count()
    for i, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        turn = next(n)
        command = command_of(message if tools else content_text(message), messages[:i], form)
        answer = messages[i + 1] if i + 1 < len(messages) else None
        if command.strip() and answer and action_style(command) != SUBMIT:
            steps.append(RecordedStep(turn, command, observation_of(content_text(answer))))
    return steps


def command_of(side, history: Sequence[Message], form) -> str:
    """Return the shell command that a turn runs; "" if it is malformed, or none does it."""
    turn = form.read(side, history)
    runs = turn.command and not turn.command.startswith(NO_COMMAND)
    return turn.command if runs and not turn.problem() else ""


def variables_of(test_script: str, path: str) -> dict[str, str]:
    """Return the variables of commands: what is pinned, and the virtual environment that the test
    script activates."""
    venv = ACTIVATE.search(test_script)
    pinned = {"PYTHONHASHSEED": "0", "TZ": "UTC", "COLUMNS": "80", "LANG": "C.UTF-8",
              "PAGER": "cat", "GIT_PAGER": "cat",
              "PIP_RETRIES": "0"}
    return pinned | ({"PATH": f"{venv[1]}/bin:{path}", "VIRTUAL_ENV": venv[1]} if venv else {})


Look = Callable[[int, Branch, str], None]


class Branches(Protocol):
    """Make branches of the files of one image."""

    how: str                   # commit, or replayed

    def branch(self, *below: object) -> AbstractContextManager[Branch]:
        """Yield a new branch on the layers of others."""


class Replayer:
    """Replay histories in branches of an image."""

    def __init__(self, branches: Branches, variables: dict[str, str], timeout_s: float,
                 put_tests: Callable[[Sandbox], None]):
        """put_tests() puts the tests of the pull request into a sandbox."""
        self._images, self._variables, self._timeout_s = branches, variables, timeout_s
        self._put_tests = put_tests

    def run(self, sandbox: Sandbox, command: str) -> Result:
        """Return the result of a command as the agent runs it."""
        return sandbox.run(command, timeout_s=self._timeout_s, env=self._variables)

    @contextmanager
    def replay(self, steps: Sequence[RecordedStep], start: str = "", look: Look = lambda *_: None
               ) -> Iterator[tuple[Branch, Replayed]]:
        """Yield (a branch at the state after the steps, what the replay came to). If `start` is
        known, no other is tried. Before each step look(its turn, the branch, a digest of its files)
        is called."""
        start = start or self.find_start(steps[:N_TRIED])
        with ExitStack() as held:
            branch = self._begin(start, held)
            if branch is None:
                raise ItemFailed("its start cannot be made", start)
            yield branch, self._follow(branch, steps, Replayed(start), look)

    def find_start(self, steps: Sequence[RecordedStep]) -> str:
        """Return the start with which most observations are equal: each difference from the base
        commit is tried in turn, and kept if it makes more of them so. Slow steps do not count."""
        best = None
        for difference in ("", *PREPARE):
            start = f"{best.start}, {difference}" if best else BASE
            with ExitStack() as held:
                branch = self._begin(start, held)
                if branch is None:
                    continue
                found = self._follow(branch, steps, Replayed(start))
            steps = [step for step in steps if found.seconds[step.turn] <= MAX_TRIED_S]
            n_equal, n_before = (sum(one.results[step.turn] != UNEQUAL for step in steps)
                                 for one in (found, best or found))
            if best is None or n_equal > n_before:
                best = found
            if n_equal == len(steps):
                break
        return best.start

    def _begin(self, start: str, held: ExitStack) -> Branch | None:
        """Return a branch at a start; None if the start cannot be made."""
        branch = held.enter_context(self._images.branch())
        for part in start.split(", ")[1:]:
            if part == TESTS:
                self._put_tests(branch)
            elif not branch.run(PREPARE[part], timeout_s=self._timeout_s).ok:
                return None
        return branch

    def _follow(self, branch: Branch, steps: Sequence[RecordedStep], found: Replayed,
                look: Look = lambda *_: None) -> Replayed:
        tree = branch.tree()
        for i, step in enumerate(steps):
            look(step.turn, branch, tree)
            first = self.run(branch, step.command)
            before, tree = tree, branch.tree()
            result, differs = compare(step.shown, first), False
            if result == UNEQUAL:
                second, is_settled = self._once_more(branch, step, tree)
                differs = tree != before and not (
                    is_settled and step.shown.exit_code == first.exit_code)
                if differs and found.diverged is None:
                    second = self._replayed(steps[:i + 1], found.start)
                result = UNEQUAL if first.timed_out else compare(step.shown, first, second)
            found.results[step.turn], found.seconds[step.turn] = result, first.seconds
            if result != UNEQUAL:
                continue
            if differs and found.diverged is None:
                found.diverged = step.turn
            if len(found.unequal) < MAX_UNEQUAL:
                found.unequal.append({
                    "turn": step.turn, "recorded": step.shown.head[:SHOWN_CHARS],
                    "got": cut(first.output)[:SHOWN_CHARS], "tree_changed": differs})
        return found

    def _once_more(self, branch: Branch, step: RecordedStep, tree: str) -> tuple[Result, bool]:
        """Run a command again where it has run. Return (the result, whether the files stay as they
        are): so does one that writes a script and runs it, whose output differs for other reasons.
        """
        with self._images.branch(*branch.layers) as again:
            return self.run(again, step.command), again.tree() == tree

    def _replayed(self, steps: Sequence[RecordedStep], start: str) -> Result:
        """Return the result of the last step, behind a fresh replay of those before it."""
        with ExitStack() as held:
            branch = self._begin(start, held)
            *_, last = (self.run(branch, step.command) for step in steps)
        return last
