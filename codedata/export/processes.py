"""Run a verifier's tests as another user, and end all that they have started.

It lies in /tests beside the script that uses it, and needs the standard library alone, from Python
3.7 on.
"""
from __future__ import annotations

import ctypes
import os
import pwd
import resource
import signal
import time

WRITTEN_BYTES = 1 << 30       # of a file that the tests write
KILL_S = 30
PR_SET_NO_NEW_PRIVS = 38


def become(user: pwd.struct_passwd) -> None:
    """Make this process one of a user, for good; of root nothing is taken."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (WRITTEN_BYTES, WRITTEN_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if user.pw_uid:
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def processes() -> set[int]:
    """Return the numbers of all processes that run, without those that ended and nobody waits for.
    """
    running = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                is_dead = file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
        except OSError:
            continue
        if not is_dead:
            running.add(int(name))
    return running


def end_all_but(before: set[int]) -> None:
    """End every process that has come since. Raise RuntimeError where some go on all the same."""
    end = time.monotonic() + KILL_S
    while True:
        left = processes() - before - {os.getpid()}
        if not left:
            return
        if time.monotonic() > end:
            raise RuntimeError(f"processes of the tests go on: {sorted(left)[:10]}")
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)
