"""Check which failing test a report shows, by the messages in recorded reports of runners
(runner_messages.toml)."""
import random

import pytest
from line_tables import toml_beside
from reported_heron import BUG_PATCH, GOLD

from codedata.errors import Excluded
from codedata.issues.failing_test import failure_report, messages_in
from codedata.issues.proven_bug import ProvenBug

CASES = toml_beside(__file__, "runner_messages.toml")["case"]
TITLE, MESSAGE = "wade() > to the knee", "Expected: 3\nReceived: 4"
BUG = ProvenBug("heron.x.0123abcd", "birds/heron", "javascript", "", GOLD, BUG_PATCH,
                ["t.js::wade()%20>%20to%20the%20knee", "t.js::deep"])


@pytest.mark.parametrize("case", CASES, ids=[case["path"] for case in CASES])
def test_messages_are_read_without_the_stack(case):
    assert messages_in({case["path"]: case["report"].encode()}) == case["expected"]


def report(messages, second=None, fixed=(), shown="wade()", n_cases=1) -> str:
    runs = messages, second or messages, fixed
    return failure_report(BUG, shown, runs, random.Random(1), n_cases)[1]


def test_the_clearest_message_is_shown_with_its_title():
    text = report({"deep": "Expected: true\nReceived: false", TITLE: MESSAGE, "eep": "Error: x"})
    assert "wade() to the knee" in text and "    Expected: 3\n    Received: 4" in text


def test_a_request_shows_further_messages():
    messages = {TITLE: MESSAGE, "deep": "Expected: 15\nReceived: 6", "eep": "Error: x"}
    text = report(messages, n_cases=2)
    assert text == f"{report(messages)}\nAnother case: deep\n\n    Expected: 15\n    Received: 6\n"


@pytest.mark.parametrize("runs", [
    [{}], [{TITLE: ""}], [{TITLE: "x" * 601}], [{"of no proven test": MESSAGE}],
    [{TITLE: MESSAGE}, {TITLE: "Expected: 3\nReceived: 5"}], [{TITLE: MESSAGE}, None, {TITLE: ""}],
    [{TITLE: "_pace_of is no function"}], [{TITLE: "see LEG_CM"}]])
def test_what_varies_or_is_not_of_the_bug_or_names_the_fix_is_no_report(runs):
    with pytest.raises(Excluded, match="no report: no report of its test runner"):
        report(*runs)


def test_a_name_of_the_fix_is_shown_if_a_test_demands_it():
    assert "LEG_CM" in report({TITLE: "see LEG_CM"}, shown="wade() expect(LEG_CM)")
