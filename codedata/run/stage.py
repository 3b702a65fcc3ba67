"""Describe a stage: what it reads, what it writes, and the function that makes an item."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from codedata.disk.store import Derived, Store, digest
from codedata.records import parse


@dataclass(frozen=True)
class Reads:
    """Name a store and the fields of its records that the item function uses."""

    store: object                  # Store or Derived
    fields: tuple[str, ...]        # (): no change makes an item stale
    made_by: str = ""              # the stage that writes them: if an item failed there, it waits
    needs: tuple[str, ...] = ()    # fields that earlier stages fill in: an item without them waits
    # (item, its instance id) → the rule that leaves it out, or ""; called for items to be made
    leaves_out: Callable[[str, str], str] = lambda name, instance_id: ""
    # item → further names by which --only selects it: of items that later steps derive from it
    leads_to: Callable[[str], Iterable[str]] = lambda name: ()
    same: str = ""                 # of a joined store: a field that has to agree with the item
    optional: bool = False         # of a joined store: made without it, too, unless it failed
    command: str = ""              # of a joined store: how to make it, if not by `made_by`'s script
    beside: Callable | None = None   # path of a record → list of what make() reads beside it

    def parents(self, name: str) -> list[str]:
        """Return the names of the items from which a derived item, <item>.<part>, is made; [] for
        any other."""
        if not self.store.derived:
            return []
        return [name[:i] for i, char in enumerate(name) if char == "."]

    def digest_beside(self, name: str) -> str:
        """Return the digest of what make() reads beside an item's record, "" for nothing."""
        return "".join(map(digest, self.beside(self.store.path(name)))) if self.beside else ""

    @property
    def place(self) -> str:
        """Return where the records are: a directory of the root."""
        return getattr(self.store, "place", "") or f"{self.store.cls.directory}/"


@dataclass(frozen=True)
class LeftOut:
    """Stand for a record that cannot be used."""

    instance_id: str
    reason: str


def found_records(cls: type, found: Callable, place: str, **how) -> Reads:
    """Return records of `cls` as what a stage reads: when it is planned, found() yields the name of
    each and its fields, or the reason why it cannot be used. `how` is as for Derived."""
    def read(name: str, value: dict | str) -> dict:
        return {name: LeftOut(name, value) if isinstance(value, str)
                else parse(cls, value, f"{place} {name}")}

    records = Derived(lambda: {name: (lambda value=value: value) for name, value in found()}, read,
                      place, derived=False, **how)
    return Reads(records, tuple(cls.__dataclass_fields__),
                 leaves_out=lambda name, _: getattr(records.read(name), "reason", ""))


@dataclass(frozen=True)
class Parts:
    """Describe an output that is made in parts, such as the verdicts of judges in a score.

    The item function is called as make(record, …, name, old). `old` is the record on disk if it was
    made from the same inputs, else None; make() keeps its valid parts. An item without a wanted
    part is incomplete; it is tried once more at the end of the run, if `worthwhile`.
    """

    wanted: dict[str, str]                       # part: digest of its settings now
    of: Callable[[object], dict[str, str]]       # returns the same for a record's final parts
    is_of: Callable[[object, dict[str, str]], bool]   # whether parts come from inputs with digests
    enough: Callable[[set[str]], bool] = bool    # whether a record with only these parts is valid
    view: str = ""                               # digest of how parts are combined into a record
    fits: Callable[[object], bool] = bool        # whether a record combines its parts in this view
    worthwhile: bool = True                      # whether a second try is likely to help


@dataclass(frozen=True)
class Writes:
    """Name a store and the fields that this stage owns there."""

    store: Store
    fields: tuple[str, ...] = ()     # by default all of a record
    copies: tuple[str, ...] = ()     # of `fields`: copied from the input, so a change costs no call
    optional: tuple[str, ...] = ()   # of `fields`: a record is complete without them
    parts: Parts | None = None
    fault: Callable[[object], str] | None = None   # why a written record is a failure, or ""
    # item → what it needs outside of the root and is gone, such as an image, or ""
    lacks: Callable[[str], str] = lambda name: ""

    def __post_init__(self):
        if not self.fields:
            object.__setattr__(self, "fields", tuple(self.store.cls.__dataclass_fields__))

    def copied(self, name: str, source: object) -> object:
        """Return the item's record on disk, with the present values of `copies` from its source."""
        copies = {field: getattr(source, field) for field in self.copies}
        return replace(self.store.read(name), **copies)


@dataclass(frozen=True)
class Stage:
    """Describe what a script does with each item.

    make(record, *joined records) returns a record, whose fields in `writes` are put on disk. Each
    store of `joined` is read by the item's instance id. An item without such a record is excluded,
    or waits if `joined` names the stage that makes it; an optional record is None. If the output
    has parts, make() and requests() are also given the item's name and its old record.
    """

    name: str            # its key in ledgers: "king", of a step "bug_inject.validate"
    reads: Reads
    writes: Writes
    make: Callable
    joined: tuple[Reads, ...] = ()
    identity: dict = field(default_factory=dict)   # model, prompts: a change makes nothing stale
    requests: Callable | None = None   # make()'s arguments → (client, messages) of its calls
    # for --dry-run, of a stage without `requests` that asks a model; (items) → text
    cost_note: str | Callable[[int], str] = ""
    unread: Callable | None = None           # (record) → what of it cannot be read, for --failed
    doubts: Callable[[], list[str]] = list   # lines for the plan, of a stage that asks a model
    close: Callable[[], list[str]] = list    # called where items were made, returns lines to print
    finish: Callable[[], list[str]] = list   # called at the end, returns lines to print
    # make() reads the root or other files of this machine: it runs in this process, without
    # sandboxes, on any engine
    is_local: bool = False
    after: str = ""                    # the script before this one
    # item → a group: each item waits until earlier ones of its group are on disk, or have failed
    after_same: Callable[[str], str] | None = None
    per_limit: float = 1.0             # items that it may make for --limit 1; 0: all
    then: str = ""                     # the script after this one; several are joined by "; "
    in_words: Callable | None = None   # record → a line in a user's words, if items are few
    sum_up: Callable[[], list[str]] = list   # returns such lines about all records
    refresh: bool = False              # make again what was made with other settings
    title: str = ""                    # script and step, "bug_inject.scale": by default the name

    @property
    def script(self) -> str:
        """Return the script of this stage: "bug_inject.py"."""
        return (self.title or self.name).partition(".")[0] + ".py"

    @property
    def label(self) -> str:
        """Return the stage's name on the screen: "bug_inject scale"."""
        return (self.title or self.name).replace(".", " ")
