"""Leave out the items with an oversized pull request: its patch is longer than MAX_PATCH_CHARS.

king.py learns nothing else about a pull request. Only records of more than MAX_PATCH_CHARS bytes
are opened, since a smaller record cannot hold such a patch.
"""
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from codedata.disk.store import Store
from codedata.errors import BrokenRecord
from codedata.records import Commit
from codedata.settings import MAX_PATCH_CHARS

RULE = "oversized PR"


def oversized(root: Path) -> Callable[[str, str], str]:
    """Return a function of (item, instance id) that returns the rule that leaves the item out, or
    "". The first call of the function reads commit/.
    """
    ids = cache(lambda: set(_oversized_ids(Store(root, Commit))))
    return lambda _, instance_id: RULE if instance_id in ids() else ""


def _oversized_ids(commits: Store) -> Iterator[str]:
    """Yield the instance ids with an oversized patch. Skip broken records, which ch.py reports."""
    for path in commits.into.glob("*.json"):
        with suppress(BrokenRecord, OSError):   # a link may lead nowhere
            if path.stat().st_size > MAX_PATCH_CHARS and len(
                    commits.read(path.stem).patch) > MAX_PATCH_CHARS:
                yield path.stem
