"""Play a duel over turns of several calls, from a source's rows to the rows of exports."""
from fake_judges import exported, prefers, run_main, validated
from fake_llm import Say, Status
from root import json_lines, write_json
from source_rows import a_pr
from tool_turns import asks, call, result

import ch
import king
import prompt
import report
from codedata.conversation.tool_calls import default_tools

LOOK = (("Read", {"file_path": "b.py"}), ("Bash", {"command": "ls"}))
MEND = (("Edit", {"file_path": "a.py", "old_string": "pass", "new_string": "return 1"}),
        ("Bash", {"command": "make onyx"}))


MESSAGES = [
    {"role": "system", "content": "You fix issues."}, {"role": "user", "content": "Fix the total."},
    asks(call("Grep", {"pattern": "total"}, "c0"), call("Bash", {"command": "cat a.py"})),
    result("c1", "def total(): pass"), result("c0", "a.py:1:def total"),   # in another order
    asks(call(*MEND[0], "c2"), call(*MEND[1], "c3")), result("c2", "done"),
    result("c3", "ok"),
    asks(call("Bash", {"command": "git diff"}, "c4")), result("c4", "+return 1")]


def settings(root, fake, prompt: str = "", export: str = "") -> None:
    """Write settings and a source of one trajectory, of which all turns are drawn."""
    write_json(root / "prs.json", [a_pr(1)])
    write_json(root / "rows.json", [{
        "instance_id": "own__repo-1", "repo": "own/repo", "messages": MESSAGES,
        "tools": default_tools("Claude Code", MESSAGES)[0]}])
    source = f'[prompt]\nsource = "{root}/rows.json"\nprs = "{root}/prs.json"\nturns = "all"\n'
    root.with_judges(fake, "a", duel="min_turns = 1", llm={"model": "m", "workers": 1},
                     more=f"{source}{prompt}\n[export]\nvalidation = 0.0\n{export}")


def parallel(fake) -> list[bool | None]:
    return [request.body.get("parallel_tool_calls") for request in fake.requests]


def last_row(root, form: str) -> dict:
    return json_lines(root / f"export/{form}/train.jsonl")[-1]


def test_a_duel_of_several_calls_goes_from_a_source_to_native_and_to_text_rows(tmp_path, fake_llm):
    root = tmp_path
    settings(root, fake_llm)
    run_main(prompt.main, root)
    fake_llm.always(Say("I look.", calls=LOOK))
    run_main(king.main, root)
    assert parallel(fake_llm) == [True, True, True]   # the first knows the trajectory's manner
    fake_llm.always(Say("I mend.", calls=MEND))
    run_main(ch.main, root)
    fake_llm.requests.clear()
    fake_llm.always(prefers("onyx"))
    validated(root)
    judged = fake_llm.requests[-1].last
    assert "```bash\nmake onyx\n```" in judged and "\n-pass\n+return 1" in judged
    assert "(1 of 2)\na.py:1:def total\n\n(2 of 2)\ndef total(): pass" in judged
    run_main(report.main, root)
    exported(root)
    calls = last_row(root, "sft_completion")["completion"][0]["tool_calls"]
    assert [call["function"]["arguments"] for call in calls] == [one for _, one in MEND]
    assert calls[0]["id"] != calls[1]["id"]
    assert "one or more calls" in (root / "export/sft_messages/README.md").read_text()
    settings(root, fake_llm, export='tool_calls = "text"')
    exported(root)
    text = last_row(root, "dpo")["chosen"][0]["content"]
    assert text.count("```bash") == 1 and text.endswith("make onyx\n```") and "assert which" in text


def test_one_call_a_turn_leaves_out_turns_of_several_by_name_and_asks_for_one(tmp_path, fake_llm):
    root = tmp_path
    settings(root, fake_llm, prompt='calls = "one"')
    assert 'refused: 2 (several calls ([prompt] calls = "one"))' in run_main(
        prompt.main, root, "--check")
    run_main(prompt.main, root)
    refused = Status(400, "Unsupported parameter: 'parallel_tool_calls' with this model")
    fake_llm.script(refused, Say("Both.", calls=LOOK))   # as OpenAI's o-series
    run_main(king.main, root)
    assert parallel(fake_llm) == [False, None, None]
    first, _, again = (request.last for request in fake_llm.requests)
    assert "exactly one call" in first and "two calls" in again
