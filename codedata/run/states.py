"""Define the states of an item by the table of docs/concepts.md, from the facts that plan.py
gathers. Nothing here reads the disk, unless a row of the table requires it."""
from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from codedata.disk.ledger import LastAttempt
from codedata.texts import in_shard

STATES = ("done", "adopted", "stale", "forced", "edited", "incomplete", "missing", "failed",
          "excluded", "waiting", "orphan", "broken")
TO_DO = ("missing", "stale", "forced", "incomplete", "failed")
STAYS = ("done", "adopted", "edited")         # the record on disk stays valid if --force fails
COUNTED = (*STAYS, "stale", "incomplete")     # --force makes these items again


@dataclass(frozen=True)
class Selection:
    """Select the items of a run, and the existing records to make again."""

    only: Sequence[str] = ()                 # globs of names or instance ids; empty: all items
    shard: tuple[int, int] | None = None     # (i, n): items whose name's hash modulo n is i
    limit: int | None = None                 # items to make; items that a rule skips do not count
    force: bool = False                      # make existing records again
    refresh: bool = False                    # make records with other settings again
    no_retry: bool = False                   # do not try failed items again

    def in_shard(self, name: str) -> bool:
        """Return whether an item belongs to the shard."""
        return in_shard(name, self.shard)

    def matches(self, *names: str) -> bool:
        """Return whether `only` matches one of an item's names, such as its instance id."""
        return not self.only or any(fnmatch.fnmatchcase(name, glob)
                                    for name in names for glob in self.only)


class Item(NamedTuple):
    """Hold one unit of work with its state, one of STATES."""

    name: str
    instance_id: str
    state: str
    reason: str = ""               # why it is excluded, failed or waiting
    counts: bool = False           # later stages use the record on disk
    copies_only: bool = False      # only copied fields have changed, so no model is called
    keeps: bool = False            # keep the parts on disk, which have the same inputs
    anew: bool = False             # keep no part on disk (--force)
    still: str = ""                # forced item: state of the old record, if it stays valid
    adoption: dict | None = None   # fields of the ledger line to write if the output has none
    stale_too: bool = False        # edited item whose inputs have changed, too
    other_settings: bool = False   # the record was made with other settings than the present ones
    lacks_field: bool = False      # an earlier stage has not filled in an input field

    @property
    def asks(self) -> bool:
        """Return whether making the item may ask a model: more than copied fields must change."""
        return self.state in TO_DO and not self.copies_only


class ItemFacts(NamedTuple):
    """Hold the facts about an item whose inputs all exist."""

    name: str
    instance_id: str
    read: str                      # digest of its inputs now
    is_there: bool                 # the output is on disk
    made: LastAttempt | None       # the attempt that wrote the output
    is_edited: bool                # the output has changed since that attempt
    has_changed: bool              # the inputs have changed
    copies_changed: bool           # only copied fields of the inputs have changed
    failed: LastAttempt | None     # the last attempt, if it failed
    excluded: LastAttempt | None   # the last attempt, if a rule excluded the item's present inputs
    made_otherwise: bool           # the output was made with other settings than the present ones
    other_parts: bool = False      # some parts were made with other settings
    lacks_parts: bool = False      # some wanted parts are missing
    is_enough: bool = True         # the output is valid without the missing parts
    other_view: bool = False       # parts are now combined in another way


def state_of(facts: ItemFacts, selection: Selection, why_gone: Callable[[ItemFacts], str]) -> Item:
    """Return an item with its state, from the first row of the table that fits, or "forced" if
    --force applies. why_gone() returns the reason why a record on disk counts as a failure, or "".
    If the item is to be made, plan.py may later set its state to excluded or waiting."""
    on_disk, failed = _on_disk(facts), facts.failed
    is_kept = on_disk not in ("missing", "stale")
    row = partial(Item, facts.name, facts.instance_id, anew=selection.force,
                  counts=is_kept and facts.is_enough, keeps=is_kept and not selection.force,
                  other_settings=facts.made_otherwise or facts.other_parts)
    adopted = {"read": facts.read, "settings": ""}
    still = on_disk if on_disk in STAYS else ""
    match on_disk:
        case _ if selection.refresh and facts.made_otherwise:
            item = row("forced", keeps=False, still=still)
        case "missing" | "stale" if facts.excluded:
            item = row("excluded", facts.excluded.error)
        case "incomplete":
            item = row("failed" if failed else on_disk, failed.error if failed else "",
                       adoption=None if facts.made else adopted)
        case "missing" | "stale" if failed:
            item = row("failed", failed.error)
        case "copied":
            item = row("stale", copies_only=True)
        case "edited":
            item = row(on_disk, stale_too=facts.has_changed or facts.copies_changed)
        case "done" | "adopted" if gone := why_gone(facts):
            item = row("failed", gone, counts=False)
        case "adopted":
            item = row(on_disk, adoption=adopted)
        case "done" if failed:   # the inputs have changed back since the failure
            made = facts.made
            item = row(on_disk, adoption={"read": made.read, "settings": made.settings,
                                          "parts": dict(made.parts), "view": made.view})
        case _:   # missing, stale, done
            item = row(on_disk)
    if selection.force and item.state in COUNTED:
        item = item._replace(state="forced", copies_only=False, keeps=False, still=still)
    return item


def _on_disk(facts: ItemFacts) -> str:
    """Return the state of the output on disk, ignoring earlier failures."""
    if not facts.is_there:
        return "missing"
    if facts.is_edited:
        return "edited"
    if facts.has_changed:
        return "stale"
    if facts.lacks_parts:
        return "incomplete"
    if facts.copies_changed or facts.other_view:
        return "copied"
    return "done" if facts.made else "adopted"
