"""Leave out the items whose pull request is oversized: its patch is longer than [exclude]
max_patch_chars.

The rule is all that king.py learns of a pull request. A record of fewer bytes cannot hold such a
patch, so only larger ones are opened.
"""
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from codedata.disk.layouts import load
from codedata.errors import BrokenRecord
from codedata.records import Commit

RULE = "[exclude] max_patch_chars"


def oversized(root: Path, max_chars: int) -> Callable[[str, str], str]:
    """Return a function from an item and its instance id to the rule that leaves it out, or "".
    commit/ is looked through at its first call.
    """
    ids = cache(lambda: set(_oversized_ids(root / Commit.directory, max_chars)))
    return lambda _, instance_id: RULE if instance_id in ids() else ""


def _oversized_ids(directory: Path, max_chars: int) -> Iterator[str]:
    """Yield the instance ids with an oversized patch; ch.py reports records that are broken."""
    if not (max_chars and directory.is_dir()):
        return
    for path in directory.glob("*.json"):
        with suppress(BrokenRecord, OSError):   # a link may lead nowhere
            if path.stat().st_size > max_chars and len(_patch_of(path)) > max_chars:
                yield path.stem


def _patch_of(path) -> str:
    record = load(path)
    patch = record.get("patch") if isinstance(record, dict) else ""
    return patch if isinstance(patch, str) else ""
