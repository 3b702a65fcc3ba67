"""Find near-duplicates among turns, of which both the history and the answer are alike.

So neighbouring turns of one trajectory, which share their history, are no duplicates, nor are equal
commands at the end of different tasks. System messages are not compared, nor lines that the first
messages of many tasks share, which come from the harness.
"""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from codedata.checks.duplicates import Duplicate, near_duplicates, words

SHARED_BY = 10    # a line is the harness's if the first messages of one task in 10 have it,
MIN_TASKS = 3     # and at least 3 tasks


@dataclass(frozen=True)
class Conversation:
    """Hold a history and the answer to it."""

    name: str
    task: str                # instance id; "" where it is not known
    messages: list[dict]
    answer: str


Reader = Callable[[], Iterable[Conversation]]


def similar_turns(turns: Reader, threshold: float) -> list[Duplicate]:
    """Return, in order, the turns that are near-duplicates of an earlier one.

    `turns` returns the conversations from the start, since they are read twice. All texts are held
    in memory. `threshold` is a Jaccard index.
    """
    harness = _harness_lines(turns())
    entries = [(one.name, one.answer, _text(one, harness)) for one in turns()]
    groups: dict[int, list[int]] = defaultdict(list)   # first → others that are alike
    texts = ((str(i), text) for i, (_, _, text) in enumerate(entries))
    for one in near_duplicates(texts, threshold=threshold):
        groups[int(one.of)].append(int(one.name))
    duplicates = {}
    for first, others in groups.items():
        earlier_answers: list[tuple[int, frozenset]] = []
        for i in sorted([first, *others]):
            answer = frozenset(words(entries[i][1]))
            similarity, k = max(((_jaccard(answer, other), -k) for k, other in earlier_answers),
                                default=(0.0, 0))
            if similarity >= threshold:
                duplicates[i] = Duplicate(entries[i][0], entries[-k][0], similarity)
            else:
                earlier_answers.append((i, answer))
    return [duplicates[i] for i in sorted(duplicates)]


def _text(one: Conversation, harness: set[str]) -> str:
    history = [m["content"] for m in one.messages if m["role"] != "system"]
    if history:
        lines = history[0].split("\n")
        history[0] = "\n".join(line for line in lines if line not in harness)
    return "\n".join([*history, one.answer])


def _harness_lines(turns: Iterable[Conversation]) -> set[str]:
    """Return the lines that the first messages of many tasks share."""
    firsts = {one.task: next((m["content"] for m in one.messages if m["role"] != "system"), "")
              for one in turns}
    counts = Counter(line for first in firsts.values() for line in set(first.split("\n")))
    limit = max(MIN_TASKS, len(firsts) / SHARED_BY)
    return {line for line, n in counts.items() if n >= limit}


def _jaccard(a: frozenset, b: frozenset) -> float:
    return len(a & b) / len(a | b) if a or b else 1.0
