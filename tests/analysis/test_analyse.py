"""Test the analysis of a repository: scores by coverage and by calls, import time, tests, files."""
import json
from dataclasses import asdict

import pytest
from conftest import REPO
from line_tables import rows
from root import read_json, write_files

from codedata.analysis.analyse import analysis_of
from codedata.code.entities import read_sources
from codedata.records import Coverage, parse
from codedata.suites.test_results import place_of

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
    return write_files(tmp_path / "project", {"shapes.py": SOURCE, "tests/test_shapes.py": TESTS})


def measured_in_sample() -> dict:
    return read_json(REPO / "samples/coverage/spanset.json")


def analysed(project, measured=None, tests=()):
    return analysis_of("own/shapes", "shapes", "", read_sources(project), list(tests), measured)


def scores_of_sample(measured: dict) -> list[dict]:
    sources = read_sources(REPO / "samples/repos/spanset")
    return analysis_of("o/s", "spanset", "", sources, [], parse(Coverage, measured, "s")).hotspots


def test_flaky_and_failing_tests_do_not_count():
    without = measured_in_sample()
    del without["tests"][0], without["test_seconds"][0]
    expected = scores_of_sample(without)
    assert expected != scores_of_sample(measured_in_sample())
    for status in ({"flaky": True}, {"status": ["passed", "failed"]}, {"status": ["skipped"] * 2}):
        measured = measured_in_sample()
        measured["tests"][0] |= status
        assert scores_of_sample(measured) == expected


def test_without_coverage_scores_come_from_the_calls_and_say_so(project):
    tests = [{"name": name, "status": "passed", "flaky": False} for name in NAMES]
    for given in (tests, []):   # the tests of a report; all tests in the source
        found = analysed(project, tests=given)
        scores = {row["id"]: row["score"] for row in found.hotspots}
        assert (found.source, found.reason) == ("static", "not measured")
        assert scores[IDS[2]] == 1 and scores[IDS[0]] == pytest.approx(1 + 0.8)
        assert all(edge["n_tests"] is None for edge in found.edges)
        assert [file["covered"] for file in found.files] == [None, None]
        assert [entity["id"] for entity in found.entities if entity["at_import"]] == [IDS[3]]
    cases = [{**tests[0], "name": f"{NAMES[0]}[{i}]"} for i in range(3)]
    scores = {row["id"]: row["score"] for row in analysed(project, tests=cases).hotspots}
    assert scores[IDS[0]] == 3
    no_volume = [tests[0], {**tests[1], "status": "failed"}]
    assert IDS[2] not in {row["id"] for row in analysed(project, tests=no_volume).hotspots}


def test_a_function_on_one_line_does_not_run_by_its_definition(project):
    (project / "shapes.py").write_text("def side(x): return x\n")
    measured = parse(Coverage, measured_in_sample() | {"import_lines": {"shapes.py": [1, 1]}}, "s")
    (project / "broken.py").write_text("def f(:\n")
    found = analysed(project, measured)
    assert not any(one["at_import"] for one in found.entities)
    assert "has syntax errors" in found.faults["broken.py"]


def test_the_sample_is_what_the_samples_of_source_and_coverage_give():
    sample = read_json(REPO / "samples/analysis/spanset.json")
    sources = read_sources(REPO / "samples/repos/spanset")
    subject = [sample[key] for key in ("repo", "repo_name", "base_commit")]
    found = analysis_of(*subject, sources, [], parse(Coverage, measured_in_sample(), "s"))
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
    place = place_of(name, {"a/test_x.py", "a/other.py"})
    assert "::".join(filter(None, place)) == entity
