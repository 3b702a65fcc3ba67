"""Check what gives a change away, and that changes which look like it pass."""

import pytest
from line_tables import toml_beside

from codedata.bugs.giveaways import giveaways
from codedata.texts import toml_of

TABLES = (toml_of("codedata.bugs", "giveaways.toml"),
          toml_beside(__file__, "giveaway_cases.toml"))
CASES = [(language, case) for table in TABLES for language in table for case in table[language]]
ENDS = {"python": "a.py", "javascript": "a.ts"}


@pytest.mark.parametrize("language, case", CASES)
def test_each_rule_finds_its_example_and_lets_what_is_like_it_pass(language, case):
    before, after, passes, same = ({ENDS[language]: text.encode()} for text in (
        case["before"], case["after"], case["passes"], case["after"] + "\n"))
    assert case["says"] in "".join(giveaways(before, {**after, "new.py": b"x + x"}))
    assert giveaways(before, passes) == giveaways(after, same) == []


def test_a_name_that_tests_report_as_missing_counts_if_only_the_change_has_it():
    before, after = {"a.py": b"def f(a): a.full"}, {"a.py": b"def f(a): a.fully"}
    log = "AttributeError: 'A' object has no attribute '{}'"
    assert giveaways(before, after, log.format("fully")) == ["a.py: fully does not exist"]
    assert giveaways(before, after, log.format("full") + log.format("other")) == []
