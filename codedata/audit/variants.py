"""Make variants of a gold: one of its files, with a small fault in a line that the gold changes.

Python, JavaScript, TypeScript and Go are changed by codedata.code.operators. Other texts are
changed by the patterns of generic.toml, which know no syntax, only families of languages. No file
is executed. Not promised: that a variant is wrong. Some mean the same as the gold, and some break
what the task does not ask for.
"""
from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, islice, zip_longest
from pathlib import PurePosixPath
from random import Random

from codedata.code.entities import MAX_FILE_BYTES, SourceFile, is_text, language_of, load_grammar
from codedata.code.operators import TABLES, unique_edits
from codedata.code.operators.syntax import code_of
from codedata.code.patches import diff_of, hunks_of
from codedata.texts import toml_of

MAX_FILES = 50
MAX_VARIANTS = 200
MAX_BYTES = 30_000_000     # of all variants that are looked at: half a minute of compiling
MAX_LINE = 2_000           # bytes of a line that patterns search
MAX_SHELL = 50_000         # bytes of a script that is parsed: its grammar is slow for long ones
MAX_SAME = 2               # variants of one line by one operator
# Too many of them would be equal in meaning, or all alike: at most a fifth of the first ones.
NAME_SWAPS = {"wrong-variable", "wrong-argument", "wrong-attribute", "sibling-called"}
N_FIRST = 60
CLUSTER_GAP = 2            # lines between neighbours of a cluster
BROKEN = b""               # the form of texts that do not parse
LENGTH_CHECK = re.compile(rb"\blen\([^()]*\) *== *1\b")   # behind it x[0] is x[-1]
Spans = Iterator[tuple[str, int, int, bytes]]   # (operator, start, end, replacement)


@dataclass(frozen=True, slots=True)
class Variant:
    """Hold one file of a gold with a change. Lines are counted from 1."""

    path: str       # of the file that it changes
    line: int       # of the gold's file
    operator: str   # its name
    text: bytes     # the whole file with it


@dataclass(frozen=True, slots=True)
class _Place:
    """Hold a change that becomes a variant, if that parses and is a new one."""

    path: str
    line: int
    operator: str
    start: int
    end: int
    new: bytes


def variants_of(before: Mapping[str, bytes], after: Mapping[str, bytes],
                seed: str) -> list[Variant]:
    """Return variants of the lines that a gold changes, in the order in which they are to be tried:
    lines take turns, each with its rarest operator first. `before` and `after` are the files that
    the gold changes or adds, by path. Files that are binary or longer than MAX_FILE_BYTES have
    none."""
    random = Random(seed)
    paths = sorted(path for path, text in after.items()
                   if len(text) <= MAX_FILE_BYTES and is_text(text))
    random.shuffle(paths)
    places = [place for path in paths[:MAX_FILES]
              for place in _places(path, before.get(path, b""), after[path])]
    random.shuffle(places)
    distinct = _distinct(_in_turns(places), before, after)
    return _with_few_name_swaps([*islice(distinct, MAX_VARIANTS)])


def clusters_of(variants: Iterable[Variant]) -> list[list[Variant]]:
    """Return variants in groups that a reviewer reads as one place: of one file, and each at most
    CLUSTER_GAP lines behind the one before."""
    clusters: list[list[Variant]] = []
    for variant in sorted(variants, key=lambda one: (one.path, one.line)):
        last = clusters[-1][-1] if clusters else variant
        if not clusters or last.path != variant.path or variant.line - last.line > CLUSTER_GAP:
            clusters.append([])
        clusters[-1].append(variant)
    return clusters


# the order ---------------------------------------------------------------------------------------

def _in_turns(places: list[_Place]) -> Iterator[_Place]:
    """Yield one place of each line, then the next one of each line, and so on."""
    n_places = Counter(place.operator for place in places)
    n_same: Counter[tuple] = Counter()
    by_line = defaultdict(list)
    for place in sorted(places, key=lambda one: n_places[one.operator]):
        same = place.path, place.line, place.operator
        n_same[same] += 1
        if n_same[same] <= MAX_SAME:
            by_line[same[:2]].append(place)
    for turn in zip_longest(*by_line.values()):
        yield from filter(None, turn)


def _with_few_name_swaps(variants: list[Variant]) -> list[Variant]:
    """Move name swaps that are more than a fifth of the first N_FIRST behind those; leave them out
    where there are not so many variants."""
    swaps = [one for one in variants if one.operator in NAME_SWAPS]
    n_others = len(variants) - len(swaps)
    late = swaps[min(n_others // 4, N_FIRST // 5):]
    first = [one for one in variants if one not in late]
    return first + late if len(first) >= N_FIRST else first


def _distinct(places: Iterable[_Place], before: Mapping[str, bytes],
              after: Mapping[str, bytes]) -> Iterator[Variant]:
    """Yield the variants that parse, and equal neither the file before, nor the gold, nor one
    another."""
    languages: dict[str, str] = {}
    seen: dict[str, set[Hashable]] = {}
    n_bytes = 0
    for place in places:
        path, text = place.path, after[place.path]
        n_bytes += len(text)
        if n_bytes > MAX_BYTES:
            return
        if path not in seen:
            language = _language(path, text)
            # a parser that refuses the gold is no judge of its variants
            languages[path] = "" if _form(language, text) == BROKEN else language
            seen[path] = {BROKEN, *(_form(languages[path], one)
                                    for one in (text, before.get(path, b"")))}
        variant = text[:place.start] + place.new + text[place.end:]
        form = _form(languages[path], variant)
        if form not in seen[path]:
            seen[path].add(form)
            yield Variant(path, place.line, place.operator, variant)


def _form(language: str, text: bytes) -> Hashable:
    """Return a value that is equal for texts that do the same: Python's code, else the text. It is
    BROKEN for Python and shell scripts that do not parse."""
    if language == "python":
        try:
            return code_of(text)
        except SyntaxError:
            return BROKEN
    if language == "shell" and len(text) <= MAX_SHELL:
        from tree_sitter import Parser
        parser = Parser(load_grammar("tree_sitter_bash:language"))
        return BROKEN if parser.parse(text).root_node.has_error else text
    return text


# the places --------------------------------------------------------------------------------------

def _places(path: str, before: bytes, text: bytes) -> Iterator[_Place]:
    """Yield the changes that start in the lines that are new in a file."""
    language = _language(path, text)
    lines = text.split(b"\n")
    starts = [0, *accumulate(len(line) + 1 for line in lines)]
    changed = _changed_lines(before, text)
    if language in TABLES:
        file = SourceFile(path, language, text, is_test=False)
        spans: Spans = ((edit.operator.name, edit.start, edit.end, edit.new)
                        for edit in unique_edits(file))
    else:
        spans = _generic_spans(language, lines, starts, changed)
    for operator, start, end, new in spans:
        first = end - len(text[start:end].lstrip())   # what is removed may begin a line before
        line = bisect_right(starts, first)
        is_guarded = operator == "other-end" and LENGTH_CHECK.search(
            b" ".join(lines[max(0, line - 2):line]))
        if line in changed and not is_guarded:
            yield _Place(path, line, operator, start, end, new)


def _changed_lines(before: bytes, after: bytes) -> set[int]:
    """Return the numbers of the lines that are new in a file, from 1."""
    files = [{"file": text + b"\n"} for text in (before if is_text(before) else b"", after)]
    changed: set[int] = set()
    shift = 0
    for hunk in hunks_of(diff_of(*files, n_context=0)):
        first = hunk.start + shift + (0 if hunk.length else 1)
        changed.update(range(first, first + len(hunk.added)))
        shift += len(hunk.added) - hunk.length
    return changed


def _generic_spans(family: str, lines: list[bytes], starts: list[int],
                   changed: set[int]) -> Spans:
    """Yield the changes that the patterns of a family make in changed lines."""
    families, patterns = _generic()
    for number in sorted(changed):
        start, line = starts[number - 1], lines[number - 1]
        skipped = families[family]["skip"].search(line)
        searched = line[:skipped.start() if skipped else MAX_LINE]
        for operator, pattern, replacements in patterns[family]:
            for match in pattern.finditer(searched):
                for new in _replaced(match, replacements):
                    yield operator, start + match.start(), start + match.end(), new


def _replaced(match: re.Match[bytes], replacements: list[str | int]) -> list[bytes]:
    """Return what replaces a match: a template, or its number with one added."""
    return [match.expand(one.encode()) if isinstance(one, str)
            else b"%d" % abs(int(match[0]) + one) for one in replacements]


def _language(path: str, text: bytes) -> str:
    """Return the language of a file, or its family in generic.toml."""
    suffix = PurePosixPath(path).suffix.lower()
    matches = (name for name, family in _generic()[0].items()
               if suffix in family["suffixes"] or family["first_line"].match(text))
    return language_of(path) or next(matches, "text")


@lru_cache
def _generic() -> tuple[dict[str, dict], dict[str, list]]:
    """Return the families of generic.toml, and the (name, pattern, replacements) of each."""
    tables = toml_of(__package__, "generic.toml")
    patterns = defaultdict(list)
    for operator in tables.pop("operators"):
        for family in operator["families"]:
            patterns[family].append((operator["name"], re.compile(operator["pattern"].encode()),
                                     operator["to"]))
    for family in tables.values():
        family["skip"] = re.compile(family["skip"].encode())
        family["first_line"] = re.compile(family["first_line"].encode())
    return tables, patterns
