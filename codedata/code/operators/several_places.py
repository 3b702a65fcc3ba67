"""Make changes of several places that belong together, in the Python files of a repository.

    removed      an optional parameter is taken out as if it had never been there: from signatures,
                 bodies, calls and docstrings; its default says which branches stay. Or a function
                 that is listed in a table, together with its entry
    contract     the last step of making a result (a conversion, an offset, a slice) moves from a
                 function to its callers, all but one
    two places   one slip in lines of the same shape of several functions

Not promised: that a name is resolved. What shares its name with something else is left alone, or
changed with it. A changed file need not parse.
"""
from __future__ import annotations

import builtins
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from codedata.code.entities import SourceFile, captured, query_of
from codedata.code.operators import SpanEdit, without
from codedata.code.operators.functions import unwrapped
from codedata.code.operators.syntax import Span, ancestor
from codedata.texts import toml_of

if TYPE_CHECKING:
    from tree_sitter import Node

LANGUAGE = "python"
TABLES = toml_of(__package__, "several_places.toml")
MAX_PLACES = 15       # of a removal
MAX_COPIES = 5        # of a slip
MAX_LEFT_OUT = 2      # changes that differ only in the caller that is left out
WORD = re.compile(rb"(?<![\w.'\"])[A-Za-z_]\w*")
KNOWN = {name.encode() for name in dir(builtins)} | {b"or"}   # mean the same everywhere
# names that are not called, but for words of the language
SHAPE = re.compile(rb"\b(?!(?:if|elif|else|return|not|in|is|for|and|or|None|True|False|raise|except"
                   rb"|yield|with|while)\b)[A-Za-z_]\w*\b(?!\()")
Place = tuple[SourceFile, Span]
Nodes = dict[str, list[tuple[SourceFile, "Node"]]]   # by the captures of python_places.scm


@dataclass(frozen=True, slots=True)
class Change:
    """Hold edits of several places that make one change."""

    operator: str
    family: str
    places: list[Place]


class Refused(Exception):
    """Report that a name cannot be taken out."""


def nodes_of(files: Iterable[SourceFile]) -> Nodes:
    """Return the nodes of Python files by capture, in the order of files and places."""
    nodes: Nodes = defaultdict(list)
    for file in files:
        for kind, found in captured(file, query_of(LANGUAGE, "python_places.scm")).items():
            nodes[kind] += [(file, one) for one in sorted(found, key=attrgetter("start_byte"))]
    return nodes


def applied(text: bytes, spans: Iterable[Span]) -> bytes:
    """Return a text with edits made. An edit inside of another one is left out."""
    begin = len(text) + 1
    for start, end, new in sorted(spans, key=lambda span: (-span[1], span[0])):
        if end <= begin:
            text, begin = text[:start] + new + text[end:], start
    return text


# removed -----------------------------------------------------------------------------------------

def removals(nodes: Nodes) -> Iterator[Change]:
    """Yield the changes that take out an optional parameter, or a function listed in a table."""
    options = defaultdict(list)
    for file, node in nodes["option"]:
        options[_name(node)].append((file, node))
    for _, node in nodes["listed"]:
        options.setdefault(node.text, [])
    for name, several in options.items():
        with suppress(Refused):
            yield Change("option-removed" if several else "handler-removed", "removed",
                         _Removal(nodes, name, several).places())


class _Removal:
    """Take out a name: of an optional parameter, or of a function if there are no `options`."""

    def __init__(self, nodes: Nodes, name: bytes, options: list[tuple[SourceFile, Node]]):
        self._nodes, self._name, self._attribute = nodes, name, b"" if options else name
        self._homes = [(file, ancestor(one, "function_definition")) for file, one in options]
        self._default, *others = [one.child_by_field_name("value") for _, one in options] or [None]
        if any(one.text != self._default.text for one in others):
            raise Refused
        self._is_on = bool(options) and self._default.text.decode() not in TABLES["falsy"]
        self._called = set()   # functions that take the parameter, and their classes
        for _, home in self._homes:
            self._called |= {_name(home), _name(ancestor(home, "class_definition"))}
            stored = re.search(rb"self\.(\w+)(: .+)? = %b\s" % name, home.text)
            self._attribute = stored[1] if stored else self._attribute
        self._word = re.compile(rb"(?<![\w.])%b\b|self\.%b\b" % (name, self._attribute or name))

    def places(self) -> list[Place]:
        """Return the edits. Raise Refused if one of the name's uses cannot be taken out."""
        places: list[Place] = []
        for file, node in self._nodes["name"]:
            if self._is_use(file, node) and not any(
                    file is where and start <= node.start_byte < end
                    for where, (start, end, _) in places):
                places.append((file, self._span(file, node)))
        for file, node in self._nodes["doc"]:
            if self._name in node.text and self._is_at_home(file, node):
                places.append((file, (*node.byte_range, self._documented(node.text))))
        if not 2 <= len(places) <= MAX_PLACES or any(
                self._word.search(new) for _, (*_, new) in places):
            raise Refused
        return places

    def _is_at_home(self, file: SourceFile, node: Node) -> bool:
        return any(file is where and home.start_byte <= node.start_byte < home.end_byte
                   for where, home in self._homes)

    def _is_use(self, file: SourceFile, node: Node) -> bool:
        parent = node.parent
        if parent.type == "attribute" and parent.children[-1] == node:
            return node.text == self._attribute
        if parent.type == "keyword_argument" and parent.children[0] == node:
            return node.text == self._name and _callee(node) in self._called
        return node.text == self._name and (not self._homes or self._is_at_home(file, node))

    def _documented(self, text: bytes) -> bytes:
        """Return a docstring without its entry about the name. Raise Refused if more is said."""
        entry = rb"(?m)^([ \t]*)(?:[:@]\w+ (?:\w+ )?)?`*%b`*\b *(?:[:(].*)?\n(?:\1[ \t]+\S.*\n)*"
        text = re.sub(entry % self._name, b"", text)
        if re.search(rb"\b%b\b" % self._name, text):
            raise Refused
        return text

    def _span(self, file: SourceFile, node: Node) -> Span:
        """Return the edit that takes out a use."""
        node = node.parent if node.parent.type == "attribute" else node
        parent, kind = node.parent, node.parent.type
        if kind in TABLES["items"] or (kind == "keyword_argument" and (
                parent.children[0].text == self._name or not self._is_on)):
            return _without_item(parent)
        if kind in TABLES["lists"] or (
                kind == "argument_list" and _callee(node) in self._called):
            return _without_item(node)
        if kind == "function_definition":
            return _without(parent, file.text)
        if kind == "assignment" and parent.children[-1].text == self._name and (
                parent.children[0].text == b"self." + self._attribute):
            return _without(parent.parent, file.text)
        return self._settled(node, file.text)

    def _settled(self, node: Node, text: bytes) -> Span:
        """Return the edit that settles a condition, or puts the default in place of the name."""
        while True:
            holder = node.parent
            if holder.type in TABLES["logic"] and self._truth(holder) is not None:
                node = holder
            elif holder.type == "argument_list" and (
                    holder.parent.children[0].text.decode() in TABLES["asked"]):
                node = holder.parent
            else:
                break
        truth = self._truth(node)
        if holder.type == "boolean_operator":
            other = holder.named_children[holder.named_children[0] == node]
            return *holder.byte_range, other.text
        if holder.type == "conditional_expression" and holder.named_children[1] == node:
            return *holder.byte_range, holder.named_children[0 if truth else 2].text
        if holder.child_by_field_name("consequence"):
            return _branch(holder, truth, text)
        if not self._homes or self._default.type not in TABLES["literals"] or (
                holder.type not in TABLES["takes_literal"] or holder.children[0] == node
                or not self._word.fullmatch(node.text)):
            raise Refused
        return *node.byte_range, self._default.text

    def _truth(self, node: Node) -> bool | None:
        """Return whether a condition holds with the default; None if the name does not say."""
        if not self._word.search(node.text):
            return None
        parts = [self._truth(one) for one in node.named_children]
        if node.type == "not_operator":
            return {True: False, False: True}.get(parts[0])
        if node.type == "parenthesized_expression":
            return parts[0]
        if node.type == "boolean_operator":
            decides = node.children[1].type == "or"
            if decides in parts:
                return decides
            return None if None in parts else not decides
        if node.type == "comparison_operator" and self._homes:
            is_same = node.named_children[1].text == self._default.text
            return is_same == (node.children[1].type in ("is", "=="))
        return self._is_on


def _branch(holder: Node, truth: bool, text: bytes) -> Span:
    """Return the edit after which the condition of a branch is always true, or always false."""
    others = holder.children_by_field_name("alternative")
    if not truth and not others:
        return _without(holder, text)
    if not truth and others[0].type == "elif_clause":
        return holder.start_byte, others[0].start_byte + len("el"), b""
    block = (holder.child_by_field_name("consequence") if truth
             else others[0].child_by_field_name("body"))
    is_end = block.named_children[-1].type in TABLES["ends"]   # nothing after it is reached
    for body in unwrapped(holder, block) if holder.type == "if_statement" else ():
        return holder.start_byte, (holder.parent if is_end else holder).end_byte, body
    raise Refused


def _name(node: Node | None) -> bytes:
    return node.child_by_field_name("name").text if node else b""


def _callee(node: Node) -> bytes:
    """Return the last name of the function that is called with an argument."""
    arguments = ancestor(node, "argument_list")
    return arguments.parent.children[0].text.rpartition(b".")[2] if arguments else b""


def _without_item(node: Node) -> Span:
    """Return the edit that removes an item of a list, with its comma."""
    before, after = node.prev_named_sibling, node.next_named_sibling
    if after and after.type == "comment" and after.start_point.row == node.end_point.row:
        after = after.next_named_sibling
    is_first = not before or before.end_point.row < node.start_point.row   # in its line
    if after and (is_first or after.start_point.row == node.end_point.row):
        return node.start_byte, after.start_byte, b""
    return (before or node.children[0]).end_byte if before else node.start_byte, node.end_byte, b""


def _without(node: Node, text: bytes) -> Span:
    """Return the edit that removes a statement, and the comments right above it. Raise Refused if
    nothing else is in its block."""
    node = node.parent if node.parent.type == "decorated_definition" else node
    first = node
    while (above := first.prev_sibling) and above.type == "comment" and (
            above.start_point == (first.start_point.row - 1, node.start_point.column)):
        first = above
    span = without(first, node, text, b"pass")
    if span[2]:
        raise Refused
    return span


# contract ----------------------------------------------------------------------------------------

def moves(nodes: Nodes,
          edits: Iterable[tuple[SourceFile, str, SpanEdit]]) -> Iterator[Change]:
    """Yield the changes that move the last step of making a result from a function to its callers,
    but for one. The edits, some of which drop such a step, come with the ids of their functions."""
    for file, _, edit in edits:
        for home, value in nodes["made"] if edit.operator.name in TABLES["steps"] else ():
            start = value.start_byte
            if home is not file or not start <= edit.start <= edit.end <= value.end_byte:
                continue
            rest = applied(value.text, [(edit.start - start, edit.end - start, edit.new)])
            before, _, after = value.text.partition(rest)
            calls = _calls(nodes, ancestor(value, "function_definition"))
            if before + rest + after == value.text and {*WORD.findall(before + after)} <= KNOWN:
                for n in range(min(len(calls), MAX_LEFT_OUT)):
                    yield Change(f"{edit.operator.name}-by-callee", "contract", [
                        (file, edit.span), *[(where, _wrapped(before, call, after))
                                        for where, call in calls[:n] + calls[n + 1:]]])


def _calls(nodes: Nodes, function: Node) -> list[tuple[SourceFile, Node]]:
    """Return the calls of a function with one `return` and a name that no other one has; none of
    other functions."""
    made = [one for _, one in nodes["made"] if ancestor(one, "function_definition") == function]
    same = [one for _, one in nodes["function"] if _name(one) == _name(function)]
    return [(file, call) for file, call in nodes["call"] if len(made) == len(same) == 1
            and call.children[0].text.rpartition(b".")[2] == _name(function)]


def _wrapped(before: bytes, call: Node, after: bytes) -> Span:
    if b" " in after and call.parent.type in TABLES["tight"]:
        before, after = b"(" + before, after + b")"
    return *call.byte_range, before + call.text + after


# two places --------------------------------------------------------------------------------------

def copies(edits: Iterable[tuple[SourceFile, str, SpanEdit]]) -> Iterator[Change]:
    """Yield the changes that make a slip in all lines of one shape, if these are in several
    functions. The edits come with the ids of their functions."""
    groups = defaultdict(list)
    for file, function, edit in edits:
        if edit.operator.name in TABLES["copied"]:
            parts = (file.text[:edit.start].rpartition(b"\n")[2].lstrip(),
                     file.text[edit.start:edit.end], file.text[edit.end:].partition(b"\n")[0])
            shape = tuple(SHAPE.sub(b"x", part) for part in parts)
            groups[edit.operator.name, edit.new, shape].append((function, (file, edit.span)))
    for (name, _, _), several in groups.items():
        if len({function for function, _ in several}) > 1 and len(several) <= MAX_COPIES:
            yield Change(f"{name}-copied", "two places", [place for _, place in several])
