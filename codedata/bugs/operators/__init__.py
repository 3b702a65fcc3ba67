"""Make small changes to a source file that may be bugs, each of one place.

An operator is a table of <language>.toml under the name of its family: a tree-sitter query whose
capture @site is replaced (with several of them: all from the first to the last), and what comes
instead. That is one of

    replacement   a template, in which {name} is the text of a capture, {site} what is replaced,
                  {between} what stands between two captures of @site; a list of templates; or a
                  table of either by the text of @key, or of @site
    groups        lists of words, each of which may come instead of any other of its list
    function      where neither can say it: the name of one in functions.py

Without any of these the lines of @site are taken out; a block that has nothing else gets what
`empty` says. The capture @ran is what has to run for the change to be noticed, where that is not
the statement around. Where two operators make the same change, the first one has it.

A file is parsed once. What is given is new, and has a syntax tree of its own; whether it is a bug
is for its tests to say. Not promised: that a change means anything.
"""
from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from codedata.bugs.operators import functions
from codedata.bugs.operators.syntax import checker
from codedata.code.entities import SourceFile, grammar, tree_of
from codedata.code.source import is_text
from codedata.texts import toml_of

if TYPE_CHECKING:
    from tree_sitter import Node, Query

# a language → the file that has its operators
TABLES = {"python": "python.toml", "go": "go.toml", **dict.fromkeys(
    ("javascript", "typescript", "tsx"), "javascript.toml")}
EMPTY = "empty"  # the key of a file that is no family
MAX_LINES = 25   # that an edit replaces or takes out: about SWE-smith's longest kind of bugs
MAX_SITE = 4_000   # bytes that it replaces or takes out
MAX_DEPTH = 400    # of the tree: from there on a query takes quadratic time
MAX_FILE_S = 20    # seconds of CPU time for a file: a hundred times what an ordinary one takes
NEXT = re.compile(rb"(?:[ \t]*;[ \t]*(?=[^\s]))?")   # up to another statement of the line
NAME = re.compile(rb"\{(\w+)\}")
Captures = dict[str, list["Node"]]


@dataclass(frozen=True, slots=True)
class Operator:
    """Hold a table of a language's file."""

    name: str
    family: str
    query: str
    before: str                # an example,
    after: str                 # and what it becomes
    replacement: str | list[str] | dict[str, str | list[str]] | None = None
    groups: tuple[list[str], ...] = ()
    function: str = ""
    counts: str = "line"       # what a test has to run of it: line | function
    is_placed: bool = False    # not allowed everywhere: the function around it is compiled


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace bytes of a file. Lines are counted from 1, bytes from 0."""

    operator: Operator
    start: int
    end: int
    new: bytes
    statement: tuple[int, int]   # lines of what has to run for it: a statement, or its head

    def applied(self, text: bytes) -> bytes:
        """Return a file's text with the edit."""
        return text[:self.start] + self.new + text[self.end:]


@dataclass(frozen=True, slots=True)
class Change:
    """Hold what an operator changes."""

    operator: Operator
    start: int
    end: int
    new: bytes
    node: Node                 # what is replaced, the first one of several
    ran: tuple[int, int] | None   # lines of what has to run; None: it is not said


@lru_cache
def operators(language: str) -> tuple[Operator, ...]:
    """Return the operators of a language; none of one that has no file."""
    if language not in TABLES:
        return ()
    families = toml_of(__package__, TABLES[language])
    return tuple(Operator(family=family, **table) for family, tables in families.items()
                 if family != EMPTY for table in tables)


def unique_edits(file: SourceFile) -> list[Edit]:
    """Return the edits of a file, in the order of their places: no two replace the same bytes by
    the same ones, and what each makes of the file has another syntax tree and no syntax error. A
    file that is not UTF-8 has none, nor has one that is nested too deeply, or takes longer than
    MAX_FILE_S."""
    if not operators(file.language) or not is_text(file.text):
        return []
    tree = tree_of(file)
    if _is_deep(tree.root_node):
        return []
    check = checker(file, tree)
    seen = set()
    edits = []
    end_time = time.thread_time() + MAX_FILE_S
    for site in _sites(file, tree.root_node, end_time):
        span = trimmed(file.text, site.start, site.end, site.new)
        start, end, new = span
        if (start == end and not new) or span in seen or (
                file.text.count(b"\n", start, end) > MAX_LINES):
            continue
        seen.add(span)
        if lines := check.lines_of(site.node, start, end, new, site.operator.is_placed):
            edits.append(Edit(site.operator, start, end, new, site.ran or lines))
    if time.thread_time() > end_time:
        return []
    return sorted(edits, key=lambda edit: (edit.start, edit.end, edit.new))


def trimmed(text: bytes, start: int, end: int, new: bytes) -> tuple[int, int, bytes]:
    """Return an edit without what it leaves as it is at its ends."""
    old = text[start:end]
    n = min(len(old), len(new))
    front = next((i for i in range(n) if old[i] != new[i]), n)
    back = next((i for i in range(n - front) if old[-1 - i] != new[-1 - i]), n - front)
    return start + front, end - back, new[front:len(new) - back]


# sites -------------------------------------------------------------------------------------------

def _sites(file: SourceFile, root: Node, end_time: float) -> Iterator[Change]:
    """Yield what the operators of a language change, by operator, until a time of the CPU."""
    from tree_sitter import QueryCursor
    query, by_pattern, empty = _combined(file.language)
    matches = QueryCursor(query).matches(root)
    for pattern, captures in sorted(matches, key=lambda match: match[0]):
        nodes = sorted(captures["site"], key=lambda node: node.start_byte)
        start, end = nodes[0].start_byte, nodes[-1].end_byte
        if time.thread_time() > end_time:
            return
        if end - start > MAX_SITE:
            continue
        ran = captures.get("ran")
        lines = (ran[0].start_point.row + 1, ran[0].end_point.row + 1) if ran else None
        for new in _replacements(by_pattern[pattern], captures, file.text):
            place = (start, end, new) if new is not None else without(
                nodes[0], nodes[-1], file.text, empty)
            yield Change(by_pattern[pattern], *place, nodes[0], lines)


@lru_cache
def _combined(language: str) -> tuple[Query, list[Operator], bytes]:
    """Return (the query of all operators, the operator of each of its patterns, what an empty block
    needs)."""
    from tree_sitter import Query
    found = operators(language)
    by_pattern = [operator for operator in found
                  for _ in range(Query(grammar(language), operator.query).pattern_count)]
    query = Query(grammar(language), "\n".join(operator.query for operator in found))
    return query, by_pattern, toml_of(__package__, TABLES[language])[EMPTY].encode()


def _replacements(operator: Operator, captures: Captures, text: bytes) -> list[bytes | None]:
    """Return what may come instead of a site: None where it is taken out."""
    if operator.function:
        return getattr(functions, operator.function)(captures, text)
    templates, sites = operator.replacement, captures["site"]
    key = " ".join(captures.get("key", sites)[0].text.decode().split())
    if operator.groups:
        return [word.encode() for group in operator.groups if key in group
                for word in group if word != key]
    if templates is None:
        return [None]
    if isinstance(templates, dict):
        templates = templates.get(key, [])
    parts = {name: nodes[0].text for name, nodes in captures.items()}
    parts["site"] = text[sites[0].start_byte:sites[-1].end_byte]
    parts["between"] = text[sites[0].end_byte:sites[-1].start_byte]
    return [NAME.sub(lambda match: parts[match[1].decode()], template.encode())
            for template in ([templates] if isinstance(templates, str) else templates)]


def without(first: Node, last: Node, text: bytes, empty: bytes) -> tuple[int, int, bytes]:
    """Return the edit that takes nodes out: their lines, where nothing else stands on them;
    `empty` instead of a statement that is alone in its block."""
    start = first.start_byte
    end = start + len(text[start:last.end_byte].rstrip())   # some nodes have the line feed, too
    beside = [one for one in first.parent.named_children if not one.is_extra]   # no comments
    if empty and first.parent.type == "block" and len(beside) == 1:
        return start, end, empty
    line = text.rfind(b"\n", 0, start) + 1
    behind = text.find(b"\n", end)
    behind = len(text) if behind < 0 else behind + 1
    if text[line:start].strip() or text[end:behind].strip(b" \t\r\n;"):
        return start, NEXT.match(text, end).end(), b""
    if not line:
        return line, behind, b""
    return line - 1 - text.startswith(b"\r", line - 2), end, b""   # with the line feed before


def _is_deep(root: Node) -> bool:
    """Return whether a tree is deeper than MAX_DEPTH."""
    cursor, depth = root.walk(), 0
    while depth <= MAX_DEPTH:
        if cursor.goto_first_child():
            depth += 1
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return False
            depth -= 1
    return True
