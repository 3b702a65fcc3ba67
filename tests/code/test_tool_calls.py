"""Test the effects of tool calls: their equivalent shell commands are run, on real files."""
import subprocess

import pytest
from line_tables import rows, toml_beside
from tool_turns import arguments_of, asks, call, result

from codedata.conversation.recorded_steps import steps_of
from codedata.conversation.tool_calls import (
    call_text,
    default_tools,
    effect_of,
    parts_of,
    shell_call,
    shell_command,
    text_effect,
)
from codedata.conversation.turn import Form, as_call, commands_of, form_of, plain, turn_text

CASES = toml_beside(__file__, "tool_cases.toml")
WINDOW = {"role": "tool", "content":
          "[File: a.py (5 lines total)]\r\n1:def one():\n2:    return 1\n"
          "(Open file: PATH)\n(Current directory: /x)\nbash-$"}


def run(tmp_path, command: str) -> str:
    (tmp_path / "a.py").write_text(CASES["file"])
    return subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True,
                          check=True).stdout


@pytest.mark.parametrize("case", CASES["edit"], ids=lambda case: case["tool"])
def test_an_edit_and_its_shell_command_leave_the_same_file(tmp_path, case):
    shown = {**WINDOW, "content": WINDOW["content"].replace("PATH", str(tmp_path / "a.py"))}
    run(tmp_path, shell_command(effect_of(case["tool"], case["arguments"], [shown])))
    assert (tmp_path / case["arguments"].get("file_path", "a.py")).read_text() == case["file"]


def test_an_edit_keeps_line_ends_and_bytes_and_replaces_as_often_as_its_tool(tmp_path):
    def edited(text: bytes, **more) -> bytes:
        run(tmp_path, ":")
        (tmp_path / "a.py").write_bytes(text)
        arguments = {"file_path": "a.py", "old_string": "one", "new_string": "1", **more}
        subprocess.run(["bash", "-c", shell_command(effect_of("Edit", arguments))], cwd=tmp_path,
                       capture_output=True)
        return (tmp_path / "a.py").read_bytes()
    assert edited(b"one\r\n\xe9\x0c\r\n") == b"1\r\n\xe9\x0c\r\n"
    assert edited(b"one one") == b"one one"
    assert edited(b"one one", replace_all=True) == b"1 1"


def test_a_shell_runs_in_the_folder_that_the_call_names(tmp_path):
    (tmp_path / "sub").mkdir()
    for tool, command in ("shell", ["bash", "-lc", "pwd"]), ("bash", "pwd"):
        arguments = {"command": command, "workdir": "sub"}
        assert run(tmp_path, shell_command(effect_of(tool, arguments))).endswith("sub\n")


def test_judges_see_every_argument_and_every_line_of_an_edit():
    """Find what is exported and not the command itself: it would be a place to hide."""
    shell = call("Bash", {"command": "ls", "description": "as upstream does"})
    assert "as upstream does" in call_text(shell) and "```bash\nls\n```" in call_text(shell)
    old = "\n".join(f"line {i}" for i in range(20))
    edit = call("Edit", {"file_path": "a", "old_string": old, "new_string": old + "\nnew"})
    assert all(f" line {i}\n" in call_text(edit) for i in range(20))
    same = call("Edit", {"file_path": "a", "old_string": old, "new_string": old})
    assert " line 7" in call_text(same)
    more = {"old_string": "a", "new_string": "b", "note": "hidden"}
    assert "hidden" in call_text(call("MultiEdit", {"file_path": "a", "edits": [more]}))
    for odd in ('{"command": "ls", "command": "pwd"}', '{"command": NaN}', "[" * 500,
                '{"n": 99999999999999999999}', '{"command": "\\ud800"}'):
        assert parts_of(call("Bash", odd))[1] is None, odd


@pytest.mark.parametrize("case", CASES["look"], ids=lambda case: case["tool"])
def test_a_look_and_its_shell_command_show_the_same(tmp_path, case):
    command = shell_command(effect_of(case["tool"], case["arguments"]))
    assert case["prints"] in run(tmp_path, command)


def test_odd_edits_are_no_edits_and_cost_linear_time():
    for tool, name, value in (("edit", "edits", 5),
                              ("apply_diff", "diff", "<<<<<<< SEARCH\n=======\n" * 9999)):
        assert effect_of(tool, {"path": "a.py", name: value}).edits == ()


def test_what_is_searched_for_is_quoted():
    command = shell_command(effect_of("search_dir", {"search_term": "it's'"}))
    assert command == "grep -rn -e 'it'\"'\"'s'\"'\"'' ."


def test_the_text_commands_of_swe_agent_are_its_tools():
    assert text_effect('open "a b.py" 3').path == "a b.py"
    edit = text_effect("edit 2:2\n    x\n\ny\nend_of_edit\n", [WINDOW])
    assert (edit.does, edit.path, edit.first, edit.last, edit.edits) == (
        "lines", "a.py", 2, 2, (("    return 1", "    x\n\ny", "only"),))
    assert shell_command(text_effect("scroll_down", [WINDOW])) == "cat -n a.py | sed -n '3,102p'"
    assert text_effect("git diff").command == "git diff" and text_effect("submit").does == "submit"


def test_a_turn_is_calls_of_tools_that_do_something():
    tools = default_tools("OpenHands", [asks(call("execute_bash", {"command": "ls"})),
                                        asks(call("browser", {"code": "x"}))])[0]
    form = Form(tools=tools)
    ok = call("execute_bash", {"command": "ls"})
    other = call("execute_bash", {"command": "pwd"})
    for good in (asks(ok), asks(ok, text=""), asks(ok, other)):
        assert form.problem(good) is None
    lacking = call("str_replace_editor", {"command": "str_replace", "path": "a"})
    assert form.problem(asks(lacking)) == (
        "a call of str_replace_editor without an argument that it needs")
    problems = [form.problem(side) for side in (
        asks(ok, other, ok), asks(), asks(ok, call("browser", {"code": "x"})),
        asks(call("rm", {})), asks(call("execute_bash", "{")), asks(call("execute_bash", {})),
        asks(call("execute_bash", {"command": " "})), asks(ok, text="<think>hm"), "text only",
        asks(ok, text="```bash\nrm x\n```"), asks(ok, text="Observation: 5 passed"),
        asks(call("execute_bash", {"command": "a\x00"})))]
    assert problems == [
        "the same call twice", "no tool call",
        "the tool browser, which neither runs, reads, searches nor edits",
        "a call of rm, which is none of its tools", "arguments that are no JSON object",
        "a call of execute_bash without command", "an empty command",
        "thinking tags or special tokens in the prose", "no tool call",
        "a block to run beside the call", "an observation made up before the call",
        "the answer has a NUL byte"]
    assert form.problem(asks(ok), truncated=True) == "truncated at max_tokens"


def test_a_call_that_no_shell_command_stands_for_is_a_turn_that_runs_nothing():
    todo, undo = (call("TodoWrite", {"todos": [{"content": "a\nb"}]}),
                  call("str_replace_editor", {"command": "undo_edit", "path": "a"}))
    tools = default_tools("", [asks(todo), asks(undo)])[0]
    read = [Form(tools=tools).read(asks(one)) for one in (todo, undo)]
    assert [one.problem() for one in read] == [None, None]
    assert [commands_of(one) for one in read] == [[], []]
    assert "```tool\nTodoWrite {" in turn_text(asks(todo), as_bash=True)
    shown = [asks(todo), {"role": "tool", "content": "done"}]
    assert steps_of(shown, tools) == []


def test_the_tools_of_an_agent_do_not_depend_on_which_of_them_it_called():
    """Give all tools of the set that fits best: only the called ones would tell how the work goes
    on."""
    def names(*calls, agent=""):
        return [tool["function"]["name"] for tool in default_tools(agent, [asks(*calls)])[0]]
    lines = call("edit", {"start_line": 1, "end_line": 1, "replacement_text": ""})
    assert names(lines) == names(lines, call("submit", {})) and "submit" in names(lines)
    assert "insert" in names(call("edit", {"search": "a", "replace": "b"}))
    assert names(call("bash", {"command": "ls"}), agent="mini-swe-agent 2") == ["bash"]
    assert names(call("think", {})) == ["think"]
    assert names(call("exec_command", "[REDACTED]"))[0] == "exec_command"
    editor = default_tools("OpenHands", [asks(call("str_replace_editor", {
        "command": "view", "path": "a"}))])[0][1]["function"]["parameters"]
    assert editor["properties"]["command"]["enum"] == ["view", "create", "str_replace", "insert"]
    assert editor["required"] == ["command", "path"]


@pytest.mark.parametrize("agent, name, arguments", rows("""
opencode        | bash            | command description timeout workdir
Pi coding agent | bash            | command timeout
Cline           | execute_command | command cwd requires_approval task_progress
Gemini CLI      | replace         | file_path old_string new_string instruction allow_multiple
"""))
def test_the_tools_of_an_agent_have_the_arguments_of_its_calls(agent, name, arguments):
    given = dict.fromkeys(arguments.split(), "")
    [tool] = (one["function"] for one in default_tools(agent, [asks(call(name, given))])[0]
              if one["function"]["name"] == name)
    assert given.keys() <= tool["parameters"]["properties"].keys()


@pytest.mark.parametrize("agent, name, is_its", rows("""
Claude Code       | execute_bash  |
ATIF: claude-code | execute_bash  |
Claude Code       | MultiEdit     | its own
Codex             | shell_command | its own
OpenHands         | terminal      | its own
rows              | execute_bash  | its own
"""))
def test_a_known_agent_has_no_tool_of_another_one(agent, name, is_its):
    calls = [asks(call("Bash", {"command": "ls"}))] * 2 + [asks(call(name, {}))]
    assert (name in [one["function"]["name"] for one in default_tools(agent, calls)[0]]) == bool(
        is_its)


def test_a_conversation_with_calls_is_read_as_texts():
    edit = call("Edit", {"file_path": "a.py", "old_string": "a\nb\n", "new_string": "a\nc\n"}, "c2")
    messages = [{"role": "system", "content": "S"},
                {"role": "user", "content": [{"type": "text", "text": "task "},
                                             {"type": "text", "text": "here"}]},
                {**asks(call("Bash", {"command": "ls"}), edit), "reasoning_content": "secret"},
                result("c1", "a.py"), result("c2", "done")]
    tools = default_tools("Claude Code", messages)[0]
    texts = plain(messages, tools)
    assert [message["role"] for message in texts] == ["system", "user", "assistant", "user"]
    assert "- Bash(command, " in texts[0]["content"] and texts[1]["content"] == "task here"
    assert texts[2]["content"] == (
        "I look.\n\n```bash\nls\n```\n\n"
        '```tool\nEdit {"file_path": "a.py"}\n a\n-b\n+c\n```')
    assert texts[3]["content"] == "(1 of 2)\na.py\n\n(2 of 2)\ndone" and "secret" not in str(texts)
    block = plain(messages, tools, as_bash=True)[2]["content"]
    assert block.count("```bash") == 1 and "\nls\npython3 - <<'END'" in block
    assert call_text(call("any", "{not json")) == "```tool\nany {not json\n```"
    plain_ones = [{"role": "user", "content": "a", "note": "kept"}]
    assert plain(plain_ones) is plain_ones


@pytest.mark.parametrize(("text", "fence"), [
    ("I look.\n```\nls -a\n```", ""), ("I look.\n\n```bash\nls\n```", "bash"),
    ("I look.\n\n```mswea_bash_command\nls\n```", "mswea_bash_command")])
def test_the_form_of_texts_is_that_of_the_newest_turn(text, fence):
    messages = [{"role": "user", "content": "Fix ```bash\nx\n```"},
                {"role": "assistant", "content": text}, {"role": "user", "content": "seen"}]
    assert form_of(messages) == Form(fence)
    assert form_of(messages[:1]) == Form("bash")
    example = [{"role": "system", "content": f"Like this:\n{text}"}]
    assert form_of(example) == Form(fence) and Form(fence).problem(text) is None
    assert commands_of(Form(fence).read(text)) in (["ls"], ["ls -a"])


def test_a_text_turn_becomes_a_call_of_the_agents_shell():
    tools = default_tools("Codex", [asks(call("shell", {"command": ["ls"]}))])[0]
    side = as_call("<think>hm</think>I look.\n\n```bash\nls -a\n```", tools)
    assert side["content"] == "I look." and Form(tools=tools).problem(side) is None
    assert arguments_of(side["tool_calls"][0]) == {"command": ["bash", "-lc", "ls -a"]}
    assert as_call("no block", tools) is None
    shell = {"function": {"name": "shell", "parameters": {
        "required": ["command", "risk"], "properties": {
            "command": {"type": "string"}, "risk": {"enum": ["low", "high"]}}}}}
    assert arguments_of(shell_call("ls", [shell])) == {"command": "ls", "risk": "low"}
    assert shell_call("ls", default_tools("", [asks(call("think", {}))])[0]) is None
