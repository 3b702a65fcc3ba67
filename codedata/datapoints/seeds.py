"""Read seed tasks: folders in the layout of terminal-bench or Harbor, Markdown files, JSON lines.

An idea agent starts from a seed. Left out are solutions, files that are large or not text, and
lines with a canary (the mark of benchmark data).
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from codedata.bounded import read_bounded, row_in
from codedata.errors import Trouble
from codedata.suites.source import files_in

MARKS = ("task.yaml", "task.toml")     # a folder with one of these is a seed
SOLUTIONS = ("solution.sh", "solution.yaml", "solution")
MAX_BYTES, MAX_FILES = 200_000, 200    # limits of one file, and of a seed's folder
CANARY = re.compile(r"^.*canary.*$\n?", re.IGNORECASE | re.MULTILINE)   # marks of benchmark data


@dataclass(frozen=True)
class Seed:
    """Hold a seed task."""

    id: str
    texts: dict[str, str]      # by path


def seeds_in(path: Path) -> list[Seed]:
    """Return the seeds of a file or folder, in the order of file names and lines. Raise Trouble
    if there are none."""
    if not path.exists():
        raise Trouble("is not there.", str(path))
    seeds = [*_found(path)]
    if not seeds:
        raise Trouble("has no seed.", str(path), "A seed is a folder with task.yaml or task.toml, "
                      "a Markdown file, or a line of a JSONL file.")
    return seeds


def _found(path: Path) -> Iterator[Seed]:
    if path.is_dir():
        if any((path / mark).is_file() for mark in MARKS):
            yield Seed(_id(path.name), dict(_texts(path)))
            return
        for entry in sorted(path.iterdir()):
            if not entry.is_symlink() and (entry.is_dir() or entry.suffix in (".md", ".jsonl")):
                yield from _found(entry)
    elif path.suffix == ".jsonl":
        lines = read_bounded(path).decode(errors="replace").splitlines()
        yield from (_of_row(line, f"{path.stem}-{n}", f"{path}:{n}")
                    for n, line in enumerate(lines, 1) if line.strip())
    else:
        text = read_bounded(path, MAX_BYTES).decode(errors="replace")
        yield Seed(_id(path.stem), {"seed.md": CANARY.sub("", text)})


def _of_row(line: str, name: str, where: str) -> Seed:
    try:
        row = row_in(line)
        name = str(row.get("id") or row.get("task_id") or name)
    except (ValueError, AttributeError, RecursionError) as e:
        raise Trouble(f"is not a JSON object: {e}", where) from e
    return Seed(_id(name), {"seed.json": json.dumps(row, indent=2, ensure_ascii=False) + "\n"})


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    for name, path in islice(files_in(folder).items(), MAX_FILES):
        if name.partition("/")[0] in SOLUTIONS or path.stat().st_size > MAX_BYTES:
            continue
        try:
            yield name, CANARY.sub("", path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            continue


def _id(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "seed"
