"""Check the rows of turns with tool calls, in both forms, and which of them are refused."""
import json

import pytest
from exports import card, left_out, manifest, rows, setting
from exports import root as root  # a fixture
from fake_judges import exported as make
from line_tables import rows as table
from root import turn_of, words
from tool_turns import TOOLS, arguments_of, calls, edits, tool_history, write_tool_turn

from codedata.export.formats import FORMATS

SECRET = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"


def as_objects(messages: list[dict]) -> list[dict]:
    """Return messages whose arguments are objects, and whose content is a text."""
    made = json.loads(json.dumps(messages))
    for message in made:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = arguments_of(call)
        if isinstance(message["content"], list):
            message["content"] = message["content"][0]["text"]
    return made


def test_a_turn_keeps_the_form_of_its_agent_in_every_format(root):
    turn = write_tool_turn(root, "t_1")
    make(root)
    history = as_objects(turn["messages"])
    won, lost = as_objects([turn["challenger"], turn["king"]])
    assert [row["messages"] for row in rows(root, "sft_messages")] == [[*history, won]]
    assert [(row["prompt"], row["completion"]) for row in rows(root, "sft_completion")] == [
        (history, [won])]
    assert [(row["prompt"], row["chosen"], row["rejected"]) for row in rows(root)] == [
        (history, [won], [lost])]
    assert [(row["completion"], row["label"]) for row in rows(root, "kto")] == [
        ([won], True), ([lost], False)]
    whole, = rows(root, "jsonl")
    assert (whole["messages"], whole["king"]) == (history, lost)
    assert whole["assistant"]["reasoning_content"] == "It builds."
    assert all(row["tools"] == TOOLS for form in FORMATS for row in rows(root, form))
    assert "| `tools` | list of JSON schemas |" in card(root)


def test_a_set_of_text_turns_has_the_columns_that_it_had(root):
    write_tool_turn(root, "t_1", "defeat")
    root.with_turn("t_2")
    make(root)
    assert "tools" not in rows(root, "sft_messages")[0]
    assert "tool_calls" not in manifest(root, "sft_messages")
    assert [row["tools"] for row in rows(root)] == [TOOLS, None]
    assert {key for message in rows(root)[1]["prompt"] for key in message} == {"role", "content"}


def test_as_text_calls_are_the_shell_commands_that_do_the_same(root):
    turn = write_tool_turn(root, "t_1", messages=tool_history("t_1", "a.py"))
    setting(root, 'tool_calls = "text"')
    make(root)
    row, = rows(root)
    system, _, call, seen, both, _ = [message["content"] for message in row["prompt"]]
    assert "exactly one block" in system and (call, seen) == ("```bash\nls\n```", "a.py")
    assert both.endswith("```bash\npwd\nif [ -d /a.py ]; then ls -la /a.py; "
                         "else cat -n /a.py; fi\n```")
    assert row["rejected"][0] == {"role": "assistant", "content": (
        f"{turn['king']['content']}\n\n```bash\nls t_1\n```")}
    assert "file.write(text)" in row["chosen"][0]["content"] and "tools" not in row


def test_swe_agents_demonstration_and_task_are_one_message_of_a_text_row(root):
    history = [{"role": "system", "content": "I list.\n```\nls -a\n```"},
               *({"role": "user", "content": text} for text in ("demo", "task"))]
    root.with_turn("t_1", messages=history, king="I list.\n```\nls\n```",
                   challenger="I open it.\n```\nopen a.py\n```")
    make(root)
    assert [message["content"] for message in rows(root)[0]["prompt"]][1:] == ["demo\n\ntask"]


def test_secrets_and_what_a_side_thought_apart_are_nowhere(root):
    history = tool_history("t_1", SECRET)
    history[2]["reasoning_content"] = f"it is {SECRET}"
    write_tool_turn(root, "t_1", messages=history, king=calls(command=f'a="{SECRET}"\ncurl'),
                    challenger={**edits("t_1"), "reasoning_content": "I know the patch."})
    make(root)
    text = (root / "export/jsonl/train.jsonl").read_text()
    assert SECRET not in text and "I know the patch" not in text
    command = rows(root)[0]["rejected"][0]["tool_calls"][0]["function"]["arguments"]["command"]
    assert command.startswith('a="') and command.endswith('"\ncurl')
    assert manifest(root)["turns"][0]["masked"] == {"GitHub token": 3}


def test_near_duplicates_are_found_by_what_is_called(root):
    history = tool_history("x", words("a long file", 300))
    for name in ("t_1", "t_2"):
        write_tool_turn(root, name, messages=history, challenger=edits("x"))
    write_tool_turn(root, "t_3", messages=history)   # another answer
    make(root)
    assert left_out(root) == {"t_2": "near-duplicate"}


def test_pairs_are_compared_with_their_calls(root):
    same, short = calls(id="x", command="ls"), calls(command="ls")
    write_tool_turn(root, "t_1", king=same, challenger=short)
    write_tool_turn(root, "t_2", king=calls(command="pwd"), challenger=short)
    write_tool_turn(root, "t_3", challenger=calls(command=words("t_3", 2_000)))
    setting(root, "max_chars = 9_000")
    make(root)
    assert [row["source"] for row in rows(root)] == ["t_2"] and left_out(root) == {
        "t_1": "chosen is rejected", "t_3": "over max_chars"}


SYSTEM, _, LS, OUT, BOTH, OTHER, _ = tool_history("x")
PARTS = {"system": SYSTEM, "user": {"role": "user", "content": "task"}, "ls": LS, "out": OUT,
         "other": OTHER, "prose": {"role": "assistant", "content": "I am done."},
         "silent": {"role": "assistant", "content": ""}, "both": BOTH,
         "no-object": {**LS, "tool_calls": [{"id": "a", "type": "function", "function": {
             "name": "bash", "arguments": "ls"}}]}}
ANSWERS = {"edit": edits("x"), "text": turn_of("ls"), "both": BOTH, "unknown": calls("browser"),
           "twice": {**LS, "tool_calls": LS["tool_calls"] * 2},
           "leaked": calls(thought="<think>hm</think>I look.", command="ls")}


@pytest.mark.parametrize("messages, answer, reason", table("""
user                  | edit    |
system user ls out    | edit    |
user user ls out user | edit    |
user prose user       | edit    |
user ls prose user    | edit    |
user ls               | edit    | roles
ls out                | edit    | roles
user system           | edit    | roles
user ls other         | edit    | roles
user ls out out       | edit    | roles
user out              | edit    | roles
user ls user out      | edit    | roles
user silent user      | edit    | empty message
user no-object out    | edit    | arguments
user                  | text    | no well-formed turn
user                  | both    |
user                  | twice   | no well-formed turn
user                  | unknown | no well-formed turn
user                  | leaked  | no well-formed turn
"""))
def test_a_row_that_chat_templates_do_not_take_is_refused(root, messages, answer, reason):
    write_tool_turn(root, "t_1", challenger=ANSWERS[answer],
                    messages=[PARTS[name] for name in messages.split()])
    make(root)
    assert left_out(root) == ({"t_1": reason} if reason else {})
    assert len(rows(root)) == (not reason)
