"""Build the call graph of a repository's Python files, without running them.

An edge is `resolved` if names, types and imports identify the callee, and `guessed` if only a
method's name does. Functions built at run time are not found. `call_values.py` reads the files and
finds the values of expressions; other packages use this module.
"""
from __future__ import annotations

import ast
import gc
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from codedata.code.call_values import Known, Resolver, Scope, call_in, scopes_of
from codedata.code.entities import Entity, SourceFile

LANGUAGE = "python"   # calls are found in this language only
DAMPING = 0.8     # factor of a test's weight for each function on the way to a reached one
SET_UP = ("asyncSetUp", "asyncTearDown", "setUp", "setUpClass", "setup_class", "setup_method",
          "tearDown", "tearDownClass", "teardown_class", "teardown_method")
FIXTURE = re.compile(r"([\w.]+\.)?fixture\b")


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """State that one function calls another. For a `ref`, the caller passes the callee to an
    external function, which usually calls it."""

    caller: str      # entity id, or path::<module>
    callee: str      # id of a function or method, or of a class without its own __init__
    kind: str        # call | override | decorator | property | fixture | ref
    certainty: str   # resolved | guessed


def call_graph(files: list[SourceFile], entities: dict[str, list[Entity]]) -> list[Edge]:
    """Return the edges between the Python files' functions, sorted. `entities` are keyed by path.
    """
    # searching millions of live objects for cycles takes 40 % of the time for a large repository
    gc.disable()
    try:
        scopes = [scope for file in files if file.language == LANGUAGE
                  for scope in scopes_of(file, entities.get(file.path, []))]
        _prepare_tests(scopes, [entity for several in entities.values() for entity in several])
        found = Resolver(scopes).run()
    finally:
        gc.enable()
    return sorted(Edge(*key, certainty) for key, certainty in found.items())


def static_scores(edges: list[Edge], tests: Iterable[str]) -> dict[str, float]:
    """Return {id: score} of all functions that tests reach. A test adds 1 to each function that it
    calls directly, and DAMPING ** n to a function that it reaches through n other functions, on the
    shortest path. A test listed twice counts twice."""
    callees = defaultdict(set)
    for edge in edges:
        callees[edge.caller].add(edge.callee)
    front = defaultdict(int)   # {id: mask with a bit for each test reaching it}
    for i, test in enumerate(tests):
        front[test] |= 1 << i
    seen = defaultdict(int)
    scores = defaultdict(float)
    weight = 1.0
    while front:
        reached = defaultdict(int)
        for caller, bits in front.items():
            for callee in callees[caller]:
                reached[callee] |= bits
        front = {one: new for one, bits in reached.items() if (new := bits & ~seen[one])}
        for one, new in front.items():
            seen[one] |= new
            scores[one] += weight * new.bit_count()
        weight *= DAMPING
    return dict(scores)


def import_closure(edges: list[Edge]) -> set[str]:
    """Return the ids of the functions that run when modules are imported: the top-level code of a
    module calls them, directly or not."""
    run = [edge for edge in edges if edge.kind != "ref"]
    return set(static_scores(run, {edge.caller for edge in run
                                   if edge.caller.endswith("::<module>")}))


# calls by the test runner ------------------------------------------------------------------------

def _prepare_tests(scopes: list[Scope], entities: list[Entity]) -> None:
    """Add the calls that the test runner makes: to fixtures for parameters, and to set-up
    methods."""
    ids = {entity.id for entity in entities for decorator in entity.decorators
           if FIXTURE.match(decorator)}
    fixtures = defaultdict(list)
    for scope in scopes:
        if scope.id in ids:
            fixtures[scope.name].append(scope)
    ids |= {entity.id for entity in entities if entity.is_test and entity.kind != "class"}
    for scope in (scope for scope in scopes if scope.id in ids):
        for param in scope.params:
            near = [one for one in fixtures[param]
                    if one is not scope and scope.id.startswith(_reach(one))]
            for fixture in sorted(near, key=lambda one: len(_reach(one)))[-1:]:
                scope.bind(param, call_in(scope, "fixture", Known((("function", fixture),))))
        for name in SET_UP if scope.parent.kind == "class" else ():
            around = ast.Attribute(Known((("instance", scope.parent),)), name)
            around.scope = scope
            call_in(scope, "fixture", around)


def _reach(fixture: Scope) -> str:
    """Return the common prefix of the ids of all functions that can use a fixture: its class, file
    or folder."""
    if fixture.parent.kind == "class":
        return f"{fixture.parent.id}."
    return fixture.path.removesuffix("conftest.py")
