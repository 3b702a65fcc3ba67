"""Leave out the items with an oversized pull request: its patch is longer than [exclude]
max_patch_chars.

king.py learns nothing else about a pull request. Only records with more bytes than max_patch_chars
are opened, since a smaller record cannot hold such a patch.
"""
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from codedata.disk.store import Store
from codedata.errors import BrokenRecord
from codedata.records import Commit

RULE = "[exclude] max_patch_chars"


def oversized(root: Path, max_chars: int) -> Callable[[str, str], str]:
    """Return a function of (item, instance id) that returns the rule that leaves the item out, or
    "". The first call of the function reads commit/.
    """
    ids = cache(lambda: set(_oversized_ids(Store(root, Commit), max_chars)))
    return lambda _, instance_id: RULE if instance_id in ids() else ""


def _oversized_ids(commits: Store, max_chars: int) -> Iterator[str]:
    """Yield the instance ids with an oversized patch. Skip broken records, which ch.py reports."""
    if not (max_chars and commits.into.is_dir()):
        return
    for path in commits.into.glob("*.json"):
        with suppress(BrokenRecord, OSError):   # a link may lead nowhere
            if path.stat().st_size > max_chars and len(
                    commits.read(path.stem).patch) > max_chars:
                yield path.stem
