"""<dir>/_ledger.jsonl: append-only, a line an attempt. What was read, what was written, what it cost.

A line: stage, item, state (done | failed | adopted | excluded | pruned), instance_id, read (digest of the fields that
were read), wrote {field: digest}, found {field: digest} (fields of other stages that a person had changed),
size and mtime_ns of the record after the write, settings (digest), calls [{id, model, tokens_in, tokens_out,
tokens_cached, cost_usd, seconds, …}], cost_usd (null: a price is unknown), seconds, error, at.

A kill can tear the line that is being written; a torn line is passed over and costs one attempt's bookkeeping:
its record counts as adopted, its replies are still in _partial/. Several processes may append (one write a line).
"""
from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from codedata.errors import RunStopped

LEDGER, PARTIAL = "_ledger.jsonl", "_partial"
ERROR_CHARS = 500
NOTHING: dict = {}


@dataclass(slots=True)
class Known:
    """What the ledger knows of a record on disk: valid while its size and mtime are these."""

    instance_id: str
    digests: dict[str, str]
    size: int = -1
    mtime_ns: int = -1


@dataclass(slots=True)
class Attempt:
    """One stage's newest word on an item."""

    state: str
    read: str = ""
    wrote: dict[str, str] = field(default_factory=dict)
    settings: str = ""
    error: str = ""


class Ledger:
    """One directory's ledger: `made` and `failed` by (stage, item), `known` by item, and append()."""

    def __init__(self, directory: Path):
        self.path = Path(directory) / LEDGER
        self.made: dict[tuple[str, str], Attempt] = {}
        self.failed: dict[tuple[str, str], Attempt] = {}
        self.known: dict[str, Known] = {}
        self.counted: dict[tuple[str, str], set[str]] = {}   # ids of kept replies that some line has paid for
        self.used: dict[tuple[str, str], set[str]] = {}      # those of them that a record was made from
        self.entries: dict[str, list] = {}       # list files: stem → [[order, instance_id, digests], …]
        self.details: dict[tuple[str, str], dict] = {}   # what prompt.py notes with its files, and exclusions
        self._lock, self._fd, self._torn = threading.Lock(), None, False
        self._partial = {p.name[:-6] for p in (Path(directory) / PARTIAL).glob("*.jsonl")}
        for line in read_lines(self.path):
            self._take(line)

    def _take(self, line: dict) -> None:
        stage, item, state = line.get("stage"), line.get("item"), line.get("state")
        if not (isinstance(stage, str) and isinstance(item, str)):
            return
        key = stage, item
        if state == "failed":
            self._partial.add(item)   # its replies may be kept for the next attempt
        if item in self._partial and (calls := line.get("calls")):
            self.counted.setdefault(key, set()).update(call["id"] for call in calls)
        if state in ("done", "adopted"):
            wrote, found = line.get("wrote") or NOTHING, line.get("found") or NOTHING
            self.made[key] = Attempt(state, line.get("read", ""), wrote, line.get("settings", ""))
            self.failed.pop(key, None)
            if item in self._partial:   # killed before the kept replies were dropped: they are not served again
                self.used[key] = set(self.counted.get(key, ()))
            known = self.known.get(item)
            if known is None:
                known = self.known[item] = Known(line.get("instance_id", ""), wrote)
            else:
                known.instance_id = line.get("instance_id") or known.instance_id
                known.digests = {**known.digests, **wrote}
            if found:
                known.digests = {f: d for f, d in {**known.digests, **found}.items() if d}
            known.size, known.mtime_ns = line.get("size", -1), line.get("mtime_ns", -1)
            if "entries" in line:
                self.entries[item] = line["entries"]
        elif state == "failed":
            self.failed[key] = Attempt(state, line.get("read", ""), {}, line.get("settings", ""), line.get("error", ""))
        elif state == "pruned":
            for table in (self.made, self.failed):
                table.pop(key, None)
            self.known.pop(item, None)
        if "detail" in line:
            self.details[key] = line["detail"]

    def append(self, **line) -> None:
        """Write one line, and know it. A disk that takes no more ends the run."""
        line = {key: value for key, value in line.items() if value not in (None, "", [], {}) or key == "cost_usd"}
        if "error" in line:
            line["error"] = line["error"][:ERROR_CHARS]
        line["at"] = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
        data = (json.dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n").encode()
        with self._lock:
            self._write(data)
            self._take(line)

    def _write(self, data: bytes) -> None:
        try:
            if self._fd is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._torn = _is_torn(self.path)
                self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            if self._torn:
                data = b"\n" + data   # else this line would be lost with the torn one
            self._torn = os.write(self._fd, data) < len(data)
        except OSError as e:
            raise disk_trouble(e, self.path) from e
        if self._torn:
            raise RunStopped("was not written whole: the disk is full.", str(self.path), "Make room and run again.")

    def close(self) -> None:
        with self._lock:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None


def read_lines(path: Path):
    """Each whole line of a JSONL file as a dict; torn ones are passed over, a missing file has none."""
    try:
        file = open(path, "rb")
    except FileNotFoundError:
        return
    with file:
        for raw in file:
            try:
                line = json.loads(raw)
            except ValueError:
                continue
            if isinstance(line, dict):
                yield line


def compact(path: Path) -> tuple[int, int]:
    """Keep the newest line of each stage and item (and the made one below a failed one); sum up what the rest cost.

    Returns the numbers of lines before and after. The caller holds the directory's lock.
    """
    newest: dict[tuple, dict[str, tuple[int, dict]]] = {}
    n_before = 0
    for n_before, line in enumerate(read_lines(path), 1):
        slot = newest.setdefault((line.get("stage"), line.get("item")), {})
        if line.get("state") == "failed":
            calls = [*(slot["failed"][1].get("calls", []) if "failed" in slot else []), *line.get("calls", [])]
            slot["failed"] = n_before, {**line, "calls": calls}   # ids stay: their replies may wait in _partial/
        else:
            earlier = _sum_by_model([old for _, old in slot.values()] + [{"calls": line.get("earlier", [])}])
            slot.clear()
            slot["made"] = n_before, {**line, "earlier": earlier} if earlier else line
    kept = sorted((entry for slot in newest.values() for entry in slot.values()), key=lambda entry: entry[0])
    tmp = path.with_name("_tmp." + path.name)
    tmp.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for _, line in kept), encoding="ascii")
    os.replace(tmp, path)
    return n_before, len(kept)


def _sum_by_model(lines: list[dict]) -> list[dict]:
    """The calls of `lines` as one entry a model, in the form of a call with `n`."""
    sums: dict[str, dict] = {}
    for call in (call for line in lines for call in [*line.get("calls", []), *line.get("earlier", [])]):
        total = sums.setdefault(call["model"], {"model": call["model"], "n": 0, "cost_usd": 0.0})
        total["n"] += call.get("n", 1)
        for key in ("tokens_in", "tokens_out", "tokens_cached", "seconds"):
            old, new = total.get(key, 0), call.get(key, 0)
            total[key] = None if old is None or new is None else old + new   # unknown usage stays unknown
        known = total["cost_usd"] is not None and call.get("cost_usd") is not None
        total["cost_usd"] = total["cost_usd"] + call["cost_usd"] if known else None
    return list(sums.values())


def _is_torn(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except OSError:   # missing or empty
        return False


def disk_trouble(error: OSError, path) -> RunStopped:
    """What to say when a file cannot be written."""
    return RunStopped(f"could not be written: {error.strerror or error}.", str(path),
                      "Make room (or give write permission) and run again: nothing that was finished is lost.")
