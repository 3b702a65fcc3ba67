"""Branch a history in pods, which cannot be committed to images: each branch is a fresh sandbox in
which the commands of the branches below are run again.

A branch is only as exact as its commands are repeatable, and takes as long as they do.
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

BEFORE = "/tmp/codedata-before"   # a copy of the source at the start of the branch
COPY = f"rm -rf {BEFORE}; cp -a . {BEFORE}"
DIFF = ("diff -ruN --no-dereference -x .git -x __pycache__ -x .pytest_cache -x '*.pyc' "
        f'{BEFORE} "$PWD"')
PIECE = re.compile(r"^(?:diff -ruN .*\n|(?=Binary files ))", re.MULTILINE)
BINARY = re.compile(rf'Binary files ("?){BEFORE}/(.+)\1 and .* differ\n')
HEAD = re.compile(rf'--- ("?){BEFORE}/(.+)\1\t.*\n\+\+\+ .*\n')   # has times
OWN_S = 600


@dataclass
class FreshSandboxes:
    """Make branches of an environment, each in its own sandbox."""

    environment: Environment
    factory: SandboxFactory
    label: str
    how = "replayed"

    @contextmanager
    def branch(self, *below: list[Callable]) -> Iterator[FreshBranch]:
        """Yield a new branch, after repeating the actions of the branches below."""
        with open_environment(self.environment, self.factory, self.label) as sandbox:
            for action in chain(*below):
                action(sandbox)
            sandbox.run(COPY, timeout_s=OWN_S)
            yield FreshBranch(sandbox, below)


class FreshBranch:
    """Run commands in a sandbox, and record them for the branches above this one: a Sandbox."""

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
        Changed links, and changes of only the mode, are not seen."""
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
        """Return a digest of the changes of the source since the branch began."""
        return digest(self.changes())


def _name(match: re.Match) -> str:
    """Return a path unquoted; diff prints some paths in quotes."""
    name = match[2]
    return literal_eval(f'b"{name}"').decode(errors="backslashreplace") if match[1] else name
