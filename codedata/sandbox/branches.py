"""Branch the files of an image: run a history of commands once, and at any of its states several
others, none of which sees what another has done.

A branch is a stack of layers over the image's files, which lie in a folder of a container made from
the base image. Each command gets an overlay mount of its stack, a process namespace, and no right
to mount or to leave it; the container's own files, tools and rights (SYS_ADMIN, for the mounts) are
out of its reach, so that no program of an image ever runs with them. A branch takes 0.03 s at any
size of the files.

Not kept between commands: processes, shell variables, what is written to /dev/shm. Branches share
the network namespace, which has nothing but its loopback. Where containers get no SYS_ADMIN, as in
most clusters, there are no branches.
"""
from __future__ import annotations

import base64
import json
import posixpath
import secrets
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from codedata.errors import ItemFailed
from codedata.sandbox import Result, Sandbox, docker_engine
from codedata.sandbox.archives import BOUNDS, Bounds, Source
from codedata.sandbox.docker import FOLDER, LAYERS, SandboxDocker
from codedata.sandbox.shell import Shell
from codedata.texts import text_of

BELOW = "/below"
OUT = "/codedata-out"
PROGRAM = "in_branch.py"
UNSHARE = ("unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "python3", "-I",
           f"{FOLDER}/{PROGRAM}", "run")
DIFF_CHARS = 20_000
PIECE = 600_000             # characters of a file in one command; a multiple of four
OWN_S = 120


class BranchedImage:
    """Hold a container with the files of an image, of which branches are made."""

    how = "overlay"

    def __init__(self, sandbox: SandboxDocker, image: str, workdir: str):
        """Copy the image's files into the sandbox, which has to be one that `supervises`."""
        self.sandbox, self.workdir = sandbox, workdir
        api = docker_engine.connect()
        with sandbox.files(image) as files:
            sandbox.put_tar(files.all(), BELOW)
        sandbox.put({PROGRAM: text_of("codedata.sandbox", PROGRAM).encode()}, FOLDER)
        variables = api.inspect_image(image)["Config"]["Env"] or []
        self.variables = dict(one.split("=", 1) for one in variables) | {"HOME": "/root"}
        self.dropped: list[str] = []
        with self.branch() as branch:
            tried = branch.run("true")
        if not tried.ok:
            raise ItemFailed(f"no branch can be made: {tried.output.strip()[-300:]}", image,
                             'Set [run] branches = "replayed".')

    @contextmanager
    def branch(self, *below: str) -> Iterator[Branch]:
        """Yield a new branch on the layers of others; it is removed before the next command."""
        layer = secrets.token_hex(6)
        try:
            yield Branch(self, (*below, layer))
        finally:
            self.dropped.append(layer)

    def own(self, command: str) -> str:
        """Return the output of a command in the container itself. Raise ItemFailed if it fails."""
        done = self.sandbox.run_argv(["bash", "-c", command], OWN_S)
        if not done.ok:
            raise ItemFailed(f"the branch fails: {done.output.strip()[-300:]}", command[:60])
        return done.output


class Branch:
    """Run commands in a branch: a Sandbox without a network."""

    name = "docker"

    def __init__(self, image: BranchedImage, layers: tuple[str, ...]):
        self._image, self.layers, self.workdir = image, layers, image.workdir
        self._shell = Shell(self.workdir, "", (), "", "")

    def run(self, command: str, *, timeout_s: float = 120.0,
            env: Mapping[str, str] | None = None) -> Result:
        """Return the result of a bash command; see Sandbox.run."""
        variables = json.dumps({**self._image.variables, **(env or {})})
        dropped = self._image.dropped
        argv = [*UNSHARE, ",".join(self.layers), self.workdir, ",".join(dropped), variables,
                *self._shell.argv(command)]
        result = self._image.sandbox.run_argv(argv, timeout_s)
        if not result.timed_out:   # else it may have ended before
            dropped.clear()
        return result

    def changes(self) -> dict[str, str]:
        """Return {path: diff} of the files of the working directory that are other than in the
        branches below; "" for what is no text, and beyond DIFF_CHARS of all."""
        return json.loads(self._look("changes", str(DIFF_CHARS)))

    def tree(self) -> str:
        """Return a digest of what is other in the working directory than in the image."""
        return self._look("tree").strip()

    def _look(self, what: str, *words: str) -> str:
        return self._image.own(shlex.join(["python3", "-I", f"{FOLDER}/{PROGRAM}", what,
                                           ",".join(self.layers), self.workdir, *words]))

    def put(self, source: Source, to: str) -> None:
        """Write {relative path: content} into a folder of the branch, by commands in it: what has
        run there before may have left links that lead elsewhere."""
        command = ""
        for name, content in dict(source).items():
            place = shlex.quote(posixpath.join(self.workdir, to, name))
            command += f'mkdir -p "$(dirname {place})" && rm -rf {place} && : > {place} || exit\n'
            text = base64.b64encode(content).decode()
            for i in range(0, len(text), PIECE):
                if len(command) + len(text[i:i + PIECE]) > 1.5 * PIECE:
                    self._write(command)
                    command = ""
                command += f"printf %s {text[i:i + PIECE]} | base64 -d >> {place} || exit\n"
        self._write(command)

    def _write(self, command: str) -> None:
        done = self.run(command)
        if not done.ok:
            raise ItemFailed(f"no file can be written: {done.output.strip()[-300:]}")

    def get(self, path: str, to: Path, bounds: Bounds = BOUNDS) -> None:
        """Copy files that commands of this branch have written; see Sandbox.get."""
        place = posixpath.normpath(posixpath.join(self.workdir, path))
        source, copy = f"{LAYERS}/{self.layers[-1]}/files{place}", f"{OUT}/{self.layers[-1]}"
        own = self._image.own   # the engine copies nothing from a file system in memory
        own(f"rm -rf {OUT} && mkdir {OUT} && cd -P {shlex.quote(posixpath.dirname(source))} && "
            f'[ "$PWD" = {shlex.quote(posixpath.dirname(source))} ] && '   # no link leads away
            f"cp -a -- {shlex.quote(source)} {copy}")
        self._image.sandbox.get(copy, to, bounds)

    def network(self, is_on: bool) -> None:
        """Raise ItemFailed where the network is wanted: a branch has none."""
        if is_on:
            raise ItemFailed("a branch has no network")

    def close(self) -> None:
        """Do nothing: the branch ends with its context."""

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *exc) -> None:
        self.close()
