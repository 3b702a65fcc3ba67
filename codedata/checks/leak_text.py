"""Texts in pieces that can be compared: words, names, paths and lines, the same way for every side of leak.py.

Words are compared by stems, names without case and underscores (`maxSize`, `max_size` and MAX_SIZE are one), paths by
their ends, lines without indents, line numbers and diff signs. All of it is linear in the length of the text.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from codedata.texts import text_of

NAME = re.compile(r"(?<=\\[nrt])[^\W\d]\w*|(?<!\\)\b[^\W\d]\w*")   # three of "one\nthree"
NAME_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
PATH = re.compile(r"[\w.@+~/-]+")
PATH_ENDS = "./-~@+"                          # what a path does not begin or end with
NUMBER = re.compile(r"\b(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d+)*)\b")
NUMBERED = re.compile(r"[ \t]{0,8}(?:[\w./@+-]{1,200}[:-])?\d{1,6}(?:[:|-]|\t| {1,2})")   # of grep -n, nl, cat -n
ENDINGS = {ending: shortest for shortest, endings in (   # of a word, and how long what is before it has to be
    (4, "ations ation ating ated ates ate ments ment ences ence ances ance ness ison ions ion ers er ors or able al "
        "ive ity ly"), (3, "ings ing ies ied es ed s y e")) for ending in endings.split()}
LONGEST_ENDING = max(map(len, ENDINGS))
DOUBLING = {"ing", "ings", "ed", "er", "ers"}
VOWEL = re.compile("[aeiouy]")
LONGEST_PATH = 400                            # characters; what is longer is data


# words and names

@lru_cache(1 << 17)
def stem(word: str) -> str:
    """What the forms of a word have in common; crude, and the same for all sides."""
    return _without_ending(_without_ending(word.lower()))


def _without_ending(word: str) -> str:
    for length in range(min(LONGEST_ENDING, len(word) - 3), 0, -1):
        ending = word[-length:]
        if ending not in ENDINGS:
            continue
        rest = word[:-length]
        if len(rest) < ENDINGS[ending] or not VOWEL.search(rest) or (ending == "s" and rest[-1] in "sui"):
            continue   # string, class, status
        if ending in DOUBLING and len(rest) > 3 and rest[-1] == rest[-2] not in "lsz":
            return rest[:-1]   # stripped
        return rest
    return word


@lru_cache(1 << 16)
def name_parts(name: str) -> tuple[str, ...]:
    """["max", "size"] of max_size and MaxSize."""
    return tuple(part.lower() for part in NAME_PARTS.findall(name))


def word_stems(text: str) -> set[str]:
    """The stems of the words of a text, those inside names too."""
    return {stem(word) for word in {word.lower() for word in set(NAME_PARTS.findall(text))}}


def fold(name: str) -> str:
    return name.replace("_", "").lower()


@dataclass(frozen=True)
class Lists:
    """leak_words.txt: stems of what is said everywhere, and names that anybody knows."""

    stop: frozenset[str]
    agent: frozenset[str]
    common: frozenset[str]
    library: frozenset[str]          # names, folded
    generic: frozenset[str]          # parts of names
    files: frozenset[str]
    folders: frozenset[str]
    pieces: frozenset[str]           # words that only code has
    weak_pieces: frozenset[str]      # stems of words that code has and others use too
    concepts: dict[str, frozenset]   # {stem: the numbers of its groups}

    def weight(self, word: str) -> float:
        """0 where a word says nothing, 0.5 where it is an ordinary one, 1 where it is rare."""
        key = stem(word)
        if key in self.stop or len(word) < 3:
            return 0.0
        return 0.5 if key in self.common or fold(word) in self.library else 1.0

    def piece(self, word: str) -> float:
        """1 where a word is one for a piece of code, 0.5 where it may be one, else 0."""
        word = word.lower()
        if word in self.pieces or word.removesuffix("s") in self.pieces:   # by stems "points" would be a pointer
            return 1.0
        return 0.5 if stem(word) in self.weak_pieces else 0.0

    def meanings(self, stems) -> set[int]:
        """The groups that some of the stems belong to."""
        return {number for key, numbers in self.concepts.items() if key in stems for number in numbers}


@lru_cache
def lists() -> Lists:
    text = text_of("codedata.checks", "leak_words.txt")
    parts = {head.split("]")[0]: body for head, _, body in (part.partition("\n") for part in text.split("\n[")[1:])}
    words = {name: body.split() for name, body in parts.items()}
    concepts: dict[str, frozenset] = {}
    for number, line in enumerate(parts["concepts"].splitlines()):
        for word in line.split():
            concepts[stem(word)] = concepts.get(stem(word), frozenset()) | {number}
    stems = {name: frozenset(map(stem, words[name])) for name in ("stop", "agent", "common", "weak_pieces")}
    plain = {name: frozenset(words[name]) for name in ("generic", "files", "folders", "pieces")}
    return Lists(**stems, **plain, library=frozenset(map(fold, words["library"])), concepts=concepts)


# paths

def path_tails(path: str) -> list[str]:
    """["a/b/c.py", "b/c.py", "c.py"]."""
    parts = path.split("/")[-12:]
    return ["/".join(parts[i:]) for i in range(len(parts))]


def path_stem(path: str) -> str:
    """What a file is about: "range" of lib/range.js and of test/range.test.js, "parser" of tests/test_parser.py."""
    name = path.rpartition("/")[2].lower()
    name = name.partition(".")[0] or name.strip(".")
    return re.sub(r"\A(?:tests?_)|(?:_tests?|_spec)\Z", "", name) or name


def paths_in(text: str) -> set[str]:
    """What may be a path or the name of a file."""
    words = set(PATH.findall(text))
    found = {word.strip(PATH_ENDS) for word in words if len(word) <= LONGEST_PATH and ("/" in word or "." in word)}
    return {word for word in found if "/" in word or "." in word}


# lines

def bare_lines(text: str) -> set[str]:
    """Each line without indent; also without the line number or the diff sign in front."""
    found = set()
    for line in text.split("\n"):
        bare = line.strip()
        if len(bare) < 4:
            continue
        found.add(bare)
        if bare[0] in "+-":
            found.add(bare[1:].strip())
        elif numbered := NUMBERED.match(line):
            found.add(line[numbered.end():].strip())
    return found
