"""Make variants of a gold. A variant is one of its files, with a small fault in a line that the
gold changes.

codedata.code.operators changes Python, JavaScript, TypeScript and Go; the patterns of generic.toml
change other texts. No file is executed. A variant need not be wrong: some are equivalent to the
gold, and some break behaviour that the task does not ask for.
"""
from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, count, islice, zip_longest
from operator import attrgetter
from random import Random

from codedata.code.entities import MAX_FILE_BYTES, SourceFile, is_text, language_of
from codedata.code.operators import TABLES, unique_edits
from codedata.code.operators.syntax import syntax_of
from codedata.code.patches import diff_of, hunks_of
from codedata.texts import toml_of

PATTERNS = toml_of(__package__, "generic.toml")   # for languages without mutation operators
MAX_LINE = 500   # bytes of a line to search
MAX_FILES = 50
MAX_EDITS = 20_000       # edits that patterns make in a file
MAX_VARIANTS = 200
MAX_BYTES = 30_000_000   # total size of the variants: compiling them takes half a minute
MAX_SAME = 2             # variants of one line by one operator
CLUSTER_GAP = 2          # largest difference of line numbers of neighbours in a cluster
Edit = tuple[int, str, int, int, bytes]   # line, operator, start, end, replacement


@dataclass(frozen=True, slots=True)
class Variant:
    """Hold one file of a gold with a change. Lines are counted from 1."""

    path: str       # the changed file
    line: int       # in the gold's file
    operator: str   # the operator's name
    text: bytes     # the whole changed file


def variants_of(before: Mapping[str, bytes], after: Mapping[str, bytes],
                seed: str) -> list[Variant]:
    """Return variants of the lines that a gold changes, in the order to try them: alternating
    between lines and between operators. `before` and `after` are the files that the gold changes or
    adds, by path. A file has no variants if it is binary, longer than MAX_FILE_BYTES, or Python
    that does not compile here."""
    random = Random(seed)
    paths = sorted(path for path, text in after.items()
                   if len(text) <= MAX_FILE_BYTES and is_text(text))
    random.shuffle(paths)
    paths = paths[:MAX_FILES]
    variants = []
    for path in paths:
        old, new = before.get(path, b"")[:MAX_FILE_BYTES], after[path]
        edits = [*_edits(path, old, new)]
        random.shuffle(edits)
        variants += _distinct(path, old, new, edits[:MAX_BYTES // len(paths) // (len(new) + 1)])
    return _in_turns(variants)[:MAX_VARIANTS]


def clusters_of(variants: Iterable[Variant],
                unrun: Container[tuple[str, int]] = ()) -> list[list[Variant]]:
    """Group variants that a reviewer reads together: in one file, each at most CLUSTER_GAP lines
    after the previous one. Consecutive variants in `unrun` lines (path, line) of a file are one
    group at any distance. Variants in `unrun` lines and others are never in one group."""
    clusters = []
    for variant in sorted(variants, key=attrgetter("path", "line")):
        last = clusters[-1][-1] if clusters else None
        are_unrun = [last and (last.path, last.line) in unrun,
                     (variant.path, variant.line) in unrun]
        if last and last.path == variant.path and (all(are_unrun) or (
                not any(are_unrun) and variant.line - last.line <= CLUSTER_GAP)):
            clusters[-1].append(variant)
        else:
            clusters.append([variant])
    return clusters


# the variants of a file --------------------------------------------------------------------------

def _edits(path: str, before: bytes, text: bytes) -> Iterator[Edit]:
    """Yield the edits that start in new lines of a file."""
    language = language_or_family(path, text)
    changed = _changed_lines(before, text)
    if language in TABLES:
        edits = [(edit.operator.name, edit.start, edit.end, edit.new)
                 for edit in unique_edits(SourceFile(path, language, text, is_test=False))]
    else:
        edits = [*islice(pattern_edits(language, text, changed), MAX_EDITS)]
    line_ends = [match.start() for match in re.finditer(rb"\n", text)]
    for operator, start, end, new in edits:
        # a removal may begin at the end of the previous line
        line = bisect_left(line_ends, end - len(text[start:end].lstrip())) + 1
        if line in changed:
            yield line, operator, start, end, new


def _changed_lines(before: bytes, after: bytes) -> set[int]:
    """Return the numbers of the new lines in a file, from 1."""
    texts = (before if is_text(before) else b"", after)
    changed = set()
    shift = 0
    for hunk in hunks_of(diff_of(*({"file": text + b"\n"} for text in texts), n_context=0)):
        first = hunk.start + shift + (0 if hunk.length else 1)
        changed.update(range(first, first + len(hunk.added)))
        shift += len(hunk.added) - hunk.length
    return changed


def _distinct(path: str, before: bytes, text: bytes,
              edits: list[Edit]) -> Iterator[Variant]:
    """Yield the variants that differ from the original file, from the gold, and from each other. In
    languages with operators, they also parse."""
    language = language_or_family(path, text)

    def form(text: bytes) -> Hashable:
        file = SourceFile(path, language, text, is_test=False)
        return syntax_of(file) if language in TABLES else text

    seen = {"", form(before), form(text)}
    for line, operator, start, end, new in edits:
        variant = text[:start] + new + text[end:]
        if (found := form(variant)) not in seen:
            seen.add(found)
            yield Variant(path, line, operator, variant)


# the order ---------------------------------------------------------------------------------------

def _in_turns(variants: list[Variant]) -> list[Variant]:
    """Return the first variant of each line, then the second of each line, and so on. Lines, and
    the variants of a line, are in this order: the first variant of each operator, the rarest
    operator first, then the second of each operator, and so on. Keep at most MAX_SAME variants of
    one line by one operator."""
    n_variants = Counter(variant.operator for variant in variants)
    ranks = defaultdict(count)
    by_line = defaultdict(list)
    for variant in sorted(variants, key=lambda one: (next(ranks[one.operator]),
                                                     n_variants[one.operator])):
        beside = by_line[variant.path, variant.line]
        if [one.operator for one in beside].count(variant.operator) < MAX_SAME:
            beside.append(variant)
    return [*filter(None, chain.from_iterable(zip_longest(*by_line.values())))]


# patterns of lines --------------------------------------------------------------------------------

# The patterns of generic.toml are for families of languages and ignore syntax, so a changed file
# may not parse.

def language_or_family(path: str, text: bytes) -> str:
    """Return the language of a file, or else the first family of generic.toml that matches its path
    and the start of its text."""
    head = f"{path}\n{_characters(text)}"
    return language_of(path) or next(name for name, family in PATTERNS["families"].items()
                                     if re.search(family["files"], head))


def pattern_edits(family: str, text: bytes,
                  lines: Container[int]) -> Iterator[tuple[str, int, int, bytes]]:
    """Yield (operator, start, end, replacement) for each possible change of these lines."""
    skip = PATTERNS["families"][family]["skip"]
    operators = [one for one in PATTERNS["operators"] if family in one["families"]]
    at = 0
    for number, line in enumerate(text.split(b"\n"), 1):
        searched = re.split(skip, _characters(line), maxsplit=1)[0] if number in lines else ""
        for operator in operators if searched else ():
            for match in re.finditer(operator["pattern"], searched):
                for new in _replacements(match, operator["to"]):
                    yield operator["name"], at + match.start(), at + match.end(), new
        at += len(line) + 1


def _replacements(match: re.Match[str], to: list[str | int]) -> list[bytes]:
    texts = [match.expand(one) if isinstance(one, str)
             else str(abs(int(match[0]) + one))   # 0 - 1 becomes 1
             for one in to]
    return [text.encode("latin-1") for text in texts]


def _characters(text: bytes) -> str:
    """Return the start of a text with one character for each byte."""
    return text[:MAX_LINE].decode("latin-1")
