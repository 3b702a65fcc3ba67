"""Note who really calls whom, and what each test runs: a pytest plugin for Python ≥ 3.13.

(3.12 reports no call with `*args` of a function, so the creator of many a generator is unknown.)

A generator's or coroutine's caller is whoever created it, not whoever iterates it first. Where no
call expression created it, a method such as `__iter__` is credited to its first iterator, and
anything else (a property, `map`) to nobody. Where only foreign code (none of the release's modules)
lies between two functions, the edge is `through`.

  CALLGRAPH_OUT=FILE python -m pytest -p callgraph_tracer      # in the project's folder
"""
import json
import os
import sys
from collections import Counter
from functools import partial
from types import FunctionType, MethodType

import pytest

ROOT = os.path.realpath(os.getcwd()) + os.sep
FILES = {os.path.join(folder, name) for folder, _, names in os.walk(ROOT) for name in names
         if name.endswith(".py")}   # as they are before a test writes more
EVENTS = sys.monitoring.events
LAZY = 0x20 | 0x80 | 0x200          # flags of generators, coroutines, asynchronous generators

known = {}            # {id of a code object: (itself, so that no id is used twice; its name)}
edges = set()
created = Counter()   # how many generators of a name were called, and have not started yet
reached = set()       # by the test that runs
ran, statuses = {}, {}


def name_of(code):
    """Return (path, qualified name, first line, whether it is a function with a name); () of
    foreign code."""
    if id(code) not in known:
        path = os.path.realpath(code.co_filename)
        is_function = bool(code.co_flags & 1) and not code.co_name.startswith("<")
        known[id(code)] = code, (path.removeprefix(ROOT), code.co_qualname, code.co_firstlineno,
                                 is_function) if path in FILES else ()
    return known[id(code)][1]


def credit(frame, callee):
    """Note an edge from the nearest code of the project, from this frame upwards."""
    kind = "direct"
    while frame:
        if caller := name_of(frame.f_code):
            edges.add((kind, caller, callee))
            return
        kind = "through"
        frame = frame.f_back


def on_start(code, _):
    """Note that a code object starts to run."""
    name = name_of(code)
    if not name:
        return sys.monitoring.DISABLE
    reached.add(name)
    if created[name]:
        created[name] -= 1
    elif not code.co_flags & LAZY or code.co_name.startswith("__"):
        credit(sys._getframe(2), name)
    return None


def on_call(_code, _offset, called, _first):
    """Note the call of a generator or coroutine function, which runs none of it."""
    while type(called) is partial:
        called = called.func
    if type(called) is MethodType:
        called = called.__func__
    elif type(called) is not FunctionType:
        called = vars(type(called)).get("__call__")
    is_lazy = type(called) is FunctionType and called.__code__.co_flags & LAZY
    if is_lazy and (name := name_of(called.__code__)):
        credit(sys._getframe(1), name)
        created[name] += 1


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    """Keep apart what runs for this test."""
    reached.clear()
    created.clear()
    result = yield
    ran[item.nodeid] = set(reached)
    return result


def pytest_runtest_logreport(report):
    """Keep the outcome of a test: the first of its phases that is not `passed`."""
    if statuses.get(report.nodeid, "passed") == "passed":
        statuses[report.nodeid] = report.outcome


def pytest_sessionfinish():
    """Write the trace, in one order, with names by their number and equal sets once."""
    sys.monitoring.set_events(sys.monitoring.PROFILER_ID, 0)
    names = sorted({name for _, name in known.values() if name})
    number = {name: n for n, name in enumerate(names)}
    sets = {}
    tests = {test: [statuses[test], sets.setdefault(
        tuple(sorted(number[name] for name in ran[test])), len(sets))] for test in sorted(ran)}
    with open(os.environ["CALLGRAPH_OUT"], "w", encoding="utf-8") as file:
        json.dump({"codes": names, "sets": list(sets), "tests": tests, "edges": sorted(
            (kind, number[caller], number[callee]) for kind, caller, callee in edges)}, file)


def start(tool):
    """Start, before any module of the project is imported."""
    sys.monitoring.use_tool_id(tool, "callgraph")
    sys.monitoring.register_callback(tool, EVENTS.PY_START, on_start)
    sys.monitoring.register_callback(tool, EVENTS.CALL, on_call)
    sys.monitoring.set_events(tool, EVENTS.PY_START | EVENTS.CALL)


start(sys.monitoring.PROFILER_ID)
