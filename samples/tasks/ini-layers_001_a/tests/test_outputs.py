import hashlib
import os
import random
import sqlite3
import subprocess
import tempfile
import time
from bisect import bisect_left
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

FAR = 10 ** 15
SCHEMA = "18763a8f17637bef"   # of its statements without blanks


STRATA = ["python3", "-S", "/app/strata.py"]   # without what is installed beside Python


def strata(*words, stdin=""):
    return subprocess.run([*STRATA, *map(str, words)], input=stdin, capture_output=True, text=True, timeout=60)


def ticks():
    """The processor time of each process so far."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found[place] = sum(int(word) for word in (place / "stat").read_text().rpartition(")")[2].split()[11:13])
    return found


def compacts_in(seconds, *words):
    """Whether a compaction succeeds in a processor time, which other load on the machine does not change; that of
    processes that it hands its work to counts, too."""
    before, spent = ticks(), {}
    with subprocess.Popen([*STRATA, "compact", *map(str, words)]) as run:
        for _ in range(1500):
            spent.update({place: used for place, used in ticks().items() if place not in before})
            if run.poll() is not None or sum(spent.values()) > seconds * os.sysconf("SC_CLK_TCK"):
                break
            time.sleep(0.04)
        run.kill()
    return run.returncode == 0


def entry_of(line):
    parts = line.split()
    if parts[0] == "span":
        return (*parts, None)
    return (*parts[:2], None, int(parts[2]) if parts[2:] else None)


@lru_cache(maxsize=None)
def empty_store():
    """The statements that make a store without entries."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.db"
        assert strata("apply", model, "-", stdin="put any 1\n").returncode == 0
        db = sqlite3.connect(model)
        made = db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC, name").fetchall()
        db.close()
    assert hashlib.sha256("".join("".join(sql for sql, in made).split()).encode()).hexdigest()[:16] == SCHEMA, "another schema"
    return ";\n".join(sql for sql, in made) + ";"


def build(path, segments):
    """A store of {rank: lines}; the line "hold" holds a snapshot."""
    db = sqlite3.connect(path)
    db.executescript("PRAGMA synchronous = OFF;" + empty_store())
    seq, rows = 0, []
    for rank in sorted(segments):
        place = db.execute("INSERT INTO segment VALUES (NULL, ?)", (rank,)).lastrowid
        for line in segments[rank]:
            if line == "hold":
                db.execute("INSERT OR REPLACE INTO snapshot(seq) SELECT ?", [seq])
            else:
                seq += 1
                rows.append(entry_of(line) + (seq, place))
    db.executemany("INSERT INTO entry(op, key, upto, value, seq, segment) VALUES (?,?,?,?,?,?)", rows)
    db.execute("INSERT INTO meta VALUES ('seq', ?)", (seq,))
    db.commit()
    db.close()
    return path


def load(path):
    db = sqlite3.connect(path)
    segments = {rank: [] for rank, in db.execute("SELECT rank FROM segment")}
    rank_of = {number: rank for number, rank in db.execute("SELECT id, rank FROM segment")}
    for place, *entry in db.execute("SELECT segment, entry.seq, op, key, upto, entry.value FROM entry ORDER BY 2"):
        assert place in rank_of, "an entry without a segment"
        segments[rank_of[place]].append(tuple(entry))
    held = sorted(row[0] for row in db.execute("SELECT * FROM snapshot"))
    meta = db.execute("SELECT * FROM meta").fetchall() + db.execute("SELECT sql FROM sqlite_master ORDER BY 1").fetchall()
    db.close()
    return segments, held, meta


def readings(start, entries, held):
    """What is read at each held snapshot and at the head."""
    now, seen, waiting = dict(start), [], list(held)
    for seq, op, name, upto, number in entries:
        while waiting and waiting[0] < seq:
            seen.append(dict(now))
            waiting.pop(0)
        assert op in ("put", "add", "cap", "del", "span"), f"unknown op {op}"
        if op == "span":
            now = {n: v for n, v in now.items() if n < name or n >= upto}
        elif op == "del":
            now.pop(name, None)
        elif op == "put":
            now[name] = number
        elif op == "add":
            now[name] = now[name] + number if name in now else number
        elif name in now and now[name] > number:
            now[name] = number
    return seen + [now] * (len(waiting) + 1)


def flat(segments, low=-1, high=10 ** 9):
    return [entry for rank in sorted(segments) if low <= rank <= high for entry in segments[rank]]


def differences(one, other):
    return [(number, key, a.get(key), b.get(key)) for number, (a, b) in enumerate(zip(one, other))
            for key in sorted({*a, *b}) if a.get(key) != b.get(key)][:5]


def check(path, before, first, last, tight, label):
    """Rules 1 and, if tight, 2 to 4 of the compaction that was done."""
    (old, held, meta), (new, held_now, meta_now) = before, load(path)
    assert (held, meta) == (held_now, meta_now), f"{label}: snapshots, meta or the schema changed"
    outside = {rank: entries for rank, entries in old.items() if not first <= rank <= last}
    assert {rank: entries for rank, entries in new.items() if not first <= rank <= last} == outside, \
        f"{label}: other segments changed"
    assert set(new) - set(outside) in (set(), {first}), f"{label}: ranks {sorted(new)}"
    result = new.get(first, [])
    assert result or first not in new, f"{label}: an empty segment is left"

    real = readings({}, flat(old), held), readings({}, flat(new), held)
    assert not differences(*real), f"{label}: readings changed: {differences(*real)}"
    merged, above = flat(old, first, last), flat(old, last + 1)
    below = readings({}, flat(old, high=first - 1), [])[-1]
    worlds = [dict.fromkeys(below, FAR), dict.fromkeys(below, -FAR)]
    for world in worlds:
        pair = readings(world, merged + above, held), readings(world, result + above, held)
        assert not differences(*pair), f"{label}: readings over other values below: {differences(*pair)}"
    if not tight:
        return

    by_seq = {entry[0]: entry for entry in merged}
    ops = {}
    for entry in result:
        seq, op, key, upto, value = entry
        source = by_seq.get(seq)
        assert source, f"{label}: {entry} has the seq of no merged entry"
        if op == "span":
            assert entry == source, f"{label}: {entry} is not a merged span"
        else:
            assert source[1] != "span" and source[2] == key, f"{label}: {entry} has the seq of {source}"
            assert upto is None and (value is None) == (op == "del"), f"{label}: columns of {entry}"
            ops.setdefault((bisect_left(held, seq), key), []).append(op)
    for place, found in ops.items():
        assert len(found) == 1 or sorted(found) == ["add", "cap"], f"{label}: {found} in stripe and key {place}"

    # Without an entry only the keys that it is about can change: they are all that is read again.
    spans = [entry for entry in result if entry[1] == "span"]
    single = sorted((entry for entry in result if entry[1] != "span"), key=lambda entry: (entry[2], entry[0]))
    names, ground = [entry[2] for entry in single], sorted(below)
    for entry in result:
        low = entry[2]
        high = max(low, entry[3]) if entry[1] == "span" else low + "\0"
        near = [span for span in spans if span[2] < high and span[3] > low]
        near = sorted(near + single[bisect_left(names, low):bisect_left(names, high)])
        rest = [other for other in near if other != entry]
        worlds = [dict.fromkeys(ground[bisect_left(ground, low):bisect_left(ground, high)], value) for value in (FAR, -FAR)]
        assert any(readings(world, rest, held) != readings(world, near, held) for world in worlds), \
            f"{label}: needless {entry} in {result[:40]}"


def compacted(path, first, last, tight, label):
    before = load(path)
    done = strata("compact", path, first, last)
    assert done.returncode == 0, f"{label}: status {done.returncode}: {done.stderr[-300:]}"
    check(path, before, first, last, tight, label)


def random_store(path, dice, with_spans):
    """Ranks 2, 3, 5, 8, 9; 3 to 8 are to be merged."""
    keys = ["a", "aa", "b", "ba", "c", "d", "dé", "e"]

    def line(spans):
        op = dice.choice(["put", "put", "add", "add", "add", "cap", "cap", "del"] + ["span"] * (3 if spans else 0))
        if op == "span":
            return f"span {dice.choice(keys)} {dice.choice([*keys, 'f', 'f'])}"
        if op == "del":
            return f"del {dice.choice(keys)}"
        return f"{op} {dice.choice(keys)} {dice.randint(-2, 3) if op == 'add' else dice.randint(0, 4)}"

    segments = {}
    for rank in (2, 3, 5, 8, 9):
        segments[rank] = []
        for _ in range(dice.randint(6, 13)):
            segments[rank].append(line(rank == 2 or with_spans))
            if dice.random() < 0.15:
                segments[rank].append("hold")
    return build(path, segments)


def random_stores(folder, seeds, tight, with_spans=None):
    """Compacts a random store for each seed, four at a time; the last one's path."""
    def one(seed):
        spans = bool(seed % 2) if with_spans is None else with_spans
        store = random_store(folder / f"{seed}.db", random.Random(seed), spans)
        compacted(store, 3, 8, tight, f"random store {seed}")
        return store

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, seeds))[-1]


def cases_store(path, cases):
    """Each case has its own keys: lines below, of a first stripe and of a second one (their keys get a prefix)."""
    parts = [[], [], []]
    for number, case in enumerate(cases):
        for part, text in zip(parts, case):
            for line in filter(None, map(str.strip, text.split(","))):
                op, *words = line.split()
                for at in range(2 if op == "span" else 1):
                    words[at] = f"{number:02d}{words[at]}"
                part.append(" ".join([op, *words]))
    return build(path, {1: ["put zz 1", *parts[0]], 4: [*parts[1], "put zy 1", "hold"], 6: ["add zy 1", *parts[2]],
                        7: ["put zz 2"]})


def test_promised_readings_stay(tmp_path):
    store = tmp_path / "flow.db"
    for text in ("put dan 7\nput ann 20\nput cyd 9\nput bob 5\n", "del bob\nadd ann 3\n", "cap cyd 4\nadd cyd 2\nput new 1\n"):
        assert strata("apply", store, "-", stdin=text).returncode == 0
    assert strata("hold", store).stdout == "9\n"
    assert strata("apply", store, "-", stdin="span a c\nput dan 8\ndel new\n").returncode == 0
    before = load(store)
    for words in (("compact", 3, 2), ("compact", 0, 2), ("compact", 2, 7), ("get", "dan", "--at", 4), ("release", 4)):
        assert strata(words[0], store, *words[1:]).returncode == 2, words
        assert load(store) == before
    assert strata("segments", store).stdout == "4\t3\n3\t3\n2\t2\n1\t4\n"
    compacted(store, 2, 4, False, "flow")
    assert strata("dump", store, "--at", 9).stdout == "ann\t23\ncyd\t6\ndan\t7\nnew\t1\n"
    assert strata("dump", store).stdout == "cyd\t6\ndan\t8\n"
    assert strata("get", store, "bob").returncode == 1
    compacted(store, 1, 2, False, "flow, all of it")
    assert strata("apply", store, "-", stdin="add dan 1\nadd ann 1\n").returncode == 0
    assert strata("dump", store, "--at", 9).stdout == "ann\t23\ncyd\t6\ndan\t7\nnew\t1\n"
    assert strata("release", store, 9).returncode == 0
    assert strata("get", store, "dan").stdout == "9\n"
    random_stores(tmp_path, range(6), False)


def test_single_keys_need_all_their_entries(tmp_path):
    cases = [("put k 3", "del k", ""), ("put k 3, del k", "del k", ""), ("", "del k", "del k"),
             ("put k 3, span a z", "del k", ""), ("put k 3", "del k", "add k 4"), ("", "put k 3, del k", "del k"),
             ("put k 4", "add k 0", "add k 0"), ("", "add k 0", ""), ("cap k 3", "add k 0", ""), ("", "cap k 3", "cap k 2"),
             ("put k 4", "cap k 10, add k 3", ""), ("put k 4", "add k 2, cap k 5, add k -1, cap k 9", "add k 1"),
             ("put k 9", "cap k 5", "cap k 7"), ("put k 9", "cap k 5", "add k 2, cap k 7"),
             ("put k 9", "add k 1, cap k 5", "cap k 8, add k 2, add k -2"), ("put k 1", "cap k 5, cap k 3", "cap k 3"),
             ("", "put k 5", "put k 5"), ("", "add k 5", "cap k 8, add k 1, cap k 5"), ("put k 5", "put k 5", "add k 0"),
             ("put k 5", "add k 2", "add k -2"), ("put k 5", "add k 2, add k -2", ""), ("", "put k 2, cap k 1", "del k, add k 1"),
             ("put k 5", "del k, put k 5", ""), ("put k 5", "del k, cap k 1", "cap k 1, add k 0"), ("add k 1", "put k 1", "del k"),
             ("put k 4", "cap k 7000000000", "add k -8000000000"), ("add k 6000000", "add k 20, cap k 3000000", "cap k 2999999"),
             ("put k 0", "put k 9000000", "cap k -9000000")]
    compacted(cases_store(tmp_path / "cases.db", cases), 4, 6, True, "cases")
    store = random_stores(tmp_path, range(100, 108), True, False)
    held = load(store)[1]
    assert held and strata("release", store, held[len(held) // 2]).returncode == 0
    compacted(store, 3, 3, True, "again, with a snapshot less")
    assert strata("apply", store, "-", stdin="add b 1\ncap b 2\nadd b 2\ndel c\n").returncode == 0
    compacted(store, 3, 10, True, "again, with new entries")
    nothing = build(tmp_path / "nothing.db", {1: ["put a 1", "del a"], 2: ["del a", "put b 1"], 3: ["del b", "cap a 1"]})
    compacted(nothing, 2, 3, True, "nothing left")
    assert set(load(nothing)[0]) == {1}


def test_spans_need_all_their_entries(tmp_path):
    cases = [("put a 1, put c 1", "span a c", ""), ("", "span a c", "span a b"), ("put b 1", "span a c, put b 2", ""),
             ("put b 1", "put b 2, span a c", ""), ("", "put a 5, put b 1", "span a c, put a 5"),
             ("", "put a 5", "span a c, put a 5"), ("put b 4", "span a c, add b 2", ""), ("put b 4", "add b 2, span a c", ""),
             ("put a 1, put b 1, put c 1", "span a c, span b d", ""), ("put b 1", "span a c, span b d", ""),
             ("put a 1, put b 1, put c 1", "span b c, span a d, span a c", "span a d"), ("put b 1", "span b a, span b b", ""),
             ("put b 4", "span a c, cap b 9", "add b 0"), ("put b 4", "span a c", "put b 4, span a c, add b 4"),
             ("put b 1", "del b, span a c", ""), ("put a 1, put b 1", "span a c, del b, put b 3, del b", ""),
             ("put a 3, put b 3", "put a 5, put b 5", "span a c, put a 5, add b 5"), ("put b 1, span a c", "span a c", ""),
             ("put a 1, put b 7", "put b 7", "span a b, span a c, put b 7"), ("put b 2", "cap b 1, span a c, add b 1", "cap b 1")]
    compacted(cases_store(tmp_path / "cases.db", cases), 4, 6, True, "cases")
    store = random_stores(tmp_path, range(200, 210), True, True)
    held = load(store)[1]
    assert held and strata("release", store, held[-1]).returncode == 0
    compacted(store, 3, 3, True, "again, with a snapshot less")


def test_all_or_nothing_and_large_stores(tmp_path):
    segments = {1: ["put a 1", "put b 2", "put c 3"], 2: ["del a", "add b 1", "hold"], 3: ["put d 4", "add b 2", "cap c 2"],
                4: ["span b c", "put e 5"]}
    for number, event in enumerate(("INSERT ON entry", "DELETE ON entry", "DELETE ON segment", "INSERT ON segment", "")):
        # without an event, the sum of what is added to c is too large for SQLite
        store = build(tmp_path / f"{number}.db", segments if event else {**segments, 3: [f"add c {2 ** 63 - 1}", "add c 7"]})
        if event:
            db = sqlite3.connect(store)
            row = "OLD" if event.startswith("DELETE") else "NEW"
            when = f"WHEN {row}.op != 'del'" if event.endswith("entry") else ""
            db.execute(f"CREATE TRIGGER broken BEFORE {event} {when} BEGIN SELECT RAISE(ABORT, 'disk full'); END")
            db.commit()
            db.close()
        before = load(store)
        done = strata("compact", store, 2, 4)
        if done.returncode == 0:
            check(store, before, 2, 4, not event, event or "a sum")
        else:
            assert load(store) == before, f"a failure at {event or 'a sum'} changed the store"

    dice = random.Random(7)

    def lines(count, spans):
        for number in range(count):
            key = dice.randrange(12000)
            if spans and number % spans == 0:
                yield f"span k{key:05d} k{min(key + dice.choice((3, 40, 10 * spans)), 12000):05d}"
            else:
                op = dice.choice(("put", "add", "cap", "del"))
                yield f"{op} k{key:05d}" + ("" if op == "del" else f" {dice.randint(0, 50)}")
            if spans > 9 and number % 1100 == 900:
                yield "hold"
    store = build(tmp_path / "large.db", {1: [f"put k{n:05d} {n % 90}" for n in range(10000)], 2: list(lines(3000, 30)),
                                          3: list(lines(3000, 6)), 4: list(lines(50, 0))})
    before = load(store)
    assert compacts_in(10, store, 2, 3), "the large store fails, or takes too long"
    check(store, before, 2, 3, True, "large store")
