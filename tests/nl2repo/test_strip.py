"""Test which bodies are stripped, and that nothing else of a file changes."""
from __future__ import annotations

import ast

import pytest
from stripped import a_coverage, sources_with

from codedata.nl2repo.strip import Strippable

# (what a file holds, the function that is stripped, what becomes of it)
CUTS = {
    "a docstring and comments": (
        'def f(x):  # note\n    """Say.\n\n    >>> f(1)\n    """\n    # first\n    y = x\n'
        '    return y  # last\n    # behind\n\n# of the module\nZ = 1\n', "f",
        'def f(x):  # note\n    """Say.\n\n    >>> f(1)\n    """\n'
        '    raise NotImplementedError("f")\n\n# of the module\nZ = 1\n'),
    "no docstring": ("def f(x):\n    # why\n    if x:\n        return 1\n    return 2\n", "f",
                     'def f(x):\n    raise NotImplementedError("f")\n'),
    "one line": ("def f(x): return x + 1  # more\n", "f",
                 'def f(x): raise NotImplementedError("f")\n'),
    "several on one line": ("def f(x): y = x; return y;\n", "f",
                            'def f(x): raise NotImplementedError("f")\n'),
    "a docstring in the line": ('def f(x): "doc"; return x + 1\n', "f",
                                'def f(x): "doc"; raise NotImplementedError("f")\n'),
    "a generator": ("def f(x):\n    for y in x:\n        yield y\n", "f",
                    'def f(x):\n    raise NotImplementedError("f")\n    yield\n'),
    "a generator in one line": ("def f(x): yield x\n", "f",
                                'def f(x): raise NotImplementedError("f"); yield\n'),
    "an inner generator": ("def f(x):\n    def g():\n        yield x\n    return g()\n", "f",
                           'def f(x):\n    raise NotImplementedError("f")\n'),
    "an async generator": ("async def f(x):\n    async with x:\n        yield 1\n", "f",
                           'async def f(x):\n    raise NotImplementedError("f")\n    yield\n'),
    "an inner function with a decorator": (
        "def f(x):\n    @wraps(x)\n    def g():\n        return x\n    return g\n", "f",
        'def f(x):\n    raise NotImplementedError("f")\n'),
    "line ends of Windows": ("def f(x):\r\n    for y in x:\r\n        yield y\r\n", "f",
                             'def f(x):\r\n    raise NotImplementedError("f")\r\n    yield\r\n'),
    "texts of several lines": ('def f(x):\n    return """\n# no comment\n""" + x\nY = 2\n', "f",
                               'def f(x):\n    raise NotImplementedError("f")\nY = 2\n'),
    "no line end at the end": ("def f(x):\n    return x + 1", "f",
                               'def f(x):\n    raise NotImplementedError("f")'),
    "tabs and a method": ("class C:\n\tdef f(self):\n\t\t'é'\n\t\treturn 1 + 1\n\t# of the class\n",
                          "C.f", "class C:\n\tdef f(self):\n\t\t'é'\n"
                          '\t\traise NotImplementedError("C.f")\n\t# of the class\n'),
    "a getter and its setter": (
        "class C:\n    @property\n    def a(self):\n        return self.b.c()\n\n    @a.setter\n"
        "    def a(self, x):\n        self.b = x\n", "C.a@7",
        "class C:\n    @property\n    def a(self):\n        return self.b.c()\n\n    @a.setter\n"
        '    def a(self, x):\n        raise NotImplementedError("C.a")\n'),
}
LEFT_OUT = {
    "no counted test runs it": "def f():\n    return g(1)\n",
    "nested in a function": "def g():\n    def f():\n        return h(1)\n    return f\n",
    "runs at import": "def f():\n    return g(1)\nX = f()\n",
    "an overload": "@overload\ndef f(x: int) -> int:\n    return g(1)\n",
    "abstract": "class C:\n    @abc.abstractmethod\n    def f(self):\n        return g(1)\n",
    "of a Protocol": "class C(Protocol[T]):\n    def f(self):\n        return g(1)\n",
    "a docstring alone": "def f():\n    'Say.'\n",
    "...": "def f():\n    ...\n",
    "trivial": "def f(x):\n    'Say.'\n    return x.y\n",
    "refused by the parser of this Python": "def f():\n    print 'x'\n    return g(1)\n",
    "its file has syntax errors, the first one in line 3": "def f():\n    return g(1)\nx = = 1\n",
}


def strippable(text: str, **runs) -> Strippable:
    sources = sources_with(text.encode())
    return Strippable(sources, a_coverage(sources, **runs))


@pytest.mark.parametrize("name", CUTS)
def test_a_body_becomes_one_line_that_raises(name):
    text, function, wanted = CUTS[name]
    before, after = strippable(text).stripped([f"m.py::{function}"])
    assert before == {"m.py": text.encode()}
    assert after == {"m.py": wanted.encode()}
    ast.parse(wanted)


@pytest.mark.parametrize("rule", LEFT_OUT)
def test_what_cannot_be_stripped_is_left_out_by_rule(rule):
    text = LEFT_OUT[rule]
    runs = {"untested": "f"} if rule == "no counted test runs it" else {}
    if rule == "runs at import":
        runs = {"import_lines": {"m.py": [1, 3]}}
    found = strippable(text, **runs)
    assert [id.rpartition(".")[2].rpartition(":")[2] for id in found.left_out[rule]] == ["f"]
    assert not any(id.endswith("f") for id in found.ids)


def test_several_bodies_of_a_file_go_together():
    text = "def f(x):\n    return x + 1\n\n\nclass C:\n    def g(self):\n        return f(2)\n"
    found = strippable(text)
    assert found.ids == ["m.py::f", "m.py::C.g"]
    after = found.stripped(found.ids)[1]["m.py"].decode()
    assert after == ('def f(x):\n    raise NotImplementedError("f")\n\n\nclass C:\n'
                     '    def g(self):\n        raise NotImplementedError("C.g")\n')
    assert found.source("m.py::f") == b"def f(x):\n    return x + 1"


def test_what_is_not_there_or_cannot_be_stripped_is_a_key_error():
    with pytest.raises(KeyError):
        strippable("def f():\n    pass\n").stripped(["m.py::f"])


def test_a_file_that_is_no_text_in_utf8_is_left_as_it_is():
    sources = sources_with(b"# -*- coding: latin-1 -*-\ndef f():\n    return g('\xe9')\n")
    found = Strippable(sources, a_coverage(sources))
    assert found.left_out == {"its file is no text in UTF-8": ["m.py::f"]}
