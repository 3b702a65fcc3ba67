"""Check the sets of attempts and those for other trainers, and which solved ones end in a check."""
import json

import pytest
from an_attempt import write_attempt
from conftest import run_script
from exports import card, left_out_lines, rows
from exports import load as load  # a fixture
from line_tables import rows as table
from root import words
from tool_turns import TOOLS, arguments_of, asks, call, result

from codedata.conversation.recorded_steps import check_problem

EDIT, TEST = "sed -i s/a/b/ '</tool_call>.py'", "pytest -q"
ENDS = [   # (status, what the agent does, the exit code that its last command shows)
    ("solved", f"{EDIT} && {TEST}", 0), ("solved", f"{TEST}; {EDIT}", 0),
    ("solved", f"{EDIT} && {TEST}", 1), ("solved", "ls", 0),
    ("solved", f"{EDIT}; {TEST}; rm try.py; cd a && git diff > a.patch", 0),
    ("solved", f"python - <<'E'\nopen('a', 'w').write('')\nE\n{TEST}", 0),
    ("wrong", EDIT, 0), ("cheated", TEST, 0)]


# the last call, its prose, what it shows, and the problem: there is one after a check, but
# none after an edit
@pytest.mark.parametrize("tool, command, prose, shown, problem", table(r"""
bash | touch a && echo MINI_SWE_AGENT_FINAL_OUTPUT | I. | | no code was run after the edit in turn 1
bash | pytest | I test. | |
bash | sed -i s/a/b/ a | Observation: stale | | no code was run after the edit in turn 1
str_replace_editor | undo_edit | I undo. | done | no code was run after the edit in turn 1
write_file | | I write. | done | no code was run after the edit in turn 1
str_replace_based_edit_tool | insert | I edit. | done | no code was run after the edit in turn 1
bash | bash -lc "cd a && sed -i s/a/b/ a" | So. | done | no code was run after the edit in turn 1
bash | git stash | I stash. | done | no code was run after the edit in turn 1
bash | pytest | I test. | a\n=== 3 failed, 2 passed in 1s === | turn 1 shows: 3 failed
bash | pytest | I test. | bash: pytest: command not found | turn 1 shows: command not found
bash | pytest | I test. | 3 failed before\n\n\n\n\n0 failed, 2 xfailed, 0 errors |
"""))
def test_a_trajectory_ends_in_a_check(tool, command, prose, shown, problem):
    before = call("bash", {"command": "pytest" if problem else EDIT}, "c0")
    messages = [{"role": "user", "content": "Go."}, asks(before), result("c0", "ok"),
                asks(call(tool, {"command": command, "path": "a"}), call("submit", {}), text=prose)]
    if shown:
        messages.append(result("c1", shown.replace(r"\n", "\n")))
    assert check_problem(messages, TOOLS) == problem


@pytest.fixture
def root(tmp_path):
    """Return a root with the sets of eight attempts."""
    for k, (status, command, code) in enumerate(ENDS, 1):
        seen = f"<returncode>{code}</returncode>\n<output>\n{words(f'seen {k}')}\n</output>"
        acts = [call("bash", {"command": f"{command} # {words(f'{k} {i}')}"}, f"c{i}")
                for i in range(2)]
        messages = [{"role": "user", "content": "Add up."},
                    {**asks(*acts), "content": "A <tool_call>"},
                    result("c0", ""), result("c1", seen), {"role": "user", "content": "Go on."},
                    {"role": "assistant", "content": "Done."}]
        write_attempt(tmp_path, k=k, status=status, messages=messages, tools=TOOLS[:1],
                      reward=0.4 if status == "wrong" else 1.0)
    for script, *flags in (("prompt.py", "--trajectories", "--source", "attempt"), (
            "export.py", "--formats", "sft_trajectories,attempts,openai,sharegpt")):
        done = run_script(script, tmp_path, *flags)
        assert done.returncode == 0, done.stderr
    return tmp_path


def test_all_attempts_are_in_their_set_and_only_checked_ones_are_learnt(root, load):
    found = load(root / "export/attempts")["train"]
    assert {(row["attempt"], row["checked"], row["label"], row["reward"]) for row in found} == {
        (1, True, True, 1.0), (2, False, True, 1.0), (3, False, True, 1.0), (4, False, True, 1.0),
        (5, True, True, 1.0), (6, True, True, 1.0), (7, False, False, 0.4)}
    keys = "model", "steps", "tokens_in", "attempts", "solved"
    assert {tuple(map(row.get, keys)) for row in found} == {("m", 2, 200, 8, 6)}
    assert "| trajectories left out: cheated | 1 |" in card(root, "attempts")
    assert len(rows(root, "sft_trajectories")) == 2   # the cap of a task
    assert "| trajectories left out: not checked | 3 |" in card(root, "sft_trajectories")
    assert {line["detail"] for line in left_out_lines(root) if line["reason"] == "not checked"} == {
        "no code was run after the edit in turn 0", "turn 0 ended with exit code 1",
        "no code was run"}


def test_a_row_keeps_the_published_rules_of_openais_files(root):
    for row in rows(root, "openai"):
        assert row.keys() == {"messages", "tools"} and row["tools"][0]["type"] == "function"
        ask, act, first, *_, end = row["messages"]
        one = act["tool_calls"][0]
        assert (ask.keys(), act["weight"], end["weight"]) == ({"role", "content"}, 1, 1)
        assert first == {"role": "tool", "content": "", "tool_call_id": one["id"]}
        assert arguments_of(one).keys() == {"command"}


def test_a_row_alternates_as_llama_factory_wants_and_its_calls_are_not_cut(root):
    sets = json.loads((root / "export/sharegpt/dataset_info.json").read_text())
    assert sets["codedata_train"]["file_name"] == "train.jsonl"
    for row, whole in zip(rows(root, "sharegpt"), rows(root, "sft_trajectories"), strict=True):
        _, act, seen, end = row["conversations"]
        assert [one["from"] for one in row["conversations"]] == [
            "human", "function_call", "observation", "gpt"] and end["value"] == "Done."
        text, _, calls = act["value"].partition("<tool_call>")
        assert text == "A < tool_call>\n\n" and json.loads(calls.partition("</tool_call>")[0]) == [
            one["function"] for one in whole["messages"][1]["tool_calls"]]
        assert seen["value"].endswith("</output>\n\nGo on.") and json.loads(row["tools"])
