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


def processes(user: pwd.struct_passwd | None) -> set[int]:
    """Return the numbers of all processes that run, without those that ended and nobody waits for;
    of a user other than root those alone that are this one's: what become() started is no other's.
    """
    running = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/status", encoding="utf-8", errors="replace") as file:
                about = dict(line.split(":", 1) for line in file if ":" in line)
        except OSError:
            continue
        is_others = user and user.pw_uid and int(about["Uid"].split()[0]) != user.pw_uid
        if about["State"].split()[0] not in ("Z", "X") and not is_others:
            running.add(int(name))
    return running


def end_all_but(before: set[int], user: pwd.struct_passwd | None) -> None:
    """End every process of a user that has come since. Raise RuntimeError where some go on all the
    same."""
    end = time.monotonic() + KILL_S
    while True:
        left = processes(user) - before - {os.getpid()}
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
