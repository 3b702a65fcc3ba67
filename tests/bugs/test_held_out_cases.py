"""Test which calls become held-out cases of bugs, and what they decide."""
from __future__ import annotations

import json
from operator import neg
from types import SimpleNamespace

import pytest
from proof_heron import (
    BUG,
    BUG_LINE,
    RUN,
    diff,
    environment_of,
    factory_of,
    prove,
)
from proof_heron import heron as heron  # a fixture

from codedata.bugs.issue_facts import WEAK, Differences, resembling, slots_of
from codedata.disk.layouts import content_of
from codedata.errors import Excluded
from codedata.sandbox.docker import engine
from codedata.suites.recorded_calls import Event, Outcome
from codedata.tasks.folder.folder import image_of
from codedata.tasks.prove.grade import Grader
from codedata.tasks.verifier.suite import is_expected


def test_variants_have_the_types_and_signs_and_words_that_tests_give_an_argument():
    def event(n: int, expr: str) -> Event:
        return Event(n, "t", "call", expr, "f", [], [], "", "str", None)

    def changed(last: str) -> set[str]:
        base = Outcome(["import m"], last, "value", "str", "''")
        return {one.last for _, one in resembling(base, seen, ())}

    seen = slots_of([event(1, "m.f('2 nights', n=4, at=[7])"), event(2, "m.f('day', n=9)"),
                     event(3, "m.g('week', m.f('Noon'))")], Outcome.literals)
    assert changed("m.f(None, 'k', -2)") == {
        f"m.f(None, 'k', {n})" for n in (-1, -3, -6, -21, -202)}
    assert changed("m.h('day', True)") == {"m.h('ayd', True)", "m.h('dayday', True)"}
    found = changed("m.f('1 day')")
    assert {"m.f('day')", "m.f('1 nights')", "m.f('4 day')", "m.f('11 day')"} <= found
    assert not any("week" in one for one in found)
    assert changed("m.f(x, n=4)") == {f"m.f(x, n={n})" for n in (3, 5, 9, 12, 41, 204)}
    assert changed("m.h(['a', b])") == {"m.h(['a', b, 'a', b])"}


@pytest.mark.parametrize("code", [
    f"f({' '.join(f'{a}{b}{b}' for a in 'abcdefghijklmn' for b in 'opqrstuvwxyz')!r})",
    f"f({[*range(480)]})"])
def test_a_long_script_has_few_variants_each_once_in_an_order_of_its_own(code):
    base = Outcome([], code, "value", "int", "1")
    seen = {"f 0": [code]}
    first, again = ([one.last for _, one in resembling(base, seen, ())] for _ in range(2))
    assert first == again
    assert 99 < len({*first} - {code}) == len(first) < 999


@pytest.mark.parametrize("name", ["tests/test_m.py::A::test_x[a/b]", "tests.test_m.A::test_x[a/b]"])
def test_the_calls_of_a_failing_test_are_found_by_each_name_of_it(name):
    def replay(tree, jobs, *_, **__):
        return [Outcome(lines, last, "value", "int", str(eval(last, {"f": tree})))
                for job in jobs for lines, last in job.tries]

    event = Event(1, "tests/test_m.py::A::test_x[a/b]", "call", "f(3)", "f", [], [], "", "int", "")
    bug = Differences(SimpleNamespace(replay=replay), abs, neg, "")
    assert bug.held_out([event], [name])[0]
    assert not bug.held_out([event], ["test_x"])[0]


@pytest.mark.parametrize("text, expected, is_right", [
    ("{'b': 1, 'a': (2.0,)}", "{'a': (2.0000000000001,), 'b': 1}", True), ("[1, 2]", "[1]", False),
    ("[0.1]", "[0.2]", False), ("<Fare 3>", "<Fare 3>", True), ("(1,)", "[1]", False),
    ("{'a': 1}", "{'b': 1}", False), ("'a'", "'b'", False), ("[" * 9999, "[" * 9999, True)])
def test_a_case_compares_values(text, expected, is_right):
    assert is_expected({"kind": "value", "text": text}, ["value", expected]) == is_right
    assert not is_expected({"kind": "raises", "type": text, "text": ""}, ["value", expected])


def test_a_case_compares_types_of_exceptions_and_takes_no_answer_of_another_form():
    expected = ["raises", "KeyError: 'x': y"]
    assert is_expected({"kind": "raises", "type": "KeyError", "text": "other"}, expected)
    for answer in (None, [], "KeyError", {}, {"kind": "raises", "type": "ValueError"},
                   {"kind": "raises", "type": {}}, {"kind": [], "type": "KeyError"}):
        assert not is_expected(answer, expected)


@pytest.mark.docker
def test_a_verifier_refuses_what_is_right_for_the_tests_alone(heron):
    """Grade the gold, another right repair, and wrong ones that the tests of heron reward."""
    task = prove(environment_of(), BUG)
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
def test_a_bug_is_left_out_whose_cases_no_wrong_repair_fails(heron):
    """In fly(), which takes nothing, nothing can vary."""
    with pytest.raises(Excluded, match=WEAK):
        prove(environment_of(), diff('    return "away"', '    return "home"'))
