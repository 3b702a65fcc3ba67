"""Leave out the items with an oversized pull request, whose patch is longer than MAX_PATCH_CHARS,
and the turns without a pull request.

king.py learns nothing else about a pull request. Only records of more than MAX_PATCH_CHARS bytes
are opened, since a smaller record cannot hold such a patch.
"""
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from codedata.disk.ledger import sound_lines
from codedata.disk.store import Lists, Store
from codedata.errors import BrokenRecord
from codedata.records import Commit
from codedata.settings import MAX_PATCH_CHARS

RULE = "oversized PR"
NO_SOLUTION = "no hidden solution, so no challenger can answer it; to ask and pay anyway: --yes"


def oversized(root: Path) -> Callable[[str, str], str]:
    """Return a function of (item, instance id) that returns the rule that leaves the item out, or
    "". The first call of the function reads commit/.
    """
    ids = cache(lambda: set(_oversized_ids(Store(root, Commit))))
    return lambda _, instance_id: RULE if instance_id in ids() else ""


def unmatched(prompts: Lists) -> Callable[[str, str], str]:
    """Return a function like oversized(), for the turns that prompt.py kept without a PR record."""
    # read the lines, since the ledger may hold only some items
    ids = cache(lambda: {line["item"] for line in sound_lines(prompts.directories)
                         if line["stage"] == "prompt" and "detail" in line
                         }.difference(Store(prompts.root, Commit).open().names()))
    return lambda _, instance_id: NO_SOLUTION if instance_id in ids() else ""


def _oversized_ids(commits: Store) -> Iterator[str]:
    """Yield the instance ids with an oversized patch. Skip broken records, which ch.py reports."""
    for path in commits.into.glob("*.json"):
        with suppress(BrokenRecord, OSError):   # a link may lead nowhere
            if path.stat().st_size > MAX_PATCH_CHARS and len(
                    commits.read(path.stem).patch) > MAX_PATCH_CHARS:
                yield path.stem
