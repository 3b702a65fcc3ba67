"""Find what gives a bug away to a reader who does not know what the code should do: code that
nobody writes, comments without their statement, names that a linter misses, a line that breaks a
row of equal ones. Only what a change adds counts. Whether a reader would notice is not promised.
"""
from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import pairwise

from codedata.bugs.effects import new_messages
from codedata.code.entities import SourceFile, grammar, language_of, tree_of
from codedata.suites.source import Files
from codedata.texts import printable, toml_of

FAMILY = dict.fromkeys(("typescript", "tsx"), "javascript")   # languages with the rules of another
MIN_ROWS = 4               # lines of one shape are a table
COMMENT = re.compile(r"\s*(#|//)")
WORD = re.compile(r"\w{4,}")
PARTS = re.compile(r"\d+|[A-Za-z_]\w*")
MISSING = re.compile(r"has no attribute '(\w+)'|name '(\w+)' is not defined")


def giveaways(before: Files, after: Files) -> list[str]:
    """Return what gives a change of files away, as texts for its maker; [] if nothing does. Files
    that are new or removed give nothing away."""
    reasons = []
    for path in before.keys() & after.keys():
        language, texts = language_of(path), (before[path].decode(), after[path].decode())
        old, new = (_matches(language, text) for text in texts)
        found = [f"{rule}: {next(iter(new[rule] - old[rule]), '')}"
                 for rule in new if new[rule].total() > old[rule].total()]
        found += new_messages({path: before[path]}, {path: after[path]})
        lines = [text.split("\n") for text in texts]
        for kind, *spans in SequenceMatcher(None, *lines).get_opcodes():
            if kind != "equal":
                found += _of_lines(*lines, *spans)
        reasons += [f"{path}: {printable(' '.join(one.split()), 200)}" for one in found]
    return reasons


def missing_names(diff: str, log: str) -> list[str]:
    """Return the names that a run's output reports as missing, and that only the diff adds."""
    added, rest = (" ".join(line for line in diff.split("\n") if line.startswith("+") == is_added)
                   for is_added in (True, False))
    names = {first or second for first, second in MISSING.findall(log)}
    return sorted(names & {*PARTS.findall(added)} - {*PARTS.findall(rest)})


# rules of giveaways.toml -------------------------------------------------------------------------

@lru_cache(64)
def _matches(language: str, text: str) -> dict[str, Counter]:
    """Return {rule: the texts that break it}."""
    found: dict[str, Counter] = defaultdict(Counter)
    rules, query = _rules(language)
    if rules:
        from tree_sitter import QueryCursor
        file = SourceFile("", language, text.encode(), is_test=False)
        for n, captures in QueryCursor(query).matches(tree_of(file).root_node):
            found[rules[n]["says"]][captures["site"][0].text.decode()] += 1
    return found


@lru_cache
def _rules(language: str) -> tuple[list[dict[str, str]], object]:
    """Return the rules of a language, and a query with a pattern for each."""
    rules = toml_of(__package__, "giveaways.toml").get(FAMILY.get(language, language), [])
    if not rules:
        return [], None
    from tree_sitter import Query
    return rules, Query(grammar(language), "\n".join(rule["query"] for rule in rules))


# rules of lines ----------------------------------------------------------------------------------

def _of_lines(before: list[str], after: list[str], first: int, last: int, start: int, stop: int
              ) -> Iterator[str]:
    """Yield what the lines around an edit give away: of before[first:last], which
    after[start:stop] replace."""
    old, new, above = before[first:last], after[start:stop], before[first - 1] if first else ""
    if COMMENT.match(above) and old and old[0].strip():
        gone, kept, named = ({*WORD.findall(" ".join(some))} for some in (old, new, [above]))
        if not new:
            yield f"the statement of a comment is gone: {above}"
        elif stated := (gone - kept) & named:
            yield f"a comment still names {min(stated)}: {above}"
    for line in new:
        if COMMENT.match(line) and any(one.endswith(line.strip()) and not COMMENT.match(one)
                                       for one in old):
            yield f"the statement of a comment is gone: {line}"
    shapes = {*map(_shape, old)}
    if len(shapes) == 1:
        while first and _shape(before[first - 1]) in shapes:
            first, start = first - 1, start - 1
        while last < len(before) and _shape(before[last]) in shapes:
            last, stop = last + 1, stop + 1
        rows = before[first:last]
        if len(rows) >= MIN_ROWS and _regular(rows) - _regular(after[start:stop]):
            yield f"a row differs from those beside it: {(new or old)[0]}"


def _shape(line: str) -> str:
    return PARTS.sub("w", " ".join(line.split()))


def _regular(rows: Sequence[str]) -> set[tuple[int, str]]:
    """Return in which of their words rows of one shape are all equal, or in order."""
    if len({*map(_shape, rows)}) != 1:
        return set()
    found = {(-1, "shape")}
    for n, column in enumerate(zip(*map(PARTS.findall, rows), strict=True)):
        numbers = [int(one) for one in column if one.isdigit()]
        values = numbers if len(numbers) == len(column) else column
        pairs = [*pairwise(values)]
        if len({*values}) == 1:
            found.add((n, "equal"))
        elif all(a < b for a, b in pairs):
            found.add((n, "in order"))
        if values is numbers and len({b - a for a, b in pairs}) == 1:
            found.add((n, "in steps"))
    return found
