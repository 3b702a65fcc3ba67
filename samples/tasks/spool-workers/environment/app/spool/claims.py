"""Claim jobs, so that no two workers run one at the same time."""


class Claims:
    """Hold the claims of a folder, a file each."""

    def __init__(self, folder):
        self.folder = folder

    def take(self, name):
        """Return a claim on a job, or None where another worker has one."""
        path = self.folder / name
        if path.exists():
            return None
        path.touch()
        return Claim(path)


class Claim:
    """Hold a job until it is released."""

    def __init__(self, path):
        self.path = path

    def release(self):
        """Let others have the job."""
        self.path.unlink()
