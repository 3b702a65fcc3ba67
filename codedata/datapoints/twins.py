"""Find the seed, the other draft or the datapoint's prompt that a new draft nearly copies.

Only words are compared (codedata/checks/duplicates.py), so the same idea in other words is not
found.
"""
from __future__ import annotations

import re
import threading
from contextlib import suppress
from pathlib import Path

from codedata.bounded import inside, read_bounded
from codedata.checks.duplicates import Duplicate, Texts
from codedata.datapoints.folder import DP
from codedata.errors import BrokenRecord
from codedata.records import Task

SEEDS, DRAFTS = "_seeds", "_drafts"
CORE = re.compile(r"^#+ (?:Task|Instructions)\s*$(.*?)(?=^#+ |\Z)", re.MULTILINE | re.DOTALL)
# files that a whole draft is compared with, and files that its CORE sections are compared with
PATTERNS = {"draft": (f"{DP}/{DRAFTS}/*.md",),
            "task": (*(f"{DP}/{SEEDS}/*/{name}" for name in (
                "seed.md", "seed.json", "task.yaml", "instruction.md")),
                f"{DP}/[!_]*/instruction.md", f"{Task.directory}/[!_]*/instruction.md")}
MAX_BYTES = 200_000
MAX_SIMILARITY = 0.3   # of a draft and its twin: Jaccard


class Twins:
    """Hold the texts below dp/ and task/. Each file is read once: later edits are not seen. Threads
    may share an instance."""

    def __init__(self, root: Path):
        self._root = root
        self._texts: dict[str, Texts] = {}
        self._known: set[Path] = set()
        self._lock = threading.Lock()

    def of(self, draft: str) -> Duplicate | None:
        """Return the text most similar to a draft, None if none is as similar as MAX_SIMILARITY."""
        with self._lock:
            self._read_new()
            found = [self._texts["draft"].nearest(draft),
                     self._texts["task"].nearest("\n".join(CORE.findall(draft)) or draft)]
        return max(filter(None, found), key=lambda twin: twin.similarity, default=None)

    def _read_new(self) -> None:
        for kind, patterns in PATTERNS.items():
            texts = self._texts.setdefault(kind, Texts(MAX_SIMILARITY))
            for path in (one for pattern in patterns for one in sorted(self._root.glob(pattern))):
                if path not in self._known:
                    self._known.add(path)
                    name = path.stem if kind == "draft" else path.parent.name
                    with suppress(OSError, BrokenRecord):   # skip what cannot be read
                        place = inside(self._root, str(path.relative_to(self._root)))
                        texts.add(name, read_bounded(place, MAX_BYTES).decode(errors="replace"))
