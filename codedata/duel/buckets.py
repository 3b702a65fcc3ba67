"""final/, refined/, defeat/: copies of the judged turns, each in the one bucket of its score.

Nothing is read back from here. A turn whose score changed moves, one that is not judged any more leaves, what is as it
should be is not touched. A copy that a person edited, or put there, goes to _replaced/ before it is written over or
removed. Taking away comes before putting there: a kill in between leaves a turn in no bucket, never in two.
"""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

from codedata.checks.injection import find_injections
from codedata.config import ReportSettings
from codedata.duel.judges import Panel
from codedata.errors import BrokenRecord
from codedata.ledger import Known
from codedata.records import Answer, Defeat, Final, Refined, Sample, Score
from codedata.store import Store, digests_of, remove_half_written

BUCKETS = (Final, Refined, Defeat)
LONGEST = 300   # characters of a finding that are kept
AT_ONCE = 8   # files written at the same time: each waits for the disk


def bucket_of(score: float, own: ReportSettings, is_flagged: bool = False):
    """Final, Refined or Defeat. A flagged turn is not final: it may be refined."""
    if score < own.defeat_min:
        return Defeat
    return Final if score >= own.final_min and (own.keep_flagged or not is_flagged) else Refined


def injections(answer: Answer) -> list[dict]:
    """What speaks to a judge in either answer: {side, kind, text}."""
    shown = "\n".join(m["content"] for m in answer.messages)
    return [{"side": side, "kind": one.kind, "text": one.text[:LONGEST]} for side in ("king", "challenger")
            for one in find_injections(getattr(answer, side) or "", shown)]


def copy_of(answer: Answer, score: Score, cls, panel: Panel, findings: list[dict], leaks: list[dict] | None):
    """A turn as it stands in a bucket, with the reasons of the judges that count."""
    reasons = [{key: entry[key] for key in ("judge", "order", "reason")} for entry in score.judges
               if entry.get("reason") and entry["judge"] in panel.names and entry["order"] in panel.orders]
    return cls(answer.instance_id, answer.messages, answer.assistant, answer.king, answer.challenger, score.score,
               score.metrics, reasons, findings, leaks)


@dataclass
class Moves:
    """What bringing the buckets up to date came to."""

    written: int = 0
    unchanged: int = 0
    left: int = 0                   # taken away: moved to another bucket, or not judged any more
    set_aside: tuple[str, ...] = ()   # copies that a person had edited or put there, now in _replaced/


class Buckets:
    """The three directories under a root. remove() first, then put() each turn, then close()."""

    def __init__(self, root: Path):
        self.moves = Moves()
        remove_half_written([root / cls.directory for cls in BUCKETS])
        self._stores = {cls: Store(root, cls).open() for cls in BUCKETS}
        self.broken = [e for store in self._stores.values() for e in store.broken]
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._under_way: list = []

    def remove(self, wanted: dict[str, type]) -> None:
        """Take away every file that is not in the bucket that `wanted` names for it."""
        for cls, store in self._stores.items():
            for name in store.names():
                if wanted.get(name) is not cls:
                    self._keep_edits(store, name)
                    store.remove(name)
                    store.note(name, stage="report", state="pruned")
                    self.moves.left += 1

    def put(self, name: str, record: Sample) -> None:
        """Write a turn's copy unless it is there as it should be."""
        store = self._stores[type(record)]
        if _is_there(store, name, record):
            if not store.as_left(name):   # killed before its ledger line: from here on it is known
                self._note(store, name, store.facts(name), "adopted")
            self.moves.unchanged += 1
            return
        self.moves.written += 1
        self._under_way.append(self._pool.submit(self._write, store, name, record))
        if len(self._under_way) >= 50 * AT_ONCE:   # of what is read only so much is held
            self._settle()

    def close(self) -> None:
        self._settle()
        self._pool.shutdown()

    def _settle(self) -> None:
        for future in self._under_way:
            future.result()
        self._under_way.clear()

    def _write(self, store: Store, name: str, record) -> None:
        if name in store:
            self._keep_edits(store, name)
            store.remove(name)
        known, _ = store.put(name, record, own=tuple(f.name for f in fields(record)))
        self._note(store, name, known, "done")

    def _note(self, store: Store, name: str, known: Known, state: str) -> None:
        store.note(name, stage="report", state=state, instance_id=known.instance_id, wrote=known.digests,
                   size=known.size, mtime_ns=known.mtime_ns)

    def _keep_edits(self, store: Store, name: str) -> None:
        if not store.as_left(name):
            copy = store.set_aside(name)
            self.moves.set_aside += (f"{copy.parent.parent.name}/{copy.parent.name}/{copy.name}",)


def _is_there(store: Store, name: str, record) -> bool:
    try:
        return name in store and store.facts(name).digests == digests_of(record)
    except BrokenRecord:
        return False
