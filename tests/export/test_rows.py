"""Check that export.py refuses the rows that a trainer would take without a word."""
import pytest
from line_tables import rows
from root import SYSTEM, turn_of

from codedata.export.formats import FORMATS, row_problem


def said(content) -> dict:
    return {"role": "assistant", "content": content}


RULES, USER = {"role": "system", "content": SYSTEM}, {"role": "user", "content": "task"}
LS = turn_of("ls")
SAID, OTHER = said(LS), said(turn_of("pwd"))
MESSAGES = {"user": USER, "rules": RULES, "said": SAID, "null": said(None), "empty": said(""),
            "tool": {"role": "tool", "content": "out"},
            "System": {"role": "System", "content": "s"},
            "blank": {"role": "user", "content": " \n"}, "prose": said("I would run ls."),
            "twice": said(LS + LS), "thinking": said("<think>hm</think>" + LS),
            "said-and-a-line-end": said(LS + "\n")}


def conversation(names: str) -> list[dict]:
    return [MESSAGES[name] for name in names.split()]


def problem(form: str, max_chars: int = 0, **columns: list[dict]) -> str | None:
    """Return why a row with these conversations is refused, if it is."""
    row = {"chosen": [SAID], "rejected": [OTHER], **columns}
    found = row_problem(FORMATS[form], row, max_chars)
    return found and found[0]


@pytest.mark.parametrize("messages, reason", rows("""
                  | roles
user              | roles
said              | roles
user said user    | roles
user tool said    | roles
user user said    | roles
user said said    | roles
said user said    | roles
user rules said   | roles
rules said        | roles
System user said  | roles
user null         | empty message
user empty        | empty message
blank said        | empty message
user prose        | no well-formed turn
user twice        | no well-formed turn
user thinking     | no well-formed turn
"""))
def test_a_conversation_that_trl_would_take_in_silence_is_refused(messages, reason):
    assert problem("sft_messages", messages=conversation(messages)) == reason


@pytest.mark.parametrize("form, column, messages, reason", rows("""
dpo            | rejected   | said                | chosen is rejected
dpo            | rejected   | said-and-a-line-end | chosen is rejected
dpo            | rejected   | null                | empty message
dpo            | chosen     |                     | roles
dpo            | prompt     | user said           | roles
kto            | completion | user                | roles
sft_completion | completion | said said           | roles
"""))
def test_a_bad_pair_is_refused(form, column, messages, reason):
    columns = {"prompt": [USER], column: conversation(messages)}
    assert problem(form, **columns) == reason


def test_too_long_is_told_by_the_longer_of_two_conversations():
    n = len(USER["content"]) + len(OTHER["content"])
    assert problem("dpo", n, prompt=[USER]) is None
    assert problem("dpo", n - 1, prompt=[USER]) == "over max_chars"
