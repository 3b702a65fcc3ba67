"""Run tests in a process of their own, as another user where there is one, and end all that they
have started."""
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
WRITTEN_BYTES = 1 << 30       # of a file that another user's tests write
KILL_S = 30
PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 4, 36, 38
SIGNALLED = 128               # exit codes of bash from here on: a signal has ended the program


def other_user(name: str) -> pwd.struct_passwd | None:
    """Return the user of a name; None for "", and where that is who runs this."""
    user = pwd.getpwnam(name) if name else None
    return user if user and user.pw_uid != os.getuid() else None


def run_as(user: pwd.struct_passwd | None, log: str, run, timeout_s: float = 0) -> int:
    """Call a function in a process of its own as a user, end all that it has started, and return
    its exit code. Raise TimeoutError where it has not come to its end in time; 0: it has any. What
    it prints is in the file `log` alone, which nobody reads for results; only a file that was open
    before may hold these."""
    before = started(user)
    ends = time.monotonic() + (timeout_s or float("inf"))
    call_prctl(PR_SET_CHILD_SUBREAPER, 1)   # whoever loses a parent stays a descendant
    with open(log, "wb") as file:
        child = os.fork()
        if not child:
            _run_child(user, file.fileno(), run)
    ended, status = 0, 0
    while not ended and time.monotonic() < ends:
        time.sleep(0.02)
        ended, status = os.waitpid(child, os.WNOHANG)
    end_all_but(before, user)
    if not ended:
        os.waitpid(child, 0)
        raise TimeoutError(f"the tests do not end in {timeout_s} s")
    return SIGNALLED + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _run_child(user: pwd.struct_passwd | None, log: int, run) -> None:
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.setsid()   # without a terminal
        become(user)
        run()
    finally:
        failed = sys.exc_info()[0] is not None
        if failed:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(1 if failed else 0)


def end_of(log: str) -> str:
    """Return the end of a log with its control characters shown, for people."""
    with open(log, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_BYTES))
        text = file.read().decode(errors="replace")
    return text.encode("unicode_escape").decode().replace("\\n", "\n")


def call_prctl(option: int, value: int) -> None:
    """Set an attribute of this process."""
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def become(user: pwd.struct_passwd | None) -> None:
    """Make this process one of a user, for good."""
    if user:
        resource.setrlimit(resource.RLIMIT_FSIZE, (WRITTEN_BYTES, WRITTEN_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        call_prctl(PR_SET_NO_NEW_PRIVS, 1)
    call_prctl(PR_SET_DUMPABLE, 0)   # no process of the user looks into it


def started(user: pwd.struct_passwd | None) -> set[int]:
    """Return the processes that descend from this one, and all of a user's, without those that
    ended and nobody waits for."""
    parents, found = {}, set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/status", encoding="utf-8", errors="replace") as file:
                about = dict(line.split(":", 1) for line in file if ":" in line)
        except OSError:
            continue
        if about["State"].split()[0] in ("Z", "X"):
            continue
        parents[int(name)] = int(about["PPid"])
        if user and int(about["Uid"].split()[0]) == user.pw_uid:
            found.add(int(name))
    children = {os.getpid()}
    while children:
        children = {pid for pid, parent in parents.items() if parent in children}
        found |= children
    return found


def end_all_but(before: set[int], user: pwd.struct_passwd | None) -> None:
    """End every process that has come since. Raise RuntimeError where some go on all the same."""
    end = time.monotonic() + KILL_S
    while True:
        left = started(user) - before
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
