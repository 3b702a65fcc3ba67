"""Check that what is hostile ends and is named, and that nothing of it and of killed runs is
left."""
from __future__ import annotations

import json

import pytest
from a_datapoint import write_datapoint
from conftest import eventually, kill, run_script, start_script
from setups import CA_FLAGS, made_here, wait_till_reaped

FLAGS = ["--json", "--cpu-request", 1, *CA_FLAGS]
LIMITS = '[sandbox]\nrun_timeout = 12\npids_limit = 200\ndisk_limit = "300MB"\n'
BOMB = "bomb() { bomb | bomb & }; bomb; sleep 60"
IMAGE = "FROM codedata-base:bookworm\nWORKDIR /app\n"


@pytest.mark.docker
@pytest.mark.parametrize(("parts", "check", "words"), [
    ({"dockerfile": f"{IMAGE}RUN sleep 99\n"}, "docker_build", "took more than 12 s"),
    ({"dockerfile": f"{IMAGE}RUN {BOMB}\n"}, "docker_build", "a step started 200 processes"),
    ({"dockerfile": f"{IMAGE}RUN head -c 2G /dev/zero > /big; sleep 60\n"}, "docker_build",
     "a step wrote more than 300MB"),
    ({"solution": BOMB}, "solvable", "[too many processes: 200 allowed]"),
    ({"solution": "head -c 2G /dev/zero > big; sleep 60"}, "solvable", "over the disk limit")])
def test_what_is_hostile_ends_and_is_named(tmp_path, parts, check, words):
    (tmp_path / "chain.toml").write_text(LIMITS)
    folder = write_datapoint(tmp_path / "sums", **parts)
    done = run_script("build_dp.py", tmp_path, "validate", folder, *FLAGS, timeout_s=300)
    row, = json.loads(done.stdout)
    first = next(one for one in row["checks"] if one["status"] == "failed")
    assert done.returncode == 1 and first["name"] == check
    assert words in " ".join([first["why"], *first["evidence"]]), first


@pytest.mark.docker
def test_a_killed_validation_leaves_no_container_and_is_made_again(tmp_path):
    folder = write_datapoint(tmp_path / "sums", solution="sleep 3")
    process = start_script("build_dp.py", tmp_path, "validate", folder, *FLAGS)
    ids: set[str] = set()   # the fifth is one in which tests run
    eventually(lambda: ids.update(made_here(
        "container", "--filter", f"label=codedata.pid={process.pid}")) or len(ids) > 4,
        timeout_s=120)
    kill(process)
    assert not [*tmp_path.glob("dp/_checks/*.json")]
    done = run_script("build_dp.py", tmp_path, "validate", folder, *FLAGS, timeout_s=400)
    states = {one["name"]: one["status"] for one in json.loads(done.stdout)[0]["checks"]}
    assert [states[name] for name in ("fail_first", "solvable", "repeatable")] == [
        "passed", "failed", "not checked"], done.stderr
    wait_till_reaped(tmp_path, [process.pid])
