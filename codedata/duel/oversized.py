"""Leave out the items whose pull request is oversized: its patch is longer than [exclude]
max_patch_chars.

The rule is all that king.py learns of a pull request. A record of fewer bytes cannot hold such a
patch, so only larger ones are opened.
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
    """Return a function from an item and its instance id to the rule that leaves it out, or "".
    commit/ is looked through at its first call.
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
