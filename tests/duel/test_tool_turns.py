"""Test the duel on turns that call tools: what is sent, what is taken, what judges see."""
import json
import re
from functools import partial

import pytest
from conftest import edit, ledger_lines, read_answer
from fake_judges import run_main, validated, verdict
from fake_llm import OK, Say, Status
from root import a_prompt, read_json, turn_of, write_json
from tool_turns import arguments_of, asks, call, result

import ch
import king
import report
from codedata.conversation.tool_calls import default_tools
from codedata.disk.store import values_of
from codedata.errors import BrokenRecord
from codedata.leak.leaked_facts import find_facts
from codedata.llm.trim import fit
from codedata.records import Answer, Commit, Prompt, parse

SETTINGS = ('[judge]\nmodels = ["a"]\n[duel]\nmin_turns = 1\nmin_instances = 1\n')
PATCH = ("diff --git a/src/file_1.py b/src/file_1.py\n--- a/src/file_1.py\n+++ b/src/file_1.py\n"
         "@@ -1,2 +1,2 @@\n-    return compute_total(order)\n+    return 0\n")


HISTORY = [
    {"role": "system", "content": "You fix issues."},
    {"role": "user", "content": [{"type": "text", "text": "Fix the total."}]},
    {**asks(call("Bash", {"command": "ls"}, "c1")), "reasoning_content": "thought apart"},
    result("c1", "src tests"),
    asks(call("Read", {"file_path": "src/a.py"}, "c2"), call("Grep", {"pattern": "total"}, "c3"),
         text=""),
    result("c2", "def total(): pass"), result("c3", "src/a.py:1:total")]
TOOLS = default_tools("Claude Code", HISTORY)[0]


@pytest.fixture
def root(tmp_path, fake_llm):
    """Write two prompts with tools, one of them after a turn of two calls, and one of texts."""
    tmp_path.with_model(fake_llm, SETTINGS, workers=1)
    edit = {"file_path": "src/a.py", "old_string": "pass", "new_string": "return 1"}
    by_tools = {"messages": HISTORY, "tools": TOOLS, "assistant": asks(call("Edit", edit, "c4"))}
    write_json(tmp_path / "prompt/p.json", [
        a_prompt(1, several=True, **by_tools),
        a_prompt(2, **{**by_tools, "messages": HISTORY[:4]}), a_prompt(3)])
    tmp_path.with_commits(3)
    return tmp_path


def test_a_duel_of_calls_sends_the_tools_and_takes_the_call(root, fake_llm):
    run_main(king.main, root)
    first, single = (request.body for request in fake_llm.requests[:2])
    assert json.dumps(first["tools"]) == json.dumps(TOOLS)   # in the order that models know
    assert first["messages"][2]["tool_calls"] == HISTORY[2]["tool_calls"]
    assert "thought apart" not in json.dumps(first)
    assert first["parallel_tool_calls"] and "parallel_tool_calls" not in single
    assert "one or more calls of the tools" in first["messages"][-1]["content"]
    assert "exactly one call of one of the tools" in single["messages"][-1]["content"]
    assert "tools" not in fake_llm.requests[2].body
    made = read_answer(root, "p_1")
    assert made["king"]["tool_calls"][0]["function"]["name"] == "Bash"
    assert made["messages"] == HISTORY and json.dumps(made["tools"]) == json.dumps(TOOLS)
    assert "tools" not in read_json(root / "answer/p_3.json")
    run_main(ch.main, root)
    fake_llm.requests.clear()
    fake_llm.always(verdict("00000"))
    validated(root)
    judged = next(r for r in fake_llm.requests if "Read {" in r.text)
    assert "tools" not in judged.body
    assert ["calls in the form that its\nown prompt asks for" in r.text for r in fake_llm.requests
            if "- Edit(" in r.text] == [False, False, True, True]
    assert "- Edit(file_path, old_string" in judged.text
    run_main(report.main, root)
    assert read_json(root / "defeat/p_1.json")["king"] == made["king"]


def test_what_is_no_single_call_is_asked_for_again(root, fake_llm):
    two = Say("Both.", calls=(("Bash", {"command": "ls"}), ("Bash", {"command": "pwd"})))
    fake_llm.script(two, Say("I only talk."), Say("Now.", reasoning="the pull request says", calls=(
        ("Bash", {"command": "ls"}),)))
    run_main(king.main, root, "--only=p_2")
    assert ["two calls" in r.last for r in fake_llm.requests] == [False, True, False]
    assert "no tool call" in fake_llm.requests[2].last
    made = read_answer(root, "p_2")["king"]
    assert made["content"] == "Now." and "pull request" not in json.dumps(made)


def test_a_bash_block_in_place_of_a_call_is_a_call_of_the_shell(root, fake_llm):
    fake_llm.always(turn_of("ls -la", "I look."))
    run_main(king.main, root, "--only=p_1")
    made = read_answer(root, "p_1")["king"]
    assert made["content"] == "I look."
    assert arguments_of(made["tool_calls"][0]) == {"command": "ls -la"}


def test_a_model_that_takes_no_tools_is_asked_in_the_text_form(root, fake_llm):
    def reply(request):
        if "tools" in request.body:
            return Status(400, {"error": {"message": "no tool parser"}})
        return turn_of("grep -n total src/a.py", "I search.")
    fake_llm.always(reply)
    printed = run_main(king.main, root)
    said = "takes no tools: it is asked in the text form (HTTP 400: {\"error\": {\"message\": "
    assert printed.count(said + "\"no tool parser\"") == 1
    # with and without parallel_tool_calls; a probe; once it is tried
    refused, _, probe, asked, second = fake_llm.requests[:5]
    assert [m["role"] for m in probe.messages] == ["user"]
    assert "tools" in refused.body and "tools" not in second.body
    assert "exactly one block that opens with a line ```bash" in asked.messages[0]["content"]
    assert {m["role"] for m in asked.messages} == {"system", "user", "assistant"}
    assert "else cat -n src/a.py; fi\ngrep -rnP -e total .\n```" in asked.text
    assert read_answer(root, "p_2")["king"]["tool_calls"][0]["function"]["name"] == "Bash"
    line = next(line for line in ledger_lines(root / "answer") if line["item"] == "p_2")
    assert line["text_form"] is True


def test_a_refused_history_fails_its_item_and_its_model_still_gets_tools(root, fake_llm):
    """Ask a strict endpoint first with a history in which a call has no result."""
    edit(root / "prompt/p.json", lambda prompts: prompts[0]["messages"].pop(3))

    def strict(request):
        waiting = set()
        for message in [*request.messages, {"role": "end"}]:
            if waiting and message["role"] != "tool":
                return Status(400, "'tool_calls' must be followed by tool messages")
            waiting -= {message.get("tool_call_id")}
            waiting |= {call["id"] for call in message.get("tool_calls", ())}
        return OK
    fake_llm.always(strict)
    printed = run_main(king.main, root, code=1)
    assert "must be followed" in printed and "takes no tools" not in printed
    assert "tools" in fake_llm.requests[2].body and read_answer(root, "p_2")["king"]["tool_calls"]
    assert len(ledger_lines(root / "answer", state="failed")) == 1


def test_a_refusal_after_an_answer_with_tools_is_no_lack_of_tools(root, fake_llm):
    fake_llm.script(OK, Status(400, {"error": {"message": "content policy"}}))
    assert "content policy" in run_main(king.main, root, code=1)
    assert ["tools" in r.body for r in fake_llm.requests] == [True, True, False]


def refusing(request):
    if "tools" in request.body:
        return Status(422, {"error": {"message": "no tools here"}})
    return turn_of("ls", "I look.")


def test_a_kept_answer_in_the_text_form_is_served_from_there(root, fake_llm):
    """Fail the item behind its paid turn: the leak judge cannot be read."""
    fake_llm.always(refusing)
    run_main(king.main, root, "--only=p_1")
    root.with_model(fake_llm, SETTINGS + '[leak]\nmodels = ["auditor"]\n', workers=1)
    fake_llm.requests.clear()

    fake_llm.always(lambda request: "rubbish" if request.body["model"] == "auditor" else refusing)
    run_main(ch.main, root, code=1)
    n_paid = sum(r.body["model"] != "auditor" for r in fake_llm.requests)
    run_main(ch.main, root, code=1)
    assert n_paid == sum(r.body["model"] != "auditor" for r in fake_llm.requests) == 1


def test_a_root_has_answers_of_one_form(root, fake_llm):
    def runs(protocol: str, *flags, code: int = 2, main=king.main) -> str:
        of = "challenger" if main is ch.main else "king"
        root.with_model(fake_llm, f'{SETTINGS}[{of}]\nprotocol = "{protocol}"\n', workers=1)
        fake_llm.requests.clear()
        printed = run_main(main, root, *flags, code=code)
        # nothing was paid where the run was refused
        assert code == 0 or all("tools" in one.body for one in fake_llm.requests)
        return printed
    runs("auto", "--only=p_1", code=0)
    made = read_answer(root, "p_1")
    fake_llm.always(refusing)
    says = '[king] protocol has to be "native", the form of'
    assert says in runs("auto", "--only=p_2") and says in runs("text", "--only=p_2")
    refused = runs("native", "--only=p_2", code=1)
    assert "no tools here" in refused and '[king] protocol = "native"' in refused
    fake_llm.always(lambda request: OK if request.last == "Go on." else Status(400, "too long"))
    assert "set max_prompt_tokens" in runs("native", "--only", "p_2", code=1)
    assert read_answer(root, "p_1") == made
    fake_llm.always(refusing)
    runs("text", "--refresh", code=0)
    assert [line.get("text_form") for line in ledger_lines(root / "answer")[-3:]] == [
        True, True, None]
    fake_llm.always(OK)   # it takes tools now
    (root / "answer/p_1.json").unlink()
    runs("auto", code=0)
    assert "tools" not in fake_llm.requests[0].body
    assert '[challenger] protocol has to be "text"' in runs("native", main=ch.main)
    assert not fake_llm.requests


def test_a_turn_in_the_text_form_has_to_be_a_call_of_the_agent(root, fake_llm):
    no_shell = [tool for tool in TOOLS if tool["function"]["name"] != "Bash"]
    write_json(root / "prompt/p.json", [a_prompt(1, messages=HISTORY, tools=no_shell)])
    fake_llm.always(lambda r: Status(404, {}) if "tools" in r.body else turn_of("ls", "I look."))
    assert "the agent has no shell" in run_main(king.main, root, code=1)


def test_a_dry_run_counts_the_tools(root, fake_llm):
    def tokens_of(tools) -> int:
        write_json(root / "prompt/p.json", [a_prompt(1, messages=HISTORY, tools=tools)])
        printed = run_main(king.main, root, "--dry-run")
        return int(re.search(r"([\d,]+) tokens in", printed)[1].replace(",", ""))
    assert tokens_of(TOOLS) - tokens_of(TOOLS[:1]) > 100


def test_ids_of_calls_say_nothing(root, fake_llm):
    said = asks(call("Bash", {"command": "ls"}, "the_fix_is_in_fields"), text="")
    fake_llm.always({"choices": [{"message": said}]})
    run_main(king.main, root, "--only=p_1")
    assert "the_fix" not in (root / "answer/p_1.json").read_text()


def test_an_edit_of_text_that_nobody_has_seen_is_a_fact(root):
    commit = parse(Commit, {**read_json(root / "commit/proj__repo-1.json"), "patch": PATCH}, "")
    turn = "I mend it.\n\n```tool\nEdit {\"file_path\": \"src/a.py\"}\n" \
           "-    return compute_total(order)\n+    return 1\n```"
    kinds = {(fact.kind, fact.certain) for fact in find_facts(HISTORY, turn, commit)}
    assert ("anchor", True) in kinds
    seen = [*HISTORY, {"role": "tool", "content": "    return compute_total(order)"}]
    assert not any(fact.kind == "anchor" for fact in find_facts(seen, turn, commit))


def test_a_result_is_never_cut_off_from_its_call():
    pairs = [message for i in range(9) for message in (
        asks(call("Bash", {"command": "ls"}, f"c{i}"), call("Bash", {"command": "pwd"}, f"d{i}")),
        result(f"c{i}", "x" * 300), result(f"d{i}", "y" * 300))]
    history = [*HISTORY[:2], *pairs]
    for limit in range(350, 2200, 50):
        messages = fit(history, limit).messages
        known: set[str] = set()
        for message in messages:
            known |= {one["id"] for one in message.get("tool_calls", ())}
            assert message["role"] != "tool" or message["tool_call_id"] in known
        assert messages[-1]["tool_call_id"] == "d8"


WRONG = """{"messages": [{"role": "user"}]}
{"messages": [{"role": "user", "content": 3}]}
{"tools": [3]}
{"assistant": {"content": "a", "tool_calls": [{}]}}
{"assistant": 3}"""


def test_records_without_tools_are_written_and_compared_as_before():
    fields = {"instance_id": "a", "messages": HISTORY[:1], "assistant": "x"}
    assert "tools" not in values_of(Answer(**fields))
    assert values_of(Answer(**fields, tools=TOOLS))["tools"] == TOOLS
    read = partial(parse, Prompt, where="p.json")
    base = {**fields, "repo": "r", "language": "l", "turn": 0}
    assert read({**base, "messages": HISTORY}).tools is None
    for wrong in map(json.loads, WRONG.splitlines()):
        field, = wrong
        with pytest.raises(BrokenRecord, match=f"`{field}`"):
            read({**base, **wrong})
