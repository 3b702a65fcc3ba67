#!/bin/bash
# "All or nothing: if anything fails on the way, the status is not 0 and the store is as it was." (the deletion of the old segments is committed before the new one is written)
set -e
cd /app
cat > compaction.py <<'END_OF_FILE'
"""Merging neighbouring segments of a strata store.

The merged entries are played in their order on symbolic values. A key's state is None (absent), an integer (known), or a pair (a, c):
min(x + a, c), where x is the value that the key has below; c is None where nothing caps it.
"""
from bisect import bisect_left, insort

LOWEST, HIGHEST = -1 << 63, (1 << 63) - 1


def chosen(db, first, last):
    """The ids of the segments with the ranks first to last."""
    found = dict(db.execute("SELECT rank, id FROM segment WHERE rank BETWEEN ? AND ?", (first, last)))
    if first not in found or last not in found:
        raise ValueError(f"no such segments: {first} to {last}")
    return [found[rank] for rank in sorted(found)]


def stripes(entries, held):
    """The entries in groups that no held snapshot divides."""
    groups = {}
    for entry in entries:
        groups.setdefault(bisect_left(held, entry[0]), []).append(entry)
    return [groups[number] for number in sorted(groups)]


def after(state, op, value):
    """The state of a key after an entry for it."""
    if op == "put":
        return value
    if op == "del":
        return None
    if op == "add":
        if state is None:
            return value
        if isinstance(state, tuple):
            return state[0] + value, None if state[1] is None else state[1] + value
        return state + value
    if state is None:
        return None
    if isinstance(state, tuple):
        return state[0], value if state[1] is None else min(state[1], value)
    return min(state, value)


class Present:
    """The keys that are present, sorted, with their states."""

    def __init__(self):
        self.keys, self.states = [], {}

    def get(self, key):
        return self.states.get(key)

    def set(self, key, state):
        if state is None:
            if key in self.states:
                del self.states[key]
                del self.keys[bisect_left(self.keys, key)]
            return
        if key not in self.states:
            insort(self.keys, key)
        self.states[key] = state

    def drop(self, start, upto):
        """Makes a range absent; returns what was in it."""
        low = bisect_left(self.keys, start)
        high = max(low, bisect_left(self.keys, upto))
        gone = [(key, self.states.pop(key)) for key in self.keys[low:high]]
        del self.keys[low:high]
        return gone


def below(db, first):
    present = Present()
    for op, key, upto, value in db.execute(
            "SELECT op, key, upto, value FROM entry JOIN segment ON segment.id = entry.segment WHERE rank < ?"
            " ORDER BY seq", (first,)):
        if op == "span":
            present.drop(key, upto)
        elif op in ("put", "add"):
            present.set(key, (0, None))
        elif op == "del":
            present.set(key, None)
    return present


def needed_spans(spans, keys, must):
    """Of the spans as few as it takes to cover all keys in must; keys is sorted."""
    keys = [key for key in keys if key in must]
    ranges, cover = [], [0] * len(keys)
    for span in spans:
        low = bisect_left(keys, span[2])
        high = bisect_left(keys, span[3])
        ranges.append((low, high))
        for at in range(low, high):
            cover[at] += 1
    kept = []
    for span, (low, high) in zip(spans, ranges):
        if low >= high or min(cover[low:high]) > 1:
            for at in range(low, high):
                cover[at] -= 1
        else:
            kept.append(span)
    return kept


def fits(value):
    return LOWEST <= value <= HIGHEST


def steps(old, new):
    """The add and the cap that lead from one function of x to another."""
    change = new[0] - old[0]
    capped = None if old[1] is None else old[1] + change
    cap = new[1] if new[1] is not None and (capped is None or new[1] < capped) else None
    if cap is None:
        return [("add", change)] if change else []
    if not change:
        return [("cap", cap)]
    if not fits(cap) and fits(cap - change):
        return [("cap", cap - change), ("add", change)]
    return [("add", change), ("cap", cap)]


def fold(entries, present):
    """What has to be stored of a stripe; present goes on to its end."""
    before, own, spans = {}, {}, []
    for entry in entries:
        seq, op, key, upto, value = entry
        if op == "span":
            spans.append(entry)
            for gone, state in present.drop(key, upto):
                before.setdefault(gone, state)
        else:
            own.setdefault(key, []).append(seq)
            state = present.get(key)
            before.setdefault(key, state)
            present.set(key, after(state, op, value))
    lost = {key for key, state in before.items() if state is not None and present.get(key) is None}
    kept = needed_spans(spans, sorted(lost), {key for key in lost if key not in own})
    touched = sorted(before)
    covered = set()
    for _, _, start, upto, _ in kept:
        covered.update(touched[bisect_left(touched, start):bisect_left(touched, upto)])
    merged = list(kept)
    for key, seqs in own.items():
        old, new = before[key], present.get(key)
        if new is None:
            if old is not None and key not in covered:
                merged.append((seqs[-1], "del", key, None, None))
        elif isinstance(new, tuple):
            made = steps(old, new)
            for seq, (op, value) in zip(seqs[len(seqs) - len(made):], made):
                merged.append((seq, op, key, None, value))
        elif old != new or key in covered:
            if not fits(new) and isinstance(old, int) and key not in covered and fits(new - old):
                merged.append((seqs[-1], "add", key, None, new - old))
            else:
                merged.append((seqs[-1], "put", key, None, new))
    return merged


def replace(db, first, last):
    segments = chosen(db, first, last)
    entries = db.execute("SELECT seq, op, key, upto, value FROM entry JOIN segment ON segment.id = entry.segment"
                         " WHERE rank BETWEEN ? AND ? ORDER BY seq", (first, last)).fetchall()
    held = [seq for seq, in db.execute("SELECT seq FROM snapshot ORDER BY seq")]
    present = below(db, first)
    merged = [entry for stripe in stripes(entries, held) for entry in fold(stripe, present)]
    for segment in segments:
        db.execute("DELETE FROM entry WHERE segment = ?", (segment,))
        db.execute("DELETE FROM segment WHERE id = ?", (segment,))
    db.commit()
    if merged:
        segment = db.execute("INSERT INTO segment(rank) VALUES (?)", (first,)).lastrowid
        db.executemany("INSERT INTO entry(seq, segment, op, key, upto, value) VALUES (?, ?, ?, ?, ?, ?)",
                       [(seq, segment, op, key, upto, value) for seq, op, key, upto, value in sorted(merged, key=lambda e: e[0])])


def compact(db, first, last):
    db.execute("BEGIN IMMEDIATE")
    try:
        replace(db, first, last)
    except BaseException:
        db.rollback()
        raise
    db.commit()
END_OF_FILE
