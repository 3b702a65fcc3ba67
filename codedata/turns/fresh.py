"""Branch a history of commands in pods, which cannot be committed to images. Each branch is a fresh
sandbox. It first repeats the commands of all branches that it continues (the branches "below").

A branch is exact only if the repeated commands have the same effect each time, and opening it takes
as long as these commands take.
"""
from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from codedata.disk.store import digest
from codedata.records import Environment
from codedata.sandbox import Result, Sandbox
from codedata.sandbox.archives import BOUNDS, Bounds, Source
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.environments import open_environment
from codedata.turns.branches import DIFF_CHARS

BEFORE = "/tmp/codedata-before"   # folder for a copy of the source at the start of the branch
COPY = f"rm -rf {BEFORE}; cp -a . {BEFORE}"
DIFF = ("diff -ruN --no-dereference -x .git -x __pycache__ -x .pytest_cache -x '*.pyc' "
        f'{BEFORE} "$PWD"')
PIECE = re.compile(r"^(?:diff -ruN .*\n|(?=Binary files ))", re.MULTILINE)
BINARY = re.compile(rf'Binary files ("?){BEFORE}/(.+)\1 and .* differ\n')
# the head of a diff, to be replaced: it has times, which differ between equal changes
HEAD = re.compile(rf'--- ("?){BEFORE}/(.+)\1\t.*\n\+\+\+ .*\n')
OWN_S = 600   # timeout of this module's own commands


@dataclass
class FreshSandboxes:
    """Open branches of an environment, each in its own sandbox."""

    environment: Environment
    factory: SandboxFactory
    label: str
    how = "replayed"

    @contextmanager
    def branch(self, *below: list[Callable]) -> Iterator[FreshBranch]:
        """Yield a new branch. Its sandbox first repeats the actions of the branches `below`."""
        with open_environment(self.environment, self.factory, self.label) as sandbox:
            for action in chain(*below):
                action(sandbox)
            sandbox.run(COPY, timeout_s=OWN_S)
            yield FreshBranch(sandbox, below)


class FreshBranch:
    """Implement Sandbox: run commands, and record them for branches that continue this one."""

    def __init__(self, sandbox: Sandbox, below: tuple[list[Callable], ...]):
        self._sandbox, self.layers = sandbox, (*below, [])
        self.name, self.workdir = sandbox.name, sandbox.workdir

    def run(self, command: str, *, timeout_s: float = 120.0,
            env: Mapping[str, str] | None = None) -> Result:
        """Return the result of a bash command; see Sandbox.run."""
        return self._do(lambda sandbox: sandbox.run(
            command, timeout_s=timeout_s, env=dict(env or {})))

    def put(self, source: Source, to: str) -> None:
        """Copy files of the host into the sandbox; see Sandbox.put."""
        self._do(lambda sandbox: sandbox.put(source, to))

    def _do(self, action: Callable) -> Result | None:
        self.layers[-1].append(action)
        return action(self._sandbox)

    def get(self, path: str, to: Path, bounds: Bounds = BOUNDS) -> None:
        """Copy files of the sandbox to the host; see Sandbox.get."""
        self._sandbox.get(path, to, bounds)

    def changes(self) -> dict[str, str]:
        """Return {path: diff} of the files that changed since the branch began; see Branch.changes.
        Do not report changed links, or files with only a changed mode."""
        output = self._sandbox.run(DIFF, timeout_s=OWN_S).output
        found = {_name(match): "" for match in BINARY.finditer(output)}
        n_left = DIFF_CHARS
        for piece in PIECE.split(output):
            if head := HEAD.match(piece):
                name = _name(head)
                text = f"--- a/{name}\n+++ b/{name}\n{piece[head.end():]}"
                found[name] = text if len(text) <= n_left else ""
                n_left -= len(found[name])
        return dict(sorted(found.items()))

    def tree(self) -> str:
        """Return a digest of changes() since the branch began."""
        return digest(self.changes())


def _name(match: re.Match) -> str:
    """Return a path from diff's output, without the quotes and escapes that diff adds to some."""
    name = match[2]
    return literal_eval(f'b"{name}"').decode(errors="backslashreplace") if match[1] else name
