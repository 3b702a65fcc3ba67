"""Check what gives a change away, and that changes which look like it pass."""
from __future__ import annotations

import pytest

from codedata.bugs.generate import candidate_of
from codedata.bugs.giveaways import giveaways, missing_names
from codedata.texts import toml_of

RULES = [(language, rule) for language, rules in toml_of(
    "codedata.bugs", "giveaways.toml").items() for rule in rules]
ENDS = {"python": "a.py", "javascript": "a.ts"}
CLOSE = "def f(a):\n    # {}\n    {}\n    return a\n"
TABLE = "N = {{\n    'a': 1,\n    'b': 2,\n    'c': {},\n    'd': 4,\n}}\n"
CALLS = "def f(a, b, c, d):\n    g(b, None)\n    g(a, None)\n    g({})\n    g(d, None)\n"
LINES = [   # (what is said, before, after, a change of `before` that passes)
    ("the statement of a comment is gone: # shut it", CLOSE.format("shut it", "a.close()"),
     "def f(a):\n    # shut it\n    return a\n", "def f(a):\n    return a\n"),
    ("the statement of a comment is gone: # late", "def f(a):\n    a.b = 1  # late\n    return a\n",
     "def f(a):\n    # late\n    return a\n", "def f(a):\n    a.b = 2  # late\n    return a\n"),
    ("a comment still names retries", CLOSE.format("reset retries", "a.retries = 0"),
     CLOSE.format("reset retries", "a.limits = 0"), CLOSE.format("reset retries", "a.retries = 1")),
    ("a row differs from those beside it: 'c': 5,", TABLE.format(3), TABLE.format(5),
     TABLE.format(3).replace("4,", "4,\n    'e': 5,")),
    ("a row differs from those beside it: g(c)", CALLS.format("c, None"), CALLS.format("c"),
     CALLS.format("d, None")),
    ("imported but unused", "import os\nx = os.path\n", "import os\nx = 1\n",
     "import os\nx = os.sep\n"),
    ("undefined name 'width'", "def f(a):\n    return a\n", "def f(a):\n    return width\n",
     "def f(a):\n    return f\n")]


def given_away(before: str, after: str, path: str = "a.py") -> str:
    return "\n".join(giveaways({path: before.encode()}, {path: after.encode(), "new.py": b"x + x"}))


@pytest.mark.parametrize(("language", "rule"), RULES, ids=lambda one: str(one)[:40])
def test_each_rule_finds_its_example_and_lets_what_is_like_it_pass(language, rule):
    path, before = ENDS[language], rule["before"]
    assert rule["says"] in given_away(before, rule["after"], path)
    assert given_away(before, rule["passes"], path) == ""
    assert given_away(rule["after"], rule["after"] + "\n", path) == ""   # it was there before


@pytest.mark.parametrize(("says", "before", "after", "passes"), LINES)
def test_lines_around_a_change_give_it_away(says, before, after, passes):
    assert says in given_away(before, after)
    assert given_away(before, passes) == ""


def test_a_name_that_tests_report_as_missing_counts_if_only_the_change_has_it():
    before, after = b"def f(a):\n    return a.full\n", b"def f(a):\n    return a.fully\n"
    diff = candidate_of({"a.py": before}, {"a.py": after}, "", "", "")["diff"]
    log = "AttributeError: 'A' object has no attribute '{}'"
    assert missing_names(diff, log.format("fully")) == ["fully"]
    assert missing_names(diff, log.format("full") + log.format("other")) == []
