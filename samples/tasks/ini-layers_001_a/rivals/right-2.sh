#!/bin/bash
# key by key: cells between the bounds of the spans, histories by stripe, small state classes; the fewest spans are chosen from left to right
set -e
cd /app
cat > compaction.py <<'END_OF_FILE'
"""Merging neighbouring segments of a strata store, key by key.

The bounds of the merged spans cut the keys into cells; all keys of a cell are in the same spans. For each key its own entries and the first
span in each gap between them give its history by stripe; the spans are chosen afterwards, by stripe, from left to right.
"""
from bisect import bisect_left, bisect_right
from collections import defaultdict, namedtuple
from heapq import heappop, heappush

Span = namedtuple("Span", "seq start upto")
# of one key in one stripe: how it enters and leaves, and the seqs of its own entries there
Change = namedtuple("Change", "stripe key old new seqs")


class Linear:
    """min(x + plus, most) of the value x below; most may be infinite."""
    INFINITE = float("inf")

    def __init__(self, plus=0, most=INFINITE):
        self.plus, self.most = plus, most

    def __eq__(self, other):
        return isinstance(other, Linear) and (self.plus, self.most) == (other.plus, other.most)

    def add(self, value):
        return Linear(self.plus + value, self.most if self.most == self.INFINITE else self.most + value)

    def cap(self, value):
        return Linear(self.plus, min(self.most, value))


class Known:
    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return isinstance(other, Known) and self.value == other.value

    def add(self, value):
        return Known(self.value + value)

    def cap(self, value):
        return Known(min(self.value, value))


class Absent:
    def __eq__(self, other):
        return isinstance(other, Absent)

    def add(self, value):
        return Known(value)

    def cap(self, value):
        return self


ABSENT = Absent()


def step(state, op, value):
    if op in ("del", "span"):
        return ABSENT
    if op == "put":
        return Known(value)
    return getattr(state, op)(value)


def present_below(db, first):
    """The keys that are present below."""
    made, spans = {}, []
    for seq, op, key, upto in db.execute(
            "SELECT e.seq, e.op, e.key, e.upto FROM entry e, segment s WHERE s.id = e.segment AND s.rank < ?"
            " ORDER BY e.seq", (first,)):
        if op == "span":
            if key < upto:
                spans.append((key, upto, seq))
        elif op == "del":
            made.pop(key, None)
        elif op != "cap":
            made[key] = seq
    spans.sort()
    found, heap, at = set(), [], 0
    for key in sorted(made):
        while at < len(spans) and spans[at][0] <= key:
            heappush(heap, (-spans[at][2], spans[at][1]))
            at += 1
        while heap and heap[0][1] <= key:
            heappop(heap)
        if not heap or -heap[0][0] < made[key]:
            found.add(key)
    return found


class Cells:
    def __init__(self, spans):
        self.bounds = sorted({bound for span in spans for bound in (span.start, span.upto)})
        self.seqs = [[] for _ in range(len(self.bounds) + 1)]
        for span in spans:      # in the order of their seqs
            for cell in range(bisect_right(self.bounds, span.start), bisect_right(self.bounds, span.upto)):
                self.seqs[cell].append(span.seq)

    def of(self, key):
        return self.seqs[bisect_right(self.bounds, key)]


def history(key, own, over, state, stripe_of):
    """The changes of one key."""
    acts, before = [], -1
    for seq, op, value in [*own, (float("inf"), None, None)]:
        at = bisect_right(over, before)
        if at < len(over) and over[at] < seq:
            acts.append((over[at], "span", None))
        if op:
            acts.append((seq, op, value))
        before = seq
    changes, at = [], 0
    while at < len(acts):
        stripe, old, seqs = stripe_of(acts[at][0]), state, []
        while at < len(acts) and stripe_of(acts[at][0]) == stripe:
            seq, op, value = acts[at]
            state = step(state, op, value)
            if op != "span":
                seqs.append(seq)
            at += 1
        changes.append(Change(stripe, key, old, state, seqs))
    return changes


def fewest(spans, keys):
    """The fewest spans that cover the sorted keys, from left to right."""
    spans = sorted(spans, key=lambda span: span.start)
    kept, best, at = [], None, 0
    for key in keys:
        if kept and key < kept[-1].upto:
            continue
        while at < len(spans) and spans[at].start <= key:
            if best is None or spans[at].upto > best.upto:
                best = spans[at]
            at += 1
        kept.append(best)
    return kept


def storable(number):
    return -2 ** 63 <= number < 2 ** 63


def entries_for(change, covered):
    """(op, value) for one key and stripe."""
    old, new = change.old, change.new
    if isinstance(new, Absent):
        return [] if covered or isinstance(old, Absent) else [("del", None)]
    if isinstance(new, Known):
        if not covered and old == new:
            return []
        if not storable(new.value) and not covered and isinstance(old, Known) and storable(new.value - old.value):
            return [("add", new.value - old.value)]
        return [("put", new.value)]
    plus = new.plus - old.plus
    added = old.add(plus)
    if new.most >= added.most:
        return [("add", plus)] if plus else []
    if not plus:
        return [("cap", new.most)]
    if storable(new.most) or not storable(new.most - plus):
        return [("add", plus), ("cap", new.most)]
    return [("cap", new.most - plus), ("add", plus)]


def merged_entries(entries, held, alive):
    def stripe_of(seq):
        return bisect_left(held, seq)

    spans, own = [], defaultdict(list)
    for seq, op, key, upto, value in entries:
        if op == "span":
            if key < upto:
                spans.append(Span(seq, key, upto))
        else:
            own[key].append((seq, op, value))
    cells = Cells(spans)
    changes = []
    for key in alive | own.keys():
        over = cells.of(key)
        if over or key in own:
            changes += history(key, own.get(key, ()), over, Linear() if key in alive else ABSENT, stripe_of)

    by_stripe, spans_of = defaultdict(list), defaultdict(list)
    for change in changes:
        by_stripe[change.stripe].append(change)
    for span in spans:
        spans_of[stripe_of(span.seq)].append(span)
    for stripe, of_stripe in by_stripe.items():
        wanted = sorted(c.key for c in of_stripe if not c.seqs and not isinstance(c.old, Absent))
        kept = fewest(spans_of[stripe], wanted)
        starts = [span.start for span in kept]
        for span in kept:
            yield span.seq, "span", span.start, span.upto, None
        for change in of_stripe:
            if not change.seqs:
                continue
            at = bisect_right(starts, change.key) - 1
            made = entries_for(change, at >= 0 and change.key < kept[at].upto)
            for seq, (op, value) in zip(change.seqs[-len(made):], made):
                yield seq, op, change.key, None, value


def compact(db, first, last):
    with db:
        db.execute("BEGIN IMMEDIATE")
        ranks = {rank for rank, in db.execute("SELECT rank FROM segment WHERE rank IN (?, ?)", (first, last))}
        if ranks != {first, last} or first > last:
            raise ValueError(f"no such segments: {first} to {last}")
        entries = db.execute("SELECT e.seq, e.op, e.key, e.upto, e.value FROM entry e, segment s"
                             " WHERE s.id = e.segment AND s.rank BETWEEN ? AND ? ORDER BY e.seq", (first, last)).fetchall()
        held = [seq for seq, in db.execute("SELECT seq FROM snapshot ORDER BY seq")]
        new = sorted(merged_entries(entries, held, present_below(db, first)), key=lambda entry: entry[0])
        db.execute("DELETE FROM entry WHERE segment IN (SELECT id FROM segment WHERE rank BETWEEN ? AND ?)", (first, last))
        db.execute("DELETE FROM segment WHERE rank BETWEEN ? AND ?", (first, last))
        if new:
            segment = db.execute("INSERT INTO segment(rank) VALUES (?)", (first,)).lastrowid
            db.executemany("INSERT INTO entry(segment, seq, op, key, upto, value) VALUES (?, ?, ?, ?, ?, ?)",
                           [(segment, *entry) for entry in new])
END_OF_FILE
