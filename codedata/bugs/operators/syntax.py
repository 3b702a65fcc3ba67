"""Check the syntax of a changed file by its smallest part that can be parsed alone, and find the
lines that have to run for a change to be noticed."""
from __future__ import annotations

import ast
import re
import threading
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from codedata.bugs.operators.functions import MAX_CLIMB
from codedata.code.entities import SourceFile, grammar

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

# What has to stand in front of a clause of a compound statement, and how much of it goes.
CLAUSES = {"elif_clause": (b"", 2), "except_clause": (b"try: pass\n", 0),
           "case_clause": (b"match 0:\n ", 0)}
COMPOUND = {"if_statement", "for_statement", "while_statement", "with_statement", "try_statement",
            "match_statement", "function_definition", "class_definition", "decorated_definition"}
MAX_UNIT = 5_000   # bytes that are parsed for an edit: a large table would be for each entry
FILTERS = threading.Lock()   # of warnings: they are the whole process's
SHAPE = re.compile(rb"[\s();]+")   # says little in languages with braces
BODIES = ("body", "consequence")
# Expressions whose ends are brackets: what stands between them says nothing about the rest.
CLOSED = {"call", "dictionary", "list", "set", "tuple", "subscript", "parenthesized_expression",
          "string", "list_comprehension", "dictionary_comprehension", "set_comprehension",
          "generator_expression"}
# What has elements between commas, each of which can be parsed in the brackets of the first.
HOLDERS = {"argument_list": (b"f(", b")"), "list": (b"[", b"]"), "tuple": (b"[", b"]"),
           "set": (b"[", b"]"), "dictionary": (b"{", b"}")}


class Checker(Protocol):
    """Check changes of one file."""

    def lines_of(self, node: Node, start: int, end: int, new: bytes,
                 is_placed: bool) -> tuple[int, int] | None:
        """Return the first and the last line of which one has to run for a change to be noticed;
        None where it is no change, or has a syntax error. Where a statement may be in a wrong
        place (`is_placed`) more than its syntax is checked."""


def checker(file: SourceFile, tree: Tree) -> Checker:
    """Return what checks the changes of a file: in Python by Python's own parser, which is that of
    this machine; in other languages by tree-sitter, which reads on from what has not changed."""
    return PythonChecker(file.text) if file.language == "python" else TreeChecker(file, tree)


@dataclass
class TreeChecker:
    """Check changes of one file by tree-sitter. Of a file with errors, no change is right."""

    file: SourceFile
    tree: Tree

    def lines_of(self, node: Node, start: int, end: int, new: bytes,
                 is_placed: bool) -> tuple[int, int] | None:
        """Return the lines of a node; None where the change is one of blanks and brackets alone,
        or has a syntax error."""
        from tree_sitter import Parser
        text = self.file.text
        if self.tree.root_node.has_error or SHAPE.sub(b"", text[start:end]) == SHAPE.sub(b"", new):
            return None
        after, old = text[:start] + new + text[end:], self.tree.copy()
        old.edit(start, end, start + len(new), _point(text, start), _point(text, end),
                 _point(after, start + len(new)))
        is_broken = Parser(grammar(self.file.language)).parse(after, old).root_node.has_error
        return None if is_broken else _lines(node)


@dataclass(slots=True)
class _Unit:
    """Hold a part of a file that can be parsed alone: a statement, or the head of one."""

    start: int               # of what is parsed
    end: int
    front: bytes             # what goes before it, and
    back: bytes              # behind
    lines: tuple[int, int] = (0, 0)   # of the statement, or its head, that it is in
    before: str | None = None         # its syntax tree; None: it has none, or is too large


@dataclass
class PythonChecker:
    """Check changes of one file in Python."""

    text: bytes
    units: dict[tuple[int, int, bytes], _Unit] = field(default_factory=dict)   # by place and front

    def lines_of(self, node: Node, start: int, end: int, new: bytes,
                 is_placed: bool) -> tuple[int, int] | None:
        """Return the lines of a statement, or of its head. With `is_placed` the whole function is
        compiled."""
        if is_placed and not self._compiles(node, start, end, new):
            return None
        if _is_statement(node) and start <= node.start_byte and node.end_byte <= end:
            return _lines(node)   # one of several is taken out, or is `pass` now
        unit = self._unit(node, start, end)
        if unit is None or unit.before is None:
            return None
        changed = self.text[unit.start:start] + new + self.text[end:unit.end]
        after = _tree_text(unit.front + changed + unit.back)
        return None if after is None or after == unit.before else unit.lines

    def _compiles(self, node: Node, start: int, end: int, new: bytes) -> bool:
        """Return whether the outermost function around a node compiles with an edit."""
        outer = None
        for _ in range(MAX_CLIMB):
            if node is not None:
                outer = node if node.type == "function_definition" else outer
                node = node.parent
        if outer is None or node is not None:
            return False
        unit = self._whole(outer)
        changed = self.text[unit.start:start] + new + self.text[end:unit.end]
        return _parsed(unit.front + changed, flags=0) is not None

    def _unit(self, node: Node | None, start: int, end: int) -> _Unit | None:
        """Return the smallest part around an edit: what stands in brackets, but for what is in an
        f-string, where not all is allowed; the head of a statement; or a statement."""
        closed = inner = None
        for _ in range(MAX_CLIMB):
            if node is None or node.type == "type":   # an annotation
                return None
            is_around = node.start_byte <= start and end <= node.end_byte
            body = _body(node) if node.type in CLAUSES or node.type in COMPOUND else None
            cut = CLAUSES.get(node.type, (b"", 0))[1]
            if node.type == "interpolation":
                closed = None
            closed = closed or _closed(node, inner, start, end)
            if body and node.start_byte + cut <= start and end <= body.start_byte:
                return self._known(closed or self._head(node, body), node, body)
            if is_around and _is_statement(node):
                return self._known(closed or self._whole(node), node)
            inner, node = node, node.parent
        return None

    def _known(self, unit: _Unit, node: Node, body: Node | None = None) -> _Unit:
        """Return a part of a statement, or of its head, with its syntax tree."""
        key = unit.start, unit.end, unit.front
        if key not in self.units:
            first, last = _lines(node)
            unit.lines = (first, max(first, body.start_point.row) if body else last)
            if unit.end - unit.start <= MAX_UNIT:
                unit.before = _tree_text(unit.front + self.text[unit.start:unit.end] + unit.back)
            self.units[key] = unit
        return self.units[key]

    def _head(self, node: Node, body: Node) -> _Unit:
        if node.type in CLAUSES:
            front, cut = CLAUSES[node.type]
            return _Unit(node.start_byte + cut, body.start_byte, front, b"pass")
        whole = self._whole(node)
        return _Unit(whole.start, body.start_byte, whole.front, b"pass")

    def _whole(self, node: Node) -> _Unit:
        line = self.text.rfind(b"\n", 0, node.start_byte) + 1
        is_indented = line < node.start_byte and not self.text[line:node.start_byte].strip(b" \t")
        return _Unit(line if is_indented else node.start_byte, node.end_byte,
                     b"if 0:\n" if is_indented else b"", b"")


def _point(text: bytes, at: int) -> tuple[int, int]:
    """Return (row, column) of a byte, from 0."""
    return text.count(b"\n", 0, at), at - text.rfind(b"\n", 0, at) - 1


def _is_statement(node: Node) -> bool:
    return node.type in COMPOUND or node.type.endswith("_statement")


def _closed(node: Node, inner: Node | None, start: int, end: int) -> _Unit | None:
    """Return the part within a node's brackets that is around an edit: an element between commas,
    its child `inner`, or all. Return None where there is none."""
    holds = inner and inner.start_byte <= start and end <= inner.end_byte
    if node.type in HOLDERS and holds:
        return _Unit(inner.start_byte, inner.end_byte, *HOLDERS[node.type])
    if node.type in CLOSED and node.start_byte < start and end < node.end_byte:
        return _Unit(node.start_byte, node.end_byte, b"(", b")")
    return None


def _lines(node: Node) -> tuple[int, int]:
    return node.start_point.row + 1, node.end_point.row + 1


def _body(node: Node) -> Node | None:
    if node.type == "decorated_definition":
        node = node.child_by_field_name("definition")
    for name in BODIES:
        if body := node.child_by_field_name(name):
            return body
    return next((one for one in node.children if one.type == "block"), None)


def _tree_text(text: bytes) -> str | None:
    """Return the syntax tree of a text; None where it has none."""
    tree = _parsed(text, ast.PyCF_ONLY_AST)
    try:
        return None if tree is None else ast.dump(tree)
    except RecursionError:
        return None


def _parsed(text: bytes, flags: int):
    """Return what a text compiles to, by the flags of compile(); None where it does not."""
    with FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")   # of odd escapes: the project has them as well
        try:
            return compile(text, "", "exec", flags, dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
