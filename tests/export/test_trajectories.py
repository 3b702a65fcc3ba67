"""Check whole trajectories: what a source says of their ends, which are exported, and how they are
found again."""
import json

import pytest
from conftest import edit, kill, mtimes, run_script, start_script
from exports import card, left_out, manifest, rows
from exports import load as load  # a fixture
from line_tables import rows as table
from root import read_json, words, write_files
from source_rows import a_pr, sample, write_jsonl, write_sources
from tool_turns import EDITOR, TOOLS, a_run, both, calls, result

from codedata.leak.leaked_facts import has_read_fix
from codedata.records import Commit
from codedata.sampling.readers import forms
from codedata.sampling.readers.trajectory_outcomes import outcome_of

SFT, DPO, GYM = "sft_trajectories", "dpo_trajectories", "nemo_gym"
CONFIG = "--config", "chain.toml"   # beside the root
FIX = "\n".join(f"    return compute_total(values, base={k})" for k in range(4))
PATCH = "--- a/m.py\n+++ b/m.py\n@@ -0,0 +1,4 @@\n+" + FIX.replace("\n", "\n+") + "\n"


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def record(root, some: list[dict], setting: str = "", prs: list[dict] | None = None) -> str:
    setting = setting if "checked" in setting else f"checked_only = false\n{setting}"
    write_sources(root.parent, some, prs, f"[export]\n{setting}\n")
    return sample(root, "--trajectories")


def export(root, code: int = 0) -> str:
    done = run_script("export.py", root, *CONFIG, "--formats", f"{SFT},{DPO},atif,{GYM},attempts",
                      cwd=root.parent)
    assert done.returncode == code, done.stderr
    return done.stderr


def records(root) -> dict:
    return {path.stem: path
            for path in sorted((root / "prompt/_trajectories").glob("[!_]*.json"))}


@pytest.mark.parametrize("document, resolved, reward, exit_status, patch", table(r"""
{"resolved": 1, "exit_status": "submit", "model_patch": "p"} | True | None | submit | p
{"target": false, "generated_patch": "p", "reward": "high"} | False | None | | p
{"info": {"exit_status": "Submitted", "submission": "p"}} | None | None | Submitted | p
{"report": "{\"resolved\": \"True\"}", "resolved": null, "reward": HUGE} | True | None | |
{"test_result": {"git_patch": "p"}} | None | None | | p
{"reward": 0.5, "resolved": null, "exit_status": 3} | None | 0.5 | |
{"resolved": "maybe", "reward": NaN} | None | None | |
[{"resolved": true}] | None | None | |
"""))
def test_the_end_of_a_trajectory_is_read_from_the_keys_that_sources_have(
        document, resolved, reward, exit_status, patch):
    outcome = outcome_of(json.loads(document.replace("HUGE", "1" + "0" * 400)))
    assert [*map(str, outcome)] == [resolved, reward, exit_status, patch]


def test_the_reward_of_a_trial_of_harbor_lies_beside_its_agent(tmp_path):
    write_files(tmp_path, {"result.json": '{"verifier_result": {"rewards": {"reward": 0.25}}}'})
    assert outcome_of({}, f"{tmp_path}/agent/trajectory.json")[1] == 0.25
    for part, name in ({"continued_trajectory_ref": "b"}, ""), ({}, ".summarization-1-summary"):
        assert outcome_of(part, f"{tmp_path}/agent/trajectory{name}.json")[1] is None
    write_files(tmp_path, {"result.json": "{"})
    assert outcome_of({}, f"{tmp_path}/agent/trajectory.json")[1] is None


# task | text that it differs by | outcome
OUTCOMES = """\
1 | won | {"resolved": true, "reward": 0.0}
1 | lost | {"resolved": false}
2 | paid | {"reward": 1.0}
3 | unpaid | {"reward": 0.5}
2 | otherwise | {"resolved": false}
4 | alike | {"resolved": false}
4 | alike | {"resolved": true}
4 | more | {"resolved": true}"""


def test_what_was_solved_is_learnt_from_the_assistant_alone_and_paired_with_what_failed(root, load):
    some = [a_run(task, seed, **json.loads(outcome)) for task, seed, outcome in (
        line.split(" | ") for line in OUTCOMES.splitlines())]
    some[4]["messages"][1]["content"] = "another task"
    some[5]["messages"].pop()   # what its last call gave: no other act
    record(root, some, "trajectories_per_task = 1")
    export(root)
    solved = load(root / "export" / SFT)["train"]
    assert [*solved["instance_id"]] == ["own__repo-1", "own__repo-2", "own__repo-4"]
    assert sorted(left_out(root).values()) == [
        "chosen is rejected", *["not solved"] * 2,
        *["not solved, nothing to pair it with"] * 2, "nothing to pair it with", "over a cap"]
    one = solved[0]
    assert [(m["role"], m["train"]) for m in one["messages"]] == [
        ("system", False), ("user", False), ("assistant", True), ("tool", False),
        ("assistant", True)]
    call = one["messages"][2]["tool_calls"][0]
    assert call["id"] == one["messages"][3]["tool_call_id"] == "c0" and one["tools"] == TOOLS
    assert call["function"]["arguments"] == {"command": words("won do 0")}
    pair, = rows(root, DPO)
    assert [m["role"] for m in pair["prompt"]] == ["system", "user"]
    assert pair["chosen"] == [{k: v for k, v in m.items() if k != "train"}
                              for m in one["messages"][2:]]
    assert words("lost 0") in pair["rejected"][0]["content"] and pair["licence"] == "unknown"
    assert {pair["source"], pair["rejected_source"]} <= records(root).keys()
    turn, = manifest(root, DPO)["turns"]
    assert turn["name"] == pair["source"]
    assert turn["rejected_digest"] not in ("", turn["digest"])


def test_each_single_call_of_what_was_solved_is_a_row_that_nemo_gym_can_reward(root, load):
    one = a_run(1, "won", resolved=True)
    one["messages"][2]["reasoning_content"] = "why"
    for i, lines in enumerate([[7, 9], [7, -1], "[7, 7]"]):
        one["messages"] += [calls(EDITOR, id=f"v{i}", command="view", path="/a", view_range=lines),
                            result(f"v{i}", "seen")]
    one["messages"] += [both("won"), result("call_8", ""), result("call_9", "ok")]
    record(root, [one, a_run(2, "lost", resolved=False)])
    export(root)
    found = rows(root, GYM)
    name = found[0]["source"]
    assert [row["uuid"] for row in found] == [f"{name}.{at}" for at in (2, 4, 6)]
    assert [*load(root / "export" / GYM)["train"]] == found
    acts = [{"type": "function_call", "call_id": f"c{k}", "name": "bash",
             "arguments": json.dumps({"command": words(f"won do {k}")})} for k in range(2)]
    assert [row["expected_action"] for row in found[:2]] == acts
    tools = [{"type": "function", "strict": None, **tool["function"]} for tool in TOOLS]
    assert found[1]["responses_create_params"] == {"tools": tools, "input": [
        {"role": "system", "content": "rules"}, {"role": "user", "content": "task 1"},
        {"type": "reasoning", "id": "", "summary": [{"type": "summary_text", "text": "why"}]},
        {"role": "assistant", "content": words("won 0")}, acts[0],
        {"type": "function_call_output", "call_id": "c0", "output": "ok 0"}]}


def test_a_trajectory_of_atif_is_read_again_as_it_was(root, load):
    one = a_run(1, "won", resolved=True)
    record(root, [one])
    export(root)
    (row,) = load(root / "export/atif")["train"]
    assert forms.read(row["trajectory"], "here")["messages"] == one["messages"][:-1]


# task | text that it differs by | command
SOLVED = """\
1 | a | make all
1 | b | make all
2 | c | make all
3 | c
3 | d
4 | f | cat /tests/test_outputs.py
6 | h | git log --oneline --all
5 | i
7 | j | ls app/tests/ /testbed"""


def test_each_one_left_out_is_named_and_the_card_counts_it(root):
    write_jsonl(root.parent / "bench.jsonl", [{"instance_id": "own__repo-5", "patch": ""}])
    long, reads, gap, copied = (a_run(k, f"x{k}", resolved=True) for k in (3, 8, 9, 10))
    for one in (long, gap):
        one["messages"] += a_run(3, "y")["messages"][2:]
    reads["messages"][3]["content"] = FIX
    del gap["messages"][3]
    copied["messages"][2]["is_demo"] = True
    copied["history"] = copied.pop("messages")
    solved = [a_run(*line.split(" | "), resolved=True) for line in SOLVED.splitlines()]
    some = [*solved[:3], long, *solved[3:5], reads, gap, copied, a_run(6, "g"), *solved[5:]]
    said = record(root, some, f'decontaminate = ["{root.parent}/bench.jsonl"]')
    assert "left out: 1 (turns that are not its own" in said
    edit(root / "commit/own__repo-8.json", patch=PATCH)
    export(root)
    reasons = sorted(left_out(root).values())
    assert [reason for reason in reasons if reason != "nothing to pair it with"] == [
        "in a benchmark", "near-duplicate", "no outcome", "nothing to pair it with, roles",
        "over a cap", *["read what it should not"] * 3]
    assert [len(row["messages"]) for row in rows(root, SFT)] == [5] * 5   # not the longest of 3
    assert len(rows(root, "attempts")) == 7   # also the near-duplicate, and that over a cap
    assert "| trajectories left out: read what it should not | 3 |" in card(root, SFT)
    assert "| trajectories left out: nothing to pair it with | 6 |" in card(root, DPO)
    assert "were read from: rows.jsonl (5 turns)." in card(root, SFT)


def test_commands_that_reach_later_history_are_barred_in_other_spellings_and_others_are_not(root):
    commands = ("ls $(pwd)/tests", "echo '[#5](https://github.com/own/repo/issues/5)'",
                "git  log --branches", "git show origin/main:a.py",
                *["curl https://github.com/Own/repo/pull/5.diff"] * 3)
    some = [a_run(i, f"s{i}", command, resolved=True, repo="")
            for i, command in enumerate(commands)]
    some[5]["repo"] = "https://git.example/own/repo.git"
    some[6]["instance_id"] = "own__repo.0123abcd.bug__6"   # of SWE-smith
    record(root, some, prs=[a_pr(i) for i in range(6)])
    export(root)
    assert [row["instance_id"][-1] for row in rows(root, SFT)] == ["0", "1"]


def test_an_edited_record_stays_and_decides_and_a_changed_row_is_refused_till_it_is_recorded_again(
        root):
    some = [a_run(1, "a", resolved=True), a_run(2, "b"), a_run(3, "c", resolved=True)]
    record(root, some)
    for path in list(records(root).values())[:2]:
        edit(path, resolved="own__repo-1." not in path.name)
    some[2] = {**some[2], "exit_status": "other"}
    write_sources(root.parent, some, None, "[export]\nchecked_only = false\n")
    said = export(root, code=1)
    assert "rows.jsonl row 2" in said and "own__repo-3" in said
    assert [row["instance_id"] for row in rows(root, SFT)] == ["own__repo-2"]
    assert [*left_out(root).values()].count("broken record") == 1
    said = record(root, some)
    assert "edited 2 (kept)" in said and "wrote 1" in said
    export(root)
    assert [row["instance_id"] for row in rows(root, SFT)] == ["own__repo-2", "own__repo-3"]
    assert "wrote 2" in record(root, [a_run(9, "new"), some[2]])   # the row that has moved, too
    assert "orphan 2" in sample(root, "--trajectories --status")


def test_killed_between_records_it_goes_on_and_comes_to_the_same(root):
    some = [a_run(i, f"s{i}") for i in range(300)]
    write_sources(root.parent, some)
    with (root.parent / "rows.jsonl").open("a") as file:
        file.write('[1]\n')
    for _ in range(2):   # no further than the first page, without its broken last line
        said = sample(root, "--trajectories --limit 5")
        assert "wrote 5" in said and "orphan" not in said and "excluded" not in said
    process = start_script("prompt.py", root, *CONFIG, "--trajectories", cwd=root.parent)
    while len(records(root)) < 20:
        assert process.poll() is None
    kill(process)
    left = mtimes(records(root).values())
    assert 20 <= len(left) < 300
    record(root, some)
    assert sorted(read_json(path)["row"] for path in records(root).values()) == [*range(300)]
    assert left == mtimes(left)


@pytest.mark.parametrize("told, wrote, moved, read", [
    (0, 0, 0, True), (1, 0, 0, False), (0, 1, 0, False), (0, 0, 1, False)])
def test_a_fix_that_a_result_shows_before_it_was_written_was_read(told, wrote, moved, read):
    patch = PATCH + moved * PATCH.replace("\n+ ", "\n- ")
    commit = Commit("a", "o/r", "python", "c", "", "", ["m.py"], patch, "")
    texts = ["mend" + told * FIX, "look", "files", "more" + wrote * FIX, FIX, "done"]
    messages = [{"role": ("user", "assistant")[i % 2], "content": text}
                for i, text in enumerate(texts)]
    assert has_read_fix(messages, commit) is read
