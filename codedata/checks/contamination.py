"""Find samples that contain a benchmark's task (decontamination).

benchmark_rows.py reads the benchmarks from local files.

A sample is a hit by any of these:

    instance_id                  the ids are equal, ignoring case
    repository and base commit   both are equal; a full commit hash counts in forks, too
    13-gram                      one of the sample's texts has 13 consecutive words of a problem
                                 statement, of the added lines of a gold patch or a test patch, or
                                 of a terminal task's solution or tests

duplicates.py defines words. A 13-gram that occurs in more than three instances is boilerplate and
does not count. A hit needs 2 % of the 13-grams of a patch or of tests, because a project's idioms
occur in all its patches and match one or two. So a sample is no hit if it quotes other code of a
benchmark's repository, or the same code at an earlier commit.

A sample that quotes the repository with the gold patch applied is a hit, as it shows the solution.
Two short patches of one project may match each other, for instance if their tests begin with the
same lines. Translated or reworded statements, and patches in listings with line numbers, may be
missed.
"""
from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np

from codedata.checks.benchmark_rows import BenchmarkRow, read_rows
from codedata.checks.duplicates import WordHashes, ngram_hashes, word_spans, words
from codedata.code.patches import added_runs
from codedata.conversation.turn import plain, turn_text
from codedata.errors import Trouble

GRAM_WORDS = 13
MAX_INSTANCES = 3        # a 13-gram in more instances is boilerplate
MAX_EXCERPT_CHARS = 300  # length of the overlap shown in a hit
# Minimum share of a patch's 13-grams for a hit. Measured on Ansible: 171 PRs hit 46 of 600 older
# samples if a single 13-gram is enough, and 3 of them with this share.
MIN_SHARE = 0.02
STATEMENT = "problem statement"
PARTS = (STATEMENT, "patch", "test patch")
SAME_ID = "instance_id"
SAME_COMMIT = "repository and base commit"
SAME_WORDS = "13-gram"


@dataclass(frozen=True)
class Material:
    """Hold the parts of a sample to compare. `texts` maps names (history, issue, patch …) to texts.
    """

    instance_id: str
    repo: str
    base_commit: str
    texts: dict[str, str]


def of_turn(turn, repo: str, base_commit: str, **texts: str) -> Material:
    """Return the Material of a turn: its history, its reference, and `texts`, such as its issue."""
    history = "\n".join(message["content"] for message in plain(turn.messages))
    return Material(turn.instance_id, repo, base_commit,
                    {"history": history, "reference": turn_text(turn.assistant), **texts})


@dataclass(frozen=True)
class Hit:
    """Hold one reason why a sample contains a row of a benchmark."""

    benchmark: str    # the file, or the folder of a task
    row_id: str
    kind: str         # SAME_ID, SAME_COMMIT or SAME_WORDS
    overlap: str      # quoted from the sample, at most 300 characters
    part: str = ""    # the part of the row that overlaps, one of PARTS

    def __str__(self) -> str:
        part = f" ({self.part})" if self.part else ""
        return f"{Path(self.benchmark).name} {self.row_id}, {self.kind}{part}: {self.overlap}"


@dataclass(frozen=True)
class Overlap:
    """Locate the longest run of 13-grams shared by a text and a part of a row."""

    row: int
    part: str
    first_word: int
    n_words: int
    share: float      # share of the part's 13-grams that the text has, from 0 to 1


class Benchmarks:
    """Index the rows of benchmarks.

    The index takes 12 bytes per 13-gram, and up to 0.15 GB for word hashes. hits() is thread-safe.
    """

    def __init__(self, rows: Iterable[BenchmarkRow]):
        self._word_hashes = WordHashes()
        self._ids: list[tuple[str, str]] = []   # benchmark, row_id
        self._by_name: dict[str, list[int]] = defaultdict(list)
        # {a commit's first 7 characters: [(row, repo, commit)]}
        self._by_commit: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
        instances: dict[str, int] = {}   # {id: number}; an id may be in several files
        instance_of_row = []
        grams = []                       # for each row, the 13-grams of each of PARTS
        for number, row in enumerate(rows):
            self._ids.append((row.benchmark, row.row_id))
            for name in {name.lower() for name in row.names}:
                self._by_name[name].append(number)
            if _is_commit(row.base_commit):
                commit = row.base_commit.lower()
                self._by_commit[commit[:7]].append((number, row.repo.lower(), commit))
            instance_of_row.append(instances.setdefault(row.row_id.lower(), len(instances)))
            grams += [self._grams_of([row.statement]),
                      self._grams_of([*added_runs(row.patch), *row.solution]),
                      self._grams_of([*added_runs(row.test_patch), *row.tests])]
        self._grams, self._sources = _rare_grams(grams, instance_of_row)
        self._n_grams = np.bincount(self._sources, minlength=len(grams))

    def __len__(self) -> int:
        return len(self._ids)

    @classmethod
    def load(cls, paths: Iterable[str | Path]) -> Benchmarks:
        """Return the index of files and folders. Raise one Trouble for all unusable ones."""
        return cls(_every_row(paths))

    def hits(self, sample: Material) -> list[Hit]:
        """Return one hit for each row and kind, in the order of the rows; [] means clean.

        A 13-gram hit quotes the longest overlap. MIN_SHARE applies to patches and tests; a single
        13-gram of a problem statement is enough.
        """
        found = [(row, SAME_ID, sample.instance_id)
                 for row in self._by_name.get(sample.instance_id.lower(), ())]
        found += [(row, SAME_COMMIT, f"{sample.repo} {sample.base_commit}")
                  for row in self._same_commit(sample.repo.lower(), sample.base_commit.lower())]
        overlaps = [(overlap, text) for text in sample.texts.values()
                    for overlap in self._overlaps(self._word_hashes.of(words(text)))
                    if overlap.part == STATEMENT or overlap.share >= MIN_SHARE]
        longest: dict[int, tuple[Overlap, str]] = {}   # {row: (its longest overlap, the text)}
        for overlap, text in sorted(overlaps, key=lambda pair: -pair[0].n_words):
            longest.setdefault(overlap.row, (overlap, text))
        found += [(row, SAME_WORDS, _excerpt(text, overlap), overlap.part)
                  for row, (overlap, text) in longest.items()]
        return [Hit(*self._ids[row], *fields)
                for row, *fields in sorted(found, key=itemgetter(0))]

    def _same_commit(self, repo: str, commit: str) -> Iterator[int]:
        if not _is_commit(commit):
            return
        for row, other_repo, other in self._by_commit.get(commit[:7], ()):
            same_start = commit.startswith(other) or other.startswith(commit)
            if same_start and (repo == other_repo or min(len(commit), len(other)) >= 40):
                yield row

    def _overlaps(self, hashes: np.ndarray) -> Iterator[Overlap]:
        """Yield the longest overlap with each part of each row."""
        grams, positions = np.unique(ngram_hashes(hashes, GRAM_WORDS), return_index=True)
        starts = np.searchsorted(self._grams, grams)
        ends = np.searchsorted(self._grams, grams, side="right")
        positions_of = defaultdict(list)
        for place in np.flatnonzero(starts < ends):
            for source in self._sources[starts[place]:ends[place]].tolist():
                positions_of[source].append(positions[place])
        for source, shared in positions_of.items():
            shared.sort()
            gaps = np.flatnonzero(np.diff(shared) > 1) + 1
            longest = max(np.split(np.array(shared), gaps), key=len)
            row, part = divmod(source, len(PARTS))
            yield Overlap(row, PARTS[part], int(longest[0]), len(longest) + GRAM_WORDS - 1,
                          len(shared) / int(self._n_grams[source]))

    def _grams_of(self, texts: list[str]) -> np.ndarray:
        grams = [ngram_hashes(self._word_hashes.of(words(text)), GRAM_WORDS) for text in texts]
        return np.unique(np.concatenate([np.empty(0, dtype=np.uint64), *grams]))


def _every_row(paths: Iterable[str | Path]) -> Iterator[BenchmarkRow]:
    troubles = []
    for path in paths:
        try:
            yield from read_rows(path)
        except Trouble as e:
            troubles.append(e)
    if troubles:
        raise Trouble("\n".join(map(str, troubles)))


def _is_commit(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-fA-F]{7,64}", text))


def _excerpt(text: str, overlap: Overlap) -> str:
    run = word_spans(text)[overlap.first_word:][:overlap.n_words]
    return text[run[0][0]:run[-1][1]][:MAX_EXCERPT_CHARS]


def _rare_grams(grams: list[np.ndarray],
                instance_of_row: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return (sorted 13-grams, their sources), without 13-grams in more than MAX_INSTANCES
    instances. A source is an index into `grams`: row number * len(PARTS) + part."""
    every = np.concatenate([np.empty(0, dtype=np.uint64), *grams])
    sizes = np.array([len(part_grams) for part_grams in grams], dtype=np.intp)
    sources = np.repeat(np.arange(len(grams), dtype=np.int32), sizes)
    instances = np.array(instance_of_row, dtype=np.int32)[sources // len(PARTS)]
    order = np.lexsort((instances, every))
    every, sources, instances = every[order], sources[order], instances[order]
    is_new_gram = _differs_from_previous(every)
    is_new_instance = is_new_gram | _differs_from_previous(instances)
    gram_numbers = np.cumsum(is_new_gram) - 1
    n_instances = np.bincount(gram_numbers, weights=is_new_instance)
    rare = (n_instances <= MAX_INSTANCES)[gram_numbers]
    return every[rare], sources[rare]


def _differs_from_previous(values: np.ndarray) -> np.ndarray:
    return np.append(True, np.diff(values) != 0)[:len(values)]
