"""Collect whole trajectories that may be exported: records of how each ended, and the rows that
these name. The caller gives what reads the rows.

What solved its task is learnt. Left out are near-duplicates by what was done, those beyond the caps
of a task and a repository, benchmarks, and what read what it should not: the tests or the solution
that a verifier hides, the repository's later history, or the code of the pull request before any of
it was written. That is looked for in commands and results, and a cheat in other words is missed.
"""
from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import duckdb

import codedata
from codedata.checks.contamination import of_turn
from codedata.checks.duplicates import near_duplicates
from codedata.conversation.tool_calls import call_text
from codedata.conversation.turn import Turn, form_of, plain
from codedata.disk.store import Store, digest
from codedata.errors import BrokenRecord
from codedata.export.card import card_values
from codedata.export.collect import (
    ExportRules,
    LeftOutLog,
    Problem,
    TextFile,
    for_templates,
    masked_texts,
    pull_requests,
    record_digest,
    with_joined_users,
)
from codedata.export.exports import Export
from codedata.export.provenance import public
from codedata.leak.facts import has_read_fix
from codedata.messages import content_text
from codedata.records import Commit, Message, Prompt, SourceTrajectory
from codedata.settings import ExportSettings
from codedata.terminal import say
from codedata.texts import natural

SFT, DPO = "sft_trajectories", "dpo_trajectories"
# what a command must not name; {repo} is the repository's, after any address of GitHub's
FORBIDDEN = {
    "a verifier's folder": r"(?<![\w./~-])/(?:tests|solution|logs/verifier)\b",
    "the later history": r"\bgit (?:-\S+ )*(?:fetch|pull|clone|ls-remote|reflog)\b"
                         r"|\bgit (?:-\S+ )*(?:log|rev-list|show)\b[^\n|;&]* --(?:all|remotes)\b",
    "the repository's pages": r"\bgh (?:pr|issue|api|release) |https?://[\w.]*github[\w.]*/"
                              r"(?:repos/)?{repo}/(?:pull|commit|compare|issues|archive|blob|raw)"}
# (record) → (its messages, its tools, its patch); raises BrokenRecord for a changed row
RowReader = Callable[[SourceTrajectory], tuple[list[Message], list | None, str]]


class Conversations(NamedTuple):
    """Hold the texts of a trajectory and, of a pair, the messages of the other one."""

    messages: list[Message]
    tools: list | None
    rejected: Sequence[Message]


@dataclass(frozen=True, eq=False)   # a key of Counters
class ExportTrajectory:
    """Describe a trajectory that may be exported. ExportTrajectories.record() reads its texts."""

    name: str
    instance_id: str
    repo: str
    language: str
    licence: str
    source: str
    reward: float | None
    exit_status: str
    n_turns: int
    is_solved: bool
    beginning: str          # digest of its task, tools and the messages before its first turn
    digest: str             # of its record
    commit: str             # of its PR record; "" where it is missing
    row: str                # of its row
    has_calls: bool
    masked: dict[str, int]  # how many secrets of each kind were masked in it
    at: int                 # offset of its texts
    rival: ExportTrajectory | None = None   # of the same beginning, not solved
    flag: Problem | None = None


class ExportTrajectories:
    """Hold the solved trajectories of a root, each with one that was not, where there is one."""

    def __init__(self, root: Path, settings: ExportSettings, rules: ExportRules,
                 left_out: LeftOutLog, read_row: RowReader):
        self.settings, self.left_out = settings, left_out
        self.turns: list[ExportTrajectory] = []
        self.n_broken = 0
        self.n_records = 0
        self._rules, self._read_row = rules, read_row
        self._store = Store(root, SourceTrajectory).open()
        self._pr = pull_requests(Store(root, Commit).open())
        self._file = TextFile(root)
        self._actions: dict[str, str] = {}   # by name

    def collect(self) -> ExportTrajectories:
        """Read every record with its row, and return self. What is broken or has changed is
        reported and left out."""
        found = []
        for e in self._store.broken:
            self._report_broken(e)
        self.n_records = len(self._store.names())
        for name, record in sorted(self._records(), key=lambda one: (one[1].source, one[1].row)):
            try:
                found += self._taken(name, record)
            except BrokenRecord as e:
                self._report_broken(e)
                self.left_out.add(name, "changed row", str(e))
        fewest_turns = sorted(found, key=lambda one: (one.n_turns, natural(one.name)))
        distinct = [*self._distinct(one for one in fewest_turns if one.is_solved)]
        solved = [*self._within_caps(distinct)]
        failed = defaultdict(list)
        for one in self._distinct(one for one in fewest_turns if not one.is_solved):
            self.left_out.add(one.name, "not solved", format=SFT)
            failed[one.beginning].append(one)
        for one in solved:
            rival = failed[one.beginning].pop(0) if failed[one.beginning] else None
            self.turns.append(replace(one, rival=rival))
        alone = [one for one in self.turns if not one.rival]
        for one in chain(alone, *failed.values()):
            self.left_out.add(one.name, "nothing to pair it with", format=DPO)
        self.turns.sort(key=lambda one: natural(one.name))
        return self

    def record(self, one: ExportTrajectory) -> Conversations:
        """Return the texts of a trajectory, with secrets masked."""
        texts = self._file.read(one.at)
        rejected = self._file.read(one.rival.at)["messages"] if one.rival else ()
        return Conversations(texts["messages"], texts["tools"], rejected)

    def _records(self) -> Iterator[tuple[str, SourceTrajectory]]:
        for name in self._store.names():
            try:
                yield name, self._store.read(name)
            except BrokenRecord as e:
                self._report_broken(e)
                self.left_out.add(name, "broken record", e.what)

    def _taken(self, name: str, record: SourceTrajectory) -> Iterator[ExportTrajectory]:
        """Yield a trajectory, or log why it is left out."""
        is_solved = record.resolved
        if is_solved is None and record.reward is not None:
            is_solved = record.reward >= self.settings.solved_reward
        if is_solved is None or self._rules.excludes(record.instance_id):
            reason = "no outcome" if is_solved is None else "[exclude] ids"
            self.left_out.add(name, reason)
            return
        messages, tools, patch = self._read_row(record)
        pr, pr_digest = self._pr(record.instance_id)
        pr = replace(pr, repo=record.repo or pr.repo)
        self._actions[name] = actions = "\n".join(_actions(messages, tools))
        if problems := self._problems(messages, actions, patch, pr):
            for problem in problems:
                self.left_out.add(name, *problem)
            return
        has_calls = bool(tools) and self.settings.tool_calls == "native"
        if not has_calls:
            messages = [*with_joined_users(plain(messages, tools, as_bash=True))]
            tools = None
        first = next(i for i, one in enumerate(messages) if one["role"] == "assistant")
        beginning = digest([record.instance_id, messages[:first], tools])
        texts, masked = masked_texts({"tools": tools, "messages": [
            {**for_templates(one), "train": one["role"] == "assistant"} for one in messages]})
        yield ExportTrajectory(
            name, record.instance_id, pr.repo, pr.language, pr.licence, public(record.source),
            record.reward, record.exit_status, record.n_turns, is_solved, beginning,
            record_digest(record), pr_digest, record.digest, has_calls, masked,
            self._file.put(texts))

    def _problems(self, messages: list[Message], actions: str, patch: str, pr: Commit
                  ) -> list[Problem]:
        """Return why the first check that applies leaves a trajectory out."""
        for what, pattern in FORBIDDEN.items():
            pattern = pattern.replace("{repo}", re.escape(pr.repo))
            if match := re.search(pattern, actions, re.IGNORECASE):
                return [("read what it should not", f"{what}: {match[0]}")]
        if has_read_fix(messages, pr):
            return [("read what it should not", "the code of the pull request, before any edit")]
        whole = Prompt(pr.instance_id, pr.repo, "", 0, messages[:-1], messages[-1])
        return self._rules.against(pr.licence, lambda: of_turn(
            whole, pr.repo, pr.base_commit, actions=actions, own_patch=patch, issue=pr.issue,
            patch=pr.patch, test_patch=pr.test_patch))

    def _distinct(self, some: Iterable[ExportTrajectory]) -> Iterator[ExportTrajectory]:
        """Yield those whose actions are not like those of an earlier one."""
        some = [*some]
        threshold = self.settings.duplicate_similarity
        texts = ((one.name, self._actions[one.name]) for one in some)
        twins = {one.name: one for one in near_duplicates(texts, threshold)} if threshold else {}
        for one in some:
            if twin := twins.get(one.name):
                self.left_out.add(one.name, "near-duplicate",
                                  f"{twin.of} (actions {twin.similarity:.2f} alike)")
            else:
                yield one

    def _within_caps(self, some: Iterable[ExportTrajectory]) -> Iterator[ExportTrajectory]:
        n_of: Counter[str] = Counter()
        for one in some:
            caps = {f"task {one.instance_id}": self.settings.trajectories_per_task,
                    f"repository {one.repo.lower()}": self.settings.trajectories_per_repo}
            full = next((key for key, cap in caps.items() if cap and n_of[key] >= cap), None)
            if full:
                self.left_out.add(one.name, f"over the cap of its {full.split()[0]}", full)
            else:
                n_of.update(caps.keys())
                yield one

    def _report_broken(self, error: BrokenRecord) -> None:
        say(f"export.py: {error}")
        self.n_broken += 1


def _actions(messages: list[Message], tools: list | None) -> Iterator[str]:
    """Yield what each turn does: shell commands, where there is one that does the same."""
    fence = form_of(messages, tools).fence
    for message in messages:
        if message["role"] == "assistant":
            calls = message.get("tool_calls")
            yield from ([call_text(call, as_bash=True) for call in calls] if calls
                        else [Turn(content_text(message), fence).block])


class RowProvenance:
    """Name the sources of trajectories, which none of our models wrote: Provenance for the card."""

    def sources(self, turns: Iterable[ExportTrajectory]) -> Iterator[str]:
        """Yield the source of each trajectory."""
        yield from (one.source for one in turns)

    def models(self, turns: Iterable[ExportTrajectory], side: str) -> Iterable[str]:
        """Return no model."""
        return ()

    def cut(self, turns: Iterable[ExportTrajectory]) -> int:
        """Return 0: nothing is cut."""
        return 0


@dataclass(frozen=True)
class TrajectoryOrigins:
    """Hold what the rows of whole trajectories come from."""

    directory: Path           # export/
    settings: ExportSettings
    turns: ExportTrajectories
    kept_settings = ("duplicate_similarity", "licence", "licences", "max_chars", "seed",
                     "solved_reward", "tool_calls", "trajectories_per_repo",
                     "trajectories_per_task", "validation")
    template = "trajectory_card.md"
    noun = "rows"
    duel = buckets = None
    provenance = RowProvenance()
    card_values = staticmethod(card_values)

    @property
    def n_broken(self) -> int:
        """Return the number of records that cannot be read, or whose row has changed."""
        return self.turns.n_broken

    def masked(self) -> Counter:
        """Return the number of masked secrets by kind."""
        return sum((Counter(one.masked) for one in self.turns.turns), Counter())

    def inputs(self, export: Export) -> dict:
        """Return the part of the manifest that says which records and rows the rows come from."""
        return {"made_by": f"codedata {codedata.__version__}, duckdb {duckdb.__version__}",
                "trajectories": [
                    {"name": one.name, "instance_id": one.instance_id, "digest": one.digest,
                     "row_digest": one.row, "commit_digest": one.commit, "masked": one.masked,
                     "split": row.split, "rejected": one.rival and one.rival.name}
                    for row in export.rows for one in [row.turn]]}

    def summary(self, exports: Sequence[Export]) -> tuple[str, Counter, list[str]]:
        """Return what was read, the masked secrets, and what to know of the sets."""
        head = (f"{SourceTrajectory.directory}/ {self.turns.n_records:,} → "
                f"{self.directory.name}/   solved and kept {len(self.turns.turns):,}")
        return head, self.masked(), []
