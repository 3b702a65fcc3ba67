"""Write final/, refined/ and defeat/: a copy of each judged turn, in the one bucket of its score.

The duel does not read these copies. A turn whose score changed is moved, a turn that is no longer
judged is removed, and a copy that is up to date is not touched. A copy that a user edited or added
is saved to _replaced/ before it is overwritten or removed. A turn's copy in another bucket is
removed before its new one is written: a kill in between leaves it in no bucket, never in two.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from heapq import nlargest
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from codedata.checks.injection import find_injections
from codedata.conversation.turn import plain, turn_text
from codedata.disk.store import Store, digests_of, known, known_in, remove_half_written
from codedata.errors import BrokenRecord
from codedata.records import BUCKETS, Answer, Commit, Defeat, Final, Finding, Refined, Sample
from codedata.settings import ReportSettings
from codedata.terminal import say
from codedata.texts import without_middle

MAX_PAIR_CHARS = 6_000     # limit for each text of a best pair
CUT = "{n} characters left out"
MAX_FINDING_CHARS = 300   # limit for the stored text of a finding
MAX_PARALLEL = 8          # copies written at a time
MAX_PENDING = 16          # copies held at a time
MAX_LISTED = 10_000       # items of a kind that a report shows one by one
WON = "defeat (won)"      # label of the turns in defeat/ that the challenger won, but not clearly


def bucket_of(score: float, settings: ReportSettings, is_flagged: bool) -> str:
    """Return the directory of the bucket. A flagged turn goes to refined/ instead of final/."""
    if score < settings.defeat_min:
        return Defeat.directory
    cls = Final if score >= settings.final_min and not is_flagged else Refined
    return cls.directory


def score_ranges(settings: ReportSettings) -> dict[str, str]:
    """Return each bucket's range of scores as text; here, won turns of defeat/ are a bucket."""
    low, high = settings.defeat_min, settings.final_min
    return {"final": f"{high:g} and more", "refined": f"{low:g} up to {high:g}",
            WON: f"below {low:g}, won all the same", "defeat": f"below {low:g}"}


def injections(answer: Answer) -> list[Finding]:
    """Return the passages of both answers that address the judge, as {side, kind, text}."""
    history = "\n".join(message["content"] for message in plain(answer.messages))
    return [{"side": side, "kind": one.kind, "text": one.text[:MAX_FINDING_CHARS]}
            for side in ("king", "challenger")
            for one in find_injections(turn_text(getattr(answer, side)), history)]


class BestPair(NamedTuple):
    """Hold a pair that the challenger won, as texts to show; all but `name` are untrusted."""

    name: str    # the turn's
    task: str    # the issue; the instance's id if it has no PR record
    king: str    # its answer
    challenger: str
    why: str     # score and bucket, and a judge's words if there are some


def best_pairs(root: Path, mode: str = "king") -> list[BestPair]:
    """Return up to three pairs of final/ and refined/ that the challenger won most clearly, the
    best first. Return [] unless `mode` is "king". Cut long texts.

    Skip unreadable copies, and pairs that leak the solution or speak to a judge, since no training
    set takes these.
    """
    stores = [Store(root, cls).open() for cls in (Final, Refined)]
    won = ((name, one) for store in stores for name in store.names()
           if (one := known(store, name)) and not one.injections and not one.leaks)
    best = nlargest(3, won if mode == "king" else (), key=lambda named: named[1].score)
    return [BestPair(name, *(without_middle(text, MAX_PAIR_CHARS, CUT) for text in (
        getattr(known_in(root, Commit, one.instance_id), "issue", one.instance_id),
        turn_text(one.king, one.messages), turn_text(one.challenger, one.messages),
        " ".join([f"Score {one.score:g}, {one.directory}.",
                  *(f"Judge {by['judge']}: {by['reason']}" for by in one.reasons[:1])]))))
        for name, one in best]


@dataclass
class Moves:
    """Count the changes of one update of the buckets."""

    # keys: "written", "unchanged" and "removed"
    counts: Counter = field(default_factory=Counter)
    set_aside: list[str] = field(default_factory=list)  # edited copies, now in _replaced/


def update_buckets(root: Path, copies: Iterator[tuple[str, str, Sample]]) -> Moves:
    """Make the buckets hold these copies, (turn name, directory, record), and no others.

    Print files that are not records.
    """
    remove_half_written([root / cls.directory for cls in BUCKETS])
    stores = {cls.directory: Store(root, cls).open() for cls in BUCKETS}
    moves, wanted = Moves(), set()
    for store in stores.values():
        for e in store.broken:
            say(f"report.py: {e}")

    def leave(store: Store, name: str) -> None:
        _remove(store, name, moves)
        store.note(name, stage="report", state="pruned")
        moves.counts["removed"] += 1

    def bring(copy: tuple[str, str, Sample]) -> str:
        name, bucket, record = copy
        store = stores[bucket]
        if _is_there(store, name, record):
            if not store.as_left(name):   # a run was killed before its ledger line
                store.note(name, stage="report", state="adopted", **store.facts(name).line())
            return "unchanged"
        if name in store:
            _remove(store, name, moves)
        state = store.put(name, record, owned=tuple(vars(record)))
        store.note(name, stage="report", state="done", **state.line())
        return "written"

    with ThreadPoolExecutor(MAX_PARALLEL) as pool:   # each write waits for the disk
        while batch := [*islice(copies, MAX_PENDING)]:
            wanted.update(name for name, _, _ in batch)
            elsewhere = [(store, name) for name, bucket, _ in batch
                         for directory, store in stores.items()
                         if directory != bucket and name in store]
            for store, name in elsewhere:
                leave(store, name)
            moves.counts.update(pool.map(bring, batch))
    for store in stores.values():
        for name in store.names():
            if name not in wanted:
                leave(store, name)
    return moves


def _is_there(store: Store, name: str, record: Sample) -> bool:
    try:
        return name in store and store.facts(name).digests == digests_of(record)
    except BrokenRecord:
        return False


def _remove(store: Store, name: str, moves: Moves) -> None:
    """Remove a copy. First set it aside if a user edited or added it."""
    if not store.as_left(name):
        moves.set_aside.append("/".join(store.set_aside(name).parts[-3:]))
    store.remove(name)
