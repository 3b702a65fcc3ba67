"""Test reports that are made without a model of what failing tests print."""
from __future__ import annotations

import pytest
from proven import a_bug

from codedata.bugs.issue_checks import Hidden
from codedata.bugs.issue_templates import f2p_report
from codedata.errors import ItemFailed
from codedata.texts import toml_of

PROFILES = toml_of("codedata.bugs", "profiles.toml")["profiles"]
LOG = """_____ test_wade[1] _____
tests/test_heron.py:7: in test_wade
    assert herons == [2, 4]
E   AssertionError: assert [1, 2] == [2, 4]
E
E     At index 0 diff: 1 != 2
E
E     Full diff (-: missing in left side, +: extra in left side)
""".replace("E\n", "E     \n")


def reported(log: str, profile: str = "terse", documented=("wade",), **more) -> tuple[str, str]:
    bug = a_bug(symbol="heron.py::wade", evidence={"log": log}, **more)
    return f2p_report(bug, PROFILES[profile], Hidden(bug, frozenset(documented)))


@pytest.mark.parametrize("profile", PROFILES)
def test_a_report_quotes_what_the_test_finds_wrong(profile):
    form, text = reported(LOG, profile)
    assert form == "failure"
    assert "    assert [1, 2] == [2, 4]\n      At index 0 diff: 1 != 2" in text
    assert "test_heron" not in text and "assert herons" not in text and "wade" in text
    assert text == reported(LOG, profile)[1]


@pytest.mark.parametrize(("log", "shown"), [
    ("E   assert 3 == 0\nE    +  where 3 = len(<heron.Heron object at 0x7f2b16f1dd10>)\n",
     "where 3 = len(<heron.Heron object at 0x7f3a5c0e9d30>)"),
    ("E   AssertionError: no /testbed/heron/legs.py here\n", "    no … here\n"),
    ("E   Failed: DID NOT RAISE <class 'ValueError'>\n", "    DID NOT RAISE <class 'ValueError'>"),
    # what tells of the test or of what is private goes, and the first line stays
    ("E   assert 1 == 2\nE    +  where 1 = _legs(2)\n", "    assert 1 == 2\n\n"),
    ("E   assert 1 == 2\nE    +  where 1 = test_wade(2)\n", "    assert 1 == 2\n\n"),
    ("E   assert environ({'CODEDATA_ENV': 'a'}) == 2\n-\nE   assert 1 == 2\n", "assert 1 == 2\n"),
    # the longest that may be shown
    ("E   assert _x\n-\nE   assert 1 == 2\n-\nE   assert 10 == 20\n", "    assert 10 == 20\n"),
    ("E   assert 1 == 2\n-\n" + "E   assert 30 == 31\n" * 20, "    assert 30 == 31\n\n")])
def test_of_several_the_longest_is_taken_that_shows_nothing_hidden(log, shown):
    form, text = reported(log)
    assert form == "failure" and shown in text


def test_an_exception_is_for_the_template_and_so_is_a_test_that_says_nothing():
    assert reported("E   ValueError: too deep\n")[0] == "name_and_error"
    assert reported("not ok 1 - legs\n")[0] == "name"
    with pytest.raises(ItemFailed, match="would say nothing"):
        reported("E   assert _legs\n", documented=("heron",))
