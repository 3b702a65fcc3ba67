"""Describe a stage: its inputs, its outputs, and the function that makes an item."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace

from codedata.disk.store import Derived, Store, digest
from codedata.records import parse
from codedata.run.states import Selection


@dataclass(frozen=True)
class Reads:
    """Describe an input of a stage: a store, and the fields that the item function uses."""

    store: object                  # Store or Derived
    fields: tuple[str, ...]        # with (), no change of the input makes an item stale
    made_by: str = ""              # stage that writes the fields; an item that failed there waits
    needs: tuple[str, ...] = ()    # fields that earlier stages fill in; an item without them waits
    # leaves_out(item, its instance id) returns the rule that leaves the item out, or ""; it is
    # called only for items to be made
    leaves_out: Callable[[str, str], str] = lambda name, instance_id: ""
    # leads_to(item) returns the names of items that later steps derive from the item; --only with
    # one of these names selects the item
    leads_to: Callable[[str], Iterable[str]] = lambda name: ()
    # for a joined store (in Stage.also_reads): the field that must be equal in item and record
    same: str = ""
    # for a joined store: make the item without a joined record, unless that record's stage failed
    optional: bool = False
    # for a joined store: the command that makes its records, if not the script of `made_by`
    command: str = ""
    # returns contents that make() reads next to a record, given the record's path
    beside: Callable | None = None

    def digest_beside(self, name: str) -> str:
        """Return the digest of the contents that make() reads next to an item's record, or ""."""
        return "".join(map(digest, self.beside(self.store.path(name)))) if self.beside else ""


@dataclass(frozen=True)
class LeftOut:
    """Represent a record that cannot be used."""

    instance_id: str
    reason: str


def names_of(cls: type) -> tuple[str, ...]:
    """Return the names of the fields of a record."""
    return tuple(field.name for field in fields(cls))


def found_records(cls: type, found: Callable, place: str, **how) -> Reads:
    """Return Reads for records of `cls` that are not on disk. When the run is planned, found()
    yields (name, fields) of each record, or (name, reason) if the record cannot be used. `how`
    holds arguments of Derived."""
    def read(name: str, value: dict | str) -> dict:
        return {name: LeftOut(name, value) if isinstance(value, str)
                else parse(cls, value, f"{place} {name}")}

    records = Derived(lambda: {name: (lambda value=value: value) for name, value in found()}, read,
                      place, derived=False, **how)
    return Reads(records, names_of(cls),
                 leaves_out=lambda name, _: getattr(records.read(name), "reason", ""))


@dataclass(frozen=True)
class Parts:
    """Describe an output that is made in parts, such as the verdicts of judges in a score.

    The item function is called as make(record, …, name, old). `old` is the record on disk if it was
    made from the same inputs, else None; make() keeps its valid parts. An item that lacks a wanted
    part is incomplete; if `worthwhile`, it is tried once more at the end of the run.
    """

    wanted: dict[str, str]                       # {part: digest of its settings now}
    # returns {final part: digest of the part's settings} of a record
    of: Callable[[object], dict[str, str]]
    # is_of(record, digests): whether the parts were made from the inputs with these digests
    is_of: Callable[[object, dict[str, str]], bool]
    # enough(parts): whether a record is valid with only these parts
    enough: Callable[[set[str]], bool] = bool
    view: str = ""                               # digest of the way to combine parts into a record
    # fits(record): whether the record's parts are combined in this way
    fits: Callable[[object], bool] = bool
    worthwhile: bool = True                      # whether a second try is likely to help


@dataclass(frozen=True)
class Writes:
    """Name a store and the fields that this stage owns there."""

    store: Store
    fields: tuple[str, ...] = ()     # by default all fields
    copies: tuple[str, ...] = ()     # fields copied from the input: a change costs no call
    optional: tuple[str, ...] = ()   # fields that may be missing in a complete record
    parts: Parts | None = None
    # fault(record) returns the reason why a written record is a failure, or ""
    fault: Callable[[object], str] | None = None
    # lacks(item) returns the missing thing outside of the root, such as an image, that the item
    # needs; "" if nothing is missing
    lacks: Callable[[str], str] = lambda name: ""

    def __post_init__(self):
        if not self.fields:
            object.__setattr__(self, "fields", names_of(self.store.cls))

    def copied(self, name: str, source: object) -> object:
        """Return the item's record on disk, with the present values of `copies` from its source."""
        copies = {field: getattr(source, field) for field in self.copies}
        return replace(self.store.read(name), **copies)


@dataclass(frozen=True)
class Stage:
    """Describe the processing of each item by a script.

    make(record, *joined records) returns a record; its fields in `writes` are written to disk. A
    joined record comes from a store in `also_reads`, and is looked up by the item's instance id. A
    missing record is None if it is optional. If it is required, the item waits if the store's
    `made_by` is set, and is excluded otherwise. If the output has parts, make() and requests() also
    get the item's name and its old record.
    """

    name: str            # its key in ledgers: "king", or for a step "bug_inject.validate"
    reads: Reads
    writes: Writes
    make: Callable
    also_reads: tuple[Reads, ...] = ()
    # settings, such as model and prompts; a change makes no record stale
    identity: dict = field(default_factory=dict)
    # requests(*make()'s arguments) returns (client, messages) of each call
    requests: Callable | None = None
    # text for --dry-run of a stage that asks a model but has no `requests`, or a function that
    # returns the text for a number of items
    cost_note: str | Callable[[int], str] = ""
    unread: Callable | None = None           # unread(record) returns its unreadable part
    doubts: Callable[[], list[str]] = list   # warnings for the plan of a stage that asks a model
    # called at the end on each machine that made items; returns lines to print
    close: Callable[[], list[str]] = list
    finish: Callable[[], list[str]] = list   # called once at the end; returns lines to print
    # prune(store, selection, read_only) is called by --prune, after orphans are moved, and returns
    # lines to print
    prune: Callable[[Store, Selection, bool], list[str]] = lambda *_: []
    # called before the first item, with the names of the items to make
    planned: Callable[[set[str]], object] = bool
    # whether make() reads files of this machine, such as the root: then it runs in this process
    # with any engine, and has no sandboxes
    is_local: bool = False
    # whether an item waits for its model nearly all the time: a cluster's worker makes many
    waits: bool = False
    # tally(record) counts a record that was made; so_far() returns a text about all
    tally: Callable[[object], object] = bool
    so_far: Callable[[], str] = str
    after: str = ""                    # the script before this one
    # after_same(item) returns the item's group; an item waits until all earlier items of its group
    # are on disk or have failed
    after_same: Callable[[str], str] | None = None
    per_limit: float = 1.0             # number of items to make for --limit 1; 0 means all
    then: str = ""                     # the scripts after this one, joined by "; "
    # in_words(record) returns a line for the user; called only if there are few items
    in_words: Callable | None = None
    sum_up: Callable[[], list[str]] = list   # returns lines for the user about all records
    refresh: bool = False              # make records with other settings again
    title: str = ""                    # script and step, "bug_inject.scale": by default the name

    @property
    def script(self) -> str:
        """Return the script of this stage: "bug_inject.py"."""
        return (self.title or self.name).partition(".")[0] + ".py"

    @property
    def label(self) -> str:
        """Return the stage's name on the screen: "bug_inject scale"."""
        return (self.title or self.name).replace(".", " ")
