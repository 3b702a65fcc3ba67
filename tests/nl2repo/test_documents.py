"""Check what a template says of functions and projects, and that hostile sources do no harm."""
import ast
import os

import pytest
from root import filled, write_files
from stripped import a_fact
from stripped_tide import analysed

from codedata.errors import Excluded
from codedata.nl2repo.documents import (
    Codebase,
    api_text,
    bound_names,
    document_text,
    function_content,
    project_content,
    public_api,
    used_in,
)
from codedata.nl2repo.facts import MAX_SHOWN
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
        if to.height > self.height + 0.5 or to.kind == "clear" and True:
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
META = RepoMeta(**filled(RepoMeta, repo_name="brook", dependencies=["numpy"]))


def project_of(folder, files: dict[str, str | bytes]) -> Codebase:
    write_files(folder, files)
    return Codebase.of("brook", folder, analysed(folder))


@pytest.fixture
def brook(tmp_path) -> Codebase:
    return project_of(tmp_path, {
        "src/tide/__init__.py": "from .brook import Brook as River, _drain\n"
                                "from tide.errors import DryError as dried\nfrom os import path\n",
        "src/tide/errors.py": "class DryError(LookupError):\n    pass\n",
        "src/tide/brook.py": BROOK,
        "tests/test_brook.py": "import pytest\nfrom tide.brook import Brook\n\ndef test_it():\n"
                               "    Brook('x').pour(1)\n"})


def content_of(project: Codebase, name: str, facts=()) -> dict:
    return function_content(project.function(f"src/tide/brook.py::{name}"), facts)


def test_a_function_is_told_by_its_head_and_its_whole_docstring(brook):
    content = content_of(brook, "Brook.flow")
    assert [(*one.values(),) for one in content.pop("parameters")] == [
        ("to", None, None, ""), ("*others", "'list[str]'", None, ""),
        ("seconds", None, "1", ""), ("**options", None, None, "")]
    assert content == {
        "signature": "async def flow(self, to, /, *others: 'list[str]', seconds=1, **options) -> "
                     "int",
        "purpose": "Let it run.\n\n:param to: where it ends\n:raises ValueError: if that is "
                   "upstream\n:returns: litres",
        "returns": {"annotation": "int", "text": ""},
        "raises": [{"exception": "ValueError", "when": ""}], "side_effects": [], "algorithm": [],
        "examples": []}
    assert brook.function("src/tide/brook.py::Brook.pour").raised == {"": True}
    assert content_of(brook, "_drain")["purpose"] == ""


def test_facts_are_the_examples(brook):
    depth = "src/tide/brook.py::Brook.depth"
    some = [a_fact(["from tide import River", f"River({n})", f"River({n}).depth"], str(n), depth, n)
            for n in range(12)]
    dry = a_fact(["River('dry').depth"], "DryError: dry", depth, kind="raises")
    content = content_of(brook, "Brook.depth", [*some, dry])
    assert content["signature"] == "@property\ndef depth(self)"
    assert content["raises"] == [{"exception": "Dry", "when": ""}]
    assert len(content["examples"]) == MAX_SHOWN
    assert {"code": "River('dry').depth", "output": "DryError: dry"} in content["examples"][:2]
    assert {"code": "from tide import River\n_ = River(0)\nRiver(0).depth", "output": "0"
            } in content["examples"]
    text = document_text("brook", depth, content)
    assert text.startswith("## `Brook.depth` in `src/tide/brook.py`\n\n```python\n@property\n")
    assert "prints\n\n```text\nDryError: dry\n```" in text
    edited = [{**dry, "code": code} for code in ([], ["("], ["x = (", "1"])]   # by hand
    assert [one["code"] for one in content_of(brook, "Brook.depth", edited)["examples"]] == [
        "", "(", "x = (\n1"]


PUBLIC = """- `src/tide/brook.py`: Brooks, and how they run.
- `class Brook`: A small river.
- `Brook.kinds = ['clear', 'muddy']`
- `Brook.name`
- `class DryError(LookupError)`
- `_drain(to)`
- `DEPTHS = {}`
- `River`
- `dried`
- `Brook.__init__(self, name)`
- `Brook.pour(self, other)`
### `tide` in `src/tide/__init__.py`
- `numpy`"""


def test_a_project_lists_its_public_names_and_private_ones_where_they_are_needed(brook):
    content = project_content(brook, META)
    api = public_api(brook, {"_drain"})
    text = document_text("brook", "", content) + api_text(api)
    for line in PUBLIC.splitlines():
        assert f"{line}\n" in text, line
    assert "_secret" not in text and "test_it" not in text
    used = used_in(api, ["src/tide/brook.py::Brook.pour"], "River Brook.pour(1)")
    assert [row["name"] for one in used for row in one["names"]] == [
        "River", "Brook", "Brook.__init__", "Brook.pour"]
    assert used_in(api, ["examples/pour.py::pour"], "River Brook.pour(1)") == []
    assert bound_names(ast.parse("a = [b for b in c]")) == {"a"}


@pytest.mark.parametrize("name", ["README.md", "README.rst"])
def test_a_readme_is_read_in_either_form(tmp_path, name):
    assert project_of(tmp_path, {"tide.py": "", name: "Tides."}).readme == "Tides."


def test_hostile_sources_are_left_out_with_their_reason(tmp_path):
    files = {
        "deep.py": "def f():\n    return " + "(" * 5_000 + ")" * 5_000 + "\n",
        "chain.py": "def f():\n    return a" + ".a" * 50_000 + "\n",
        "old.py": "def f():\n    print 'x'\n", "nul.py": b"def f():\n    return '\0'\n",
        "latin.py": b"def f():\n    return '\xe9'\n",
        "crlf.py": b"class A:\r\n    def f(self):\r\n        '''Say.'''\r\n        return 1\r\n",
        "fence.py": 'def f():\n    """Quote ``` here\n    `and` here."""\n    return 1\n',
        "half.py": 'def f():\n    """Half \\ud800 a \\0 character."""\n    return 1\n',
        "odd.py": 'def f():\n    """\n    >>> 1\n   2\n    """\n    return "\\d"\n'}
    (tmp_path / "README.md").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "README.rst")
    project = project_of(tmp_path, files)
    assert project.readme == ""
    assert {*project.functions} == {"latin.py::f", "crlf.py::A.f", "fence.py::f", "odd.py::f",
                                    "half.py::f"}
    with pytest.raises(Excluded, match="parser refuses"):
        project.function("deep.py::f")
    for id, function in project.functions.items():
        content = function_content(function)
        assert document_text("", id, content).encode() and content["examples"] == []
    assert function_content(project.function("crlf.py::A.f"))["purpose"] == "Say."
