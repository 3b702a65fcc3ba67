"""Test which calls become held-out cases, what wrong repairs are written, and what they decide."""
from __future__ import annotations

import json
import os
import subprocess
import sys

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

from codedata.disk.layouts import content_of
from codedata.errors import Excluded
from codedata.sandbox.docker import engine
from codedata.suites.recorded_calls import Event, Outcome
from codedata.tasks.folder.folder import image_of
from codedata.tasks.prove.grade import Grader
from codedata.tasks.screen.held_out import WEAK, slots_of, variants
from codedata.tasks.screen.wrong_repairs import wrong_repairs
from codedata.tasks.verifier.suite import is_expected

RIGHT = '''"""Fares."""
from __future__ import annotations


def fare(zones, child=False):
    total = 0
    for zone in zones:
        total += 3 if zone > 2 else 1
    if child:
        total /= 2
    return total
'''
CALLS = ("fare([1, 3])", "fare([1, 5])", "fare([4])", "fare([4, 4, 1], child=True)")


def outcomes(text: str, way: str, *calls: str) -> list[str]:
    """Return what calls give in a file, each in a process of its own."""
    return [subprocess.run(
        [sys.executable, "-c", f"{text}\nprint({call})"], capture_output=True, text=True,
        check=True, env={**os.environ, "CODEDATA_WAY": way}).stdout.strip() for call in calls]


@pytest.mark.parametrize("old, new, ways", [
    ("zone > 2", "zone > 9", {"all": "4 2 1 1.5", "zone": "4 2 1 1.5", "first": "2 2 3 2.5"}),
    ("total = 0", "total = 1", {"all": "4 5 4 4.0", "zones": "4 5 4 4.0", "child": "4 5 4 4.0",
                                "drop 0": "0 0 0 0.0", "drop 1": "4 4 3 7"}),
    ("    if child:\n        total /= 2\n", "", {"all": "4 4 3 7", "child": "4 4 3 7"}),
    ("child=False", "child=True", None),
    ("def fare", "fares = 1\n\n\ndef fare", None)])
def test_a_wrong_repair_is_right_for_noted_values_once_or_without_a_step(tmp_path, old, new, ways):
    right, wrong = RIGHT.encode(), RIGHT.replace(old, new).encode()
    found = wrong_repairs({"fare.py": right}, {"fare.py": wrong})
    if ways is None:
        assert found is None
        return
    assert [*found.ways, *found.unsure] == [*ways]
    text = found.text.decode().replace("/tmp/codedata-seen", str(tmp_path / "seen"))
    assert outcomes(text, "note", CALLS[0]) == ["4"]
    assert {way: " ".join(outcomes(text, way, *CALLS)) for way in ways} == ways


def test_variants_have_the_types_and_signs_and_words_that_tests_give_an_argument():
    def event(n: int, expr: str) -> Event:
        return Event(n, "t", "call", expr, "f", [], [], "", "str", None)

    def changed(last: str) -> set[str]:
        base = Outcome(["import m"], last, "value", "str", "''")
        return {one.last for one in variants(base, slots)}

    slots = slots_of([event(1, "m.f('2 nights', n=4, at=[7])"), event(2, "m.f('day', n=9)"),
                      event(3, "m.g('week', m.f('Noon'))")])
    assert changed("m.f(True, None, 'k', -2)") == {
        f"m.f(True, None, 'k', {n})" for n in (-1, -3, -6, -12, -22)}
    assert changed("m.h('day')") == {"m.h('ayd')", "m.h('dayday')"}
    found = changed("m.f('1 day')")
    assert {"m.f('day')", "m.f('1 nights')", "m.f('4 day')", "m.f('11 day')"} <= found
    assert not any("week" in one for one in found)
    assert "m.f(x, n=9)" in changed("m.f(x, n=4)") and changed("m.f({'k': 1})") == {
        f"m.f({{'k': {n}}})" for n in (2, 3, 11, 21)}
    assert changed("m.f([1, 2])") > {"m.f([1, 2, 1, 2])", "m.f([2, 1])", "m.f([1])"}


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
    assert len(expected) == task.proof["cases"]["n"] and task.proof["strength"]["killed"] > 1
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
