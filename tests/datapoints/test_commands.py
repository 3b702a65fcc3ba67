"""Check the commands of agents, by the script: from seeds to an approved datapoint."""
import json
import re
from functools import partial

import pytest
from a_datapoint import (
    ALL_RIVALS,
    CONTEXT,
    OF_REVIEW,
    RIVALS,
    TEXTS,
    write_approved,
    write_datapoint,
)
from conftest import REPO, run_script
from killed import at_events, is_killed_at
from recorded import SPEC, judged
from root import write_files

from codedata.datapoints.approval import is_as_proven
from codedata.datapoints.commands.review import ReviewCommands
from codedata.datapoints.datapoint_folder import read_datapoint
from codedata.datapoints.task_queue import MAX_ATTEMPTS, TaskManager
from codedata.settings import DpSettings
from codedata.tasks.folder.task_folder import task_problem

# audit events right before or after a change of a file's place
STEPS = {"os.rename", "os.mkdir", "os.rmdir", "shutil.rmtree", "shutil.copytree"}
APPROVE = "approve_datapoint --category Debugging --tags python"


def tool(root, command: str, *words, code: int = 0) -> dict:
    """Run a command, which may have flags; its files are named from the root."""
    done = run_script("build_dp.py", root, "tool", *command.split(), *words)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code < 2 else {"error": done.stderr}


def refused(root, *words) -> str:
    """Return why a command is refused."""
    return tool(root, *words, code=1)["error"]


def claimed(root, type: str, agent: str = "a") -> list[str]:
    """Claim a task, and return the flags that name it."""
    task = tool(root, f"next --agent {agent} --task-type {type}")
    return ["--task-id", task["id"], "--claim", task["claim"]]


@pytest.fixture
def seeded(tmp_path):
    (tmp_path / "chain.toml").write_text('[dp]\nprofile = "general"\n')   # allows any size
    (tmp_path / "seed.md").write_text("# Sums\n\nAdd up.\ncanary GUID 1\n")
    assert tool(tmp_path, "init_seed_tasks seed.md") == {"new": 1}
    return tmp_path


def ideas(n: int) -> str:
    return json.dumps([{"title": f"Idea {i}"} for i in range(n)])


def built(root) -> tuple[list[str], dict]:
    """Stage a datapoint of the seed; return (the flags of its task, what create_dp says)."""
    idea = claimed(root, "generate_idea")
    assert tool(root, "save_artifact", *idea, "--text", ideas(20)) == {"saved": 20}
    for odd in ('"n": 1' + "0" * 20, f'"n": {"[" * 600}{"]" * 600}', r'"n": "\ud800"'):
        refused(root, "save_artifact", *idea, "--text", f'[{{"title": "x", {odd}}}]')
    assert "No task builds an idea of this seed" in refused(root, "complete", *idea)
    draft = tool(root, "add_artifact", *idea, "--text", SPEC)
    assert draft["datapoint"] == "seed_001_a"
    assert "No task builds seed_001_a:" in refused(root, "complete", *idea)
    assert "not a draft" in refused(root, "create_task", *idea, "--datapoint", "x")
    one, same = (tool(root, "create_task", *idea, "--datapoint", "seed_001_a") for _ in range(2))
    assert one == same and tool(root, "complete", *idea)["children"] == [one["task"]]
    task = claimed(root, "build_datapoint")
    write_files(root / "source", TEXTS | {f"files/{path}": one for path, one in CONTEXT.items()})
    paths = [word for part in TEXTS for word in (f"--{part}-file", root / "source" / part)]
    return task, tool(root, "create_dp", *task, *paths, "--difficulty", "easy",
                      "--additional-files-dir", root / "source/files")


def test_seeds_are_queued_once_and_handed_out_once(tmp_path):
    seeds = REPO / "samples/seed_tasks"
    assert tool(tmp_path, "init_seed_tasks", seeds)["new"] >= 20
    assert tool(tmp_path, "init_seed_tasks", seeds) == {"new": 0}
    first, second = (tool(tmp_path, "next --agent a --task-type generate_idea") for _ in range(2))
    assert first["id"] != second["id"] and first["seed_data"] and first["claim"]
    folder = next((tmp_path / "dp/_seeds").glob("*/task.yaml")).parent
    assert not (folder / "solution.sh").exists() and (folder / "tests/test_outputs.py").exists()
    status = run_script("build_dp.py", tmp_path, "--status").stdout
    assert json.loads(status)["tasks"]["generate_idea"]["in_progress"] == 2


def test_failed_tasks_have_their_command_and_cancelled_ones_none(tmp_path):
    (tmp_path / "dp/_seeds").mkdir(parents=True)
    queue = TaskManager(tmp_path / "dp")
    queue.create_task("build_datapoint", {})
    for n in range(MAX_ATTEMPTS):
        task = queue.get_next_task("a")
        queue.fail_task(task.id, task.token, f"no tests {n}")
    queue.create_task("review_datapoint", {})
    task = queue.get_next_task("a")
    queue.cancel_task(task.id, task.token, "too hard")
    assert re.fullmatch(
        r"build_dp builder  failed 1: no tests 2\n .*\n      again: .*build_dp.py agents .*\n"
        r"build_dp review  excluded 1: too hard\n .*\n      no command.*\n",
        run_script("status.py", tmp_path, "--failed").stdout)


def test_how_ideas_are_chosen_is_told_when_enough_are_saved(seeded):
    task = claimed(seeded, "generate_idea")
    words = ["get_idea_refinement_details", *task]
    assert "0 of 20 ideas" in refused(seeded, *words)
    tool(seeded, "save_artifact", *task, "--text", json.dumps([{"title": "One"}] * 20))
    assert "1 of 20 ideas with different titles" in refused(seeded, *words)
    for bad in ("{", "[1]", '[{"title": " "}]'):
        refused(seeded, "save_artifact", *task, "--text", bad)
    tool(seeded, "save_artifact", *task, "--text", ideas(20))
    assert "Training value" in tool(seeded, *words)["text"]
    assert "no section Testing" in refused(
        seeded, "add_artifact", *task, "--text", SPEC.replace("Testing", "Tests"))
    assert "canary" not in (seeded / "dp/_seeds/seed/seed.md").read_text()


def test_only_the_claim_changes_a_task(seeded):
    task = claimed(seeded, "generate_idea")
    other = [*task[:3], "another"]
    assert "not held" in refused(seeded, "save_artifact --text []", *other)
    assert "reason" in refused(seeded, "complete --status failed", *task)
    for words in ("nothing", "info", "list --sort x", "info a b", "complete --status done"):
        assert "usage" in tool(seeded, words, *task, code=2)["error"]


def test_a_datapoint_is_staged_and_patched_and_not_reviewed_before_it_is_validated(seeded):
    task, said = built(seeded)
    assert said["files"] == ["total.py"]
    (seeded / "new.md").write_text("Another prompt.")
    patched = tool(seeded, "patch_dp --part prompt --file new.md", *task)
    assert patched["content"] != said["content"]
    tool(seeded, "patch_additional_files --name a/b.md --file new.md", *task)
    assert tool(seeded, "read_datapoint", *task[:2])["files"] == ["a/b.md", "total.py"]
    assert tool(seeded, "read_datapoint --name a/b.md", *task[:2])["text"].startswith("Ano")
    for odd in ("../x", ".", "", "a" * 300, "a", "total.py/x", "Dockerfile", "a//b"):
        refused(seeded, "patch_additional_files --file new.md", *task, "--name", odd)
    tool(seeded, "patch_additional_files --name a/b.md", *task)
    (seeded / "new.md").write_text('{"test_x": 0.9}')
    assert "sum is 0.9" in refused(seeded, "patch_dp --part weights --file new.md", *task)
    assert "validate_datapoint" in refused(seeded, "add_dp_to_review", *task)
    assert "add_dp_to_review" in refused(seeded, "complete", *task)
    assert not (seeded / "dp/seed_001_a").exists()


@pytest.mark.docker
def test_what_is_approved_moves_to_task_and_an_edit_is_proven_again(seeded):
    """See make demo-dp for the checks themselves."""
    task, said = built(seeded)
    assert judged(seeded) == said["content"]
    assert "2 right-*, 6 wrong-*" in refused(seeded, "add_dp_to_review", *task)
    rivals = ["--rivals-dir", write_files(seeded / "rivals", RIVALS)]
    tool(seeded, "patch_rivals", *task, *rivals)
    judged(seeded, rivals=RIVALS)
    (seeded / "more.txt").write_text("more")
    look = ("--command", "id -un; cat total.py /run/command/more.txt")
    assert tool(seeded, "run_in_dp", *task[:2], *look, "--input-file", seeded / "more.txt")[
        "output"] == "agent\nprint('not yet')\nmore"
    (seeded / "half.sh").write_text(
        "printf 'import sys; print(sum(map(int, sys.stdin)))' > total.py")
    half = tool(seeded, "try_solution", *task[:2], "--file", seeded / "half.sh")
    assert (half["reward"], half["passed"]) == (0.7, ["test_numbers_are_added_up"])
    assert tool(seeded, "add_dp_to_review", *task)["datapoint"] == "seed_001_a"
    review = claimed(seeded, "review_datapoint")
    approve = ["approve_datapoint", *review, "--category", "Data Processing", "--tags"]
    rivals = ["--rivals-dir", write_files(seeded / "of_review", OF_REVIEW)]
    tool(seeded, "patch_rivals", *review, *rivals)
    judged(seeded, rivals=ALL_RIVALS)
    for tags in ("cooking", "", "python|cli|data|api"):
        refused(seeded, *approve, tags)
    assert tool(seeded, *approve, "python|cli")["status"] == "approved"
    assert not (seeded / "dp/seed_001_a").exists()
    folder = seeded / "task/seed_001_a"
    approved = read_datapoint(folder)
    assert task_problem(approved) is None and is_as_proven(approved)
    assert approved.about["repo"] == approved.about["lineage"]["seed"] == "seed"
    assert approved.about["made_from"]["item"] == "seed_001_a"
    assert "nothing to do" in run_script("build_dp.py", seeded, "validate").stderr
    judged(seeded, prompt="Add up, please.\n")
    (folder / "instruction.md").write_text("Add up, please.\n")
    done = run_script("build_dp.py", seeded, "validate")
    assert done.returncode == 0 and "build_dp prove  wrote 1" in done.stderr, done.stderr
    judged(seeded, "solvable", prompt="Bad.")
    (folder / "instruction.md").write_text("Bad.")
    done = run_script("build_dp.py", seeded, "validate")
    assert done.returncode == 1 and "These checks have not passed: solvable" in done.stderr
    assert "status.py --html" in done.stderr
    assert not is_as_proven(read_datapoint(folder))
    assert tool(seeded, "next", "--agent", "b") == {"id": None}


def approve(root, task: dict) -> None:
    commands = ReviewCommands(root, DpSettings(), TaskManager(root / "dp"), None)
    commands.approve_datapoint(task["id"], task["claim"], "Debugging", "python")


def test_a_killed_approval_leaves_a_datapoint_in_one_place_and_is_done_again(tmp_path):
    """Take one that was given back to a builder, so that an earlier one lies in task/."""
    step, killed, seen = 0, True, []
    while killed:
        root = tmp_path / str(step)
        write_approved(root / "task/sums", prompt="An earlier one.")
        write_datapoint(root / "dp/sums", rivals=ALL_RIVALS)
        judged(root, base_image="", rivals=ALL_RIVALS)
        task = tool(root, "next --agent a")
        killed = is_killed_at(step, partial(approve, root, task), at_events(STEPS))
        texts = {place: path.read_text() for place in ("dp", "task")
                 if (path := root / place / "sums/instruction.md").exists()}
        (place,) = (place for place, text in texts.items() if "passing over" in text)
        seen.append(place)
        if killed:
            approve(root, task)
        assert not (root / "dp/sums").exists() and is_as_proven(read_datapoint(root / "task/sums"))
        earlier = root / "task/_replaced/sums.1/instruction.md"
        assert earlier.read_text() == "An earlier one."
        step += 1
    assert seen == sorted(seen) and {*seen} == {"dp", "task"} and len(seen) > 5


def test_what_goes_back_to_a_builder_is_a_copy_that_waits_for_review(tmp_path):
    content = judged(tmp_path, rivals=RIVALS)
    folder = write_approved(tmp_path / "task/sums", rivals=RIVALS)
    TaskManager(tmp_path / "dp").create_task(
        "build_datapoint", {"datapoint": "sums", "rates": {"m": {}}, "content": content})
    task = claimed(tmp_path, "build_datapoint")
    shown = tool(tmp_path, "read_datapoint", *task[:2])
    assert (shown["metadata"]["status"], shown["content"]) == ("in_review", content)
    assert "is unchanged" in refused(tmp_path, "add_dp_to_review", *task)
    staged = tmp_path / "dp/_staging/sums"
    assert not (staged / "proof.json").exists() and is_as_proven(read_datapoint(folder))


def test_a_task_of_another_maker_is_not_replaced(tmp_path):
    write_datapoint(tmp_path / "dp/sums", rivals=ALL_RIVALS)
    judged(tmp_path, rivals=ALL_RIVALS)
    (tmp_path / "task/sums").mkdir(parents=True)
    review = claimed(tmp_path, "review_datapoint")
    assert "task/sums exists already" in refused(tmp_path, APPROVE, *review)
    assert [*(tmp_path / "dp/sums").iterdir()] and not [*(tmp_path / "task/sums").iterdir()]


def test_a_reviewer_sees_the_tests_once_he_has_written_rivals_and_may_give_it_back(tmp_path):
    write_datapoint(tmp_path / "dp/sums", rivals=RIVALS)
    judged(tmp_path, rivals=RIVALS)
    review = claimed(tmp_path, "review_datapoint")
    shown = tool(tmp_path, "read_datapoint", *review[:2])
    assert {"prompt", "dockerfile"} <= shown.keys() and not {"tests", "solution"} & shown.keys()
    assert shown["files"] == ["total.py"]
    refused(tmp_path, "read_datapoint --name rivals/wrong-1.sh", *review[:2])
    for command in ("validate_datapoint", f"try_solution --file {__file__}"):
        assert "First write rivals" in refused(tmp_path, command, *review[:2])
    rivals = tmp_path / "rivals"
    flags = ["patch_rivals --rivals-dir rivals", *review]
    write_files(rivals, {"wrong-1.sh": "true", "cheat-1.sh": "true"})
    assert "1 right-review-*, 3 wrong-review-*" in refused(tmp_path, *flags)
    write_files(rivals, {**OF_REVIEW, "odd.sh": "true", "cheat-4.patch":
                         "--- cheat-2.sh\n+++ x\n@@ -1 +1 @@\n-#!/bin/bash\n+#!/bin/sh\n"})
    assert "odd.sh: the names are" in refused(tmp_path, *flags)
    (rivals / "odd.sh").unlink()
    assert len(tool(tmp_path, *flags)["rivals"]) == 16
    assert "tests" in tool(tmp_path, "read_datapoint", *review[:2])
    (tmp_path / "dp/sums/rivals/cheat-review-1.sh").unlink()
    assert "rivals are not tried" in refused(tmp_path, APPROVE, *review)
    (tmp_path / "new").write_text("Another prompt.")
    tool(tmp_path, "patch_dp --part prompt --file new", *review)
    tool(tmp_path, "release", *review)   # what he edits is not reviewed once more
    review = claimed(tmp_path, "review_datapoint", "b")
    content = tool(tmp_path, "read_datapoint", *review[:2])["content"]
    tool(tmp_path, "return_datapoint", *review, "--reason", "Words are not tested.")
    assert tool(tmp_path, "next --agent b --task-type review_datapoint") == {"id": None}
    task = claimed(tmp_path, "build_datapoint")
    assert tool(tmp_path, "info", task[1])["returned"] == "Words are not tested."
    shown = tool(tmp_path, "read_datapoint", *task[:2])
    assert (shown["metadata"]["status"], shown["content"]) == ("in_review", content)
    assert "rivals/wrong-review-1.sh" in shown["files"]
    write_files(tmp_path / "own", RIVALS)
    tool(tmp_path, "patch_rivals --rivals-dir own", *task)
    staged = tmp_path / "dp/_staging/sums/rivals"
    assert len([*staged.glob("*-review-*")]) == 7 and len([*staged.iterdir()]) == 15


def test_a_draft_that_is_nearly_another_one_or_the_seed_is_refused(seeded):
    words = [f"word{n}" for n in range(400)]

    def draft(part: list[str]) -> str:
        return SPEC.replace("Words on {name}, part 0.", " ".join(part))

    add = ["add_artifact", *claimed(seeded, "generate_idea"), "--text"]
    first = tool(seeded, *add, draft(words))
    assert tool(seeded, *add, draft(words)) == first   # nothing new
    words[::30] = ["other"] * len(words[::30])
    said = refused(seeded, *add, draft(words))
    assert "nearly copies seed_001_a" in said and "% of both" in said
    other = tool(seeded, *add, draft(["Let", "us", "sum", "numbers"]))
    assert other == {"datapoint": "seed_002_a"}
    (seeded / "dp/_seeds/seed/seed.md").write_text(" ".join(f"seed{n}" for n in range(200)))
    copied = draft([f"seed{n}" for n in range(190)])
    assert "nearly copies seed (" in refused(seeded, *add, copied)
