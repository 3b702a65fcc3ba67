"""Record the calls of the current item: costs, and each finished reply until its record is written.

A reply is appended to <dir>/_partial/<item>.jsonl before it is used, under its request's digest
and the number of the attempt; a re-run of the item reads it from there. Replies that the last
failed attempt refused stay as REFUSED, to be looked at, and are not used again. Each reply has an
id, and a ledger line lists the ids that it accounts for, so that spending adds up exactly over any
number of crashes. What a piece of an item's work came to without a call is kept in the same way.
"""
from __future__ import annotations

import itertools
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from codedata.config import PRICE_LINE
from codedata.disk.ledger import (
    LEDGER,
    PARTIAL,
    Appender,
    Ledger,
    calls_of,
    disk_trouble,
    read_lines,
    sound_call,
    to_line,
)
from codedata.driver import StaysInDriver
from codedata.errors import BrokenRecord, RunStopped
from codedata.records import DIRECTORIES, HOW
from codedata.terminal import usd
from codedata.texts import in_shard

# matches the suite's directories, but not a user's answer_backup
DIRECTORY = re.compile(
    rf"[a-z0-9]+(_reference|_\d+|_({'|'.join(HOW)}))?|({'|'.join(DIRECTORIES)})(_\d+)?")
RESULT = "result"   # in place of an attempt's number: of a piece of work without a call
REFUSED = "refused"   # in place of a reply
WITHOUT_LEDGERS = (PARTIAL, "_replaced", "_tmp")
NEW = "_tmp.new."   # before the name of a file that takes the place of another
REPLY_TYPES = {"text": str, "reasoning": str, "finish_reason": str, "model": str,
               "tool_calls": list}
_current: ContextVar[ReplyLog | None] = ContextVar("reply_log", default=None)


class ReplyLog(StaysInDriver):
    """Keep the replies of one item in one stage; the threads of the item may share it.

    Without a directory, as outside an item, nothing is kept and the caller adds up its costs.
    """

    copied = ("directory", "item")

    def __init__(self, directory: Path | None = None, stage: str = "", item: str = "",
                 ledger: Ledger | None = None, shards: tuple[Path, ...] = (),
                 in_parts: bool = False, spares: Spares | None = None):
        """Read the kept replies; raise BrokenRecord where their file cannot be read.

        The ledger (by default the directory's) tells which of them are billed. With `in_parts`,
        replies that this attempt does not request are kept for a later one (a judge not asked now).
        """
        self.directory = directory
        self.stage = stage
        self.item = item
        self.unbilled = []     # calls that no ledger line names yet
        self.cuts = []         # texts on what of a request was cut
        self.notes = {}        # further fields of the item's ledger line
        self.served = 0        # kept replies that were used
        self._in_parts = in_parts
        self._lock = threading.Lock()
        self._attempts = {}    # request → attempts so far
        self._kept = {}        # (request, attempt) → line
        self._requested = set()   # keys of _kept
        self._discarded = set()   # requests whose replies were all rejected
        self._others = []      # lines of other stages
        self._refused = []     # lines of replies that an earlier attempt refused
        self._elsewhere = []   # paths of the item's files in other shards
        if directory:
            self.path = Path(directory, PARTIAL, f"{item}.jsonl")
            ledger = ledger or Ledger(directory)
            may_be_there = ledger.may_have_kept(item)
            self._spares = None if may_be_there else spares
            self._file = Appender(self.path) if self._spares is None else None
            if may_be_there:
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
        if not line["reply"]:   # unusable: kept only so that the next ledger line accounts for it
            self._requested.add(key)

    def next_attempt(self, request: str) -> tuple[int, dict | None]:
        """Return the number of this attempt at a request, from 0, and its kept line or None."""
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

    def save(self, request: str, attempt: int | str, reply: dict, call: dict) -> None:
        """Append a finished reply to the file and count its cost; {} stands for an unusable one."""
        with self._lock:
            self.unbilled.append(call)
            self._add(self._append(request=request, attempt=attempt, reply=reply, call=call))

    def keep(self, piece: str, result) -> None:
        """Append what a piece of the item's work came to, any JSON, under the digest of all that it
        depends on."""
        with self._lock:
            key = _key(piece, RESULT)
            self._requested.add(key)
            self._kept[key] = self._append(request=piece, result=result)

    def result_of(self, piece: str):
        """Return what keep() was given for a piece of work, or None."""
        with self._lock:
            self._attempts.setdefault(piece, 0)
            key = _key(piece, RESULT)
            self._requested.add(key)
            return self._kept.get(key, {}).get(RESULT)

    def discard(self, request: str | None = None) -> None:
        """Mark the replies to a request (None: to any, and results) as rejected: after a failure
        they are not used again."""
        with self._lock:
            self._discarded.update([request] if request else self._attempts)

    def _append(self, **fields) -> dict:
        line = {"stage": self.stage, **fields}
        if self.directory:
            if self._file is None:
                self._file = self._spares.take(self.path)
            self._file.append(to_line(line))
        return line

    def note_cut(self, what: str) -> None:
        """Note what of a request was cut."""
        self.cuts.append(what)

    def note(self, **fields) -> None:
        """Add fields to the item's ledger line."""
        self.notes.update(fields)

    def begin_again(self) -> None:
        """Let the item be made again from its beginning, with all replies that it has."""
        with self._lock:
            self._attempts, self._requested, self._discarded = {}, set(), set()
            self.cuts, self.notes, kept, self._kept = [], {}, self._kept, {}
            for key, line in kept.items():
                if RESULT in line:
                    self._kept[key] = line
                else:
                    self._add(line)

    def to_count(self) -> list[dict]:
        """Return the calls that this attempt's ledger line is to name."""
        if not self._in_parts:
            return list(self.unbilled)
        lines = [self._kept[key] for key in self._requested & self._kept.keys()]
        ids = {line["call"]["id"] for line in lines if "call" in line}   # results have none
        return [call for call in self.unbilled if call["id"] in ids]

    def finish(self, made: bool) -> None:
        """Drop the replies that are no longer needed, once the ledger line is written.

        Success (`made`) drops all of them, or with in_parts those requested; after a failure the
        rejected ones are only there to be looked at.
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
                if self._spares and not needed and self._file:
                    self._spares.give_back(self._file)
                    self._file = None
                elif made or dropped:
                    self._rewrite(self._others + needed)
            except OSError as e:
                raise disk_trouble(e, self.path) from e
            finally:
                if self._file:
                    self._file.close()

    def _rewrite(self, lines: list[dict]) -> None:
        if lines:
            tmp = self.path.with_name(f"{NEW}{self.path.name}")
            tmp.parent.mkdir(parents=True, exist_ok=True)
            tmp.write_bytes(b"".join(map(to_line, lines)))
            os.replace(tmp, self.path)
        else:
            self.path.unlink(missing_ok=True)
        for path in self._elsewhere:   # last: the lines to keep are in self.path by now
            path.unlink(missing_ok=True)


class Spares:
    """Recycle the emptied files of _partial/: making and removing one for each item costs more."""

    def __init__(self):
        self._lock = threading.Lock()
        self._free: dict[str, list[Appender]] = {}   # by folder: shards may be on different disks
        self._n_given = itertools.count(1)

    def take(self, path: Path) -> Appender:
        """Return a file that is open at `path`, where none is yet."""
        with self._lock:
            free = self._free.get(os.path.dirname(path))
            spare = free.pop() if free else None
        if not spare:
            return Appender(path)
        try:
            return spare.moved(path)
        except OSError:   # somebody removed it: the reply that is to be written must not be lost
            spare.close()
            return Appender(path)

    def give_back(self, file: Appender) -> None:
        """Take over an item's file, emptied, under a temporary name."""
        folder, name = os.path.split(file.path)
        try:   # under a name of its own: an item may come again
            file.moved(f"{folder}/_tmp.{next(self._n_given)}.{name}").empty()
        except FileNotFoundError:   # somebody removed it
            file.close()
            return
        with self._lock:
            self._free.setdefault(folder, []).append(file)

    def close(self) -> None:
        """Close and remove the files."""
        for spare in itertools.chain.from_iterable(self._free.values()):
            spare.close()
            Path(spare.path).unlink(missing_ok=True)
        self._free = {}


def _key(request, attempt) -> tuple[str, str]:
    return str(request), str(attempt)


def _is_reply(value) -> bool:
    """Return whether a value has the shape of a kept reply, or is the {} of an unusable one."""
    if not isinstance(value, dict) or (value and "text" not in value):
        return False
    return all(isinstance(part, REPLY_TYPES.get(key, ())) for key, part in value.items())


@contextmanager
def recording(calls: ReplyLog):
    """Record every request that this thread makes within the block in `calls`."""
    token = _current.set(calls)
    try:
        yield calls
    finally:
        _current.reset(token)


def current_reply_log() -> ReplyLog:
    """Return the current item's ReplyLog, or one that keeps nothing outside an item."""
    return _current.get() or ReplyLog()


def ledger_calls(directory: Path):
    """Yield (stage, call) of a directory's ledger; sums that compaction left have the stage ''."""
    for line in read_lines(Path(directory) / LEDGER):
        stage = line.get("stage")
        for call in calls_of(line):
            yield stage if isinstance(stage, str) else "", call


def calls_under(root: Path):
    """Yield (directory, stage, call) of all calls under a root; the stage of kept replies is None.

    Calls with one id come once (see attempts_under).
    """
    for directory, line, calls in attempts_under(root):
        stage = line.get("stage", "")
        if stage is not None and not isinstance(stage, str):
            stage = ""
        for call in calls:
            yield directory, stage, call


def attempts_under(root: Path) -> Iterator[tuple[Path, dict, list[dict]]]:
    """Yield (directory, ledger line, its calls) of all attempts under a root; the line of a file of
    kept replies is its item and the stage None.

    Calls with one id come once, so that a copied directory, or a kept reply that a ledger lists,
    is not counted twice.
    """
    seen: set[str] = set()

    def unseen(calls: list[dict]) -> Iterator[dict]:
        for call in calls:
            if call.get("id") not in seen:
                yield call
            if call.get("id"):
                seen.add(call["id"])

    stages = sorted(p for p in root.glob("*") if p.is_dir() and DIRECTORY.fullmatch(p.name))
    for directory in itertools.chain.from_iterable(map(_with_ledgers, stages)):
        for line in read_lines(directory / LEDGER):
            yield directory, line, [*unseen(calls_of(line))]
        for file in sorted((directory / PARTIAL).glob("*.jsonl")):
            kept = (line["call"] for line in read_lines(file) if isinstance(line.get("call"), dict))
            line = {"item": file.stem.removeprefix(NEW), "stage": None}
            yield directory, line, [*unseen(map(sound_call, kept))]


def _with_ledgers(directory: Path) -> Iterator[Path]:
    """Yield a directory and, at any depth, those within it that may have a ledger of their own."""
    yield directory
    with os.scandir(directory) as entries:
        within = sorted(entry.name for entry in entries
                        if (entry.name[0] == "_" or entry.name in HOW) and entry.is_dir())
    for name in within:
        if name not in WITHOUT_LEDGERS:
            yield from _with_ledgers(directory / name)


class Money:
    """Track spending under a root (USD) against a budget. An unknown cost is None, never 0.

    Shard (i, n) has the n-th part of the budget, for the calls of its own items.
    """

    def __init__(self, prices: dict, budget_usd: float | None = None,
                 shard: tuple[int, int] | None = None):
        self.prices, self.budget_usd, self.shard = prices, budget_usd, shard
        if budget_usd is not None and shard:
            self.budget_usd = budget_usd / shard[1]
        self.spent_usd = 0.0
        self._lock = threading.Lock()

    def cost(self, model: str, tokens_in, tokens_out, tokens_cached=0) -> float | None:
        """Return a call's cost in USD, or None where the price or a token count is unknown."""
        price = self.prices.get(model)
        if price is None or tokens_in is None or tokens_out is None:
            return None
        cached = min(tokens_cached or 0, tokens_in)
        cached_price = price.in_ if price.cached is None else price.cached
        uncached = tokens_in - cached
        return (uncached * price.in_ + cached * cached_price + tokens_out * price.out) / 1e6

    def gate(self) -> None:
        """Raise RunStopped where the budget is used up; called before each call."""
        if self.budget_usd is not None and self.spent_usd >= self.budget_usd:
            raise RunStopped(f"the budget of {usd(self.budget_usd)} is used up "
                             f"({usd(self.spent_usd)} spent "
                             f"{'by this shard' if self.shard else 'under this root'}).",
                             todo="Give a larger --budget to go on: what is done is kept.")

    def add(self, call: dict) -> None:
        """Add a call's cost; raise RunStopped where it is unknown and there is a budget."""
        if call["cost_usd"] is not None:
            with self._lock:
                self.spent_usd += call["cost_usd"]
        elif self.budget_usd is not None:
            raise RunStopped(f"model {call['model']} reports no usage, so a budget cannot be kept.",
                             todo="Run without --budget, or use an endpoint that reports usage.")

    def add_up(self, root: Path) -> None:
        """Set spent_usd to the cost of all calls under a root, or of the shard's; raise RunStopped
        on unknown ones. What no item is known of, as after --compact, counts for every shard.
        """
        costs = (self._known(call, directory) for directory, line, calls in attempts_under(root)
                 if not line.get("item") or in_shard(str(line["item"]), self.shard)
                 for call in calls)
        self.spent_usd = sum(costs)

    def part(self) -> str:
        """Return in words which part of the budget the shard has, and what it spent of it."""
        whole = usd(self.budget_usd * self.shard[1])
        return (f"budget of this shard: {usd(self.budget_usd)} of {whole}, "
                f"{usd(self.spent_usd)} spent")

    def _known(self, call: dict, directory: Path) -> float:
        """Return a call's cost in USD; raise RunStopped where it is unknown."""
        model = call["model"]
        cost = call["cost_usd"]
        if cost is None:
            cost = self.cost(model, *map(call.get, ("tokens_in", "tokens_out", "tokens_cached")))
        if cost is not None:
            return cost
        if model in self.prices:
            problem = "for which the endpoint reported no usage"
            todo = "Run without --budget."
        else:
            problem = "whose cost is not known"
            todo = PRICE_LINE.format(model=model)
        raise RunStopped(f"has calls to {model!r} {problem}, so a budget cannot be kept.",
                         str(directory), todo, exit_code=2)
