"""Write final/, refined/ and defeat/: a copy of each judged turn, in the one bucket of its score.

The duel takes no data from these copies. A turn whose score changed is moved, a turn that is no
longer judged is removed, and a copy that is up to date is not touched. A copy that a person edited
or added is saved to _replaced/ before it is overwritten or removed. Copies are removed before
others are written: a kill in between leaves a turn in no bucket, never in two.
"""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

from codedata.checks.injection import find_injections
from codedata.duel.panel import Panel
from codedata.errors import BrokenRecord
from codedata.ledger import FileState
from codedata.records import Answer, Defeat, Final, Refined, Sample, Score
from codedata.settings import ReportSettings
from codedata.store import Store, digests_of, remove_half_written

BUCKETS = (Final, Refined, Defeat)
LONGEST = 300   # the most characters of a finding's text that are stored
AT_ONCE = 8   # files that are written in parallel, as each write waits for the disk


def bucket_of(score: float, own: ReportSettings, is_flagged: bool = False):
    """Return the record class of the bucket: Final, Refined or Defeat.

    A flagged turn is Refined instead of Final, unless [report] keep_flagged is set.
    """
    if score < own.defeat_min:
        return Defeat
    return Final if score >= own.final_min and (own.keep_flagged or not is_flagged) else Refined


def injections(answer: Answer) -> list[dict]:
    """Return the passages of both answers that address the judge: [{side, kind, text}]."""
    shown = "\n".join(m["content"] for m in answer.messages)
    return [{"side": side, "kind": one.kind, "text": one.text[:LONGEST]} for side in ("king", "challenger")
            for one in find_injections(getattr(answer, side) or "", shown)]


def copy_of(answer: Answer, score: Score, cls, panel: Panel, findings: list[dict], leaks: list[dict] | None):
    """Return the bucket's record of a turn, a `cls`, with the reasons of the panel's judges."""
    reasons = [{key: entry[key] for key in ("judge", "order", "reason")} for entry in score.judges
               if entry.get("reason") and entry["judge"] in panel.names and entry["order"] in panel.orders]
    return cls(answer.instance_id, answer.messages, answer.assistant, answer.king, answer.challenger, score.score,
               score.metrics, reasons, findings, leaks)


@dataclass
class Moves:
    """Count the changes of one update of the buckets."""

    written: int = 0
    unchanged: int = 0
    left: int = 0                   # removed: moved to another bucket, or no longer judged
    set_aside: tuple[str, ...] = ()   # edited or added by a person, now in _replaced/


class Buckets:
    """Update the buckets under a root: call remove(), then put() for each turn, then close()."""

    def __init__(self, root: Path):
        self.moves = Moves()
        remove_half_written([root / cls.directory for cls in BUCKETS])
        self._stores = {cls: Store(root, cls).open() for cls in BUCKETS}
        self.broken = [e for store in self._stores.values() for e in store.broken]
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._under_way: list = []

    def remove(self, wanted: dict[str, type]) -> None:
        """Remove every file that `wanted`, {turn name: class}, puts elsewhere or nowhere."""
        for cls, store in self._stores.items():
            for name in store.names():
                if wanted.get(name) is not cls:
                    self._keep_edits(store, name)
                    store.remove(name)
                    store.note(name, stage="report", state="pruned")
                    self.moves.left += 1

    def put(self, name: str, record: Sample) -> None:
        """Write the copy of a turn, in the background, unless it is up to date."""
        store = self._stores[type(record)]
        if _is_there(store, name, record):
            if not store.as_left(name):   # a run was killed before its ledger line
                self._note(store, name, store.facts(name), "adopted")
            self.moves.unchanged += 1
            return
        self.moves.written += 1
        self._under_way.append(self._pool.submit(self._write, store, name, record))
        if len(self._under_way) >= 50 * AT_ONCE:   # limit the records that are held in memory
            self._settle()

    def close(self) -> None:
        """Wait until all copies are written."""
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
        known, _ = store.put(name, record, owned=tuple(f.name for f in fields(record)))
        self._note(store, name, known, "done")

    def _note(self, store: Store, name: str, known: FileState, state: str) -> None:
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
