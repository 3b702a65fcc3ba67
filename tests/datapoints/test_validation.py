"""Check the checks of build_dp.py validate, on small datapoints in containers."""
import json

import pytest
from a_datapoint import TEXTS, write_datapoint
from conftest import run_script
from recorded import judged
from setups import CA_FLAGS, without_engine

from codedata.datapoints.contents import content_of, known_checks, run_checks
from codedata.datapoints.datapoint_folder import read_datapoint

FLAGS = ["--json", "--cpu-request", 1, *CA_FLAGS]
def validate(root, *folders):
    done = run_script("build_dp.py", root, "validate", *folders, *FLAGS, timeout_s=400)
    return done, json.loads(done.stdout or "[]")


def found(row) -> dict[str, str]:
    return {check["name"]: check["status"] for check in row["checks"]}


@pytest.mark.docker
def test_what_cannot_be_built_is_tried_anew(tmp_path):
    unbuilt = write_datapoint(tmp_path / "unbuilt", dockerfile=TEXTS["dockerfile"] + "RUN false\n")
    done, (gone, row) = validate(tmp_path, tmp_path / "gone", unbuilt)
    assert done.returncode == 1 and found(row)["docker_build"] == "failed"
    assert not gone["ok"] and "not a datapoint" in gone["trouble"]
    done, (row,) = validate(tmp_path, unbuilt)   # once more: it may have been the network
    assert done.returncode == 1 and "failed 1   to do 1" in done.stderr
    assert "returned a non-zero" in row["checks"][2]["why"]


@pytest.mark.docker
def test_an_engine_that_goes_fails_no_check(tmp_path):
    done = without_engine("build_dp.py", tmp_path, "validate", write_datapoint(tmp_path / "sums"))
    assert done.returncode == 1 and "sums: not validated" in done.stderr
    assert "not finished" in done.stderr and not [*tmp_path.glob("dp/_checks/[!_]*")]


def test_what_was_checked_is_not_checked_again_and_what_is_read_anew_is_named(tmp_path):
    """See that no engine is needed (make test has none)."""
    folder = write_datapoint(tmp_path / "dp/sums")
    judged(tmp_path)
    renamed = write_datapoint(tmp_path / "renamed", {"tags": ["cli"]})
    done, rows = validate(tmp_path, folder, renamed)
    assert done.returncode == 0 and "nothing to do" in done.stderr
    assert [(one["id"], one["ok"]) for one in rows] == [("sums", True), ("renamed", True)]
    write_datapoint(folder, {"category": "Cooking", "tags": ["salt"]})
    done, (row,) = validate(tmp_path, folder)
    assert done.returncode == 1 and "nothing to do" in done.stderr
    assert "sums: structure failed: 'Cooking' is no category of all, take one of: " in done.stderr
    assert "unknown tags: salt; " in done.stderr and found(row)["solvable"] == "passed"
    write_datapoint(folder)   # what was corrected is in order, without new checks
    done, (row,) = validate(tmp_path, folder)
    assert done.returncode == 0 and row["ok"] and "nothing to do" in done.stderr
    done = run_script("build_dp.py", tmp_path, "validate", folder, "--profile", "backend")
    assert done.returncode == 1 and "is no category of backend" in done.stderr
    done = run_script("build_dp.py", tmp_path, "validate", folder, "--sandbox", "local")
    assert done.returncode == 2 and "builds no images" in done.stderr


def test_a_bad_dockerfile_fails_and_the_checks_that_need_its_image_are_not_made(tmp_path):
    task = read_datapoint(write_datapoint(tmp_path / "sums", dockerfile="FROM a\nFROM b\n"))
    checks = run_checks(tmp_path, None, "", task, content_of(task, None))
    whys = {check["name"]: (check["status"], check["why"]) for check in checks.checks}
    assert whys["structure"][0] == "failed" and whys["weight_validation"][0] == "passed"
    assert whys["docker_build"] == ("not checked", "correct structure first")
    assert whys["solvable"] == ("not checked", "there is no image")
    assert not checks.ok and checks.runs == checks.audit == []


@pytest.mark.parametrize("place", ["dp", "dp/_checks"])
def test_results_on_another_disk_are_found_through_a_link(tmp_path, place):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    judged(root)
    (root / place).rename(elsewhere)
    (root / place).symlink_to(elsewhere)
    assert known_checks(root, read_datapoint(root / "judged")).ok
