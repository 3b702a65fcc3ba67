"""Check the changes of several places, each on a small project."""
from __future__ import annotations

import ast

from codedata.code.entities import SourceFile
from codedata.code.operators import several_places
from codedata.code.operators.several_places import Change, Program, applied

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


def files_of(**texts: str) -> list[SourceFile]:
    return [SourceFile(f"{name}.py", "python", text.encode(), False)
            for name, text in texts.items()]


def made(changes, files: list[SourceFile]) -> list[tuple[str, dict[str, str]]]:
    """Return (operator, {name of a changed file: its text}) of changes; each text parses."""
    found = []
    for change in changes:
        assert isinstance(change, Change)
        after = {file.path[:-3]: applied(file.text, [span for where, span in change.places
                                                     if where is file]).decode()
                 for file in files if any(where is file for where, _ in change.places)}
        assert [*map(ast.parse, after.values())]
        found.append((change.operator, after))
    return found


def test_an_option_is_taken_out_as_if_it_had_never_been_there():
    files = files_of(a=LOADER)
    (name, after), = (one for one in made(several_places.removals(Program(files)), files)
                      if "strict" not in one[1]["a"])
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
        files = files_of(a=f"def f(a, strict=None):\n    {line}\n    if strict:\n        a = 1\n"
                           "    return g(a)\n")
        assert made(several_places.removals(Program(files)), files) == []


def test_a_function_listed_in_a_table_goes_with_its_entry_and_its_comment():
    files = files_of(a=TABLE)
    found = dict(enumerate(made(several_places.removals(Program(files)), files)))
    assert [name for name, _ in found.values()] == ["handler-removed"] * 2
    assert found[1][1]["a"] == (
        'def read_csv(path):\n    return open(path).read()\n\n\n'
        'READERS = {\n    "csv": read_csv,\n}\n')
    files = files_of(a=TABLE.replace('    "json": read_json,\n', ""))   # none would be left
    assert made(several_places.removals(Program(files)), files) == []


def test_parameters_change_places_in_all_calls_but_one():
    files = files_of(a=CALLS, b="def scale(value, factor, base=0):\n    return value * factor\n")
    first, second = made(several_places.contracts(Program(files)), files)
    assert first[1]["b"].startswith("def scale(factor, value, base=0):\n    return value * factor")
    assert first[1]["a"] == CALLS.replace("x + 1, factor(3)", "factor(3), x + 1")
    assert second[1]["a"] == CALLS.replace("scale(x, 2)", "scale(2, x)")
    method = "class B:\n    def scale({}):\n        pass\n"
    for a, b, n in (("x, factor=2", "value, factor", 0), ("x, 2", "value, *factor: int", 0),
                    ("x, x", "value, factor", 1), ("x, 2", "value, other", 0)):
        files = files_of(a=CALLS.replace("x, 2", a), b=f"def scale({b}): pass\n",
                         c=method.format(b.replace("other", "factor")))
        found = made(several_places.contracts(Program(files)), files)
        assert [(name, {*after}) for name, after in found] == [
            ("parameters-swapped", {*"abc"})] * n


PAIRS = """\
def halves(text) -> tuple[str, int]:
    if not text:
        return None, None
    return text[1:], len(text)


def one(text):
    rest, n = halves(text)
    return rest * n


def two(text):
    (rest, n) = await halves(text)
    return rest
"""


def test_results_change_places_where_all_calls_but_one_unpack_them():
    files = files_of(a=PAIRS)
    swapped = PAIRS.replace("[str, int]", "[int, str]").replace(
        "text[1:], len(text)", "len(text), text[1:]")
    found = made(several_places.contracts(Program(files)), files)
    assert found == [("result-swapped", {"a": swapped.replace("(rest, n)", "(n, rest)")}),
                     ("result-swapped", {"a": swapped.replace("rest, n = h", "n, rest = h")})]
    for old, new in (("return None, None", "return"), ("return None, None", "return text.rest"),
                     ("return None, None", "return *text, 1"), ("rest, n = h", "rest = h"),
                     ("return rest\n", "return halves(rest)\n"), ("(rest, n) = await ", "")):
        assert old in PAIRS
        files = files_of(a=PAIRS.replace(old, new))
        assert made(several_places.contracts(Program(files)), files) == []
