"""Test the analysis of a repository: scores by coverage and by calls, import time, tests, files."""
from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from conftest import REPO
from line_tables import rows

from codedata.analysis.analyse import analysis_of, entity_of_test, is_counted
from codedata.code.entities import read_sources
from codedata.records import Coverage, parse

SOURCE = '''\
"""Shapes."""


def area(side):
    """Return the area."""
    return _square(side)


def _square(x):
    return x * x


def volume(side):
    return area(side) * side


def register(function):
    return function


@register
def unused():
    return 1
'''
TESTS = '''\
from shapes import area, volume


def test_area():
    assert area(2) == 4


class TestVolume:
    def test_volume(self):
        assert volume(2) == 8
'''
IDS = [f"shapes.py::{name}" for name in ("area", "_square", "volume", "register")]
NAMES = ["tests/test_shapes.py::test_area", "tests/test_shapes.py::TestVolume::test_volume"]


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    (folder / "tests").mkdir(parents=True)
    (folder / "shapes.py").write_text(SOURCE)
    (folder / "tests/test_shapes.py").write_text(TESTS)
    return folder


def coverage(statuses=(["passed"], ["passed"]), flaky=(False, False), names=NAMES) -> Coverage:
    """Return what the two tests ran: area and _square; these and volume."""
    tests = [{"name": name, "status": status, "flaky": is_flaky, "lines": {"0": i}, "functions": i,
              "starts": []}
             for i, (name, status, is_flaky) in enumerate(zip(names, statuses, flaky, strict=True))]
    return Coverage(
        "own/shapes", "shapes", "c0ffee", contexts="pytest", reason="", measured={},
        files=["shapes.py"], functions=IDS, line_sets=[[6, 6, 10, 10], [6, 6, 10, 10, 14, 14]],
        function_sets=[[0, 1], [0, 1, 2]], tests=tests, test_seconds=[0.1, 0.1],
        import_lines={"shapes.py": [1, 4, 9, 9, 13, 13, 17, 18, 21, 22]},
        runnable={"shapes.py": [1, 1, 4, 6, 9, 10, 13, 14, 17, 18, 21, 23]},
        otherwise=[], seconds=1.0)


def analysed(project, measured=None, tests=()):
    return analysis_of("own/shapes", "shapes", "", read_sources(project), list(tests), measured)


def test_scores_are_the_tests_that_ran_a_function(project):
    found = analysed(project, coverage())
    assert found.source == "runtime" and found.reason == ""
    assert found.hotspots == [{"id": IDS[1], "score": 2}, {"id": IDS[0], "score": 2},
                              {"id": IDS[2], "score": 1}]
    together = {(edge["caller"], edge["callee"]): edge["n_tests"] for edge in found.edges}
    assert together[IDS[2], IDS[0]] == 1 and together[IDS[0], IDS[1]] == 2
    assert [(test["entity"], test["n_functions"]) for test in found.tests] == [
        ("tests/test_shapes.py::test_area", 2), ("tests/test_shapes.py::TestVolume.test_volume", 3)]
    assert found.measured == {"tests": 2, "counted": 2, "runs": 1}


@pytest.mark.parametrize("measured", [
    coverage(flaky=(False, True)), coverage((["passed"], ["passed", "failed"])),
    coverage((["passed"], ["skipped"]))])
def test_flaky_and_failing_tests_do_not_count(project, measured):
    assert {row["id"]: row["score"] for row in analysed(project, measured).hotspots} == {
        IDS[0]: 1, IDS[1]: 1}


def test_without_coverage_scores_come_from_the_calls_and_say_so(project):
    tests = [{"name": name, "status": "passed", "flaky": False} for name in NAMES]
    for given in (tests, []):   # those of a report; all that the source has
        found = analysed(project, tests=given)
        scores = {row["id"]: row["score"] for row in found.hotspots}
        assert (found.source, found.reason) == ("static", "not measured")
        assert scores[IDS[2]] == 1 and scores[IDS[0]] == pytest.approx(1 + 0.8)
        assert all(edge["n_tests"] is None for edge in found.edges)
    cases = [{**tests[0], "name": f"{NAMES[0]}[{i}]"} for i in range(3)]
    scores = {row["id"]: row["score"] for row in analysed(project, tests=cases).hotspots}
    assert scores[IDS[0]] == 3
    no_volume = [tests[0], {**tests[1], "status": "failed"}]
    assert IDS[2] not in {row["id"] for row in analysed(project, tests=no_volume).hotspots}


def test_what_runs_at_import_is_known_with_and_without_coverage(project):
    for measured in (coverage(), None):
        entities = {entity["id"]: entity for entity in analysed(project, measured).entities}
        assert [id for id in entities if entities[id]["at_import"]] == [IDS[3]]


def test_a_function_on_one_line_does_not_run_by_its_definition(project):
    (project / "shapes.py").write_text("def side(x): return x\n")
    measured = replace(coverage(), import_lines={"shapes.py": [1, 1]})
    assert not any(one["at_import"] for one in analysed(project, measured).entities)


def test_files_have_the_share_of_their_lines_that_ran(project):
    shapes, tests = analysed(project, coverage()).files
    assert shapes == {"path": "shapes.py", "language": "python", "lines": 23, "is_test": False,
                      "covered": 0.8462}
    assert tests["covered"] is None and tests["is_test"]
    assert [file["covered"] for file in analysed(project).files] == [None, None]


def test_the_sample_is_what_the_samples_of_source_and_coverage_give():
    measured, sample = (json.loads((REPO / "samples" / place / "spanset.json").read_text())
                        for place in ("coverage", "analysis"))
    sources = read_sources(REPO / "samples/repos/spanset")
    subject = [sample[key] for key in ("repo", "repo_name", "base_commit")]
    found = analysis_of(*subject, sources, [], parse(Coverage, measured, "sample"))
    assert json.loads(json.dumps(asdict(found))) == sample


@pytest.mark.parametrize("name, entity", rows("""
a/test_x.py::test_y[1::2] | a/test_x.py::test_y
a/test_x.py::T::test_y    | a/test_x.py::T.test_y
a.test_x.T::test_y        | a/test_x.py::T.test_y
a.test_x::test_y          | a/test_x.py::test_y
a title                   |
b.py::test_y              |
                          |
"""))
def test_the_function_of_a_test_is_found_by_its_name(name, entity):
    assert entity_of_test(name, {"a/test_x.py", "a/other.py"}) == entity


def test_a_status_is_one_or_a_list():
    assert is_counted({"status": "passed"}) and is_counted({"status": ["passed", "passed"]})
    assert not is_counted({"status": []}) and not is_counted({"status": "passed", "flaky": True})


# alone -------------------------------------------------------------------------------------------

def alone(project: Path, *words: str, name: str = "shapes"):
    return subprocess.run(
        [sys.executable, "-m", "codedata.analysis", "--repo-path", project, "--repo-name", name,
         "--output-dir", project.parent / "out", *words], cwd=REPO, capture_output=True, text=True)


def test_a_folder_is_analysed_alone_and_twice_to_the_same_bytes(project, tmp_path):
    (project / "broken.py").write_text("def f(:\n")
    report, config = tmp_path / "report.json", tmp_path / "rules.yaml"
    report.write_text(json.dumps([{"name": NAMES[0], "status": "PASSED"}]))
    config.write_text("exclude: ['docs/*']\n")
    words = ("--test-report", report, "--config", config)
    done = alone(project, *words)
    path = tmp_path / "out/shapes_analysis.json"
    first = path.read_bytes()
    assert (done.returncode, "broken.py: has syntax errors" in done.stderr) == (0, True)
    assert alone(project, *words).returncode == 0 and path.read_bytes() == first
    found = json.loads(first)
    assert [row["id"] for row in found["hotspots"]] == IDS[:2]
    assert found["source"] == "static"


@pytest.mark.parametrize("file, text, flag, why", rows("""
c.toml | roots = 'src'         | --config      | `roots` is a text, not a list
c.toml | rots = []             | --config      | Known are roots
c.toml | roots = ['..']        | --config      | has no folder .., which is one of
c.toml | roots = ['shapes.py'] | --config      | has no folder shapes.py
c.toml | [                     | --config      | cannot be read
c.yaml | a: [                  | --config      | cannot be read
c.yaml | - a                   | --config      | not an object
r.json | {}                    | --test-report | no list
r.json | [{}]                  | --test-report | no list
r.json | [                     | --test-report | cannot
"""))
def test_wrong_files_are_refused_by_name(project, tmp_path, file, text, flag, why):
    (tmp_path / file).write_text(text)
    done = alone(project, flag, tmp_path / file)
    assert done.returncode == 2 and why in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_name_that_is_no_file_name_and_a_missing_folder_are_refused(project):
    assert alone(project, name="../x").returncode == 2
    assert "is no folder" in alone(project / "nothing").stderr
