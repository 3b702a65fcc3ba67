"""Keep the costs of the current item's calls, and each finished reply until the record is written.

A reply is appended to <dir>/_partial/<item>.jsonl before it is used, with the request's digest and
the number of the attempt at the request; a re-run of the item reads it from there. Replies that the
last failed attempt rejected stay in the file as REFUSED, for inspection, and are not used again.
Each reply has an id, and a ledger line lists the ids of the replies whose costs it counts. So the
sum of the costs is exact after any number of crashes. Results of work without a call are kept in
the same way.
"""
from __future__ import annotations

import threading
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from codedata.disk.layouts import to_json, write_atomic
from codedata.disk.ledger import (
    PARTIAL,
    Appender,
    Ledger,
    disk_trouble,
    read_lines,
    sound_call,
    to_line,
)
from codedata.driver import StaysInDriver, in_worker
from codedata.errors import BrokenRecord

RESULT = "result"   # key of a result without a call; also replaces the attempt's number in _key()
REFUSED = "refused"   # key of a rejected reply, in place of "reply"
REPLY_TYPES = {"text": str, "reasoning": str, "finish_reason": str, "model": str,
               "tool_calls": list}
_current: ContextVar[ReplyLog | None] = ContextVar("reply_log", default=None)


class ReplyLog(StaysInDriver):
    """Keep the replies of one item in one stage. The threads of the item may share a log.

    Without a directory (outside of an item), nothing is kept on disk, and the caller adds up the
    costs.
    """

    copied = ("directory", "item", "made_before")

    def __init__(self, directory: Path | None = None, stage: str = "", item: str = "",
                 ledger: Ledger | None = None, shards: tuple[Path, ...] = (),
                 in_parts: bool = False):
        """Read the kept replies. Raise BrokenRecord if their file cannot be read.

        The ledger (by default the directory's) shows which replies are billed. With `in_parts`,
        replies that this attempt does not request are kept for a later attempt: another run may ask
        other judges.
        """
        self.directory = directory
        self.stage = stage
        self.item = item
        self.unbilled = []     # calls that no ledger line names yet
        self.cuts = []         # descriptions of cuts to requests
        self.notes = {}        # further fields of the item's ledger line
        self.parts = {}        # {(base_url, model): Parts, sent back to that model}; llm/cures.py
        self.served = 0        # kept replies that were used
        self.made_before = False   # an earlier attempt has written the item's record
        self._in_parts = in_parts
        self._lock = threading.Lock()
        self._attempts = {}    # {request: number of attempts so far}
        self._kept = {}        # {(request, attempt): line}
        self._requested = set()   # keys of _kept that this attempt at the item has requested
        self._discarded = set()   # requests whose replies were all rejected
        self._others = []      # lines of other stages
        self._refused = []     # lines of replies that an earlier attempt rejected
        self._elsewhere = []   # paths of the item's files in other shards
        if directory:
            self.path = Path(directory, PARTIAL, f"{item}.jsonl")
            ledger = ledger or Ledger(directory)
            self._file = Appender(self.path, is_own=True)
            self.made_before = (stage, item) in ledger.succeeded
            if item in ledger.with_replies:   # look for a file only in this case
                self._read(ledger, shards)

    def _read(self, ledger: Ledger, shards: tuple[Path, ...]) -> None:
        used = ledger.used.get((self.stage, self.item), ())
        billed = ledger.counted.get((self.stage, self.item), ())
        paths = [Path(shard) / PARTIAL / self.path.name for shard in shards]
        self._elsewhere = [path for path in paths if path != self.path and path.exists()]
        try:
            for path in (self.path, *self._elsewhere):
                for line in read_lines(path):
                    self._take_line(line, billed, used)
        except OSError as e:
            raise BrokenRecord(f"has kept replies that cannot be read: {e.strerror}.", str(path),
                               "Mend or delete that file.") from e

    def _take_line(self, line: dict, billed: set[str], used: set[str]) -> None:
        call = line.get("call")
        if line.get("stage") != self.stage:
            self._others.append(line)
            return
        if REFUSED in line:
            self._refused.append(line)
            return
        if RESULT in line:
            self._kept[_key(line.get("request"), RESULT)] = line
            return
        if not (_is_reply(line.get("reply")) and isinstance(call, dict) and "id" in call):
            return
        line["call"] = call = sound_call(call)
        if call["id"] in used:
            return
        self._add(line)
        if call["id"] not in billed:
            self.unbilled.append(call)

    def _add(self, line: dict) -> None:
        key = _key(line.get("request"), line.get("attempt"))
        self._kept[key] = line
        if not line["reply"]:   # so the next ledger line counts the cost of an unusable reply
            self._requested.add(key)

    def next_attempt(self, request: str) -> tuple[int, dict | None]:
        """Return the number of this attempt at a request, from 0, and the attempt's kept line or
        None."""
        with self._lock:
            attempt = self._attempts.get(request, 0)
            self._attempts[request] = attempt + 1
            key = _key(request, attempt)
            self._requested.add(key)
            line = self._kept.get(key)
            if line:
                self.served += 1
            return attempt, line

    def has_kept(self, request: str) -> bool:
        """Return whether the next attempt at a request has a kept reply."""
        with self._lock:
            return _key(request, self._attempts.get(request, 0)) in self._kept

    def save(self, request: str, attempt: int | str, reply: dict, call: dict) -> dict:
        """Append a finished reply to the file and count its cost; return its line. An unusable
        reply is {}."""
        with self._lock:
            self.unbilled.append(call)
            line = self._append(request=request, attempt=attempt, reply=reply, call=call)
            self._add(line)
            return line

    def keep(self, piece: str, result) -> None:
        """Append the result (any JSON) of a piece of the item's work. `piece` is a digest of all
        inputs of that work."""
        with self._lock:
            key = _key(piece, RESULT)
            self._requested.add(key)
            self._kept[key] = self._append(request=piece, result=result)

    def result_of(self, piece: str):
        """Return the result that keep() stored for a piece of work, or None."""
        with self._lock:
            self._attempts.setdefault(piece, 0)
            key = _key(piece, RESULT)
            self._requested.add(key)
            return self._kept.get(key, {}).get(RESULT)

    def discard(self, *requests: str) -> None:
        """Mark the replies to these requests as rejected; by default, all replies and results.
        After a failure, rejected replies are not used again."""
        with self._lock:
            self._discarded.update(requests or self._attempts)

    def discard_failed(self, status: str) -> None:
        """Discard the replies of an agent that failed with this status, since they would lead to
        the same failure. If something else failed ("error": engine, endpoint), discard them only if
        this run has repeated kept ones."""
        if status != "error" or self.served:
            self.discard()

    def _append(self, **fields) -> dict:
        line = {"stage": self.stage, **fields}
        if self.directory:
            self._file.append(to_line(line))
        return line

    def note(self, **fields) -> None:
        """Add fields to the item's ledger line."""
        self.notes.update(fields)

    def note_cut(self, cut: str) -> None:
        """Add a description of a cut to a request, for the item's ledger line."""
        self.cuts.append(cut)

    @in_worker
    def path_beside(self, folder: str) -> Path:
        """Return the path of the item's file in a folder next to the records, such as _leaks/."""
        return Path(self.directory, folder, f"{self.item}.json")

    def put_beside(self, folder: str, content: dict | None) -> None:
        """Write path_beside(folder); None removes the file. Outside of an item, do nothing."""
        if self.directory and content is None:
            self.path_beside(folder).unlink(missing_ok=True)
        elif self.directory:
            write_atomic(self.path_beside(folder), to_json(content))

    def begin_again(self) -> None:
        """Reset the log, so that the item can be made again from the start with the kept replies.
        """
        with self._lock:
            self._attempts, self._discarded, self.cuts, self.notes = {}, set(), [], {}
            self._requested = {key for key, line in self._kept.items() if line.get("reply") == {}}

    def to_count(self) -> list[dict]:
        """Return the calls for this attempt's ledger line."""
        if not self._in_parts:
            return list(self.unbilled)
        lines = [self._kept[key] for key in self._requested & self._kept.keys()]
        ids = {line["call"]["id"] for line in lines if "call" in line}   # skip results: no call
        return [call for call in self.unbilled if call["id"] in ids]

    def finish(self, made: bool) -> None:
        """Drop the replies that are no longer needed after the ledger line was written.

        After success (`made`), drop all replies; with in_parts, drop only the requested replies.
        After a failure, rejected replies stay for inspection.
        """
        with self._lock:
            self.unbilled = []
            dropped = {key for key in self._kept if key[0] in self._discarded}
            lines = [self._kept[key] for key in dropped]
            needed = [{"stage": self.stage, REFUSED: line["reply"]} for line in lines
                      if line.get("reply")] or self._refused
            if made:
                needed = []
                dropped = self._requested if self._in_parts else self._kept
            needed = needed + [line for key, line in self._kept.items() if key not in dropped]
            try:
                if made or dropped:
                    self._rewrite(self._others + needed)
            except OSError as e:
                raise disk_trouble(e, self.path) from e
            finally:
                self._file.close()

    def _rewrite(self, lines: list[dict]) -> None:
        if lines:
            write_atomic(self.path, b"".join(map(to_line, lines)))
        else:
            self.path.unlink(missing_ok=True)
        # remove these files last, when self.path has the lines to keep
        for path in self._elsewhere:
            path.unlink(missing_ok=True)


def _key(request, attempt) -> tuple[str, str]:
    return str(request), str(attempt)


def _is_reply(value) -> bool:
    """Return whether a value has the shape of a kept reply, or is {}, an unusable reply."""
    if not isinstance(value, dict) or (value and "text" not in value):
        return False
    return all(isinstance(part, REPLY_TYPES.get(key, ())) for key, part in value.items())


@contextmanager
def recording(calls: ReplyLog):
    """Within the block, record in `calls` every request of this thread."""
    token = _current.set(calls)
    try:
        yield calls
    finally:
        _current.reset(token)


def current_reply_log() -> ReplyLog:
    """Return the current item's ReplyLog; outside of an item, a log that keeps nothing."""
    return _current.get() or ReplyLog()
