"""Find near-duplicates among texts by MinHash and the Jaccard index of their shingles.

A shingle is a run of five words; a text of fewer words, or without words, is a single shingle. A
word is a run of letters, digits and underscores in lower case, or one Chinese or Japanese
character, so layout and punctuation do not count. A single word matters much in a short text:
changing one of 30 leaves 0.68.

MinHash proposes candidates, which are then compared by their shingles, so no pair below the
threshold is listed. MinHash misses at most 0.2 % of the pairs that are exactly at the threshold,
and fewer above it. The result depends only on the texts, their order and the version of rensa.

Paraphrases are not detected. The time grows with the number of texts and with the number of pairs
close to the threshold. Remove text that all of them share, such as a long system prompt, or every
pair is close.
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
FOUND = 0.998           # share of pairs at the threshold that become candidates, at least
SEED = 20_240_613       # of the MinHash; a fixed number keeps results reproducible
CACHED_WORDS = 1 << 20  # their hashes take 0.15 GB
MAX_CACHED_CHARS = 64     # characters; longer words are mostly base64 and do not occur again
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")   # Chinese has no spaces
ASCII_WORD = re.compile(r"[a-z0-9_]+")
ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Duplicate:
    """Name a text that is left out, and the one that is kept in its place."""

    name: str
    of: str
    similarity: float   # Jaccard of the two, at least the threshold


def near_duplicates(texts: Iterable[tuple[str, str]], *, threshold: float = 0.8,
                    against: Iterable[tuple[str, str]] = ()) -> list[Duplicate]:
    """Return the near-duplicates of an earlier text or of one of `against`, in order.

    Both arguments are (name, text). A text is compared only with earlier texts that are kept, and
    the most similar one is named. The memory holds all texts, about 1 kB more for each, and the
    shingles of those that have a candidate. Raise ValueError unless 0 < threshold <= 1, and Trouble
    without rensa.
    """
    known = list(against)
    every = [*known, *texts]
    word_hashes, minhash = WordHashes(), MinHash(threshold)
    keys = np.empty((len(every), minhash.n_bands), dtype=np.uint64)
    signatures = np.empty((len(every), SLOTS), dtype=np.uint8)
    for number, (_, text) in enumerate(every):
        keys[number], signatures[number] = minhash.sketch(shingles(text, word_hashes))
    _, place, times = np.unique(keys, return_inverse=True, return_counts=True)
    shared = (times > 1)[place].reshape(keys.shape)   # a key that only one text has needs no index
    index, found = Index(threshold, signatures), []
    for number, (name, text) in enumerate(every):
        own_keys = keys[number][shared[number]].tolist()
        if not own_keys:
            continue
        own = shingles(text, word_hashes)   # computed again: keeping all takes too much memory
        similar = index.similar(own, own_keys, signatures[number]) if number >= len(known) else []
        if similar:
            of, similarity = max(similar, key=lambda one: one[1])
            found.append(Duplicate(name, every[of][0], similarity))
        else:
            index.add(number, own, own_keys)
    return found


# words and shingles

def words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    text = without_escapes(text)
    if text.isascii():
        return ASCII_WORD.findall(text.lower())
    found = WORD.findall(text)   # before lower(), which may add a combining mark that splits a word
    return "\n".join(found).lower().split("\n") if found else []


def spans(text: str) -> list[tuple[int, int]]:
    """Return the (start, end) of each word of a text."""
    return [match.span() for match in WORD.finditer(without_escapes(text))]


def without_escapes(text: str) -> str:
    """Return the text with two blanks for each escaped line break or tab; its length stays."""
    return text.replace("\\n", "  ").replace("\\t", "  ") if "\\" in text else text


class WordHashes(dict):
    """Map each word to a 64-bit hash that is the same in every process. A full cache is cleared."""

    def __missing__(self, word: str) -> int:
        value = int.from_bytes(blake2b(word.encode(errors="surrogatepass"), digest_size=8).digest(), "little")
        if len(word) <= MAX_CACHED_CHARS:
            if len(self) >= CACHED_WORDS:
                self.clear()
            self[word] = value
        return value

    def of(self, found: list[str]) -> np.ndarray:
        """Return the hashes of words, in their order, as uint64."""
        return np.array([self[word] for word in found], dtype=np.uint64)


def runs(hashes: np.ndarray, length: int) -> np.ndarray:
    """Return a 64-bit hash of every `length` consecutive words, none where there are fewer."""
    n = len(hashes) - length + 1
    if n <= 0:
        return np.empty(0, dtype=np.uint64)
    out = hashes[:n].copy()
    for first in range(1, length):
        out *= ODD
        out += hashes[first:first + n]
    return out


def shingles(text: str, word_hashes: WordHashes) -> np.ndarray:
    """Return the distinct shingles of a text as sorted 64-bit hashes, at least one.

    The chance that any two of a million different shingles have the same hash is 1 in 30 million.
    """
    hashes = word_hashes.of(words(text) or [text.strip()])
    return np.unique(runs(hashes, min(SHINGLE, len(hashes))))


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Jaccard index of two sorted arrays without repetition, from 0 to 1."""
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)


# candidates

class MinHash:
    """Compute MinHash signatures.

    The share of slots in which two texts agree estimates their similarity. A signature is cut into
    bands with one key each. Similar texts share a key, and others rarely do.
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
        # longer bands are shared by chance less often; FOUND limits their length
        n_rows = max(n for n in range(1, SLOTS + 1) if n == 1 or 1 - (1 - threshold ** n) ** (SLOTS // n) >= FOUND)
        self.n_bands = SLOTS // n_rows
        self._factors = runs(np.arange(1, n_rows + 2, dtype=np.uint64) * ODD, 2) | np.uint64(1)
        self._salts = runs(np.arange(1, self.n_bands + 2, dtype=np.uint64) << np.uint64(17), 2)

    def sketch(self, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (the key of each band, the last byte of each slot) for the shingles of a text."""
        signature = np.array(self._digests(own, [0, len(own)], SLOTS, SEED).to_rows()[0], dtype=np.uint64)
        bands = signature[:self.n_bands * len(self._factors)].reshape(self.n_bands, -1)
        return (bands * self._factors).sum(axis=1) * ODD + self._salts, signature.astype(np.uint8)


class Index:
    """Look up texts by their band keys. A text's number is its row in `signatures`."""

    def __init__(self, threshold: float, signatures: np.ndarray):
        self._threshold, self._signatures = threshold, signatures
        # Four standard deviations lose 1 in 30,000 of the pairs at the threshold.
        self._least = threshold - 4 * (threshold * (1 - threshold) / SLOTS) ** 0.5
        self._shingles: dict[int, np.ndarray] = {}
        self._numbers: dict[int, list[int]] = defaultdict(list)

    def add(self, number: int, own: np.ndarray, keys: Iterable[int]) -> None:
        """Add a text with its shingles and band keys."""
        self._shingles[number] = own
        for key in keys:
            self._numbers[key].append(number)

    def similar(self, own: np.ndarray, keys: Iterable[int], signature: np.ndarray) -> list[tuple[int, float]]:
        """Return (number, similarity) of each text at or above the threshold, sorted by number."""
        candidates = np.array(sorted({number for key in keys for number in self._numbers.get(key, ())}), dtype=np.intp)
        agree = (self._signatures[candidates] == signature).mean(axis=1)   # costs a hundredth of comparing shingles
        likely = candidates[agree >= self._least].tolist()
        compared = [(number, jaccard(own, self._shingles[number])) for number in likely]
        return [(number, similarity) for number, similarity in compared if similarity >= self._threshold]
