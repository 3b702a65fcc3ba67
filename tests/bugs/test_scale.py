"""Check `bug_inject.py scale` as a user runs it, on a small repository in containers: all steps,
again, edited, deleted, beside the bugs of an agent."""
from __future__ import annotations

import shutil
import subprocess

import pytest
from conftest import edit, ledger_lines, run_script
from judged import read_json
from proof_heron import BUG, write_root
from proof_heron import heron as heron  # a fixture
from proven import bug_images, bugs_in
from scaled import id_of
from setups import CA_FLAGS

from codedata.records import Task
from codedata.sandbox import docker_engine
from codedata.store import Store
from codedata.tasks.folder import image_of

pytestmark = pytest.mark.docker
SETTINGS = ("[bug]\nmax_candidates = 8\nmax_instances = 2\nmax_per_failing_set = 2\n")


def scale(root, *flags):
    return run_script("bug_inject.py", root, "scale", *CA_FLAGS, *flags, timeout_s=400)


@pytest.fixture(scope="module")
def finished(heron, tmp_path_factory):
    """Run all steps, and return the root; the images of all bugs go in the end."""
    root = tmp_path_factory.mktemp("scaled")
    write_root(root)
    (root / "chain.toml").write_text(SETTINGS)
    done = scale(root)
    assert done.returncode == 0, done.stderr
    yield root
    images = bug_images(tmp_path_factory.getbasetemp())
    subprocess.run(["docker", "image", "rm", "-f", *images], capture_output=True)


@pytest.fixture
def root(finished, tmp_path):
    """Return a copy of the root; as with rsync -a, times are kept."""
    return shutil.copytree(finished, tmp_path / "root")


def test_an_edited_candidate_is_judged_again_and_a_deleted_bug_is_written_again(root):
    first, second = bugs_in(root)
    place = root / "bug/_candidates/heron.1.json"
    candidates = read_json(place)["candidates"]
    taken = next(one for one in candidates if id_of(one) == first)
    edit(place, candidates=[{"diff": BUG, "symbol": "", "summary": ""} if one is taken else one
                            for one in candidates])
    shutil.rmtree(root / f"task/{second}")
    done = scale(root, "--only", "heron")
    assert done.returncode == 0, done.stderr
    assert "edited: heron.1" in done.stderr and f"orphan: {first}" in done.stderr
    assert first in bugs_in(root) and second in bugs_in(root) and len(bugs_in(root)) == 3
    assert len(ledger_lines(root / "bug/_verdicts", item="heron.1")) == 2
    scale(root, "--steps", "report", "--prune")
    assert first not in bugs_in(root) and (root / f"task/_replaced/{first}.1").is_dir()


def test_a_bug_whose_image_is_gone_is_proven_again_and_no_other(root):
    """See make demo-bugs for what a bug is."""
    assert scale(root).stderr.count("nothing to do") == 6
    status = scale(root, "--status").stderr
    assert [line.split()[1] for line in status.splitlines() if line.startswith("bug_inject")] == [
        "register", "generate", "validate", "report", "scale_issue", "scale_instruct"]
    name, other = bugs_in(root)
    tests, there = ((root / f"task/{name}/tests/config.json").read_bytes(),
                    (root / f"task/{other}/proof.json").stat().st_mtime_ns)
    image = image_of(Store(root, Task).open().read(name))
    subprocess.run(["docker", "image", "rm", "-f", image], check=True, capture_output=True)
    assert "failed 1" in scale(root, "--steps", "report", "--status").stderr
    done = scale(root)
    assert done.returncode == 0 and done.stderr.count("nothing to do") == 5   # no report is asked
    assert docker_engine.image_id(image) == read_json(
        root / f"task/{name}/proof.json")["image_id"]
    assert (root / f"task/{name}/tests/config.json").read_bytes() == tests
    assert (root / f"task/{other}/proof.json").stat().st_mtime_ns == there
