"""Check what a template says of functions and projects, and that hostile sources do no harm."""
from __future__ import annotations

import os

import pytest
from stripped_tide import TIDEBOOK, analysed

from codedata.errors import Excluded
from codedata.nl2repo.documents import (
    Codebase,
    function_content,
    function_text,
    project_content,
    project_text,
    public_api,
    readme_examples,
)
from codedata.records import RepoMeta

BROOK = '''"""Brooks, and how they run."""
from tide.errors import DryError as Dry

DEPTHS = {}


class Brook:
    """A small river."""

    kinds = ["clear", "muddy"]

    def __init__(self, name):
        self.name = name
        self._secret = 1

    @property
    def depth(self):
        """How deep it is.

        >>> Brook("a").depth
        Traceback (most recent call last):
          ...
        tide.errors.DryError: a

        Names matter:

        >>> brook = Brook("b")
        >>> DEPTHS["b"] = 2   # doctest: +SKIP

        >>> print(brook.name)   # doctest: +ELLIPSIS
        b
        <BLANKLINE>
        """
        try:
            return DEPTHS[self.name]
        except KeyError:
            raise Dry(self.name) from None

    async def flow(self, to, /, *others: "list[str]", seconds=1, **options) -> int:
        """Let it run.

        :param to: where it ends
        :raises ValueError: if that is upstream
        :returns: litres
        """
        if to.height > self.height:
            raise ValueError("upstream")
        for other in others:
            other.level += await self.pour(other)
            options["seen"] = other
        while seconds:
            try:
                raise StopIteration
            except StopIteration:
                seconds -= 1
        global LAST
        LAST = to
        return _drain(to) or 7

    def pour(self, other):
        error = other.check()
        raise error


def _drain(to):
    def inner():
        raise TypeError
    yield inner
    yield from DEPTHS
'''
README = "# Brook\n\n>>> 1 + 1\n2\n\n```python\n>>> 'fenced'\n'fenced'\n```\n\n~~~\n>>> 3\n3\n~~~\n"
META = RepoMeta("a/brook", "brook", "0" * 40, None, "", ["numpy"], [], [], 0, {}, [], [])


def project_of(folder, files: dict[str, str | bytes]) -> Codebase:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text if isinstance(text, bytes) else text.encode())
    return Codebase.of("brook", folder, analysed(folder))


@pytest.fixture
def brook(tmp_path) -> Codebase:
    return project_of(tmp_path, {
        "src/tide/__init__.py": "from .brook import Brook as River, _drain\n",
        "src/tide/errors.py": "class DryError(LookupError):\n    pass\n",
        "src/tide/brook.py": BROOK, "README.md": README,
        "tests/test_brook.py": "import pytest\nfrom tide.brook import Brook\n\ndef test_it():\n"
                               "    Brook('x').pour(1)\n"})


def test_a_function_is_told_from_its_head_its_docstring_and_its_statements(brook):
    content = function_content(brook.function("src/tide/brook.py::Brook.flow"))
    assert content["parameters"] == [
        {"name": "to", "kind": "positional-only", "annotation": None, "default": None,
         "text": "where it ends"},
        {"name": "others", "kind": "variadic", "annotation": "'list[str]'", "default": None,
         "text": ""},
        {"name": "seconds", "kind": "keyword-only", "annotation": None, "default": "1",
         "text": ""},
        {"name": "options", "kind": "variadic keywords", "annotation": None, "default": None,
         "text": ""}]
    assert content["purpose"] == "Let it run."
    assert content["returns"] == {"annotation": "int", "text": "litres"}
    assert content["raises"] == [{"exception": "ValueError", "when": "if that is upstream"}]
    assert content["side_effects"] == ["Sets `other.level`.", "Changes in place `options`.",
                                       "Binds outside of itself `LAST`."]
    assert content["algorithm"] == [
        "Depending on `to.height` and `self.height`: calls `ValueError`; may raise.",
        "For each of `others`: calls `Brook.pour` of this project; awaits.",
        "As long as `seconds` say so: may raise.",
        "Calls `_drain` of this project; returns something made of `to`.",
        "Literals in it, sorted: `'seen'`, `'upstream'`, `7`."]


def test_examples_of_docstrings_run_by_themselves_and_errors_show_their_last_line(brook):
    function = brook.function("src/tide/brook.py::Brook.depth")
    content = function_content(function)
    assert content["signature"] == "@property\ndef depth(self)"
    assert content["raises"] == [{"exception": "Dry", "when": "`KeyError` was caught before"}]
    assert content["examples"] == [
        {"code": "from tide.brook import Brook\nBrook(\"a\").depth",
         "output": "tide.errors.DryError: a"},
        {"code": "from tide.brook import Brook, DEPTHS\nbrook = Brook(\"b\")\nDEPTHS[\"b\"] = 2\n"
                 "print(brook.name)", "output": "b"}]
    text = function_text(function.entity.id, content)
    assert text.startswith("## `Brook.depth` in `src/tide/brook.py`\n\n```python\n@property\n")
    assert "prints\n\n```text\ntide.errors.DryError: a\n```" in text and ">>>" not in text
    assert [one["output"] for one in readme_examples(README)] == ["2", "'fenced'", "3"]


def test_what_cannot_be_told_is_not_claimed(brook):
    pour = brook.function("src/tide/brook.py::Brook.pour")
    assert [one.exception for one in pour.raises] == [""]
    drain = function_content(brook.function("src/tide/brook.py::_drain"))
    assert drain["raises"] == [] and "generator" in drain["returns"]["text"]
    assert drain["purpose"] == "A function of `tide.brook`, without a docstring."
    assert drain["algorithm"][0] == "Defines `inner` for its own use."


def test_a_project_lists_its_public_names_and_private_ones_where_they_are_needed(brook):
    content = project_content(brook, META)
    assert content["summary"] == "`brook` is a project in Python."
    assert content["concepts"][0] == {"name": "Brook", "path": "src/tide/brook.py",
                                      "text": "A small river."}
    assert content["conventions"] == [
        "`DryError` in `src/tide/errors.py` is an exception, a `LookupError`."]
    assert content["tests"] == ["Tests lie in `tests/`, and use `pytest`."]
    text = project_text("brook", {**content, "api": public_api(brook, {"_drain"})})
    for line in ("- `class Brook`: A small river.", "- `Brook.kinds`", "- `Brook.name`",
                 "- `_drain(to)`", "- `DEPTHS`", "- `River`", "- `Brook.__init__(self, name)`",
                 "- `Brook.flow(self, to, /, *others: \"list[str]\", seconds=1, **options) -> int`"
                 ": Let it run.", "### `tide` in `src/tide/__init__.py`", "- `numpy`"):
        assert f"{line}\n" in text, line
    assert "_secret" not in text and "test_it" not in text


def test_hostile_sources_are_left_out_with_their_reason(tmp_path):
    deep = "def f():\n    return " + "(" * 5_000 + ")" * 5_000 + "\n"
    chain = "def f():\n    return a" + ".a" * 50_000 + "\n"
    project = project_of(tmp_path, {
        "deep.py": deep, "chain.py": chain, "old.py": "def f():\n    print 'x'\n",
        "nul.py": b"def f():\n    return '\0'\n", "latin.py": b"def f():\n    return '\xe9'\n",
        "crlf.py": b"class A:\r\n    def f(self):\r\n        '''Say.'''\r\n        return 1\r\n",
        "fence.py": 'def f():\n    """Quote ``` here\n    `and` here."""\n    return 1\n',
        "half.py": 'def f():\n    """Half \\ud800 a \\0 character."""\n    return 1\n',
        "odd.py": 'def f():\n    """\n    >>> 1\n   2\n    """\n    return "\\d"\n'})
    (tmp_path / "README.md").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "README.fifo")
    assert project.readme == "" == Codebase.of("b", tmp_path, analysed(tmp_path)).readme
    for name in ("deep", "chain", "old", "nul", "gone"):
        with pytest.raises(Excluded):
            project.function(f"{name}.py::f")
    with pytest.raises(Excluded):
        project.function("crlf.py::A")
    for id in ("latin.py::f", "crlf.py::A.f", "fence.py::f", "odd.py::f", "half.py::f"):
        content = function_content(project.function(id))
        assert function_text(id, content).encode() and content["examples"] == []
    assert function_content(project.function("crlf.py::A.f"))["purpose"] == "Say."
    assert project.modules.keys() >= {"crlf.py", "fence.py"} and "deep.py" not in project.modules
    assert project_content(project, META)["layout"]
    assert len(readme_examples("```x\n" * 40_000 + ">>> 1\n1\n")) == 1   # takes no quadratic time


def test_callees_come_in_the_order_of_their_calls():
    project = Codebase.of("tidebook", TIDEBOOK, analysed(TIDEBOOK))
    assert project.function("tidebook.py::load").callees == ["Table", "TideError", "Table.add"]
