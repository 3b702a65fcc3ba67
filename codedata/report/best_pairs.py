"""Choose the pairs of a duel that are shown first: by report.py and by the end of `make demo`.

They are of the buckets as they are on disk. A pair that shows what it cannot know, or speaks to its
judge, is not chosen, since it becomes no row of a training set either.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from codedata.conversation.turn import turn_text
from codedata.disk.store import Store, known, known_in
from codedata.messages import content_text
from codedata.records import BUCKETS, Commit, Sample
from codedata.report.turn_rows import DRAW

N_PAIRS = 3


@dataclass(frozen=True)
class BestPair:
    """Hold a pair that the challenger won, as texts to show. All texts are of others."""

    name: str          # of the turn, as in answer/
    bucket: str        # the directory of its copy
    score: float       # the challenger's, 50 to 100
    instance_id: str
    task: str          # the issue, or the first request of the history
    n_steps: int       # turns of the agent before this one
    king: str
    challenger: str
    judge: str         # whose words `why` are; "" if no judge wrote any
    why: str

    @property
    def title(self) -> str:
        """Return the first line of the task."""
        return self.task.partition("\n")[0]


def best_pairs(root: Path, n: int = N_PAIRS) -> list[BestPair]:
    """Return the n pairs of a root that the challenger won most clearly, the best first.

    Fewer, or none, where it won fewer. Copies that cannot be read are passed over.
    """
    won: list[tuple[str, str, Sample]] = []
    for cls in BUCKETS:   # a worse bucket is read only where the better ones have too few
        if len(won) < n:
            store = Store(root, cls).open()
            samples = [(name, known(store, name)) for name in store.names()]
            won += [(name, cls.directory, one) for name, one in samples
                    if one and one.score > DRAW and not one.injections and not one.leaks]
    best = sorted(won, key=lambda one: -one[2].score)[:n]   # stable: natural order within a score
    return [_pair(root, *one) for one in best]


def _pair(root: Path, name: str, bucket: str, sample: Sample) -> BestPair:
    commit = known_in(root, Commit, sample.instance_id)
    requests = [content_text(one) for one in sample.messages if one["role"] == "user"]
    reason = next(iter(sample.reasons), {"judge": "", "reason": ""})
    return BestPair(
        name, bucket, sample.score, sample.instance_id,
        task=((commit and commit.issue) or next(iter(requests), "")).strip(),
        n_steps=sum(one["role"] == "assistant" for one in sample.messages),
        king=turn_text(sample.king, sample.messages),
        challenger=turn_text(sample.challenger, sample.messages),
        judge=reason["judge"], why=reason["reason"])
