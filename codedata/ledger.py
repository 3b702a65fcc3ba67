"""<dir>/_ledger.jsonl: append-only, a line an attempt. What was read, what was written, what it cost.

A line: stage, item, state (done | failed | adopted | excluded | pruned), instance_id, read (digest of the fields that
were read), wrote {field: digest}, found {field: digest} (fields of other stages that a person had changed),
size and mtime_ns of the record after the write, settings (digest), calls [{id, model, tokens_in, tokens_out,
tokens_cached, cost_usd, seconds, …}], cost_usd (null: a price is unknown), seconds, cut (what did not fit the request),
error, at; of prompt.py also entries and detail; of ch.py `leaks` {of, found}, what its check found; of outputs that are
made of parts (validate.py) `parts` {part: settings} that are there for good, and `view`, how the record was computed
from them. After --compact one line of state summed holds `earlier`: the calls of the lines that went, by model.

A failed line with `still` is of an item that was made again on demand: what was there before still counts. A kill can
tear the line that is being written; a torn line is passed over and costs one attempt's bookkeeping: its record counts
as adopted, its replies are still in _partial/. Several processes may append (one write a line).
"""
from __future__ import annotations

import heapq
import json
import os
import sys
import threading
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import orjson

from codedata.bounded import MAX_RECORD_BYTES, open_appending, open_regular
from codedata.errors import RunStopped

LEDGER, PARTIAL = "_ledger.jsonl", "_partial"
ERROR_CHARS = 500
NOTHING: dict = {}
TEXTS = ["stage", "item", "instance_id", "read", "settings", "view", "at"]   # of what is read in a line
AMOUNTS = ["cost_usd", "tokens_in", "tokens_out", "tokens_cached", "seconds"]   # of a call; None: not known
MAX_AMOUNT = 10**15


@dataclass(slots=True)
class FileState:
    """Hold what the ledger knows of a record on disk; it is valid while the file has this size and mtime."""

    instance_id: str
    digests: dict[str, str]
    size: int = -1
    mtime_ns: int = -1


@dataclass(slots=True)
class LastAttempt:
    """One stage's newest word on an item."""

    state: str
    read: str = ""
    wrote: dict[str, str] = field(default_factory=dict)
    settings: str = ""
    error: str = ""
    parts: tuple[tuple[str, str], ...] = ()   # (part, settings digest)
    view: str = ""


class Ledger:
    """Read the ledgers of a directory, or of all its shards, as one, in the order of time.

    `made` and `failed` by (stage, item): a stage's newest word on it. `known` by item: what the scripts left on disk.
    """

    def __init__(self, *directories: Path):
        self.made: dict[tuple[str, str], LastAttempt] = {}
        self.failed: dict[tuple[str, str], LastAttempt] = {}
        self.excluded: dict[tuple[str, str], LastAttempt] = {}   # by a rule that only the item function can tell
        self.known: dict[str, FileState] = {}
        self.counted: dict[tuple[str, str], set[str]] = {}   # ids of kept replies that some line has paid for
        self.used: dict[tuple[str, str], set[str]] = {}      # those of them that a record was made from
        self.entries: dict[str, list] = {}       # list files: stem → [[order, instance_id, digests], …]
        self.asked_again: dict[tuple[str, str], int] = {}   # how often ch.py refused an answer of an item
        self.details: dict[tuple[str, str], dict] = {}   # what prompt.py notes with its files, and exclusions
        self.n_calls, self.n_unpriced, self.cost_usd = 0, 0, 0.0   # of all lines
        self._lock, self._files, self._newest = threading.Lock(), {}, ""
        self._parts: dict[tuple, tuple] = {(): ()}
        self._partial = {p.name[:-6] for d in directories for p in (Path(d) / PARTIAL).glob("*.jsonl")}
        for line in _in_time([read_lines(Path(d) / LEDGER) for d in directories]):
            self._take(line)

    def _take(self, line: dict) -> None:
        calls = calls_of(line)
        for call in calls:
            n = call.get("n", 1)   # a sum that compacting left
            self.n_calls += n
            if call["cost_usd"] is None:
                self.n_unpriced += n
            else:
                self.cost_usd += call["cost_usd"]
        if not is_sound(line):
            return   # somebody wrote it: as good as torn, but what was paid is paid
        stage, item, state = sys.intern(line["stage"]), sys.intern(line["item"]), line.get("state")
        key = (stage, item)
        self._newest = max(self._newest, line.get("at", ""))
        if state == "failed":
            self._partial.add(item)   # its replies may be kept for the next attempt
        if calls and item in self._partial:
            self.counted.setdefault(key, set()).update(call.get("id") for call in calls)
        if state == "excluded" and "read" in line:
            self.excluded[key] = LastAttempt(state, line["read"], error=line.get("error", ""))
            self.failed.pop(key, None)
        if state in ("done", "adopted"):
            self.made[key] = LastAttempt(state, line.get("read", ""), line.get("wrote") or NOTHING,
                                     sys.intern(line.get("settings", "")), "", self._same(line.get("parts", {})),
                                     sys.intern(line.get("view", "")))
            self.failed.pop(key, None)
            if item in self._partial:   # killed before the kept replies were dropped: they are not served again
                self.used[key] = set(self.counted.get(key, ()))
            known = self.known.setdefault(item, FileState("", NOTHING))
            known.instance_id = sys.intern(line.get("instance_id", "")) or known.instance_id
            known.digests = merged_digests(known.digests, line)
            known.size, known.mtime_ns = line.get("size", -1), line.get("mtime_ns", -1)
            if "entries" in line:
                self.entries[item] = _listed(line, "entries")
            self.asked_again[key] = line.get("asked_again", 0)
        elif state == "failed" and not line.get("still"):
            self.failed[key] = LastAttempt(state, line.get("read", ""), {}, line.get("settings", ""), line.get("error", ""))
        elif state == "pruned":   # the record was taken away: no stage's earlier line says anything of it
            for by in [by for by in (*self.made, *self.failed) if by[1] == item]:
                self.made.pop(by, None)
                self.failed.pop(by, None)
            self.known.pop(item, None)
        if "detail" in line:
            self.details[key] = line["detail"]

    def _same(self, parts: dict[str, str]) -> tuple[tuple[str, str], ...]:
        """One tuple for all items with these parts: a panel's verdicts are there for most."""
        pairs = tuple(parts.items())
        return self._parts.setdefault(pairs, pairs)

    def may_have_kept(self, item: str) -> bool:
        """True where replies of the item were kept when this was opened, or an attempt has failed since."""
        return item in self._partial

    def append(self, directory: Path, **line) -> None:
        """Write one line to a directory's ledger, and know it. A disk that takes no more ends the run."""
        line = {key: value for key, value in line.items() if value not in (None, "", [], {}, ()) or key == "cost_usd"}
        if "error" in line:
            line["error"] = line["error"][:ERROR_CHARS]
        with self._lock:
            now = datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
            line["at"] = self._newest = max(now, self._newest)   # a clock that went back must not undo what came before
            data = to_line(line)
            if directory not in self._files:
                self._files[directory] = Appender(Path(directory) / LEDGER)
            self._files[directory].append(data)
            self._take(line)

    def close(self) -> None:
        """Close the files that were appended to."""
        with self._lock:
            for file in self._files.values():
                file.close()
            self._files.clear()


class Appender:
    """Append to a ledger file, which is opened at the first line."""

    def __init__(self, path: Path):
        self.path, self._fd, self._torn = path, None, False

    def append(self, data: bytes) -> None:
        try:
            if self._fd is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._torn = _is_torn(self.path)
                self._fd = open_appending(self.path)
            if self._torn:
                data = b"\n" + data   # else this line would be lost with the torn one
            self._torn = os.write(self._fd, data) < len(data)
        except OSError as e:
            raise disk_trouble(e, self.path) from e
        if self._torn:
            raise RunStopped("was not written whole: the disk is full.", str(self.path), "Make room and run again.")

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def merged_digests(digests: dict[str, str], line: dict) -> dict[str, str]:
    """Return the digests of a record's fields after a line: those that had gone ("") are left out."""
    wrote, found = line.get("wrote") or NOTHING, line.get("found") or NOTHING
    if not digests and not found:
        return wrote
    return {f: d for f, d in {**digests, **wrote, **found}.items() if d}


def _in_time(files: list):
    """Yield the lines of several ledgers in the order in which they were written."""
    return files[0] if len(files) == 1 else heapq.merge(*files, key=lambda line: str(line.get("at", "")))


def read_lines(path: Path):
    """Yield each whole line of a JSONL file as a dict. Torn lines are passed over; a missing file has none.

    OSError where it is no regular file. Of a line that is longer than a record may be, there are only torn pieces.
    """
    try:
        file = open_regular(path)
    except FileNotFoundError:
        return
    with file:
        for raw in iter(lambda: file.readline(MAX_RECORD_BYTES), b""):
            try:
                line = orjson.loads(raw)
            except ValueError:
                try:
                    line = json.loads(raw)   # it bears half a character in a model's reply
                except (ValueError, RecursionError):
                    continue
            if isinstance(line, dict):
                yield line


def calls_of(line: dict) -> list[dict]:
    """Return the calls of a line, and the sums that compacting left in their place, each as sound_call() gives it."""
    calls = _listed(line, "calls") + _listed(line, "earlier")
    return [sound_call(call) for call in calls if isinstance(call, dict)]


def sound_call(call: dict) -> dict:
    """Return a call with cost_usd and model, in which each amount is a number or not known."""
    wrong = {}
    for key in AMOUNTS:
        amount = call.get(key)
        if amount is not None and not (isinstance(amount, (int, float)) and 0 <= amount < MAX_AMOUNT):
            wrong[key] = None
    if type(call.get("n", 1)) is not int or call.get("n", 1) < 1:
        wrong["n"] = 1
    for key in ("model", "id"):
        if not isinstance(call.get(key, ""), str):
            wrong[key] = str(call[key])
    return {"model": "", "cost_usd": None, **call, **wrong} if wrong or "cost_usd" not in call or "model" not in call \
        else call


def is_sound(line: dict) -> bool:
    """Return whether all that is read of a line, but for its calls, has the type that it should have."""
    return ("stage" in line and "item" in line and all(isinstance(line.get(key, ""), str) for key in TEXTS)
            and all(_are_digests(line.get(key, NOTHING)) for key in ("wrote", "found", "parts"))
            and isinstance(line.get("detail", NOTHING), dict)
            and all(isinstance(entry, list) and [*map(type, entry)] == [int, str, dict] and _are_digests(entry[2])
                    for entry in _listed(line, "entries")))


def _are_digests(value) -> bool:
    return isinstance(value, dict) and all(isinstance(digest, str) for digest in value.values())


def _listed(line: dict, key: str) -> list:
    return value if isinstance(value := line.get(key), list) else []


def to_line(line: dict) -> bytes:
    """Return a dict as one line of JSON. Half a character in a text is escaped."""
    try:
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:   # half a character
        return (json.dumps(line) + "\n").encode()


def compact(directories: list[Path]) -> tuple[int, int]:
    """Keep the newest line of each stage and item, and the made one below a failed one; sum up what the rest cost.

    The sum is a line of its own in the same file (state `summed`), so that a kill between two files changes nothing.
    Items with kept replies are left as they are: the ids in their lines tell what is paid for. Returns the numbers of
    lines before and after. The caller holds the whole directory's lock: a process that went on appending to the old
    file would lose its lines.
    """
    newest: dict[tuple, list[tuple]] = {}     # (stage, item) → [(number, path, line), …] that stay
    digests: dict[str, dict[str, str]] = {}
    dropped: dict[Path, list[dict]] = {Path(d) / LEDGER: [] for d in directories}
    waiting = {p.name[:-6] for d in directories for p in (Path(d) / PARTIAL).glob("*.jsonl")}

    def drop(entries: list[tuple]) -> None:
        for _, path, line in entries:
            dropped[path].append(line)
        entries.clear()

    n_before = 0
    for n_before, (path, line) in enumerate(_in_time([_with_path(path) for path in dropped]), 1):
        if not is_sound(line):   # nobody reads more of it than its calls: it stays as it is
            newest[n_before, None] = [(n_before, path, line)]
            continue
        state, item = line.get("state"), line.get("item")
        slot = newest.setdefault((line.get("stage"), item), [])
        if state == "summed":
            dropped[path].append(line)
            continue
        if state == "pruned":   # what stood before of the item, by whatever stage, is history
            for (_, its), entries in newest.items():
                drop(entries) if its == item and item not in waiting else None
            digests.pop(item, None)
        elif state == "failed" and item not in waiting:
            drop([slot.pop(i) for i in reversed(range(len(slot))) if slot[i][2].get("state") == "failed"])
        elif item not in waiting:
            drop(slot)
        if state in ("done", "adopted"):
            digests[item] = merged_digests(digests.get(item, NOTHING), line)
        slot.append((n_before, path, line))
    kept = sorted((entry for entries in newest.values() for entry in entries), key=lambda entry: entry[0])
    after: dict[str, dict[str, str]] = {}
    sound = [line for _, _, line in kept if is_sound(line)]
    for line in sound:
        if line.get("state") in ("done", "adopted"):
            after[line.get("item")] = merged_digests(after.get(line.get("item"), NOTHING), line)
    for line in reversed(sound):   # an edit that only a dropped line had found goes to the item's newest line
        if line.get("state") in ("done", "adopted") and (item := line.get("item")) in after:
            then, now = after.pop(item), digests.get(item, NOTHING)
            if lost := {f: now.get(f, "") for f in {*then, *now} if then.get(f) != now.get(f)}:
                line["found"] = {**(line.get("found") or {}), **lost}
    n_after = 0
    for path, gone in dropped.items():
        sums = _sum_by_model(gone)
        lines = [{"stage": "", "item": "", "state": "summed", "earlier": sums}] if sums else []
        lines += [line for _, where, line in kept if where == path]
        n_after += len(lines)
        if gone:
            _write_ledger(path, lines)
    return n_before, n_after


def _write_ledger(path: Path, lines: list[dict]) -> None:
    tmp = path.with_name("_tmp." + path.name)
    try:
        with open(tmp, "wb") as file:
            file.writelines(map(to_line, lines))
            file.flush()
            os.fsync(file.fileno())
        os.replace(tmp, path)
    except OSError as e:
        tmp.unlink(missing_ok=True)
        raise disk_trouble(e, path) from e


class _PlacedLine(tuple):
    """(path, line), with the line's own keys for sorting."""

    def get(self, key, default=None):
        return self[1].get(key, default)


def _with_path(path: Path):
    return (_PlacedLine((path, line)) for line in read_lines(path))


def _sum_by_model(lines: list[dict]) -> list[dict]:
    """Return the calls of `lines` summed up by model, each sum with `n`; those without a price stand apart."""
    sums: dict[tuple, dict] = {}
    for call in (call for line in lines for call in calls_of(line)):
        total = sums.setdefault((call["model"], call.get("cost_usd") is None), {
            "model": call["model"], "n": 0, "cost_usd": 0.0})
        total["n"] += call.get("n", 1)
        for key in ("tokens_in", "tokens_out", "tokens_cached", "seconds"):
            old, new = total.get(key, 0), call.get(key, 0)
            total[key] = None if old is None or new is None else old + new   # unknown usage stays unknown
        known = total["cost_usd"] is not None and call.get("cost_usd") is not None
        total["cost_usd"] = total["cost_usd"] + call["cost_usd"] if known else None
    return list(sums.values())


def _is_torn(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except OSError:   # missing or empty
        return False


def disk_trouble(error: OSError, path) -> RunStopped:
    """Return the RunStopped for a file that cannot be written."""
    return RunStopped(f"could not be written: {error.strerror or error}.", str(path),
                      "Make room (or give write permission) and run again: nothing that was finished is lost.")
