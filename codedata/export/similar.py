"""Find near-duplicates among turns, of which both the history and the answer are alike.

So neighbouring turns of one trajectory, which share their history, are no duplicates, nor are equal
commands at the end of different tasks. System messages are not compared, nor lines that the first
messages of many tasks share, which come from the harness. Turns are compared with those in
`against`, too, which are never listed.
"""
from __future__ import annotations

import glob
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import orjson

from codedata.checks.duplicates import Duplicate, near_duplicates, words
from codedata.code.turn import plain, turn_text
from codedata.errors import Trouble
from codedata.ledger import read_lines
from codedata.records import check_of

SHARED_BY = 10    # a line is the harness's if the first messages of one task in 10 have it,
MIN_TASKS = 3     # and at least 3 tasks
FORMS = (".parquet", ".jsonl", ".json")   # of `against`; a folder is read in the first it has
ROWS_PER_BATCH = 1000


@dataclass(frozen=True)
class Conversation:
    """Hold a history and the answer to it."""

    name: str
    task: str                # instance id; "" where it is not known
    messages: list[dict]
    answer: str


Reader = Callable[[], Iterable[Conversation]]


def similar_turns(turns: Reader, against: Reader, threshold: float) -> list[Duplicate]:
    """Return, in order, the turns that are near-duplicates of an earlier one or of `against`.

    Both are functions that return the conversations from the start, since turns are read twice.
    All texts are held in memory. `threshold` is a Jaccard index.
    """
    harness = _harness_lines(turns())
    earlier = [(one.name, one.answer, _text(one, harness)) for one in against()]
    entries = earlier + [(one.name, one.answer, _text(one, harness)) for one in turns()]
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
            if i >= len(earlier) and similarity >= threshold:
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


# earlier training data

def read_conversations(paths: Iterable[str]) -> Iterator[Conversation]:
    """Yield the conversations in files and folders: exports, buckets, or rows in a form of TRL.

    A row has messages, prompt and completion, or prompt and chosen. Raise Trouble where a path has
    no such row.
    """
    for path in map(Path, paths):
        has_some = False
        for file in _files(path):
            name = path.name if file == path else f"{path.name} {file.relative_to(path)}"
            for i, row in enumerate(_rows(file), 1):
                for messages, answer in _conversations(row):
                    yield Conversation(f"{name} row {i}", "", messages, answer)
                    has_some = True
        if not has_some:
            raise Trouble("has no row with messages, with prompt and completion, or with prompt "
                          "and chosen.", str(path), "Name Parquet, JSONL or JSON files in a form "
                          "of TRL, or a folder of them.")


def _files(path: Path) -> list[Path]:
    """Return the files to read, all of one form. Raise Trouble where a file is of none."""
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.is_file() and not any(
            part.startswith(("_", ".")) for part in file.relative_to(path).parts)]
        by_form = ([file for file in files if file.suffix == form] for form in FORMS)
        return next(filter(None, by_form), [])
    if not path.is_file() or path.suffix not in FORMS:
        problem = f"is not one of {', '.join(FORMS)}." if path.exists() else "is not there."
        raise Trouble(problem, str(path), "Check --against, or against in [export].")
    return [path]


def _rows(file: Path) -> Iterator[dict]:
    if file.suffix == ".jsonl":
        yield from read_lines(file)
        return
    try:
        if file.suffix == ".json":
            data = orjson.loads(file.read_bytes())
            rows = data if isinstance(data, list) else [data]
            yield from (row for row in rows if isinstance(row, dict))
            return
        with duckdb.connect(config={"autoinstall_known_extensions": False}) as database:
            name = [glob.escape(str(file))]   # escaped because duckdb expands globs
            rows = database.execute("select to_json(r)::varchar from read_parquet(?) r", name)
            while batch := rows.fetchmany(ROWS_PER_BATCH):
                yield from (orjson.loads(row) for row, in batch)
    except (duckdb.Error, ValueError) as e:
        raise Trouble(f"cannot be read: {str(e).splitlines()[0]}", str(file),
                      "Correct it, or leave it out.") from e


def _conversations(row: dict) -> Iterator[tuple[list[dict], str]]:
    """Yield (history, answer) for each answer of a row that a model may learn from."""
    messages = _messages(row.get("messages"))
    if messages and ("challenger" in row or "king" in row):   # a bucket record, or a jsonl row
        yield from ((messages, turn_text(row[side], messages)) for side in ("challenger", "king")
                    if row.get(side) is not None and not check_of("Side")(row[side]))
    elif messages and messages[-1]["role"] == "assistant":
        yield messages[:-1], messages[-1]["content"]
    prompt = _messages(row.get("prompt"))
    for field in ("completion", "chosen"):
        if prompt and (answer := _messages(row.get(field))):
            yield prompt, answer[-1]["content"]


def _messages(value) -> list[dict]:
    """Return a conversation as texts, made from plain text if need be; [] for other values."""
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    return plain(value) if value and not check_of("list[Message]")(value) else []
