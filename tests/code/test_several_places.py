"""Check the changes of several places, each on a small project."""
from __future__ import annotations

import ast
from collections.abc import Callable

from codedata.code.entities import SourceFile
from codedata.code.operators.several_places import Program, applied, contracts, removals

LOADER = '''\
class Loader:
    def __init__(self, path, *, strict=False):
        """Read a file.

        :param path: its path
        :param strict: refuse what is not known,
            with an error
        """
        self.path = path
        self._strict = strict

    def check(self, rows):
        rows = list(rows)
        # bad rows are counted
        # before they are refused
        if self._strict and not rows:
            raise ValueError(rows)
        return rows if not self._strict else rows[1:]


def load(path, *, strict=False, size=10):
    if not strict:
        size = size - 1
    return Loader(path, strict=strict).check(range(size))
'''
TABLE = """\
def read_csv(path):
    return open(path).read()


# reads what
# others write
def read_json(path):
    return path


READERS = {
    "csv": read_csv,
    "json": read_json,
}
"""
CALLS = """\
from b import scale


def one(x):
    return scale(x, 2)


def two(x):
    return -scale(x + 1, factor(3))
"""
SCALE = "def scale(value, factor):\n    return 3 * value\n"


def made(find: Callable, **texts: str) -> list[tuple[str, dict[str, str]]]:
    """Return (operator, {name of a changed file: its text}) of changes; each text parses."""
    files = [SourceFile(f"{name}.py", "python", text.encode(), False)
             for name, text in texts.items()]
    found = []
    for change in find(Program(files)):
        after = {file.path[:-3]: applied(file.text, [span for where, span in change.places
                                                     if where is file]).decode()
                 for file in files if any(where is file for where, _ in change.places)}
        assert [*map(ast.parse, after.values())]
        found.append((change.operator, after))
    return found


def test_an_option_is_taken_out_as_if_it_had_never_been_there():
    (name, after), = (one for one in made(removals, a=LOADER) if "strict" not in one[1]["a"])
    assert name == "option-removed" and after["a"] == '''\
class Loader:
    def __init__(self, path):
        """Read a file.

        :param path: its path
        """
        self.path = path

    def check(self, rows):
        rows = list(rows)
        return rows


def load(path, *, size=10):
    size = size - 1
    return Loader(path).check(range(size))
'''


def test_an_option_that_is_set_or_spoken_of_elsewhere_stays():
    for line in ("strict = strict or f()", "# strict is slow", "f(strict.x)"):
        assert made(removals, a=f"def f(a, strict=None):\n    {line}\n    if strict:\n"
                                "        a = 1\n    return g(a)\n") == []


def test_a_function_listed_in_a_table_goes_with_its_entry_and_its_comment():
    found = made(removals, a=TABLE)
    assert [name for name, _ in found] == ["handler-removed"] * 2
    assert found[1][1]["a"] == (
        'def read_csv(path):\n    return open(path).read()\n\n\n'
        'READERS = {\n    "csv": read_csv,\n}\n')
    # none would be left
    assert made(removals, a=TABLE.replace('    "json": read_json,\n', "")) == []


def test_parameters_change_places_in_all_calls_but_one():
    first, second = made(contracts, a=CALLS, b=2 * SCALE)
    assert first == ("parameters-swapped", {
        "a": CALLS.replace("x + 1, factor(3)", "factor(3), x + 1"),
        "b": 2 * SCALE.replace("value, factor", "factor, value")})
    assert second[1]["a"] == CALLS.replace("scale(x, 2)", "scale(2, x)")
    assert len(made(contracts, a=CALLS.replace("x, 2", "x, x"), b=SCALE)) == 1
    for a, b in ((CALLS.replace("2", "factor=2"), SCALE),
                 (CALLS, SCALE.replace("factor", "*factor: int")),
                 (CALLS, SCALE + SCALE.replace("factor", "other")),
                 ("from math import scale\n" + CALLS, SCALE)):   # which may be called
        assert made(contracts, a=a, b=b) == []


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
    assert made(contracts, a=PAIRS) == [
        ("result-swapped", {"a": swapped.replace("(rest, n)", "(n, rest)")}),
        ("result-swapped", {"a": swapped.replace("rest, n = h", "n, rest = h")})]
    for old, new in (("return None, None", "return"), ("return None, None", "return text.rest"),
                     ("rest, n = h", "rest = h"), ("await halves(2)", "halves(2)\nhalves(3)")):
        assert made(contracts, a=PAIRS.replace(old, new)) == []
