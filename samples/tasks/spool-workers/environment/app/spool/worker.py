"""Work through the jobs of a directory."""
from spool.attempts import Attempts
from spool.claims import Claims
from spool.folders import Folders
from spool.jobs import read_job
from spool.runner import run


def work(root):
    """Run jobs until all have ended."""
    folders = Folders(root)
    claims = Claims(root / "claims")
    while True:
        claimed = [(name, claims.take(name)) for name in folders.waiting()]
        claimed = [(name, claim) for name, claim in claimed if claim]
        if not claimed:
            return
        for name, claim in claimed:
            try:
                attempt(folders, name)
            finally:
                claim.release()


def attempt(folders, name):
    """Run a job once."""
    command, _ = read_job(folders.root / "new" / f"{name}.json")
    attempts = Attempts(folders, name)
    attempts.begin()
    error, output = run(command, folders.root)
    if error:
        attempts.fail(error)
        folders.end(name, "failed", {"attempts": len(attempts.errors), "errors": attempts.errors})
    else:
        folders.end(name, "done", {"attempts": len(attempts.errors) + 1, "output": output})
