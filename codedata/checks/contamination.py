"""Find the samples that contain a task of a benchmark (decontamination).

benchmark_rows.py reads the benchmarks from local files.

A sample is a hit by any of these:

    instance_id                   the ids are equal, ignoring case
    repository and base commit    both are equal; a full commit hash counts in forks, too
    13-gram                       13 consecutive words of a problem statement, of the added lines of a gold patch or a
                                  test patch, or of a terminal task's solution or tests, in one of the sample's texts
    near-duplicate                one of the sample's texts is a near-duplicate of a problem statement

duplicates.py defines words and near-duplicates. A 13-gram is no evidence, and does not count, if it

- occurs in more than three instances,
- has fewer than seven distinct words (numbers and single letters do not count),
- was in the repository before the patch (in its removed lines and context), or
- comes from a licence header, an import, a lock file, the headers of a diff, the frames of a
  traceback, or the comments and check boxes of an issue template.

A sample has to contain 2 % of the 13-grams of a patch or of tests, because the idioms of a project
occur in all its patches and match one or two. So a sample may quote other code of a benchmark's
repository, or the same code at an earlier commit.

A sample that quotes the repository at a later commit, with the gold patch applied, is a hit, as it
shows the solution. Two short patches of one project may match each other, for instance where their
tests begin with the same lines. A translated or reworded statement may be missed, and so may a
patch in a listing with line numbers.
"""
from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from codedata.checks.benchmark_rows import Row, read_rows
from codedata.checks.duplicates import SHINGLE, Index, MinHash, WordHashes, runs, shingles, spans, words
from codedata.errors import Trouble

GRAM = 13
DISTINCT = 7             # words that a 13-gram needs; numbers and single letters do not count
COMMON = 3               # instances; a 13-gram that more of them share is boilerplate
EXCERPT = 300            # characters of the overlap that a hit shows
# The share of a patch's 13-grams that makes a hit. Measured on Ansible: of 600 older samples,
# 171 PRs hit 46 if a single 13-gram is enough, and 3 with this share.
SHARE = 0.02
NEAR = 0.8               # Jaccard similarity from which two problem statements are near-duplicates
PARTS = STATEMENT, PATCH, TEST_PATCH = "problem statement", "patch", "test patch"
KINDS = SAME_ID, SAME_COMMIT, SAME_WORDS, NEARLY = ("instance_id", "repository and base commit", "13-gram",
                                                    "near-duplicate")


@dataclass(frozen=True)
class Material:
    """Hold what is compared of a sample. `texts` maps names (history, issue, patch …) to texts."""

    instance_id: str
    repo: str
    base_commit: str
    texts: dict[str, str]


def of_turn(turn, repo: str, base_commit: str, **texts: str) -> Material:
    """Return the Material of a turn. `texts` adds its issue, patches and answers."""
    task = next((m["content"] for m in turn.messages if m["role"] == "user"), "")
    return Material(turn.instance_id, repo, base_commit, {
        "history": "\n".join(m["content"] for m in turn.messages), "task": task, "reference": turn.assistant, **texts})


@dataclass(frozen=True)
class Hit:
    """Hold one reason why a sample contains a row of a benchmark."""

    benchmark: str    # the file, or the folder of a task
    row_id: str
    kind: str         # one of KINDS
    overlap: str      # quoted from the sample, at most 300 characters
    part: str = ""    # the part of the row that overlaps, one of PARTS
    where: str = ""   # the name of the sample's text
    share: float = 1.0   # share of the part's 13-grams in the text, or Jaccard similarity

    def __str__(self) -> str:
        part = f" ({self.part})" if self.part else ""
        return f"{Path(self.benchmark).name} {self.row_id}, {self.kind}{part}: {self.overlap}"


class Benchmarks:
    """Index the rows of benchmarks.

    It takes 12 bytes for each 13-gram, and up to 0.15 GB for word hashes. hits() is thread-safe.
    """

    def __init__(self, rows: Iterable[Row]):
        self._word_hashes, self._minhash = WordHashes(), MinHash(NEAR)
        self._rows: list[tuple[str, str, str, str]] = []   # benchmark, row_id, repo, base commit
        self._by_name, self._by_commit = defaultdict(list), defaultdict(list)
        self._statements: list[int] = []                   # rows with a long enough statement
        instances: dict[str, int] = {}                     # a row may be in several files
        instance_of, grams, sources, own_shingles = [], [], [], []
        for number, row in enumerate(rows):
            self._rows.append((row.benchmark, row.row_id, row.repo.lower(), row.base_commit.lower()))
            for name in {name.lower() for name in row.names}:
                self._by_name[name].append(number)
            if _is_commit(row.base_commit):
                self._by_commit[row.base_commit[:7].lower()].append(number)
            instance_of.append(instances.setdefault(row.row_id.lower(), len(instances)))
            for part, found in enumerate(self._telling_grams(row)):
                grams.append(found)
                sources.append(np.full(len(found), number * len(PARTS) + part, dtype=np.int32))
            if len(words(row.statement)) >= SHINGLE:
                self._statements.append(number)
                own_shingles.append(shingles(row.statement, self._word_hashes))
        self._grams, self._sources = _without_common(grams, sources, np.array(instance_of, dtype=np.int32))
        self._n_grams = np.bincount(self._sources, minlength=len(self._rows) * len(PARTS))
        sketches = [self._minhash.sketch(own) for own in own_shingles]
        self._index = Index(NEAR, np.array([signature for _, signature in sketches], dtype=np.uint8))
        for place, (keys, _) in enumerate(sketches):
            self._index.add(place, own_shingles[place], keys.tolist())

    def __len__(self) -> int:
        return len(self._rows)

    @classmethod
    def load(cls, paths: Iterable[str | Path]) -> Benchmarks:
        """Return the index of files and folders. Raise Trouble that names each unusable one."""
        return cls(_every_row(paths))

    def hits(self, sample: Material, *, least_share: float = SHARE) -> list[Hit]:
        """Return one hit for each row and kind, in the order of the rows; [] means clean.

        A 13-gram hit quotes the longest overlap. `least_share`, from 0 to 1, applies to patches and
        tests; a single 13-gram of a problem statement is enough.
        """
        found: dict[tuple[int, str], tuple] = {}   # (row, kind) → the fields of a Hit after `kind`
        for number in self._by_name.get(sample.instance_id.lower(), ()):
            found[number, SAME_ID] = (sample.instance_id,)
        for number in self._same_commit(sample.repo.lower(), sample.base_commit.lower()):
            found[number, SAME_COMMIT] = (f"{sample.repo} {sample.base_commit}",)
        longest: dict[int, tuple] = {}
        for where, text in sample.texts.items():
            hashes = self._word_hashes.of(words(text))
            for number, part, first, n_words, share in self._overlaps(hashes):
                enough = part == STATEMENT or share >= least_share
                if enough and (number not in longest or n_words > longest[number][0]):
                    longest[number] = n_words, first, part, where, share
            for number, similarity in self._near(text, hashes):
                found.setdefault((number, NEARLY), (text.strip()[:EXCERPT], STATEMENT, where, similarity))
        for number, (n_words, first, *rest) in longest.items():
            found[number, SAME_WORDS] = (_excerpt(sample.texts[rest[1]], first, n_words), *rest)
        return [Hit(*self._rows[number][:2], kind, *found[number, kind])
                for number, kind in sorted(found, key=lambda key: (key[0], KINDS.index(key[1])))]

    def _same_commit(self, repo: str, commit: str) -> list[int]:
        if not _is_commit(commit):
            return []
        out = []
        for number in self._by_commit.get(commit[:7], ()):
            other_repo, other = self._rows[number][2:]
            same_start = commit.startswith(other) or other.startswith(commit)
            if same_start and (repo == other_repo or min(len(commit), len(other)) >= 40):
                out.append(number)
        return out

    def _overlaps(self, hashes: np.ndarray) -> Iterator[tuple[int, str, int, int, float]]:
        """Yield (row, part, first word, words, share) of each row and part that overlaps.

        `first word` and `words` locate the longest run; `share` is from 0 to 1.
        """
        own, positions = np.unique(runs(hashes, GRAM), return_index=True)   # sorted for searchsorted
        if not len(own) or not len(self._grams):
            return
        places = np.searchsorted(self._grams, own)
        hit = self._grams[np.minimum(places, len(self._grams) - 1)] == own
        positions_of = defaultdict(list)
        for gram, position, place in zip(own[hit], positions[hit].tolist(), places[hit].tolist(), strict=True):
            while place < len(self._grams) and self._grams[place] == gram:
                positions_of[int(self._sources[place])].append(position)
                place += 1
        for source, found in positions_of.items():
            ordered = np.sort(found)
            longest = max(np.split(ordered, np.flatnonzero(np.diff(ordered) > 1) + 1), key=len)
            yield (source // len(PARTS), PARTS[source % len(PARTS)], int(longest[0]), len(longest) + GRAM - 1,
                   len(found) / int(self._n_grams[source]))

    def _near(self, text: str, hashes: np.ndarray) -> list[tuple[int, float]]:
        if len(hashes) < SHINGLE or not self._statements:
            return []
        own = shingles(text, self._word_hashes)
        keys, signature = self._minhash.sketch(own)
        return [(self._statements[place], similarity)
                for place, similarity in self._index.similar(own, keys.tolist(), signature)]

    def _telling_grams(self, row: Row) -> Iterator[np.ndarray]:
        """Yield for each of PARTS the 13-grams that are evidence; common ones are removed later."""
        added, old = added_and_old(row.patch)
        added_tests, old_tests = added_and_old(row.test_patch)
        before = self._grams_of(old + old_tests, least_distinct=0)
        for texts in (statement_runs(row.statement),
                      added + [run for text in row.solution for run in code_runs(text.splitlines())],
                      added_tests + [run for text in row.tests for run in code_runs(text.splitlines())]):
            yield np.setdiff1d(self._grams_of(texts, DISTINCT), before, assume_unique=True)

    def _grams_of(self, texts: list[str], least_distinct: int) -> np.ndarray:
        out = [np.empty(0, dtype=np.uint64)]
        for found in map(words, texts):
            if len(found) >= GRAM:
                out.append(runs(self._word_hashes.of(found), GRAM)[_distinct(found) >= least_distinct])
        return np.unique(np.concatenate(out))


def _every_row(paths: Iterable[str | Path]) -> Iterator[Row]:
    troubles = []
    for path in paths:
        try:
            yield from read_rows(path)
        except Trouble as e:
            troubles.append(e)
    if troubles:
        raise troubles[0] if len(troubles) == 1 else Trouble("\n".join(map(str, troubles)))


def _is_commit(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-fA-F]{7,64}", text))


def _excerpt(text: str, first: int, n_words: int) -> str:
    places = spans(text)
    start = places[first][0]
    return text[start:min(places[first + n_words - 1][1], start + EXCERPT)]


def _distinct(found: list[str]) -> np.ndarray:
    """Return the number of distinct words in each 13-gram, without numbers and single letters."""
    ids = dict.fromkeys(found)
    for number, word in enumerate(ids, 1):
        ids[word] = 0 if len(word) == 1 or word.isdigit() else number
    windows = np.lib.stride_tricks.sliding_window_view(np.array([ids[word] for word in found]), GRAM)
    windows = np.sort(windows, axis=1)
    return (np.diff(windows, axis=1) > 0).sum(axis=1) + (windows[:, 0] > 0)


def _without_common(grams: list[np.ndarray], sources: list[np.ndarray],
                    instance_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (sorted 13-grams, their sources) without those of more than COMMON instances.

    A source is row number * len(PARTS) + part.
    """
    every = np.concatenate([np.empty(0, dtype=np.uint64), *grams])
    source = np.concatenate([np.empty(0, dtype=np.int32), *sources])
    instance = instance_of[source // len(PARTS)]
    order = np.lexsort((instance, every))
    every, source, instance = every[order], source[order], instance[order]
    other_gram = np.append(True, every[1:] != every[:-1])[:len(every)]
    other_instance = other_gram | np.append(True, instance[1:] != instance[:-1])[:len(every)]
    gram_number = np.cumsum(other_gram) - 1
    rare = np.bincount(gram_number, weights=other_instance) <= COMMON
    return every[rare[gram_number]], source[rare[gram_number]]


# the text of a row that is evidence

LICENCE = re.compile(r"copyright (?:\(c\)|©|\d{4})|licensed under the|spdx-license-identifier|all rights reserved"
                     r"|permission is hereby granted|redistribution and use in source|without (?:any )?warrant"
                     r"|general public license|apache license", re.IGNORECASE)
COMMENT = re.compile(r"\s*(?:#(?!include)|//|/?\*|;|--|<!--|%|\"\"\"|'''|rem\b|dnl\b|$)", re.IGNORECASE)
IMPORT = re.compile(r"\s*(?:import|from|#\s*include|using|use|package|require)\b|.*\brequire\(['\"]")
TEMPLATE = re.compile(r"\s*[-*+] \[[ xX]\]|\s*Traceback \(most recent call last\)|\s*File \".*\", line \d"
                      r"|diff --git |index [0-9a-f]{7,}\.\.|@@ -\d|(?:---|\+\+\+) \S")
CUT = "\n- [ ]\n"   # a line that matches TEMPLATE, so that the text is cut there
HTML_COMMENT = re.compile(r"<!--.{0,5000}?-->", re.DOTALL)
HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
NO_CODE = re.compile(r"(?:.*/)?(?:(?:package-lock|npm-shrinkwrap|composer)\.(?:json|lock)|go\.sum|pnpm-lock\.yaml"
                     r"|(?:yarn|cargo|poetry|uv|pdm|gemfile|pipfile|flake)\.lock|(?:licen[cs]e|copying|notice)\b.*)",
                     re.IGNORECASE)


def statement_runs(statement: str) -> list[str]:
    """Return the pieces of a statement between templates, tracebacks and licences."""
    lines = HTML_COMMENT.sub(CUT, statement).splitlines()
    return _runs(groupby(lines, key=lambda line: bool(line.strip())), TEMPLATE)


def code_runs(lines: list[str]) -> list[str]:
    """Return the pieces of code between imports and licence headers."""
    return _runs(groupby(lines, key=lambda line: bool(COMMENT.match(line))), IMPORT)


def added_and_old(patch: str) -> tuple[list[str], list[str]]:
    """Return (runs of added lines, hunks without them) of a unified diff.

    Lock files and licence files are left out.
    """
    added, old = [], []
    for path, lines in _hunks(patch):
        if not NO_CODE.fullmatch(path):
            old.append("\n".join(line[1:] for line in lines if not line.startswith("+")))
            for is_added, run in groupby(lines, key=lambda line: line.startswith("+")):
                added += code_runs([line[1:] for line in run]) if is_added else []
    return added, old


def _runs(blocks: Iterable[tuple[bool, Iterable[str]]], left_out: re.Pattern) -> list[str]:
    """Return the text between lines that match `left_out` and blocks with a licence."""
    out: list[list[str]] = [[]]
    for _, block in blocks:
        lines = list(block)
        if LICENCE.search("\n".join(lines)):
            out.append([])
            continue
        for line in lines:
            if left_out.match(line):
                out.append([])
            else:
                out[-1].append(line)
    return [text for run in out if (text := "\n".join(run).strip("\n"))]


def _hunks(patch: str) -> Iterator[tuple[str, list[str]]]:
    """Yield (path, lines) of each hunk.

    The end of a hunk follows from its line counts, because a removed "-- x" looks like a file
    header.
    """
    path, lines, old, new = "", [], 0, 0
    for line in patch.split("\n"):
        if old > 0 or new > 0:
            lines.append(line)
            old -= not line.startswith(("+", "\\"))
            new -= not line.startswith(("-", "\\"))
            if old <= 0 and new <= 0:
                yield path, lines
        elif match := HUNK.match(line):
            lines, (old, new) = [], (1 if n is None else int(n) for n in match.groups())
        elif line.startswith("+++ "):
            path = line[4:].partition("\t")[0].strip('"\r').removeprefix("b/")
    if old > 0 or new > 0:   # the diff ends within a hunk
        yield path, lines
