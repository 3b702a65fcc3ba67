"""Entities: as the languages' own parsers see them, and from files of any kind, within bounds."""
import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPO
from root import read_json, write_files

from codedata.code import entities
from codedata.code.entities import (
    Entity,
    SourceFile,
    Sources,
    all_entities,
    branches_of,
    language_of,
    read_sources,
)

SAMPLES = REPO / "tests" / "code" / "definitions"


def entities_in(text: str | bytes, path="a.py", language="python") -> list[Entity]:
    text = text if isinstance(text, bytes) else text.encode()
    found, _ = all_entities(Sources([SourceFile(path, language, text, is_test=True)]))
    return found[path]


def sources_in(folder: Path, **files: str | bytes) -> Sources:
    return read_sources(write_files(folder, {
        path.replace("__", "/").replace("_dot_", "."): text for path, text in files.items()}))


def lines_of(ranges: list[int]) -> set[int]:
    return {line for first, last in zip(ranges[::2], ranges[1::2], strict=True)
            for line in range(first, last + 1)}


# the languages -----------------------------------------------------------------------------------

def test_definitions_are_those_that_the_compilers_see():
    """answers.json has what TypeScript 5.9.3 and go/parser find in the samples."""
    found, faults = all_entities(read_sources(SAMPLES))
    answers = read_json(SAMPLES / "answers.json")
    assert faults == {} and len(answers) == 4
    for path, answer in answers.items():
        assert {f"{one.line} {one.name}" for one in found[path]} == set(answer), path


@pytest.mark.parametrize(("path", "text", "n"), [
    ("a.py", "def f(x):\n if x and y or z: pass\n elif [i for i in x if i]: pass\n"
     " try: pass\n except A: pass\n while x: return 1 if x else 2\n", 9),
    ("a.py", "def f(x):\n def g(): return x or 1\n", 1), ("a.py", "def f(x): pass", 1),
    ("a.js", "function f(x) { while (x && y) x = x ? 1 : 2; try {} catch {} }", 4),
    ("a.ts", "function f(x?: number) { for (;;) { switch (x ?? 1) { case 1: } } }", 3),
    ("a.tsx", "function f(x?: number) { if (x || y) {} }", 2),
    ("a.go", "package p\nfunc f() { for { if x && y {} }; switch x { case 1: default: } }", 4)])
def test_branches_are_counted_in_each_language(path, text, n):
    file = SourceFile(path, language_of(path), text.encode(), is_test=False)
    assert branches_of([file])[f"{path}::f"] == n


def expected(tree: ast.AST, around="", kind="function") -> Iterator[tuple]:
    """Yield what `ast` sees: (name, line, kind, decorators, docstring or "")."""
    for child in ast.iter_child_nodes(tree):
        is_class = isinstance(child, ast.ClassDef)
        if is_class or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield (around + child.name, child.lineno, "class" if is_class else kind,
                   len(child.decorator_list), bool(ast.get_docstring(child)))
            yield from expected(child, f"{around}{child.name}.",
                                "method" if is_class else "function")
        else:
            yield from expected(child, around, kind)


@pytest.mark.parametrize("folder", [SAMPLES, REPO / "codedata" / "code"], ids=["samples", "ours"])
def test_python_is_seen_as_ast_sees_it(folder):
    sources = read_sources(folder)
    found, _ = all_entities(sources)
    for file in [one for one in sources.files if one.language == "python"]:
        ours = {(one.name, one.line, one.kind, len(one.decorators), bool(one.docstring))
                for one in found[file.path]}
        assert ours == set(expected(ast.parse(file.text))), file.path
        assert len({one.id for one in found[file.path]}) == len(ours)


def test_the_lines_of_a_body_are_those_that_run_with_it():
    lines = {one.id.removeprefix("a.py::"): lines_of(one.body_lines)
             for one in entities_in((SAMPLES / "sample.py").read_bytes())}
    assert lines["wait"] == {32, 34, 35, 36, 37, 43} and lines["wait.inner"] == {33}
    assert lines["Outer.value@59"] == set() and lines["ends"] == {71}
    assert lines["size@24"] == {24} and lines["wait.Local"] == {39, 40, 41}


@pytest.mark.parametrize("change", [
    lambda text: text, lambda text: text.replace(b"\n", b"\r\n"),
    lambda text: b"\xef\xbb\xbf" + text, lambda text: text.replace(b"    ", b"\t"),
    lambda text: b"# coding: latin-1\n" + text.decode().encode("latin-1")],
    ids=["as it is", "CRLF", "BOM", "tabs", "latin-1"])
def test_a_body_can_be_cut_by_its_bytes(change):
    text = change((SAMPLES / "sample.py").read_bytes())
    found = entities_in(text)
    assert len(found) == 19
    for one in found:
        start, end = one.body
        tree = ast.parse(text[:start] + b"raise NotImplementedError" + text[end:])
        assert len(set(expected(tree))) <= len(found)
        assert text[one.start:].startswith((b"@", b"def", b"class", b"async")), one


def test_ids_are_told_apart_by_lines_and_on_one_line_by_columns():
    text = "function a() {} function a() {}\nfunction a() {}"
    assert [one.id for one in entities_in(text, "a.js", "javascript")] == [
        "a.js::a@1:0", "a.js::a@1:16", "a.js::a@2"]
    values = [one for one in entities_in((SAMPLES / "sample.py").read_bytes())
              if one.name == "Outer.value"]
    assert [one.id for one in values] == ["a.py::Outer.value@54", "a.py::Outer.value@59"]
    assert values[1].decorators == ["value.setter"]
    assert values[1].docstring == "Only a docstring." and values[1].parent == "a.py::Outer"


def test_tests_are_functions_with_such_names_that_a_runner_can_reach():
    text = ("def test_a():\n    def test_inner(): pass\n    class Local:\n"
            "        def test_b(self): pass\ndef helper(): pass\n"
            "class TestC:\n    class D:\n        def test_d(self): pass\n"
            "    def setUp(self): pass\n")
    assert [one.name for one in entities_in(text) if one.is_test] == [
        "test_a", "TestC", "TestC.D", "TestC.D.test_d"]
    go = "package a\nfunc TestA() {}\nfunc Testify() {}\nfunc helper() {}"
    assert [one.name for one in entities_in(go, "a_test.go", "go") if one.is_test] == ["TestA"]


# the files ---------------------------------------------------------------------------------------

def test_sources_are_found_by_suffix(tmp_path):
    files = {"src__a_dot_py": "", "src__b_dot_txt": "", "tests__test_a_dot_py": "",
             "env__pyvenv_dot_cfg": "", "env__d_dot_py": "", "node_modules__e_dot_js": "",
             "src__b_test_dot_go": "package b"}
    sources = sources_in(tmp_path, **files)
    assert {one.path: (one.language, one.is_test) for one in sources.files} == {
        "src/a.py": ("python", False), "src/b_test.go": ("go", True),
        "tests/test_a.py": ("python", True)}
    assert sources.faults == {}


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(tmp_path):
    (tmp_path / "repo").mkdir()
    (tmp_path / "outside.py").write_text("def secret(): pass")
    repo = tmp_path / "repo"
    os.mkfifo(repo / "fifo.py")
    for name, target in {"out.py": "../outside.py", "circle.py": "round.py", "round.py":
                         "circle.py", "loop": ".", "up": "..", "alias.py": "good.py"}.items():
        (repo / name).symlink_to(target)
    (repo / os.fsdecode(b"\xff.py")).write_text("")
    (repo / "folder.py").mkdir()
    sources = sources_in(repo, good_dot_py="def f(): pass", binary_dot_py=b"\0\1",
                         big_dot_py=b"x = 1\n" * 2_000_000,
                         latin_dot_py="# coding: latin-1\ndef f(): 'é'\n".encode("latin-1"),
                         broken_dot_py="def f(): pass\nclass (:\n  oops\n\ndef g(): pass\n")
    found, faults = all_entities(sources)
    assert {path: [one.name for one in several] for path, several in found.items()} == {
        "broken.py": ["f", "g"], "good.py": ["f"], "latin.py": ["f"]}
    for path, words in {"big.py": "larger than 1,000,000 bytes", "binary.py": "binary",
                        "broken.py": "syntax errors, the first one in line 2", "fifo.py":
                        "not a regular file", "latin.py": "not UTF-8", "out.py": "leads out",
                        "up": "leads out", "circle.py": "circle", "round.py": "circle",
                        "\\udcff.py": "name"}.items():
        assert words in faults.pop(path)
    assert faults == {}


def test_all_sources_together_are_bounded(tmp_path):
    sources_in(tmp_path, **{f"m{i}_dot_py": "x = 1\n" for i in range(5)})
    assert len(read_sources(tmp_path, max_files=3).files) == 3
    sources = read_sources(tmp_path, max_bytes=12)
    assert len(sources.files) == 2 and "limit" in sources.faults["m2.py"]


@pytest.mark.parametrize("language, text", {
    "python": b"x = " + b"[" * 10_000 + b"]" * 10_000 + b"\ndef f(): pass\n",
    "go": b"package a\nvar x = " + b"(" * 10_000 + b"1" + b")" * 10_000 + b"\nfunc f() {}\n",
    "javascript": b"x = " + b"[" * 10_000 + b"]" * 10_000 + b"\nfunction f() {}\n",
    "typescript": b"x = " + b"{a:" * 10_000 + b"1" + b"}" * 10_000 + b"\nfunction f() {}\n",
}.items())
def test_nesting_has_no_end_for_the_parser_and_one_for_definitions(language, text):
    assert [one.name for one in entities_in(text, "a", language)] == ["f"]
    if language == "javascript":
        deep = entities_in(b"function a(){" * 20_000 + b"}" * 20_000, "a", language)
        assert len(deep) == entities.MAX_DEPTH


@pytest.mark.parametrize("language, text", [
    ("python", b"*" * 900_000), ("typescript", b"(" * 900_000), ("python", b"@a\n" * 300_000),
    ("python", b"\\\n" * 100_000), ("javascript", b"/*" * 300_000),
    ("javascript", b"function a(){" * 50_000 + b"}" * 50_000)],
    ids=["stars", "brackets", "decorators", "continued lines", "comments", "functions"])
def test_what_takes_a_parser_or_its_queries_quadratic_time_is_named_instead(language, text):
    files = [SourceFile("a", language, text, is_test=False),
             SourceFile("b.py", "python", b"def f(): pass\n", is_test=False)]
    found, faults = all_entities(Sources(files))
    assert faults == {"a": "is too long to parse, too deep or too broken"}
    assert found["a"] == [] and [one.name for one in found["b.py"]] == ["f"]
