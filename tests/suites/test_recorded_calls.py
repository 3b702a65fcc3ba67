"""Check that facts are scripts that anybody can run: recorded by the plugin in a pytest of its own
process, run again by the program for it, without a container."""
import json
import os
import subprocess
import sys
import time
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import pytest
from root import read_json

from codedata.suites import recorded_calls
from codedata.suites.recorded_calls import Event, Outcome, ReplayJob, given_to_run, jobs_of, named
from codedata.texts import text_of

SOURCE = '''
import collections, datetime, os, random, time
asked = []

class Nest:
    def __init__(self, *eggs): self.eggs = list(eggs)
    def add(self, egg): self.eggs.append(egg)
    def count(self): return len(self.eggs)
    def each(self): return (egg.upper() for egg in self.eggs)
    def kinds(self): return set(self.eggs)
    def _peek(self): return self.eggs[0]
    def __setitem__(self, at, egg): self.eggs[at] = egg

class Tree:
    def __init__(self): self._nest = Nest("a")
    def __getattr__(self, name): return getattr(self._nest, name)

class Loud:
    def __init__(self, weight): self.__dict__["weight"] = weight
    def noted(self, *args): asked.append(args); raise KeyError("noted")
    __repr__ = __str__ = __eq__ = __hash__ = __len__ = __bool__ = __iter__ = noted
    __getattr__ = noted
    __class__ = property(noted)

loud = Loud(1)

def weigh(one): return one.weight
def total(numbers): return sum(numbers)
def first(numbers): return next(iter(numbers))
def apply(function, value): return function(value)
def echo(value): return value
def size(value): return len(value)
def refuse(depth): raise ValueError(f"too deep: {depth}")
def module_of(function): return function.__module__
def _inner(n): return n

def day(): return datetime.date.today().isoformat()
def year(): return datetime.datetime.now().year + time.localtime().tm_year
def roll(): return random.random()
def hashed(text): return hash(text)
def here(): return os.getcwd()
def own_path(): return __file__
def lost(): raise OSError(__file__)
def order(text): return [*{*text.split()}]
'''
HELPERS = '''
def double(n):
    return 2 * n
'''
TESTS = '''
from __future__ import annotations
import dataclasses, gc, itertools, typing, weakref
from unittest.mock import Mock, patch
import pytest
import heron
from heron import Nest
from helpers import double

@pytest.fixture
def nest():
    nest = Nest("a")
    nest.add("b")
    yield nest

class TestNest:
    def test_count(self, nest: Nest[int]):
        nest.count()
        nest.add("c")
        assert nest.count() == 3
        nest[0] = "d"
        assert list(nest.each()) == ["D", "B", "C"]
        assert nest.each() and nest.kinds() and nest._peek() == "d" and heron._inner(3)

    def test_lists_that_hold_each_other(self):
        nests = [Nest("x"), Nest("y")]
        assert heron.echo(nests)[1].count() == 1

def test_forwarding():
    tree = heron.Tree()
    tree.add("b")
    assert tree.count() == 2

def test_functions():
    assert heron.total(n * n for n in range(4)) == 14
    assert heron.apply(lambda n: n + 1, 2) == 3
    assert heron.apply(double, 4) == 8
    def tests_it(n):
        from helpers import double as twice
        return twice(n)
    assert heron.apply(tests_it, 5) == 10
    assert "test" in heron.module_of(tests_it)
    with pytest.raises(ValueError):
        heron.refuse(3)
    pytest.raises(ValueError, heron.refuse, depth=4)

def test_it_goes_when_nobody_has_it():
    nest = heron.echo(Nest("w"))
    seen = weakref.ref(nest)
    nest.count()
    del nest
    gc.collect()
    assert seen() is None

def test_nobody_asks():
    loud = heron.Loud(5)
    assert heron.weigh(loud) == 5
    assert heron.weigh(heron.loud) == 1
    heron.echo({"x": [loud]})
    assert heron.asked == []

def test_what_varies():
    assert heron.day() and heron.year() and heron.roll() and heron.hashed("a") and heron.here()
    assert heron.own_path() and heron.order("a b c d e f g h i j") and heron.echo(object)
    with pytest.raises(OSError):
        heron.lost()

def test_what_nobody_may_show(tmp_path):
    assert heron.echo(heron.__file__ + "x") and heron.echo(str(tmp_path / "sub" / "kept.txt"))

def test_hostile():
    own = []
    own.append(own)
    bomb = []
    for _ in range(8):
        bomb = [bomb] * 50
    assert heron.size(own) == 1 and heron.size(bomb) == 50 and heron.size("x" * 10**7) == 10**7
    assert heron.size({n: 0 for n in range(10**6)}) == 10**6
    assert heron.echo(10**6000) and heron.first(n for n in itertools.count()) == 0
    assert sum(map(heron.echo, range(9))) == 36
    for n in range(500):
        heron.echo(n)

def test_failing():
    heron.echo("of a failing test")
    assert 0

@dataclasses.dataclass
class Kept:
    shared: typing.ClassVar[dict[str, int]]
    own: int = 0

def test_what_tests_may_ask():
    assert [one.name for one in dataclasses.fields(Kept)] == ["own"]
    with patch("builtins.open") as opened:
        heron.echo(Mock())
    assert opened.mock_calls == []

def test_of_new_python(kind=("a", 1)):
    with open("/dev/null") as first: heron.echo(first)
    async def later(): return [one async for one in heron.echo(None)]
    assert f"{heron.echo(7)!r:>2}" == " 7"
''' + ('''
def test_match():
    match heron.echo("ab"):
        case heron.asked: pass
''' if sys.version_info >= (3, 10) else "")


def run_program(*words: object, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True,
                          timeout=200, **options)


def project(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def recorded(source: Path, place: Path, *flags: str, tests=("test_heron", "helpers")) -> str:
    """Run the tests of a folder with the plugin, which writes to PLACE/data."""
    (place / "data").mkdir(parents=True)
    (place / "settings.json").write_text(json.dumps({
        "source": str(source), "tests": [f"{name}.py" for name in tests]}))
    plugin = text_of("codedata.suites.programs", "pytest_calls.py")
    (place / "codedata_calls.py").write_text(plugin.replace("/tmp/codedata-calls", str(place)))
    env = {**os.environ, "PYTEST_PLUGINS": "codedata_calls", "PYTHONPATH": f"{place}:{source}",
           "PYTHONDONTWRITEBYTECODE": "1"}
    return run_program("-m", "pytest", "-q", "-p", "no:cacheprovider", *flags, cwd=source,
                       env=env).stdout


def events_in(place: Path) -> list[Event]:
    return [one for file in sorted((place / "data").iterdir())
            for one in recorded_calls.events_in(file)]


def replayed(source: Path, place: Path, jobs: list[ReplayJob], prune=False, seconds=3, total_s=150):
    """Return the outcomes of jobs, as replay() does in a sandbox."""
    place.mkdir()
    (place / "jobs.json").write_text(json.dumps(
        given_to_run(str(source), jobs, seconds, total_s, prune)))
    (place / "replay.py").write_text(text_of("codedata.suites.programs", "replay_calls.py"))
    done = run_program(place / "replay.py", place, cwd=source)
    assert done.returncode == 0 and done.stdout == "", done
    answers = read_json(place / "answers.json")
    return [recorded_calls._outcome(one) for one, _ in zip(answers, jobs, strict=True)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return (what pytest printed, the events, the source's folder) of the project above."""
    folder = tmp_path_factory.mktemp("calls")
    source = project(folder / "source", heron=SOURCE, helpers=HELPERS, test_heron=TESTS)
    return recorded(source, folder / "place"), events_in(folder / "place"), source


@pytest.fixture(scope="module")
def facts(run, tmp_path_factory):
    """Return {script: outcome} of the tests, without the 500 calls of one function."""
    _, events, source = run
    jobs = [job for job in jobs_of(events) if not job.last.startswith("echo(4")]
    found = [*filter(None, replayed(source, tmp_path_factory.mktemp("r") / "x", jobs, True))]
    return {"\n".join([*one.lines, one.last]): one.shown for one in found}


def test_a_run_with_the_plugin_ends_as_one_without_it(run):
    printed, events, source = run
    plain = run_program("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=source).stdout
    assert printed.splitlines()[-1].split(" in ")[0] == plain.splitlines()[-1].split(" in ")[0]
    assert "1 failed" in printed and "test_failing" in printed
    assert not any("of a failing test" in (event.expr or "") for event in events)


def test_a_receiver_comes_with_the_calls_that_made_it_what_it_is(facts):
    nest = "from heron import Nest\nnest = Nest('a')\nnest.add('b')\n"
    assert facts[f"{nest}nest.count()"] == "2"
    assert facts[f"{nest}nest.add('c')\nnest.count()"] == "3"
    changed = f"{nest}nest.add('c')\nnest[0] = 'd'\n"
    assert facts[f"{changed}list(nest.each())"] == "['D', 'B', 'C']"
    assert facts[f"{changed}sorted(nest.kinds())"] == "['b', 'c', 'd']"
    assert facts["from heron import Nest\nNest('y').count()"] == "1"   # was in a list
    assert facts["from heron import Tree\ntree = Tree()\ntree.add('b')\ntree.count()"] == "2"
    assert facts["from heron import Nest\nNest('w').count()"] == "1"   # nothing kept it
    assert not any("list(iter(" in script for script in facts)


@pytest.mark.parametrize(("script", "told"), [
    ("from heron import refuse\nrefuse(3)", "ValueError: too deep: 3"),
    ("from heron import refuse\nrefuse(depth=4)", "ValueError: too deep: 4"),
    ("from heron import loud\nfrom heron import weigh\nweigh(loud)", "1"),
    ("from heron import Loud\nfrom heron import weigh\nweigh(Loud(5))", "5"),
    ("from heron import echo\nsum(map(echo, range(0, 9)))", "36")])
def test_arguments_are_written_so_that_anybody_can_run_them(facts, script, told):
    assert facts[script] == told


def test_what_varies_or_nobody_may_show_is_no_fact(facts):
    text = "\n".join([*facts, *facts.values()])
    for word in ("day(", "year(", "roll(", "hashed(", "here(", "own_path(", "lost(", "order(",
                 "_peek", "_inner", "helpers", "test_heron", "module_of", "/", "0x"):
        assert word not in text, word
    assert facts["from heron import echo\necho('kept.txt')"] == "'kept.txt'"


def test_no_script_calls_a_private_name(run):
    assert not jobs_of(run[1], ("_inner", "._peek"))


def test_what_is_too_large_or_too_many_is_named(run):
    _, events, _ = run
    why = [event.why for event in events if event.test.endswith("hostile") and not event.expr]
    assert why.count("too large") == 5 and why.count("too many") > 400
    assert max(len(event.expr or "") for event in events) < 2 * 1500


def test_workers_of_a_run_number_their_events_apart(tmp_path):
    tests = "import heron\n" + "".join(
        f"def test_{n}():\n    nest = heron.Nest({n})\n    assert nest.count() == 1\n"
        for n in range(6))
    source = project(tmp_path / "source", heron=SOURCE, test_heron=tests)
    assert "6 passed" in recorded(source, tmp_path / "place", "-n", "2")
    events = events_in(tmp_path / "place")
    assert len({event.n for event in events}) == len(events)
    assert {job.last.partition(".")[2] for job in jobs_of(events)} == {"", "count()"}
    assert sum(job.last.endswith("count()") for job in jobs_of(events)) == 6


def test_hostile_scripts_are_bounded_and_what_comes_after_them_still_runs(tmp_path):
    source = project(tmp_path / "source", heron='''
import os, signal, sys, time
class Endless:
    def __repr__(self):
        while True: pass
class Large:
    def __repr__(self): return "x" * 10**8
class Deep:
    def __repr__(self): return repr(self)
class Rude:
    def __repr__(self): os._exit(3)
class Wrong(Exception):
    def __str__(self): return 3
def wrong(): raise Wrong
def end(): sys.exit(0)
def fork():
    if not os.fork():
        os.setsid()
        time.sleep(30)
    return 1
def kill(): os.kill(os.getppid(), signal.SIGKILL)
def shut(): os.closerange(3, 256)
def write():
    for number in range(256):
        try: os.write(number, b'{"kind": "value", "text": "forged"}\\n')
        except OSError: pass
def fine(): return print("fine") or 1
''')
    words = ["Endless()", "Large()", "Rude()", "Deep()", "wrong()", "end()", "kill()", "shut()",
             "write()", "fork()", "fine()", "fine(", "'\\ud800'"]
    jobs = [ReplayJob(["from heron import *"], word) for word in words]
    found = replayed(source, tmp_path / "place", jobs, seconds=1)
    told = {word: one.shown for word, one in zip(words, found, strict=True) if one}
    assert told.pop("fork()") == told.pop("fine()") == "1"
    assert told.keys() <= {"fine(", "'\\ud800'"}


def test_a_script_that_prints_nothing_ends_as_its_last_line_does(tmp_path):
    source = project(tmp_path / "source", heron="def part(n): return 1 // n\n")
    jobs = [ReplayJob(["import heron", *(f"heron.part({n})" for n in numbers)], "")
            for numbers in ("1", "10", "01")]
    fine, raised, broken = replayed(source, tmp_path / "place", jobs)
    assert (fine.shown, fine.program) == ("", "import heron\nheron.part(1)\n")
    assert raised.type == "ZeroDivisionError" and broken is None


def test_a_module_that_never_ends_its_import_takes_the_time_that_is_given_and_no_more(tmp_path):
    source = project(tmp_path / "source", heron="while True: pass\n")
    job = ReplayJob(["import heron"], "heron.x")
    assert replayed(source, tmp_path / "place", [job] * 9, total_s=3) == [None] * 9


def test_equal_scripts_count_once_and_tests_take_turns():
    def event(n: int, test: str, expr: str, uses=()) -> Event:
        return Event(n, test, "call", expr, "f", ["from heron import f"], [*uses], "", "int", "1")

    events = [one for n in range(0, 120, 2) for one in (
        event(n, f"t{n // 100}", f"f({n})"), event(n + 1, f"t{n // 100}", f"r{n}.g()", [n]))]
    again = [event(200, "t7", "f(0)"), event(201, "t7", "r200.g()", [200])]
    jobs = jobs_of([*events, *again, event(300, "t8", "r999.g()", [999])])
    assert len(jobs) == recorded_calls.MAX_OF_CALLEE
    assert [job.last for job in jobs[:3]] == ["f(0)", "f(100)", "r0.g()"]
    assert not any("r200" in job.last or "r999" in job.last for job in jobs)


@pytest.mark.parametrize(("lines", "last", "expected"), [
    (["r1 = Nest('a')"], "r1.count()", "Nest('a').count()"),
    (["r1 = Nest('a')", "r1.add(1)", "r3 = Nest('b')", "r3.add(r1)"], "r1 == r3",
     "nest = Nest('a')\nnest.add(1)\nnest2 = Nest('b')\nnest2.add(nest)\nnest == nest2"),
    (["r1 = 2 + 3"], "r1.count()", "(2 + 3).count()"),
    (["r1 = Nest('r1')", "r1.add(1)"], "r1.count()", "r1 = Nest('r1')\nr1.add(1)\nr1.count()")])
def test_objects_have_readable_names_that_change_no_text(lines, last, expected):
    shown = named(Outcome(lines, last, "value", "int", "1"))
    assert "\n".join([*shown.lines, shown.last]) == expected


def test_rows_that_any_process_wrote_are_bounded_and_those_of_another_form_left_out(tmp_path):
    good = {"n": 0, "test": "t", "kind": "call", "expr": "m.f(0)", "of": "m.f", "lines": [],
            "uses": [], "raised": "", "type": "int", "result": "1"}
    odd = [{**good, key: value} for key, value in [
        ("uses", None), ("uses", [[1]]), ("lines", [5]), ("n", "x"), ("test", ["x"]),
        ("kind", {"a": 1}), ("expr", "-" * 30_000)]]
    many = [{**good, "n": n, "expr": f"r{n - 1}.f({n})", "of": f"f{n}", "uses": [n - 1, 0]}
            for n in range(1, 10_000)]
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join([*map(json.dumps, [*odd, good, *many]), "{half", "[" * 9_000]))
    with redirect_stderr(StringIO()) as printed:
        events = recorded_calls.events_in(file)
    assert len(events) == 1 + len(many) and f"{len(odd) + 2} rows left out" in printed.getvalue()
    started = time.monotonic()
    assert 1 < len(jobs_of(events)) < 100 and time.monotonic() - started < 30
