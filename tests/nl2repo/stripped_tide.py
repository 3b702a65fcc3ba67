"""Provide a root of nl2repo/ with proven patches of a small project, tidebook, and its image."""
import shutil
from pathlib import Path

import pytest
from heron_environment import an_environment
from projects import FOLDER, Project
from proven_strip import a_strip_of, write_patch
from root import ONE_RUN, filled

from codedata.analysis.analyse import analysis_of
from codedata.code.entities import read_sources
from codedata.disk.store import digest
from codedata.records import Candidate, Coverage, CoveredTest, RepoMeta, SourceCopy

TIDEBOOK = FOLDER / "tidebook"
PROJECT = Project("tidebook")
TIDE_REPO = {"repo": "tides/tide", "repo_name": "tide", "base_commit": "0" * 40}
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
    return filled(
        Coverage, **TIDE_REPO, contexts="pytest", measured=ONE_RUN, files=files,
        line_sets=[[one["line"], one["end_line"]] for one in tests],
        tests=[filled(CoveredTest, name=one["id"], status=["passed"],
                      lines={str(files.index(one["path"])): i}) for i, one in enumerate(tests)],
        test_seconds=[0.1] * len(tests))


def a_patch(function: str, source: str = "0") -> Candidate:
    """Return a candidate that strips one function."""
    diff = f"--- a/tidebook.py\n+++ b/tidebook.py\n@@ -1 +1 @@\n-{function}\n+\n"
    return a_strip_of("tide", diff, [TIDE + function], [source], repo="tides/tide")


def write_root(root: Path, stripped=STRIPPED) -> None:
    """Write what the steps of documents read."""
    folder = root / "nl2repo/_sources/tide"
    shutil.copytree(TIDEBOOK, folder, ignore=shutil.ignore_patterns("__pycache__"))
    analysis = analysed(folder)
    files = {file.path: digest(file.text.decode()) for file in read_sources(folder).files}
    root.with_env(an_environment("tide", image_name=PROJECT.image, repo="tides/tide"))
    root.put("tide", analysis).with_json("coverage/tide", a_coverage(analysis))
    root.with_record(SourceCopy, "tide", **TIDE_REPO, files=files, others=["README.md"])
    root.with_record(RepoMeta, "tide", **TIDE_REPO, licence="MIT", dependencies=["numpy>=1"])
    for function, tests in stripped.items():
        write_patch(root, a_patch(function), [f"{TESTS}{test}" for test in tests])
