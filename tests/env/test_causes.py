"""Check that each kept log of a failure is given its cause and the line that says why."""

import pytest
from line_tables import toml_beside

from codedata.env.causes import Cause, cause_of

LOGS = toml_beside(__file__, "failure_logs.toml")


@pytest.mark.parametrize("row", LOGS["log"], ids=lambda row: row["name"])
def test_a_kept_log_is_given_its_cause_and_the_line_that_says_why(row):
    assert cause_of(row["phase"], row["log"]) == Cause(row["cause"], row["evidence"])
