"""Test what a report or a reproduction may not show, and how outputs are made fit to be quoted."""
import pytest
from line_tables import rows
from reported_heron import GOLD, a_bug

from codedata.issues.issue_checks import Hidden, names_used, shown_output
from codedata.issues.issue_report import ReproductionRun
from codedata.issues.proven_bug import ProvenBug

SCRIPT = "reproduce.py"


def hidden(*documented: str, **fields) -> Hidden:
    return Hidden(ProvenBug.of(a_bug(**fields)), frozenset(documented))


@pytest.mark.parametrize("test, names", rows("""
tests/test_wade.py::TestDeep::test_a[x%20y::z]  | test_wade, test_a
parse%20>%20reads%20flat%20keys                 | reads flat keys
a%20missing%20value%20is%20empty%20(2)          | a missing value is empty
test/test_roman.py::FromRoman::test_grüße[%5B-] | test_roman, test_grüße
SpanSet%20>%20merges                            |
a::SpanSet                                      | SpanSet
TestGet/of_nothing                              | TestGet/of_nothing
wade                                            |
"""))
def test_names_of_tests_are_known_in_the_form_of_each_runner(test, names):
    assert hidden(FAIL_TO_PASS=[test]).tests == {*names.split(", ")} - {""}


def test_a_name_that_documentation_or_reproduction_shows_is_no_leak():
    text = "`LEG_CM` and heron/wading.py, line 11, and `_pace_of`"
    assert len(hidden().in_report(text, "")) == 7   # three of them also as facts of leak/
    assert hidden("LEG_CM").in_report("Set `LEG_CM`.", "") == []
    assert hidden("_pace_of").in_report("Call `_pace_of()`.", "") == []
    assert hidden().in_report(text, f"print('{text}')") == []


def test_a_sentence_of_a_hidden_test_bars_a_report_unless_the_reproduction_shows_it():
    told = "It is only knee deep in mud."
    bug = hidden(hidden={"tests/test_mud.py": '    assert wade(35) == "only knee deep in mud"\n'})
    assert bug.in_report(told, "") == [
        "the literal 'only knee deep in mud', a text of the pull request"]
    assert bug.in_report(told, told) == [] == hidden().in_report(told, "")


def test_what_is_found_stands_in_one_order_so_that_a_killed_run_asks_the_same():
    names = [f"_{letter}" for letter in "fbdeca"]
    said = [f"the private name {name!r}" for name in sorted(names)]
    assert hidden().in_script(" ".join(names)) == said
    assert hidden().in_report(" ".join(names), "") == said


def test_plain_words_count_as_names_only_where_they_are_written_as_code():
    assert names_used("The depth is fine.") == set()
    assert names_used("`depth`, pace(3), heron.wade and IndexedSet") == {
        "depth", "pace", "wade", "IndexedSet"}
    assert names_used("```python\nx = depth\n```\n") == {"x", "depth"}


def test_words_of_the_language_are_no_names_of_the_fix():
    patch = GOLD.replace("LEG_CM - 10:", "len(depth) is None:")
    assert hidden(patch=patch).in_report("`len(x)` is None, see ValueError", "") == []


def test_tracebacks_lose_the_frames_of_the_source_and_keep_the_others():
    output = """Traceback (most recent call last):
  File "/testbed/reproduce.py", line 3, in <module>
    wade(33)
  File "/testbed/heron/wading.py", line 8, in wade
    return _pace_of(depth)
           ^^^^^^^^^^^^^^^
  [Previous line repeated 3 more times]
  File "heron/wading.py", line 12, in _pace_of
    raise ValueError
  File "/usr/lib/python3.11/json/decoder.py", line 355, in raw_decode
    raise JSONDecodeError
heron.DeepError: at 0x7f0011223344, in /tmp/tmpab12/x and /testbed/heron/wading.py:12
"""
    assert shown_output(output, "/testbed", SCRIPT) == """Traceback (most recent call last):
  File "reproduce.py", line 3, in <module>
    wade(33)
  File "/usr/lib/python3.11/json/decoder.py", line 355, in raw_decode
    raise JSONDecodeError
heron.DeepError: at 0x7f3a5c0e9d30, in /tmp/tmp4x1z and …"""
    node = "TypeError: x\n    at parse (/testbed/src/index.js:3:5)\n    at node:internal/main:1:2\n"
    assert shown_output(node, "/testbed", SCRIPT) == "TypeError: x\n    at node:internal/main:1:2"
    group = ('  | Traceback (most recent call last):\n'
             '  |   File "/testbed/heron/a.py", line 3, in f\n  |     g()\n'
             "  | ValueError: deep\n  +----")
    assert shown_output(group, "/testbed/", SCRIPT) == (
        "  | Traceback (most recent call last):\n  | ValueError: deep\n  +----")
    # the blanks that an output begins with stay
    assert str(ReproductionRun(1, shown_output("\n  0 min\n 10 min \n", "/testbed", SCRIPT))) == (
        "  0 min\n 10 min\n[exit code 1]")
    assert str(ReproductionRun(0, "")) == "(nothing)"
