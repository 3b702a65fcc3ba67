"""Check the operators by their examples, and that the rest of a file is unchanged."""
import ast
import re
import subprocess

import pytest
from line_tables import toml_beside

from codedata.code.entities import SourceFile, tree_of
from codedata.code.operators import TABLES, SpanEdit, operators, unique_edits
from codedata.code.operators.syntax import syntax_of
from codedata.code.patches import text_diff

CASES = toml_beside(__file__, "operator_cases.toml")["case"]

ODD = b"""\xef\xbb\xbfdef f(a, b=None):
\tif a < 1 and b:   # one
\t\ta = f'{g("x")!r}' + str(a)
\telif a: return (a +
\t\t\tb)
\telse:
\t\tfor i in range(a): h(i); k(a, b)
\treturn a"""


def source(text: str | bytes, language: str = "python") -> SourceFile:
    return SourceFile("a/b.py", language, text.encode() if isinstance(text, str) else text, False)


def applied(edit: SpanEdit, text: bytes) -> bytes:
    return text[:edit.start] + edit.new + text[edit.end:]


def changes_of(text: str | bytes, language: str = "python") -> list[SpanEdit]:
    """Return the edits of a text that parse and change its syntax."""
    file = source(text, language)
    return [edit for edit in unique_edits(file)
            if syntax_of(source(applied(edit, file.text), language)) not in ("", syntax_of(file))]


def edits_of(text: str, name: str, language: str = "python") -> list[str]:
    """Return the texts that an operator makes of one."""
    return [applied(edit, text.encode()).decode() for edit in changes_of(text, language)
            if edit.operator.name == name]


def parses(text: bytes, language: str) -> bool:
    if language == "python":
        ast.parse(text)
    return not tree_of(source(text, language)).root_node.has_error


@pytest.mark.parametrize("language", TABLES)
def test_every_operator_makes_its_example_and_its_reverse_undoes_it(language):
    names = [operator.name for operator in operators(language)]
    assert len(names) == len({*names}) and all(re.fullmatch("[a-z-]+", name) for name in names)
    for operator in operators(language):
        before, after = operator.before.encode(), operator.after.encode()
        made = [edit for edit in changes_of(before, language)
                if edit.operator == operator and applied(edit, before) == after]
        assert len(made) == 1, operator
        assert before != after and parses(before, language) and parses(after, language), operator
        start, end = made[0].start, made[0].start + len(made[0].new)
        back = SpanEdit(operator, start, end, before[start:made[0].end], (1, 1))
        assert applied(back, after) == before, operator


def test_a_language_without_a_file_has_no_operators():
    assert operators("cobol") == () and unique_edits(source("a", "cobol")) == []


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_what_is_not_changed_keeps_its_bytes_and_git_applies_every_diff(tmp_path, line_end):
    text = ODD.replace(b"\n", line_end)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b.py").write_bytes(text)
    edits = changes_of(text)
    assert len({applied(edit, text) for edit in edits}) == len(edits) > 20
    for edit in edits:
        after = applied(edit, text)
        compile(after, "", "exec")
        assert ast.dump(ast.parse(after)) != ast.dump(ast.parse(text))
        n_before, n_behind = edit.start, len(text) - edit.end
        assert after[:n_before] == text[:n_before]
        assert after[len(after) - n_behind:] == text[edit.end:]
        assert after.count(b"\r\n") == after.count(b"\n") * line_end.count(b"\r")
        diff = text_diff({"a/b.py": text}, {"a/b.py": after}).encode()
        for direction, there in (((), after), (("-R",), text)):
            subprocess.run(["git", "apply", *direction], input=diff, cwd=tmp_path, check=True)
            assert (tmp_path / "a/b.py").read_bytes() == there


def test_texts_that_cannot_be_read_or_do_not_parse_are_left_as_they_are():
    assert unique_edits(source("n = a < b  # é".encode("latin-1"))) == []
    assert changes_of("function f( { if (a < b) ", "javascript") == []
    assert changes_of("def f(:\n    pass\n\nok = a < b\n") == []
    assert unique_edits(source("")) == []


def test_what_would_take_quadratic_time_is_left_as_it_is():
    assert unique_edits(source("n = (" + "a + " * 5000 + "a)\n")) == []   # too deep
    assert len(unique_edits(source("n = (" + "a + " * 5000 + "a)\n", "javascript"))) < 500
    assert unique_edits(source("n = [" + "1, " * 3000 + "1]\n")) == []
    names = "".join(f"        self.a{i} = 1\n" for i in range(400))
    assert edits_of(f"class A:\n    def f(self):\n{names}", "wrong-attribute") == []


def test_annotations_docstrings_and_long_pieces_are_left_as_they_are():
    assert unique_edits(source("def f(a: List[0] | None) -> Dict[1, 2]: pass\n")) == []
    assert unique_edits(source('"""A text , ."""\n\ndef f():\n    """ B"""\n')) == []
    several = [edits_of("if a:\n    f()\nelse:\n" + "    g()\n" * n, "branch-dropped")
               for n in (4, 40)]
    assert several == [["if a:\n    f()\n"], []]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["operator"])
def test_operators_make_what_the_place_asks_for_and_nothing_elsewhere(case):
    assert edits_of(case["text"], case["operator"], case.get("language", "python")) == case["made"]


def test_a_statement_or_its_head_or_what_is_named_has_to_run():
    text = "def f(a):\n    if a < (\n      1):\n        return g(\n            a, 1)\n    h()\n"
    lines = {(edit.operator.name, edit.statement) for edit in unique_edits(source(text))}
    assert {("boundary", (2, 3)), ("arguments-swapped", (4, 5)), ("guard-dropped", (4, 5)),
            ("call-dropped", (6, 6))} <= lines
