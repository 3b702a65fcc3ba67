"""Collect the judged turns that may be exported, and log those left out.

Each turn is read, checked and masked once, and written to a temporary file. All formats make their
rows from this file, so an edit during a run changes no export. Excluded ids, outdated copies, turns
of benchmarks, and turns with a licence that is not allowed are left out of all formats, and so are
near-duplicates: turns with both a similar history and a similar answer. So neighbouring turns of
one trajectory, which share their history, are not duplicates, nor are equal commands at the end of
different tasks. System messages are not compared, nor lines that the first messages of many tasks
share, which come from the harness.
"""
from __future__ import annotations

import itertools
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import orjson

from codedata.checks.contamination import Benchmarks, Material, of_turn
from codedata.checks.duplicates import near_duplicates, words
from codedata.checks.secrets import mask
from codedata.conversation.tool_calls import parts_of
from codedata.conversation.turn import COMMAND, form_of, has_several_calls, plain, turn_text
from codedata.disk.ledger import disk_trouble, to_line
from codedata.disk.store import Store, digest, digests_of, values_of
from codedata.errors import BrokenRecord, Excluded
from codedata.messages import REASONING, content_text
from codedata.records import BUCKETS, UNJUDGED, Answer, Commit, Final, Message, Sample, Score
from codedata.run.talk import Bar, RunTotals
from codedata.settings import ExportSettings
from codedata.terminal import say
from codedata.texts import natural

SIDES = ("king", "challenger")
REFERENCE_AND_SIDES = ("assistant", *SIDES)
# {field of a record, a list of objects: the keys of each object that are exported}
ENTRIES = {"reasons": ("judge", "order", "reason"), "injections": ("side", "kind", "text"),
           "leaks": ("judge", "kind", "text", "why")}
UNKNOWN = "unknown"          # a licence or language that is not recorded
Problem = tuple[str, str]    # (reason, detail)
COPIED = {Answer: ("messages", "tools", *REFERENCE_AND_SIDES),   # fields that report.py copies
          Score: ("score", "metrics")}
INSTANCE = re.compile(r"(.+)__(.+)-\d+")   # owner__name-number
SHARED_BY = 10    # a line is the harness's if one task in 10 has it in its first message
MIN_TASKS = 3     # minimum number of tasks that share a line of the harness
CACHED_TEXTS = 4096          # size of caches: turns of a trajectory repeat texts


@dataclass(frozen=True, eq=False)   # equal only to itself: it is a key of Counters
class ExportTurn:
    """Describe a turn that may be exported. ExportTurns.record() reads its texts."""

    name: str
    bucket: str
    instance_id: str
    repo: str
    language: str
    licence: str
    score: float
    winner: str             # "challenger", "king", or "" without a clear winner
    digest: str             # digest of its record in final/, refined/ or defeat/
    commit: str             # digest of its PR record; "" if it is missing
    has_calls: bool         # whether its answers are exported as tool calls
    has_several: bool       # whether a side has several calls
    flag: Problem | None    # the reason not to train on it
    masked: dict[str, int]  # how many secrets of each kind were masked in it
    at: int                 # offset of its record in the temporary file
    n_picks: int | None     # number of the chooser's picks; None: no choice
    rejected: str = ""      # digest of the failed trajectory in its pair
    calls: tuple[int, ...] = ()   # indices of a whole trajectory's messages with one call
    spare: tuple[str, ...] = ()   # why only `attempts` takes a whole trajectory


def masked_in(found: Iterable) -> Counter:
    """Return the number of masked secrets by kind, in all of these turns or tasks."""
    return sum((Counter(one.masked) for one in found), Counter())


class LeftOutLog:
    """Record the turns and tasks left out of some or all formats, each with the reason."""

    def __init__(self):
        # {(name, reason, detail): formats}; "" means all formats
        self._formats = defaultdict(list)

    def add(self, name: str, reason: str, detail: str = "", format: str = "") -> None:
        """Record a turn as left out of one format, or of all."""
        self._formats[name, reason, detail].append(format)

    def counts(self, *wanted: str) -> Counter:
        """Return {reason: number of turns} of the entries for these formats ("": for all formats),
        or of all entries."""
        entries = {(name, reason): None for (name, reason, _), formats in self._formats.items()
                   if not wanted or {*wanted}.intersection(formats)}
        return Counter(reason for _, reason in entries)

    def lines(self) -> bytes:
        """Return left_out.jsonl: {name, reason, detail}, and `formats` unless it is all."""
        lines = []
        for key, formats in sorted(self._formats.items(), key=lambda entry: natural(entry[0][0])):
            line = dict(zip(("name", "reason", "detail"), key, strict=True))
            if "" not in formats:
                line["formats"] = list(dict.fromkeys(formats))
            lines.append(to_line(line))
        return b"".join(lines)


class ExportRules:
    """Hold the rules that leave turns and tasks out of all formats: ids, licences, benchmarks."""

    def __init__(self, excluded_ids: Iterable[str], licences: Iterable[str],
                 benchmarks: Sequence[str]):
        self._excluded_ids = excluded_ids
        self._allowed = {licence.lower() for licence in licences}
        self._benchmarks = Benchmarks.load(benchmarks) if benchmarks else None

    def excludes(self, instance_id: str) -> bool:
        """Return whether [exclude] names an instance."""
        return instance_id in self._excluded_ids

    def against(self, licence: str, material: Callable[[], Material]) -> list[Problem]:
        """Return the problems that the first failing rule finds: a licence, or benchmark hits."""
        named = licence.lower()
        is_allowed = named in self._allowed or self._allowed.issuperset(named.split(" or "))
        if self._allowed and not is_allowed:
            return [("licence", licence)]
        hits = self._benchmarks.hits(material()) if self._benchmarks else []
        return [("in a benchmark", str(hit)) for hit in hits]


class ExportTurns:
    """Hold the turns of a root in natural order. collect() finds the turns; record() reads a
    turn's texts."""

    def __init__(self, root: Path, settings: ExportSettings, rules: ExportRules,
                 left_out: LeftOutLog):
        self.settings, self.left_out = settings, left_out
        self.turns: list[ExportTurn] = []
        self.edited = []   # names of copies that a user edited
        self.n_broken = 0
        self.in_bucket = Counter({cls.directory: 0 for cls in BUCKETS})
        self._rules = rules
        self._stores = {cls: Store(root, cls).open() for cls in (*BUCKETS, Commit, Answer, Score)}
        place = root / "export"   # the disk of export/ has room for the exports
        self._file = tempfile.TemporaryFile(dir=place if place.is_dir() else None)
        self._mask = lru_cache(CACHED_TEXTS)(mask)
        self.pr = lru_cache(CACHED_TEXTS)(self._read_pr)   # several turns share a PR

    def collect(self, quiet: bool) -> ExportTurns:
        """Read every bucket, and return self. Broken records are reported and left out."""
        seen = {}   # {name of a turn: its bucket}
        progress = RunTotals()
        bar = Bar("export", sum(len(self._stores[cls].names()) for cls in BUCKETS), quiet)
        for store in self._stores.values():
            for e in store.broken:
                self._report_broken(e)
        for cls in BUCKETS:
            for name in self._stores[cls].names():
                if seen.setdefault(name, cls.directory) != cls.directory:
                    detail = f"{seen[name]}/ and {cls.directory}/"
                    self.left_out.add(name, "in two buckets", detail)
                    continue
                self.in_bucket[cls.directory] += 1
                self.take(name, partial(self._stores[cls].read, name))
                progress.wrote += 1
                bar.update(progress, 0)
        bar.close()
        self.turns.sort(key=lambda turn: natural(turn.name))
        return self

    def record(self, turn: ExportTurn) -> Sample:
        """Return a turn's record, with secrets masked."""
        self._file.seek(turn.at)
        return Sample(**orjson.loads(self._file.readline()))

    def take(self, name: str, read: Callable[[], Sample | None]) -> None:
        """Add the record from read() as a turn, or log why it is left out."""
        try:
            if record := read():
                self._take(name, record)
        except Excluded as e:
            self.left_out.add(name, e.what)
        except BrokenRecord as e:
            self._report_broken(e)
            self.left_out.add(name, "broken record", e.what)

    def _take(self, name: str, record: Sample) -> None:
        if reasons := self._reasons_against(name, record):
            for reason, detail in reasons:
                self.left_out.add(name, reason, detail)
            return
        pr, pr_digest = self.pr(record.instance_id)
        has_calls = bool(record.tools) and self.settings.tool_calls == "native"
        masked, secrets = self._masked(record if has_calls else _in_texts(record))
        self.turns.append(ExportTurn(
            name, record.directory, pr.instance_id, pr.repo, pr.language, pr.licence,
            float(record.score),
            winner(record, self.settings.dpo_min_margin),
            record_digest(record), pr_digest, has_calls,
            has_several_calls([record.king, record.challenger]), _flag(record), secrets,
            self.put(masked),
            len(record.choice.get("picks") or ()) if record.choice else None))

    def _reasons_against(self, name: str, record: Sample) -> list[Problem]:
        """Return the problems that the first failing check finds, which leave a turn out of all
        formats."""
        if self._rules.excludes(record.instance_id):
            return [("[exclude] ids", record.instance_id)]
        if reason := self._outdated(name, record):
            return [("not up to date", reason)]
        pr, _ = self.pr(record.instance_id)
        return self._rules.against(pr.licence, lambda: of_turn(
            record, pr.repo, pr.base_commit, issue=pr.issue, patch=pr.patch,
            test_patch=pr.test_patch, **{side: turn_text(getattr(record, side)) for side in SIDES}))

    def put(self, record: Sample) -> int:
        """Append a record to the temporary file, and return its offset in bytes."""
        try:
            at = self._file.seek(0, 2)
            self._file.write(orjson.dumps(vars(record), option=orjson.OPT_APPEND_NEWLINE))
            self._file.flush()
        except OSError as e:
            raise disk_trouble(e, "a temporary file") from e
        return at

    def _outdated(self, name: str, record: Sample) -> str:
        """Return how a record of a bucket differs from the record that report.py would write now,
        or "".

        A record that a user edited, or without answer/ and score/, is exported unchanged.
        """
        copies = self._stores.get(type(record))
        known = copies and copies.ledger.known.get(name)
        digests = digests_of(record)
        if known is None:
            return ""
        if known.digests != digests:
            self.edited.append(name)
            return ""
        for cls, copied in COPIED.items():
            store = self._stores[cls]
            path = f"{cls.directory}/{name}.json"
            if name not in store:
                if store.names():
                    return f"{path} is gone"
                continue
            facts = store.facts(name)
            differs = any(facts.digests.get(key) != digests.get(key) for key in copied)
            is_newer = facts.mtime_ns > copies.facts(name).mtime_ns
            # report.py may recompute a score for another panel
            if differs and (cls is not Score or is_newer):
                return f"{path} was changed since report.py"
        return ""

    def _read_pr(self, instance_id: str) -> tuple[Commit, str]:
        """Return the PR record of an instance, and its digest; "" if it is missing.

        Take a missing repository from the id; a missing language or licence is UNKNOWN.
        """
        pr = Commit(instance_id, "", "", "", "", "", [], "", "")
        pr_digest = ""
        if instance_id in self._stores[Commit]:
            pr = self._stores[Commit].read(instance_id)
            pr_digest = record_digest(pr)
        return replace(pr, repo=pr.repo or repo_of(instance_id), language=pr.language or UNKNOWN,
                       licence=(pr.licence or "").strip() or UNKNOWN), pr_digest

    def _masked(self, record: Sample) -> tuple[Sample, dict[str, int]]:
        """Return a record with secrets masked, and the number of secrets by kind."""
        secrets = Counter()

        def masked(value):
            """Return a JSON value with its texts masked."""
            if isinstance(value, list):
                return [*map(masked, value)]
            if isinstance(value, dict):
                return {masked(key): masked(entry) for key, entry in value.items()}
            if not isinstance(value, str):
                return value
            text, kinds = self._mask(value)
            secrets.update(kinds)
            return text

        values = vars(record) | {
            "messages": [*map(_for_templates, record.messages)],
            **{name: [{key: str(entry.get(key, "")) for key in keys} for entry in entries]
               for name, keys in ENTRIES.items()
               if (entries := getattr(record, name)) is not None},
            "assistant": _for_templates(record.assistant),
            **{side: _for_templates(getattr(record, side), REASONING) for side in SIDES}}
        return Sample(**masked(values)), dict(sorted(secrets.items()))

    def _report_broken(self, error: BrokenRecord) -> None:
        say(f"export.py: {error}")
        self.n_broken += 1


def _in_texts(record: Sample) -> Sample:
    """Return a record whose messages and answers are texts; calls become shell commands."""
    messages = plain(record.messages, record.tools, as_bash=True)
    if form_of(messages).fence == COMMAND:   # SWE-agent: a demonstration, then the task
        messages = [*_with_joined_users(messages)]
    return replace(record, messages=messages, tools=None, **{
        side: turn_text(turn, record.messages, as_bash=True)
        for side in REFERENCE_AND_SIDES if (turn := getattr(record, side))})


def _with_joined_users(messages: list[Message]) -> Iterator[Message]:
    """Yield the messages, with consecutive ones of the user joined."""
    for role, group in itertools.groupby(messages, lambda message: message["role"]):
        if role != "user":
            yield from group
        else:
            yield {"role": role, "content": "\n\n".join(one["content"] for one in group)}


def _for_templates(message: Message | str | None, without: tuple[str, ...] = ()):
    """Return a message in the form of chat templates: its content is a text, and the arguments of
    its calls are objects. A turn that is a text is returned unchanged.
    """
    if not isinstance(message, dict):
        return message
    kept = {key: message[key] for key in ("reasoning_content", "tool_call_id")
            if message.get(key) and key not in without}
    if calls := message.get("tool_calls"):
        kept["tool_calls"] = [*map(_call, calls)]
    return {"role": message.get("role", "assistant"), "content": content_text(message), **kept}


def _call(call: dict) -> dict:
    """Return a call with its arguments as an object; return it unchanged if they cannot be
    parsed."""
    function = call["function"]
    _, arguments = parts_of(call)
    return call if arguments is None else {**call, "function": {**function, "arguments": arguments}}


def _flag(record: Sample) -> Problem | None:
    """Return the first reason not to train on a turn, or None."""
    if record.injections:
        return "speaks to its judge", "; ".join(
            f"{one.get('side')}, {one.get('kind')}: {one.get('text')}"
            for one in record.injections)
    if leaks := [one for one in record.leaks or () if one.get("kind") != UNJUDGED]:
        return "shows what it cannot know", "; ".join(
            f"{one.get('kind')}: {one.get('text')} ({one.get('why')})" for one in leaks)
    return ("no leak verdict", "run python validate.py") if record.leaks else None


def winner(record: Sample, min_margin: float) -> str:
    """Return "challenger" or "king", whichever leads by `min_margin`, or else "".

    A score runs from 0 to 100, and 50 is a draw. In final/ the challenger wins with any lead. So
    does a challenger chosen with a stated reason in both orders: the chooser and the panel agree.
    """
    lead = record.score - 50
    n_reasons = sum(pick["why"] > "" for pick in (record.choice or {}).get("picks", ()))
    if lead > 0 and (record.directory == Final.directory or n_reasons > 1 or lead >= min_margin):
        return "challenger"
    return "king" if lead < 0 and -lead >= min_margin else ""


def repo_of(instance_id: str) -> str:
    """Return owner/name for the id owner__name-17; an id of another form is returned unchanged."""
    match = INSTANCE.fullmatch(instance_id)
    return f"{match[1]}/{match[2]}" if match else instance_id


def record_digest(record) -> str:
    """Return the digest of all fields, which identifies the record in the manifest."""
    return digest(values_of(record))


# near-duplicates ----------------------------------------------------------------------------------

def leave_out_similar(turns: ExportTurns, threshold: float) -> None:
    """Leave out turns with a history and an answer similar to a turn that stays, and log them.

    Of similar turns, keep one with a winner, else one of the best bucket, else the first.
    `threshold` is a Jaccard index. All texts are held in memory.
    """
    rank = {cls.directory: i for i, cls in enumerate(BUCKETS)}
    best_first = sorted(turns.turns, key=lambda turn: (not turn.winner, rank[turn.bucket]))
    harness = _harness_lines(turns, best_first)
    answers = {}   # {name of a turn: its answer}

    def texts() -> Iterator[tuple[str, str]]:
        for turn in best_first:
            record = turns.record(turn)
            side = getattr(record, turn.winner or "challenger")
            answers[turn.name] = turn_text(side, record.messages)
            first, *rest = _history(record)
            own_lines = [line for line in first.split("\n") if line not in harness]
            yield turn.name, "\n".join([*own_lines, *rest, answers[turn.name]])

    groups = defaultdict(list)   # {first turn: similar ones, in order}
    for one in near_duplicates(texts(), threshold):
        groups[one.of].append(one.name)
    similar = set()
    for first, others in groups.items():
        kept = {}   # {name: words of its answer}
        for name in (first, *others):
            answer = frozenset(words(answers[name]))
            alike = {other: _jaccard(answer, theirs) for other, theirs in kept.items()}
            nearest = max(alike, key=alike.get, default="")
            if not nearest or alike[nearest] < threshold:
                kept[name] = answer
                continue
            similar.add(name)
            turns.left_out.add(name, "near-duplicate",
                               f"{nearest} (answers {alike[nearest]:.2f} alike)")
    turns.turns = [turn for turn in turns.turns if turn.name not in similar]


def _history(record: Sample) -> list[str]:
    """Return the texts of a history without system messages; at least one text."""
    return [message["content"] for message in plain(record.messages)
            if message["role"] != "system"] or [""]


def _harness_lines(turns: ExportTurns, ordered: list[ExportTurn]) -> set[str]:
    """Return the lines that the first messages of many tasks share."""
    firsts = {turn.instance_id: _history(turns.record(turn))[0] for turn in ordered}
    counts = Counter(line for first in firsts.values() for line in set(first.split("\n")))
    limit = max(MIN_TASKS, len(firsts) / SHARED_BY)
    return {line for line, n in counts.items() if n >= limit}


def _jaccard(a: frozenset, b: frozenset) -> float:
    return len(a & b) / len(a | b) if a or b else 1.0
