"""Test which calls become held-out cases of bugs, and what they decide."""
import json
import re
from types import SimpleNamespace

import pytest
from proof_heron import (
    BUG,
    BUG_LINE,
    RUN,
    candidate,
    diff,
    environment_of,
    factory_of,
    prove,
)
from proof_heron import heron as heron  # a fixture

from codedata.bugs.held_out import HeldOutCases
from codedata.disk.layouts import content_of
from codedata.errors import Excluded
from codedata.issues.issue_facts import (
    NO_CALL,
    NO_OTHER,
    NO_SCRIPT,
    WEAK,
    Differences,
    in_turns,
    known_in,
    resembling,
)
from codedata.records import Rules
from codedata.sandbox.docker import engine
from codedata.suites.replayed_scripts import Outcome, ReplayJob
from codedata.tasks.folder.task_folder import image_of
from codedata.tasks.folder.tests_folder import case_files
from codedata.tasks.prove.grader import Grader
from codedata.tasks.prove.proof import CandidateProof
from codedata.tasks.prove.run_suite import ScreeningRules, first_run
from codedata.verifier.suite import is_expected


def script(code):
    *lines, last = code.split("; ")
    return ReplayJob(lines, last)


def found_in(right, wrong, failing, others=()):
    """Return the held-out cases of functions without the bug and with it."""
    def replay(tree, jobs, *_, **__):
        return [Outcome(job.lines, job.last, "value", "int", str(eval(job.last, tree)))
                for job in jobs]

    return Differences(right, wrong, "", replay).held_out(
        *([*map(script, some)] for some in (failing, others)))


def cases_of(patch, run, environment, **sandbox):
    """Return the held-out cases of a bug of heron."""
    return HeldOutCases().of(run, CandidateProof(
        candidate(patch), Rules(), environment, None, factory_of(**sandbox), RUN, None))


CALLS = """m.stay('2 nights', n=4, at=[7])
m.stay('day', n=9)
m.week('Mon', m.stay('Noon'))
m.cut('a, b', 3)
m.cut(min(1, 2), 6)
m.sizes([10, 20], 5)
m.each(7)
m.Nest(6).count(1)
r1 = m.Nest('r1', 5); r1.count(1)
list(m.each(8))
m.sizes([20], 0)
d = {'Mon': 70, 'Noon': 80, 'day': ['x', 'y']}; m.week(d)"""
NEAR = """a number keeps the sign before it and is near
m.move(None, 'k', -2)
+ m.move(None, 'k', -1)
+ m.move(None, 'k', -202)
- m.move(None, 'k', --2)

a number stays above zero
m.move(1)
+ m.move(11)
- m.move(0)

a number is one of the argument of that name
m.stay(x, n=4)
+ m.stay(x, n=9)
- m.stay(x, n=7)

a number is one of the argument at that place, whatever commas and brackets are before it
m.cut('c, d', 8)
+ m.cut('c, d', 3)
+ m.cut('c, d', 6)
- m.cut('c, d', 5)

an item is of the argument of its list
m.sizes([11, 40], 1)
+ m.sizes([11, 20], 1)
+ m.sizes([11, 40], 5)
- m.sizes([11, 5], 1)

a list is not made longer
m.names(['a', 'Noon'])
+ m.names(['a', 'maple'])
- m.names(['a', 'Noon', 'a', 'Noon'])

a text without a word gets a letter
m.cut('/', 3)
+ m.cut('/a', 3)
- m.cut('//', 3)

a number of the argument is not zero in a report
m.sizes([11], 5)
+ m.sizes([11], 6)
- m.sizes([11], 0)

a truth stays as it is
m.open('day', True)
+ m.open('maple', True)
- m.open('day', 1)

a text has words and numbers of the argument
m.stay('1 day')
+ m.stay('day')
+ m.stay('1 nights')
+ m.stay('4 day')
- m.stay('1 week')
- m.stay('1 DAY')

a text of both kinds of letters has capitals
m.names('A heron')
+ m.names('A HERON')
- m.names('a heron')

keys of a dictionary stay, and its values are of their keys
m.week({'Mon': 4, 'day': ['b', 'c']})
+ m.week({'Mon': 70, 'day': ['b', 'c']})
+ m.week({'Mon': 4, 'day': ['b', 'x']})
- m.week({'maple': 4, 'day': ['b', 'c']})
- m.week({'Mon': 80, 'day': ['b', 'c']})

a tested call is left out as a replay shows it
list(m.each(6))
+ list(m.each(5))
- list(m.each(7))
- list(m.each(8))

a tested call of an object is left out
m.Nest(5).count(1)
+ m.Nest(5).count(2)
- m.Nest(6).count(1)

a tested last line after others is not
r1 = m.Nest('r1', 5); r1.count(1)
+ r1 = m.Nest('r1', 6); r1.count(1)"""


def test_differences_of_different_test_functions_come_first():
    jobs = [ReplayJob([], last, test) for last, test in (
        ("f(1)", "a"), ("f(2)", "a"), ("g(3)", "b"), ("f(4)", "a"))]
    shown = [SimpleNamespace(right=job) for job in (*jobs, ReplayJob([], "list(h(5))"))]
    assert [one.right.last for one in in_turns(shown, [*jobs, ReplayJob([], "h(5)", "b")])] == [
        "f(1)", "g(3)", "f(2)", "list(h(5))", "f(4)"]


@pytest.mark.parametrize("rule", NEAR.split("\n\n"))
def test_variants_are_near_what_tests_give_an_argument_and_are_no_tested_calls(rule):
    _, code, *variants = rule.split("\n")
    base = Outcome(*vars(script(code)).values(), "value", "str", "")
    found = resembling(base, *known_in(map(script, CALLS.split("\n"))))
    codes = {"; ".join([*one.lines, one.last]) for _, one in found}
    assert [one for one in variants if (one[2:] in codes) == (one[0] == "-")] == []


@pytest.mark.parametrize("code", [
    f"f({' '.join(f'{a}{b}{b}' for a in 'abcdefghijklmn' for b in 'opqrstuvwxyz')!r})",
    f"f({[*range(480)]})"])
def test_a_long_script_has_few_variants_each_once_in_an_order_of_its_own(code):
    base = Outcome([], code, "value", "int", "1")
    seen = {"f 0": {code: code}}
    first, again = ([one.last for _, one in resembling(base, seen, ())] for _ in range(2))
    assert first == again
    assert 99 < len({*first} - {code}) == len(first) < 999


def test_scripts_of_failing_tests_become_cases_with_the_values_of_all_tests():
    trees = {"f": max, "g": abs}, {"f": lambda a, b: max(a, b) + 1, "g": abs}
    cases, entries = found_in(*trees, ["g(7)", "f(50, 1)"], ["f(600, 2)", "f(700, 3)", "f(50, 3)"])
    assert entries["strength"] == {"killed": 3, "tried": 3}
    assert (["f(600, 1)"], "value", "600") in cases and (["f(50, 2)"], "value", "50") in cases
    called = {code for (code,), *_ in cases}
    assert not called & {"f(50, 1)", "f(50, 3)", "f(600, 2)"}   # tests have these calls
    assert not any(code.startswith("g") for code in called)     # it does not show the bug


def test_a_bug_that_only_tested_values_show_is_kept_and_one_that_one_argument_shows_is_weak():
    def cases(wrong):
        right = {"f": lambda a, *rest: a}
        return found_in(right, {"f": wrong}, ["f(50, 6, 7, 8)"])

    alike, about = cases(lambda *given: 0 if given == (50, 6, 7, 8) else given[0])
    assert about == {"cases": {"none": NO_OTHER, "equal": len(alike)}}
    assert any(told != "50" for *_, told in alike)   # so `return 50` fails
    with pytest.raises(Excluded, match=WEAK):
        cases(lambda a, *rest: 0 if rest == (6, 7, 8) else a)


def test_a_held_out_text_has_other_letters_and_digits_in_the_shape_of_a_test_s():
    base, seen = Outcome([], "f('a, bc+12')", "value", "int", "1"), {"f 0": {"d": "de-f"}}
    odd = {one.last for _, one in resembling(base, seen, (), edits=True)}
    assert {"f('a, cb+12')", "f('a, BC+12')", "f('a, de+12')", "f('a, bc+45')"} <= odd
    shapes = {re.sub(r"\d+", "0", re.sub("[a-zA-Z]+", "a", one)) for one in odd}
    assert shapes == {"a('a, a+0')", "a('a-a')"}   # 'bc++12' and 'bc01' are outside of the contract


def test_no_case_calls_a_private_name_and_the_reason_why_there_is_none_is_true():
    trees = {"_f": abs, "g": abs}, {"_f": lambda n: 0, "g": abs}
    for failing, reason in (([], NO_SCRIPT), (["_f(8)"], NO_SCRIPT), (["g(8)"], NO_CALL)):
        assert found_in(*trees, failing) == ([], {"cases": {"none": reason}})


VALUES = """{'b': 1, 'a': (2.0,)} == {'a': (2.0000000000001,), 'b': 1}
{'b': True, 'a': 0} == {'a': 0, 'b': True}
<Fare 3> == <Fare 3>
[1, 2] != [1]
[0.1] != [0.2]
(1,) != [1]
{'a': 1} != {'b': 1}
'a' != 'b'
True != 1
[True, 1] != [1, True]
[0, {'a': False}] != [0, {'a': 0}]"""


@pytest.mark.parametrize("row", [*VALUES.split("\n"), f"{'[' * 9999} == {'[' * 9999}"])
def test_a_case_compares_values(row):
    text, sign, expected = re.split(" ([=!])= ", row)
    assert is_expected({"kind": "value", "text": text}, ["value", expected]) == (sign == "=")
    assert not is_expected({"kind": "raises", "type": text, "text": ""}, ["value", expected])


def test_a_case_compares_types_of_exceptions_and_takes_no_answer_of_another_form():
    expected = ["raises", "KeyError: 'x': y"]
    for found in (["KeyError", "LookupError"], ["Missing", "KeyError", "LookupError"]):
        assert is_expected({"kind": "raises", "mro": found, "text": "other"}, expected)
    for answer in (None, [], "KeyError", {}, {"kind": "raises", "mro": ["LookupError"]},
                   {"kind": "raises", "mro": 7}, {"kind": [], "mro": ["KeyError"]}):
        assert not is_expected(answer, expected)


def test_scripts_of_cases_cannot_read_what_has_to_come_of_them():
    files = case_files([(["import m", "m.f(1)"], "value", "'told'"),
                        (["m.g()"], "raises", "KeyError: 'told'")])
    assert "told" not in files["cases/jobs.json"]
    assert json.loads(files["cases/expected.json"]) == [
        ["value", "'told'"], ["raises", "KeyError: 'told'"]]
    assert json.loads(files["cases/jobs.json"])["imports"] == ["import m"]


@pytest.mark.docker
def test_a_verifier_refuses_what_is_right_for_the_tests_alone(heron):
    """Grade the gold, another right repair, and wrong ones that the tests of heron reward."""
    task = prove(environment_of(), BUG, "i.held.1", HeldOutCases().of)
    expected = json.loads(content_of(task.tests["cases/expected.json"]))
    assert len(expected) == sum(task.proof["cases"].values())
    assert task.proof["strength"]["killed"] > 1
    grader = Grader(factory_of(), task, image_of(task), RUN)

    def reward(line: str) -> float:
        script = "cd /testbed && python3 - <<'END'\ntext = open('heron.py').read()\n" \
            f"open('heron.py', 'w').write(text.replace({BUG_LINE!r}, {line!r}))\nEND\n"
        return grader.grade(grader.work(script)[0]).reward

    try:
        assert reward("    return [w for w in said.split() if w.isalpha() and w == w.lower()]") == 1
        for wrong in (f"{BUG_LINE[:-1]} if word not in ('A', 'Z', 'Q')]",
                      f"{BUG_LINE[:-1]} if len(word) > 1]"):
            assert reward(wrong) == 0
    finally:
        engine.connect().remove_image(image_of(task), force=True)


@pytest.mark.docker
def test_what_nothing_else_can_show_has_no_cases(heron):
    """In fly(), which takes nothing, nothing can vary."""
    patch = diff('    return "away"', '    return "home"')
    run = first_run(environment_of(), patch, factory_of(), RUN, ScreeningRules(0.5))
    assert cases_of(patch, run, environment_of()) == (
        [], {"cases": {"none": NO_OTHER, "equal": 0}})
