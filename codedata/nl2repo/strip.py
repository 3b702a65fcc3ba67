"""Find the functions that can be stripped, and strip them. To strip a function means to replace its
body by `raise NotImplementedError`, followed by a `yield` in a generator. Signature, decorators,
docstring and line ends stay the same, byte by byte.

A function can be stripped if it is written in Python, is not inside another function, and runs in
tests but not at import. If it ran at import, stripping it would break the collection of tests. A
trivial function or a mere declaration is not stripped (why_not()).
"""
from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from posixpath import dirname
from typing import TYPE_CHECKING

from codedata.analysis.analyse import tests_by_function
from codedata.code.entities import (
    Entity,
    SourceFile,
    Sources,
    all_entities,
    entities_of,
    syntax_fault,
    tree_of,
)
from codedata.code.gold_variants import variants_of
from codedata.code.operators.syntax import compiling
from codedata.code.patches import diff_of
from codedata.records import Coverage
from codedata.suites.contexts import LANGUAGE, mask_of, masks_of
from codedata.suites.source import Files, is_text

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

EMPTY = "empty"            # kind of patch that removes all of the source
NOT_MEASURED, NESTED = "no counted test runs it", "nested in a function"
# a function is trivial if its only statement is one of these
TRIVIAL = {"pass_statement", "raise_statement"}
# a function is trivial if its only statement returns one of these
TRIVIAL_VALUES = {"identifier", "attribute", "none", "true", "false", "integer", "float", "string"}
SCOPES = {"function_definition", "lambda", "class_definition"}
REST_OF_LINE = re.compile(rb"[ \t;]*(#[^\r\n]*)?")
COMMENT_LINE = re.compile(rb"(?:\r?\n[ \t]*)*\r?\n([ \t]*)#[^\r\n]*")


class Strippable:
    """Hold the functions of a repository that can be stripped, and for each other function why it
    cannot be stripped. With `from_empty`, whole files are removed (emptied()), and the class holds
    the functions to document. These also include trivial functions, declarations, and functions
    that run at import.
    """

    def __init__(self, sources: Sources, coverage: Coverage, from_empty: bool = False):
        self.from_empty = from_empty
        self.tests = tests_by_function(coverage)   # {function id: mask of the tests that run it}
        self.files = {file.path: file for file in sources.files if file.language == LANGUAGE}
        self.left_out: dict[str, list[str]] = defaultdict(list)   # {rule: ids of functions}
        self._entities: dict[str, Entity] = {}   # {id: function}
        self._nodes: dict[str, Node] = {}        # {id: the function's body}
        self._import_lines = masks_of(coverage.import_lines)
        entities = all_entities(sources)[0]
        by_id = {one.id: one for listed in entities.values() for one in listed}
        for path, file in self.files.items():
            if not file.is_test:
                self._take(file, [one for one in entities[path] if one.kind != "class"], by_id)

    def _take(self, file: SourceFile, functions: list[Entity],
              by_id: Mapping[str, Entity]) -> None:
        """Sort the functions of a file by whether they can be stripped."""
        tree = tree_of(file)
        fault = syntax_fault(file, tree) or ("" if is_text(file.text) else "is no text in UTF-8")
        tree_of_python = python_tree(file.text.decode(errors="replace"))
        lines = {node.lineno for node in ast.walk(tree_of_python)
                 if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        for one in functions:
            node = block_at(tree, one.body)
            around = [*_around(one, by_id)]
            rules = [
                (NOT_MEASURED, not self.tests.get(one.id)),
                (NESTED, any(outer.kind != "class" for outer in around)),
                ("runs at import", not self.from_empty and self._runs_at_import(one)),
                (f"its file {fault}", fault),
                # leave it out: documents are written from the syntax trees of Python's parser
                ("refused by the parser of this Python", one.line not in lines)]
            rule = next((rule for rule, holds in rules if holds), "")
            rule = rule or ("" if self.from_empty else why_not(one, around, node))
            if rule:
                self.left_out[rule].append(one.id)
            else:
                self._entities[one.id], self._nodes[one.id] = one, node

    def _runs_at_import(self, one: Entity) -> bool:
        """Return whether lines of a function's body ran outside of any test. This uses measured
        lines, not the call graph, which in some projects would count half of the functions."""
        ran = self._import_lines.get(one.path, 0) & mask_of(one.body_lines)
        return bool(ran & ~(1 << one.line))   # ignore the line of `def`, which each import runs

    @property
    def ids(self) -> list[str]:
        """Return the ids of the functions that can be stripped, in order of their files."""
        return [*self._entities]

    def leave_out(self, rule: str, ids: Iterable[str]) -> None:
        """Leave out functions, with `rule` as the reason."""
        for id in ids:
            self.left_out[rule].append(id)
            del self._entities[id], self._nodes[id]

    def entity(self, id: str) -> Entity:
        """Return a function that can be stripped. Raise KeyError for another function."""
        return self._entities[id]

    def source(self, id: str) -> bytes:
        """Return the source of a function with its decorators."""
        one = self._entities[id]
        return self.files[one.path].text[one.start:one.end]

    def stripped(self, ids: Collection[str]) -> tuple[Files, Files]:
        """Return the files that hold these functions, and the same files with the functions
        stripped. Raise KeyError if a function cannot be stripped, ValueError if more than the
        functions' bodies would change."""
        by_path = defaultdict(list)
        for id in ids:
            by_path[self._entities[id].path].append(id)
        before = {path: self.files[path].text for path in sorted(by_path)}
        return before, {path: self._without(path, by_path[path]) for path in before}

    def emptied(self) -> tuple[Files, Files]:
        """Return (the files to remove, {}). These are the files that run outside of any test and,
        if such a file is in a folder, all other source files in or below this folder."""
        own = {path: file.text for path, file in sorted(self.files.items()) if not file.is_test}
        ran = own.keys() & self._import_lines.keys()
        folders = tuple(f"{dirname(path)}/" for path in ran if "/" in path)
        return {path: text for path, text in own.items()
                if path in ran or path.startswith(folders)}, {}

    def variants(self, id: str, n: int) -> list[str]:
        """Return up to n diffs, each with a small fault in the body of a function."""
        before, after = self.stripped([id])
        return [diff_of({one.path: before[one.path]}, {one.path: one.text})
                for one in variants_of(after, before, id)[:n]]

    def _without(self, path: str, ids: list[str]) -> bytes:
        file, text = self.files[path], self.files[path].text
        ordered = sorted(ids, key=lambda id: -self._entities[id].start)
        for id in ordered:
            start, end, new = cut_of(file.text, self._entities[id], self._nodes[id])
            text = text[:start] + new + text[end:]
        _check(file, text, {*ids})
        return text


def python_tree(text: str) -> ast.Module:
    """Return the tree of a source from Python's `ast`. The tree is empty if Python cannot parse the
    source, or if the source is nested too deeply for recursion."""
    try:
        with compiling():
            tree = ast.parse(text)
            ast.unparse(tree)   # too deep nesting fails here: no later use recurses deeper
            return tree
    except SyntaxError:
        return ast.Module([], [])


def _around(one: Entity, by_id: Mapping[str, Entity]) -> Iterator[Entity]:
    """Yield the classes and functions around a function, innermost first."""
    while one.parent:
        one = by_id[one.parent]
        yield one


# which bodies ------------------------------------------------------------------------------------

def why_not(one: Entity, around: list[Entity], body: Node) -> str:
    """Return the reason not to strip a body: the body is trivial, or it is only a declaration.
    Return "" if the body can be stripped."""
    decorators = {text.partition("(")[0].rpartition(".")[2] for text in one.decorators}
    if "overload" in decorators:
        return "an overload"
    if any(name.startswith("abstract") for name in decorators):
        return "abstract"
    if any(re.search(r"\bProtocol\b", outer.signature) for outer in around):
        return "of a Protocol"
    statements = statements_of(body)
    if not statements:
        return "only a docstring"
    if len(statements) > 1:
        return ""
    first = statements[0]
    values = _parts_of(first)
    if first.type == "expression_statement" and values[0].type == "ellipsis":
        return "..."
    is_plain = len(values) <= 1 and {child.type for child in values} <= TRIVIAL_VALUES
    if first.type in TRIVIAL or (first.type == "return_statement" and is_plain):
        return "trivial"
    return ""


def statements_of(body: Node) -> list[Node]:
    """Return the statements of a body after its docstring."""
    statements = _parts_of(body)
    return statements[1:] if statements and _is_docstring(statements[0]) else statements


def _parts_of(node: Node) -> list[Node]:
    return [child for child in node.named_children if child.type != "comment"]


def _is_docstring(statement: Node) -> bool:
    return (statement.type == "expression_statement"
            and [child.type for child in statement.named_children] in (
                ["string"], ["concatenated_string"]))


# the cut -----------------------------------------------------------------------------------------

def cut_of(text: bytes, one: Entity, body: Node) -> tuple[int, int, bytes]:
    """Return (start, end, new text) for stripping a function: the bytes from start to end are
    replaced. They are the body after the docstring, with its comments."""
    statements = statements_of(body)
    first = statements[0]
    line = text.rfind(b"\n", 0, first.start_byte) + 1
    indent = text[line:first.start_byte]
    raised = f'raise NotImplementedError("{one.name}")'.encode()
    is_generator = any(map(_yields, body.children))
    end = _end_of(text, body.end_byte, one)
    if indent.strip():   # the first statement is on the line of `def`, or of the docstring
        return first.start_byte, end, raised + (b"; yield" if is_generator else b"")
    line_end = b"\r\n" if text[:line].endswith(b"\r\n") else b"\n"
    more = line_end + indent + b"yield" if is_generator else b""
    return _start_of(text, body, line), end, indent + raised + more


def _start_of(text: bytes, body: Node, line: int) -> int:
    """Return the start of the bytes to replace: the line after the docstring, or after the
    signature if there is no docstring. It is never after `line`, the start of the line on which the
    first statement begins."""
    first = _parts_of(body)[0]
    colon = [child for child in body.parent.children if child.type == ":"][-1]
    before = first if _is_docstring(first) else colon
    return min(line, text.find(b"\n", before.end_byte) + 1)


def _end_of(text: bytes, end: int, one: Entity) -> int:
    """Return the end of a body, including comments after the body if they are indented more than
    `def`."""
    end = REST_OF_LINE.match(text, end).end()
    depth = one.start - text.rfind(b"\n", 0, one.start) - 1
    while (match := COMMENT_LINE.match(text, end)) and len(match[1]) > depth:
        end = match.end()
    return end


def _yields(node: Node) -> bool:
    """Return whether code has a `yield` outside of inner functions and classes."""
    return node.type == "yield" or (
        node.type not in SCOPES and any(map(_yields, node.children)))


def _check(file: SourceFile, text: bytes, ids: set[str]) -> None:
    """Raise ValueError if `text`, the file with the functions `ids` stripped, cannot be parsed, or
    if its definitions differ from the file's definitions outside of the bodies."""
    after = SourceFile(file.path, file.language, text, file.is_test)
    tree = tree_of(after)
    fault = syntax_fault(after, tree)
    inside = {*ids}
    others = []
    for one in entities_of(file, tree_of(file)):
        if one.parent in inside:
            inside.add(one.id)
        else:
            others.append(_head_of(one))
    if fault or others != [*map(_head_of, entities_of(after, tree))]:
        raise ValueError(f"without the bodies {file.path} {fault or 'has other definitions'}")


def _head_of(one: Entity) -> tuple:
    return one.name, one.kind, one.signature, one.docstring, one.decorators


def block_at(tree: Tree, body: tuple[int, int]) -> Node:
    """Return the node of a body, given its (start, end) in bytes."""
    node = tree.root_node.descendant_for_byte_range(*body)
    while node.type != "block":
        node = node.parent
    return node
