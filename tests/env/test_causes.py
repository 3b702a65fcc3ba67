"""Check that each kept log of a failure is given its cause and the line that says why."""

import pytest
from line_tables import toml_beside

from codedata.env.causes import Cause, cause_of

LOGS = toml_beside(__file__, "failure_logs.toml")


@pytest.mark.parametrize("row", LOGS["log"], ids=lambda row: row["name"])
def test_a_kept_log_is_given_its_cause_and_the_line_that_says_why(row):
    assert cause_of(row["phase"], row["log"]) == Cause(row["cause"], row["evidence"])


@pytest.mark.parametrize("log", [
    "tide turns\n\x1b[0m\x1b[0m\n", "tide turns\r\n\x1b(B\x1b[m\x0f",
    "\x1b]8;;https://example.org\x07tide turns\x1b]8;;\x1b\\", "50 %\rtide turns\n--\n",
    "\x1b[1G\x1b[0K|\x1b[1G\x1b[0Ktide turns"])
def test_evidence_is_never_an_escape_sequence(log):
    assert cause_of("install", log) == Cause("other", "tide turns")
