"""Read and append to <dir>/_ledger.jsonl: one line for each attempt, with its inputs, outputs and
cost.

stage, item, instance_id, at     the attempt; `at` is UTC
state        done | failed | adopted (a user's record, or an attempt that --prune cut short) |
             excluded | pruned (by --prune) | summed (see ledger_compact.py)
read         digest of the fields that were read
wrote        {field: digest} of this stage's fields
found        {field: digest} of other stages' fields that a user has changed; "": the field is gone
size, mtime_ns                   of the record after the write
settings     digest of model, prompts and the like
calls        [{id, model, tokens_in, tokens_out, tokens_cached, cost_usd, seconds, …}]; `sent_back`
             estimates the tokens that go back in later requests, but are in no message
cost_usd     sum over the calls; null if a price is unknown
seconds, error                   the attempt's duration, and its error
cut          the parts that were left out of the attempt's request
still        in a failed line: the state of the item's earlier record, which stays valid
parts        for an output in parts, such as verdicts: {final part: digest of its settings}
view         for an output in parts: digest of how the parts are combined
entries      from prompt.py: the entries of a list file
detail       from prompt.py: a file's place in the sample; the rule that leaves an instance out
how, picks   from ch.py: "chosen" or "informed"; [{number, why}], the chooser's replies
asked_again  from ch.py: how often it asked for another turn because of a leak
leak_error   from validate.py: why a leak judge gave no verdict
text_form    from king.py and ch.py: true if the model was asked for a text, without tools
told         from pr_tasks.py: "nothing", or the faults of the request's own text
earlier      in a summed line: sums of the removed lines' calls, by model

A line is written before its record is put in place. So after a kill between these two steps, the
record on disk belongs to an earlier line. A kill can also tear the line being written. Readers skip
a torn line, and append_lines() ends it; the replies of its item are still in _partial/.
"""
from __future__ import annotations

import fcntl
import heapq
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import orjson

from codedata.bounded import MAX_LINES_BYTES, MAX_RECORD_BYTES, open_appending, open_regular
from codedata.errors import RunStopped
from codedata.terminal import Spending

LEDGER, PARTIAL = "_ledger.jsonl", "_partial"
ERROR_CHARS = 500
NOTHING: dict = {}
Key = tuple[str, str]   # (stage, item)
Wants = Callable[[str], bool]   # whether to read the lines of an item
# fields of a line that are texts
TEXTS = ("stage", "item", "instance_id", "read", "settings", "view", "at", "error")
# fields of a line that are {name: digest}
DIGESTS = ("wrote", "found", "parts")
# numbers of a call; None: unknown
AMOUNTS = ("cost_usd", "tokens_in", "tokens_out", "tokens_cached", "seconds")
MAX_AMOUNT = 10**15
# matches the start of a line as codedata writes it, to find the item without parsing the line
ITEM = re.compile(rb'\{(?:"stage":"[^"\\]*",)?"item":"([^"\\]*)"')


@dataclass(slots=True)
class FileState:
    """Hold the digests of a record's fields, valid while its file has this size and mtime."""

    instance_id: str
    digests: dict[str, str]
    size: int = -1
    mtime_ns: int = -1

    def line(self, owned: tuple[str, ...] = ()) -> dict:
        """Return the record's part of its ledger line. `owned` lists the record's fields that the
        stage wrote; by default, all fields."""
        wrote = {f: self.digests[f] for f in owned or self.digests if f in self.digests}
        return {"instance_id": self.instance_id, "wrote": wrote, "size": self.size,
                "mtime_ns": self.mtime_ns}


UNKNOWN = FileState("", NOTHING)   # state of a file without a ledger line


@dataclass(slots=True)
class LastAttempt:
    """Hold a stage's newest attempt at an item or, in `before`, an earlier one."""

    read: str
    wrote: dict[str, str]
    settings: str
    error: str
    parts: tuple[tuple[str, str], ...]   # (part, settings digest)
    view: str
    text_form: bool
    before: LastAttempt | None = None    # the stage's previous success at the item


class Ledger:
    """Read the ledgers of a directory, or of all its shards, as one, sorted by time.

    The dicts with a Key hold the stage's newest attempt at the item. `known` maps an
    item to the state of its file after the last write by a script.
    """

    def __init__(self, *directories: Path):
        self.succeeded: dict[Key, LastAttempt] = {}
        self.failed: dict[Key, LastAttempt] = {}
        self.excluded: dict[Key, LastAttempt] = {}   # by a rule of the item function
        self.known: dict[str, FileState] = {}
        self.counted: dict[Key, set[str]] = {}   # ids of kept replies already counted
        self.used: dict[Key, set[str]] = {}      # ids of replies used for a record
        self.entries: dict[str, list] = {}    # list files: [[order, instance_id, digests], …]
        self.details: dict[Key, dict] = {}       # notes of prompt.py on files and PRs
        self.spent = Spending()              # the sum over all lines
        self._lock = threading.Lock()
        self._files: dict[Path, Appender] = {}
        self.newest = ""       # the latest `at` of all lines
        self._parts: dict[tuple, tuple] = {(): ()}
        self.with_replies: set[str] = set()   # items that may have kept replies
        self.ends: dict[Path, int] = {}   # number of bytes of a file to read, by default all
        self.read(directories)

    def read(self, directories: Iterable[Path], wants: Wants | None = None) -> None:
        """Take the lines of the items that wants() accepts, by default of all."""
        for d in directories:
            self.with_replies.update(path.stem for path in (d / PARTIAL).glob("*.jsonl"))
        for line in in_time([read_lines(d / LEDGER, wants, self.ends.get(d / LEDGER))
                             for d in directories]):
            self._take(line)

    def _take(self, line: dict) -> None:
        calls = calls_of(line)
        for call in calls:
            self.spent.add(call)
        if not is_sound(line):
            return   # skip an invalid line (a user may have edited it); its costs are counted above
        item, state = sys.intern(line["item"]), line.get("state")
        key = sys.intern(line["stage"]), item
        self.newest = max(self.newest, line.get("at", ""))
        if state == "failed":
            self.with_replies.add(item)   # its replies may be kept for the next attempt
        if calls and item in self.with_replies:
            self.counted.setdefault(key, set()).update(call.get("id") for call in calls)
        if state in ("done", "adopted"):
            self._take_success(key, line)
        elif state == "failed" and not line.get("still"):
            self.failed[key] = self._attempt(line)
        elif state == "excluded" and "read" in line:
            self.excluded[key] = self._attempt(line)
            self.failed.pop(key, None)
        elif state == "pruned":
            self.forget({item})
        if "detail" in line:
            self.details[key] = line["detail"]

    def forget(self, items: set[str], *more: dict[Key, set[str]]) -> None:
        """Forget the attempts at items, the state of their files and the facts in `more`."""
        for facts in (self.succeeded, self.failed, *more):
            for key in [key for key in facts if key[1] in items]:
                del facts[key]
        for item in self.known.keys() & items:
            del self.known[item]

    def _take_success(self, key: Key, line: dict) -> None:
        item = key[1]
        made = self._attempt(line)
        made.before = self.succeeded.get(key)
        self.succeeded[key] = made
        self.failed.pop(key, None)
        self.excluded.pop(key, None)
        if item in self.with_replies:
            # A kill came before the kept replies were deleted. Mark them as used, so that no later
            # attempt at the item reuses replies that this record was made from.
            self.used[key] = set(self.counted.get(key, ()))
        known = self.known.setdefault(item, FileState("", NOTHING))
        known.instance_id = sys.intern(line.get("instance_id", "")) or known.instance_id
        wrote, found = line.get("wrote") or NOTHING, line.get("found") or NOTHING
        if known.digests or found:   # drop fields with the digest "": they were removed
            wrote = {f: d for f, d in {**known.digests, **wrote, **found}.items() if d}
        known.digests = wrote
        known.size, known.mtime_ns = line.get("size", -1), line.get("mtime_ns", -1)
        if "entries" in line:
            self.entries[item] = _listed(line, "entries")

    def _attempt(self, line: dict) -> LastAttempt:
        parts = tuple(line.get("parts", NOTHING).items())
        parts = self._parts.setdefault(parts, parts)   # share equal tuples, to save memory
        return LastAttempt(line.get("read", ""), line.get("wrote") or NOTHING,
                           sys.intern(line.get("settings", "")), line.get("error", ""), parts,
                           sys.intern(line.get("view", "")), bool(line.get("text_form")))

    def append(self, directory: Path, *lines: dict) -> None:
        """Write lines to a directory's ledger in one step, and update the state from them. Raise
        RunStopped if the disk is full."""
        lines = [{key: value for key, value in line.items()
                  if key == "cost_usd" or value not in (None, "", [], {}, ())} for line in lines]
        with self._lock:
            now = datetime.now(timezone.utc).isoformat(timespec="microseconds")[:-6] + "Z"
            # never go back in time with the clock: lines are read in order of `at`
            self.newest = max(now, self.newest)
            for line in lines:
                line["at"] = self.newest
                if "error" in line:
                    line["error"] = line["error"][:ERROR_CHARS]
            if directory not in self._files:
                self._files[directory] = Appender(directory / LEDGER)
            self._files[directory].append(b"".join(map(to_line, lines)))
            for line in lines:
                self._take(line)


@dataclass
class Appender:
    """Append to a file of lines. The file is opened when the first line is written."""

    path: Path | str
    fd: int | None = None
    is_own: bool = False   # only this process appends to the file: no lock is needed

    def append(self, data: bytes) -> None:
        """Write whole lines. Raise RunStopped if the disk is full."""
        try:
            if self.fd is None:
                self.fd = open_appending(self.path)
            if self.is_own:
                return append_lines(self.fd, data, self.path)
            fcntl.flock(self.fd, fcntl.LOCK_EX)   # wait until no other process is writing a line
            try:
                append_lines(self.fd, data, self.path)
            finally:
                fcntl.flock(self.fd, fcntl.LOCK_UN)
        except OSError as e:
            raise disk_trouble(e, self.path) from e

    def close(self) -> None:
        """Close the file."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


def in_time(files: list):
    """Return an iterator over the lines of several ledgers, sorted by time."""
    return heapq.merge(*files, key=lambda line: str(line.get("at", "")))


def sound_lines(directories: list[Path]) -> Iterator[dict]:
    """Yield the sound lines of the ledgers of directories, sorted by time."""
    return filter(is_sound, in_time([read_lines(d / LEDGER) for d in directories]))


def read_lines(path: Path, wants: Wants | None = None, n_bytes: int | None = None):
    """Yield each complete line of a JSONL file as a dict, up to byte `n_bytes`, of the items that
    wants() accepts. Yield nothing if the file is missing.

    Skip torn lines, and lines of more than MAX_RECORD_BYTES. Raise OSError if the file is too large
    or not a regular file.
    """
    try:
        file = open_regular(path, MAX_LINES_BYTES)
    except FileNotFoundError:
        return
    with file:
        for raw in iter(lambda: file.readline(MAX_RECORD_BYTES), b""):
            if n_bytes is not None and file.tell() > n_bytes:
                return
            found = wants and ITEM.match(raw)
            if found and not wants(found[1].decode(errors="replace")):
                continue
            line = line_in(raw)
            if line and (found or not wants or wants(str(line.get("item", "")))):
                yield line


def line_in(raw: bytes) -> dict | None:
    """Return the object in a line of JSON; None if it is torn, or no object."""
    with suppress(ValueError, RecursionError):
        if isinstance(line := from_json(raw), dict):
            return line
    return None


def from_json(raw: bytes):
    """Return the value of a JSON text; raise ValueError or RecursionError if it is not JSON."""
    try:
        return orjson.loads(raw)
    except ValueError:
        return json.loads(raw)   # accepts lone surrogates; parse() refuses them and names the field


def newest_calls(directories: list[Path], stage: str) -> dict[str, list[dict]]:
    """Return {item: calls} of a stage's newest attempt at each item. Include excluded
    attempts; ignore other attempts without calls, since they only copied fields."""
    return {line["item"]: calls_of(line) for line in sound_lines(directories)
            if line["stage"] == stage and (line.get("calls") or line.get("state") == "excluded")}


def calls_of(line: dict) -> list[dict]:
    """Return sound_call() of each call in a line, including the sums written by --compact."""
    calls = _listed(line, "calls") + _listed(line, "earlier")
    return [sound_call(call) for call in calls if isinstance(call, dict)]


def sound_call(call: dict) -> dict:
    """Return the call with valid values: wrong amounts become None, and `cost_usd` and `model` are
    added if missing."""
    wrong = {key: None for key in AMOUNTS if (amount := call.get(key)) is not None and not (
        isinstance(amount, (int, float)) and 0 <= amount < MAX_AMOUNT)}
    if type(call.get("n", 1)) is not int or call.get("n", 1) < 1:
        wrong["n"] = 1
    for key in ("model", "id"):
        if not isinstance(call.get(key, ""), str):
            wrong[key] = str(call[key])
    if not wrong and "model" in call and "cost_usd" in call:
        return call
    return {"model": "", "cost_usd": None, **call, **wrong}


def is_sound(line: dict) -> bool:
    """Return whether all fields that codedata reads from a line, except its calls, have the right
    types."""
    return ("stage" in line and "item" in line
            and all(isinstance(line.get(key, ""), str) for key in TEXTS)
            and all(_are_digests(line.get(key, NOTHING)) for key in DIGESTS)
            and isinstance(line.get("detail", NOTHING), dict)
            # entries of a list file: [order, instance_id, digests]
            and all(isinstance(entry, list) and [*map(type, entry)] == [int, str, dict]
                    and _are_digests(entry[2]) for entry in _listed(line, "entries")))


def _are_digests(value) -> bool:
    return isinstance(value, dict) and all(isinstance(digest, str) for digest in value.values())


def _listed(line: dict, key: str) -> list:
    value = line.get(key)
    return value if isinstance(value, list) else []


def to_line(line: dict) -> bytes:
    """Return a dict as one line of JSON, with lone surrogates escaped."""
    try:
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:   # a lone surrogate
        return (json.dumps(line) + "\n").encode()


def append_lines(descriptor: int, data: bytes, path) -> None:
    """Append whole lines to a file that the caller has locked; first end a torn last line. Raise
    RunStopped if the disk is full."""
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        data = b"\n" + data
    if os.write(descriptor, data) < len(data):
        raise RunStopped("was not written whole: the disk is full.", str(path),
                         "Make room and run again.")


def disk_trouble(error: OSError, path) -> RunStopped:
    """Return the RunStopped for a file that cannot be written."""
    return RunStopped(f"could not be written: {error.strerror or error}.", str(path),
                      "Make room (or give write permission) and run again: nothing that was "
                      "finished is lost.")
