"""Test tools: their descriptions, faults in a call, their effects in a sandbox, calls in replies.
"""
import json
from typing import Literal

import pytest
from conftest import KEY
from line_tables import rows
from test_agent import sandbox as sandbox  # a fixture

from codedata import LLMServerHTTP, ToolBashExecutor
from codedata.agent import (
    Failed,
    Stop,
    Tool,
    create_file,
    edit_file,
    search,
    submit,
    view_file,
)
from codedata.errors import Trouble
from codedata.sandbox import Sandbox

ASK = [{"role": "user", "content": "p"}]
CALL = {"id": "call_1", "type": "function",
        "function": {"name": "bash", "arguments": '{"command": "ls"}'}}


def put(sandbox, **files: str) -> None:
    """Write files by name, with `_` for the dot."""
    sandbox.put({name.replace("_", "."): text.encode() for name, text in files.items()},
                sandbox.workdir)


def content(sandbox, path: str) -> str:
    return sandbox.run(f"cat {path}").output


# the description of a tool -----------------------------------------------------------------------

def count(sandbox: Sandbox, path: str, unit: Literal["lines", "words"] = "lines",
          most: int | None = None,
          names: list[str] = (), ratio: float = 0.5, deep: bool = False) -> str:
    """Count what is
    in a file.

    path: of the file
    most: where to end
    """
    return f"{path} {unit} {most}"


SCHEMA = """{"type": "function", "function": {
    "name": "count", "description": "Count what is in a file.", "parameters": {
        "type": "object", "additionalProperties": false, "required": ["path"], "properties": {
            "path": {"type": "string", "description": "of the file"},
            "unit": {"type": "string", "enum": ["lines", "words"], "default": "lines"},
            "most": {"type": ["integer", "null"], "description": "where to end", "default": null},
            "names": {"type": "array", "items": {"type": "string"}, "default": []},
            "ratio": {"type": "number", "default": 0.5},
            "deep": {"type": "boolean", "default": false}}}}}"""


def test_a_schema_is_derived_from_signature_and_docstring():
    assert json.loads(json.dumps(Tool.of(count).schema)) == json.loads(SCHEMA)


def test_a_call_is_given_the_sandbox_and_only_where_it_wants_one():
    assert Tool.of(count)("the sandbox", {"path": "a", "most": 3}) == "a lines 3"
    assert Tool.of(count).problem({"path": "", "most": None, "names": ["a"], "ratio": 1,
                                   "deep": True}) == ""
    assert Tool.of(submit)("the sandbox", {"answer": "a"}) == Stop("a")


PROBLEMS = r"""
{} | `path` is missing
{"path": 7} | `path` should be a string, not 7
{"path": null} | `path` should be a string, not None
{"path": "a\u0000b"} | `path` has a NUL byte
{"path": "a", "mode": 1} | there is no argument `mode`
{"path": "a", "unit": "bytes"} | one of lines, words
{"path": "a", "most": true} | `most` should be a whole number or null, not True
{"path": "a", "most": 1.5} | `most` should be
{"path": "a", "names": "b"} | `names` should be a list
{"path": "a", "names": ["b", 1]} | `names` [1] should be a string
{"path": {}} | `path` should be a string
{"path": "a", "ratio": "1"} | `ratio` should be a number
{"path": "a", "deep": 1} | true or false
{"unit": "x", "y": 1} | `path` is missing, there is no argument `y`, `unit` should be one of
"""


@pytest.mark.parametrize("case", PROBLEMS.strip().split("\n"))
def test_what_is_wrong_with_a_call_is_said_with_what_it_takes(case):
    arguments, problem = case.split(" | ")
    answer = Tool.of(count).problem(json.loads(arguments))
    assert problem in answer and "It takes `path`, `unit`" in answer


def untyped(path):
    """No type."""


def undescribed(path: str):
    return path


def many(*paths: str):
    """Any number."""


@pytest.mark.parametrize("thing", [untyped, undescribed, many, lambda: 1, 7])
def test_what_cannot_be_a_tool_is_refused(thing):
    with pytest.raises(Trouble):
        Tool.of(thing)


# bash --------------------------------------------------------------------------------------------

def test_bash_shows_exit_code_and_output(sandbox):
    bash = ToolBashExecutor()
    answer = bash(sandbox, "echo one; echo two >&2")
    assert answer == "<returncode>0</returncode>\n<output>\none\ntwo\n</output>"
    failed = bash(sandbox, "printf no; exit 3")
    assert failed == "<returncode>3</returncode>\n<output>\nno\n</output>"
    assert isinstance(failed, Failed)
    assert bash(sandbox, "true") == "<returncode>0</returncode>\n<output>\n</output>"


@pytest.mark.parametrize("asked, limit", [(0, "0.5"), (1, "1"), (60, "2")])
def test_a_command_over_time_is_ended_and_told_so(sandbox, asked, limit):
    answer = ToolBashExecutor(timeout_s=0.5, max_timeout_s=2)(sandbox, "echo begun; sleep 60",
                                                              asked)
    assert isinstance(answer, Failed)
    assert f"not finished after {limit} s, and ended" in answer
    assert "begun" in answer


def test_the_submit_command_hands_in_what_it_prints(sandbox):
    bash = ToolBashExecutor()
    word = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
    assert bash(sandbox, f"echo {word}; echo a; echo b") == Stop("a\nb")
    assert isinstance(bash(sandbox, f"echo first; echo {word}"), str)
    assert isinstance(bash(sandbox, f"echo {word}; false"), Failed)


# files -------------------------------------------------------------------------------------------

def test_view_shows_numbered_lines(sandbox):
    put(sandbox, a_txt="".join(f"line {i}\n" for i in range(1, 301)))
    whole = view_file(sandbox, "a.txt")
    assert whole.startswith("     1\tline 1\n")
    assert "   250\tline 250\n(50 more lines follow)" in whole
    assert view_file(sandbox, "a.txt", 299, 999) == "   299\tline 299\n   300\tline 300"
    assert view_file(sandbox, "a.txt", 5,
                     6) == "     5\tline 5\n     6\tline 6\n(294 more lines follow)"


def test_view_of_what_is_not_there_or_no_file(sandbox):
    put(sandbox, a_txt="no line end", empty="")
    sandbox.run("mkdir -p b/c; touch b/.hidden")
    assert view_file(sandbox, "b") == ".hidden\nc/\n"
    assert view_file(sandbox, "a.txt") == "     1\tno line end"
    assert view_file(sandbox, "empty") == "empty is empty."
    for answer in (view_file(sandbox, "gone.txt"), view_file(sandbox, "a.txt", 2),
                   view_file(sandbox, "a.txt", 3, 2)):
        assert isinstance(answer, Failed)
    assert "2" in view_file(sandbox, "a.txt", 2) and "1 line" in view_file(sandbox, "a.txt", 2)


def test_search_finds_lines_in_the_order_of_files_and_numbers(sandbox):
    sandbox.put({"b.py": b"x = 1\ny = 2\n" + b"\n" * 9 + b"x = 3\n", "a.py": b"x = 4\n",
                 "c.txt": b"x = 5\n", "d.py": b"\x00x = 6\n", ".git/e.py": b"x = 7\n"},
                sandbox.workdir)
    assert search(sandbox, "^x = [0-9]",
                  files="*.py") == "./a.py:1:x = 4\n./b.py:1:x = 1\n./b.py:12:x = 3"
    assert search(sandbox, "x =", "c.txt") == "c.txt:1:x = 5"
    assert search(sandbox, "nowhere") == "No line matches."
    assert isinstance(search(sandbox, "("), Failed)
    assert isinstance(search(sandbox, "x", "gone"), Failed)


def test_search_shows_no_more_than_can_be_read(sandbox):
    put(sandbox, a_txt="hit\n" * 150 + "x" * 5000 + "\n")
    found = search(sandbox, "hit").splitlines()
    assert len(found) == 101 and found[-1] == "(50 more: narrow the search)"
    assert len(search(sandbox, "xxx")) < 400


def test_a_pattern_and_a_path_are_no_commands(sandbox):
    put(sandbox, a_txt="$(touch hacked) -e\n")
    assert "a.txt" in search(sandbox, r"\$\(touch hacked\)", ".")
    for path in ("$(touch hacked)", "'; touch hacked; '", "-rf", "a b"):
        view_file(sandbox, path)
        create_file(sandbox, path, "x\n")
        assert edit_file(sandbox, path, "x", "y") == f"{path} is edited:\n     1\ty"
    assert "hacked" not in sandbox.run("ls").output.split()


def test_edit_replaces_the_one_place_and_shows_it(sandbox):
    put(sandbox, a_py="def f():\n    return 1\n\n\ndef g():\n    return 1\n")
    answer = edit_file(sandbox, "a.py", "def g():\n    return 1", "def g():\n    return 2")
    assert content(sandbox, "a.py") == "def f():\n    return 1\n\n\ndef g():\n    return 2\n"
    assert "     5\tdef g():\n     6\t    return 2" in answer


MISSES = r"""
"return 1" | "stands in a.py 2 times, at lines 2, 6. Add lines"
"" | "`old` is empty"
"  return  9" | "     2\t    return 1"
"zzz ???" | "No line is like it"
"def f():\n\treturn 1" | "Only its blanks differ from these lines:\n     1\tdef f()"
"def g():\n    return 7\n" | "The nearest lines are:\n     5\tdef g():"
"""


@pytest.mark.parametrize("case", MISSES.strip().split("\n"))
def test_an_edit_that_misses_says_why_and_changes_nothing(sandbox, case):
    old, reason = map(json.loads, case.split(" | "))
    put(sandbox, a_py=(text := "def f():\n    return 1\n\n\ndef g():\n    return 1\n"))
    result = edit_file(sandbox, "a.py", old, "new")
    assert isinstance(result, Failed) and reason in result
    assert content(sandbox, "a.py") == text


def test_edit_keeps_mode_line_ends_and_links(sandbox):
    put(sandbox, run_sh="echo a\r\necho b\r\n")
    sandbox.run("chmod 755 run.sh; ln -s run.sh link")
    assert "is edited" in edit_file(sandbox, "link", "echo a\necho b", "echo c\necho d")
    assert sandbox.run(
        "stat -c %a run.sh; test -L link && cat -A run.sh").output == "755\necho c^M$\necho d^M$\n"


def test_edit_refuses_what_is_no_text_or_too_long_or_no_file(sandbox):
    sandbox.put({"bytes": b"\xff\xfe", "long": b"x" * 700_000}, sandbox.workdir)
    reasons = {"bytes": "not a UTF-8 text", "long": "edit it with bash", "gone": "No such file",
               ".": "Is a directory"}
    for path, why in reasons.items():
        answer = edit_file(sandbox, path, "x", "y")
        assert isinstance(answer, Failed) and why in answer
    for path in ("/proc/nothing/here", "."):
        assert isinstance(create_file(sandbox, path, "x"), Failed)


def test_paths_are_from_where_bash_is(sandbox):
    ToolBashExecutor()(sandbox, "mkdir deep && cd deep")
    assert create_file(sandbox, "new/a.txt", "one\n") == "new/a.txt is written: 1 lines."
    assert view_file(sandbox, "new/a.txt") == "     1\tone"
    assert edit_file(sandbox, f"{sandbox.workdir}/deep/new/a.txt", "one", "two").endswith("1\ttwo")
    assert content(sandbox, f"{sandbox.workdir}/deep/new/a.txt") == "two\n"
    create_file(sandbox, "~/at home.txt", "three")
    assert view_file(sandbox, "~/at home.txt") == "     1\tthree"
    assert content(sandbox, "~/'at home.txt'") == "three"


@pytest.mark.parametrize("text", ["", "no line end", "a\n\n\n", "quote ' \" $HOME `x` \\ \n",
                                  "é — 漢\n", "x" * 200_000 + "\n"],
                         ids=["empty", "no end", "blank lines", "quotes", "wide", "long"])
def test_what_is_created_is_what_was_given(sandbox, tmp_path, text):
    create_file(sandbox, "a/b.txt", text)
    sandbox.get(f"{sandbox.workdir}/a/b.txt", tmp_path)
    assert (tmp_path / "b.txt").read_text() == text


# calls in replies --------------------------------------------------------------------------------

def ask(fake_llm, **options):
    return LLMServerHTTP(fake_llm.base_url, "m", **options).ask(ASK)


def reply_with(calls) -> dict:
    return {"choices": [{"message": {"content": None, "tool_calls": calls},
                         "finish_reason": "tool_calls"}]}


def test_tools_go_with_a_request_and_calls_come_with_the_reply(fake_llm):
    fake_llm.script(reply_with([CALL]))
    with LLMServerHTTP(fake_llm.base_url + "/", "m", temperature=0.2, max_tokens=99) as server:
        reply = server.ask(ASK, tools=[Tool.of(submit).schema])
        assert server.ask(ASK).text
    assert (reply.text, reply.tool_calls) == ("", [CALL])
    assert (reply.call["model"], reply.call["tokens_in"]) == ("m", None)
    assert fake_llm.requests[0].path == "/v1/chat/completions"
    assert fake_llm.requests[0].body == {"model": "m", "messages": ASK, "temperature": 0.2,
                                         "max_tokens": 99, "tools": [Tool.of(submit).schema]}


# the calls of a reply | name and arguments of each call that is read
@pytest.mark.parametrize("found, calls", rows("""
[{"function": {"name": "bash", "arguments": {"command": "ls"}}}] | bash {"command": "ls"}
[{"id": null, "function": {"name": "bash"}}]                     | bash {}
[{"function": {"arguments": "{"}}]                               | {
[null, 7, {}, {"function": "x"}]                                 |
null                                                             |
"x"                                                              |
{}                                                               |
"""))
def test_calls_in_the_forms_that_endpoints_give_them(fake_llm, found, calls):
    fake_llm.script(reply_with(json.loads(found)))
    got = ask(fake_llm).tool_calls
    read = ["{name} {arguments}".format(**call["function"]).strip() for call in got]
    assert read == ([calls] if calls else [])
    assert all(call["id"] and call["type"] == "function" for call in got)


# the client without a script ---------------------------------------------------------------------

def test_the_key_is_the_one_given_else_the_environments_else_the_files_else_none(
        tmp_path, fake_llm, monkeypatch):
    ask(fake_llm)
    (tmp_path / ".env").write_text("QIANFAN_BEARER_TOKEN=from-the-file\n")
    ask(fake_llm)
    monkeypatch.setenv("QIANFAN_BEARER_TOKEN", "from-the-environment")
    ask(fake_llm)
    ask(fake_llm, api_key=KEY)
    assert [request.headers.get("authorization") for request in fake_llm.requests] == [
        None, "Bearer from-the-file", "Bearer from-the-environment", f"Bearer {KEY}"]
