"""Test what failing tests are turned into: scripts that a user could write."""
import pytest

from codedata.issues.issue_facts import RECORDED, Difference
from codedata.issues.scripts_of_tests import CAUGHT, jobs_of_tests, tidied
from codedata.suites.replayed_scripts import Outcome, ReplayJob

FILES = {
    "tests/conftest.py": """import pytest, heron

@pytest.fixture
def nest():
    eggs = [2]
    yield eggs
    eggs.clear()

@pytest.fixture(params=['low', 'high'])
def tide(request, monkeypatch):
    if request.param == 'high':
        monkeypatch.setenv('TIDE', '9')
    return heron.Tide(request.param)
""",
    "tests/base.py": """import unittest
import heron

class Base(unittest.TestCase):
    def setUp(self):
        self.bird = heron.Bird()

    def deep(self, text, cm=3):
        "Check it."
        return self.assertEqual(self.bird.wade(text), cm)
""",
    "tests/test_bird.py": """import pytest
from heron import Bird, fly, wade
from .base import Base

ROWS = [("a", 1), ("b", None)]

@pytest.mark.parametrize("text, cm", ROWS)
def test_rows(text, cm):
    assert wade(text) == cm

def test_state(nest):
    with pytest.raises(ValueError):
        fly(nest)
    assert len(nest) == 1

def test_loop(tmp_path):
    for one in (1, 2):
        (tmp_path / "a").write_text("x")
        assert one in wade(one), "never"

def test_warns():
    with pytest.warns(DeprecationWarning):
        fly(1)

def test_branch():
    if wade(1):
        assert fly(1)
    else:
        assert fly(2)

def test_block():
    with fly() as wing:
        wing.beat()
        assert wing.n == pytest.approx(1)

def pair(kind):
    "Make two."
    one = Bird()
    other = kind()
    return one, other

@pytest.mark.parametrize("is_left", [True])
def test_sides(is_left):
    a, b = pair(Bird)
    if is_left:
        left = a
    else:
        left = b
    left.see(b)
    assert b.x() == left.wade("x")

def test_tide(tide):
    def depth(n):
        try:
            return wade(tide, n)
        except ValueError:
            return None
    assert depth(3) == 4

class TestBird(Base):
    def test_deep(self):
        self.deep("x")
        self.assertRaises(ValueError, self.bird.wade, "y")
""",
}
SOURCES = {"src/heron/nests.py": """from .eggs import lay

def bare():
    pass

class Nest:
    def lay(self, n):
        '''Lay eggs.

        >>> import heron
        >>> nest = Nest()
        >>> nest.lay(heron.many)
        3
        '''
"""}


def scripts(test: str) -> list[str]:
    """Return the scripts of a test as texts, the last expressions after ">"."""
    return ["\n".join([*job.lines, *([f"> {job.last}"] if job.last else [])])
            for job in jobs_of_tests([f"tests/test_bird.py::{test}"], FILES, {})]


SCRIPTS = f"""test_rows[a-1]
from heron import wade
> wade('a')

test_state
from heron import fly
> fly([2])

test_state
from heron import fly
eggs = [2]
try:
    fly(eggs)
except Exception:
    pass
> len(eggs)

test_loop
from heron import wade
import pathlib
import tempfile
tmp_path = pathlib.Path(tempfile.mkdtemp())
(tmp_path / 'a').write_text('x')
(tmp_path / 'a').write_text('x')
> wade(2)

test_branch
from heron import fly
> fly(2)

test_warns
from heron import fly
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    fly(1)
> {CAUGHT}

test_block
from heron import fly
wing = fly()
wing.beat()
> wing.n

TestBird::test_deep
import heron
> heron.Bird().wade('x')

TestBird::test_deep
import heron
> heron.Bird().wade('y')

test_state
from heron import fly
fly([2])

test_tide[high]
import os
import heron
from heron import wade
os.environ['TIDE'] = '9'
> wade(heron.Tide('high'), 3)

test_tide[low]
import heron
from heron import wade
> wade(heron.Tide('low'), 3)

test_sides[True]
from heron import Bird
one = Bird()
other = Bird()
a, b = (one, other)
a.see(b)
> a.wade('x')

test_sides[True]
from heron import Bird
Bird()"""


@pytest.mark.parametrize("case", SCRIPTS.split("\n\n"))
def test_a_test_becomes_scripts_without_its_framework(case):
    test, _, script = case.partition("\n")
    found = scripts(test)
    assert script in found
    assert not [one for one in found if "pytest" in one or "self" in one or "Check" in one]


def test_examples_compare_nothing_with_what_the_test_expects_and_end_in_a_value():
    tests = ["tests/test_bird.py::test_rows[a-1]", "tests/test_bird.py::test_warns"]
    every = jobs_of_tests(tests, FILES, {})
    examples = jobs_of_tests(tests, FILES, {}, as_examples=True)
    assert sorted(examples, key=every.index) == [
        job for job in every if job.last and "==" not in job.last]


def test_only_the_parameters_that_the_id_names_are_filled_in_and_other_tests_are_no_scripts():
    assert not [one for one in scripts("test_rows[a-1]") if "'b'" in one]
    assert jobs_of_tests(["tests/test_bird.py::test_gone", "elsewhere"], FILES, SOURCES) == []


def test_the_examples_of_a_docstring_become_scripts_with_what_its_module_has():
    jobs = jobs_of_tests(["src/heron/nests.py::heron.nests.Nest.lay"], FILES, SOURCES)
    assert ReplayJob(["from heron.nests import Nest", "import heron"],
                     "Nest().lay(heron.many)") in jobs
    assert jobs_of_tests(["src/heron/nests.py::heron.nests.bare"], FILES, SOURCES) == []


def test_relative_imports_become_absolute_and_star_imports_stay():
    tests = {"src/heron/tests/help.py": "from ...crane import call\n",
             "src/heron/tests/test_all.py": "from heron import *\nfrom ..birds import fly\n"
                                            "from .help import *\n\ndef test_all():\n"
                                            "    assert wade(fly(call)) == 2\n"}
    found = jobs_of_tests(["src/heron/tests/test_all.py::test_all"], tests, {})
    assert ReplayJob(["from heron import *", "from heron.birds import fly",
                      "from crane import call"], "wade(fly(call))") in found
    assert ReplayJob(["from heron.birds import fly", "from crane import call"],
                     "fly(call)") in found


def test_a_script_names_a_value_once_and_imports_what_it_uses():
    lines = ["from heron import a, b, e", "import re", "c = a(1)", "d = b(c)"]
    assert tidied(lines, "d.x") == (["from heron import a, b"], "b(a(1)).x")
    assert tidied(lines[2:], "[d for _ in d]") == (lines[2:], "[d for _ in d]")
    lines = ["import heron.nests", "import crane.birds", "import heron"]
    assert tidied(lines, "heron.fly(crane.birds)") == (["import heron", lines[1]],
                                                       "heron.fly(crane.birds)")


@pytest.mark.parametrize("last, right, wrong, kind", [
    ("x", "value", "raises", "raises"), ("", "value", "raises", "fails"),
    ("x", "raises", "value", "returns"), ("", "raises", "value", "silent"),
    (CAUGHT, "value", "value", "warns"), ("x", "raises", "raises", "other_error")])
def test_a_difference_is_named_by_what_a_user_sees(last, right, wrong, kind):
    sides = (Outcome(["f()"], last, one, "", f"{one} {n}") for n, one in enumerate((right, wrong)))
    assert Difference(*sides, RECORDED).kind == kind
