"""Leave out near-duplicates among turns, of which both the history and the answer are alike.

So neighbouring turns of one trajectory, which share their history, are no duplicates, nor are equal
commands at the end of different tasks. System messages are not compared, nor lines that the first
messages of many tasks share, which come from the harness.
"""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from codedata.checks.duplicates import near_duplicates, words
from codedata.conversation.turn import plain, turn_text
from codedata.export.collect import ExportTurn, ExportTurns
from codedata.records import BUCKETS, Sample

SHARED_BY = 10    # a line is the harness's if the first messages of one task in 10 have it,
MIN_TASKS = 3     # and at least 3 tasks


def leave_out_similar(turns: ExportTurns, threshold: float) -> None:
    """Leave out turns whose history and answer are like those of one that stays, and log them.

    Of turns that are alike, one with a winner is exported, else one of the best bucket, else the
    first. `threshold` is a Jaccard index. All texts are held in memory.
    """
    rank = {cls.directory: i for i, cls in enumerate(BUCKETS)}
    best_first = sorted(turns.turns, key=lambda turn: (not turn.winner, rank[turn.bucket]))
    harness = _harness_lines(turns, best_first)
    answers: list[str] = []

    def texts() -> Iterator[tuple[str, str]]:
        for i, turn in enumerate(best_first):
            record = turns.record(turn)
            answers.append(turn_text(getattr(record, turn.winner or "challenger"),
                                     record.messages))
            first, *rest = _history(record)
            own_lines = [line for line in first.split("\n") if line not in harness]
            yield str(i), "\n".join([*own_lines, *rest, answers[-1]])

    groups: dict[int, list[int]] = defaultdict(list)   # first → others that are alike
    for one in near_duplicates(texts(), threshold):
        groups[int(one.of)].append(int(one.name))
    similar: set[ExportTurn] = set()
    for first, others in groups.items():
        earlier_answers: list[tuple[int, frozenset]] = []
        for i in sorted([first, *others]):
            answer = frozenset(words(answers[i]))
            similarity, k = max(((_jaccard(answer, other), -k) for k, other in earlier_answers),
                                default=(0.0, 0))
            if similarity < threshold:
                earlier_answers.append((i, answer))
                continue
            similar.add(best_first[i])
            turns.left_out.add(best_first[i].name, "near-duplicate",
                               f"{best_first[-k].name} (answers {similarity:.2f} alike)")
    turns.turns = [turn for turn in turns.turns if turn not in similar]


def _history(record: Sample) -> list[str]:
    """Return the texts of a history without those of the system, at least one."""
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
