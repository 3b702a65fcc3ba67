"""Make small changes to a source file, each in one place, that may be bugs.

An operator is a table of <language>.toml under the name of its family: a tree-sitter query and a
replacement for its capture @site (from the first to the last, if it matches several times). The
replacement is one of

    replacement   a template: {name} is the text of a capture, {site} the replaced text,
                  {between} the text between two captures of @site; a list of templates; or a
                  table with a template or a list for each text of @key (by default @site)
    groups        lists of words that may replace each other
    function      the name of a function in functions.py, for all other cases

Without any of these, the lines of @site are removed; in a block with no other statement, the text
in the field `empty` replaces them. The capture @ran marks the code that must run for the change to
be noticed, if this is not the enclosing statement. If two operators make the same change, it counts
for the first one.

A changed file may not parse, or parse to the same syntax: syntax_of() shows both. Only tests show
whether a change is a bug.
"""
from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from operator import eq, itemgetter
from typing import TYPE_CHECKING

from codedata.code.entities import SourceFile, grammar, is_text, tree_of
from codedata.code.operators import functions
from codedata.code.operators.syntax import Span, node_lines, statement_lines
from codedata.texts import toml_of

if TYPE_CHECKING:
    from tree_sitter import Node, Query

# {language: the file with its operators}
TABLES = {"python": "python.toml", "go": "go.toml", **dict.fromkeys(
    ("javascript", "typescript", "tsx"), "javascript.toml")}
MAX_LINES = 25   # lines that an edit replaces or removes: about as many as SWE-smith's longest bugs
MAX_SITE = 4_000   # bytes that an edit replaces or removes
MAX_DEPTH = 400    # levels of the tree to query: deeper, a query takes quadratic time
MAX_FILE_S = 20    # seconds of CPU time for a file: a hundred times the usual
NEXT = re.compile(rb"(?:[ \t]*;[ \t]*(?=[^\s]))?")   # matches up to the next statement on the line
ITSELF = re.compile(rb"\s*([\w.]+) = \1;?\s*")   # x = x, an implausible bug
NAME = re.compile(rb"\{(\w+)\}")
Captures = dict[str, list["Node"]]


@dataclass(frozen=True, slots=True)
class Operator:
    """Hold an operator: a table of <language>.toml."""

    name: str
    family: str
    empty: bytes               # replaces the only statement of a block
    query: str
    before: str                # an example
    after: str                 # the example after the change
    replacement: str | list[str] | dict[str, str | list[str]] | None = None
    groups: tuple[list[str], ...] = ()
    function: str = ""
    counts: str = "line"       # the code that a test must run: line | function


@dataclass(frozen=True, slots=True)
class SpanEdit:
    """Hold a replacement of bytes in a file. Lines are counted from 1, bytes from 0."""

    operator: Operator
    start: int
    end: int
    new: bytes
    statement: tuple[int, int]   # lines that must run: a statement, or its head

    @property
    def span(self) -> Span:
        """Return (start, end, replacement)."""
        return self.start, self.end, self.new


@lru_cache
def operators(language: str) -> tuple[Operator, ...]:
    """Return the operators for a language; none if it has no file."""
    if language not in TABLES:
        return ()
    families = toml_of(__package__, TABLES[language])
    empty = families.pop("empty").encode()
    return tuple(Operator(family=family, empty=empty, **table)
                 for family, tables in families.items() for table in tables)


def unique_edits(file: SourceFile) -> list[SpanEdit]:
    """Return the distinct edits of a file, sorted by position. Return [] if its language has no
    operators, if it is not UTF-8, or if it takes longer than MAX_FILE_S."""
    if not operators(file.language) or not is_text(file.text):
        return []
    text, tree = file.text, tree_of(file)
    seen = set()
    edits = []
    end_time = time.thread_time() + MAX_FILE_S
    for operator, captures in _matches(file.language, tree.root_node):
        if time.thread_time() > end_time:
            return []
        for site in _sites(operator, captures, text):
            start, end, new = span = trimmed(text, *site)
            stop = text.find(b"\n", end)
            line = text[text.rfind(b"\n", 0, start) + 1:start] + new + (
                text[end:stop if stop > 0 else None])
            is_nothing = (start == end and not new) or ITSELF.fullmatch(line)
            if is_nothing or span in seen or text.count(b"\n", start, end) > MAX_LINES:
                continue
            seen.add(span)
            node = captures["site"][0]
            lines = statement_lines(node, start, end) if file.language == "python" else (
                node_lines(node))
            if lines:
                ran = captures.get("ran")
                edits.append(SpanEdit(operator, *span, node_lines(ran[0]) if ran else lines))
    return sorted(edits, key=lambda edit: (edit.start, edit.end, edit.new))


def trimmed(text: bytes, start: int, end: int, new: bytes) -> Span:
    """Return an edit without the unchanged bytes at its start and end."""
    old = text[start:end]
    front = _n_same(old, new)
    back = _n_same(old[front:][::-1], new[front:][::-1])
    return start + front, end - back, new[front:len(new) - back]


def _n_same(one: bytes, other: bytes) -> int:
    """Return the length of the common beginning of two texts."""
    return len([*takewhile(bool, map(eq, one, other))])


# sites -------------------------------------------------------------------------------------------

def _matches(language: str, root: Node) -> Iterator[tuple[Operator, Captures]]:
    """Yield (operator, captures) for each match of a language's operators, sorted by operator."""
    from tree_sitter import QueryCursor
    query, by_pattern = _combined(language)
    cursor = QueryCursor(query)
    cursor.set_max_start_depth(MAX_DEPTH)
    for pattern, captures in sorted(cursor.matches(root), key=itemgetter(0)):
        yield by_pattern[pattern], captures


@lru_cache
def _combined(language: str) -> tuple[Query, list[Operator]]:
    """Return the combined query of all operators, and the operator of each of its patterns."""
    from tree_sitter import Query
    found = operators(language)
    by_pattern = [operator for operator in found
                  for _ in range(Query(grammar(language), operator.query).pattern_count)]
    return Query(grammar(language), "\n".join(operator.query for operator in found)), by_pattern


def _sites(operator: Operator, captures: Captures, text: bytes) -> Iterator[Span]:
    """Yield (start, end, replacement) for each edit that an operator makes at a match."""
    first, last = captures["site"][0], captures["site"][-1]
    if last.end_byte - first.start_byte <= MAX_SITE:
        for new in _replacements(operator, captures, text):
            if new is None:
                yield without(first, last, text, operator.empty)
            else:
                yield first.start_byte, last.end_byte, new


def _replacements(operator: Operator, captures: Captures, text: bytes) -> list[bytes | None]:
    """Return the texts that may replace a site; None means removing it."""
    templates, sites = operator.replacement, captures["site"]
    firsts = {name: nodes[0] for name, nodes in captures.items()}
    if operator.function:
        return getattr(functions, operator.function)(text=text, **firsts)
    key = " ".join(firsts.get("key", sites[0]).text.decode().split())
    if operator.groups:
        return [word.encode() for group in operator.groups if key in group
                for word in group if word != key]
    if templates is None:
        return [None]
    if isinstance(templates, dict):
        templates = templates.get(key, [])
    parts = {name: node.text for name, node in firsts.items()}
    parts["site"] = text[sites[0].start_byte:sites[-1].end_byte]
    parts["between"] = text[sites[0].end_byte:sites[-1].start_byte]
    return [NAME.sub(lambda match: parts[match[1].decode()], template.encode())
            for template in ([templates] if isinstance(templates, str) else templates)]


def without(first: Node, last: Node, text: bytes, empty: bytes) -> Span:
    """Return the edit that removes nodes, and their lines if nothing else is on them. The only
    statement of a block is replaced by `empty`."""
    start = first.start_byte
    end = start + len(text[start:last.end_byte].rstrip())   # some nodes include the line feed
    beside = [one for one in first.parent.named_children if not one.is_extra]   # no comments
    if empty and first.parent.type == "block" and len(beside) == 1:
        return start, end, empty
    line = text.rfind(b"\n", 0, start) + 1
    next_line = text.find(b"\n", end) + 1 or len(text)
    if text[line:start].strip() or text[end:next_line].strip(b" \t\r\n;"):
        return start, NEXT.match(text, end).end(), b""
    if not line:
        return line, next_line, b""
    if next_line < len(text) and not text[next_line:text.find(b"\n", next_line)].strip():
        line = text.find(b"\n", len(text[:line].rstrip())) + 1   # keep only the blank lines below
    before = text[:line].removesuffix(b"\n").removesuffix(b"\r")
    return len(before), end, b""   # the line feed after it is outside of the enclosing statement
