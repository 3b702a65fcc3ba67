"""Compare the syntax of files, and find the lines that must run for a change to be noticed."""
from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from types import CodeType
from typing import TYPE_CHECKING

from codedata.code.entities import (
    LANGUAGES,
    SourceFile,
    captured,
    grammar,
    syntax_fault,
    tree_of,
)

if TYPE_CHECKING:
    from tree_sitter import Node

MAX_CLIMB = 60     # ancestors of a node to visit: getting a parent is slow in deep trees
STATEMENT = ("_statement", "_definition")   # suffixes of the types of statements
CLAUSES = ("elif_clause", "except_clause", "case_clause")
MAX_PART = 5_000   # bytes of a changed statement, or of its head: longer ones are tables of data
FILTERS = threading.Lock()   # guards the filters of warnings, which are global
Span = tuple[int, int, bytes]   # start, end, and the replacement
SHAPE = re.compile(rb"[\s();]+")   # characters that mean little in languages with braces


def syntax_of(file: SourceFile) -> Hashable:
    """Return a value that is equal for files of equal syntax: the code of a Python file, as this
    machine's Python compiles it; the text of other files without whitespace, parentheses and
    semicolons. Return "" for a file that does not parse."""
    if file.language != "python":
        return "" if syntax_fault(file, tree_of(file)) else SHAPE.sub(b"", file.text)
    try:
        return code_of(file.text)
    except SyntaxError:
        return ""


def what_runs(file: SourceFile) -> Hashable:
    """Return syntax_of() for the file without its comments, docstrings, annotations and types."""
    from tree_sitter import Query
    query = Query(grammar(file.language), LANGUAGES[file.language]["not_run"])
    text = bytearray(file.text)
    for node in chain(*captured(file, query).values()):
        text[node.start_byte:node.end_byte] = b" " * (node.end_byte - node.start_byte)
    return syntax_of(replace(file, text=bytes(text)))


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


def ancestor(node: Node | None, *kinds: str) -> Node | None:
    """Return the node itself or its nearest ancestor of one of these kinds; None if there is none
    within MAX_CLIMB levels."""
    for _ in range(MAX_CLIMB):
        if node is None or node.type in kinds:
            return node
        node = node.parent
    return None


def statement_lines(node: Node, start: int, end: int) -> tuple[int, int] | None:
    """Return the (first, last) line of the smallest Python statement around an edit, or of the
    statement's head if the edit is in it. Return None if the edit is in an annotation, if the
    statement is longer than MAX_PART, or if MAX_CLIMB levels have no statement."""
    if node.type.endswith(STATEMENT) and start <= node.start_byte and node.end_byte <= end:
        return node_lines(node)   # the edit removes a whole statement, or makes it `pass`
    for _ in range(MAX_CLIMB):
        if node is None or node.type == "type":
            break
        is_statement = node.type.endswith(STATEMENT)
        inner = node.child_by_field_name("definition") or node   # after decorators
        body = next((one for one in inner.children if one.type == "block"), None)
        # an edit at the start of a clause changes the statement: `elif` becomes `if`
        is_inside = node.start_byte <= start if is_statement else (
            node.type in CLAUSES and node.start_byte < start)
        if is_inside and body and end <= body.start_byte:
            first = node.start_point.row + 1
            is_long = body.start_byte - node.start_byte > MAX_PART
            return None if is_long else (first, max(first, body.start_point.row))
        if is_inside and is_statement and end <= node.end_byte:
            return None if node.end_byte - node.start_byte > MAX_PART else node_lines(node)
        node = node.parent
    return None


def node_lines(node: Node) -> tuple[int, int]:
    """Return the first and the last line of a node."""
    return node.start_point.row + 1, node.end_point.row + 1


@contextmanager
def compiling() -> Iterator[None]:
    """Within the block, raise SyntaxError for every error of the compiler, and show no warnings."""
    with FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")   # such as those about escapes in the project's own strings
        try:
            yield
        except (ValueError, RecursionError, MemoryError) as e:
            raise SyntaxError(str(e)) from e
