"""Check the changes of several places, each on a small project."""
from __future__ import annotations

import ast

from codedata.code.entities import SourceFile
from codedata.code.operators.several_places import applied, contracts

CALLS = """\
from b import scale


def one(x):
    return scale(x, 2)


def two(x):
    return -scale(x + 1, factor(3))
"""
SCALE = "def scale(value, factor):\n    return 3 * value\n"


def made(**texts: str) -> list[tuple[str, dict[str, str]]]:
    """Return (operator, {name of a changed file: its text}) of changes; each text parses."""
    files = [SourceFile(f"{name}.py", "python", text.encode(), False)
             for name, text in texts.items()]
    found = []
    for change in contracts(files):
        after = {file.path[:-3]: applied(file.text, [span for where, span in change.places
                                                     if where is file]).decode()
                 for file in files if any(where is file for where, _ in change.places)}
        assert [*map(ast.parse, after.values())]
        found.append((change.operator, after))
    return found


def test_parameters_change_places_in_all_calls_but_one():
    first, second = made(a=CALLS, b=2 * SCALE)
    assert first == ("parameters-swapped", {
        "a": CALLS.replace("x + 1, factor(3)", "factor(3), x + 1"),
        "b": 2 * SCALE.replace("value, factor", "factor, value")})
    assert second[1]["a"] == CALLS.replace("scale(x, 2)", "scale(2, x)")
    assert len(made(a=CALLS.replace("x, 2", "x, x"), b=SCALE)) == 1
    for a, b in ((CALLS.replace("2", "factor=2"), SCALE),
                 (CALLS, SCALE.replace("factor", "*factor: int")),
                 (CALLS, SCALE + SCALE.replace("factor", "other")),
                 (CALLS.replace("factor(3)", "scale(x, 3)"), SCALE),   # not both would be swapped
                 ("from math import scale\n" + CALLS, SCALE)):   # which may be called
        assert made(a=a, b=b) == []


PAIRS = """\
def halves(text) -> tuple[str, int]:
    if not text:
        return None, None
    return text[1:], len(text)


rest, n = halves(1)
(rest, n) = await halves(2)
"""


def test_results_change_places_where_all_calls_but_one_unpack_them():
    swapped = PAIRS.replace("str, int", "int, str").replace("text[1:], len(text)",
                                                            "len(text), text[1:]")
    assert made(a=PAIRS) == [
        ("result-swapped", {"a": swapped.replace("(rest, n)", "(n, rest)")}),
        ("result-swapped", {"a": swapped.replace("rest, n = h", "n, rest = h")})]
    for old, new in (("return None, None", "return"), ("return None, None", "return text.rest"),
                     ("rest, n = h", "rest = h"), ("await halves(2)", "halves(2)\nhalves(3)")):
        assert made(a=PAIRS.replace(old, new)) == []
