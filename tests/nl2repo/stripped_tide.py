"""Provide a root of nl2repo/ with proven patches of a small project, tidebook, and its image."""
from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from heron_environment import an_environment
from projects import FOLDER, Project
from proven_strip import write_patch
from root import write_json

from codedata.analysis.analyse import analysis_of
from codedata.code.entities import read_sources
from codedata.disk.store import digest
from codedata.nl2repo.kind import id_of
from codedata.records import Coverage, StripPatch

TIDEBOOK = FOLDER / "tidebook"
PROJECT = Project("tidebook")
TIDE, TESTS = "tidebook.py::", "tests/tides.py::"
STRIPPED = {"phase": ["test_slack_water_is_within_the_tolerance"],
            "Table.add": ["test_hours_are_kept_in_their_order_when_dumped",
                          "test_a_gap_names_the_missing_hours"]}


@pytest.fixture(scope="session")
def tide_image():
    PROJECT.make()


def analysed(folder: Path):
    """Return the analysis of a folder's sources, and no test results."""
    return analysis_of("tides/tide", "tide", "0" * 40, read_sources(folder), [])


def a_coverage(analysis) -> dict:
    """Return a coverage in which each test ran all of its own lines."""
    tests = [one for one in analysis.entities if one["is_test"] and one["kind"] == "function"]
    files = sorted({one["path"] for one in tests})
    return asdict(Coverage(
        "tides/tide", "tide", "0" * 40, "pytest", "",
        {"image": "", "test_script": "", "runs": 1, "seconds": [1.0], "versions": [],
         "without_contexts": 0}, files, [], [[one["line"], one["end_line"]] for one in tests], [],
        [{"name": one["id"], "status": ["passed"], "flaky": False, "functions": None, "starts": [],
          "lines": {str(files.index(one["path"])): i}} for i, one in enumerate(tests)],
        [0.1] * len(tests), {}, {}, [], 1.0))


def a_patch(function: str, source: str = "0") -> StripPatch:
    """Return a patch that strips one function."""
    diff = f"--- a/tidebook.py\n+++ b/tidebook.py\n@@ -1 +1 @@\n-{function}\n+\n"
    return StripPatch("tides/tide", "tide", "0" * 40, id_of("tide", "function", diff), "function",
                      [TIDE + function], [source], diff, {"verdict": "good"})


def write_root(root: Path, stripped=STRIPPED) -> None:
    """Write what the steps of documents read."""
    folder = root / "nl2repo/_sources/tide"
    shutil.copytree(TIDEBOOK, folder, ignore=shutil.ignore_patterns("__pycache__"))
    analysis = analysed(folder)
    who = {"repo": "tides/tide", "repo_name": "tide", "base_commit": "0" * 40}
    files = {file.path: digest(file.text.decode()) for file in read_sources(folder).files}
    root.with_env(an_environment("tide", image_name=PROJECT.image, repo="tides/tide"))
    write_json(root / "analysis/tide.json", asdict(analysis))
    write_json(root / "coverage/tide.json", a_coverage(analysis))
    write_json(root / "nl2repo/_sources/tide.json", {
        **who, "files": files, "faults": {}, "others": ["README.md"], "seconds": 1.0})
    write_json(root / "nl2repo/_meta/tide.json", {
        **who, "licence": "MIT", "summary": "", "dependencies": ["numpy>=1"],
        "files": [], "lines": 1, "entities": {}, "stable_tests": [], "flaky_tests": []})
    for function, tests in stripped.items():
        write_patch(root, a_patch(function), [f"{TESTS}{test}" for test in tests])
