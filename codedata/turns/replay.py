"""Replay the history of a turn: run its commands again, from the state at the start of the
recording, and compare their output with the recorded observations.

A recording may have begun at the base commit or with the tests of the pull request in place, and
with the file modes of umask 022 or others. find_start() tries these, and takes the start with the
most equal observations.

Agents of codedata.agent have a shell that keeps its state, so their replay does too.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from codedata.conversation.recorded_steps import RecordedStep, ShownResult
from codedata.errors import ItemFailed
from codedata.records import Object
from codedata.run.talk import current_step
from codedata.sandbox import SCRIPT_BASH_FUNC, Result, Sandbox
from codedata.texts import without_middle
from codedata.turns.branches import Branch, BranchedImage
from codedata.turns.fresh import FreshSandboxes

WORDS = re.compile(r"[\w.]+|\W")   # a number, a hash or a temporary name is one word
CUT_CHARS = 10_000   # limit of an output: an agent sees a longer one without its middle
EQUAL, MASKED, UNEQUAL = "equal", "masked", "unequal"
N_TRIED = 12               # number of commands replayed to compare starts
MAX_TRIED_S = 2.0          # commands that take longer are not compared
MAX_UNEQUAL = 20           # maximum of unequal observations in a record
SHOWN_CHARS = 600          # limit of each observation in a record
TESTS, MODES = "test patch", "umask 022"
BASE = "base"
# {difference from the base commit: command that makes it}
PREPARE = {TESTS: "", MODES: "chmod -R u=rwX,go=rX ."}
KEPT_SHELL = "environment stay as a command leaves"   # part of the prompt of codedata.agent
SHELL = "/var/tmp/codedata-shell"   # folder with the state of that shell
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ACTIVATE = re.compile(r"^[ \t]*(?:\.|source) (\S+)/bin/activate\s*$", re.MULTILINE)


@dataclass
class Replayed:
    """Hold the results of a replay."""

    start: str
    results: dict[RecordedStep, str] = field(default_factory=dict)
    seconds: dict[RecordedStep, float] = field(default_factory=dict)
    unequal: list[Object] = field(default_factory=list)
    diverged: int | None = None   # the turn after which the files differ from the recorded ones

    def n(self, result: str) -> int:
        """Return the number of observations with this result."""
        return sum(one == result for one in self.results.values())

    @property
    def state(self) -> str:
        """Return `equal`, `tree unchanged`, or the turn from which the state differs."""
        if self.diverged is not None:
            return f"unequal at turn {self.diverged}"
        return "tree unchanged" if self.unequal else EQUAL


def variables_of(test_script: str) -> dict[str, str]:
    """Return the variables for commands: the pinned ones, and the virtual environment that the test
    script activates."""
    venv = ACTIVATE.search(test_script)
    pinned = {"PYTHONHASHSEED": "0", "TZ": "UTC", "COLUMNS": "80", "LANG": "C.UTF-8",
              "PAGER": "cat", "GIT_PAGER": "cat",
              "PIP_RETRIES": "0"}
    return pinned | ({"PATH": f"{venv[1]}/bin:{PATH}", "VIRTUAL_ENV": venv[1]} if venv else {})


Look = Callable[[int, Branch, str], None]
Branches = BranchedImage | FreshSandboxes   # make branches of the files of one image


@dataclass
class Replayer:
    """Replay histories in branches of an image."""

    branches: Branches
    variables: dict[str, str]
    timeout_s: float
    put_tests: Callable[[Sandbox], None]   # puts the tests of the pull request into a sandbox
    keeps_shell: bool = False

    def run(self, sandbox: Sandbox, command: str) -> Result:
        """Return the result of a command, run as the agent's harness does."""
        if self.keeps_shell:
            command = f". {SHELL}/{SCRIPT_BASH_FUNC.name}\n{command}"
        return sandbox.run(command, timeout_s=self.timeout_s, env=self.variables)

    @contextmanager
    def replay(self, steps: Sequence[RecordedStep], start: str = "", look: Look = lambda *_: None
               ) -> Iterator[tuple[Branch, Replayed]]:
        """Yield (a branch at the state after the steps, the results of the replay). Without
        `start`, use the best one. Before each turn, call look(the turn's number, the branch, a
        digest of the branch's files)."""
        start = start or self.find_start(steps[:N_TRIED])
        with ExitStack() as held:
            branch = self._begin(start, held)
            if branch is None:
                raise ItemFailed("its start cannot be made", start)
            yield branch, self._follow(branch, steps, Replayed(start), look)

    def find_start(self, steps: Sequence[RecordedStep]) -> str:
        """Return the start with the most equal observations. Try each difference from the base
        commit in turn, and keep it if it makes more observations equal. Slow steps do not count."""
        best = None
        for difference in ("", *PREPARE):
            start = f"{best.start}, {difference}" if best else BASE
            with ExitStack() as held:
                branch = self._begin(start, held)
                if branch is None:
                    continue
                found = self._follow(branch, steps, Replayed(start))
            steps = [step for step in steps if found.seconds[step] <= MAX_TRIED_S]
            n_equal, n_before = (sum(one.results[step] != UNEQUAL for step in steps)
                                 for one in (found, best or found))
            if best is None or n_equal > n_before:
                best = found
            if n_equal == len(steps):
                break
        return best.start

    def _begin(self, start: str, held: ExitStack) -> Branch | None:
        """Return a branch at a start; None if the start cannot be made."""
        branch = held.enter_context(self.branches.branch())
        if self.keeps_shell:
            branch.put({SCRIPT_BASH_FUNC.name: SCRIPT_BASH_FUNC.text.encode()}, SHELL)
        for part in start.split(", ")[1:]:
            if part == TESTS:
                self.put_tests(branch)
            elif not branch.run(PREPARE[part], timeout_s=self.timeout_s).ok:
                return None
        return branch

    def _follow(self, branch: Branch, steps: Sequence[RecordedStep], found: Replayed,
                look: Look = lambda *_: None) -> Replayed:
        tree = branch.tree()
        for i, step in enumerate(steps):
            if i == 0 or steps[i - 1].turn != step.turn:
                look(step.turn, branch, tree)
            current_step().count = f"{i + 1} of {len(steps)}"
            first = self.run(branch, step.command)
            before, tree = tree, branch.tree()
            result, differs = compare(step.shown, first), False
            if result == UNEQUAL:
                # A command that writes a script and runs it leaves the files unchanged the second
                # time, although its output may differ for other reasons.
                with self.branches.branch(*branch.layers) as again:
                    second, is_settled = self.run(again, step.command), again.tree() == tree
                differs = tree != before and not (
                    is_settled and step.shown.exit_code == first.exit_code)
                if differs and found.diverged is None:
                    with ExitStack() as held:   # the result after a fresh replay
                        fresh = self._begin(found.start, held)
                        *_, second = (self.run(fresh, one.command) for one in steps[:i + 1])
                result = UNEQUAL if first.timed_out else compare(step.shown, first, second)
            found.results[step], found.seconds[step] = result, first.seconds
            if result != UNEQUAL:
                continue
            if differs and found.diverged is None:
                found.diverged = step.turn
            if len(found.unequal) < MAX_UNEQUAL:
                found.unequal.append({
                    "turn": step.turn, "recorded": step.shown.head[:SHOWN_CHARS],
                    "got": cut(first.output)[:SHOWN_CHARS], "tree_changed": differs})
        return found


# observations -------------------------------------------------------------------------------------

# The comparison is exact, up to whitespace at both ends. Only if it fails, the words that differ
# between two runs of the command are masked in both texts. That a word looks like a time or an
# address is no reason to mask it: such words are not always noise.

def compare(shown: ShownResult, first: Result, second: Result | None = None) -> str:
    """Return EQUAL if an observation shows a result, MASKED if it does except for the words that
    differ in a second result of the same command, else UNEQUAL."""
    if shown.is_of(first):
        return EQUAL
    if second is None or shown.n_left_out or shown.exit_code not in (None, first.exit_code):
        return UNEQUAL
    texts = (shown.head, first.output, second.output)
    words = [WORDS.findall(text.strip()) for text in texts]
    if len({*map(len, words)}) > 1:
        return UNEQUAL
    is_same = all(recorded == got or got != again
                  for recorded, got, again in zip(*words, strict=True))
    return MASKED if is_same else UNEQUAL


def cut(output: str) -> str:
    """Return an output as an agent sees it: if it is long, without its middle."""
    return without_middle(output, CUT_CHARS, "{n} characters left out")
