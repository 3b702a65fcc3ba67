"""Describe a stage: its inputs, its outputs, and the function that makes an item."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from codedata.disk.store import Derived, Store, digest
from codedata.records import parse


@dataclass(frozen=True)
class Reads:
    """Describe an input of a stage: a store, and the fields that the item function uses."""

    store: object                  # Store or Derived
    fields: tuple[str, ...]        # (): no change makes an item stale
    made_by: str = ""              # stage that writes them; an item that failed there waits
    needs: tuple[str, ...] = ()    # fields that earlier stages fill in; an item without them waits
    # (item, its instance id) → the rule that leaves it out, or ""; called for items to be made
    leaves_out: Callable[[str, str], str] = lambda name, instance_id: ""
    # item → names of items that later steps derive from it: --only with such a name selects it
    leads_to: Callable[[str], Iterable[str]] = lambda name: ()
    same: str = ""                 # joined store: field that must agree with the item
    optional: bool = False         # joined store: the item is made without it, unless it failed
    command: str = ""              # joined store: command that makes it, if not `made_by`'s script
    beside: Callable | None = None   # path of a record → contents that make() reads next to it

    def parents(self, name: str) -> list[str]:
        """Return the names of the items that a derived item, <item>.<part>, may be made from; []
        for any other item."""
        if not self.store.derived:
            return []
        return [name[:i] for i, char in enumerate(name) if char == "."]

    def digest_beside(self, name: str) -> str:
        """Return the digest of the contents that make() reads next to an item's record, or ""."""
        return "".join(map(digest, self.beside(self.store.path(name)))) if self.beside else ""

    @property
    def place(self) -> str:
        """Return the records' directory, relative to the root."""
        return getattr(self.store, "place", "") or f"{self.store.cls.directory}/"


@dataclass(frozen=True)
class LeftOut:
    """Represent a record that cannot be used."""

    instance_id: str
    reason: str


def found_records(cls: type, found: Callable, place: str, **how) -> Reads:
    """Return Reads for records of `cls` that are not on disk: at planning, found() yields (name,
    fields or the reason why it cannot be used) of each. `how` holds arguments of Derived."""
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
    made from the same inputs, else None; make() keeps its valid parts. An item that lacks a wanted
    part is incomplete; if `worthwhile`, it is tried once more at the end of the run.
    """

    wanted: dict[str, str]                       # {part: digest of its settings now}
    of: Callable[[object], dict[str, str]]       # returns the same for a record's final parts
    is_of: Callable[[object, dict[str, str]], bool]   # whether parts come from inputs with digests
    enough: Callable[[set[str]], bool] = bool    # whether a record with only these parts is valid
    view: str = ""                               # digest of the way to combine parts into a record
    fits: Callable[[object], bool] = bool        # whether a record's parts are combined in this way
    worthwhile: bool = True                      # whether a second try is likely to help


@dataclass(frozen=True)
class Writes:
    """Name a store and the fields that this stage owns there."""

    store: Store
    fields: tuple[str, ...] = ()     # by default all fields
    copies: tuple[str, ...] = ()     # those copied from the input: a change costs no call
    optional: tuple[str, ...] = ()   # those without which a record is complete
    parts: Parts | None = None
    fault: Callable[[object], str] | None = None   # why a written record is a failure, or ""
    # item → the thing outside of the root, such as an image, that it needs and is gone, or ""
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
    """Describe the processing of each item by a script.

    make(record, *joined records) returns a record; its fields in `writes` are written to disk. A
    joined record is looked up by the item's instance id. Without it, the item is excluded, or waits
    if `also_reads` names the stage that makes it; an optional record is then None. If the output
    has parts, make() and requests() also get the item's name and its old record.
    """

    name: str            # its key in ledgers: "king", or for a step "bug_inject.validate"
    reads: Reads
    writes: Writes
    make: Callable
    also_reads: tuple[Reads, ...] = ()
    identity: dict = field(default_factory=dict)   # model, prompts: a change makes nothing stale
    requests: Callable | None = None   # make()'s arguments → (client, messages) of its calls
    # text for --dry-run, if the stage asks a model but has no `requests`; or (items) → text
    cost_note: str | Callable[[int], str] = ""
    unread: Callable | None = None           # (record) → its unreadable part, for --failed
    doubts: Callable[[], list[str]] = list   # warnings for the plan of a stage that asks a model
    close: Callable[[], list[str]] = list    # called on machines that made items; returns lines
    finish: Callable[[], list[str]] = list   # called at the end; returns lines to print
    # make() reads files of this machine, such as the root: any engine runs it in this process,
    # without sandboxes
    is_local: bool = False
    after: str = ""                    # the script before this one
    # item → its group; an item waits until earlier ones of its group are on disk or have failed
    after_same: Callable[[str], str] | None = None
    per_limit: float = 1.0             # items to make for --limit 1; 0: all
    then: str = ""                     # the script after this one; several are joined by "; "
    in_words: Callable | None = None   # record → a line for the user; used if items are few
    sum_up: Callable[[], list[str]] = list   # returns such lines about all records
    refresh: bool = False              # remake records made with other settings
    title: str = ""                    # script and step, "bug_inject.scale": by default the name

    @property
    def script(self) -> str:
        """Return the script of this stage: "bug_inject.py"."""
        return (self.title or self.name).partition(".")[0] + ".py"

    @property
    def label(self) -> str:
        """Return the stage's name on the screen: "bug_inject scale"."""
        return (self.title or self.name).replace(".", " ")
