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
        return sorted(path.stem for path in (self.root / "new").glob("*.json"))

    def has_ended(self, name):
        """Return whether a job has ended."""
        return any((self.root / kind / f"{name}.json").exists() for kind in ("done", "failed"))

    def write(self, kind, name, value):
        """Write a file whole, or not at all."""
        path = self.root / kind / f"{name}.json"
        part = path.with_suffix(".part")
        part.write_text(json.dumps(value) + "\n", encoding="utf-8")
        os.replace(part, path)

    def end(self, name, kind, value):
        """Note how a job has ended."""
        self.write(kind, name, value)
        (self.root / "new" / f"{name}.json").unlink(missing_ok=True)
        (self.root / "attempts" / f"{name}.json").unlink(missing_ok=True)
