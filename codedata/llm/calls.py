"""Record the calls of the current item: their costs, and every finished reply until its record is written.

A reply is appended to <dir>/_partial/<item>.jsonl before it is used, under the digest of its request and the
number of the attempt; a re-run of the item reads it from there. Each reply has an id, and a ledger line lists
the ids that it accounts for, so that spending adds up exactly over any number of crashes.
"""
from __future__ import annotations

import itertools
import os
import re
import secrets
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from codedata.bounded import open_appending
from codedata.config import PRICE_LINE
from codedata.errors import ItemFailed, RunStopped
from codedata.ledger import LEDGER, PARTIAL, calls_of, disk_trouble, is_sound, read_lines, sound_call, to_line
from codedata.records import HOW

# matches the suite's directories, but not a user's answer_backup
DIRECTORY = re.compile(rf"[a-z0-9]+(_reference|_\d+|_({'|'.join(HOW)}))?")
REPLY = {"text": str, "reasoning": str, "finish_reason": str, "model": str, "tool_calls": list}   # field types
_current: ContextVar[Calls | None] = ContextVar("calls", default=None)


class Calls:
    """Keep the replies of one item in one stage; the threads of the item may share it."""

    def __init__(self, directory: Path, stage: str, item: str, counted: set[str] = frozenset(),
                 used: set[str] = frozenset(), shards: tuple[Path, ...] = (), spares: Spares | None = None,
                 may_be_kept: bool = True, in_parts: bool = False):
        """Read the kept replies; raise ItemFailed where their file cannot be read.

        `in_parts` keeps replies that this attempt does not request for a later one (a judge not asked now).
        """
        self.in_parts, self._taken = in_parts, set()
        self._spares, self._spare = spares or Spares(), None
        self.path = Path(directory) / PARTIAL / f"{item}.jsonl"
        self._elsewhere = [path for d in shards if (path := Path(d) / PARTIAL / self.path.name) != self.path]
        self.stage, self.item, self.directory = stage, item, Path(directory)
        self._lock = threading.Lock()
        self._asked: dict[str, int] = {}
        self._kept: dict[tuple[str, int], dict] = {}
        self._others: list[dict] = []      # replies to another stage's requests
        self._useless: set[str] = set()    # requests whose replies were all rejected
        self.uncounted: list[dict] = []    # calls that no ledger line names yet
        self.cuts: list[str] = []
        self.notes: dict = {}              # further fields of the item's ledger line
        self.intent: dict | None = None    # digests that an earlier, killed run was about to write
        self.doing = ""                    # the item's current step, for the progress bar
        self.served = 0
        self._on_disk, self._read_elsewhere = False, []
        try:
            for path in (self.path, *self._elsewhere) if may_be_kept else ():
                for line in read_lines(path):
                    self._on_disk |= path == self.path
                    if path != self.path and path not in self._read_elsewhere:
                        self._read_elsewhere.append(path)
                    self._take_line(line, counted, used)
        except OSError as e:
            raise ItemFailed(f"has kept replies that cannot be read: {e.strerror}.", str(path),
                             "Mend or delete that file.") from e
        self._maybe_torn = self._on_disk   # an earlier process may have died in the middle of a line

    def _take_line(self, line: dict, counted: set[str], used: set[str]) -> None:
        if line.get("stage") != self.stage:
            self._others.append(line)
        elif "intent" in line:
            intent = line["intent"]
            if isinstance(intent, dict) and {"read", "wrote"} <= {*intent} and is_sound(
                    {**intent, "stage": "", "item": ""}):
                self.intent = intent
        elif _is_reply(line.get("reply")) and isinstance(call := line.get("call"), dict) and "id" in call:
            line["call"] = call = sound_call(call)
            if call["id"] in used:
                return
            attempt = line.get("attempt")
            key = str(line.get("request")), attempt if isinstance(attempt, int) else str(attempt)
            self._kept[key] = line
            if not line["reply"]:   # an unusable reply stays only so that the next attempt accounts for it
                self._taken.add(key)
            if call["id"] not in counted:
                self.uncounted.append(call)

    def take(self, request: str) -> tuple[int, dict | None]:
        """Return the number of this attempt at a request (digest), from 0, and its kept line or None."""
        with self._lock:
            attempt = self._asked[request] = self._asked.get(request, -1) + 1
            line = self._kept.get((request, attempt))
            self.served += line is not None
            self._taken.add((request, attempt))
            return attempt, line

    def has_kept(self, request: str) -> bool:
        """Return whether the next attempt at a request has a kept reply."""
        with self._lock:
            return (request, self._asked.get(request, -1) + 1) in self._kept

    def keep(self, request: str, attempt: int | str, reply: dict, call: dict) -> None:
        """Append a finished reply to the file and count its cost; {} stands for an unusable reply."""
        line = {"stage": self.stage, "request": request, "attempt": attempt, "reply": reply, "call": call}
        with self._lock:
            self.uncounted.append(call)
            self._append(line)
            self._kept[request, attempt] = line
            if not reply:
                self._taken.add((request, attempt))

    def useless(self, request: str | None = None) -> None:
        """Mark all replies to a request (None: to any) as rejected; after a failure they are not served again."""
        with self._lock:
            self._useless.update([request] if request else self._asked)

    def about_to_write(self, intent: dict) -> None:
        """Note what the next rename writes, so that after a kill the record is not taken for a hand edit."""
        with self._lock:
            self._append({"stage": self.stage, "intent": intent})

    def _append(self, line: dict) -> None:
        data = b"\n" * self._maybe_torn + to_line(line)
        try:
            if self._on_disk and self._spare is None:
                with open(open_appending(self.path), "ab", buffering=0) as file:
                    n = file.write(data)
            else:
                self._spare = self._spare or self._spares.take(self.path.parent)
                n = os.write(self._spare.fd, data)
                if not self._on_disk:
                    os.rename(self._spare.path, self.path)
            self._on_disk, self._maybe_torn = True, False
        except OSError as e:
            raise disk_trouble(e, self.path) from e
        if n < len(data):
            raise RunStopped("was not written whole: the disk is full.", str(self.path), "Make room and run again.")

    def to_count(self) -> list[dict]:
        """Return the calls that this attempt's ledger line is to name."""
        if not self.in_parts:
            return list(self.uncounted)
        ids = {line["call"]["id"] for key, line in self._kept.items() if key in self._taken}
        return [call for call in self.uncounted if call["id"] in ids]

    def finish(self, made: bool) -> None:
        """Drop the replies that are no longer needed, once the ledger line is written.

        Success (`made`) drops all of them, or with in_parts those requested; a failure drops the rejected ones.
        """
        with self._lock:
            self.uncounted = []
            kept = [line for key, line in self._kept.items() if (
                self.in_parts and key not in self._taken if made else line["request"] not in self._useless)]
            left = self._others + kept
            try:
                if not made and len(kept) == len(self._kept):
                    return
                if left:
                    tmp = self.path.with_name("_tmp." + self.path.name)
                    tmp.parent.mkdir(parents=True, exist_ok=True)
                    tmp.write_bytes(b"".join(map(to_line, left)))
                    os.replace(tmp, self.path)
                elif not self._on_disk:
                    pass
                elif self._spare:
                    self._spares.give_back(self._spare, self.path)
                    self._spare = None
                else:
                    self.path.unlink(missing_ok=True)
                for path in self._read_elsewhere:   # comes last: the lines to keep are in self.path by now
                    path.unlink(missing_ok=True)
            except OSError as e:
                raise disk_trouble(e, self.path) from e
            finally:
                if self._spare:   # the file keeps its replies, so it is not reused
                    os.close(self._spare.fd)
                    self._spare = None


def _is_reply(value) -> bool:
    """Return whether a value has the shape of a kept reply, or is the {} of an unusable one."""
    return isinstance(value, dict) and ("text" in value or not value) and all(
        isinstance(part, REPLY.get(key, ())) for key, part in value.items())


class NoCalls:
    """Replace Calls outside an item: nothing is kept, and the caller adds up its costs."""

    item = ""

    def __init__(self):
        self.cuts: list[str] = []
        self.notes: dict = {}

    def take(self, request: str) -> tuple[int, None]:
        """Return attempt 0 and no kept reply."""
        return 0, None

    def has_kept(self, request: str) -> bool:
        """Return False: nothing is kept."""
        return False

    def keep(self, request: str, attempt: int, reply: dict, call: dict) -> None:
        """Ignore the reply."""
        pass

    def useless(self, request: str | None = None) -> None:
        """Ignore the rejection."""
        pass


@dataclass(frozen=True)
class _Spare:
    path: str
    fd: int


class Spares:
    """Reuse empty files in _partial/ by renaming: creating and deleting one costs 0.5 ms per item."""

    def __init__(self):
        self._lock = threading.Lock()
        self._free: dict[Path, list[_Spare]] = {}   # grouped by folder: shards may be on different disks
        self._run, self._n = secrets.token_hex(4), 0

    def take(self, folder: Path) -> _Spare:
        """Return an open spare file of a folder; create one where none is free."""
        with self._lock:
            if free := self._free.get(folder):
                return free.pop()
            self._n += 1
            path = f"{folder}/_tmp.{self._run}.{self._n}"
        os.makedirs(folder, exist_ok=True)
        spare = _Spare(path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666))
        os.write(spare.fd, b"\n")
        return spare

    def give_back(self, spare: _Spare, path: Path) -> None:
        """Rename an item's file back to its spare and empty it."""
        os.rename(path, spare.path)
        os.ftruncate(spare.fd, 1)   # one byte stays: ext4 flushes a file that is emptied
        with self._lock:
            self._free.setdefault(path.parent, []).append(spare)

    def close(self) -> None:
        """Close and delete the free spare files."""
        for spare in itertools.chain.from_iterable(self._free.values()):
            os.close(spare.fd)
            try:
                os.unlink(spare.path)
            except OSError:
                pass
        self._free = {}


@contextmanager
def counting(calls: Calls):
    """Record every chat() that this thread makes within the block in `calls`."""
    token = _current.set(calls)
    try:
        yield calls
    finally:
        _current.reset(token)


def current() -> Calls | NoCalls:
    """Return the current item's Calls, or NoCalls outside an item."""
    return _current.get() or NoCalls()


def spending_directories(root: Path) -> list[Path]:
    """Return the directories under a root whose ledgers list the suite's calls."""
    own = sorted(p for p in Path(root).glob("*") if p.is_dir() and DIRECTORY.fullmatch(p.name))
    within = ("_attempts", *HOW)   # attempts at turns, and variants/<how>/
    return [*own, *(p for d in own for name in within if (p := d / name).is_dir())]


def ledger_calls(directory: Path):
    """Yield (stage, call) for every call in a directory's ledger; sums left by compaction have stage ''."""
    for line in read_lines(Path(directory) / LEDGER):
        stage = line.get("stage")
        yield from ((stage if isinstance(stage, str) else "", call) for call in calls_of(line))


def kept_calls(directory: Path):
    """Yield every call with a reply in a directory's _partial/; the ledger may list it, too."""
    folder = Path(directory) / PARTIAL
    for path in sorted(folder.glob("*.jsonl")) if folder.is_dir() else []:
        yield from (sound_call(line["call"]) for line in read_lines(path) if isinstance(line.get("call"), dict))


class Money:
    """Track spending under a root (USD) against a budget. An unknown cost is None, never 0."""

    def __init__(self, prices: dict, budget_usd: float | None = None):
        self.prices, self.budget_usd = prices, budget_usd
        self.spent_usd = 0.0
        self._lock = threading.Lock()

    def cost(self, model: str, tokens_in, tokens_out, tokens_cached=0) -> float | None:
        """Return a call's cost in USD, or None where the price or a token count is unknown."""
        price = self.prices.get(model)
        if price is None or tokens_in is None or tokens_out is None:
            return None
        cached = min(tokens_cached or 0, tokens_in)
        cached_price = price.input if price.cached is None else price.cached
        return ((tokens_in - cached) * price.input + cached * cached_price + tokens_out * price.output) / 1e6

    def gate(self) -> None:
        """Raise RunStopped where the budget is used up; called before each call."""
        if self.budget_usd is not None and self.spent_usd >= self.budget_usd:
            raise RunStopped(f"the budget of ${self.budget_usd:g} is used up (${self.spent_usd:.4f} spent under this "
                             "root).", todo="Give a larger --budget to go on: what is done is kept.")

    def add(self, call: dict) -> None:
        """Add a call's cost; raise RunStopped where it is unknown and there is a budget."""
        if call["cost_usd"] is not None:
            with self._lock:
                self.spent_usd += call["cost_usd"]
        elif self.budget_usd is not None:
            raise RunStopped(f"model {call['model']} reports no usage, so a budget cannot be kept.",
                             todo="Run without --budget, or use an endpoint that reports usage.")

    def add_up(self, root: Path) -> None:
        """Set spent_usd from all ledgers and kept replies under `root`; raise RunStopped on an unknown cost."""
        total, seen = 0.0, set()   # ids, so that a copied directory is not counted twice
        for directory in spending_directories(root):
            for call in [*(call for _, call in ledger_calls(directory)), *kept_calls(directory)]:
                if not (call.get("id") and call["id"] in seen):
                    seen.add(call.get("id"))
                    total += self._known(call, directory)
        self.spent_usd = total

    def _known(self, call: dict, directory: Path) -> float:
        """Return a call's cost in USD; raise RunStopped where it is unknown."""
        if call.get("cost_usd") is None and call["model"] in self.prices and call.get("tokens_in") is None:
            raise RunStopped(f"has calls to {call['model']!r} for which the endpoint reported no usage, so a budget "
                             "cannot be kept.", str(directory), "Run without --budget.", exit_code=2)
        cost = call.get("cost_usd")
        if cost is None:
            cost = self.cost(call["model"], call.get("tokens_in"), call.get("tokens_out"), call.get("tokens_cached"))
        if cost is None:
            raise RunStopped(f"has calls to {call['model']!r} whose cost is not known, so a budget cannot be kept.",
                             str(directory), PRICE_LINE.format(model=call["model"]), exit_code=2)
        return cost
