"""Limit the disk space of containers: end a container that writes too much, and wait while the host
has too little free space."""
from __future__ import annotations

import shutil
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import requests

from codedata.errors import Interrupted
from codedata.terminal import say

MAX_BYTES_PER_S = 2_000_000_000   # assumed write speed, used to time the next check
ALIVE = "USR2"             # signal to a container: the run that created it is alive
MIN_WAIT_S = 0.5
MAX_WAIT_S = 10.0
LOOK_S = 5.0               # seconds between two checks of the host's free space

_waiting = threading.Lock()   # only one waiting thread checks and reports


class DiskWatch:
    """End a container that has written more than `limit` bytes in addition to its image. A sparse
    file counts in full.

    Few storage drivers support a quota. So this watch asks the engine how many bytes were written,
    more often near the limit. Every `alive_every_s` seconds it tells the container that its run is
    alive.
    """

    _alive_at = 0.0

    def __init__(self, api, container_id: str, limit: int, alive_every_s: float = 300.0):
        self.n_over = 0                    # bytes written when the container was ended
        self.stopped = threading.Event()   # set when the watch should stop
        self._api = api
        self._id = container_id
        self._limit = limit
        self._alive_every_s = alive_every_s

    def run(self) -> None:
        """Watch the container until it is gone or over the limit, or `stopped` is set."""
        wait_s = MIN_WAIT_S
        while not self.stopped.wait(wait_s):
            # ignore a failure of the engine, which commands will report
            with suppress(requests.RequestException):
                if (n_left := self._room_left()) is None:
                    break
                wait_s = min(max(n_left / MAX_BYTES_PER_S, MIN_WAIT_S), MAX_WAIT_S)

    def _room_left(self) -> int | None:
        """Return the number of bytes that the container may still write; None if the container is
        gone or was just ended."""
        listed = self._api.containers(size=True, filters={"id": self._id})
        if not listed:
            return None
        n_bytes = sum(container.get("SizeRw") or 0 for container in listed)
        if n_bytes > self._limit:
            self.n_over = n_bytes
            self._api.kill(self._id)
            return None
        if time.monotonic() >= self._alive_at + self._alive_every_s:   # a signal takes 20 ms of CPU
            self._api.kill(self._id, ALIVE)
            self._alive_at = time.monotonic()
        return self._limit - n_bytes


def remove_tree(root: Path) -> None:
    """Remove a folder of any depth, including read-only folders in it. Raise OSError if something
    cannot be removed. No process may write there meanwhile."""
    if not root.is_dir():
        return
    for command in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):   # these have no recursion limit
        done = subprocess.run([*command, "--", root], capture_output=True, text=True,
                              start_new_session=True)
    if root.exists():
        raise OSError(done.stderr.strip())


def wait_for_room(place: Path, floor_bytes: int, stop: threading.Event) -> None:
    """Wait until the file system of `place` has at least `floor_bytes` free, and print a line to
    stderr about the wait. Raise Interrupted if `stop` is set meanwhile."""
    waits = False
    with _waiting:
        while (free := shutil.disk_usage(place).free) < floor_bytes:
            if not waits:
                say(f"{place}: {free / 1e9:.1f} GB free, under the floor of "
                    f"{floor_bytes / 1e9:.1f} GB: new work waits until there is more (to find "
                    "images to delete: docker image ls)")
            waits = True
            if stop.wait(LOOK_S):
                raise Interrupted()
    if waits:
        say(f"{place}: {free / 1e9:.1f} GB free, work goes on")
