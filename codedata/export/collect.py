"""Collect the judged turns that may be exported.

They are read, checked and masked once, and kept in a temporary file. All formats make their rows
from that file, so an edit during a run is in none of them. ExportTurns that no format may have are left
out here: outdated copies, benchmarks, licences that are not allowed. similar.py finds
near-duplicates later.
"""
from __future__ import annotations

import re
import tempfile
from collections import Counter
from dataclasses import dataclass, fields
from functools import lru_cache

import orjson

from codedata.checks.contamination import Benchmarks, of_turn
from codedata.checks.secrets import mask
from codedata.errors import BrokenRecord
from codedata.ledger import disk_trouble, to_line
from codedata.progress import Bar, RunTotals, say
from codedata.records import UNJUDGED, Answer, Commit, Defeat, Final, Refined, Sample, Score
from codedata.settings import ExportSettings, Settings
from codedata.store import Store, digest, digests_of
from codedata.texts import natural

BUCKETS = (Final, Refined, Defeat)
SIDES = ("king", "challenger")
FINDING, LEAK = ("side", "kind", "text"), ("judge", "kind", "text", "why")
UNKNOWN = "unknown"                                     # a licence or language that is not recorded
COPIED = {Answer: ("messages", "assistant", *SIDES), Score: ("score", "metrics")}   # copied by report.py
RECKONED = (Score,)                                     # may be recomputed for another panel
INSTANCE = re.compile(r"(.+)__(.+)-\d+")                # owner__name-number
CACHED_TEXTS = 4096                                     # texts; turns of a trajectory repeat them


@dataclass(frozen=True)
class ExportTurn:
    """Describe a turn that may be exported. ExportTurns.texts() reads its texts."""

    name: str
    bucket: str
    instance_id: str
    repo: str
    language: str
    licence: str
    score: float
    winner: str             # "challenger", "king", or "" where nobody clearly won
    digest: str             # digest of its record in final/, refined/ or defeat/
    commit: str             # digest of its PR record; "" where it is missing
    flags: tuple[tuple[str, str], ...]  # (reason, detail): why no trainer may see it
    masked: dict[str, int]  # how many secrets of each kind were masked in it
    at: int                 # offset of its texts in the temporary file


class LeftOutLog:
    """Record the turns that are not exported, with the reason, from all formats or from some."""

    def __init__(self):
        # (name, reason, detail) → formats; no format means all of them
        self._formats: dict[tuple[str, str, str], dict[str, None]] = {}

    def add(self, name: str, reason: str, detail: str = "", format: str = "") -> None:
        """Record a turn as left out of one format, or of all."""
        self._formats.setdefault((name, reason, detail), {}).update({format: None} if format else {})

    def counts(self, format: str = "") -> Counter:
        """Return {reason: number of turns} for one format, or for all together."""
        return Counter(reason for _, reason in {(name, reason) for (name, reason, _), formats in self._formats.items()
                                                if not (format and formats) or format in formats})

    def lines(self) -> bytes:
        """Return left_out.jsonl: {name, reason, detail}, and `formats` unless it is all."""
        entries = sorted(self._formats.items(), key=lambda entry: natural(entry[0][0]))
        return b"".join(to_line({"name": name, "reason": reason, "detail": detail,
                                 **({"formats": list(formats)} if formats else {})})
                        for (name, reason, detail), formats in entries)


@dataclass(frozen=True)
class _Origin:
    """Hold what the PR record says about a turn."""

    repo: str
    language: str
    licence: str
    base_commit: str
    digest: str
    texts: dict[str, str]   # the texts that are compared with benchmarks


class ExportTurns:
    """Hold the turns of a root in natural order; collect() reads them, texts() one's texts."""

    def __init__(self, settings: Settings):
        self.settings, self.own = settings, settings.export
        self.turns: list[ExportTurn] = []
        self.left_out, self.edited, self.n_broken = LeftOutLog(), [], 0
        self.in_bucket = Counter({cls.directory: 0 for cls in BUCKETS})
        self._allowed = {licence.lower() for licence in self.own.licences}
        self._benchmarks = Benchmarks.load(self.own.decontaminate) if self.own.decontaminate else None
        self._stores = {cls: Store(settings.root, cls).open() for cls in (*BUCKETS, Commit, Answer, Score)}
        into = settings.root / "export"   # that disk has room for the exports
        self._file = tempfile.TemporaryFile(dir=into if into.is_dir() else None)
        self._mask, self._origin = lru_cache(CACHED_TEXTS)(mask), lru_cache(CACHED_TEXTS)(self._read_origin)

    def collect(self, quiet: bool = False) -> ExportTurns:
        """Read every bucket, and return self. Broken records are reported and left out."""
        seen: dict[str, str] = {}
        bar, progress = Bar("export", sum(len(self._stores[cls].names()) for cls in BUCKETS), quiet), RunTotals()
        for store in self._stores.values():
            for e in store.broken:
                self._tell(e)
        for cls in BUCKETS:
            for name in self._stores[cls].names():
                if name in seen:
                    self.left_out.add(name, "in two buckets", f"{seen[name]}/ and {cls.directory}/")
                    continue
                seen[name] = cls.directory
                self.in_bucket[cls.directory] += 1
                try:
                    self._take(name, cls)
                except BrokenRecord as e:
                    self._tell(e)
                    self.left_out.add(name, "broken record", e.what)
                progress.wrote += 1
                bar.update(progress, 0)
        bar.close()
        self.turns.sort(key=lambda turn: natural(turn.name))
        return self

    def texts(self, turn: ExportTurn) -> dict:
        """Return all fields of a turn's record, with secrets masked."""
        self._file.seek(turn.at)
        return orjson.loads(self._file.readline())

    def keep(self, names: set[str]) -> None:
        """Drop all turns but those with these names."""
        self.turns = [turn for turn in self.turns if turn.name in names]

    def _take(self, name: str, cls) -> None:
        record = self._stores[cls].read(name)
        if record.instance_id in self.settings.exclude.ids:
            self.left_out.add(name, "[exclude] ids", record.instance_id)
            return
        if problem := self._outdated(name, record):
            self.left_out.add(name, "not up to date", problem)
            return
        origin = self._origin(record.instance_id)
        if self._allowed and origin.licence.lower() not in self._allowed:
            self.left_out.add(name, "licence", origin.licence)
            return
        if hits := self._hits(record, origin):
            for hit in hits:
                self.left_out.add(name, "in a benchmark", str(hit))
            return
        texts, masked = self._masked(record)
        self.turns.append(ExportTurn(
            name, cls.directory, record.instance_id, origin.repo, origin.language, origin.licence, float(record.score),
            winner(record.score, cls.directory, self.own), _digest(record), origin.digest,
            _flags(record), masked,
            self._put(texts)))

    def _put(self, texts: dict) -> int:
        """Append texts to the temporary file, and return their offset in bytes."""
        try:
            at = self._file.seek(0, 2)
            self._file.write(orjson.dumps(texts, option=orjson.OPT_APPEND_NEWLINE))
            self._file.flush()
        except OSError as e:
            raise disk_trouble(e, "a temporary file") from e
        return at

    def _outdated(self, name: str, record: Sample) -> str:
        """Return why an unedited copy is not what report.py would write now, or "" where it is.

        An edited record, or one without answer/ and score/, is intended as it is and gives "".
        """
        copies = self._stores[type(record)]
        known, digests = copies.ledger.known.get(name), digests_of(record)
        if known is None or known.digests != digests:
            self.edited += [name] if known else []
            return ""
        for cls, copied in COPIED.items():
            store = self._stores[cls]
            if name not in store and not store.names():
                continue
            if name not in store:
                return f"{cls.directory}/{name}.json is gone"
            facts = store.facts(name)
            differs = any(facts.digests.get(field) != digests.get(field) for field in copied)
            if differs and (cls not in RECKONED or facts.mtime_ns > copies.facts(name).mtime_ns):
                return f"{cls.directory}/{name}.json was changed since report.py"
        return ""

    def _read_origin(self, instance_id: str) -> _Origin:
        """Read the PR record of an instance. It is cached, as several turns share an instance."""
        if instance_id not in self._stores[Commit]:
            return _Origin(repo_of(instance_id), UNKNOWN, UNKNOWN, "", "", {})
        commit = self._stores[Commit].read(instance_id)
        return _Origin(commit.repo or repo_of(instance_id), commit.language or UNKNOWN,
                       (commit.licence or "").strip() or UNKNOWN, commit.base_commit, _digest(commit),
                       {"issue": commit.issue, "patch": commit.patch, "test_patch": commit.test_patch})

    def _hits(self, record: Sample, origin: _Origin) -> list:
        if not self._benchmarks:
            return []
        answers = {side: getattr(record, side) or "" for side in SIDES}
        return self._benchmarks.hits(of_turn(record, origin.repo, origin.base_commit, **origin.texts, **answers))

    def _masked(self, record: Sample) -> tuple[dict, dict[str, int]]:
        """Return the fields of a record with secrets masked, and the number of secrets by kind."""
        found: Counter[str] = Counter()

        def masked(text: str | None) -> str | None:
            if not text:
                return text
            text, kinds = self._mask(text)
            found.update(kinds)
            return text

        texts = {field.name: getattr(record, field.name) for field in fields(record)}
        texts["messages"] = [{"role": m["role"], "content": masked(m["content"])} for m in record.messages]
        texts["reasons"] = [{**reason, "reason": masked(reason["reason"])} for reason in record.reasons]
        texts["injections"] = [{key: masked(str(one.get(key, ""))) for key in FINDING} for one in record.injections]
        texts["leaks"] = None if record.leaks is None else [
            {key: masked(str(one.get(key, ""))) for key in LEAK} for one in record.leaks]
        for field in ("assistant", *SIDES):
            texts[field] = masked(texts[field])
        return texts, dict(sorted(found.items()))

    def _tell(self, e: BrokenRecord) -> None:
        say(f"export.py: {e}")
        self.n_broken += 1


def _flags(record: Sample) -> tuple[tuple[str, str], ...]:
    """Return (reason, detail) for each reason not to train on the turn, whatever its score."""
    spoken = "; ".join(f"{one.get('side')}, {one.get('kind')}: {one.get('text')}" for one in record.injections)
    leaks = [one for one in record.leaks or () if one.get("kind") != UNJUDGED]
    shown = "; ".join(f"{one.get('kind')}: {one.get('text')} ({one.get('why')})" for one in leaks)
    return (*([("speaks to its judge", spoken)] if record.injections else []),
            *([("shows what it cannot know", shown)] if leaks else []),
            *([("no leak verdict", "run validate.py")] if len(record.leaks or ()) > len(leaks) else []))


def winner(score: float, bucket: str, own: ExportSettings) -> str:
    """Return "challenger" or "king", whichever leads by dpo_min_margin, or else "".

    In final/ the challenger wins with any lead. A score runs from 0 to 100, and 50 is a draw.
    """
    lead = score - 50
    if lead > 0 and (bucket == Final.directory or lead >= own.dpo_min_margin):
        return "challenger"
    return "king" if lead < 0 and -lead >= own.dpo_min_margin else ""


def repo_of(instance_id: str) -> str:
    """Return owner/name for the id owner__name-17; an id of another form is returned as it is."""
    found = INSTANCE.fullmatch(instance_id)
    return f"{found[1]}/{found[2]}" if found else instance_id


def _digest(record) -> str:
    """Return the digest of all fields, by which the manifest identifies a record."""
    return digest({field.name: getattr(record, field.name) for field in fields(record)})
