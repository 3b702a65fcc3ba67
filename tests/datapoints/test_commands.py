"""Check the commands of agents, by the script: from seeds to an approved datapoint."""
from __future__ import annotations

import json

import pytest
from a_datapoint import PARTS, write_datapoint
from conftest import REPO, run_script
from judged import read_json
from recorded import judged

SPEC = "\n".join(f"## {title}\n\nWords.\n" for title in (
    "Task", "Instructions", "Environment Setup", "Testing", "Difficulty", "Core Skills Tested",
    "Key Technologies"))


def tool(root, *words, code: int = 0, timeout_s: int = 60) -> dict:
    done = run_script("build_dp.py", root, "tool", *words, timeout_s=timeout_s)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code < 2 else {"error": done.stderr}


def claimed(root, type: str, agent: str = "a") -> list[str]:
    """Claim a task, and return the flags that name it."""
    task = tool(root, "next", "--agent", agent, "--task-type", type)
    return ["--task-id", task["id"], "--claim", task["claim"]]


@pytest.fixture
def seeded(tmp_path):
    (tmp_path / "chain.toml").write_text('[dp]\nprofile = "general"\n')   # of any size
    (tmp_path / "seed.md").write_text("# Sums\n\nAdd up.\ncanary GUID 1\n")
    assert tool(tmp_path, "init_seed_tasks", tmp_path / "seed.md") == {"new": 1}
    return tmp_path


def ideas(n: int) -> str:
    return json.dumps([{"title": f"Idea {i}"} for i in range(n)])


def built(root) -> tuple[list[str], dict]:
    """Stage a datapoint of the seed; return (the flags of its task, what create_dp says)."""
    idea = claimed(root, "generate_idea")
    assert tool(root, "save_artifact", *idea, "--text", ideas(20)) == {"saved": 20}
    for odd in ('"n": 1' + "0" * 20, f'"n": {"[" * 600}{"]" * 600}', r'"n": "\ud800"'):
        tool(root, "save_artifact", *idea, "--text", f'[{{"title": "x", {odd}}}]', code=1)
    assert "Nobody would build it" in tool(root, "complete", *idea, code=1)["error"]
    draft = tool(root, "add_artifact", *idea, "--text", SPEC)
    assert draft["datapoint"] == "seed_001_a"
    assert "build seed_001_a:" in tool(root, "complete", *idea, code=1)["error"]
    assert "no draft" in tool(root, "create_task", *idea, "--datapoint", "x", code=1)["error"]
    one, same = (tool(root, "create_task", *idea, "--datapoint", "seed_001_a") for _ in range(2))
    assert one == same and tool(root, "complete", *idea)["children"] == [one["task"]]
    task = claimed(root, "build_datapoint")
    source = write_datapoint(root / "source")
    paths = [word for name in PARTS if not name.startswith("files/")
             for word in (f"--{name.partition('.')[0]}-file", source / name)]
    return task, tool(root, "create_dp", *task, *paths, "--difficulty", "easy",
                      "--additional-files-dir", source / "files")


def test_seeds_are_queued_once_and_handed_out_once(tmp_path):
    seeds = REPO / "samples/seed_tasks"
    assert tool(tmp_path, "init_seed_tasks", seeds)["new"] >= 20
    assert tool(tmp_path, "init_seed_tasks", seeds) == {"new": 0}
    first, second = (tool(tmp_path, "next", "--agent", "a", "--task-type", "generate_idea")
                     for _ in range(2))
    assert first["id"] != second["id"] and first["seed_data"] and first["claim"]
    folder = next((tmp_path / "dp/_seeds").glob("*/task.yaml")).parent
    assert not (folder / "solution.sh").exists() and (folder / "tests/test_outputs.py").exists()
    status = run_script("build_dp.py", tmp_path, "--status").stdout
    for path in (tmp_path / "dp").glob("_queue.sqlite*"):
        path.unlink()
    again = json.loads(run_script("build_dp.py", tmp_path, "--status").stdout)
    assert again["tasks"] == json.loads(status)["tasks"]
    assert again["tasks"]["generate_idea"]["in_progress"] == 2


def test_how_ideas_are_chosen_is_told_when_enough_are_saved(seeded):
    task = claimed(seeded, "generate_idea")
    words = ["get_idea_refinement_details", *task]
    assert "0 ideas" in tool(seeded, *words, code=1)["error"]
    tool(seeded, "save_artifact", *task, "--text", json.dumps([{"title": "One"}] * 20))
    assert "1 ideas with titles of their own" in tool(seeded, *words, code=1)["error"]
    for bad in ("{", "[1]", '[{"title": " "}]'):
        tool(seeded, "save_artifact", *task, "--text", bad, code=1)
    tool(seeded, "save_artifact", *task, "--text", ideas(20))
    assert "Training value" in tool(seeded, *words)["text"]
    assert "no section Testing" in tool(seeded, "add_artifact", *task, "--text",
                                        SPEC.replace("Testing", "Tests"), code=1)["error"]
    assert "canary" not in (seeded / "dp/_seeds/seed/seed.md").read_text()


def test_only_the_claim_changes_a_task(seeded):
    task = claimed(seeded, "generate_idea")
    other = [*task[:3], "another"]
    assert "not held" in tool(seeded, "save_artifact", *other, "--text", "[]", code=1)["error"]
    assert "reason" in tool(seeded, "complete", *task, "--status", "failed", code=1)["error"]
    assert tool(seeded, "release", *task)["attempts"] == 0
    assert tool(seeded, "next", "--agent", "b")["seed"] == "seed"
    assert tool(seeded, "next", "--agent", "b") == {"id": None}
    for words in (["nothing"], ["info"], ["list", "--sort", "x"], ["info", "a", "b"],
                  ["complete", *task, "--status", "done"]):
        assert "usage" in tool(seeded, *words, code=2)["error"]


def test_a_datapoint_is_staged_and_patched_and_not_reviewed_before_it_is_validated(seeded):
    task, said = built(seeded)
    assert said["files"] == ["total.py"]
    (seeded / "new.md").write_text("Another prompt.")
    patched = tool(seeded, "patch_dp", *task, "--part", "prompt", "--file", seeded / "new.md")
    assert patched["content"] != said["content"]
    tool(seeded, "patch_additional_files", *task, "--name", "a/b.md", "--file", seeded / "new.md")
    assert tool(seeded, "read_datapoint", *task[:2])["files"] == ["a/b.md", "total.py"]
    assert tool(seeded, "read_datapoint", *task[:2], "--name", "a/b.md")["text"].startswith("Ano")
    for odd in ("../x", ".", "", "a" * 300, "a"):
        tool(seeded, "patch_additional_files", *task, "--name", odd, "--file", seeded / "new.md",
             code=1)
    tool(seeded, "patch_additional_files", *task, "--name", "a/b.md")
    assert "validate_datapoint" in tool(seeded, "add_dp_to_review", *task, code=1)["error"]
    assert "add_dp_to_review" in tool(seeded, "complete", *task, code=1)["error"]
    assert not (seeded / "dp/seed_001_a").exists()


@pytest.mark.docker
def test_an_approval_holds_for_one_content_and_an_edit_queues_a_review(seeded):
    task, said = built(seeded)
    assert judged(seeded) == said["content"]   # test_validation.py has the checks themselves
    found = tool(seeded, "validate_datapoint", *task[:2], timeout_s=400)
    assert found["ok"], [one for one in found["checks"] if one["status"] != "passed"]
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
    for tags in ("cooking", "", "python|cli|data|api"):
        tool(seeded, *approve, tags, code=1)
    assert tool(seeded, *approve, "python|cli")["status"] == "approved"
    meta = read_json(seeded / "dp/seed_001_a/metadata.json")
    assert meta["approved"] and meta["lineage"]["seed"] == "seed"
    assert run_script("export.py", seeded, "--formats", "harbor").returncode == 0
    assert (seeded / "export/harbor/seed_001_a/task.toml").exists()
    (seeded / "dp/seed_001_a/prompt.md").write_text("Add up, please.\n")
    again = claimed(seeded, "review_datapoint")
    assert again != review
    assert "not validated as it is" in tool(seeded, "approve_datapoint", *again, "--category",
                                            "Security", "--tags", "python", code=1)["error"]
    assert tool(seeded, "cancel_datapoint", *again, "--reason", "dull", "--category",
                "quality")["status"] == "cancelled"


def test_a_draft_that_is_nearly_another_one_or_the_seed_is_refused(seeded):
    words = [f"word{n}" for n in range(400)]

    def draft(part: list[str]) -> str:
        return SPEC.replace("Words.", " ".join(part), 1)

    task = claimed(seeded, "generate_idea")
    first = tool(seeded, "add_artifact", *task, "--text", draft(words))
    assert tool(seeded, "add_artifact", *task, "--text", draft(words)) == first   # nothing new
    words[::30] = ["other"] * len(words[::30])
    refused = tool(seeded, "add_artifact", *task, "--text", draft(words), code=1)["error"]
    assert "nearly seed_001_a" in refused and "% of both" in refused
    other = tool(seeded, "add_artifact", *task, "--text", draft(["Let", "us", "sum", "numbers"]))
    assert other == {"datapoint": "seed_002_a"}
    (seeded / "dp/_seeds/seed/seed.md").write_text(" ".join(f"seed{n}" for n in range(200)))
    refused = tool(seeded, "add_artifact", *task, "--text",
                   draft([f"seed{n}" for n in range(190)]), code=1)["error"]
    assert "nearly seed (" in refused


def test_what_a_reviewer_edits_is_not_reviewed_once_more(tmp_path):
    folder = write_datapoint(tmp_path / "dp/sums")
    task = claimed(tmp_path, "review_datapoint")
    (tmp_path / "new.md").write_text("Another prompt.")
    tool(tmp_path, "patch_dp", *task, "--part", "prompt", "--file", tmp_path / "new.md")
    assert (folder / "prompt.md").read_text() == "Another prompt."
    assert tool(tmp_path, "status")["tasks"]["review_datapoint"]["pending"] == 0
    tool(tmp_path, "release", *task)
    assert tool(tmp_path, "next", "--agent", "b")["datapoint"] == "sums"
    assert tool(tmp_path, "next", "--agent", "c") == {"id": None}
