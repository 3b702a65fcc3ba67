from __future__ import annotations

from bisect import bisect_right


class SpanSet:
    """Integers, kept as sorted spans with a gap between any two."""

    def __init__(self, spans=()):
        self.spans: list[tuple[int, int]] = []
        for start, end in spans:
            self.add(start, end)

    def add(self, start: int, end: int) -> None:
        if start >= end:
            raise ValueError(f"an empty span: {start} to {end}")
        apart = [span for span in self.spans if span[1] < start or span[0] > end]
        touched = [span for span in self.spans if span not in apart]
        low = min([start, *(a for a, _ in touched)])
        high = max([end, *(b for _, b in touched)])
        self.spans = sorted([*apart, (low, high)])

    def remove(self, start: int, end: int) -> None:
        left = [(a, min(b, start)) for a, b in self.spans if a < start]
        right = [(max(a, end), b) for a, b in self.spans if b > end]
        self.spans = sorted({*left, *right})

    def __contains__(self, number: int) -> bool:
        i = bisect_right(self.spans, (number, float("inf"))) - 1
        return i >= 0 and self.spans[i][0] <= number < self.spans[i][1]

    def __len__(self) -> int:
        return sum(b - a for a, b in self.spans)

    def gaps(self) -> list[tuple[int, int]]:
        return [(a[1], b[0]) for a, b in zip(self.spans, self.spans[1:])]
