"""Check the checks of build_dp.py validate, on small datapoints in containers."""
from __future__ import annotations

import json

import pytest
from a_datapoint import SOLUTION, TEXTS, write_datapoint
from conftest import run_script
from recorded import judged
from setups import CA_FLAGS, without_engine

FLAGS = ["--json", "--cpu-request", 1, *CA_FLAGS]
IMPORTS = """import importlib.util
import sys


def total(text):
    spec = importlib.util.spec_from_file_location("agents", "/app/total.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.total(text)


def test_numbers_are_added_up():
    assert total("7 12") == 19


def test_words_are_passed_over():
    assert missing == 12
"""


def validate(root, *folders):
    done = run_script("build_dp.py", root, "validate", *folders, *FLAGS, timeout_s=400)
    return done, json.loads(done.stdout or "[]")


def found(row) -> dict[str, str]:
    return {check["name"]: check["status"] for check in row["checks"]}


@pytest.mark.docker
def test_an_engine_that_goes_fails_no_check(tmp_path):
    done = without_engine("build_dp.py", tmp_path, "validate", write_datapoint(tmp_path / "sums"))
    assert done.returncode == 1 and "sums: not validated" in done.stderr
    assert "not finished" in done.stderr and not [*tmp_path.glob("dp/_checks/[!_]*")]


def test_what_was_checked_is_not_checked_again_and_what_is_read_anew_is_named(tmp_path):
    """See that no engine is needed (make test has none)."""
    folder = write_datapoint(tmp_path / "sums")
    judged(tmp_path)
    renamed = write_datapoint(tmp_path / "renamed", {"tags": ["cli"]})
    done, rows = validate(tmp_path, folder, renamed)
    assert done.returncode == 0 and "nothing to do" in done.stderr
    assert "page: dp/_index.html" in done.stderr and (tmp_path / "dp/_index.html").exists()
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


@pytest.mark.docker
def test_what_is_wrong_is_named_by_the_right_check(tmp_path):
    part = SOLUTION[SOLUTION.index("for line"):SOLUTION.index("print(")].replace("\n", "\\n")
    leaky = write_datapoint(tmp_path / "leaky", solution=f"{SOLUTION}rm total.py\n",
                            dockerfile="FROM codedata-base:bookworm\n"
                            f"WORKDIR /app\nRUN printf '{part}' | gzip > /srv/notes\n"
                            "RUN rm /srv/notes\n")
    imports = write_datapoint(tmp_path / "imports", tests=IMPORTS)
    names = write_datapoint(tmp_path / "names", {"category": "Cooking"}, weights='{"test_x": 1}',
                            prompt="One. Two. Three. See test_x. Four.")
    unbuilt = write_datapoint(tmp_path / "unbuilt", dockerfile=TEXTS["dockerfile"] + "RUN false\n")
    done, rows = validate(tmp_path, leaky, imports, names, unbuilt, tmp_path / "gone")
    assert done.returncode == 1
    by_id = {row["id"]: row for row in rows}
    assert not by_id["gone"]["ok"] and "no datapoint" in by_id["gone"]["trouble"]
    assert found(by_id["leaky"])["docker_build"] == "failed"
    assert found(by_id["imports"])["fail_first"] == "failed"
    assert found(by_id["imports"])["solvable"] == "failed"
    assert found(by_id["imports"])["repeatable"] == "not checked"
    for name in ("structure", "weight_validation", "prompt"):
        assert found(by_id["names"])[name] == "failed", name
    evidence = next(check for check in by_id["imports"]["checks"] if check["name"] == "fail_first")
    assert evidence["evidence"] == ["test_numbers_are_added_up: call: AttributeError",
                                    "test_words_are_passed_over: call: NameError"]
    done, (row,) = validate(tmp_path, unbuilt)   # once more: it may have been the network
    assert done.returncode == 1 and "failed 1   to do 1" in done.stderr
    assert "returned a non-zero" in row["checks"][2]["why"]
