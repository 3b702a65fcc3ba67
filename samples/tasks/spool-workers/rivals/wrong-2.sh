#!/bin/bash
# "nobody after its worker was killed, as long as the command itself still runs" (the job of a killed worker is begun again at once while its command runs on)
set -e
cd /app
cat >spool/jobs.py <<'EOF'
"""Read jobs."""
import json

MAX_ATTEMPTS = 3


class NotAJob(Exception):
    """Say that a file is no job."""


def read_job(path):
    """Return the command of a job, and how many attempts it has."""
    try:
        job = json.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise NotAJob from error
    if not isinstance(job, dict):
        raise NotAJob
    command, attempts = job.get("command"), job.get("max_attempts", MAX_ATTEMPTS)
    if not isinstance(command, list) or not command or not all(isinstance(word, str) for word in command):
        raise NotAJob
    if not isinstance(attempts, int) or isinstance(attempts, bool) or attempts < 1:
        raise NotAJob
    return command, attempts
EOF
cat >spool/processes.py <<'EOF'
"""Look at processes, and end them."""
import ctypes
import os
import signal
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def adopt():
    """Become the parent of all that descends from this process and loses its own."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def status(pid):
    """Return state, parent, session and start of a process, or None where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = text[text.rindex(b")") + 2:].split()
    return fields[0].decode(), int(fields[1]), int(fields[3]), int(fields[19])


def identity(pid):
    """Return what tells a process from a later one of the same number."""
    found = status(pid)
    return [pid, found[3] if found else 0]


def runs(pid, start):
    """Return whether this very process still runs."""
    found = status(pid)
    return bool(found) and found[0] not in "ZX" and found[3] == start


def every():
    """Return the numbers of all processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def kill(pid):
    """Kill a process, if it is still there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def end_children():
    """Kill all children of this process, and what they leave, until there is none."""
    me = os.getpid()
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        for pid in every():
            found = status(pid)
            if found and found[1] == me:
                kill(pid)
        time.sleep(0.005)


def end_orphans(pid, mark):
    """Kill what a command left that nobody looked after: of its session, or with its mark."""
    if status(pid):
        session = None
    else:
        session = pid
    while True:
        left = []
        for other in every():
            found = status(other)
            if not found or found[0] in "ZX" or other == os.getpid():
                continue
            try:
                marked = mark.encode() in Path(f"/proc/{other}/environ").read_bytes().split(b"\0")
            except OSError:
                marked = False
            if marked or found[2] == session:
                left.append(other)
        if not left:
            return
        for other in left:
            kill(other)
        time.sleep(0.005)
EOF
cat >spool/runner.py <<'EOF'
"""Run the command of a job."""
import os
import subprocess
import threading

from spool.processes import end_children


def run(command, folder, note, mark):
    """Return the error of an attempt, "" for none, and its output.

    The command's process calls note itself before the command is there, so that it cannot be forgotten."""
    key, _, value = mark.partition("=")
    try:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   start_new_session=True, preexec_fn=note, env={**os.environ, key: value})
    except (OSError, ValueError):
        return "cannot run", ""
    chunks = []
    reader = threading.Thread(target=lambda: chunks.extend(iter(lambda: os.read(process.stdout.fileno(), 65536), b"")),
                              daemon=True)
    reader.start()
    code = process.wait()
    end_children()
    reader.join()
    process.stdout.close()
    if code < 0:
        return f"signal {-code}", ""
    if code:
        return f"exit {code}", ""
    return "", b"".join(chunks).decode("utf-8", "replace")
EOF
cat >spool/claims.py <<'EOF'
"""Claim jobs, so that no two workers run one at the same time."""
import fcntl
import os


class Claims:
    """Hold the claims of a folder, a locked file each: the lock goes with its process."""

    def __init__(self, folder):
        self.folder = folder

    def take(self, name):
        """Return a claim on a job, or None where another worker has one."""
        path = self.folder / name
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return Claim(path, descriptor)
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(descriptor)
        return None


class Claim:
    """Hold a job until it is released."""

    def __init__(self, path, descriptor):
        self.path = path
        self.descriptor = descriptor

    def release(self, for_good):
        """Let others have the job, or nobody any more."""
        if for_good:
            self.path.unlink(missing_ok=True)
        os.close(self.descriptor)
EOF
cat >spool/folders.py <<'EOF'
"""Read and write the files of a spool directory."""
import json
import os


class Folders:
    """Hold the folders of a spool directory."""

    def __init__(self, root):
        self.root = root
        for name in ("new", "done", "failed", "claims", "attempts"):
            (root / name).mkdir(parents=True, exist_ok=True)

    def waiting(self):
        """Return the names of the jobs that have not ended."""
        return sorted(path.name[:-5] for path in (self.root / "new").glob("*.json"))

    def waits(self, name):
        """Return whether a job is there."""
        return os.path.lexists(self.root / "new" / f"{name}.json")

    def has_ended(self, name):
        """Return whether a job has ended."""
        return any((self.root / kind / f"{name}.json").exists() for kind in ("done", "failed"))

    def read(self, kind, name):
        """Return what a file holds, or None where there is none."""
        try:
            return json.loads((self.root / kind / f"{name}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def write(self, kind, name, value):
        """Write a file whole, or not at all."""
        part = self.root / "attempts" / f"{name}.{os.getpid()}.part"
        part.write_text(json.dumps(value) + "\n", encoding="utf-8")
        os.replace(part, self.root / kind / f"{name}.json")

    def forget(self, name):
        """Remove what a job that has ended leaves."""
        (self.root / "new" / f"{name}.json").unlink(missing_ok=True)
        for path in [self.root / "attempts" / f"{name}.json", *(self.root / "attempts").glob(f"{name}.*.part")]:
            path.unlink(missing_ok=True)

    def end(self, name, kind, value):
        """Note how a job has ended."""
        self.write(kind, name, value)
        self.forget(name)
EOF
cat >spool/attempts.py <<'EOF'
"""Remember the attempts at a job."""
import os

from spool.processes import end_orphans, identity, runs


class Attempts:
    """Hold what went wrong in the attempts at one job, and what runs of it, in a file."""

    def __init__(self, folders, name):
        self.folders = folders
        self.name = name
        kept = folders.read("attempts", name) or {"errors": [], "running": None}
        self.errors = kept["errors"]
        self.running = kept["running"]
        self.mark = f"SPOOL_JOB={folders.root}/{name}"

    def is_running(self):
        """Return whether the command of an attempt still runs whose worker is gone."""
        return bool(self.running) and runs(*self.running)

    def bury(self):
        """Count an attempt whose worker is gone."""
        if self.running:
            self.fail("worker died")

    def begin(self):
        """Note that an attempt begins; called by the worker, then by the process that becomes the command."""
        self.running = identity(os.getpid())
        self.write()

    def fail(self, error):
        """Note how the attempt failed."""
        self.errors.append(error)
        self.running = None
        self.write()

    def write(self):
        self.folders.write("attempts", self.name, {"errors": self.errors, "running": self.running})
EOF
cat >spool/worker.py <<'EOF'
"""Work through the jobs of a directory."""
import time

from spool.attempts import Attempts
from spool.claims import Claims
from spool.folders import Folders
from spool.jobs import NotAJob, read_job
from spool.processes import adopt
from spool.runner import run

PAUSE = 0.05


def work(root):
    """Run jobs until all have ended."""
    adopt()
    folders = Folders(root)
    claims = Claims(root / "claims")
    while True:
        names = folders.waiting()
        if not names:
            return
        if not any(serve(folders, claims, name) for name in names):
            time.sleep(PAUSE)


def serve(folders, claims, name):
    """Bring a job to its end, if it can be had; return whether it could."""
    claim = claims.take(name)
    if not claim:
        return False
    ended = False
    try:
        ended = attempt(folders, name)
    finally:
        claim.release(ended)
    return ended


def attempt(folders, name):
    """Run a job until it has ended; return whether it has."""
    if folders.has_ended(name) or not folders.waits(name):
        folders.forget(name)
        return True
    try:
        command, most = read_job(folders.root / "new" / f"{name}.json")
    except NotAJob:
        folders.end(name, "failed", {"attempts": 0, "errors": ["not a job"]})
        return True
    attempts = Attempts(folders, name)
    attempts.bury()
    while len(attempts.errors) < most:
        attempts.begin()
        error, output = run(command, folders.root, attempts.begin, attempts.mark)
        if not error:
            folders.end(name, "done", {"attempts": len(attempts.errors) + 1, "output": output})
            return True
        attempts.fail(error)
    folders.end(name, "failed", {"attempts": len(attempts.errors), "errors": attempts.errors})
    return True
EOF
