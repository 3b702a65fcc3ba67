"""Run commands on this machine, in a temporary folder. It isolates nothing: for unreviewed code,
use docker.

If a command runs out of time, its process group is ended. Processes with the sandbox's mark in
their environment, such as a daemon in its own session, are ended, too. A process that has left the
group and cleared its environment is not ended. Without /proc, only the group is ended.
"""
from __future__ import annotations

import os
import selectors
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from codedata.disk.locks import FILE, FOLDERS, locked, locked_folder
from codedata.errors import Interrupted, ItemFailed, Trouble
from codedata.sandbox import SCRIPT_BASH_FUNC, ClosesAtExit, Result, Script
from codedata.sandbox.archives import BOUNDS, Bounds, Source, pack, unpack
from codedata.sandbox.docker.disk_limit import remove_tree
from codedata.sandbox.docker.output import Output
from codedata.sandbox.shell import Shell
from codedata.terminal import say
from codedata.texts import printable

MARK = "CODEDATA_SANDBOX"       # variable that marks processes of a sandbox
PIPE_BYTES = 65536              # capacity of a pipe
POLL_S = 0.05
MAX_ROUNDS = 50                 # limit for searches for processes to kill, as new ones may start


class SandboxLocal(ClosesAtExit):
    """Run commands in a temporary folder that starts as a copy of `source`.

    In the sandbox, `python3` and `python` run `python_bin`. Only PATH is taken from the
    environment; HOME is a new folder. A background process runs until close(), or until a command
    runs out of time. Once `stop` is set, running commands end and raise Interrupted.
    """

    name = "local"

    def __init__(self, python_bin: str = "python3",
                 scripts: Sequence[Script] = (SCRIPT_BASH_FUNC,),
                 source: Path | None = None, *, run_label: str = "", proxy: str = "",
                 ca_bundle: str = "", stop: threading.Event | None = None):
        self._stop = stop or threading.Event()
        for program in (python_bin, "bash"):
            if not shutil.which(program):
                raise Trouble("is not there.", program, "Install it, or name another python_bin.")
        root, self._lock = locked_folder()
        self._root = root
        self.workdir = f"{root}/work"
        self._remove = weakref.finalize(self, _close, root)   # runs also at interpreter exit
        for name in ("bin", "home", "run", "work"):
            (root / name).mkdir()
        for name in ("python", "python3"):   # not links, which would hide a virtual environment
            program = root / "bin" / name
            program.write_text(f'#!/bin/sh\nexec {shlex.quote(shutil.which(python_bin))} "$@"\n')
            program.chmod(0o755)
        for script in scripts:
            (root / "run" / script.name).write_text(script.text)
        self._env = {"PATH": ":".join([f"{root}/bin", *os.get_exec_path()]),
                     "HOME": f"{root}/home", "LANG": "C.UTF-8", MARK: f"{root}"}
        self._shell = Shell(self.workdir, f"{root}/run", scripts, proxy,
                            os.path.realpath(ca_bundle) if ca_bundle else "")
        if source:
            self.put(Path(source), self.workdir)

    def run(self, command: str, *, timeout_s: float = 120.0,
            env: dict[str, str] | None = None) -> Result:
        """Return the result of a bash command; see Sandbox.run."""
        end = time.monotonic() + timeout_s
        output = self._shell.output()
        process = subprocess.Popen(
            self._shell.argv(command), env=self._env | self._shell.env(env), cwd=self._root,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True)
        code = None   # stays None if the run is interrupted
        with process.stdout:
            try:
                code = _read(process, output, end, self._stop)
            finally:
                if code is None:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    _kill_marked(self._root)
                    process.wait()
        if code is None and self._stop.is_set():
            raise Interrupted()
        return output.result(128 - code if code and code < 0 else code)   # < 0: ended by a signal

    def put(self, source: Source, to: str) -> None:
        """Copy files as Sandbox.put does. Raise ItemFailed if `to` is outside the working
        directory."""
        place = Path(self.workdir, to).resolve()
        if not place.is_relative_to(self.workdir):
            raise ItemFailed("is outside of the sandbox's folder", to)
        with pack(source) as archive:
            unpack(archive, place)

    def get(self, path: str, to: Path, bounds: Bounds = BOUNDS) -> None:
        """Copy files as Sandbox.get does. Raise ItemFailed if `path` does not exist."""
        place = Path(self.workdir, path)
        if not place.exists():
            raise ItemFailed("is not there", path)
        with pack(place, bounds=bounds) as archive:
            unpack(archive, to, bounds)

    def network(self, is_on: bool) -> None:
        """Print a line if the network should be off, since this sandbox cannot switch it off."""
        if not is_on:
            say("sandbox local: commands keep the network; this sandbox cannot switch it off")

    def close(self) -> None:
        """End the sandbox's processes and remove its folder."""
        self._remove()


def reap(only_list: bool = False) -> tuple[list[str], list[str]]:
    """Remove the temporary folders of killed processes; if one is a sandbox, end its processes.
    Return (the folders' names, a line for each folder that cannot be removed)."""
    removed = []
    left = []
    for lock in Path(tempfile.gettempdir()).resolve().glob(f"{FOLDERS}*/{FILE}"):
        with suppress(OSError):   # skip a folder whose lock is held by a living process
            if lock.parent.lstat().st_uid == os.getuid():   # do not open another user's files
                with locked(lock):
                    line = "" if only_list else _remove(lock.parent)
                (left if line else removed).append(line or str(lock.parent))
    return removed, left


def _read(process: subprocess.Popen, output: Output, end: float,
          stop: threading.Event) -> int | None:
    """Read a command's output until the command ends. Return its exit code, or None if its time ran
    out or `stop` was set first.

    Do not read until the pipe is closed: a background process may keep it open, or write for ever.
    """
    pipe = process.stdout.fileno()
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while (left := end - time.monotonic()) > 0 and not stop.is_set():
            code = process.poll()
            is_ready = selector.select(min(left, POLL_S) if code is None else 0)
            data = os.read(pipe, PIPE_BYTES) if is_ready else b""   # as much as a pipe holds
            output.add(data)
            if is_ready and not data:   # the command has closed its output, and may continue
                selector.unregister(pipe)
            if code is not None:
                return code
    return None


def _kill_marked(root: Path) -> None:
    """Kill all processes with the sandbox's mark in their environment; without /proc, none."""
    mark = f"{MARK}={root}\0".encode()
    for _ in range(MAX_ROUNDS):
        n_killed = 0
        for pid in filter(str.isdecimal, os.listdir("/proc") if os.path.isdir("/proc") else ()):
            with suppress(OSError):   # the process has ended, or belongs to another user
                if mark in Path("/proc", pid, "environ").read_bytes() + b"\0":
                    os.kill(int(pid), signal.SIGKILL)
                    n_killed += 1
        if not n_killed:
            break


def _remove(root: Path) -> str:
    """End a sandbox's processes and remove its folder. Return a line if it cannot be removed, else
    ""."""
    _kill_marked(root)
    try:
        remove_tree(root)
    except OSError as e:
        with suppress(OSError):
            (root / FILE).touch()   # so that the next start finds the folder
        return f"{root} cannot be removed: {printable(str(e), 200)}. Remove it by hand."
    return ""


def _close(root: Path) -> None:
    """Remove a sandbox, and print a line if its folder cannot be removed."""
    if line := _remove(root):
        say(line)
