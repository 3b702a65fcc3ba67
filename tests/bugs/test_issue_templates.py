"""Test reports that are made without a model of what failing tests print."""
from __future__ import annotations

import re
from dataclasses import replace

import pytest
from proven import a_bug

from codedata.bugs.instances import ProvenBug
from codedata.bugs.issue_checks import Hidden
from codedata.bugs.issue_templates import f2p_report, template_report
from codedata.errors import Excluded
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
    bug = ProvenBug.of(a_bug(proof={"log": log}, **more))
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
    ("E   assert 1 == 2\nE    +  where 1 = test_none(2)\n", "    assert 1 == 2\n\n"),
    ("E   assert environ({'CODEDATA_ENV': 'a'}) == 2\n-\nE   assert 1 == 2\n", "assert 1 == 2\n"),
    # the longest that may be shown
    ("E   assert _x\n-\nE   assert 1 == 2\n-\nE   assert 10 == 20\n", "    assert 10 == 20\n"),
    ("E   assert 1 == 2\n-\n" + "E   assert 30 == 31\n" * 20, "    assert 30 == 31\n\n")])
def test_of_several_the_longest_is_taken_that_shows_nothing_hidden(log, shown):
    form, text = reported(log)
    assert form == "failure" and shown in text


def test_an_exception_is_for_the_template():
    assert reported("E   ValueError: too deep\n")[0] == "name_and_error"


ASSERTED, RAISES = "E   assert 1 == 2\n", "E   heron.Wet: _legs\n"
DENIAL = "No error|without an error|no error|Nothing is raised"


@pytest.mark.parametrize("profile", PROFILES)
def test_no_report_denies_an_error_that_a_test_ends_in_or_may_end_in(profile):
    bug = ProvenBug.of(a_bug(proof={"log": ASSERTED}))
    known = Hidden(bug, frozenset(["wade"]))
    form, text = template_report(bug, PROFILES[profile], known)
    assert form == "name" and re.search(DENIAL, text)
    for log in (RAISES, ASSERTED + "-\n" + RAISES, "E   Wet\n", "E   Wet: codedata\nE   Wet\n"):
        text = reported(log, profile, FAIL_TO_PASS=["a", "b"])[1]
        assert not re.search(DENIAL, text) and ("assert" in text or "Wet" in text)
    two = replace(bug, FAIL_TO_PASS=["a", "b"])   # the log may lack the other one
    with pytest.raises(Excluded, match="no report"):
        template_report(two, PROFILES[profile], known)


@pytest.mark.parametrize("log", ["not ok 1 - legs\n", "E   assert _legs\n", "E   assert False\n",
                                 RAISES, "E   Failed: Timeout (>60.0s)\n"])
def test_a_text_without_a_fact_is_no_report(log):
    # what to do has to stand in what a screen has of a reason
    with pytest.raises(Excluded, match=r"no report.{,100}--issue-writer llm --refresh"):
        reported(log, documented=("heron",))
