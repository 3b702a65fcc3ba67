"""Merging neighbouring segments of a strata store."""
from bisect import bisect_right


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
        groups.setdefault(bisect_right(held, entry[0]), []).append(entry)
    return [groups[number] for number in sorted(groups)]


def fold(entries):
    """One entry for each key of a stripe."""
    spans = [(key, upto) for _, op, key, upto, _ in entries if op == "span"]
    seqs, base, added, caps = {}, {}, {}, {}
    for seq, op, key, _, value in entries:
        if op == "span" or any(start <= key < upto for start, upto in spans):
            continue
        seqs[key] = seq
        if op == "put":
            base[key] = value
            added.pop(key, None)
            caps.pop(key, None)
        elif op == "add":
            added[key] = added.get(key, 0) + value
        elif op == "cap":
            caps[key] = min(value, caps.get(key, value))
        elif op == "del":
            for known in (seqs, base, added, caps):
                known.pop(key, None)
    merged = []
    for key, seq in seqs.items():
        value = base.get(key, 0) + added.get(key, 0)
        if key in caps:
            value = min(value, caps[key])
        merged.append((seq, "put", key, None, value))
    return merged


def compact(db, first, last):
    segments = chosen(db, first, last)
    marks = ", ".join("?" * len(segments))
    entries = db.execute(f"SELECT seq, op, key, upto, value FROM entry WHERE segment IN ({marks}) ORDER BY seq",
                         segments).fetchall()
    held = [seq for seq, in db.execute("SELECT seq FROM snapshot ORDER BY seq")]
    merged = [entry for stripe in stripes(entries, held) for entry in fold(stripe)]
    db.execute(f"DELETE FROM entry WHERE segment IN ({marks})", segments)
    db.execute(f"DELETE FROM segment WHERE id IN ({marks})", segments)
    db.commit()
    if merged:
        segment = db.execute("INSERT INTO segment(rank) VALUES (?)", (first,)).lastrowid
        for seq, op, key, upto, value in merged:
            db.execute("INSERT INTO entry(seq, segment, op, key, upto, value) VALUES (?, ?, ?, ?, ?, ?)",
                       (seq, segment, op, key, upto, value))
    db.commit()
