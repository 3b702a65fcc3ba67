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
from codedata.config import ReportSettings
from codedata.duel.panel import Panel
from codedata.errors import BrokenRecord
from codedata.ledger import FileState
from codedata.records import BUCKETS, Answer, Defeat, Final, Finding, Refined, Sample, Score
from codedata.store import Store, digests_of, remove_half_written

MAX_FINDING_CHARS = 300   # of a finding's text, as it is stored
MAX_PARALLEL = 8          # files that are written at a time, as each write waits for the disk
MAX_PENDING = 50 * MAX_PARALLEL   # limits the records that are held in memory


def bucket_of(score: float, settings: ReportSettings, is_flagged: bool = False) -> type[Sample]:
    """Return the record class of the bucket: Final, Refined or Defeat.

    A flagged turn is Refined instead of Final, unless [report] keep_flagged is set.
    """
    if score < settings.defeat_min:
        return Defeat
    may_be_final = settings.keep_flagged or not is_flagged
    return Final if score >= settings.final_min and may_be_final else Refined


def score_ranges(settings: ReportSettings) -> dict[str, str]:
    """Return the scores of each bucket directory as text."""
    low, high = settings.defeat_min, settings.final_min
    ranges = (f"{high:g} and more", f"{low:g} up to {high:g}", f"below {low:g}")
    return {cls.directory: text for cls, text in zip(BUCKETS, ranges, strict=True)}


def injections(answer: Answer) -> list[Finding]:
    """Return the passages of both answers that address the judge, as {side, kind, text}."""
    history = "\n".join(message["content"] for message in answer.messages)
    return [{"side": side, "kind": one.kind, "text": one.text[:MAX_FINDING_CHARS]}
            for side in ("king", "challenger")
            for one in find_injections(getattr(answer, side) or "", history)]


def copy_of(answer: Answer, score: Score, cls: type[Sample], panel: Panel,
            findings: list[Finding], leaks: list[Finding] | None) -> Sample:
    """Return the bucket's record of a turn, a `cls`, with the reasons of the panel's judges."""
    reasons = [{key: entry[key] for key in ("judge", "order", "reason")} for entry in score.judges
               if entry.get("reason") and entry["judge"] in panel.names
               and entry["order"] in panel.orders]
    return cls(**vars(answer), score=score.score, metrics=score.metrics, reasons=reasons,
               injections=findings, leaks=leaks)


@dataclass
class Moves:
    """Count the changes of one update of the buckets."""

    written: int = 0
    unchanged: int = 0
    left: int = 0                     # removed: moved to another bucket, or no longer judged
    set_aside: tuple[str, ...] = ()   # edited or added by a person, now in _replaced/


class Buckets:
    """Update the buckets under a root: call remove(), then put() for each turn, then close()."""

    def __init__(self, root: Path):
        self.moves = Moves()
        remove_half_written([root / cls.directory for cls in BUCKETS])
        self._stores = {cls: Store(root, cls).open() for cls in BUCKETS}
        self.broken = [e for store in self._stores.values() for e in store.broken]
        self._pool = ThreadPoolExecutor(MAX_PARALLEL)
        self._pending: list = []

    def remove(self, wanted: dict[str, type[Sample]]) -> None:
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
        self._pending.append(self._pool.submit(self._write, store, name, record))
        if len(self._pending) >= MAX_PENDING:
            self._settle()

    def close(self) -> None:
        """Wait until all copies are written."""
        self._settle()
        self._pool.shutdown()

    def _settle(self) -> None:
        for future in self._pending:
            future.result()
        self._pending.clear()

    def _write(self, store: Store, name: str, record: Sample) -> None:
        if name in store:
            self._keep_edits(store, name)
            store.remove(name)
        known, _ = store.put(name, record, own=tuple(field.name for field in fields(record)))
        self._note(store, name, known, "done")

    def _note(self, store: Store, name: str, known: FileState, state: str) -> None:
        store.note(name, stage="report", state=state, instance_id=known.instance_id,
                   wrote=known.digests, size=known.size, mtime_ns=known.mtime_ns)

    def _keep_edits(self, store: Store, name: str) -> None:
        if not store.as_left(name):
            copy = store.set_aside(name)
            self.moves.set_aside += ("/".join(copy.parts[-3:]),)


def _is_there(store: Store, name: str, record: Sample) -> bool:
    try:
        return name in store and store.facts(name).digests == digests_of(record)
    except BrokenRecord:
        return False
