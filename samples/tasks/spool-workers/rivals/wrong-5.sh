#!/bin/bash
# "`max_attempts` a whole number from 1" (0 and negative numbers are taken for a job that is tried once)
set -e
cd /app
rm -f spool/attempts.py spool/claims.py spool/folders.py spool/jobs.py spool/runner.py spool/worker.py
cat >spool/keeper.py <<'EOF'
"""A process between a worker and a command: it stays with the command when the worker is killed.

It has the lock of the job along with the worker, so that the job is free when both are gone."""
import ctypes
import json
import os
import signal
import subprocess
import threading
import time

LIBC = ctypes.CDLL(None)
PDEATHSIG, SUBREAPER = 1, 36


class Lost(Exception):
    """The keeper was killed."""


def inherit_orphans():
    LIBC.prctl(SUBREAPER, 1, 0, 0, 0)


def children():
    me = str(os.getpid()).encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    if file.read().rpartition(b")")[2].split()[1] == me:
                        yield int(entry)
            except (OSError, IndexError):
                pass


def sweep():
    """Kill children until there is none."""
    while True:
        for pid in children():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return
        time.sleep(0.01)


def attempt(command, folder):
    """Run a command under a keeper; return (error, output)."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.close(reading)
            keep(command, folder, writing)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        told = file.read()
    _, status = os.waitpid(pid, 0)
    if status:
        sweep()
        raise Lost
    head, _, output = told.partition(b"\n")
    return json.loads(head), output.decode("utf-8", errors="replace")


def keep(command, folder, writing):
    os.setsid()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    inherit_orphans()
    keeper = os.getpid()

    def die_with_keeper():
        LIBC.prctl(PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != keeper:
            os._exit(1)

    output = b""
    try:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   preexec_fn=die_with_keeper, start_new_session=True)
    except (OSError, ValueError):
        error = "cannot run"
    else:
        parts = []
        thread = threading.Thread(target=lambda: parts.append(process.stdout.read()))
        thread.start()
        process.wait()
        sweep()
        thread.join()
        code = process.returncode
        error = f"exit {code}" if code > 0 else f"signal {-code}" if code else ""
        output = b"" if error else b"".join(parts)
    try:
        with os.fdopen(writing, "wb") as file:
            file.write(json.dumps(error).encode() + b"\n" + output)
    except BrokenPipeError:
        pass  # the worker is gone; the next one sees that the attempt was never ended
EOF
cat >spool/job.py <<'EOF'
"""One job of a spool directory, under its lock."""
import fcntl
import json
import os
from contextlib import contextmanager


class Job:
    def __init__(self, spool, name):
        self.name = name
        self.file = spool / "new" / f"{name}.json"
        self.done = spool / "done" / f"{name}.json"
        self.failed = spool / "failed" / f"{name}.json"
        self.lock = spool / "claims" / f"{name}.lock"
        self.log = spool / "attempts" / f"{name}.log"

    @contextmanager
    def locked(self):
        """Give whether this process has got the lock."""
        with open(self.lock, "ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            try:
                same = os.path.samestat(os.fstat(file.fileno()), os.stat(self.lock))
            except FileNotFoundError:
                same = False
            yield same
            if same and not self.file.exists():
                self.lock.unlink(missing_ok=True)

    def ended(self):
        return self.done.exists() or self.failed.exists() or not os.path.lexists(self.file)

    def read(self):
        """Return (command, most attempts), or None for what is no job."""
        try:
            job = json.loads(str(self.file.read_bytes(), "utf-8"))
            command, most = job["command"], job.get("max_attempts", 3)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OSError):
            return None
        good = type(command) is list and command and {type(text) for text in command} == {str}
        return (command, most) if good and type(most) is int else None

    # The log has a line "begin" when an attempt begins, and one with the error when it has failed.

    def note(self, what):
        with open(self.log, "a", encoding="utf-8") as file:
            file.write(what + "\n")

    def errors(self):
        """Return the errors so far; an attempt that began and did not end was left by a killed worker."""
        try:
            lines = self.log.read_text(encoding="utf-8").split("\n")[:-1]
        except FileNotFoundError:
            return []
        errors = []
        for at, line in enumerate(lines):
            if line != "begin":
                errors.append(line)
            elif at + 1 == len(lines) or lines[at + 1] == "begin":
                errors.append("worker died")
        return errors

    def end(self, path, value):
        part = self.log.with_name(f"{self.name}.part")
        part.write_text(json.dumps(value) + "\n", encoding="utf-8")
        part.replace(path)
        self.tidy()

    def tidy(self):
        self.file.unlink(missing_ok=True)
        self.log.unlink(missing_ok=True)
EOF
cat >spool/worker.py <<'EOF'
"""Work through the jobs of a directory."""
import os
import signal
import time

from spool import keeper
from spool.job import Job


def work(root):
    """Run jobs until all have ended."""
    for folder in ("new", "done", "failed", "claims", "attempts"):
        os.makedirs(root / folder, exist_ok=True)
    keeper.inherit_orphans()
    while names := sorted(entry.name[:-5] for entry in os.scandir(root / "new") if entry.name.endswith(".json")):
        busy = False
        for name in names:
            busy |= step(root, Job(root, name))
        if not busy:
            time.sleep(0.1)


def step(root, job):
    """Make one attempt at a job; return whether there was something to do."""
    with job.locked() as mine:
        if not mine:
            return False
        if job.ended():
            job.tidy()
            return True
        known = job.read()
        if not known:
            job.end(job.failed, {"attempts": 0, "errors": ["not a job"]})
            return True
        command, most = known[0], max(1, known[1])
        errors = job.errors()
        if len(errors) < most:
            job.note("begin")
            try:
                error, output = keeper.attempt(command, root)
            except keeper.Lost:
                os.kill(os.getpid(), signal.SIGKILL)  # half of this worker was killed: so be it
            if not error:
                job.end(job.done, {"attempts": len(errors) + 1, "output": output})
                return True
            job.note(error)
            errors.append(error)
        if len(errors) >= most:
            job.end(job.failed, {"attempts": len(errors), "errors": errors})
        return True
EOF
