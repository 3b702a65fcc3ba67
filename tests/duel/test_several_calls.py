"""Play a duel over turns of several calls, from a source's rows to the rows of exports."""
from __future__ import annotations

import json

import pytest
from conftest import write_json, write_toml
from fake_judges import exported, prefers, run_main, validated
from fake_llm import Say
from judged import json_lines, read_json
from source_rows import a_pr

import ch
import king
import prompt
import report
from codedata.conversation.tool_calls import default_tools

LOOK = (("Read", {"file_path": "b.py"}), ("Bash", {"command": "ls"}))
MEND = (("Edit", {"file_path": "a.py", "old_string": "pass", "new_string": "return 1"}),
        ("Bash", {"command": "make onyx"}))


def asks(*calls, text: str = "I look at both.", n: int = 0) -> dict:
    return {"role": "assistant", "content": text, "tool_calls": [
        {"id": f"c{n + i}", "type": "function",
         "function": {"name": name, "arguments": json.dumps(arguments)}}
        for i, (name, arguments) in enumerate(calls)]}


def result(n: int, text: str) -> dict:
    return {"role": "tool", "tool_call_id": f"c{n}", "content": text}


MESSAGES = [
    {"role": "system", "content": "You fix issues."}, {"role": "user", "content": "Fix the total."},
    asks(("Grep", {"pattern": "total"}), ("Bash", {"command": "cat a.py"})),
    result(1, "def total(): pass"), result(0, "a.py:1:def total"),   # in another order
    asks(*MEND, text="I mend it.", n=2), result(2, "done"), result(3, "ok"),
    asks(("Bash", {"command": "git diff"}), n=4), result(4, "+return 1")]


@pytest.fixture
def root(tmp_path, fake_llm):
    """Return a root with settings and a source of one trajectory, of which all turns are drawn."""
    source = tmp_path / "source"
    write_json(source / "prs.json", [a_pr(1)])
    write_json(source / "rows.json", [{
        "instance_id": "own__repo-1", "repo": "own/repo", "messages": MESSAGES,
        "tools": default_tools("Claude Code", MESSAGES)}])
    settings(tmp_path, fake_llm)
    return tmp_path


def settings(root, fake, prompt: str = "", more: str = "") -> None:
    write_toml(root, {"base_url": fake.base_url, "model": "m", "workers": 1}, (
        f'[prompt]\nsource = "{root}/source/rows.json"\nprs = "{root}/source/prs.json"\n'
        f'turns = "all"\n{prompt}\n[judge]\nmodels = ["a"]\n[duel]\nmin_turns = 1\n'
        f"min_instances = 1\nbootstrap_resamples = 500\n[export]\nvalidation = 0.0\n{more}\n"))


def drawn(root, *flags) -> list[int]:
    """Return the turns that prompt.py draws."""
    run_main(prompt.main, root, *flags)
    path, = (root / "prompt").glob("prompts_*.json")
    return [one["turn"] for one in read_json(path)]


def rows(root, form: str = "dpo") -> list[dict]:
    return json_lines(root / f"export/{form}/train.jsonl")


def test_a_duel_of_several_calls_goes_from_a_source_to_rows_in_native_and_text_form(root, fake_llm):
    assert drawn(root) == [0, 1, 2]
    fake_llm.always(lambda r: Say("I look.", calls=LOOK if "parallel_tool_calls" in r.body
                                  else LOOK[:1]))
    run_main(king.main, root)
    assert [r.body.get("parallel_tool_calls") for r in fake_llm.requests] == [None, True, True]
    fake_llm.always(lambda r: Say("I mend.", calls=MEND if "parallel_tool_calls" in r.body
                                  else MEND[1:]))
    run_main(ch.main, root)
    fake_llm.requests.clear()
    fake_llm.always(prefers("onyx"))
    validated(root)
    judged = fake_llm.requests[-1]
    assert "one or more calls of the\nagent's tools" in judged.text
    assert "```bash\nmake onyx\n```" in judged.last and "\n-pass\n+return 1" in judged.last
    assert "(2 of 2)\ndef total(): pass\n\n(1 of 2)\na.py:1" in judged.last
    run_main(report.main, root)
    exported(root)
    row = rows(root, "sft_completion")[-1]
    made, = row["completion"]
    assert [(call["function"]["name"], call["function"]["arguments"])
            for call in made["tool_calls"]] == [*MEND]
    assert len({call["id"] for call in made["tool_calls"]}) == 2
    assert [m.get("tool_call_id") for m in row["prompt"]][3:5] == ["c1", "c0"]
    assert [len(rows(root)), len(rows(root, "kto"))] == [3, 6]
    assert "one or more calls" in (root / "export/sft_messages/README.md").read_text()
    settings(root, fake_llm, more='tool_calls = "text"')
    exported(root)
    text = rows(root)[-1]["chosen"][0]["content"]
    assert text.count("```bash") == 1 and text.endswith("make onyx\n```") and "assert which" in text


def test_one_call_a_turn_leaves_out_turns_of_several_by_name_and_asks_for_one(root, fake_llm):
    settings(root, fake_llm, prompt='calls = "one"')
    assert 'not usable: 2 (several calls ([prompt] calls = "one"))' in run_main(
        prompt.main, root, "--check")
    assert drawn(root) == [2]
    fake_llm.script(Say("Both.", calls=LOOK))
    run_main(king.main, root)
    assert [r.body["parallel_tool_calls"] for r in fake_llm.requests] == [False, False]
    first, second = (request.last for request in fake_llm.requests)
    assert "exactly one call" in first and "two calls" in second
