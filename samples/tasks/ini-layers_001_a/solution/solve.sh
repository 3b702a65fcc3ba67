#!/bin/bash
set -e
cat > compaction.py <<'E'
"""Merging neighbouring segments of a strata store."""
from bisect import bisect_left

# What is known of a key: nothing (absent), ("is", n), or ("of", a, c), which is min(x + a, c) of its
# unknown value x below; c is None where there is no limit.
BELOW = ("of", 0, None)


def chosen(db, first, last):
    """The ids of the segments with the ranks first to last."""
    found = dict(db.execute("SELECT rank, id FROM segment WHERE rank BETWEEN ? AND ?", (first, last)))
    if first not in found or last not in found:
        raise ValueError(f"no such segments: {first} to {last}")
    return [found[rank] for rank in sorted(found)]


def present_below(db, first):
    """The keys that the segments below a rank leave present."""
    keys = set()
    for op, key, upto in db.execute("SELECT op, key, upto FROM entry JOIN segment ON segment.id = entry.segment"
                                    " WHERE rank < ? ORDER BY seq", (first,)):
        if op in ("put", "add"):
            keys.add(key)
        elif op == "del":
            keys.discard(key)
        elif op == "span":
            keys -= {k for k in keys if key <= k < upto}
    return keys


def stripes(entries, held):
    """The entries in groups that no held snapshot divides."""
    groups = {}
    for entry in entries:
        groups.setdefault(bisect_left(held, entry[0]), []).append(entry)
    return [groups[number] for number in sorted(groups)]


def step(known, op, value):
    """What is known of a key after an entry."""
    if op == "del":
        return None
    if op == "put" or (op == "add" and known is None):
        return ("is", value)
    if known is None:
        return None
    if known[0] == "is":
        return ("is", known[1] + value if op == "add" else min(known[1], value))
    _, plus, limit = known
    if op == "add":
        return ("of", plus + value, None if limit is None else limit + value)
    return ("of", plus, value if limit is None else min(limit, value))


def inside(keys, start, upto):
    """The part of sorted keys that a span covers."""
    return keys[bisect_left(keys, start):bisect_left(keys, upto)]


def fold(stripe, keys, state):
    """The entries that a stripe needs; state becomes what it is behind the stripe."""
    before = dict(state)
    spans, seqs = [], {}
    for seq, op, key, upto, value in stripe:
        if op == "span":
            spans.append((seq, "span", key, upto, None))
            for covered in inside(keys, key, upto):
                state.pop(covered, None)
            continue
        seqs.setdefault(key, []).append(seq)
        known = step(state.get(key), op, value)
        if known is None:
            state.pop(key, None)
        else:
            state[key] = known

    gone = sorted(key for key in before if key not in state)
    covering = dict.fromkeys(gone, 0)
    for _, _, start, upto, _ in spans:
        for key in inside(gone, start, upto):
            covering[key] += 1
    needed = []
    for span in spans:
        covered = inside(gone, span[2], span[3])
        if any(covering[key] == 1 for key in covered):
            needed.append(span)
        else:
            for key in covered:
                covering[key] -= 1

    folded = list(needed)
    for key, own in seqs.items():
        was, now = before.get(key), state.get(key)
        if now is None:
            if was is not None and not covering[key]:
                folded.append((own[-1], "del", key, None, None))
        elif now[0] == "is":
            if now != was or any(start <= key < upto for _, _, start, upto, _ in needed):
                folded.append((own[-1], "put", key, None, now[1]))
        else:
            plus = now[1] - was[1]
            if plus:
                folded.append((own[0], "add", key, None, plus))
            if now[2] != (None if was[2] is None else was[2] + plus):
                folded.append((own[-1], "cap", key, None, now[2]))
    return folded


def merge(db, first, last):
    segments = chosen(db, first, last)
    marks = ", ".join("?" * len(segments))
    entries = db.execute(f"SELECT seq, op, key, upto, value FROM entry WHERE segment IN ({marks}) ORDER BY seq",
                         segments).fetchall()
    held = [seq for seq, in db.execute("SELECT seq FROM snapshot ORDER BY seq")]
    below = present_below(db, first)
    state = dict.fromkeys(below, BELOW)
    keys = sorted(below | {entry[2] for entry in entries if entry[1] != "span"})
    merged = [entry for stripe in stripes(entries, held) for entry in fold(stripe, keys, state)]
    db.execute(f"DELETE FROM entry WHERE segment IN ({marks})", segments)
    db.execute(f"DELETE FROM segment WHERE id IN ({marks})", segments)
    if merged:
        segment = db.execute("INSERT INTO segment(rank) VALUES (?)", (first,)).lastrowid
        db.executemany(f"INSERT INTO entry(seq, segment, op, key, upto, value) VALUES (?, {segment}, ?, ?, ?, ?)", merged)


def compact(db, first, last):
    db.isolation_level = None
    db.execute("BEGIN IMMEDIATE")
    try:
        merge(db, first, last)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
E
