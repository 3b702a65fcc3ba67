"""Check that scripts run with a project, each in a process of its own, without a container."""
import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from root import read_json, write_files

from codedata.suites import replayed_scripts
from codedata.suites.replayed_scripts import ReplayJob, given_to_run
from codedata.texts import text_of

SOURCE = '''
import datetime, os, random, time

class Nest:
    def __init__(self, *eggs): self.eggs = list(eggs)
    def add(self, egg): self.eggs.append(egg)
    def each(self): return (egg.upper() for egg in self.eggs)
    def kinds(self): return set(self.eggs)

def echo(value): return value
def refuse(depth): raise ValueError(f"too deep: {depth}")
def day(): return datetime.date.today().isoformat()
def year(): return datetime.datetime.now().year + time.localtime().tm_year
def roll(): return random.random()
def hashed(text): return hash(text)
def here(): return os.getcwd()
def own_path(): return __file__
def lost(): raise OSError(__file__)
def order(text): return [*{*text.split()}]
'''


def replayed(folder: Path, text: str, jobs: list[ReplayJob], prune=False, seconds=3, total_s=150,
             now=0, runs=3):
    """Return the outcomes of jobs with a text of heron.py, as replay() does in a sandbox."""
    source = write_files(folder / "source", {"heron.py": text})
    given = given_to_run(str(source), jobs, seconds, total_s, prune, now, runs)
    place = write_files(folder / "place", {
        "jobs.json": json.dumps(given),
        "replay.py": text_of("codedata.suites.programs", "replay_scripts.py")})
    done = subprocess.run([sys.executable, place / "replay.py", place], cwd=source,
                          capture_output=True, text=True, timeout=200)
    assert done.returncode == 0 and done.stdout == "", done
    answers = read_json(place / "answers.json")
    return [replayed_scripts._outcome(one) for one, _ in zip(answers, jobs, strict=True)]


def test_a_script_keeps_the_lines_that_its_outcome_needs(tmp_path):
    lines = ["from heron import Nest, echo", "nest = Nest('a')", "echo(1)", "nest.add('b')",
             "nest.add('b')", "Nest()"]
    each, kinds, wrong = replayed(tmp_path, SOURCE, [ReplayJob(lines, last) for last in (
        "nest.each()", "nest.kinds()", "nest.sizes()")], prune=True)
    assert (each.lines, each.last, each.shown) == (
        [*lines[:2], *lines[3:5]], "list(nest.each())", "['A', 'B', 'B']")
    assert (kinds.last, kinds.shown) == ("sorted(nest.kinds())", "['a', 'b']")
    assert len(kinds.lines) == 3   # one nest.add('b') is enough
    assert wrong.shown == "AttributeError: 'Nest' object has no attribute 'sizes'"
    assert {path for path, _ in each.direct} == {"heron.py"} == {*each.ran}


@pytest.mark.parametrize("last", [
    "day()", "year()", "roll()", "hashed('a')", "here()", "own_path()", "lost()",
    "order('a b c d e f g h i j')", "echo(object())", "echo('/tmp/x')", "echo([1] * 9999)"])
def test_what_varies_or_nobody_may_show_has_no_outcome(tmp_path, last):
    jobs = [ReplayJob(["from heron import *"], one) for one in (last, "refuse(3)")]
    found, raised = replayed(tmp_path, SOURCE, jobs)
    assert found is None and raised.shown == "ValueError: too deep: 3"


def test_cases_see_one_time_and_compare_objects_as_tests_do(tmp_path):
    text = SOURCE + """
import enum
from collections import OrderedDict
class Day(str, enum.Enum): MON = "Mon"
class Metres(float):
    __eq__, __hash__, __repr__ = (lambda *_: False), float.__hash__, (lambda _: "1.5 m")
class Lazy:
    __class__, __repr__ = property(lambda _: str), (lambda _: "lazy")
"""
    expected = {"day()": "'2027-01-15'", "year()": "4054", "time.time_ns() % 10**9": "0",
                "datetime.datetime.now(datetime.timezone.utc).hour": "8",
                "datetime.datetime.utcnow().hour": "8", "OrderedDict(a=1)": "{'a': 1}",
                "Day.MON": "'Mon'", "Metres(1.5)": "1.5 m", "Lazy()": "lazy",
                "time.clock_gettime(time.CLOCK_REALTIME)": "1800000000.0",
                "True": "True", "refuse(3)": "ValueError: too deep: 3"}
    jobs = [ReplayJob(["from heron import *"], one) for one in expected]
    found = replayed(tmp_path, text, jobs, now=replayed_scripts.NOW)
    assert {one.last: one.shown for one in found} == expected


@pytest.mark.parametrize(("script", "is_public"), [
    ("f(1)", True), ("__file__", True), ("f(_=1)", True), ("nest._peek()", False),
    ("f(_depth=1)", False), ("from heron import _inner", False), ("f(", False)])
def test_a_script_is_public_if_all_its_names_are(script, is_public):
    assert ReplayJob([], script).is_public == ReplayJob([script], "").is_public == is_public


def test_hostile_scripts_are_bounded_and_change_no_other_outcome(tmp_path):
    text = '''
import os, signal, sys, time
eggs = []
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
def fine(): return print("fine") or eggs.append(1) or len(eggs)
'''
    words = ["fine()", "Endless()", "Large()", "Rude()", "Deep()", "wrong()", "end()", "kill()",
             "shut()", "write()", "fork()", "fine()", "fine(", "'\\ud800'"]
    jobs = [ReplayJob(["from heron import *"], word) for word in words]
    found = replayed(tmp_path, text, jobs, seconds=1)
    told = {word: one.shown for word, one in zip(words, found, strict=True) if one}
    assert told.pop("fork()") == told.pop("fine()") == "1"
    assert told.keys() <= {"fine(", "'\\ud800'"}


def test_a_script_that_runs_once_sees_a_later_day(tmp_path):
    job = ReplayJob(["from heron import day"], "day()")
    found, = replayed(tmp_path, SOURCE, [job], runs=1)
    assert found.shown > repr(f"{date.today()}") and found.ran == {}


def test_a_script_that_prints_nothing_ends_as_its_last_line_does(tmp_path):
    text = "def part(n): return 1 // n\n"
    jobs = [ReplayJob(["import heron", *(f"heron.part({n})" for n in numbers)], "")
            for numbers in ("1", "10", "01")]
    fine, raised, broken = replayed(tmp_path, text, jobs)
    assert (fine.shown, fine.program) == ("", "import heron\nheron.part(1)\n")
    assert raised.type == "ZeroDivisionError" and broken is None


def test_a_module_that_never_ends_its_import_takes_the_time_that_is_given_and_no_more(tmp_path):
    text = "while True: pass\n"
    job = ReplayJob(["import heron"], "heron.x")
    assert replayed(tmp_path, text, [job] * 9, total_s=3) == [None] * 9
