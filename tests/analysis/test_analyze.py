"""Check both steps of analyze.py as a user runs them: again, forced, after edits, killed."""
import subprocess
import time

import pytest
from conftest import edit, run_script
from heron_environment import FLY, an_environment
from root import read_json
from setups import CA_FLAGS

HOT = [{"id": "heron.py::wade", "score": 20}, {"id": "heron.py::fly", "score": 1}]


def analyze(root, *flags):
    return run_script("analyze.py", root, *CA_FLAGS, *flags, timeout_s=300)


def analysis_of(root, name: str = "egret") -> dict:
    return read_json(root / f"analysis/{name}.json")


@pytest.mark.docker
def test_steps_are_done_once_and_analysis_again_where_coverage_is_edited(heron_image, tmp_path):
    tmp_path.with_env(an_environment("egret"))
    assert "waiting 1" in analyze(tmp_path, "--steps", "analysis").stderr   # nothing is measured
    assert not (tmp_path / "analysis/egret.json").exists()
    assert analyze(tmp_path, "--static").returncode == 0
    found = analysis_of(tmp_path)
    assert (found["source"], found["hotspots"]) == ("static", HOT)
    assert not (tmp_path / "coverage/egret.json").exists()
    assert analyze(tmp_path).returncode == 0
    found = analysis_of(tmp_path)
    assert (found["source"], found["hotspots"]) == ("runtime", HOT)
    started = time.time()
    assert analyze(tmp_path).stderr.count("nothing to do") == 2
    events = ["docker", "events", f"--since={started:.6f}", f"--until={time.time():.6f}"]
    assert "egret" not in subprocess.run(events, capture_output=True, text=True).stdout

    def mark(record: dict) -> None:
        next(test for test in record["tests"] if test["name"] == FLY)["flaky"] = True

    edit(tmp_path / "coverage/egret.json", mark)
    assert "stale 1" in analyze(tmp_path).stderr
    assert analysis_of(tmp_path)["hotspots"] == HOT[:1]
