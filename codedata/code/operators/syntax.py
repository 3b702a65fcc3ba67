"""Check the syntax of a changed file by parsing the smallest part around the change, and find the
lines that must run for the change to be noticed."""
from __future__ import annotations

import ast
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType
from typing import TYPE_CHECKING

from codedata.code.entities import SourceFile, grammar, syntax_fault, tree_of

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

MAX_CLIMB = 60     # ancestors of a node to visit: getting a parent is slow in deep trees
STATEMENT = ("_statement", "_definition")   # suffixes of the types of statements
# {clause: code to put before it so that it parses}
CLAUSES = {"elif_clause": b"if 0: pass\n", "except_clause": b"try: pass\n",
           "case_clause": b"match 0:\n "}
MAX_PART = 5_000   # bytes to parse for an edit: else a large table is parsed for each entry
FILTERS = threading.Lock()   # guards the filters of warnings, which are global
Span = tuple[int, int, bytes]   # start, end, and the replacement
SHAPE = re.compile(rb"[\s();]+")   # characters that mean little in languages with braces


def syntax_of(file: SourceFile) -> str | bytes:
    """Return a value that is equal for files of equal syntax: the syntax tree for Python, the text
    without whitespace and brackets for other languages. Raise SyntaxError if the file does not
    parse."""
    if file.language == "python":
        return _tree_text(file.text)
    if fault := syntax_fault(file, tree_of(file)):
        raise SyntaxError(f"it {fault}")
    return SHAPE.sub(b"", file.text)


def code_of(text: bytes) -> tuple:
    """Return the code of a Python file without line numbers: equal for files with the same
    instructions. Raise SyntaxError if the file cannot be compiled."""
    with compiling():
        return _without_lines(compile(text, "file", "exec", dont_inherit=True))


def _without_lines(code: CodeType) -> tuple:
    # not code.replace(): code objects that differ only in instructions have equal hashes
    constants = tuple(_without_lines(one) if isinstance(one, CodeType) else repr(one)
                      for one in code.co_consts)
    return (code.co_name, code.co_code, getattr(code, "co_exceptiontable", b""), constants,
            code.co_names, code.co_varnames, code.co_cellvars, code.co_freevars, code.co_flags,
            code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)


def lines_by_tree(file: SourceFile, tree: Tree, node: Node, span: Span,
                  _: bool) -> tuple[int, int] | None:
    """Return the (first, last) line of a node; None if the edit `span` changes only whitespace and
    brackets, or if the file has a syntax error before or after the edit. tree-sitter reparses only
    the changed parts."""
    from tree_sitter import Parser
    start, end, new = span
    text, old = file.text, tree.copy()
    if old.root_node.has_error or SHAPE.sub(b"", text[start:end]) == SHAPE.sub(b"", new):
        return None
    after = text[:start] + new + text[end:]
    old.edit(start, end, start + len(new), _point(text, start), _point(text, end),
             _point(after, start + len(new)))
    is_broken = Parser(grammar(file.language)).parse(after, old).root_node.has_error
    return None if is_broken else node_lines(node)


class PythonChecker:
    """Check changes of one Python file with the parser of this machine's Python."""

    def __init__(self, text: bytes):
        self._text = text
        self._trees: dict[bytes, str] = {}   # {unchanged part: its tree}

    def lines_of(self, node: Node, span: Span, is_placed: bool) -> tuple[int, int] | None:
        """Return the lines of the statement around an edit, or of the statement's head; None if the
        edit does not change the syntax tree, or makes a syntax error. With `is_placed`, also
        compile the enclosing function, and return None if there is none."""
        start, end, _ = span
        function = ancestor(node, "function_definition") if is_placed else None
        if is_placed and not function:
            return None
        try:
            if function:
                _tree_text(self._alone(function, function.end_byte, *span), is_placed)
            if node.type.endswith(STATEMENT) and start <= node.start_byte and node.end_byte <= end:
                return node_lines(node)   # the edit removes a whole statement, or makes it `pass`
            part, body = _part(node, start, end)
            return self._changed(part, body, span) if part else None
        except SyntaxError:
            return None

    def _changed(self, part: Node, body: Node | None, span: Span) -> tuple[int, int] | None:
        """Return the lines of a part, without its body if given; None if the edit does not change
        the part's syntax tree, or if the part is longer than MAX_PART. Raise SyntaxError if the
        part does not parse before or after the edit."""
        stop, ending = (body.start_byte, b"pass") if body else (part.end_byte, b"")
        if stop - part.start_byte > MAX_PART:
            return None
        before = self._alone(part, stop, stop, stop, ending)
        if before not in self._trees:
            self._trees[before] = _tree_text(before)
        if _tree_text(self._alone(part, stop, *span) + ending) == self._trees[before]:
            return None
        first, last = node_lines(part)
        return first, max(first, body.start_point.row) if body else last

    def _alone(self, node: Node, stop: int, start: int, end: int, new: bytes) -> bytes:
        """Return a statement or clause up to the byte `stop`, with the edit applied, after code
        that makes it parse if necessary."""
        begin, front = node.start_byte, CLAUSES.get(node.type, b"")
        line = self._text.rfind(b"\n", 0, begin) + 1
        if not front and line < begin and not self._text[line:begin].strip(b" \t"):
            begin, front = line, b"if 0:\n"
        return front + self._text[begin:start] + new + self._text[end:stop]


def ancestor(node: Node | None, *kinds: str) -> Node | None:
    """Return the node itself or its nearest ancestor of one of these kinds; None if there is none
    within MAX_CLIMB levels."""
    for _ in range(MAX_CLIMB):
        if node is None or node.type in kinds:
            return node
        node = node.parent
    return None


def _part(node: Node | None, start: int, end: int) -> tuple[Node | None, Node | None]:
    """Return (the smallest statement or clause around an edit, its body if the edit is in its head,
    else None). Return (None, None) if there is none within MAX_CLIMB levels, or if the edit is in
    an annotation."""
    for _ in range(MAX_CLIMB):
        if node is None or node.type == "type":
            break
        is_statement = node.type.endswith(STATEMENT)
        if is_statement or node.type in CLAUSES:
            body = _body(node)
            # an edit at the start of a clause changes the statement: `elif` becomes `if`
            is_inside = node.start_byte <= start if is_statement else node.start_byte < start
            if is_inside and body and end <= body.start_byte:
                return node, body
            if is_inside and is_statement and end <= node.end_byte:
                return node, None
        node = node.parent
    return None, None


def _point(text: bytes, at: int) -> tuple[int, int]:
    """Return (row, column) of a byte, from 0."""
    return text.count(b"\n", 0, at), at - text.rfind(b"\n", 0, at) - 1


def node_lines(node: Node) -> tuple[int, int]:
    """Return the first and the last line of a node."""
    return node.start_point.row + 1, node.end_point.row + 1


def _body(node: Node) -> Node | None:
    """Return the first block of a statement or clause."""
    inner = node.child_by_field_name("definition") or node   # after decorators
    return next((one for one in inner.children if one.type == "block"), None)


def _tree_text(text: bytes, is_placed: bool = False) -> str:
    """Return the syntax tree of a Python text. Raise SyntaxError if it does not parse or, with
    `is_placed`, does not compile."""
    with compiling():
        tree = compile(text, "file", "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
        if is_placed:
            compile(tree, "file", "exec", dont_inherit=True)
        return ast.dump(tree)


@contextmanager
def compiling() -> Iterator[None]:
    """Within the block, raise SyntaxError for every error of the compiler, and show no warnings."""
    with FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")   # such as for escapes, which the project already has
        try:
            yield
        except (ValueError, RecursionError, MemoryError) as e:
            raise SyntaxError(str(e)) from e
