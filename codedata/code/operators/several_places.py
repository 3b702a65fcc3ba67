"""Make changes of several places that belong together, in the Python files of a repository.

    removed      an optional parameter is taken out as if it had never been there: from signatures,
                 bodies, calls and docstrings; its default says which branches stay. Or a function
                 that is listed in a table, together with its entry
    contract     the first two parameters of a function change places, in it and in its calls but
                 for one; or the first two results, in its returns and where calls unpack them

Not promised: that a name is resolved. What shares its name with something else is left alone, or
changed with it. A changed file need not parse.
"""
from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

from codedata.code.entities import SourceFile, query_of, tree_of
from codedata.code.operators import without
from codedata.code.operators.functions import unwrapped
from codedata.code.operators.syntax import Span, ancestor
from codedata.texts import toml_of

if TYPE_CHECKING:
    from tree_sitter import Node

LANGUAGE = "python"
TABLES = toml_of(__package__, "several_places.toml")
# questions about a name whose answer is that of its truth
ASKED = {b"isinstance", b"len", b"callable", b"hasattr", b"issubclass"}
MAX_PLACES = 15       # of a removal
BLANK = re.compile(rb"\s*?(?=\n[ \t]*\S|\Z)")   # lines, up to the end of the last one
Place = tuple[SourceFile, Span]
Nodes = list[tuple[SourceFile, "Node"]]


@dataclass(frozen=True, slots=True)
class Change:
    """Hold the edits of a change."""

    operator: str
    family: str
    places: list[Place]
    symbol: str = ""     # id of the innermost function around the first place


class Refused(Exception):
    """Report that a name cannot be taken out."""


class Program:
    """Hold what python_places.scm finds in files."""

    def __init__(self, files: Iterable[SourceFile]):
        from tree_sitter import QueryCursor
        self.nodes: dict[str, Nodes] = defaultdict(list)   # by capture
        self.names: dict[bytes, Nodes] = defaultdict(list)   # by text
        # by (capture, name of a function): its parameters, its returns, the arguments of its calls,
        # what these are assigned to
        self.ordered: dict[tuple[str, bytes], Nodes] = defaultdict(list)
        # ways to take out a name, by the place where it ends
        self.ways: dict[tuple[SourceFile, int], list[dict[str, Node]]] = defaultdict(list)
        for file in (file for file in files if file.language == LANGUAGE):
            cursor = QueryCursor(query_of(LANGUAGE, "python_places.scm"))
            for _, captures in sorted(cursor.matches(tree_of(file).root_node), key=itemgetter(0)):
                firsts = {kind: nodes[0] for kind, nodes in captures.items()}
                for kind, node in firsts.items():
                    self.nodes[kind].append((file, node))
                    if kind in ("defined", "called", "returned", "unpacked"):
                        name = _name(ancestor(node, "function_definition")) if (
                            kind == "returned") else node.text
                        self.ordered[kind, name].append((file, firsts.get("ordered", node)))
                if "at" in firsts:
                    self.ways[file, firsts["at"].end_byte].append(firsts)
        for file, node in self.nodes["name"]:
            self.names[node.text].append((file, node))


def applied(text: bytes, spans: Iterable[Span]) -> bytes:
    """Return a text with edits made. An edit inside of another one is left out."""
    begin = len(text) + 1
    for start, end, new in sorted(spans, key=lambda span: (-span[1], span[0])):
        if start < begin:
            text, begin = text[:start] + new + text[min(end, begin):], start
    return text


# removed -----------------------------------------------------------------------------------------

def removals(program: Program) -> Iterator[Change]:
    """Yield the changes that take out an optional parameter, or a function listed in a table."""
    options = defaultdict(list)
    for file, node in program.nodes["option"]:
        options[_name(node)].append((file, node))
    for _, node in program.nodes["listed"]:
        if len(program.ordered["defined", node.text]) == 1:
            options.setdefault(node.text, [])
    for name, several in options.items():
        with suppress(Refused):
            yield Change("option-removed" if several else "handler-removed", "removed",
                         _Removal(program, name, several).places())


class _Removal:
    """Take out a name: of an optional parameter, or of a function if there are no `options`."""

    def __init__(self, program: Program, name: bytes, options: Nodes):
        self._program, self._name = program, name
        self._attributes = set() if options else {name}   # that hold it
        self._homes = [(file, ancestor(one, "function_definition")) for file, one in options]
        defaults = {one.child_by_field_name("value").text.decode() for _, one in options}
        if len(defaults) > 1 or not defaults <= {"True", *TABLES["falsy"]}:
            raise Refused
        self._unfit = "falsy" if defaults == {"True"} else "truthy"
        takers = set()   # functions that take the parameter, and their classes
        for _, home in self._homes:
            takers |= {_name(home), _name(ancestor(home, "class_definition"))}
            self._attributes |= {*re.findall(rb"(?m)self\.(\w+)(?:: .+)? = %b$" % name, home.text)}
        self._needs = {"callee": takers, "held": {name}, "asked": ASKED}
        self._word = re.compile(rb"(?<![\w.])%b\b|\.(?:%b)\b" % (
            name, b"|".join(self._attributes) or name))

    def places(self) -> list[Place]:
        """Return the edits. Raise Refused if one of the name's uses cannot be taken out."""
        places: list[Place] = []
        uses = [pair for name in {self._name, *self._attributes}
                for pair in self._program.names[name] if self._is_use(*pair)]
        uses.sort(key=lambda pair: (pair[0].path, pair[1].start_byte))   # the outer ones first
        texts = [pair for pair in self._program.nodes["text"]
                 if self._is_at_home(*pair) and self._name in pair[1].text]
        for file, node in uses + texts:
            if not any(file is where and start <= node.start_byte < end
                       for where, (start, end, _) in places):
                places.append((file, self._edit(file, node)))
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
            return node.text in self._attributes
        if parent.type == "keyword_argument" and parent.children[0] == node:
            return any(self._fits(way) for way in self._program.ways[file, node.end_byte])
        return node.text == self._name and (not self._homes or self._is_at_home(file, node))

    def _fits(self, way: dict[str, Node]) -> bool:
        return self._unfit not in way and all(
            way[kind].text in texts for kind, texts in self._needs.items() if kind in way)

    def _edit(self, file: SourceFile, node: Node) -> Span:
        """Return the edit that takes out a use, or what a docstring or comment says."""
        if node.type != "identifier":
            return self._retold(node)
        for way in filter(self._fits, self._program.ways[file, node.end_byte]):
            if "item" in way:
                return _without_item(way["item"])
            site, keep = way["site"], way.get("keep")
            if keep is None:
                return _without(site, file.text)
            if keep.type != "block":
                return *site.byte_range, keep.text
            is_end = keep.named_children[-1].type in TABLES["ends"]   # the rest is never reached
            for body in unwrapped(site, keep):
                return site.start_byte, (site.parent if is_end else site).end_byte, body
        raise Refused

    def _retold(self, node: Node) -> Span:
        """Return the edit that takes the entry about the name out of a docstring. Raise Refused if
        more is said about it, or if it is a comment."""
        entry = rb"(?m)^([ \t]*)(?:[:@]\w+ (?:\w+ )?)?`*%b`*\b *(?:[:(].*)?\n(?:\1[ \t]+\S.*\n)*"
        text = re.sub(entry % self._name, b"", node.text)
        if re.search(rb"\b%b\b" % self._name, text):
            raise Refused
        return *node.byte_range, text


def _name(node: Node | None) -> bytes:
    return node.child_by_field_name("name").text if node else b""


def _without_item(node: Node) -> Span:
    """Return the edit that removes an item of a list, with its comma, and with a bare star that
    would be last. Raise Refused if it is all of a table."""
    before, after = node.prev_named_sibling, node.next_named_sibling
    if not (before or after or node.parent.type in TABLES["lists"]):
        raise Refused
    if before and before.type == "keyword_separator" and not after:
        return _without_item(before)[0], node.end_byte, b""
    if before and before.type != "comment":
        return before.end_byte, node.end_byte, b""
    return node.start_byte, after.start_byte if after else node.end_byte, b""


def _without(node: Node, text: bytes) -> Span:
    """Return the edit that removes a statement, and the comments right above it. Raise Refused if
    nothing else is in its block."""
    node = node.parent if node.parent.type == "decorated_definition" else node
    first = node
    while (above := first.prev_sibling) and above.type == "comment" and (
            above.start_point == (first.start_point.row - 1, node.start_point.column)):
        first = above
    start, end, new = without(first, node, text, b"pass")
    if new:
        raise Refused
    return start, end if first.prev_named_sibling else BLANK.match(text, end).end(), b""


# contract ----------------------------------------------------------------------------------------

def contracts(program: Program) -> Iterator[Change]:
    """Yield the changes that swap the first two parameters of a function that has a name of its
    own, and the arguments of all its calls but one; or its first two results, if each return has
    as many and each call is unpacked at once."""
    for kind, name in [*program.ordered]:
        if kind == "defined" and not name.startswith(b"__"):
            defined, called, returned, unpacked = (program.ordered[kind, name] for kind in (
                "defined", "called", "returned", "unpacked"))
            if len({node.text for _, node in defined}) == 1:
                yield from _but_one("parameters-swapped", defined, called)
                if len(called) == len(unpacked):
                    yield from _but_one("result-swapped", returned, unpacked)


def _but_one(operator: str, own: Nodes, uses: Nodes) -> Iterator[Change]:
    """Yield the changes that swap the first two of a function's own nodes and of all uses but one.
    """
    places = [(file, _swapped(file, node)) for file, node in own + uses]
    if own and len(uses) > 1 and all(span for _, span in places):
        for n, (file, (start, end, new)) in enumerate(places):
            if n >= len(own) and file.text[start:end] != new:
                yield Change(operator, "contract", places[:n] + places[n + 1:])


def _swapped(file: SourceFile, parent: Node) -> Span | None:
    """Return the edit that swaps the first two of a list; None if there are not two, or if one is
    named or a splat."""
    nodes = [one for one in parent.named_children if one.text not in (b"self", b"cls")][:2]
    fits = [one.type in TABLES["ordered"] and not one.text.startswith(b"*") for one in nodes]
    if parent.type not in TABLES["lists"] or fits != [True, True]:
        return None
    a, b = nodes
    return a.start_byte, b.end_byte, b.text + file.text[a.end_byte:b.start_byte] + a.text
