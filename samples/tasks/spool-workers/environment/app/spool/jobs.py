"""Read jobs."""
import json

MAX_ATTEMPTS = 3


def read_job(path):
    """Return the command of a job, and how many attempts it has."""
    job = json.loads(path.read_text(encoding="utf-8"))
    return job["command"], job.get("max_attempts", MAX_ATTEMPTS)
