#!/bin/bash
set -euo pipefail

# Claims: locks that the kernel drops when nobody holds them any more.
cat > spool/claims.py <<'END'
"""Claim jobs, so that no two workers run one at the same time."""
import fcntl
import os


class Claims:
    """Hold the claims of a folder: locks on a file each, which are given up at the holder's death."""

    def __init__(self, folder):
        self.folder = folder

    def take(self, name):
        """Return a claim on a job, or None where another worker has one."""
        file = open(self.folder / name, "a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        os.set_inheritable(file.fileno(), True)   # a command holds it too
        return Claim(file)


class Claim:
    """Hold a job until it is released, or its worker and its command are gone."""

    def __init__(self, file):
        self.file = file

    def release(self):
        """Let others have the job."""
        fcntl.flock(self.file, fcntl.LOCK_UN)
        self.file.close()
END

# Attempts: on disk, so that they outlive the worker.
cat > spool/attempts.py <<'END'
"""Remember the attempts at a job."""
import json


class Attempts:
    """Hold what went wrong in the attempts at one job."""

    def __init__(self, folders, name):
        self.folders = folders
        self.name = name
        self.errors = []
        path = folders.root / "attempts" / f"{name}.json"
        if path.exists():
            known = json.loads(path.read_text(encoding="utf-8"))
            self.errors = known["errors"] + ["worker died"] * known["is_running"]

    def begin(self):
        """Note that an attempt begins."""
        self._write(True)

    def fail(self, error):
        """Note how the attempt failed."""
        self.errors.append(error)
        self._write(False)

    def _write(self, is_running):
        value = {"errors": self.errors, "is_running": is_running}
        self.folders.write("attempts", self.name, value)
END

# The command keeps the claim, and everything that can become of it is an error.
cat > spool/runner.py <<'END'
"""Run the command of a job."""
import subprocess


def run(command, folder):
    """Return the error of an attempt, "" for none, and its output."""
    try:
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              close_fds=False)
    except (OSError, ValueError):
        return "cannot run", ""
    if done.returncode > 0:
        return f"exit {done.returncode}", ""
    if done.returncode < 0:
        return f"signal {-done.returncode}", ""
    return "", done.stdout.decode("utf-8", errors="replace")
END

# What is not a job.
cat > spool/jobs.py <<'END'
"""Read jobs."""
import json

MAX_ATTEMPTS = 3


class NotAJob(ValueError):
    """Say that a file is not a job."""


def read_job(path):
    """Return the command of a job, and how many attempts it has."""
    try:
        job = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise NotAJob from error
    if not isinstance(job, dict):
        raise NotAJob
    command, max_attempts = job.get("command"), job.get("max_attempts", MAX_ATTEMPTS)
    is_command = isinstance(command, list) and all(isinstance(word, str) for word in command)
    if not is_command or not command or type(max_attempts) is not int or max_attempts < 1:
        raise NotAJob
    return command, max_attempts
END

# The worker: one job at a time, until nothing waits.
cat > spool/worker.py <<'END'
"""Work through the jobs of a directory."""
import time

from spool.attempts import Attempts
from spool.claims import Claims
from spool.folders import Folders
from spool.jobs import NotAJob, read_job
from spool.runner import run

PAUSE_S = 0.1


def work(root):
    """Run jobs until all have ended."""
    folders = Folders(root)
    claims = Claims(root / "claims")
    while names := folders.waiting():
        has_worked = False
        for name in names:
            claim = claims.take(name)
            if claim is None:
                continue
            try:
                has_worked |= attempt(folders, name)
            finally:
                claim.release()
        if not has_worked:
            time.sleep(PAUSE_S)


def attempt(folders, name):
    """Run a job once; return whether there was anything to do."""
    path = folders.root / "new" / f"{name}.json"
    if folders.has_ended(name):
        path.unlink(missing_ok=True)
    if not path.exists():
        return False
    try:
        command, max_attempts = read_job(path)
    except NotAJob:
        folders.end(name, "failed", {"attempts": 0, "errors": ["not a job"]})
        return True
    attempts = Attempts(folders, name)
    if len(attempts.errors) < max_attempts:
        attempts.begin()
        error, output = run(command, folders.root)
        if not error:
            folders.end(name, "done", {"attempts": len(attempts.errors) + 1, "output": output})
            return True
        attempts.fail(error)
    if len(attempts.errors) >= max_attempts:
        folders.end(name, "failed", {"attempts": len(attempts.errors), "errors": attempts.errors})
    return True
END
