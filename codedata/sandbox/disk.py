"""Limit the disk that containers fill: watch one of them, and wait before the host has no space
left."""
from __future__ import annotations

import os
import secrets
import shutil
import stat
import threading
from functools import partial
from pathlib import Path

import requests

from codedata.errors import Interrupted, ItemFailed
from codedata.progress import say

FASTEST = 2_000_000_000    # bytes a second: the assumed maximum write speed, which sets the time of the next look
SOONEST_S, LATEST_S = 0.5, 10.0
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
ROOM_S = 5.0               # between two looks at the host's free space

_waiting = threading.Lock()   # lets one of the waiting threads at a time look and report


def start(*threads: threading.Thread) -> None:
    """Start threads. Where the machine allows no more, cancel the timers that were started and
    raise ItemFailed."""
    try:
        for thread in threads:
            thread.start()
    except RuntimeError as e:
        for thread in threads:
            getattr(thread, "cancel", lambda: None)()
        raise ItemFailed(f"no further thread can be started: {e}", "sandbox:", "Fewer --workers, or a higher "
                         "limit of processes (ulimit -u).") from e


class DiskWatch(threading.Thread):
    """End a container that has written more than `limit` bytes beside its image. A sparse file
    counts in full.

    Few storage drivers know a quota, so the engine is asked how much was written: often near the
    limit, seldom far from it.
    """

    def __init__(self, api, container_id: str, limit: int):
        super().__init__(daemon=True)
        self.over = 0          # bytes that were written when it was ended
        self._api, self._id, self._limit, self._stop_it = api, container_id, limit, threading.Event()

    def run(self) -> None:
        """Watch the container until it is gone, over the limit, or no longer to be watched."""
        wait_s = SOONEST_S
        while not self._stop_it.wait(wait_s):
            try:
                found = self._api.containers(size=True, filters={"id": self._id})
                if not found:
                    return
                n_bytes = found[0].get("SizeRw") or 0
                if n_bytes > self._limit:
                    self.over = n_bytes
                    self._api.kill(self._id)
                    return
            except requests.RequestException:
                continue   # the engine is busy or gone, which commands will report
            wait_s = min(max((self._limit - n_bytes) / FASTEST, SOONEST_S), LATEST_S)

    def stop(self) -> None:
        """Stop watching."""
        self._stop_it.set()


def remove_tree(root: Path) -> None:
    """Remove a folder, however deep it is: what lies two levels down is moved up first, so that
    no path gets long and nothing recurses. Raise OSError where something cannot be removed.
    Nothing may write there meanwhile."""
    top = os.open(root, FOLDER)
    try:
        os.fchmod(top, 0o700)   # read-only folders, such as those of Go's module cache, cannot be emptied
        while names := os.listdir(top):
            for name in filter(partial(_is_folder, top), names):
                os.chmod(name, 0o700, dir_fd=top)
                child = os.open(name, FOLDER, dir_fd=top)
                try:
                    for inner in filter(partial(_is_folder, child), os.listdir(child)):
                        os.chmod(inner, 0o700, dir_fd=child)
                        os.rename(inner, secrets.token_hex(16), src_dir_fd=child, dst_dir_fd=top)
                finally:
                    os.close(child)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(root)


def _is_folder(parent: int, name: str) -> bool:
    """Return whether a name is a folder; remove it where it is not."""
    if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
        return True
    os.unlink(name, dir_fd=parent)
    return False


def wait_for_room(place: Path, floor_bytes: int, stop: threading.Event | None = None) -> None:
    """Return when the file system of `place` has at least `floor_bytes` free; a line on stderr says
    what it waits for.

    Raise Interrupted when `stop` is set meanwhile.
    """
    stop, has_said = stop or threading.Event(), False
    with _waiting:
        while (free := shutil.disk_usage(place).free) < floor_bytes:
            if not has_said:
                say(f"{place}: {free / 1e9:.1f} GB free, under the floor of {floor_bytes / 1e9:.1f} GB: new work waits "
                    "till there is more (images that are not needed: docker image ls)")
                has_said = True
            if stop.wait(ROOM_S):
                raise Interrupted()
    if has_said:
        say(f"{place}: {free / 1e9:.1f} GB free, work goes on")
