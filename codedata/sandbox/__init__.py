"""Run commands in a sandbox: a small interface with several implementations, chosen by name.

    with open_sandbox("docker", image="codedata-base:bookworm") as sandbox:
        sandbox.put(Path("src"), "/testbed")
        result = sandbox.run("make test", timeout_s=600)

A command that fails is not an error: the Result has its exit code. SandboxDied is raised only if
the sandbox is gone.
"""
from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

from codedata.errors import ItemFailed, Trouble
from codedata.sandbox.archives import BOUNDS, Bounds, Source
from codedata.texts import text_of

TIMED_OUT = 124            # the exit code of a command that ran out of time
OUTPUT_BYTES = 1_000_000   # limit for a command's output: half for its start, half for its end


class SandboxDied(ItemFailed):
    """Report that the sandbox is gone; `what` gives the reason."""


class OverLimit(SandboxDied):
    """Report that the sandbox was ended because it used too much memory or disk."""


@dataclass(frozen=True)
class Result:
    """Hold the result of a command."""

    exit_code: int             # TIMED_OUT for a command that ran out of time
    output: str                # stdout and stderr interleaved, at most OUTPUT_BYTES; no NUL
    seconds: float
    timed_out: bool = False    # it ran out of time, and was ended with all its processes
    n_bytes: int = 0           # size of the whole output, including a part that was cut
    limit_hit: str = ""        # the limit that a failed command hit: "out of memory: 5Gi allowed"

    @property
    def ok(self) -> bool:
        """Return whether the exit code is 0."""
        return self.exit_code == 0


@dataclass(frozen=True)
class Script:
    """Hold a script of shell functions that a sandbox sources before each command."""

    name: str                  # the file's name in the sandbox
    text: str


class ClosesAtExit(AbstractContextManager):
    """Make an object with close() a context manager that closes itself."""

    def __exit__(self, *exc) -> None:
        self.close()


class Sandbox(AbstractContextManager, Protocol):
    """Define the interface of sandboxes. A sandbox is a context manager that closes itself."""

    name: str                  # "local", "docker", "kubernetes"
    workdir: str               # the folder where commands start, an absolute path

    def run(self, command: str, *, timeout_s: float = 120.0,
            env: dict[str, str] | None = None) -> Result:
        """Return the result of a bash command. Raise SandboxDied if the sandbox is gone."""

    def put(self, source: Source, to: str) -> None:
        """Copy a file or folder of the host, or {relative path: content}, into the folder `to`,
        which is created if needed."""

    def get(self, path: str, to: Path, bounds: Bounds = BOUNDS) -> None:
        """Copy a file, or the content of a folder, into the folder `to` of the host. Raise
        UnsafeArchive for links and paths that lead out of `to`, OverBounds if `bounds` are
        exceeded."""

    def network(self, is_on: bool) -> None:
        """Switch the network on or off for later commands. The local sandbox cannot switch it off,
        and prints a line instead."""

    def close(self) -> None:
        """End all processes of the sandbox, and remove the sandbox."""


SANDBOXES = {"local": "local.SandboxLocal", "docker": "docker.container.SandboxDocker",
             "kubernetes": "kubernetes.SandboxK8s"}   # module and class
SCRIPT_BASH_FUNC = Script("bash_func.sh", text_of("codedata.sandbox", "bash_func.sh"))


def open_sandbox(name: str, **options) -> Sandbox:
    """Return a new sandbox of the named kind; `options` go to its class. Raise Trouble for an
    unknown name."""
    if name not in SANDBOXES:
        raise Trouble(f"no sandbox is called {name!r}.", todo=f"There are {', '.join(SANDBOXES)}.")
    module, _, class_name = SANDBOXES[name].rpartition(".")
    return getattr(import_module(f"codedata.sandbox.{module}"), class_name)(**options)
