"""Check that rewrites keep the meaning of Python code, and which code they leave unchanged."""
from textwrap import dedent, indent

import pytest
from line_tables import toml_beside

from codedata.audit.rewrites import literals_of, rewrites_of

NAMES = ["renamed", "inverted", "extracted", "reformatted"]


def rewritten(text: str, before: str = "") -> dict[str, str]:
    """Return {rewrite: text} for one file."""
    out = rewrites_of({"a.py": before.encode()}, {"a.py": text.encode()})
    return {name: files["a.py"].decode() for name, files in out.items()}


CASES = toml_beside(__file__, "rewrites.toml")["case"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["rewrite"])
def test_a_body_is_rewritten_or_left(case):
    source = "def f(a, b):\n{}\n".format
    body, wanted = (indent(case.get(key, ""), "    ") for key in ("body", "wanted"))
    assert rewritten(source(body)).get(case["rewrite"], "") == (wanted and source(wanted))


FILE = dedent('''\
    from __future__ import annotations
    import functools

    x   =  7   # kept

    class A:
    \tx = 1
    \t@functools.lru_cache(
    \t\tmaxsize=None)
    \tdef first(self, n: int  = 3):   # comment
    \t\t"""Say so.

    \t\t>>> 1 + 1
    \t\t"""
    \t\ttotal = 0
    \t\tparts = []
    \t\tfor i in range(n):
    \t\t\tif i % 2:
    \t\t\t\tparts.append(f"{i!r:>{n}} it\\'s {'a' + 'b'}\\n")
    \t\t\telse:
    \t\t\t\ttotal += sum(i * x for x in range(i)) + x
    \t\treturn super().__eq__(self), total, parts, __class__.__name__

    def  second(n):
        count = 0
        def step():
            nonlocal count
            count += n; return count
        async def later(): return [await one for one in ()]
        return step() + step(), later.__name__
    r = A().first(), second(2), A.first.__doc__
    ''')


def result(text: str):
    names: dict = {}
    exec(compile(text, "a.py", "exec"), names)
    return names["r"]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_every_rewrite_runs_to_the_same_results_and_keeps_all_outside_of_functions(line_end):
    text = FILE.replace("\n", line_end)
    got = rewritten(text)
    assert [*got] == NAMES and len({*got.values()}) == 4
    for name, new in got.items():
        assert result(new) == result(text), name
        assert new.startswith(text[:text.index("\t@functools")])
        assert new.endswith(text[text.index("r = A()"):])


def test_only_functions_with_changed_lines_are_rewritten():
    first, second = "def f(a):\n    return  a\n", "def g(a):\n    return  a\n"
    assert rewritten(first + second, first)["reformatted"] == first + second.replace("  a", " a")
    removed = rewritten(first + second, first + second.replace("\n", "\n    a += 1\n", 1))
    assert removed["extracted"].startswith(first) and "result_" in removed["extracted"]
    assert rewritten(first, first) == rewritten("x = 1\n") == {}


def test_files_that_are_not_python_or_not_plain_utf8_are_left_out():
    text = b"def f():\n    return  '\\xe9'\n"
    files = {"a.txt": text, "b.py": b"def f(:\n", "c.py": b"\xff" + text, "d.py": b"\0",
             "e.py": b"# coding: latin-1\n" + text, "f.py": b"\xef\xbb\xbf" + text, "g.py": text}
    assert {*rewrites_of({}, files)["extracted"]} == {"g.py"}


LITERALS = '''\
"""Module text."""
def f(data, key):
    """Function text."""
    old = "kept"
    raise KeyError("no such"
                   " entry", data["entry"], 'ab', b"bytes", "%(name)s {name}")
    return f"{key:fancy} of {data['item']!r} items, \\ttabs"
'''


def test_one_letter_of_each_literal_on_a_changed_line_is_changed():
    before = LITERALS.replace("KeyError", "ValueError").replace("return", "yield")
    got = literals_of({"a.py": before.encode()}, {"a.py": LITERALS.encode()})
    assert [(path, line, literal) for path, line, literal, _ in got] == [
        ("a.py", 7, " items, \ttabs")]
    got = literals_of({}, {"a.py": LITERALS.encode()})
    lines = LITERALS.splitlines()
    assert [(line, literal, text.decode().splitlines()[line - 1]) for _, line, literal, text in got
            ] == [(4, "kept", lines[3].replace("kept", "kxpt")),
                  (6, "no such entry", lines[5].replace(" entry", " extry")),
                  (7, " items, \ttabs", lines[6].replace("items", "ixems"))]


def test_at_most_six_literals_are_taken_from_the_whole_file():
    lines = "".join(f"print('word {i}')\n" for i in range(20))
    got = literals_of({}, {"a.py": lines.encode()})
    assert [line for _, line, _, _ in got] == [1, 4, 7, 11, 14, 17]
