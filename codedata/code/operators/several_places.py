"""Change a promise between functions, and all callers but one, in the Python files of a repository:
the first two parameters of a function change places, or its first two results.

Not promised: that a name is resolved. A changed file need not parse.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING

from codedata.code.entities import SourceFile, query_of, tree_of
from codedata.code.operators.syntax import Span, ancestor
from codedata.texts import toml_of

if TYPE_CHECKING:
    from tree_sitter import Node

LANGUAGE = "python"
TABLES = toml_of(__package__, "several_places.toml")
Place = tuple[SourceFile, Span]
Nodes = list[tuple[SourceFile, "Node"]]


@dataclass(frozen=True, slots=True)
class Change:
    """Hold the edits of a change."""

    operator: str
    family: str
    places: list[Place]
    symbol: str = ""     # id of the innermost function around the first place that is run


def applied(text: bytes, spans: Iterable[Span]) -> bytes:
    """Return a text with edits made, which do not overlap."""
    for start, end, new in sorted(spans, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def contracts(files: Iterable[SourceFile]) -> Iterator[Change]:
    """Yield the changes that swap the first two parameters of a function that has a name of its
    own, and the arguments of all its calls but one; or its first two results, if each return has
    as many and each call is unpacked at once."""
    from tree_sitter import QueryCursor
    # by (capture, name of a function): its parameters, its returns, the arguments of its calls,
    # what these are assigned to
    ordered: dict[tuple[str, bytes], Nodes] = defaultdict(list)
    for file in (file for file in files if file.language == LANGUAGE):
        cursor = QueryCursor(query_of(LANGUAGE, "python_places.scm"))
        for _, captures in sorted(cursor.matches(tree_of(file).root_node), key=itemgetter(0)):
            nodes = {kind: several[0] for kind, several in captures.items()}
            for kind in ("defined", "called", "returned", "unpacked"):
                if node := nodes.get(kind):
                    name = _name(ancestor(node, "function_definition")) if (
                        kind == "returned") else node.text
                    ordered[kind, name].append((file, nodes.get("ordered", node)))
    for kind, name in [*ordered]:
        if kind == "defined" and not name.startswith(b"__"):
            defined, called, returned, unpacked = (ordered[kind, name] for kind in (
                "defined", "called", "returned", "unpacked"))
            if len({node.text for _, node in defined}) == 1:
                yield from _but_one("parameters-swapped", defined, called)
                if len(called) == len(unpacked):
                    yield from _but_one("result-swapped", returned, unpacked)


def _name(node: Node | None) -> bytes:
    return node.child_by_field_name("name").text if node else b""


def _but_one(operator: str, own: Nodes, uses: Nodes) -> Iterator[Change]:
    """Yield the changes that swap the first two of a function's own nodes and of all uses but one.
    """
    places = [(file, _swapped(file, node)) for file, node in own + uses]
    if own and len(uses) > 1 and all(span for _, span in places) and _are_apart(places):
        for n, (file, (start, end, new)) in enumerate(places):
            if n >= len(own) and file.text[start:end] != new:
                yield Change(operator, "contract", places[:n] + places[n + 1:])


def _are_apart(places: list[Place]) -> bool:
    """Return whether no place lies in another one, such as a call in the arguments of a call."""
    spans = sorted((file.path, start, end) for file, (start, end, _) in places)
    return all(one != other or end <= start
               for (one, _, end), (other, start, _) in pairwise(spans))


def _swapped(file: SourceFile, parent: Node) -> Span | None:
    """Return the edit that swaps the first two of a list; None if there are not two, or if one is
    named or a splat."""
    nodes = [one for one in parent.named_children if one.text not in (b"self", b"cls")][:2]
    fits = [one.type in TABLES["ordered"] and not one.text.startswith(b"*") for one in nodes]
    if parent.type not in TABLES["lists"] or fits != [True, True]:
        return None
    a, b = nodes
    return a.start_byte, b.end_byte, b.text + file.text[a.end_byte:b.start_byte] + a.text
