"""Check the rows of turns with tool calls, in both forms, and which of them are refused."""
from __future__ import annotations

import json

import pytest
from fake_judges import exported as make
from judged import json_lines, read_json, turn_of, words, write_duel, write_turn
from line_tables import rows as table
from tool_turns import TOOLS, calls, edits, result, tool_history, write_tool_turn

from codedata.export.formats import FORMATS, MESSAGES, row_problem

SECRET = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"
TRAINERS = ["sft_messages", "sft_completion", "dpo", "kto"]


@pytest.fixture
def root(tmp_path):
    """Return a root with an accepted duel, no turns yet, and no validation split."""
    setting(tmp_path)
    write_duel(tmp_path)
    return tmp_path


def setting(root, line: str = "") -> None:
    (root / "chain.toml").write_text(f"[export]\nvalidation = 0.0\n{line}\n", encoding="utf-8")


def rows(root, form: str) -> list[dict]:
    return json_lines(root / "export" / form / "train.jsonl")


def left_out(root) -> dict[str, str]:
    return {line["name"]: line["reason"] for line in json_lines(root / "export/left_out.jsonl")}


def as_object(message: dict) -> dict:
    """Return a message as chat templates take it: a text, and arguments that are objects."""
    content = message["content"]
    text = content if isinstance(content, str) else content[0]["text"]
    made = {**message, "content": text}
    if "tool_calls" in message:
        made["tool_calls"] = [{**call, "function": {
            **call["function"], "arguments": json.loads(call["function"]["arguments"])}}
            for call in message["tool_calls"]]
    return made


def test_a_turn_keeps_the_form_of_its_agent_in_every_format(root):
    turn = write_tool_turn(root, "t_1")
    make(root)
    history = [*map(as_object, turn["messages"])]
    won, lost = as_object(turn["challenger"]), as_object(turn["king"])
    assert [len(message.get("tool_calls", ())) for message in history] == [0, 0, 1, 0, 2, 0, 0]
    assert rows(root, "sft_messages")[0]["messages"] == [*history, won]
    completion, pair = rows(root, "sft_completion")[0], rows(root, "dpo")[0]
    assert (completion["prompt"], completion["completion"]) == (history, [won])
    assert (pair["prompt"], pair["chosen"], pair["rejected"]) == (history, [won], [lost])
    assert [(row["completion"], row["label"]) for row in rows(root, "kto")] == [
        ([won], True), ([lost], False)]
    whole = rows(root, "jsonl")[0]
    assert (whole["messages"], whole["king"], whole["challenger"]) == (history, lost, won)
    assert whole["assistant"]["reasoning_content"] == "It should build."
    assert all(row["tools"] == TOOLS for form in FORMATS for row in rows(root, form))
    assert read_json(root / "export/dpo/manifest.json")["tool_calls"] == "native"
    card = (root / "export/dpo/README.md").read_text(encoding="utf-8")
    assert "| `tools` | list of JSON schemas |" in card and "`reasoning_content`" in card


def test_sets_of_text_turns_have_the_columns_that_they_had(root):
    write_tool_turn(root, "t_1", "defeat")
    write_turn(root, "t_2")
    make(root)
    assert "tools" not in rows(root, "sft_messages")[0]
    assert [row["tools"] is None for row in rows(root, "dpo")] == [False, True]
    assert "tool_calls" not in (root / "export/sft_messages/manifest.json").read_text()
    assert {"role", "content"} == {key for message in rows(root, "dpo")[1]["prompt"]
                                   for key in message}


def test_as_text_calls_are_the_shell_commands_that_do_the_same(root):
    turn = write_tool_turn(root, "t_1")
    write_tool_turn(root, "t_2", challenger=calls(thought="", command="ls"))
    setting(root, 'tool_calls = "text"')
    make(root)
    row, = rows(root, "dpo")
    system, _, call, nothing, both, _ = row["prompt"]
    assert "exactly one block" in system["content"]
    assert (call["content"], nothing["content"]) == ("```bash\nls\n```", "(no output)")
    assert both["content"].endswith("```bash\npwd\n```\n\n```bash\ncat -n /a.py\n```")
    assert row["rejected"] == [{"role": "assistant", "content":
                                f"{turn['king']['content']}\n\n```bash\nls t_1\n```"}]
    assert "path.write_text(text)" in row["chosen"][0]["content"] and "tools" not in row
    assert left_out(root) == {"t_2": "no well-formed turn"}   # no thought before the block


def test_the_two_first_messages_of_the_user_are_one_for_swe_agents_text_form(root):
    users = [{"role": "user", "content": text} for text in ("demo", "task")]
    example = {"role": "system", "content": "I list.\n```\nls -a\n```"}
    write_turn(root, "t_1", messages=[example, *users],
               king="I list.\n```\nls\n```", challenger="I open it.\n```\nopen a.py\n```")
    make(root)
    assert [m["role"] for m in rows(root, "dpo")[0]["prompt"]] == ["system", "user"]


def test_secrets_are_masked_wherever_a_message_has_text(root):
    history = tool_history("t_1")
    history[2]["reasoning_content"] = history[3]["content"] = f"it is {SECRET}"
    write_tool_turn(root, "t_1", messages=history, king=calls(command=f'a="{SECRET}"\ncurl'),
                    challenger={**edits("t_1"), "reasoning_content": "I know the patch."})
    make(root)
    text = (root / "export/jsonl/train.jsonl").read_text()
    assert SECRET not in text and "I know the patch" not in text
    masked = rows(root, "dpo")[0]["rejected"][0]["tool_calls"][0]["function"]["arguments"]
    assert masked["command"].startswith('a="') and masked["command"].endswith('"\ncurl')
    assert read_json(root / "export/dpo/manifest.json")["turns"][0]["masked"] == {"GitHub token": 3}


@pytest.mark.parametrize("earlier", ["export/dpo", "export/sft_messages/train.jsonl", "final"])
def test_near_duplicates_are_found_among_turns_with_calls(root, earlier):
    old = root / "old"
    old.mkdir()
    setting(old)
    write_duel(old)
    seen = [*tool_history("x")[:6], result(words("a long file", 300), "c")]
    for place, name in ((old, "t_1"), (root, "t_2"), (root, "t_3")):
        write_tool_turn(place, name, messages=seen, challenger=edits("x"))
    write_tool_turn(root, "t_4", messages=seen)   # another answer
    make(old)
    make(root)
    assert left_out(root) == {"t_3": "near-duplicate"}
    make(root, "--against", old / earlier)
    assert left_out(root) == dict.fromkeys(["t_2", "t_3"], "near-duplicate")


# rows that are refused ---------------------------------------------------------------------------

SYSTEM, USER, *_ = tool_history("x")
PARTS = {"system": SYSTEM, "user": {"role": "user", "content": "task"},
         "ls": as_object(calls(id="a", command="ls")), "out": result("", "a"),
         "other-out": result("x", "b"), "prose": {"role": "assistant", "content": "I am done."},
         "silent": {"role": "assistant", "content": ""}, "both": as_object(tool_history("x")[4]),
         "raw": calls(id="a", command="ls"), "edit": as_object(edits("x")),
         "no-object": {"role": "assistant", "content": "", "tool_calls": [
             {"id": "a", "type": "function", "function": {"name": "bash", "arguments": "ls"}}]},
         "unknown": as_object(calls("browser", url="x")), "text": {
             "role": "assistant", "content": turn_of("ls")},
         "leaked": as_object(calls(thought="<think>hm</think>I look.", command="ls"))}


@pytest.mark.parametrize("messages, reason", table("""
user ls                      |
system user ls out edit      |
system user user ls out user edit |
user prose user edit         |
user ls prose user edit      |
user ls edit                 | roles
user ls out                  | roles
ls out edit                  | roles
user system edit             | roles
user ls other-out edit       | roles
user ls out out edit         | roles
user out edit                | roles
user ls user out edit        | roles
user silent user edit        | empty message
user no-object out edit      | arguments
user prose                   | no well-formed turn
user text                    | no well-formed turn
user both                    | no well-formed turn
user unknown                 | no well-formed turn
user leaked                  | no well-formed turn
"""))
def test_a_conversation_that_chat_templates_do_not_take_is_refused(messages, reason):
    form = FORMATS["sft_messages"]
    row = {**dict.fromkeys(form.columns, "x"), "tools": TOOLS,
           "messages": [PARTS[name] for name in messages.split()]}
    columns = {**form.columns, "tools": MESSAGES}
    found = row_problem(type(form)(form.name, columns, form.pieces, form.row, form.answers), row)
    assert (found[0] if found else "") == reason


def test_pairs_are_compared_with_their_calls(root):
    """Equal calls of other ids are equal, and lengths are those of the text with the calls."""
    write_tool_turn(root, "t_1", king=calls(id="x", command="ls"), challenger=calls(command="ls"))
    write_tool_turn(root, "t_2", king=calls(command="ls"),
                    challenger=calls(command=words("t_2", 90)))
    write_tool_turn(root, "t_3", challenger=calls(command=words("t_3", 2_000)))
    setting(root, "dpo_max_length_ratio = 4.0\nmax_chars = 9_000")
    make(root)
    assert rows(root, "dpo") == [] and left_out(root) == {
        "t_1": "chosen is rejected", "t_2": "over dpo_max_length_ratio", "t_3": "over max_chars"}
