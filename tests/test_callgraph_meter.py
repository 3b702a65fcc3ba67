"""The meter of call graphs: a tiny project whose calls are known by hand."""
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
for folder in (BENCHMARKS, BENCHMARKS / "callgraph"):
    sys.path.append(str(folder))
from callgraph import Analysed, average_ranks, counts  # noqa: E402
from releases import Project, stored, trace  # noqa: E402

TINY = Project("tiny", "", "", source="tiny", tests="tests", style="")
CODE = '''
from contextlib import contextmanager

def numbers():
    yield 1

def first(several):
    return next(several)            # iterates them, and has not created them

def total():
    return first(numbers())

def spread(*words):
    return first(numbers(*words))

@contextmanager
def opened():
    yield helper()

def use():
    with opened() as found:         # contextlib lies in between
        return found

def helper():
    return (lambda: [inner() for _ in "ab"])()

def inner():
    return 1

class Box:
    def __iter__(self):
        yield inner()

    @property
    def size(self):
        return sum(1 for _ in self)

    @size.setter
    def size(self, to):
        inner()

def unused():
    total()
'''
TESTS = '''
import pytest
from tiny.code import Box, inner, spread, total, use

@pytest.mark.parametrize("n", [1, 2])
def test_total(n):
    assert total() == spread() == 1

class TestBox:
    def test_size(self):
        box = Box()
        assert box.size == 1
        box.size = 2

def test_use():
    assert use() == [1, 1]

def test_fails():
    pass
'''
EDGES = {("total", "numbers"), ("total", "first"), ("spread", "numbers"), ("spread", "first"),
         ("opened", "helper"), ("helper", "inner"), ("Box.__iter__", "inner"),
         ("Box.size@35", "Box.__iter__"), ("Box.size@39", "inner")}
THROUGH = {("use", "opened")}
TOTAL = {"total", "spread", "first", "numbers"}
RAN = {"test_total[1]": TOTAL, "test_total[2]": TOTAL,
       "TestBox::test_size": {"Box.size@35", "Box.size@39", "Box.__iter__", "inner"},
       "test_use": {"use", "opened", "helper", "inner"}}


def ids(names) -> set[str]:
    return {f"tiny/code.py::{name}" for name in names}


def pairs(edges) -> set[tuple[str, str]]:
    return {tuple(f"tiny/code.py::{name}" for name in edge) for edge in edges}


@pytest.fixture
def tiny(tmp_path) -> Analysed:
    """Traced where the interpreter can (from Python 3.13 on), else with the stored trace of it."""
    for path, text in (("tiny/code.py", CODE), ("tests/test_code.py", TESTS)):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text(text)
    can_trace = sys.version_info >= (3, 13)
    traced = trace(TINY, Path(sys.executable), tmp_path) if can_trace else stored(TINY)
    # no suite that fails is traced
    traced["tests"]["tests/test_code.py::test_fails"][0] = "failed"
    analysed = Analysed(TINY, tmp_path)
    analysed.take(traced)
    return analysed


def test_the_trace_says_who_called_whom_and_what_each_test_ran(tiny):
    inside, _, tested = tiny.edge_sets(set())
    assert inside == pairs(EDGES)
    assert {edge for edge in tiny.right - tiny.direct if tiny.is_source(edge[0])} == pairs(THROUGH)
    assert tiny.passed == {f"tests/test_code.py::{test}": ids(ran) for test, ran in RAN.items()}
    assert len(tested) == 5 and not tiny.unmapped


def test_figures_of_edges_by_hand(tiny):
    missed = {("Box.size@35", "Box.__iter__")}
    wrong = {("first", "numbers")}
    not_judged = {("unused", "total")}
    from_tests = {("tests/test_code.py::test_use", "tiny/code.py::use")}
    figures = tiny.figures(pairs(EDGES - missed | wrong | not_judged | THROUGH) | from_tests)
    assert figures["recall"] == round(8 / 9, 3)
    assert figures["precision"] == 9 / 10
    assert figures["test_recall"] == 1 / 5


def test_hotspots_count_passing_tests_and_share_ranks(tiny):
    true = counts(tiny.passed)
    assert true["tiny/code.py::inner"] == 2 == true["tiny/code.py::first"]
    assert tiny.hotspots("same", true)["same_spearman"] == 1
    assert tiny.hotspots("reverse", {one: -n for one, n in true.items()})["reverse_spearman"] == -1
    assert list(average_ranks([5, 1, 1])) == [3, 1.5, 1.5]
