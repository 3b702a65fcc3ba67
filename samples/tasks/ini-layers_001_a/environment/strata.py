#!/usr/bin/env python3
"""strata: quotas in a layered store. FORMAT.md tells what holds."""
import argparse
import os
import sqlite3
import sys

from compaction import compact

SCHEMA = """
CREATE TABLE IF NOT EXISTS segment(id INTEGER PRIMARY KEY, rank INTEGER NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS entry(seq INTEGER PRIMARY KEY, segment INTEGER NOT NULL REFERENCES segment(id),
                                 op TEXT NOT NULL, key TEXT NOT NULL, upto TEXT, value INTEGER);
CREATE INDEX IF NOT EXISTS entry_segment ON entry(segment);
CREATE TABLE IF NOT EXISTS snapshot(seq INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT OR IGNORE INTO meta VALUES ('seq', 0);
"""


def connect(path, create=False):
    if not create and not os.path.exists(path):
        raise ValueError(f"no store: {path}")
    db = sqlite3.connect(path)
    if create:
        db.executescript(SCHEMA)
    return db


def parse(line):
    """(op, key, upto, value) of one line."""
    op, *words = line.split()
    if op in ("put", "add", "cap") and len(words) == 2:
        return op, words[0], None, int(words[1])
    if op == "del" and len(words) == 1:
        return op, words[0], None, None
    if op == "span" and len(words) == 2:
        return op, words[0], words[1], None
    raise ValueError(f"not an entry: {line.strip()}")


def head(db):
    return db.execute("SELECT value FROM meta WHERE name = 'seq'").fetchone()[0]


def seen_from(db, at):
    if at is None:
        return head(db)
    if not db.execute("SELECT 1 FROM snapshot WHERE seq = ?", (at,)).fetchone():
        raise ValueError(f"no snapshot is held at {at}")
    return at


def reading(db, at):
    """All keys and values as seen at a seq."""
    values = {}
    for op, key, upto, value in db.execute(
            "SELECT op, key, upto, value FROM entry WHERE seq <= ? ORDER BY seq", (at,)):
        if op == "put":
            values[key] = value
        elif op == "add":
            values[key] = values.get(key, 0) + value
        elif op == "cap":
            if key in values:
                values[key] = min(values[key], value)
        elif op == "del":
            values.pop(key, None)
        elif op == "span":
            for covered in [k for k in values if key <= k < upto]:
                del values[covered]
    return values


def apply(db, lines):
    entries = [parse(line) for line in lines if line.strip()]
    if not entries:
        raise ValueError("no entries")
    seq = head(db)
    rank = db.execute("SELECT coalesce(max(rank), 0) + 1 FROM segment").fetchone()[0]
    segment = db.execute("INSERT INTO segment(rank) VALUES (?)", (rank,)).lastrowid
    for entry in entries:
        seq += 1
        db.execute("INSERT INTO entry(seq, segment, op, key, upto, value) VALUES (?, ?, ?, ?, ?, ?)",
                   (seq, segment, *entry))
    db.execute("UPDATE meta SET value = ? WHERE name = 'seq'", (seq,))
    db.commit()


def hold(db):
    seq = head(db)
    db.execute("INSERT OR IGNORE INTO snapshot VALUES (?)", (seq,))
    db.commit()
    return seq


def release(db, seq):
    db.execute("DELETE FROM snapshot WHERE seq = ?", (seen_from(db, seq),))
    db.commit()


def arguments():
    parser = argparse.ArgumentParser(prog="strata.py")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("apply", "get", "dump", "segments", "hold", "release", "compact"):
        command = commands.add_parser(name)
        command.add_argument("db")
        if name == "apply":
            command.add_argument("file")
        if name == "get":
            command.add_argument("key")
        if name in ("get", "dump"):
            command.add_argument("--at", type=int)
        if name == "release":
            command.add_argument("seq", type=int)
        if name == "compact":
            command.add_argument("first", type=int)
            command.add_argument("last", type=int)
    return parser.parse_args()


def main():
    args = arguments()
    if args.command == "apply":
        if args.file == "-":
            lines = sys.stdin.readlines()
        else:
            with open(args.file, encoding="utf-8") as file:
                lines = file.readlines()
        apply(connect(args.db, create=True), lines)
        return 0
    db = connect(args.db)
    if args.command == "get":
        values = reading(db, seen_from(db, args.at))
        if args.key not in values:
            return 1
        print(values[args.key])
    elif args.command == "dump":
        for key, value in sorted(reading(db, seen_from(db, args.at)).items()):
            print(f"{key}\t{value}")
    elif args.command == "segments":
        for rank, count in db.execute(
                "SELECT rank, count(seq) FROM segment LEFT JOIN entry ON entry.segment = segment.id"
                " GROUP BY rank ORDER BY rank DESC"):
            print(f"{rank}\t{count}")
    elif args.command == "hold":
        print(hold(db))
    elif args.command == "release":
        release(db, args.seq)
    elif args.command == "compact":
        compact(db, args.first, args.last)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        print(f"strata.py: {error}", file=sys.stderr)
        sys.exit(2)
