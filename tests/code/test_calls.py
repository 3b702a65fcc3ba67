"""Find the callers of functions: small repositories (call_cases.toml) with all their edges, the
reach of tests, and sources that were written to take forever.
"""
import ast

import pytest
from line_tables import toml_beside

from codedata.code.calls import Edge, call_graph, import_closure, static_scores
from codedata.code.entities import SourceFile, Sources, all_entities

CASES = toml_beside(__file__, "call_cases.toml")


def graph(files: dict[str, str]) -> list[Edge]:
    """Return the edges of a repository, {path: text}."""
    sources = [SourceFile(path, "python", text.lstrip("\n").encode(), "test" in path)
               for path, text in sorted(files.items())]
    return call_graph(sources, all_entities(Sources(sources))[0])


def words(edges: list[Edge]) -> list[str]:
    return [f"{edge.caller} > {edge.callee} {edge.kind}{'?' * (edge.certainty == 'guessed')}"
            for edge in edges]


@pytest.mark.parametrize("name", CASES)
def test_all_edges(name):
    assert words(graph(CASES[name]["files"])) == sorted(CASES[name]["edges"])


def test_edges_are_the_same_whenever_they_are_asked_for_and_sorted():
    files = CASES["fixtures-of-conftest-and-nearer-ones"]["files"]
    assert graph(files) == graph(dict(reversed(files.items()))) == sorted(set(graph(files)))


def test_a_test_counts_less_the_further_it_is_away_and_once_a_function():
    edges = [Edge(*pair.split(), "call", "resolved")
             for pair in ("t1 a", "a b", "b a", "b c", "t1 c", "t2 b")]
    assert static_scores(edges, ["t1", "t2", "t2", "t3"]) == pytest.approx(
        {"a": 1 + 2 * .8, "b": .8 + 2, "c": 1 + 2 * .8})
    assert static_scores([], ["t1"]) == {}


def test_what_runs_at_import_is_what_modules_call_not_what_they_hand_on():
    edges = graph({"m.py": "import atexit\ndef f(): g()\ndef g(): pass\ndef h(): pass\n"
                           "def main(): pass\nf()\natexit.register(h)\n"
                           "if __name__ == '__main__':\n    main()\n"})
    assert import_closure(edges) == {"m.py::f", "m.py::g"}


def test_no_node_that_python_shares_keeps_a_project_in_memory():
    graph({"m.py": "x = 1"})
    assert not hasattr(ast.parse("x = 1").body[0].targets[0].ctx, "scope")


def test_other_languages_have_no_edges():
    assert call_graph([SourceFile("a.js", "javascript", b"function f() { f() }", False)], {}) == []


@pytest.mark.parametrize("text", [
    "".join(f"v{i} = v{i + 1}\n" for i in range(5_000)) + "def f(): pass\nf()",
    "def f(): pass\nx = f()\n" + "x = [x, x]\n" * 5_000,
    "class C0: pass\n" + "".join(f"class C{i + 1}(C{i}, C{i - 1}): pass\n" for i in range(200))
    + "def f(): pass\nf()\nC200()",
    "".join(f"class C{i}(C{i + 1}): pass\n" for i in range(3_000)) + "def f(): pass\nf()",
    "".join(f"class C{i}(B): pass\n" for i in range(2_000)) + "def f(): pass\nf()\nclass B: pass\n"
    + "".join(f"B().x{i}\n" for i in range(2_000)),
    "".join(f"def g{i}(a): a(g{i + 1})\ng{i}(f)\n" for i in range(1_000)) + "def f(): pass\nf()",
], ids=["aliases", "one-name", "bases", "long-order", "subclasses", "callbacks"])
def test_hostile_sources_end_and_keep_their_edges(text):
    assert "m.py::<module> > m.py::f call" in words(graph({"m.py": text}))


@pytest.mark.parametrize("text", [f"x = {'(' * 10_000}", "x = f()" + ".a" * 20_000, "x = '\0'"])
def test_a_file_that_python_refuses_has_no_calls(text):
    files = {"m.py": f"{text}\ndef f(): pass\nf()", "n.py": "def g(): pass\ng()"}
    assert words(graph(files)) == ["n.py::<module> > n.py::g call"]


def test_modules_that_pass_all_on_to_each_other_end():
    files = {f"m{i}.py": f"from m{i + 1} import *\nf()\n" for i in range(500)}
    assert "m499.py::<module> > m500.py::f call" in words(
        graph({**files, "m500.py": "from m0 import *\ndef f(): pass"}))
