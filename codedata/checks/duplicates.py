"""Near-duplicates: which texts say what an earlier one says.

Two texts are as similar as the Jaccard index of their shingles: runs of five words (a text of fewer words is one
shingle, a text without words is one as it stands). A word is a run of letters, digits and underscores in lower case, or
one Chinese or Japanese character: layout and punctuation do not count. In a short text every word counts much: one that
is changed among 30 leaves 0.68.

MinHash names the candidates, the shingles themselves decide: nothing below the threshold is ever listed. What can be
missed is a pair that MinHash does not bring together, at most 0.2 % of those that are exactly as similar as the
threshold, fewer above it. The same texts in the same order give the same list, on any machine with the same rensa.

Not promised: that paraphrases are found. Time grows with the number of texts, and with the pairs that are nearly as
similar as the threshold: leave out what all texts share, such as a long system prompt, or every pair is one of them.
"""
from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from codedata.errors import Trouble

SHINGLE = 5             # words
SLOTS = 128             # of a MinHash signature
FOUND = 0.998           # of the pairs at the threshold, at least: decides how the slots are cut into bands
SEED = 20_240_613       # of the MinHash: any number, but always this one
CACHED_WORDS = 1 << 20  # their hashes take 0.15 GB
LONGEST_CACHED = 64     # characters; longer words are base64 and its like, and do not come again
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")   # Chinese has no spaces
ASCII_WORD = re.compile(r"[a-z0-9_]+")
ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Duplicate:
    """A text that is left out, and the one that is kept in its place."""

    name: str
    of: str
    similarity: float   # Jaccard of the two, at least the threshold


def near_duplicates(texts: Iterable[tuple[str, str]], *, threshold: float = 0.8,
                    against: Iterable[tuple[str, str]] = ()) -> list[Duplicate]:
    """The texts that are near-duplicates of one before them, or of one of `against`; in their order.

    Both are (name, text). What is listed is out: later texts are compared with those that are kept only, and of
    several the most similar one is named. Holds all texts, about 1 kB for each, and the shingles of those that have a
    candidate.
    """
    known = list(against)
    every = [*known, *texts]
    word_hashes, minhash = WordHashes(), MinHash(threshold)
    keys = np.empty((len(every), minhash.n_bands), dtype=np.uint64)
    signatures = np.empty((len(every), SLOTS), dtype=np.uint8)
    for number, (_, text) in enumerate(every):
        keys[number], signatures[number] = minhash.sketch(shingles(text, word_hashes))
    _, place, times = np.unique(keys, return_inverse=True, return_counts=True)
    shared = (times > 1)[place].reshape(keys.shape)   # most keys are one text's own: they need no index
    index, found = Index(threshold, signatures), []
    for number, (name, text) in enumerate(every):
        own_keys = keys[number][shared[number]].tolist()
        if not own_keys:
            continue
        own = shingles(text, word_hashes)   # a second time: to keep them all would be twice the texts
        similar = index.similar(own, own_keys, signatures[number]) if number >= len(known) else []
        if similar:
            of, similarity = max(similar, key=lambda one: one[1])
            found.append(Duplicate(name, every[of][0], similarity))
        else:
            index.add(number, own, own_keys)
    return found


# words and shingles

def words(text: str) -> list[str]:
    """The words of a text in lower case."""
    text = without_escapes(text)
    if text.isascii():
        return ASCII_WORD.findall(text.lower())
    found = WORD.findall(text)   # before lower(): it can put a mark into a word that ends it
    return "\n".join(found).lower().split("\n") if found else []


def spans(text: str) -> list[tuple[int, int]]:
    """Where each of the words of a text stands."""
    return [match.span() for match in WORD.finditer(without_escapes(text))]


def without_escapes(text: str) -> str:
    """A text of the same length, with blanks for line breaks and tabs that are written out, as in JSON in a history."""
    return text.replace("\\n", "  ").replace("\\t", "  ") if "\\" in text else text


class WordHashes(dict):
    """word: 64 bits, the same in every process. Forgets all when it is full: a hash can be had again."""

    def __missing__(self, word: str) -> int:
        value = int.from_bytes(blake2b(word.encode(errors="surrogatepass"), digest_size=8).digest(), "little")
        if len(word) <= LONGEST_CACHED:
            if len(self) >= CACHED_WORDS:
                self.clear()
            self[word] = value
        return value

    def of(self, found: list[str]) -> np.ndarray:
        return np.array([self[word] for word in found], dtype=np.uint64)


def runs(hashes: np.ndarray, length: int) -> np.ndarray:
    """A 64-bit hash of every `length` consecutive words; empty where there are fewer."""
    n = len(hashes) - length + 1
    if n <= 0:
        return np.empty(0, dtype=np.uint64)
    out = hashes[:n].copy()
    for first in range(1, length):
        out *= ODD
        out += hashes[first:first + n]
    return out


def shingles(text: str, word_hashes: WordHashes) -> np.ndarray:
    """The distinct shingles of a text as sorted hashes, at least one.

    64 bits: that two of a million different shingles look alike has a chance of 1 in 30 million.
    """
    hashes = word_hashes.of(words(text) or [text.strip()])
    return np.unique(runs(hashes, min(SHINGLE, len(hashes))))


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Of two sorted arrays without repetition."""
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)


# candidates

class MinHash:
    """Signatures: two texts agree in about as many of their slots as they are similar.

    Cut into bands, each with a key: similar texts have a key in common, others hardly ever.
    """

    def __init__(self, threshold: float):
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold is {threshold}, not above 0 and at most 1")
        try:
            from rensa import RMinHash
        except ImportError:
            raise Trouble("near-duplicates need the package rensa, which is not installed.",
                          todo="pip install 'codedata[checks]', or pip install 'rensa>=0.5'") from None
        self._digests = RMinHash.digest_matrix_from_flat_token_hashes
        # the longer a band, the fewer pairs share one by chance; FOUND says how long it may be
        n_rows = max(n for n in range(1, SLOTS + 1) if n == 1 or 1 - (1 - threshold ** n) ** (SLOTS // n) >= FOUND)
        self.n_bands = SLOTS // n_rows
        self._factors = runs(np.arange(1, n_rows + 2, dtype=np.uint64) * ODD, 2) | np.uint64(1)
        self._salts = runs(np.arange(1, self.n_bands + 2, dtype=np.uint64) << np.uint64(17), 2)

    def sketch(self, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(the key of each band, the last byte of each slot) of the text with these shingles."""
        signature = np.array(self._digests(own, [0, len(own)], SLOTS, SEED).to_rows()[0], dtype=np.uint64)
        bands = signature[:self.n_bands * len(self._factors)].reshape(self.n_bands, -1)
        return (bands * self._factors).sum(axis=1) * ODD + self._salts, signature.astype(np.uint8)


class Index:
    """Texts by their keys. A number is a text's row in `signatures`."""

    def __init__(self, threshold: float, signatures: np.ndarray):
        self._threshold, self._signatures = threshold, signatures
        # four standard deviations: of the pairs at the threshold this loses 1 in 30,000
        self._least = threshold - 4 * (threshold * (1 - threshold) / SLOTS) ** 0.5
        self._shingles: dict[int, np.ndarray] = {}
        self._numbers: dict[int, list[int]] = defaultdict(list)

    def add(self, number: int, own: np.ndarray, keys: Iterable[int]) -> None:
        self._shingles[number] = own
        for key in keys:
            self._numbers[key].append(number)

    def similar(self, own: np.ndarray, keys: Iterable[int], signature: np.ndarray) -> list[tuple[int, float]]:
        """(number, similarity) of every text that is as similar as the threshold, by number."""
        candidates = np.array(sorted({number for key in keys for number in self._numbers.get(key, ())}), dtype=np.intp)
        agree = (self._signatures[candidates] == signature).mean(axis=1)   # a hundredth of what shingles cost
        likely = candidates[agree >= self._least].tolist()
        compared = [(number, jaccard(own, self._shingles[number])) for number in likely]
        return [(number, similarity) for number, similarity in compared if similarity >= self._threshold]
