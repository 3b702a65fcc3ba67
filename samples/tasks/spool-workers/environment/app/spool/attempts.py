"""Remember the attempts at a job."""


class Attempts:
    """Hold what went wrong in the attempts at one job."""

    def __init__(self, folders, name):
        self.folders = folders
        self.name = name
        self.errors = []

    def begin(self):
        """Note that an attempt begins."""

    def fail(self, error):
        """Note how the attempt failed."""
        self.errors.append(error)
