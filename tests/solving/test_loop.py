"""Check what attempts feed: prompts, pull requests, whole trajectories, and turns that are run; and
the run of all of it at night."""
import json
import os
import subprocess
import sys
from dataclasses import replace

import a_task
import pytest
from a_task import BUG_ID, DATAPOINT_ID, REPORT
from an_attempt import write_attempt
from conftest import REPO, edit, finish, mtimes, run_script
from fake_llm import FakeLLM, Status
from heron_environment import TEST_SCRIPT
from projects import Project
from root import json_lines, read_json, words, write_json
from tool_turns import asks, call, result

from codedata.agent import Tool, ToolBashExecutor
from codedata.disk.locks import lock
from codedata.records import PRUNED
from codedata.sandbox import open_sandbox
from codedata.sandbox.docker import engine
from codedata.settings import LLM
from codedata.solving.night import begin_night, post
from codedata.solving.trials import agent_id
from codedata.tasks.folder.task_folder import audited_digest

TOOLS = {"bash": Tool.of(ToolBashExecutor())}
HIDDEN = {"tests/test_swim.py": "def test_swim():\n    import heron\n"
                                "    assert heron.swim() == 3\n"}
SWIM = "tests/test_swim.py::test_swim"
# the shell goes on, and two commands fail
ACTS = [("bash", {"command": "cd tests && export DEPTH=3 && ls"}),
        ("bash", {"command": "pwd; echo $DEPTH; false"}),
        ("bash", {"command": "echo deep > notes; sed -i '1i X = 1' ../heron.py"}),
        ("bash", {"command": "cat notes nowhere"}), ("bash", {"command": "git diff"})]


def attempt(root, *acts: tuple[str, dict, str], task: str = BUG_ID, **more) -> None:
    """Write an attempt whose agent acts: (tool, arguments, what it is shown)."""
    messages = [{"role": "system", "content": "You work."}, {"role": "user", "content": REPORT}]
    for i, (tool, arguments, shown) in enumerate(acts):
        messages += [asks(call(tool, arguments, f"c{i}")), result(f"c{i}", shown)]
    content = audited_digest(a_task.read_task(root, task))
    write_attempt(root, task, messages=messages, tools=[one.schema for one in TOOLS.values()],
                  content=content, **more)


def says(root, seed: str, status: str, program: str = "pytest", **more) -> None:
    """Write an attempt of two commands."""
    commands = [f"{program} {words(f'{seed} {k}')}" for k in range(2)]
    attempt(root, *[("bash", {"command": command}, seed) for command in commands],
            status=status, **more)


def prompted(root, *flags) -> str:
    done = run_script("prompt.py", root, "--source", "attempt", "--max-per-instance", 0, *flags)
    assert done.returncode == 0, done.stderr
    return done.stderr


def sets(root) -> list[list]:
    """Return the rows of whole trajectories: solved ones, pairs."""
    assert "left out: 1 (cheated)" in prompted(root, "--trajectories")
    forms = "sft_trajectories", "dpo_trajectories"
    assert run_script("export.py", root, "--formats", ",".join(forms)).returncode == 0
    return [[row for path in root.glob(f"export/{form}/*.jsonl") for row in json_lines(path)]
            for form in forms]


def test_an_attempt_whose_turns_were_rewritten_is_left_out(tmp_path):
    a_task.write_task(tmp_path, a_task.a_bug())
    says(tmp_path, "won", "solved", k=1)
    path, = tmp_path.glob("attempt/*/trajectory.json")
    edit(path, lambda trajectory: trajectory["extra"].update(text_from=2))
    said = prompted(tmp_path, "--trajectories")
    assert "is of the form ATIF, but its earlier calls were rewritten as texts" in said
    assert not [*tmp_path.glob("prompt/_trajectories/[!_]*")]


def test_attempts_become_prompts_and_sets_and_those_that_are_added_change_none(tmp_path):
    for task in (a_task.a_bug(), a_task.a_datapoint()):
        a_task.write_task(tmp_path, task)
    says(tmp_path, "won", "solved", k=1)
    says(tmp_path, "lost", "wrong", k=2)
    says(tmp_path, "read", "cheated", k=3)
    says(tmp_path, "tally", "out of steps", task=DATAPOINT_ID)
    said = prompted(tmp_path)
    assert "left out: 1 (cheated)" in said and "kept: 1 (unusable PR record, kept for the" in said
    path, = tmp_path.glob("prompt/[!_]*.json")
    first = read_json(path)
    assert sorted(one["instance_id"] for one in first) == [BUG_ID, BUG_ID, DATAPOINT_ID]
    commit, = map(read_json, tmp_path.glob("commit/[!_]*.json"))
    assert [commit[key] for key in ("instance_id", "patch", "base_commit", "issue")] == [
        BUG_ID, a_task.HEALS, a_task.TASK_COMMIT, REPORT]
    (solved,), (pair,) = sets(tmp_path)
    assert words("won 0") in str(solved) and words("lost 0") in str(pair["rejected"])
    records = mtimes(tmp_path.glob("prompt/_trajectories/*.json"))
    assert "wrote" not in prompted(tmp_path) and len(records) == 3
    says(tmp_path, "again", "solved", agent="a-m-012345")   # its name comes first
    assert "wrote 1 prompt," in prompted(tmp_path) and read_json(path) == first
    assert [len(rows) for rows in sets(tmp_path)] == [2, 1]
    assert records == mtimes(records)
    (tmp_path / f"task/{BUG_ID}/task.toml").write_text("half =")   # the other task goes on
    says(tmp_path, "more", "wrong", task=DATAPOINT_ID, k=2)
    assert "wrote 1 prompt," in prompted(tmp_path)
    says(tmp_path, "old", "wrong", task=DATAPOINT_ID, k=3)
    (tmp_path / f"task/{DATAPOINT_ID}/instruction.md").write_text("Count.")
    assert "its task was edited since" in prompted(tmp_path)


def test_equal_attempts_each_have_a_record_and_one_by_an_earlier_version_keeps_its_name(tmp_path):
    write_attempt(tmp_path, status="wrong")
    prompted(tmp_path, "--trajectories")
    record, = tmp_path.glob("prompt/_trajectories/[!_]*")
    record.rename(record.parent / "sums.0fe1ae882cfcac76.json")   # the digest of its messages
    write_attempt(tmp_path, k=2)
    said = prompted(tmp_path, "--trajectories")
    assert "missing 1, adopted 1" in said or "adopted 1, missing 1" in said
    assert run_script("export.py", tmp_path, "--formats", "attempts").returncode == 0
    assert len((tmp_path / "export/attempts/train.jsonl").read_text().splitlines()) == 2


def always_solved(root) -> None:
    """Write a datapoint and its eight attempts, all solved. The first does not end in a check."""
    (root / "chain.toml").write_text('[solve]\nagent = "gold"\nn = 8\nkeep = 2\n'
                                     '[export]\nformats = ["attempts", "dpo"]\n')
    a_task.write_task(root, a_task.a_datapoint())
    for k in range(1, 9):
        says(root, f"way {k}", "solved", "ls" if k == 1 else "pytest", task=DATAPOINT_ID, k=k,
             agent=agent_id("gold", {}),
             usage={"calls": k, "tokens_in": 1, "tokens_out": 1, "cost_usd": 0.0})
    prompted(root, "--trajectories")
    assert "adopted 8" in run_script("solve.py", root).stderr


def loop(root, *flags, **env) -> subprocess.Popen:
    """Begin a night in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, REPO / "tools/chain", "loop", "--root", root, *flags], text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, env=os.environ | env)


def test_pruned_attempts_stay_done_and_no_reader_takes_them(tmp_path):
    always_solved(tmp_path)
    paths = sorted(tmp_path.glob("attempt/*/trajectory.json"))
    edit(paths[7], lambda trajectory: trajectory.update(notes="mine"))
    others = {path: path.read_bytes() for path in tmp_path.glob("attempt/*/[!t]*")}
    said = run_script("solve.py", tmp_path, "--prune", "--dry-run").stderr
    assert "would remove the messages of 5 attempts" in said
    assert "removed the messages of 5 att" in run_script("solve.py", tmp_path, "--prune").stderr
    assert [PRUNED in path.read_text() for path in paths] == [
        True, False, False, *[True] * 4, False]
    assert others == {path: path.read_bytes() for path in others}
    assert "of 0 attempts" in run_script("solve.py", tmp_path, "--prune").stderr
    assert "done 7, edited 1 (kept)   to do 0" in run_script("solve.py", tmp_path).stderr
    assert f"left out: 5 ({PRUNED})" in prompted(tmp_path, "--trajectories")
    assert f"left out: 5 ({PRUNED})" in prompted(tmp_path)
    done = run_script("export.py", tmp_path, "--formats", "sft_trajectories,attempts")
    assert done.returncode == 0 and "sft_trajectories 2 + 0 rows" in done.stderr
    assert f"{PRUNED} 5" in done.stderr


def test_an_attempt_without_messages_takes_the_place_of_none_that_stays(tmp_path):
    always_solved(tmp_path)
    paths = sorted(tmp_path.glob("attempt/*/trajectory.json"))
    for path in paths[1:3]:   # the two that would stay
        path.write_text("{")
    run_script("solve.py", tmp_path, "--prune")
    assert [PRUNED in path.read_text() for path in paths] == [True, *[False] * 4, *[True] * 3]


def test_a_night_ends_in_a_line_of_json_which_is_posted_and_has_the_root_to_itself(
        tmp_path, certificate):
    always_solved(tmp_path)
    with FakeLLM(certificate=certificate) as hook:
        hook.always(Status(400))
        done = finish(loop(tmp_path, "--notify", f"{hook.url}/secret",
                           REQUESTS_CA_BUNDLE=certificate[0]), 200)
        hook.always("ok")
        assert not post(hook.url, "{}", LLM(ca_bundle=certificate[0]))
    line = json.loads(done.stdout.splitlines()[-1])
    assert hook.requests[0].body == line and line["exit_code"] == done.returncode == 0
    assert [path.name for path in tmp_path.glob("export/[a-z]*/")] == ["attempts"]
    assert "--notify failed: HTTP 400" in done.stderr and "secret" not in done.stderr
    done = finish(loop(tmp_path, "--notify", "http://u:secret@127.0.0.1"))
    assert done.returncode == 2 and "of https" in done.stderr and "secret" not in done.stderr
    with lock(tmp_path / "_loop", None, "codedata loop"):
        assert "in use by codedata loop (process" in finish(loop(tmp_path)).stderr


def test_a_night_counts_what_it_adds(tmp_path):
    write_attempt(tmp_path)
    night = begin_night(tmp_path)
    write_attempt(tmp_path, k=2, status="wrong")
    write_attempt(tmp_path, "other")
    write_json(tmp_path / "attempt/_ledger.jsonl", {"calls": [{"cost_usd": 0.5}, {}]})
    line = json.loads(night(1, ["solve"]))
    assert (line["attempts"], line["solved"], line["failures"]) == (2, 1, {"wrong": 1})
    rates = line["rates"]["datapoint own-m-012345"]
    assert (rates["tasks"], rates["rate"]) == (2, 0.5)
    assert line["cost_usd"] is None   # a cost is unknown


@pytest.mark.docker
def test_a_turn_of_an_attempt_is_run_in_its_tasks_image_with_the_shell_and_tools_of_its_agent(
        tmp_path):
    project = Project("heron")
    image = project.make()
    task = a_task.proven_again(a_task.a_bug(image=image, hidden=HIDDEN),
                               tests={"tests.sh": TEST_SCRIPT.encode()})
    proof = {**task.proof, "image_id": engine.connect().inspect_image(image)["Id"]}
    a_task.write_task(tmp_path, replace(task, proof=proof))
    with open_sandbox("docker", image=image) as sandbox:
        attempt(tmp_path, *[(name, arguments, str(TOOLS[name](sandbox, arguments)))
                            for name, arguments in ACTS])
    prompted(tmp_path, "--turns", "last")
    path, = tmp_path.glob("prompt/[!_]*.json")
    prompt, = read_json(path)
    swims = call("bash", {"command": "printf 'def swim():\\n    return 3\\n' >> ../heron.py; pwd"})
    write_json(tmp_path / "answer/t_1.json", {**prompt, "king": asks(swims)})
    done = run_script("run_turns.py", tmp_path, timeout_s=300)
    assert done.returncode == 0, done.stderr
    found = read_json(tmp_path / "executed/t_1.json")
    assert (found["image_name"], found["replay"], found["n_equal"]) == (image, "equal", 4), found
    king = found["runs"][0]
    assert king["output"] == f"{project.workdir}/tests\n" and [*king["changes"]] == ["heron.py"]
    assert (found["before"][SWIM], king["tests"][SWIM]) == ("failed", "passed")
