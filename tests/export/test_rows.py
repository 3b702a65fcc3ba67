"""Check that export.py refuses the rows that a trainer would take without a word."""
from __future__ import annotations

import pytest
from judged import SYSTEM, history, turn_of

from codedata.export.formats import FORMATS, row_problem


def said(content) -> dict:
    return {"role": "assistant", "content": content}


RULES, USER = {"role": "system", "content": SYSTEM}, {"role": "user", "content": "task"}
SAID, OTHER = said(turn_of("ls")), said(turn_of("pwd"))


def a_row(form: str, **fields) -> dict:
    texts = dict.fromkeys(
        ("instance_id", "repo", "language", "licence", "source", "bucket", "side"), "x")
    row = {"messages": [USER, SAID], "prompt": [USER], "completion": [SAID], "chosen": [SAID],
           "rejected": [OTHER],
           "label": True, "score": 90.0, **texts, **fields}
    return {name: row[name] for name in FORMATS[form].columns}


def problem(form: str, row: dict, **more):
    found = row_problem(FORMATS[form], row, **more)
    return found and found[0]


@pytest.mark.parametrize("messages", [
    [USER], [RULES, USER], history("x", 3),
], ids=["user", "system first", "long"])
def test_what_is_accepted(messages):
    assert problem("sft_messages", a_row("sft_messages", messages=[*messages, SAID])) is None
    for form in ("sft_completion", "dpo", "kto"):
        assert problem(form, a_row(form, prompt=messages)) is None


@pytest.mark.parametrize("messages, reason", [
    ([USER], "roles"), ([SAID], "roles"), ([], "roles"), ([USER, SAID, USER], "roles"),
    ([USER, {"role": "tool", "content": "out"}, SAID], "roles"), ([USER, USER, SAID], "roles"),
    ([USER, SAID, SAID], "roles"), ([SAID, USER, SAID], "roles"),
    ([USER, RULES, SAID], "roles"),
    ([RULES, SAID], "roles"),
    ([{"role": "System", "content": "s"}, USER, SAID], "roles"),
    ([USER, said(None)], "empty message"),
    ([USER, said("")], "empty message"),
    ([{"role": "user", "content": " \n"}, SAID], "empty message"),
    ([USER, said("I would run ls.")], "no well-formed turn"),
    ([USER, said(turn_of("ls") + turn_of("ls"))], "no well-formed turn"),
    ([USER, said("<think>hm</think>" + turn_of("ls"))], "no well-formed turn"),
])
def test_a_conversation_that_trl_would_take_in_silence_is_refused(messages, reason):
    assert problem("sft_messages", a_row("sft_messages", messages=messages)) == reason


@pytest.mark.parametrize("form, fields, reason", [
    ("dpo", {"rejected": [SAID]}, "chosen is rejected"),
    ("dpo", {"rejected": [said(turn_of("ls") + "\n")]}, "chosen is rejected"),
    ("dpo", {"rejected": [said(None)]}, "empty message"),
    ("dpo", {"chosen": []}, "roles"), ("dpo", {"chosen": [SAID, USER, SAID]}, "roles"),
    ("dpo", {"prompt": [USER, SAID]}, "roles"), ("kto", {"completion": [USER]}, "roles"),
    ("kto", {"label": 1}, "label"), ("kto", {"label": 0}, "label"),
    ("kto", {"label": None}, "label"),
    ("kto", {"label": "true"}, "label"), ("sft_completion", {"completion": [SAID, SAID]}, "roles"),
])
def test_a_bad_pair_or_label_is_refused(form, fields, reason):
    assert problem(form, a_row(form, **fields)) == reason


def test_a_row_of_other_columns_is_refused():
    row = a_row("dpo")
    del row["rejected"]
    assert problem("dpo", row) == "columns"


def test_too_long_is_told_by_the_longer_of_two_conversations():
    n = len(USER["content"]) + len(OTHER["content"])
    assert problem("dpo", a_row("dpo"), max_chars=n) is None
    assert problem("dpo", a_row("dpo"), max_chars=n - 1) == "over max_chars"


def test_a_pair_of_very_unequal_lengths_is_refused_where_that_is_asked_for():
    row = a_row("dpo", chosen=[said(turn_of("ls", "I look. " * 40))])
    assert problem("dpo", row) is None and problem("dpo", row, max_ratio=20.0) is None
    assert problem("dpo", row, max_ratio=2.0) == "over dpo_max_length_ratio"
