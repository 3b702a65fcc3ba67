"""Show an agent the code where bugs would matter: all functions that tests reach, or one
function with its callers, its callees and its tests.

Everything is read from the analysis, and from the coverage if there is one. Equal arguments give
equal texts, since a resumed agent repeats its actions.
"""
from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_

from codedata.agent import Failed
from codedata.analysis.analyse import tests_by_function
from codedata.records import Analysis, Coverage, Object

PAGE = 25         # hotspots on a page
MAX_LISTED = 20   # rows of a list of callers, callees, tests or symbols of one name


class CodeMap:
    """Answer an agent's questions about a repository; get_hotspots and inspect_symbol are tools."""

    def __init__(self, analysis: Analysis, sources: Mapping[str, bytes], used: Mapping[str, str],
                 coverage: Coverage | None = None, branches: Mapping[str, int] | None = None):
        """Take the analysis, {path: text} of the files, {id: the earlier bug in it}, the coverage
        if there is one, and {id: number of its branches} if functions are ranked by tests ×
        branches."""
        weights = branches or {}
        self._entities = {entity["id"]: entity for entity in analysis.entities}
        self._sources = sources
        self._used = used
        self._coverage = coverage
        self._masks = tests_by_function(coverage) if coverage else {}
        self._edges = sorted(analysis.edges, key=lambda edge: (   # certain edges first
            edge["certainty"] != "resolved", -(edge["n_tests"] or 0)))
        self._scores = {one["id"]: one["score"] for one in analysis.hotspots}
        ranked = sorted(self._scores, key=lambda id: -self._scores[id] * weights.get(id, 1))
        self._ranks = {id: rank for rank, id in enumerate(ranked, 1)}
        self._n_tests = max(1, analysis.measured.get("counted", 0))

    def get_hotspots(self, page: int = 1, file: str = "", min_tests: int = 0,
                     max_share: float = 1.0) -> str:
        """List the functions that tests reach, 25 a page: rank, number of tests, their share of the
        suite, id, number of lines, and the earlier bug in it. Sorted by tests × branches, largest
        first.

        page: from 1
        file: only functions of this file, or of files whose path begins with this
        min_tests: only functions reached by at least this many tests
        max_share: only functions reached by at most this share of the tests, such as 0.1
        """
        place = file.removeprefix("./")
        ids = [id for id in self._ranks if id.startswith(place)
               and min_tests <= self._scores[id] <= max_share * self._n_tests]
        shown = ids[max(0, page - 1) * PAGE:][:PAGE]
        head = f"{len(ids)} functions, page {page} of {-(-len(ids) // PAGE)}"
        return "\n".join([head, *map(self._row, shown)])

    def inspect_symbol(self, name: str) -> str:
        """Show a function, method or class: its source, its callers, what it calls, and the tests
        that ran it, if that was measured; tests that run the fewest functions come first. Certain
        (resolved) calls come before guessed ones.

        name: the id that get_hotspots lists, or the name, with the class or without
        """
        ids = [name] if name in self._entities else [
            id for id, entity in self._entities.items()
            if f".{entity['name']}".endswith(f".{name}")]
        if len(ids) != 1:
            return Failed("\n".join([f"{len(ids)} symbols have this name:", *_listed(ids)]))
        id = ids[0]
        callers = [_edge(edge, "caller") for edge in self._edges if edge["callee"] == id]
        callees = [_edge(edge, "callee") for edge in self._edges if edge["caller"] == id]
        return "\n".join([
            self._row(id), *self._source(self._entities[id]), "called by:", *_listed(callers),
            "calls:", *_listed(callees), *self._tests_of(id)])

    def _row(self, id: str) -> str:
        score, entity = self._scores.get(id, 0), self._entities.get(id)
        n_lines = f"{entity['end_line'] - entity['line'] + 1} lines" if entity else ""
        bug = f"  earlier bug: {self._used[id]}" if id in self._used else ""
        return (f"{self._ranks.get(id, '-'):>5} {score:7g} {score / self._n_tests:7.1%}  {id}  "
                f"{n_lines}{bug}")

    def _source(self, entity: Object) -> list[str]:
        """Return the numbered lines of an entity, with its decorators."""
        text = self._sources.get(entity["path"], b"")
        lines = text[:entity["end"]].decode(errors="replace").split("\n")
        first = text.count(b"\n", 0, entity["start"])
        return [f"{n:6}\t{line}" for n, line in enumerate(lines[first:], first + 1)]

    def _tests_of(self, id: str) -> list[str]:
        """Return the number of tests that ran a symbol, and lines for the tests that run the fewest
        functions, or one line that says that no coverage was measured."""
        if self._masks:
            masks = (mask for one, mask in self._masks.items() if f"{one}.".startswith(f"{id}."))
            which = reduce(or_, masks, 0)
            sets = self._coverage.function_sets
            ran = sorted((len(sets[test["functions"]]), test["name"])
                         for i, test in enumerate(self._coverage.tests) if which >> i & 1)
            rows = [f"{name}  runs {n} functions" for n, name in ran]
            return [f"{len(rows)} tests ran it:", *_listed(rows)]
        return ["what tests run it was not measured"]


def _edge(edge: Object, side: str) -> str:
    ran = "" if edge["n_tests"] is None else f", {edge['n_tests']} tests ran both"
    return f"{edge[side]}  {edge['kind']}, {edge['certainty']}{ran}"


def _listed(rows: list[str]) -> list[str]:
    """Return the first rows, indented, and a line with the number of further rows."""
    more = [f"… and {len(rows) - MAX_LISTED} more"] if len(rows) > MAX_LISTED else []
    return [f"  {row}" for row in [*rows[:MAX_LISTED], *more] or ["(none)"]]
