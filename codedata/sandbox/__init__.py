"""Where commands run: one small interface, and what fits it by name.

    with open_sandbox("docker", image="codedata-base:bookworm", scripts=[SCRIPT_BASH_FUNC]) as sandbox:
        sandbox.put(Path("src"), "/testbed")
        result = sandbox.run("make test", timeout_s=600)

A command that exits with 1 is a result; a sandbox that is gone, whatever the reason, is SandboxDied.
"""
from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

from codedata.errors import ItemFailed, Trouble
from codedata.sandbox.archives import BOUNDS, Bounds
from codedata.texts import text_of

OUTPUT_BYTES = 1_000_000   # of a command that are kept: half from its beginning, half from its end


class SandboxDied(ItemFailed):
    """The sandbox is gone, or was ended for what it took (memory, disk): `what` says which."""


@dataclass(frozen=True)
class Result:
    """What a command came to."""

    exit_code: int             # of a command that was ended: 124
    output: str                # stdout and stderr as they arrived, at most OUTPUT_BYTES of them; can be stored: no NUL
    seconds: float
    timed_out: bool = False    # ended, with all that it had started, when its time was over
    n_bytes: int = 0           # of output in all, also what was cut out of the middle
    limit_hit: str = ""        # "out of memory: 5Gi allowed": which of its limits a command that failed ran into

    @property
    def ok(self) -> bool:
        return self.exit_code == 0


@dataclass(frozen=True)
class Script:
    """Shell functions that are sourced before each command of a sandbox."""

    name: str                  # of the file in the sandbox
    text: str


class Sandbox(Protocol):
    """A machine of its own for commands. A context manager that closes itself."""

    name: str                  # "local", "docker", "kubernetes"
    workdir: str               # where commands start, an absolute path

    def run(self, command: str, *, timeout_s: float = 120.0, env: dict[str, str] | None = None) -> Result:
        """The result of a bash command. SandboxDied where there is nothing left to run it in."""

    def put(self, source: Path | dict[str, bytes], to: str) -> None:
        """Copy a file or folder of the host, or {relative path: content}, into the folder `to`, which is made."""

    def get(self, path: str, to: Path, bounds: Bounds = BOUNDS) -> None:
        """Copy a file, or what is in a folder, into the folder `to` of the host. Links and paths that lead out of it
        are refused, and OverBounds is raised for more than may be."""

    def network(self, is_on: bool) -> None:
        """Let commands reach the network from here on, or not. `local` cannot keep them from it, and says so."""

    def close(self) -> None:
        """End everything that runs in it, and remove it."""

    def __enter__(self) -> Sandbox: ...

    def __exit__(self, *exc) -> None: ...


SANDBOXES = {"local": ("codedata.sandbox.local", "SandboxLocal"),
             "docker": ("codedata.sandbox.docker", "SandboxDocker"),
             "kubernetes": ("codedata.sandbox.kubernetes", "SandboxK8s")}
SCRIPT_BASH_FUNC = Script("bash_func.sh", text_of("codedata.sandbox", "bash_func.sh"))


def open_sandbox(name: str, **options) -> Sandbox:
    """A sandbox by its name, with the options of its class."""
    if name not in SANDBOXES:
        raise Trouble(f"no sandbox is called {name!r}.", todo=f"There are {', '.join(SANDBOXES)}.")
    module, cls = SANDBOXES[name]
    return getattr(import_module(module), cls)(**options)
