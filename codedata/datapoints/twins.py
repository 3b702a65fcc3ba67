"""Find the seed, the other draft or the datapoint's prompt that a new draft nearly copies.

Only words are compared (codedata/checks/duplicates.py), so the same idea in other words is not
found.
"""
from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from codedata.bounded import inside, read_bounded
from codedata.checks.duplicates import Duplicate, Texts
from codedata.datapoints.datapoint_folder import DP, DRAFTS, SEEDS
from codedata.errors import BrokenRecord
from codedata.records import Task

CORE = re.compile(r"^#+ (?:Task|Instructions)\s*$(.*?)(?=^#+ |\Z)", re.MULTILINE | re.DOTALL)
# files that a whole draft is compared with, and files that its CORE sections are compared with
DRAFT_FILES = (f"{DP}/{DRAFTS}/*.md",)
TASK_FILES = (
    *(f"{DP}/{SEEDS}/*/{name}" for name in ("seed.md", "seed.json", "task.yaml", "instruction.md")),
    f"{DP}/[!_]*/instruction.md", f"{Task.directory}/[!_]*/instruction.md")
MAX_BYTES = 200_000
MAX_SIMILARITY = 0.3   # minimum Jaccard index of a draft and its twin


def twin_of(root: Path, draft: str) -> Duplicate | None:
    """Return the text below dp/ and task/ that is most similar to a draft, None if no text reaches
    MAX_SIMILARITY."""
    core = "\n".join(CORE.findall(draft)) or draft
    found = [_texts_in(root, DRAFT_FILES).nearest(draft), _texts_in(root, TASK_FILES).nearest(core)]
    return max(filter(None, found), key=lambda twin: twin.similarity, default=None)


def _texts_in(root: Path, patterns: Iterable[str]) -> Texts:
    texts = Texts(MAX_SIMILARITY)
    for path in (path for pattern in patterns for path in sorted(root.glob(pattern))):
        name = path.stem if path.parent.name == DRAFTS else path.parent.name
        with suppress(OSError, BrokenRecord):   # skip unreadable ones
            place = inside(root, str(path.relative_to(root)))
            texts.add(name, read_bounded(place, MAX_BYTES).decode(errors="replace"))
    return texts
