"""Collect whole trajectories that may be exported, from the records of how each ended and the rows
that these name. The caller gives what reads the rows, so that they may come from anywhere.

What solved its task is learnt. Left out are near-duplicates by what was done, those beyond the caps
of a task and a repository, and what read what it should not: the tests or solution that a verifier
hides, the repository's later history or pages, or the pull request before any of it was written.
Commands and results are searched for that: what an agent hides in other words is missed.
"""
from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from codedata.checks.duplicates import near_duplicates
from codedata.conversation.turn import Turn, form_of, turn_text
from codedata.disk.store import Store, digest
from codedata.export.collect import ExportRules, ExportTurn, ExportTurns, LeftOutLog
from codedata.export.formats import whole_messages
from codedata.leak.facts import has_read_fix
from codedata.messages import content_text
from codedata.records import Message, Sample, SourceTrajectory
from codedata.settings import ExportSettings
from codedata.texts import natural

SFT, DPO = "sft_trajectories", "dpo_trajectories"
SOLVED, FAILED = 100.0, 0.0   # the scores of whole trajectories
READ = "read what it should not"
KEPT_SETTINGS = ("duplicate_similarity", "licence", "licences", "max_chars", "seed",
                 "solved_reward", "tool_calls", "trajectories_per_repo", "trajectories_per_task",
                 "validation")
# what no command may hold; REPO stands for owner/name
FORBIDDEN = {
    "a verifier's folder": r"(?<![\w./~-])/(?:tests|solution|logs/verifier)\b",
    "the later history": r"\bgit (?:-\S+ )*(?:fetch|pull|clone|ls-remote|reflog)\b"
                         r"|\bgit (?:-\S+ )*(?:log|rev-list|show)\b[^\n|;&]* --(?:all|remotes)\b",
    "the repository's pages": r"\bgh (?:pr|issue|api|release) |https?://[\w.]*github[\w.]*/"
                              r"(?:repos/)?REPO/(?:pull|commit|compare|issues|archive|blob|raw)"}
# (record) → (its messages, its tools); raises BrokenRecord for a changed row
RowReader = Callable[[SourceTrajectory], tuple[list[Message], list | None]]


class WholeTrajectory(Sample):
    """Hold a whole trajectory. Its last turn is `assistant`, and `metrics` are further columns."""

    directory = SourceTrajectory.directory


def read_trajectories(root: Path, settings: ExportSettings, rules: ExportRules,
                      left_out: LeftOutLog, read_row: RowReader) -> ExportTurns:
    """Return the solved trajectories of a root as turns; one with a failed one of the same
    beginning has a `winner`, and that one in its columns. Log the others."""
    turns = ExportTurns(root, settings, rules, left_out)
    store = Store(root, SourceTrajectory).open()
    turns.in_bucket = Counter({SourceTrajectory.directory: len(store.names())})
    records: dict[str, SourceTrajectory] = {}
    actions: dict[str, str] = {}

    def load(name: str) -> None:
        records[name] = store.read(name)

    def sample(name: str) -> WholeTrajectory | None:
        record = records[name]
        is_solved = record.resolved
        if is_solved is None and record.reward is not None:
            is_solved = record.reward >= settings.solved_reward
        if is_solved is None:
            left_out.add(name, "no outcome")
            return None
        messages, tools = read_row(record)
        actions[name] = "\n".join(_actions(messages, tools))
        pr = replace(turns.pr(record.instance_id)[0], repo=record.repo)
        if has_read_fix(messages, pr):
            left_out.add(name, READ, "the pull request, before it wrote any of it")
            return None
        for what, pattern in FORBIDDEN.items():
            if match := re.search(pattern.replace("REPO", re.escape(pr.repo)), actions[name]):
                left_out.add(name, READ, f"{what}: {match[0]}")
                return None
        *history, last = messages
        columns = {"reward": record.reward, "exit_status": record.exit_status}
        return WholeTrajectory(
            record.instance_id, history, last if tools else content_text(last), None, None,
            SOLVED if is_solved else FAILED, columns, [], [], tools=tools)

    for name in store.names():
        turns.take(name, partial(load, name))
    for name in sorted(records, key=lambda name: (records[name].source, records[name].row)):
        turns.take(name, partial(sample, name))
    fewest_turns = sorted(turns.turns, key=lambda one: (records[one.name].n_turns,
                                                        natural(one.name)))
    turns.turns = []
    named = [replace(one, repo=records[one.name].repo or one.repo) for one in fewest_turns]
    distinct = [[*_distinct(turns, [one for one in named if one.score == score], actions)]
                for score in (SOLVED, FAILED)]
    _pair(turns, [*_within_caps(turns, distinct[0])], distinct[1])
    turns.turns.sort(key=lambda one: natural(one.name))
    return turns


def _actions(messages: list[Message], tools: list | None) -> Iterator[str]:
    """Yield what each turn does: the shell commands that do the same, where there are some."""
    fence = form_of(messages, tools).fence
    for message in messages:
        if message["role"] == "assistant":
            has_calls = bool(message.get("tool_calls"))
            yield (turn_text({**message, "content": ""}, as_bash=True) if has_calls
                   else Turn(content_text(message), fence).block)


def _distinct(turns: ExportTurns, some: list[ExportTurn], actions: dict[str, str]
              ) -> Iterator[ExportTurn]:
    """Yield those whose actions are not like those of an earlier one."""
    threshold = turns.settings.duplicate_similarity
    texts = ((one.name, actions[one.name]) for one in some)
    twins = {one.name: one for one in near_duplicates(texts, threshold)} if threshold else {}
    for one in some:
        if twin := twins.get(one.name):
            turns.left_out.add(one.name, "near-duplicate",
                               f"{twin.of} (actions {twin.similarity:.2f} alike)")
        else:
            yield one


def _within_caps(turns: ExportTurns, some: list[ExportTurn]) -> Iterator[ExportTurn]:
    n_of: Counter[str] = Counter()
    for one in some:
        caps = {f"its task {one.instance_id}": turns.settings.trajectories_per_task,
                f"its repository {one.repo}": turns.settings.trajectories_per_repo}
        if full := [key for key, cap in caps.items() if cap and n_of[key] >= cap]:
            turns.left_out.add(one.name, "over a cap", full[0])
        else:
            n_of.update(caps.keys())
            yield one


def _pair(turns: ExportTurns, solved: list[ExportTurn], failed: list[ExportTurn]) -> None:
    """Add the solved ones to `turns`, each with a failed one where one has the same beginning."""
    rivals: dict[str, list[ExportTurn]] = defaultdict(list)
    for one in failed:
        turns.left_out.add(one.name, "not solved", format=SFT)
        rivals[_beginning(turns.record(one))].append(one)
    for one in solved:
        record = turns.record(one)
        others = rivals[_beginning(record)]
        if not others:
            turns.left_out.add(one.name, "nothing to pair it with", format=DPO)
            turns.turns.append(replace(one, winner=""))
            continue
        other = others.pop(0)
        pair = {"rejected": whole_messages(turns.record(other)), "rejected_source": other.name}
        at = turns.put(replace(record, metrics={**record.metrics, **pair}))
        turns.turns.append(replace(one, winner="challenger", at=at))
    for others in rivals.values():
        for one in others:
            turns.left_out.add(one.name, "nothing to pair it with", format=DPO)


def _beginning(record: Sample) -> str:
    """Return a digest of the task, the tools, and what stands before the first turn."""
    messages = whole_messages(record)
    first = next(i for i, one in enumerate(messages) if one["role"] == "assistant")
    return digest([record.instance_id, record.tools, messages[:first]])
