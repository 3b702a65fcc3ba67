"""Find near-duplicates among texts by MinHash and the Jaccard index of their shingles.

A shingle is a run of five words; a text of fewer words, or without words, is a single shingle. A
word is a run of letters, digits and underscores in lower case, or one Chinese or Japanese
character, so layout and punctuation do not count. In a short text a single word weighs much:
changing one of 30 leaves a similarity of 0.68.

The package rensa proposes candidates by MinHash. Their shingles are then compared, so no pair below
the threshold is listed. MinHash misses at most 0.2 % of the pairs exactly at the threshold, and
fewer above it. The result depends only on the texts, their order and the version of rensa.

Paraphrases are not detected. The time grows with the number of texts and the number of pairs close
to the threshold. First remove text that all of them share, such as a long system prompt: with it,
every pair is close.
"""
from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import blake2b
from operator import attrgetter

import numpy as np
from rensa import RMinHash, RMinHashLSH

SHINGLE_WORDS = 5
MAX_SLOTS = 128          # in a MinHash sketch
MIN_RECALL = 0.998       # share of the pairs at the threshold that become candidates
SEED = 20_240_613        # a fixed seed keeps results reproducible
MAX_CACHED_WORDS = 1 << 20   # their hashes take 0.15 GB
MAX_CACHED_CHARS = 64    # longer words are mostly base64 and do not occur again
# Chinese and Japanese have no spaces between words.
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
ASCII_WORD = re.compile(r"[a-z0-9_]+")
HASH_FACTOR = np.uint64(0x9E3779B97F4A7C15)   # odd, so that multiplying loses no bit


@dataclass(frozen=True)
class Duplicate:
    """Name a text that is left out, and the similar text that is kept."""

    name: str
    of: str
    similarity: float   # Jaccard of the two, at least the threshold


def near_duplicates(texts: Iterable[tuple[str, str]], threshold: float = 0.8) -> list[Duplicate]:
    """Return the near-duplicates among texts, given as (name, text), in order.

    A text is compared only with earlier texts that are kept, and the most similar one is named.
    Raise ValueError for a threshold outside of 0 to 1.
    """
    kept = Texts(threshold)
    duplicates = []
    for name, text in texts:
        if twin := kept.nearest(text, name):
            duplicates.append(twin)
        else:
            kept.add(name, text)
    return duplicates


class Texts:
    """Hold texts, and find the one most similar to a given text.

    A text's MinHash sketch is cut into bands. Texts that share a band are candidates. The share of
    slots with equal values in two sketches estimates their similarity, which is cheaper than
    comparing shingles. All texts are kept in memory, each with a sketch of about 3 kB; so are the
    shingles of candidates.
    """

    def __init__(self, threshold: float):
        """Start without texts; the threshold is above 0, at most 1."""
        n_rows = _rows_of_a_band(threshold)
        n_bands = MAX_SLOTS // n_rows
        n_slots = n_rows * n_bands
        hashes = WordHashes()
        self._threshold = threshold
        self._texts: list[tuple[str, str, RMinHash]] = []   # name, text, sketch
        self._bands = RMinHashLSH(threshold, n_slots, n_bands)
        # Four standard deviations lose 1 in 30,000 of the pairs at the threshold.
        self._min_estimate = threshold - 4 * (threshold * (1 - threshold) / n_slots) ** 0.5
        self._shingles_of = cache(lambda number: shingles(self._texts[number][1], hashes))

        def measure(text: str) -> tuple[np.ndarray, RMinHash]:
            text_shingles, sketch = shingles(text, hashes), RMinHash(n_slots, SEED)
            sketch.update(text_shingles.view("V8").tolist())   # as bytes
            return text_shingles, sketch
        self._measure = lru_cache(1)(measure)   # add() mostly follows nearest() for the same text

    def add(self, name: str, text: str) -> None:
        """Add a text. Several texts may have the same name."""
        _, sketch = self._measure(text)
        self._bands.insert(len(self._texts), sketch)
        self._texts.append((name, text, sketch))

    def nearest(self, text: str, name: str = "") -> Duplicate | None:
        """Return the most similar text at or above the threshold, or None."""
        text_shingles, sketch = self._measure(text)
        similar = []
        for number in sorted(self._bands.query(sketch)):
            other, _, other_sketch = self._texts[number]
            if sketch.jaccard(other_sketch) >= self._min_estimate:
                similarity = jaccard(text_shingles, self._shingles_of(number))
                if similarity >= self._threshold:
                    similar.append(Duplicate(name, other, similarity))
        return max(similar, key=attrgetter("similarity"), default=None)


# words and shingles

def words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    text = without_escapes(text)
    if text.isascii():
        return ASCII_WORD.findall(text.lower())
    # split before lower(), which may add a combining mark that splits a word
    return [word.lower() for word in WORD.findall(text)]


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return the (start, end) of each word of a text."""
    return [match.span() for match in WORD.finditer(without_escapes(text))]


def without_escapes(text: str) -> str:
    """Return the text with each escaped line break or tab replaced by two spaces, so that its
    length stays the same."""
    return text.replace("\\n", "  ").replace("\\t", "  ")


class WordHashes(dict):
    """Map each word to a 64-bit hash, the same in every process. A full cache is emptied."""

    def __missing__(self, word: str) -> int:
        digest = blake2b(word.encode(errors="surrogatepass"), digest_size=8).digest()
        value = int.from_bytes(digest, "little")
        if len(word) <= MAX_CACHED_CHARS:
            if len(self) >= MAX_CACHED_WORDS:
                self.clear()
            self[word] = value
        return value

    def of(self, text_words: list[str]) -> np.ndarray:
        """Return the hashes of words, as uint64, in order."""
        return np.array([self[word] for word in text_words], dtype=np.uint64)


def ngram_hashes(hashes: np.ndarray, n: int) -> np.ndarray:
    """Return a 64-bit hash for every `n` consecutive words; none if there are fewer."""
    count = max(len(hashes) - n + 1, 0)
    out = hashes[:count].copy()
    for first in range(1, n):
        out *= HASH_FACTOR
        out += hashes[first:first + count]
    return out


def shingles(text: str, word_hashes: WordHashes) -> np.ndarray:
    """Return the distinct shingles of a text as sorted 64-bit hashes, at least one.

    The chance that any two of a million different shingles have the same hash is 1 in 30 million.
    """
    hashes = word_hashes.of(words(text) or [text.strip()])
    return np.unique(ngram_hashes(hashes, min(SHINGLE_WORDS, len(hashes))))


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Jaccard index of two sorted arrays without repetition, from 0 to 1."""
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)


def _rows_of_a_band(threshold: float) -> int:
    """Return the number of rows in a band: the largest that reaches MIN_RECALL, since long bands
    rarely match by chance."""
    for n in range(MAX_SLOTS, 1, -1):
        if 1 - (1 - threshold ** n) ** (MAX_SLOTS // n) >= MIN_RECALL:
            return n
    return 1
