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
import sys
import time
import traceback

LOG_BYTES = 20_000            # of what tests print that is shown: its end
WRITTEN_BYTES = 1 << 30       # of a file that the tests write
KILL_S = 30
PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 4, 38


def run_as(user: pwd.struct_passwd, log: str, run, timeout_s: float = float("inf")) -> bool:
    """Call a function in a process of its own as a user, and end all that it has started. Return
    whether it came to its end in time. What it prints is in the file `log` alone, which nobody
    reads for results; only a file that was open before may hold these."""
    before = processes(user)
    ends = time.monotonic() + timeout_s
    with open(log, "wb") as file:
        child = os.fork()
        if not child:
            _run_child(user, file.fileno(), run)
    ended = 0
    while not ended and time.monotonic() < ends:
        time.sleep(0.02)
        ended = os.waitpid(child, os.WNOHANG)[0]
    end_all_but(before, user)
    if not ended:
        os.waitpid(child, 0)
    return bool(ended)


def _run_child(user: pwd.struct_passwd, log: int, run) -> None:
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.setsid()   # without a terminal
        become(user)
        run()
    finally:
        if sys.exc_info()[0]:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(0)


def end_of(log: str) -> str:
    """Return the end of a log with its control characters shown, for people."""
    with open(log, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_BYTES))
        text = file.read().decode(errors="replace")
    return text.encode("unicode_escape").decode().replace("\\n", "\n")


def become(user: pwd.struct_passwd) -> None:
    """Make this process one of a user, for good; of root nothing is taken."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (WRITTEN_BYTES, WRITTEN_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if user.pw_uid:
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)   # no process of the user looks into it


def processes(user: pwd.struct_passwd) -> set[int]:
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
        is_others = user.pw_uid and int(about["Uid"].split()[0]) != user.pw_uid
        if about["State"].split()[0] not in ("Z", "X") and not is_others:
            running.add(int(name))
    return running


def end_all_but(before: set[int], user: pwd.struct_passwd) -> None:
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
