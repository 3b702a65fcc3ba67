"""Test that candidates become tasks, by the one resume mechanism."""
import subprocess

import pytest
from a_task import read_task
from conftest import edit, ledger_lines, run_script
from proof_heron import BROKEN, BUG, BUG_LINE, GOLD_LINE, HERON, diff, write_root
from proof_heron import heron as heron  # a fixture
from proven import bugs_in
from setups import CA_FLAGS

from codedata.bugs.instances import agents_candidates
from codedata.code.patches import diff_of, hunks_of, normalised
from codedata.disk.store import digest
from codedata.sandbox.docker import engine
from codedata.tasks.folder.task_folder import GOLD, edited_parts, image_of, text_in, verifier_config
from codedata.tasks.prove.minimal_change import healed_files
from codedata.tasks.prove.run_suite import FirstRun, Screened
from codedata.verifier.junit import escaped_name

STEP = ["agent", "--steps", "prove", *CA_FLAGS]
# a feature of two files; one hunk of it is a bug
FEATURE = diff_of({"heron.py": HERON.encode()}, {
    "mud.py": b"DEPTH = 2\n",
    "heron.py": HERON.replace("do.\"\"\"", "do.\"\"\"\n\nfrom mud import DEPTH").replace(
        GOLD_LINE, f"    import os\n{BUG_LINE}").encode()})


def prove(root, *flags):
    return run_script("bug_inject.py", root, *STEP, *flags, timeout_s=300)


def refusals(root) -> dict[str, str]:
    """Return why candidates are excluded, by their files."""
    return {one["item"].rpartition(".")[0]: one["error"]
            for one in ledger_lines(root / "task", state="excluded")}


@pytest.fixture
def root(heron, tmp_path):
    """Make a root with heron's environment and analysis; the images of its bugs go in the end."""
    write_root(tmp_path)
    yield tmp_path
    for name in bugs_in(tmp_path):
        engine.connect().remove_image(f"codedata-bug/{name}", force=True)


def candidate(root, k: int, patch: str, family: str = "break") -> None:
    root.with_candidates(f"heron.agent-{k}", {"diff": patch, "family": family})
    edit(root / f"bug/_candidates/heron.agent-{k}.json", base_commit="")


@pytest.mark.docker
def test_a_good_candidate_becomes_a_task_and_again_without_its_image_and_others_say_why_not(root):
    features = FEATURE, f"# the same\n{FEATURE}", diff("import random", ""), BUG
    for k, patch in enumerate(features, 1):
        candidate(root, k, patch, "feature")
    candidate(root, 5, BUG)
    edit(root / "bug/_candidates/heron.agent-5.json", base_commit="0" * 40)
    done = prove(root)
    assert done.returncode == 0 and "is of another base commit than env/" in done.stderr
    assert "left out: 1 (it is the same change as heron.agent-1)" in done.stderr
    assert refusals(root) == {"heron.agent-3": "no test that passed before fails",
                              "heron.agent-4": "its tests refuse the feature: a fix takes most of "
                                               "it back"}
    notes = {path.name.partition(".")[2].partition(".")[0]: path.read_text().strip()
             for path in (root / "candidate").glob("*.refused.txt")}
    assert notes == {name.partition(".")[2]: why for name, why in refusals(root).items()}
    name, = bugs_in(root)
    assert name == f"heron.agent-1.{normalised(FEATURE)[:8]}"
    bug = read_task(root, name)
    undone, = hunks_of(text_in(bug.solution, GOLD))   # the image has the rest of the feature
    assert [undone.path, *undone.added] == ["heron.py", GOLD_LINE]
    assert edited_parts(bug) == [] and bug.instruction is None
    assert list(map(escaped_name, BROKEN)) == verifier_config(bug)["FAIL_TO_PASS"]
    wanted = {"language": "python", "method": "agent", "tier": "agent",
              "created_at": "2024-05-01T10:00:00Z",
              "symbol": "heron.py::words", "made_from": {
                  "directory": "candidate", "item": name, "digest": digest([FEATURE, ""])}}
    assert {key: bug.about[key] for key in wanted} == wanted and "licence" not in bug.about
    assert bug.config["metadata"]["tags"] == ["python", "bug", "feature"]
    assert [bug.proof[key] for key in ("tests", "broken", "files", "hunks")] == [11, 3, 1, 1]
    assert "nothing to do" in prove(root, "--only", "heron.agent-[1-4]*").stderr
    image = image_of(bug)
    engine.connect().remove_image(image, force=True)
    assert "failed 1" in prove(root, "--status").stderr
    prove(root)
    again = read_task(root, name)
    assert engine.image_id(image) == again.proof["image_id"] and again.tests == bug.tests


def test_a_change_counts_once_for_each_commit_and_under_its_own_repository(tmp_path):
    for k in (1, 2, 3):
        tmp_path.with_candidates(f"heron.agent-{k}", {"diff": BUG})
    edit(tmp_path / "bug/_candidates/heron.agent-1.json", base_commit="1" * 40)   # cannot be proven
    tmp_path.with_candidates("crane.agent-1", {"diff": BUG})
    edit(tmp_path / "bug/_candidates/crane.agent-1.json", repo_name="heron")
    reads = agents_candidates(tmp_path)
    found = reads.store.open()
    assert {name.rpartition(".")[0]: reads.leaves_out(name, "") for name in found.names()} == {
        "heron.agent-1": "", "heron.agent-2": "",
        "heron.agent-3": "it is the same change as heron.agent-2"}
    edit(tmp_path / "bug/_candidates/heron.agent-2.json", candidates=[])
    reads = agents_candidates(tmp_path)
    found = reads.store.open()   # the third is the first by now
    assert [reads.leaves_out(name, "") for name in found.names()] == ["", ""]
    assert "another repository: 'heron'" in str(found.broken[0])
    assert found.covers("crane.agent-1.0123abcd")   # it may be of the broken file


def test_only_the_hunks_that_make_tests_fail_are_undone(tmp_path):
    def text(*changed: int) -> bytes:
        return "".join(f"{'x' if i in changed else i}\n" for i in range(60)).encode()

    def run_with(patch: str) -> FirstRun:
        (tmp_path / "new.py").unlink(missing_ok=True)
        (tmp_path / "a.py").write_bytes(text())
        subprocess.run(["git", "apply"], input=patch.encode(), cwd=tmp_path, check=True)
        files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        is_healed = b"\n9\n" in files["a.py"] and b"\n41\n" in files["a.py"]
        return FirstRun(Screened("survives" if is_healed else "good", ""), after=files)

    first = FirstRun(Screened("good", ""), before={"a.py": text()},
                     after={"a.py": text(1, 9, 21, 41), "new.py": b"4\n"})
    assert healed_files(first, run_with) == {"a.py": text(1, 21), "new.py": b"4\n"}


def test_a_change_is_the_same_wherever_its_lines_stand():
    moved = BUG.replace("@@ -", "@@ -1").replace("a/heron.py", "a/heron.py\t2024")
    assert normalised(BUG) == normalised(moved) == normalised(f"index 1..2\n{BUG}")
    assert normalised(BUG) != normalised(FEATURE) != normalised(BUG.replace("heron.py", "crane.py"))
