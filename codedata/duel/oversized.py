"""Leave out the items with an oversized pull request: its patch is longer than [exclude]
max_patch_chars.

king.py knows nothing else of a pull request. A record of fewer bytes cannot hold such a patch, so
only larger ones are opened.
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
    """Return a function (item, instance id) → the rule that leaves it out, or "". Its first call
    reads commit/.
    """
    ids = cache(lambda: set(_oversized_ids(Store(root, Commit), max_chars)))
    return lambda _, instance_id: RULE if instance_id in ids() else ""


def _oversized_ids(commits: Store, max_chars: int) -> Iterator[str]:
    """Yield the instance ids with an oversized patch; ch.py reports records that are broken."""
    if not (max_chars and commits.into.is_dir()):
        return
    for path in commits.into.glob("*.json"):
        with suppress(BrokenRecord, OSError):   # a link may lead nowhere
            if path.stat().st_size > max_chars and len(
                    commits.read(path.stem).patch) > max_chars:
                yield path.stem
