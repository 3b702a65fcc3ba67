"""Check the forms of trajectories, by the rows of docs/data.md: each tells of the same turn."""
import json
import re
import tracemalloc
from collections import Counter
from pathlib import Path
from time import process_time
from types import SimpleNamespace

import pytest
from conftest import REPO
from line_tables import rows as table
from root import read_json, write_files
from source_rows import a_pr, sample, write_jsonl, write_sources
from tool_turns import arguments_of

from codedata.errors import Trouble
from codedata.messages import content_text, result_problem
from codedata.records import Prompt
from codedata.sampling.draw import LATE, MAX_MESSAGES, draw, prompt_problem, prompts_of
from codedata.sampling.readers import forms
from codedata.sampling.readers.chat import read_message
from codedata.sampling.refusals import INCOMPLETE, NO_TOOLS, SUMMARIZED, UNANSWERED
from codedata.sampling.trajectories import Hub, open_source
from codedata.settings import Exclude, PromptSettings
from codedata.texts import tomllib

EXAMPLES = dict(re.findall(r"^```json (\S+)\n(.*?)^```$",
                           (REPO / "docs" / "data.md").read_text(),
                           re.MULTILINE | re.DOTALL))
CALL = {"id": "c1", "type": "function",
        "function": {"name": "bash", "arguments": '{"command": "ls"}'}}
BASH = {"function": {"name": "bash", "parameters": {}}}
# the roles and texts of the examples, and the agent of each folder
EXPECTED = tomllib.loads(r"""
most = ["system You fix bugs.", "user Mend it.", "assistant I look.", "tool setup.cfg"]
in_text = ["system You fix bugs.", "user Mend it.", "assistant I look.\n\n```bash\nls\n```",
           "user setup.cfg"]
[others]
"rows/harbor.jsonl" = ["user You fix bugs.", "user Mend it.", "assistant I look.", "tool setup.cfg"]
"rows/terminus.jsonl" = ["user Mend it.", "assistant Analysis: I look.", "tool setup.cfg"]
"claude/own__repo-1.jsonl" = ["user Mend it.", "assistant I look.", "tool setup.cfg"]
"adp/rows.jsonl" = ["user Mend it.", "assistant I look.", "tool setup.cfg"]
"llm_completions/own__repo-1/some-model-1757015025.972.json" = [
    "system You fix bugs.", "user Mend it.", "assistant I look."]
"rows/requests.jsonl" = ["system You fix bugs.", "user Mend it.", "assistant I look."]
"opencode/own__repo-1.json" = ["user Mend it.", "assistant I look.", "tool setup.cfg"]
"pi/own__repo-1.jsonl" = ["user Mend it.", "assistant I look.", "tool setup.cfg"]
"gemini/own__repo-1.json" = ["user Mend it.", "assistant I look.", "tool setup.cfg"]
"gemini_lines/own__repo-1.jsonl" = ["user Mend it.", "assistant I look.", "tool setup.cfg"]
"qwen/own__repo-1.jsonl" = ["user Mend it.", "assistant I look.", "tool setup.cfg"]
"cline/own__repo-1/api_conversation_history.json" = [
    "user <task>Mend it.</task>", "assistant I look.", "tool setup.cfg"]
[agents]
rows = "rows"
mini = "mini-swe-agent 2"
swe_agent = "SWE-agent"
sdk = "OpenHands"
openhands = "OpenHands"
llm_completions = "OpenHands"
jobs = "ATIF: mini-swe-agent"
claude = "Claude Code"
codex = "Codex"
hub = "Codex"
adp = "Agent Data Protocol"
responses = "mini-swe-agent 2"
opencode = "opencode"
pi = "Pi coding agent"
gemini = "Gemini CLI"
gemini_lines = "Gemini CLI"
qwen = "Qwen Code"
kimi = "Kimi CLI"
cline = "Cline or Roo Code"
""")
FUNCTION = "<function=bash>\n<parameter=command>ls</parameter>\n</function>"
LS = ({"command": "ls"}, {"cmd": "ls"}, {"keystrokes": "ls\n", "duration": 0.1})


def told(*messages: str) -> list[dict]:
    """Return messages, each written as its role and its text."""
    parts = (message.partition(" ") for message in messages)
    return [{"role": role, "content": text} for role, _, text in parts]


def write(folder, name: str, text: str):
    write_files(folder, {name: text})
    return folder / name


def read(path) -> list[dict]:
    return open_source(str(path), Hub(None)).rows(0, 99)


def problem(prompt: Prompt) -> str | None:
    return prompt_problem(prompt, PromptSettings(), Exclude())


def drawn(row: dict) -> tuple[list, Counter]:
    """Return what is drawn of a row, and what is left out, by reason."""
    skipped, source = Counter(), SimpleNamespace(n_rows=1, rows=lambda *_: [row])
    return [*draw(source, PromptSettings(), skipped, (0, 0, -1), Path())], skipped


def read_value(folder, value, name="own__repo-1.json") -> dict:
    row, = read(write(folder, name, json.dumps(value)))
    return row


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_form_gives_the_conversation_with_its_call_and_nothing_else(name, tmp_path):
    row, = read(write(tmp_path, name, EXAMPLES[name]))
    messages = row["messages"]
    is_in_text = name in ("rows/text.json", "rows/sharegpt.jsonl")
    expected = EXPECTED["others"].get(name, EXPECTED["in_text" if is_in_text else "most"])
    assert [f"{m['role']} {content_text(m)}" for m in messages] == expected
    assert row["instance_id"] == "own__repo-1"
    assert row["agent"] == EXPECTED["agents"][name.partition("/")[0]]
    assert {key for message in messages for key in message} <= {
        "role", "content", "tool_calls", "tool_call_id"}
    if not is_in_text:
        call, = next(m for m in messages if m["role"] == "assistant")["tool_calls"]
        assert call["id"] in ("c1", "call_1_0", "call_2_0") and call.keys() == CALL.keys()
        assert arguments_of(call) in LS
        assert all(m.get("tool_call_id") == call["id"] for m in messages if m["role"] == "tool")
        *_, prompt = prompts_of(row)[0]
        assert problem(prompt) is None


@pytest.fixture
def folder(tmp_path):
    """Return a folder with all examples, one file that is none, and one with a broken line."""
    name = "claude/own__repo-1.jsonl"
    write_files(tmp_path / "left", EXAMPLES | {"config.json": '{"model": "m"}',
                                               name: "{broken\n" + EXAMPLES[name]})
    return tmp_path / "left"


def test_a_mixed_folder_is_checked_and_drawn_from(folder, tmp_path):
    write_sources(tmp_path, [], [a_pr(1)])
    flags = f"--source {folder} --max-per-instance 0 --turns all"
    printed = sample(tmp_path / "a", flags, "--check")
    assert not (tmp_path / "a" / "prompt").exists()
    for line in ("29 rows read", "rows: trajectories 10, turns 10, usable 10",
                 "OpenHands: trajectories 3, turns 3, usable 3", "Codex: trajectories 2, turns 2",
                 "refused: 1 (a file, row or line that has no known form), the first: config",
                 "PRs: 1 of 1 instance in"):
        assert line in printed, printed
    assert re.search(r" 2 of the files.*claude/own__repo-1.jsonl line 1 is broken", printed)
    printed = sample(tmp_path / "a", flags, "--count 50")
    assert "line 1 is broken" in printed and "no known form" in printed
    entries = read_json(tmp_path / "a/prompt/prompts_50_1.json")
    assert any(isinstance(entry["assistant"], dict) for entry in entries)


def test_check_says_which_turns_and_prs_are_missing_and_ends_with_1_without_a_turn(tmp_path):
    row = json.loads(EXAMPLES["rows/tool_calls.jsonl"])
    two = json.loads(EXAMPLES["rows/tool_calls.jsonl"])
    two["messages"][2]["tool_calls"] *= 2
    write_sources(tmp_path, [], [a_pr(2)])
    write_jsonl(tmp_path / "rows.jsonl", [row, two])
    printed = sample(tmp_path / "a", "--check", code=1)
    assert "rows: trajectories 2, turns 2, usable 1" in printed and "0 of 1 instance" in printed
    write_jsonl(tmp_path / "rows.jsonl", [two])
    for flag, code in (("--check", 1), ("", 2)):
        assert "(the same call twice)" in sample(tmp_path / "a", flag, code=code)


# what of a form is a turn

def test_demonstrations_of_swe_agent_are_history_and_no_turns(tmp_path):
    traj = json.loads(EXAMPLES["swe_agent/a.traj"])
    demo = [{"role": role, "content": "a demo", "is_demo": True} for role in ("user", "assistant")]
    traj["history"][1:1] = demo
    row = read_value(tmp_path, traj)
    assert len(row["messages"]) == 6 and {*row["no_turns"]} == {*range(3)}
    traj = {"environment": "swe_main",   # an early version
            "history": told("user (Current directory: /own__repo)\nbash-$")}
    assert read_value(tmp_path, traj, "gpt4_repo-7.traj")["instance_id"] == "own__repo-7"


def test_copied_steps_of_atif_are_no_turns_and_results_without_a_call_are_of_the_user(tmp_path):
    atif = json.loads(EXAMPLES["jobs/own__repo-1__aBc12De/agent/trajectory.json"])
    copied = {"source": "agent", "message": "before", "is_copied_context": True,
              "observation": {"results": [{"content": "seen"}]}}
    atif["steps"][2:2] = [copied, {"source": "system", "message": "Performed summarization."}]
    row = read_value(tmp_path, atif)
    assert [m["role"] for m in row["messages"]] == ["system", "user", "assistant", "user",
                                                    "assistant", "tool"]
    assert row["no_turns"] == {*range(4)}


def lines(name: str) -> list[dict]:
    return [json.loads(line) for line in EXAMPLES[name].splitlines()]


# a session that was resumed: some lines are there twice
RESUMED = """\
{"type": "user", "uuid": "u1", "message": {"content": "Mend it."}}
{"type": "assistant", "uuid": "u2", "message": {"id": "m1", \
"content": [{"type": "thinking", "thinking": "hm"}]}}
{"type": "assistant", "uuid": "u2", "message": {"id": "m1", \
"content": [{"type": "text", "text": "I look."}]}}
{"type": "user", "uuid": "u1", "message": {"content": "Mend it."}}
{"type": "assistant", "uuid": "u2", "message": {"id": "m1", \
"content": [{"type": "text", "text": "I look."}]}}
{"type": "assistant", "uuid": "u2", "isSidechain": true, "message": {"id": "m2", \
"content": "aside"}}
{"type": "assistant", "uuid": "u3", "message": {"id": "m1", \
"content": [{"type": "tool_use", "id": "c1", "name": "Bash", "input": {"command": "ls"}}]}}
{"type": "user", "uuid": "u9", "message": {"content": [{"type": "tool_result", \
"tool_use_id": "c1", "content": "setup.cfg"}, {"type": "text", "text": "go on"}]}}
{"type": "assistant", "uuid": "u3", "message": {"id": "m1", \
"content": [{"type": "tool_use", "id": "c2", "name": "Read", "input": {"file_path": "/a"}}]}}
{"type": "user", "uuid": "u1", "isCompactSummary": true, "message": {"content": "Mend it."}}
{"type": "assistant", "uuid": "u2", "message": {"id": "m3", "content": "later"}}
"""


def test_a_sidechain_of_claude_code_is_a_row_and_what_follows_a_compaction_is_none(tmp_path):
    row, side = read(write(tmp_path, "s.jsonl", RESUMED))
    assert [content_text(m) for m in side["messages"]] == ["aside"]
    assert side["instance_id"] == row["instance_id"] == "s"
    assert [m["role"] for m in row["messages"]] == ["user", "assistant", "tool", "user"]
    reply = row["messages"][1]
    assert (content_text(reply), reply["reasoning_content"]) == ("I look.", "hm")
    assert [call["id"] for call in reply["tool_calls"]] == ["c1", "c2"]


def test_a_draw_goes_on_within_a_session_with_subagents(tmp_path):
    def aside(n: int) -> list[dict]:
        return [{**line, "isSidechain": True, "agentId": f"a{n}"}
                for line in lines("claude/own__repo-1.jsonl")]
    session = lines("claude/own__repo-1.jsonl") + aside(1) + aside(2)
    for i, line in enumerate(session):
        session[i] = json.loads(json.dumps(line).replace("Mend it", f"Mend {i}"))
    write_sources(tmp_path, [], [a_pr(1)])
    write_jsonl(tmp_path / "own__repo-1.jsonl", session)
    flags = f"--source {tmp_path}/own__repo-1.jsonl --turns all"
    for count in (1, 2, 3):
        sample(tmp_path / "a", flags, f"--count {count}")
    sample(tmp_path / "b", flags, "--count 3")
    (whole,), parts = ([read_json(file) for file in sorted(
        (tmp_path / root / "prompt").glob("*.json"))] for root in "ba")
    assert len(whole) == 3 and [one["messages"] for one in whole] == [
        one["messages"] for part in parts for one in part]


EARLY = """\
{"id": "s", "timestamp": "t", "instructions": null}
{"record_type": "state"}
{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Mend it."}]}
{"type": "message", "role": "developer", "content": "be brief"}
{"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}, \
{"type": "summary_text", "text": "so"}]}
{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]}
{"type": "function_call", "name": "exec_command", "arguments": "{}", "call_id": "c1"}
{"type": "custom_tool_call", "name": "apply_patch", "call_id": "c2", "input": "*** Begin"}
{"type": "function_call_output", "call_id": "c1", "output": "setup.cfg"}
"""


def test_codex_lines_of_early_versions_and_custom_tools_are_read(tmp_path):
    """Nothing tells that one reply had both calls, of which one has a result."""
    row, = read(write(tmp_path, "s.jsonl", EARLY))
    assert [m["role"] for m in row["messages"]] == ["user", "user", "assistant", "tool"]
    reply = row["messages"][2]
    assert reply["reasoning_content"] == "hm\n\nso" and len(reply["tool_calls"]) == 2
    assert reply["tool_calls"][1]["function"]["arguments"] == '{"input": "*** Begin"}'
    assert row["no_turns"] == {2}


@pytest.mark.parametrize("names", [["event-00010-a.json", "event-00009-b.json"],
                                   ["10.json", "9.json"]])
def test_a_folder_of_events_is_one_trajectory_in_the_order_of_its_numbers(names, tmp_path):
    events = lines("sdk/own__repo-1.jsonl")
    for name, event in zip(names, events[1::-1], strict=True):
        write(tmp_path, f"own__repo-1/events/{name}", json.dumps(event))
    row, = read(tmp_path)
    assert [m["role"] for m in row["messages"]] == ["system", "user"]
    assert row["instance_id"] == "own__repo-1"


def test_results_of_openhands_end_as_its_model_saw_them_and_old_actions_are_refused(tmp_path):
    output = json.loads(EXAMPLES["openhands/output.jsonl"])
    output["history"][3]["extras"] = {"metadata": {"exit_code": 1, "working_dir": "/w",
                                                   "suffix": "\n[end]"}}
    row = read_value(tmp_path, output)
    assert row["messages"][-1]["content"] == (
        "setup.cfg\n[end]\n[Current working directory: /w]\n[Command finished with exit code 1]")
    assert row["repo"] == "own/repo"
    del output["history"][2]["tool_call_metadata"]
    assert "tool_call_metadata" in read_value(tmp_path, output)["problem"]


@pytest.mark.parametrize("place", table("""
["tools", 0, "function"]
["messages", 2, "tool_calls", 0]
["messages", 1, "role"]
["messages", 1, "content"]
["tools"]
"""))
def test_an_odd_value_costs_its_row_alone(place, tmp_path):
    row = json.loads(EXAMPLES["rows/tool_calls.jsonl"])
    row["tools"] = [{"type": "function", "function": {"name": "bash"}}]
    outer = row
    *folders, last = json.loads(place)
    for key in folders:
        outer = outer[key]
    outer[last] = 5
    assert "of the form rows" in read_value(tmp_path, row)["problem"]


@pytest.mark.parametrize("document", [
    [{"role": "user", "content": "Go."}, {"role": "tool", "tool_call_id": [1], "content": "a"}],
    [{"type": "session", "id": "s", "timestamp": "t", "cwd": "/"},
     *[{"type": "message", "id": f"{parent}", "parentId": parent,
        "message": {"role": "user", "content": "Go."}} for parent in ({}, None)]]],
    ids=["rows", "pi"])
def test_an_id_that_is_a_list_or_an_object_costs_its_file(document, tmp_path):
    assert "another type" in read_value(tmp_path, document)["problem"]


def test_the_system_prompt_of_a_row_is_no_other_column(tmp_path):
    row = {"messages": [{"role": "user", "content": "Go."}], "instructions": "Label it."}
    assert len(read_value(tmp_path, row)["messages"]) == 1
    assert read_value(tmp_path, {**row, "system": "Help."})["messages"][0]["content"] == "Help."


def test_tools_are_taken_in_their_spellings():
    for tools in ([BASH], json.dumps([BASH]), [json.dumps(BASH)]):
        row = {"messages": json.dumps(told("ai x")), "tools": tools}
        assert forms.read(row, "here")["tools"] == [BASH]


# a call that can be read, by a word of its form
KEPT = {"function": FUNCTION, "tool_call": '<tool_call>{"name": "bash"}',
        "commands": '{"analysis": "", "plan": "", "commands": [{"keystrokes": "c"}]}'}


@pytest.mark.parametrize("text, calls", table(r"""
<function=bash>\n<parameter=command>ls</parameter>\n</function>   | [{"command": "ls"}]
<function=bash>\n<parameter=command>ls</parameter>\n              |
<tool_call>\n<function=bash>\n<parameter=n>[]</parameter>\n</function>\n</tool_call> | [{"n": []}]
<function=bash>\n<parameter=n>[1, 2]</parameter></function>       | [{"n": [1, 2]}]
<function=bash>\n<parameter=o>{}</parameter></function>           | [{"o": "{}"}]
<function=bash><parameter=command>ls                              |
<function=bash>\n<parameter=command>ls</parameter>\n<param        |
<tool_call>{"name": "bash", "arguments": {"command": "l           |
{"analysis": "", "plan": "", "commands": [{"k": "a\n"}], "task_complete": true} | [{"k": "a\n"}, {}]
{"analysis": "", "commands": [{"keystrokes": "a"}]}               |
{"commands": [{"keystrokes": "a                                   |
Take <tool_call> for a call.                                      |
"""))
def test_calls_in_texts_are_read_whole_and_a_cut_one_is_no_turn(text, calls):
    tool = {"function": {"name": "bash", "parameters": {"properties": {
        "n": {"type": "array"}, "o": {"anyOf": []}}}}}
    text = text.replace(r"\n", "\n")
    kept = next(call for word, call in KEPT.items() if word in text)
    row = forms.read({"instance_id": "a-1", "tools": [tool], "messages": told(
        "user seen", f"ai {kept}", "user seen", f"ai {text}", "user seen", f"ai {kept}")}, "here")
    prompts, _ = prompts_of(row)
    read = prompts[1].assistant
    if not calls:
        assert read == text
        assert "a call that is cut" in problem(prompts[1])
        return
    calls = json.loads(calls)
    assert [arguments_of(call) for call in read["tool_calls"]] == calls
    results = prompts[2].messages[4:]
    assert [m["content"] for m in results] == [""] * (len(calls) - 1) + ["seen"]
    assert result_problem(prompts[2].messages) is None


def test_results_in_several_messages_are_those_of_the_calls_in_order_and_the_rest_is_said():
    row = forms.read(told(
        'user <tools>{"type": "function", "function": {"name": "bash"}}</tools>',
        f"ai {FUNCTION}</function>{FUNCTION}", "user <tool_response>a</tool_response>",
        "user <tool_response>b</tool_response> Go on."), "here")
    assert [m["content"] for m in row["messages"][2:]] == ["a", "b", "Go on."]
    assert len(row["tools"]) == 1


def test_a_conversation_that_only_speaks_of_calls_is_left_as_it_is():
    said = "I run\n\n```bash\nls\n```"
    row = forms.read(told(f"ai {said}", f"ai {FUNCTION}", f"ai {said}"), "here", "a-1")
    assert [m["content"] for m in row["messages"]] == [said, FUNCTION, said]


@pytest.mark.parametrize("row, expected", table("""
{"repo": "own/repo", "base_commit": "0123456789", "task": "Mend it."}     | own__repo-base-01234567
{"repo": "https://git.example/own/repo.git", "commit": "0123456789"}      | own__repo-base-01234567
{"session_id": "s/1"}                                                     | s-1
{}                                                                        | unnamed-
""" + EXAMPLES["hub/own__repo-1.jsonl"].strip() + " | s"))
def test_a_row_without_an_instance_id_gets_one(row, expected):
    row = forms.read({"messages": told("ai a"), **json.loads(row)}, "here")
    assert row["instance_id"].startswith(expected)


def test_subagents_that_a_document_of_atif_embeds_are_rows():
    inner = {**atif(), "subagent_trajectories": [atif()]}
    row = forms.read({**atif(), "subagent_trajectories": [inner]}, "here", "a-1")
    assert [one["instance_id"] for one in row["subagents"]] == ["a-1", "a-1"]
    assert row["messages"] == row["subagents"][1]["messages"]


def test_actions_of_adp_between_observations_are_one_message_with_results_in_order():
    content = [*map(json.loads, """\
{"class_": "text_observation", "content": "Mend it.", "source": "user"}
{"class_": "code_action", "language": "bash", "content": "ls", "description": "I look."}
{"class_": "api_action", "function": "open", "kwargs": {"path": "a"}}
{"class_": "text_observation", "content": "of ls", "source": "environment"}
{"class_": "web_observation", "html": "…"}
{"class_": "text_observation", "content": "later", "source": "environment"}
{"class_": "message_action", "content": "Done."}""".splitlines())]
    document = {"id": "o__r-1.abcdefgh_2", "content": content, "details": {"tools": json.dumps([
        {"function": {"name": "execute_bash", "parameters": {"properties": {"command": {}}}}}])}}
    row = forms.read(document, "here")
    call = row["messages"][1]["tool_calls"][0]["function"]
    assert call["name"] == "execute_bash" == row["tools"][0]["function"]["name"]
    named = {"id": "a", "content": [{**content[0], "content": "execute_bash"}, content[1]]}
    assert "execute_bash" in str(forms.read(named, "here")["messages"][1])
    assert row["instance_id"] == "o__r-1"
    assert [content_text(m) for m in row["messages"]] == [
        "Mend it.", "I look.", "of ls", "[web_observation]", "later", "Done."]
    assert len(row["messages"][1]["tool_calls"]) == 2 and not result_problem(row["messages"])
    assert not row["no_turns"]
    del content[3:5]
    assert forms.read(document, "here")["no_turns"] == {1}
    content[3] = {"class_": "image_observation"}
    with pytest.raises(Trouble, match="an observation is an image"):
        forms.read(document, "here")


# what a turn's model saw

def atif(*steps: dict) -> dict:
    return {"agent": {"name": "a"}, "steps": [
        {"source": "user", "message": "Mend it."}, *steps, step("c9")]}


def step(call_ids: str, *results: dict, **keys) -> dict:
    calls = [{"tool_call_id": one, "function_name": "bash", "arguments": {}}
             for one in call_ids.split()]
    return {"source": "agent", "message": "I go on.", "tool_calls": calls,
            "observation": {"results": results}, **keys}


def session(text: str, more: dict) -> list[dict]:
    """Return lines of Claude Code, each written as uuid, parent and, by the first letter of the
    uuid, the id of the agent's call, that of the call of a result, or what the user says; `more`
    has keys of some lines, by uuid."""
    made = []
    for uuid, parent, value in map(str.split, text.split(", ")):
        block = {
            "u": {"type": "text", "text": value},
            "a": {"type": "tool_use", "id": value, "name": "Bash", "input": {"command": value}},
            "r": {"type": "tool_result", "tool_use_id": value, "content": f"of {value}"}}[uuid[0]]
        made.append({"type": "assistant" if uuid[0] == "a" else "user", "uuid": uuid,
                     "parentUuid": None if parent == "-" else parent,
                     "message": {"content": [block], "id": uuid[:2]}, **more.get(uuid, {})})
    return made


def codex(*items: str | int | dict) -> list[dict]:
    """Return lines of Codex: items, texts, of the agent in capitals, and numbers of turns rolled
    back."""
    made = [{"type": "session_meta", "payload": {}}]
    for item in items:
        line = {"type": "thread_rolled_back", "num_turns": item}
        if isinstance(item, dict):
            line = item
        if isinstance(item, str):
            line = {"role": "assistant" if item.isupper() else "user", "content": [{"text": item}]}
        made.append({"type": "response_item", "payload": line})
    return made


CALLS = [{"id": f"c{n}", "name": "f", "arguments": {}} for n in range(40_000)]


@pytest.mark.parametrize("document", [
    [{"type": "assistant", "message": {"content": [{"type": one["id"]} for one in CALLS]}}],
    [{"role": "ai", "tool_calls": CALLS},
     *[{"role": "tool", "content": "", "tool_call_id": "c"}] * 40_000],
    atif(step(" ".join(map(str, range(20_000))), *[{}] * 200_000)),
    [{"kind": "ActionEvent", "llm_response_id": "r", "thought": "", "tool_call": one}
     for one in CALLS],
    told("user " + "---- BEGIN FUNCTION #1: a ----\nDescription: <tools>" * 15_000
         + "\n  (1) a (" + "a" * 99_999, f"ai {FUNCTION}", f"ai {FUNCTION * 15_000}"),
    told("ai " + "<tool_call>{<function=a><parameter=a>" * 40_000),
    {"id": "a", "content": [{"class_": "api_action", "function": "f", "kwargs": {}}] * 4_000},
    ], ids=["claude", "ids", "atif", "openhands", "texts", "cut texts", "adp"])
def test_a_long_document_is_read_in_time(document):
    start = process_time()
    forms.read(document, "here", "a-1")
    assert process_time() - start < 10   # minutes if it were quadratic


def test_a_long_row_has_no_list_for_each_turn():
    row = forms.read([{"role": "ai", "value": "a"}] * 3_000, "here", "a-1")
    tracemalloc.start()
    prompts, _ = prompts_of(row)
    assert len(prompts) == MAX_MESSAGES == prompts[-1].turn + 1
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    found, skipped = drawn(row)
    assert found and skipped[LATE] == 1_000


HISTORY = json.loads(EXAMPLES["openhands/output.jsonl"])["history"]
SAID = {"source": "agent", "action": "message", "args": {"content": "B"}}
STEP = "assistant ```\nls\n```"
# the document of each, in one of five forms, and what its last turn has seen: texts, and results
# behind the ids of their calls
HISTORIES = tomllib.loads(r"""
["one output of two commands"]
atif = ["c1 c2", {content = "a"}]
seen = ["Mend it.", "I go on.", "c1=", "c2=a"]

["two outputs without names"]
atif = ["c1 c2", {content = "a"}, {content = "b"}]
seen = ["Mend it.", "I go on.", "c1=a", "c2=b"]

["a named and a shared output"]
atif = ["c1 c2", {source_call_id = "c1", content = "a"}, {}]
seen = ["Mend it.", "I go on.", "c1=a", "c2="]

["a branch that was left"]
claude = "u1 - one, a1 u1 c1, r1 a1 c1, a2 r1 c2, u2 r1 two, a3 u2 c3"
seen = ["one", "", "c1=of c1", "two"]

["results beside the chain"]
claude = "u1 - one, a1 u1 c1, a1b a1 c2, r1 a1 c1, r2 a1b c2, u2 r2 two, a2 u2 c3"
seen = ["one", "", "c1=of c1", "c2=of c2", "two"]

["what the user wrote while the agent worked"]
claude = "u1 - one, a1 u1 c1, r1 a1 c1, u2 r1 -, a2 u2 c2"
more.u2 = {type = "attachment", attachment = {type = "queued_command", prompt = "two"}}
seen = ["one", "", "c1=of c1", "two"]

["commands of the user that hang on the first remark"]
claude = "u1 - note, u2 u1 one, a1 u2 c1, r1 a1 c1, u3 u1 -, a2 u3 c2"
more.u1.isMeta = true
more.u3.message.content = "<bash-input>ls"
seen = ["note", "one", "", "c1=of c1", "<bash-input>ls"]

["what Claude Code says of an endpoint"]
claude = "u1 - one, a1 u1 c1, u2 a1 two, a2 u2 c2"
more.a1.isApiErrorMessage = true
seen = ["one", "two"]

["a result whose line is missing"]
claude = "u1 - one, a1 u1 c1, u2 gone two, a2 u2 c2"
seen = []

["a result of parts after what was said while its call ran"]
codex = [{type = "function_call", name = "f", call_id = "c1"}, "two", \
{type = "function_call_output", call_id = "c1", output = [{type = "input_text", text = "a"}]}, "C"]
seen = ["", "c1=a", "two"]

["turns that were rolled back"]
codex = ["<environment>", "one", "A", "two", "B", "<aborted>", "three", "C", 2, "four", "D"]
seen = ["<environment>", "one", "A", "four"]

["rules of Codex that a message of the user repeats"]
json = '''[{"type": "session_meta", "payload": {"instructions": "be brief"}},
{"type": "response_item",
 "payload": {"role": "user", "content": [{"text": "<user_instructions> be brief"}]}},
{"type": "response_item", "payload": {"role": "user", "content": [{"text": "one"}]}},
{"type": "response_item", "payload": {"role": "assistant", "content": [{"text": "A"}]}}]'''
seen = ["<user_instructions> be brief", "one"]

["an action of OpenHands that could not be run"]
openhands = {id = 9, source = "agent", observation = "error", content = "Odd."}
seen = ["You fix bugs.", "Mend it.", "I look.", "c1=setup.cfg",
        "Odd.\n[Error occurred in processing last action]"]

["a branch of events that was left"]
json = '''[
{"kind": "MessageEvent", "id": "a", "llm_message": {"role": "user", "content": [{"text": "a"}]}},
{"kind": "MessageEvent", "id": "b", "llm_message": {"role": "user", "content": [{"text": "b"}]}},
{"kind": "MessageEvent", "id": "c", "parent_id": "a", "llm_message": {"role": "ai",
                                                                      "content": []}}]'''
seen = ["a"]

["a subagent of SWE-agent"]
json = '''{"history": [{"role": "user", "content": "one", "agent": "m"},
{"role": "assistant", "content": "```\nls\n```", "agent": "s"},
{"role": "user", "content": "apart", "agent": "s"},
{"role": "assistant", "content": "```\nls\n```", "agent": "m"}]}'''
seen = ["one"]

["what Terminus says around its JSON"]
json = '''[{"role": "user", "content": "one"}, {"role": "ai", "content": "So: ```json\n\
{\"state_analysis\": \"\", \"explanation\": \"E\", \"commands\": [{\"keystrokes\": \"c\"}]}\
\n```\nDone."}, {"role": "user", "content": "out"}, {"role": "ai", "content": "\
{\"state_analysis\": \"\", \"explanation\": \"E\", \"commands\": [{\"keystrokes\": \"c\"}]}"}]'''
seen = ["one", "So:\nExplanation: E\nDone.", "call_1_0=out"]

["blocks without a text"]
json = '''[{"role": "user", "content": [
    {"type": "tool_reference", "tool_name": "Read"}, {"type": "image", "text": null}]},
{"role": "ai", "content": "So."}]'''
seen = ["[Read][image]"]

["a line of a trace with a line separator in it"]
json = '''{"harness": "codex", "session_id": "s",
"trace": "{\"type\": \"session_meta\", \"payload\": {}}\n\
{\"type\": \"response_item\", \"payload\": \
{\"role\": \"user\", \"content\": [{\"text\": \"one\u2028two\"}]}}\n\
{\"type\": \"response_item\", \"payload\": \
{\"role\": \"assistant\", \"content\": [{\"text\": \"A\"}]}}"}'''
seen = ["one\u2028two"]

["a protocol of texts beside calls"]
json = '''[{"role": "user", "content": "You have access to the following functions: If you choose \
to call a function </IMPORTANT> Mend it. - Extra text before or after the JSON\n- The JSON must be \
valid\n- taking action"},
{"role": "ai", "tool_calls": [
    {"id": "c1", "type": "function",
     "function": {"name": "bash", "arguments": "{\"command\": \"ls\"}"}}]}]'''
seen = ["Mend it."]

["Pi: an aborted reply, a command of the user and a branch that was left"]
json = '''[{"type": "session", "id": "s", "timestamp": "t", "cwd": "/w"},
{"type": "message", "id": "a", "parentId": null, "message": {"role": "user", "content": "one"}},
{"type": "message", "id": "b", "parentId": "a", "message": {"role": "assistant",
 "stopReason": "aborted", "content": [{"type": "toolCall", "id": "c1", "name": "bash"}]}},
{"type": "message", "id": "c", "parentId": "b", "message": {"role": "toolResult",
 "toolCallId": "c1", "content": "gone"}},
{"type": "message", "id": "d", "parentId": "c", "message": {"role": "bashExecution",
 "command": "ls", "output": "a", "exitCode": 1}},
{"type": "message", "id": "e", "parentId": "a", "message": {"role": "user", "content": "left"}},
{"type": "branch_summary", "id": "f", "parentId": "d", "summary": "S"},
{"type": "message", "id": "g", "parentId": "f", "message": {"role": "assistant",
 "content": [{"type": "text", "text": "Done."}]}}]'''
turns = 1
seen = ["one", "Ran `ls`\n```\na\n```\n\nCommand exited with code 1", "The following is a summary \
of a branch that this conversation came back from:\n\n<summary>\nS</summary>"]

["Gemini CLI: what was rewound, and local commands"]
json = '''[{"sessionId": "s", "projectHash": "h", "startTime": "t"},
{"$set": {"messages": [{"id": "1", "type": "user", "content": "one"}]}},
{"id": "2", "type": "user", "content": "two"}, {"$rewindTo": "2"},
{"id": "3", "type": "user", "content": "/help"}, {"id": "4", "type": "info", "content": "i"},
{"id": "5", "type": "user", "content": [{"text": "three"}]},
{"id": "6", "type": "gemini", "content": "Done."}]'''
turns = 1
seen = ["one", "three"]

["opencode: cleared and interrupted results, two steps of a message, an old system prompt"]
json = '''{"info": {}, "messages": [{"info": {"role": "user"}, "parts": [
 {"type": "text", "text": "one"}, {"type": "file", "mime": "text/plain"},
 {"type": "file", "mime": "image/png"}]},
{"info": {"role": "assistant", "time": {"created": 1}, "system": ["a", "b"]}, "parts": [
 {"type": "tool", "callID": "c1", "tool": "bash", "state": {"status": "completed",
  "input": {"command": "ls"}, "output": "a", "time": {"compacted": 5}}}, {"type": "step-start"},
 {"type": "tool", "callID": "c2", "tool": "bash", "state": {"status": "running"}}]},
{"info": {"role": "assistant", "time": {"created": 6}}, "parts": [
 {"type": "text", "text": "Done."}]}]}'''
turns = 3
seen = ["a\nb", "one[file]", "", "c1=[Old tool result content cleared]", "",
        "c2=[Tool execution was interrupted]"]

["opencode: an aborted reply is sent again, a failed one is not"]
json = '''{"info": {}, "messages": [{"info": {"role": "user"}, "parts": [
 {"type": "text", "text": "one"}]},
{"info": {"role": "assistant", "error": {"name": "APIError"}}, "parts": [
 {"type": "text", "text": "fails"}]},
{"info": {"role": "assistant", "error": {"name": "MessageAbortedError"}}, "parts": [
 {"type": "text", "text": "stops"}]},
{"info": {"role": "assistant"}, "parts": [{"type": "text", "text": "Done."}]}]}'''
turns = 1
seen = ["one", "stops"]

["Kimi CLI: a reply that a compaction kept"]
json = '''[{"role": "_system_prompt", "content": "rules"}, {"role": "_checkpoint", "id": 0},
{"role": "user", "content": "<system>Previous context has been compacted. Here</system>"},
{"role": "assistant", "content": "kept"}, {"role": "_checkpoint", "id": 1},
{"role": "user", "content": "two"}, {"role": "assistant", "content": "Done."}]'''
turns = 1
seen = ["rules", "<system>Previous context has been compacted. Here</system>", "kept", "two"]

["Cline: a call without a result"]
json = '''[{"role": "user", "content": [{"type": "text", "text": "<task>one</task>"}]},
{"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "a", "input": {}}]},
{"role": "user", "content": [{"type": "text", "text": "two"}]},
{"role": "assistant", "content": [{"type": "text", "text": "Done."}]}]'''
turns = 2
seen = ["<task>one</task>", "", "c1=result missing", "two"]

["a result that Claude Code cleared, and a turn copied from another session"]
json = '''[{"type": "user", "uuid": "u1", "parentUuid": null, "message": {"content": "one"}},
{"type": "assistant", "uuid": "u2", "parentUuid": "u1", "forkedFrom": {"sessionId": "s"},
 "message": {"id": "m1", "content": [
  {"type": "tool_use", "id": "c1", "name": "Bash", "input": {}}]}},
{"type": "user", "uuid": "u3", "parentUuid": "u2", "message": {
 "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "a"}]}},
{"type": "system", "uuid": "u4", "parentUuid": "u3",
 "microcompactMetadata": {"compactedToolIds": ["c1"]}},
{"type": "assistant", "uuid": "u5", "parentUuid": "u4", "message": {"id": "m2",
 "content": [{"type": "text", "text": "Done."}]}}]'''
turns = 1
seen = ["one", "", "c1=[Old tool result content cleared]"]

["a fork of Codex"]
json = '''[{"type": "session_meta", "payload": {"id": "019f-C", "instructions": "rules",
 "forked_from_id": "P"}},
{"type": "session_meta", "payload": {"id": "P", "instructions": "rules of the parent"}},
{"type": "turn_context", "payload": {"turn_id": "019e0000-0000-7000"}},
{"type": "response_item", "payload": {"role": "user", "content": "one"}},
{"type": "response_item", "payload": {"role": "assistant", "content": "theirs"}},
{"type": "turn_context", "payload": {"turn_id": "019f0000-0000-7000"}},
{"type": "response_item", "payload": {"role": "user", "content": "two"}},
{"type": "response_item", "payload": {"role": "assistant", "content": "Done."}},
{"type": "turn_context", "payload": {"turn_id": "019f0001-0000-7000"}}]'''
turns = 1
seen = ["rules", "one", "theirs", "two"]

["tools in the prompt, and a call in a text with an empty result"]
json = '''[{"role": "user", "content": "<tools>\n[\n  {}\n]\n</tools>\n\nMend it."},
{"role": "ai",
 "content": "I do.\n<function=bash>\n<parameter=command>ls</parameter>\n</function>"},
{"role": "user", "content": ""}, {"role": "ai", "content": "Done."}]'''
seen = ["Mend it.", "I do.", "call_1_0="]
""".replace("\\\n", ""))
DOCUMENTS = {
    "atif": lambda case: atif(step(*case["atif"])),
    "claude": lambda case: session(case["claude"], case.get("more", {})),
    "codex": lambda case: codex(*case["codex"]), "json": lambda case: json.loads(case["json"]),
    "openhands": lambda case: [*HISTORY, case["openhands"], SAID]}


@pytest.mark.parametrize("name", HISTORIES)
def test_a_turn_s_history_is_what_its_model_saw(name):
    form, *_ = HISTORIES[name]
    document = DOCUMENTS[form](HISTORIES[name])
    prompts, _ = prompts_of(forms.read(document, "here", "own__repo-1"))
    assert len(prompts) == HISTORIES[name].get("turns", len(prompts))
    *_, prompt = prompts
    seen = [content_text(m) if m["role"] != "tool" else f"{m['tool_call_id']}={content_text(m)}"
            for m in prompt.messages]
    assert seen == HISTORIES[name]["seen"]
    assert seen or problem(prompt) == INCOMPLETE
    assert result_problem(prompt.messages) is None


def test_a_fork_of_codex_that_was_quit_before_its_own_turn_has_none():
    lines = json.loads(HISTORIES["a fork of Codex"]["json"])[:5]
    assert [*prompts_of(forms.read(lines, "here", "own__repo-1"))[0]] == []


SUMMARY = {"source": "system", "observation": {"results": [{"subagent_trajectory_ref": [{}]}]}}


@pytest.mark.parametrize("document", [
    atif(step("c1", {"content": "a"}), SUMMARY, {**step(""), "source": "user"}),
    [*codex("one", "A", "two"), {"type": "compacted"}, *codex("B")[1:]],
    [*HISTORY, {"action": "condensation"}, SAID],
    {"history": told("user one", STEP, "user two", STEP), "trajectory": [
        {"query": told("user one")}, {"messages": told("user one", STEP, "user cut", STEP)}]},
    *map(json.loads, [
        '''{"info": {}, "messages": [{"info": {"role": "user"}, "parts": [
            {"type": "text", "text": "one"}]}, {"info": {"role": "assistant"}, "parts": [
            {"type": "text", "text": "A"}]}, {"info": {}, "parts": [{"type": "compaction"}]}]}''',
        '''[{"sessionId": "s", "projectHash": "h", "startTime": "t"},
            {"id": "1", "type": "user", "content": "one"},
            {"id": "2", "type": "gemini", "content": "A"},
            {"$set": {"messages": [{"id": "3", "type": "user", "content": "sum"}]}}]'''])],
    ids=["atif", "codex", "openhands", "SWE-agent", "opencode", "Gemini CLI"])
def test_turns_after_a_summary_of_their_history_are_left_out_and_counted(document):
    row = forms.read(document, "here", "a-1")
    [(prompts, *_)], skipped = drawn(row)
    assert len(prompts) == skipped[SUMMARIZED] == 1


def test_a_trajectory_with_a_summary_is_checked_by_name_and_is_not_whole(tmp_path):
    write_sources(tmp_path, [], [a_pr(1)])
    write(tmp_path, "own__repo-1.jsonl", RESUMED)
    for flag in ("--check", "--trajectories"):
        printed = sample(tmp_path / "a", f"--source {tmp_path}/own__repo-1.jsonl", flag)
        assert SUMMARIZED in printed


def test_a_reply_that_the_limit_of_tokens_cut_is_no_turn():
    log = json.loads(next(EXAMPLES[name] for name in EXAMPLES if "completions" in name))
    log["response"]["choices"][0]["finish_reason"] = "length"
    assert not len(prompts_of(forms.read(log, "here", "a-1"))[0])


def problems_of(document) -> list[str | None]:
    return [*map(problem, prompts_of(forms.read(document, "here", "a-1"))[0])]


def test_no_tool_is_offered_before_a_call_tells_of_it():
    document = told("user one")
    for name in ("bash", "think") * 2:
        document += [{"role": "ai", "tool_calls": [{"name": name, "input": {"command": "ls"}}]},
                     *told("tool seen")]
    prompts, _ = prompts_of(forms.read(document, "here"))
    assert ["think" in str(one.tools) for one in prompts] == [False, False, True, True]
    assert problems_of(document) == [
        None, "a call of think, which is none of its tools", None, None]
    assert problems_of([document[0], *document[3:5] * 2]) == [NO_TOOLS, None]


def test_a_text_without_the_result_of_the_one_before_is_no_history():
    said = "ai I run.\n\n```bash\nls\n```"
    assert problems_of(told("user one", said, said, "user seen", said)) == [
        None, UNANSWERED, UNANSWERED]


def test_tools_that_a_prompt_describes_have_all_that_it_says_of_them():
    row = forms.read(told(
        "user ---- BEGIN FUNCTION #1: edit ----\nDescription: Edits.\nMore.\nParameters:\n"
        "  (1) command (string, required): What.\n* a list\nAllowed values: [`a`, `b`]\n"
        "  (2) path (string, optional): Where.\n---- END FUNCTION #1 ----\n"
        "---- BEGIN FUNCTION #2: end ----\nDescription: Ends.\n"
        "No parameters are required for this function.\n---- END FUNCTION #2 ----",
        f"ai {FUNCTION}</function>"), "here")
    edit, end = (one["function"] for one in row["tools"])
    assert (edit["description"], end["description"]) == ("Edits.\nMore.", "Ends.")
    assert edit["parameters"]["properties"] == {
        "command": {"type": "string",
                    "description": "What.\n* a list\nAllowed values: [`a`, `b`]"},
        "path": {"type": "string", "description": "Where."}}


@pytest.mark.parametrize("file, expected", table("""
project/agent-0123456.jsonl     | s
own__repo-1/agent-0123456.jsonl | own__repo-1
t/subagents/agent-0123456.jsonl | t
project/mine.jsonl              | mine
"""))
def test_a_file_of_a_subagent_has_the_id_of_its_session(file, expected, tmp_path):
    side = [{**line, "isSidechain": True, "agentId": "a"}
            for line in lines("claude/own__repo-1.jsonl")]
    row, = read(write(tmp_path, file, "\n".join(map(json.dumps, side))))
    assert row["instance_id"] == expected


def test_a_step_that_no_model_wrote_is_history_and_no_turn():
    document = atif()
    document["steps"][1] = step("c9", {"source_call_id": "c9", "content": "a"}, llm_call_count=0)
    assert prompts_of(forms.read(document, "here", "a-1")) == ([], "no model wrote it")
    document["steps"].append(step("c10"))
    (prompt,), _ = prompts_of(forms.read(document, "here", "a-1"))
    assert [message["role"] for message in prompt.messages] == ["user", "assistant", "tool"]


@pytest.mark.parametrize("history", [
    "assistant c1", "assistant c1, user", "assistant c1 c2, tool c1, assistant c3, tool c3",
    "tool c1", "assistant c1, tool c1, tool c1"])
def test_a_history_that_an_endpoint_would_refuse_is_left_out(history):
    messages = told("user Mend it.")
    for role, *ids in map(str.split, history.split(", ")):
        messages.append({"role": role, "content": "", "tool_call_id": "".join(ids), "tool_calls": [
            {**CALL, "id": one} for one in ids if role == "assistant"]})
    prompt = Prompt("a-1", "", "", 0, messages, {"content": "", "tool_calls": [CALL]}, [BASH])
    assert "without result" in problem(prompt)


def test_keys_that_a_column_of_structs_adds_are_no_arguments():
    """Arrow gives each object of a column the keys of all others, as null."""
    row = forms.read(json.loads("""{"instance_id": "a-1",
        "tools": [{"function": {"name": "bash", "parameters": {
            "type": "object", "required": ["command", "input"],
            "properties": {"command": {"type": "string", "enum": null}, "path": null}}}}],
        "messages": [{"role": "assistant", "content": "", "tool_calls": [
            {"id": "c1", "function": {"name": "bash", "arguments": {
                "command": "ls", "path": null, "input": null,
                "edits": [{"old": "a", "new": null}]}}}]}]}"""), "here")
    call, = row["messages"][0]["tool_calls"]
    assert arguments_of(call) == {
        "command": "ls", "input": None, "edits": [{"old": "a"}]}
    schema = row["tools"][0]["function"]["parameters"]
    assert schema["properties"] == {"command": {"type": "string"}}


@pytest.mark.parametrize("name", ["rows/tool_calls.jsonl", "responses/own__repo-1.traj.json"])
def test_messages_of_a_column_of_structs_have_the_keys_of_all_and_are_read_alike(name):
    row = json.loads(EXAMPLES[name])
    nulls = {key: None for message in row["messages"] for key in message}
    same = {**row, "messages": [{**nulls, **message} for message in row["messages"]]}
    assert forms.read(same, "here", "a-1") == forms.read(row, "here", "a-1")


@pytest.mark.parametrize("message, text, reasoning", json.loads(r"""[
    [{"content": "<think>hm</think>\nI look."}, "I look.", "hm"],
    [{"content": "hm\n</think>\n\nI look."}, "I look.", "hm"],
    [{"content": [{"type": "text", "text": "<think>hm</think>"},
                  {"type": "text", "text": "I look."}]}, "I look.", "hm"],
    [{"content": [{"type": "thinking", "thinking": "hm"},
                  {"type": "text", "text": "I look."}]}, "I look.", "hm"],
    [{"content": "I look.", "thinking_blocks": [{"type": "thinking", "thinking": "hm"}]},
     "I look.", "hm"],
    [{"content": "I look.", "reasoning": "hm"}, "I look.", "hm"],
    [{"content": [{"type": "thinking", "thinking": "hm"}, {"type": "redacted_thinking"},
                  {"type": "thinking", "thinking": "hm"},
                  {"type": "text", "text": "I look."}]}, "I look.", "hm\n\nhm"],
    [{"content": "<think>cut in the mid"}, "", "cut in the mid"],
    [{"content": " I look.\n"}, " I look.\n", null]]"""))
def test_thinking_in_its_spellings_is_reasoning_beside_a_call_and_a_block_alike(
        message, text, reasoning):
    for calls in ([], [CALL]):
        read = read_message({**message, "role": "assistant", "tool_calls": calls}, {})
        assert (content_text(read), read.get("reasoning_content")) == (text, reasoning)


@pytest.mark.parametrize("lines, reason", table("""
[{"type": "thread.started", "thread_id": "t"}] | output of codex exec.*session file: ~/.codex
{"working_dir": "/w", "conversation": []}      | looks like a file of Goose, which is not read
[{"role": "user", "content": [{"type": "text", "text": "<task>"}]}] | texts in XML
{"messages": [{"role": "king", "content": ""}]} | a message has the role 'king'
{"messages": [{"role": "ai", "tool_calls": [{"id": "c1"}]}]} | lacks 'name'
"""))
def test_a_file_of_another_program_is_refused_by_its_name(lines, reason):
    with pytest.raises(Trouble, match=reason):
        forms.read(json.loads(lines), "here")


def test_the_origin_of_a_session_is_kept_for_its_commits():
    meta = {"cwd": "/w", "git": {"branch": "b", "commit_hash": "c"}, "timestamp": "t1"}
    line = {"type": "session_meta", "payload": meta, "timestamp": "t2"}
    assert forms.read([line, {**line, "timestamp": "t3"}], "here", "a-1")["origin"] == {
        "folder": "/w", "branch": "b", "commit": "c", "begin": "t1", "end": "t3"}


def test_the_first_use_of_a_to_do_list_is_a_turn_of_claude_code():
    todo = {"type": "tool_use", "id": "c1", "name": "TodoWrite", "input": {"todos": []}}
    document = lines("claude/own__repo-1.jsonl")[:3]
    document[2]["message"]["content"] = [todo]
    assert problems_of(document) == [None]
