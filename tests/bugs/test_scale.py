"""Check `bug_inject.py scale` as a user runs it, on a small repository in containers: all steps,
and again."""
from __future__ import annotations

import subprocess

import pytest
from conftest import run_script
from judged import read_json
from proof_heron import heron as heron  # a fixture
from proof_heron import write_root
from proven import bug_images, bugs_in
from setups import CA_FLAGS

from codedata.records import Task
from codedata.sandbox import docker_engine
from codedata.store import Store
from codedata.tasks.folder import image_of

pytestmark = pytest.mark.docker
SETTINGS = ("[bug]\nmax_candidates = 8\nmax_instances = 2\nmax_per_failing_set = 2\n")


def scale(root, *flags):
    return run_script("bug_inject.py", root, "scale", *CA_FLAGS, *flags, timeout_s=400)


@pytest.fixture
def root(heron, tmp_path):
    """Return a root for all steps; the images of all bugs go in the end."""
    write_root(tmp_path)
    (tmp_path / "chain.toml").write_text(SETTINGS)
    yield tmp_path
    subprocess.run(["docker", "image", "rm", "-f", *bug_images(tmp_path.parent)],
                   capture_output=True)


def test_a_bug_whose_image_is_gone_is_proven_again_and_no_other(root):
    """See make demo-bugs for what a bug is."""
    assert scale(root).returncode == 0
    assert scale(root).stderr.count("nothing to do") == 6
    status = scale(root, "--status").stderr
    assert [line.split()[1] for line in status.splitlines() if line.startswith("bug_inject")] == [
        "register", "generate", "validate", "report", "scale_issue", "scale_instruct"]
    assert b"Bug yields" in (root / "bug/_report.html").read_bytes()
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
