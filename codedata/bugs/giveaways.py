"""Find the signs that show a change to be an artificial bug, even to a reader without knowledge of
the code's purpose: unusual code, comments without their statement, linter findings,
names that do not exist, a line that breaks a row of similar ones. Only signs that the change adds
count. A reader may still notice other signs.
"""
from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import pairwise

from pyflakes.checker import Checker

from codedata.code.entities import SourceFile, grammar, language_of, tree_of
from codedata.code.operators.syntax import compiling
from codedata.suites.source import Files
from codedata.texts import printable, squeezed, toml_of

FAMILY = dict.fromkeys(("typescript", "tsx"), "javascript")   # languages that use another's rules
MIN_ROWS = 4               # fewer lines of one shape are not a table
COMMENT = re.compile(r"\s*(#|//)")
PARTS = re.compile(r"\d+|[A-Za-z_]\w*")
MISSING = re.compile(r"(?:no attribute|name) '(\w+)'")   # a missing name in test output


def giveaways(before: Files, after: Files, log: str = "") -> list[str]:
    """Return the signs that show a change is artificial, as messages to its maker; [] if there are
    none. New and removed files are not checked. `log` is the output of tests after the change, if
    they have run."""
    reasons = []
    for path in sorted(before.keys() & after.keys()):
        texts = before[path].decode(), after[path].decode()
        old, new = (_signs(language_of(path), text) for text in texts)
        found = [*(new - old)]
        found += [f"{name} does not exist" for name in MISSING.findall(log)
                  if name in texts[1] and name not in texts[0]]
        lines = [text.split("\n") for text in texts]
        for kind, *spans in SequenceMatcher(None, *lines).get_opcodes():
            if kind != "equal":
                found += _of_lines(*lines, *spans)
        reasons += [f"{path}: {printable(squeezed(one), 200)}" for one in found]
    return reasons


@lru_cache(64)
def _signs(language: str, text: str) -> Counter:
    """Count how often a file breaks each rule of giveaways.toml, and the messages of pyflakes."""
    found = []
    if language == "python":
        with suppress(SyntaxError), compiling():   # without line numbers, which may change
            found = [f"{type(one).__name__} {''.join(map(str, one.message_args[:1]))}"
                     for one in Checker(ast.parse(text)).messages]
    tree = tree_of(SourceFile("", language, text.encode(), is_test=False))
    from tree_sitter import QueryCursor
    for rule, query in _rules(language):
        found += [rule] * len(QueryCursor(query).matches(tree.root_node))
    return Counter(found)


@lru_cache
def _rules(language: str) -> list[tuple]:
    """Return the (message, query) of each rule of a language."""
    from tree_sitter import Query
    rules = toml_of(__package__, "giveaways.toml").get(FAMILY.get(language, language), [])
    return [(rule["says"], Query(grammar(language), rule["query"])) for rule in rules]


# rules of lines ----------------------------------------------------------------------------------

def _of_lines(before: list[str], after: list[str], first: int, last: int, start: int, stop: int
              ) -> Iterator[str]:
    """Yield the giveaways of an edit that replaces before[first:last] by after[start:stop]."""
    old, new, above = before[first:last], after[start:stop], before[first - 1] if first else ""
    if old and not new and old[0].strip() and COMMENT.match(above):
        yield f"the statement of a comment is gone: {above}"
    if old and any(map(COMMENT.match, new)) and not any(map(COMMENT.match, old)):
        yield f"a comment stands alone: {new[0]}"
    shapes = {*map(_shape, old)}
    while first and {_shape(before[first - 1])} == shapes:
        first, start = first - 1, start - 1
    while last < len(before) and {_shape(before[last])} == shapes:
        last, stop = last + 1, stop + 1
    if last - first >= MIN_ROWS and _regular(before[first:last]) - _regular(after[start:stop]):
        yield f"a row differs from its neighbours: {(new or old)[0]}"


def _shape(line: str) -> str:
    return PARTS.sub("w", squeezed(line))


def _regular(rows: list[str]) -> set[tuple]:
    """Return {(number, step)} of each column of words whose step from row to row is the same, such
    as 1 between numbers. The rows have one shape."""
    return {(n, *steps) for n, column in enumerate(zip(*map(PARTS.findall, rows), strict=False))
            if len(steps := {int(b) - int(a) if (a + b).isdigit() else (a == b, a < b)
                             for a, b in pairwise(column)}) == 1}
