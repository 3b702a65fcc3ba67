"""What a bug's runs are evidence for."""
from dataclasses import replace

import pytest
from proven import a_bug

from codedata.checks.evidence import PROVEN, matches_evidence


@pytest.mark.parametrize("name", PROVEN)
def test_an_edit_of_what_was_proven_is_noticed(name):
    edited = ["t.py::c"] if name.endswith("PASS") else "edited"
    assert matches_evidence(a_bug())
    assert not matches_evidence(replace(a_bug(), **{name: edited}))


def test_an_edited_report_is_as_proven_as_before():
    assert matches_evidence(replace(a_bug(), problem_statement="my own words", hints_text="none"))


def test_a_bug_without_evidence_is_not_proven():
    assert not matches_evidence(replace(a_bug(), evidence={}))
