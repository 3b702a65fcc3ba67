"""Test which bodies are stripped, and that nothing else of a file changes."""
import ast

import pytest
from line_tables import toml_beside
from stripped import a_coverage, sources_with

from codedata.nl2repo.strip import Strippable

CASES = toml_beside(__file__, "strips.toml")
CUTS, LEFT_OUT = CASES["cuts"], CASES["left_out"]


def strippable(text: str, **runs) -> Strippable:
    sources = sources_with(text.encode())
    return Strippable(sources, a_coverage(sources, **runs))


@pytest.mark.parametrize("name", CUTS)
def test_a_body_becomes_one_line_that_raises(name):
    case = CUTS[name]
    before, after = strippable(case["source"]).stripped([f"m.py::{case['function']}"])
    assert before == {"m.py": case["source"].encode()}
    assert after == {"m.py": case["stripped"].encode()}
    ast.parse(case["stripped"])


@pytest.mark.parametrize("rule", LEFT_OUT)
def test_what_cannot_be_stripped_is_left_out_by_rule(rule):
    text = LEFT_OUT[rule]
    runs = {"untested": "f"} if rule == "no counted test runs it" else {}
    if rule == "runs at import":
        runs = {"import_lines": {"m.py": [1, 3]}}
    found = strippable(text, **runs)
    assert [id.rpartition(".")[2].rpartition(":")[2] for id in found.left_out[rule]] == ["f"]
    assert not any(id.endswith("f") for id in found.ids)
    with pytest.raises(KeyError):
        found.stripped(found.left_out[rule])


def test_several_bodies_of_a_file_go_together():
    text = "def f(x):\n    return x + 1\n\n\nclass C:\n    def g(self):\n        return f(2)\n"
    found = strippable(text)
    assert found.ids == ["m.py::f", "m.py::C.g"]
    after = found.stripped(found.ids)[1]["m.py"].decode()
    assert after == ('def f(x):\n    raise NotImplementedError("f")\n\n\nclass C:\n'
                     '    def g(self):\n        raise NotImplementedError("C.g")\n')
    assert found.source("m.py::f") == b"def f(x):\n    return x + 1"


def test_a_file_that_is_no_text_in_utf8_is_left_as_it_is():
    sources = sources_with(b"# -*- coding: latin-1 -*-\ndef f():\n    return g('\xe9')\n")
    found = Strippable(sources, a_coverage(sources))
    assert found.left_out == {"its file is no text in UTF-8": ["m.py::f"]}
