"""Provide an environment of a small project, heron, with a suite of pytest, as env/ holds it."""
import pytest
from projects import BASE, Project
from root import filled

from codedata.records import Environment

PROJECT = Project("heron")
HERON, TESTS = PROJECT.texts["heron.py"], PROJECT.texts["tests/test_heron.py"]
TEST_SCRIPT = ("mkdir -p /tmp/results\n"
               "pytest -q --junitxml=/tmp/results/r.xml -o junit_family=xunit1")
CASES = [{"name": f"tests/test_heron.py::test_wade[{i}]", "status": "passed"} for i in range(20)]
FLY = "tests/test_heron.py::test_fly"


def an_environment(name: str = "heron", **fields) -> dict:
    return filled(Environment, **{
        "repo": f"birds/{name}", "repo_name": name, "base_commit": "0" * 40, "base_image": BASE,
        "image_name": PROJECT.image, "status": "success", "test_script": TEST_SCRIPT,
        "planner": "recipe", "verified": {"healthy": True}, "seconds": 1.0,
        "test_case_result": [*CASES, {"name": FLY, "status": "passed"}], **fields})


@pytest.fixture(scope="session")
def heron_image():
    PROJECT.make()
