"""Leave out near-duplicate turns: turns with both a similar history and a similar answer.

So neighbouring turns of one trajectory, which share their history, are not duplicates, nor are
equal commands at the end of different tasks. System messages are not compared, nor lines that the
first messages of many tasks share, which come from the harness.
"""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from codedata.checks.duplicates import near_duplicates, words
from codedata.conversation.turn import plain, turn_text
from codedata.export.collect import ExportTurn, ExportTurns
from codedata.records import BUCKETS, Sample

SHARED_BY = 10    # a line is the harness's if one task in 10 has it in its first message
MIN_TASKS = 3     # minimum number of tasks that share a line of the harness


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
