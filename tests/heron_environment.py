"""Provide an environment of a small project, heron, with a suite of pytest, as env/ holds it."""
from __future__ import annotations

import json

import pytest
from projects import BASE, Project

PROJECT = Project("heron")
HERON, TESTS = PROJECT.texts["heron.py"], PROJECT.texts["tests/test_heron.py"]
TEST_SCRIPT = ("mkdir -p /tmp/results\n"
               "pytest -q --junitxml=/tmp/results/r.xml -o junit_family=xunit1")
CASES = [{"name": f"tests/test_heron.py::test_wade[{i}]", "status": "passed"} for i in range(20)]
FLY = "tests/test_heron.py::test_fly"


def an_environment(name: str = "heron", **fields) -> dict:
    return {"repo": f"birds/{name}", "repo_name": name, "row": {}, "base_commit": "0" * 40,
            "base_image": BASE, "image_name": PROJECT.image, "status": "success",
            "install_script": "", "test_script": TEST_SCRIPT, "summary": "", "planner": "recipe",
            "messages": [], "error": "", "flaky": [], "verified": {"healthy": True}, "usage": {},
            "seconds": 1.0, "test_case_result": [*CASES, {"name": FLY, "status": "passed"}],
            **fields}


def write_env(root, *environments: dict) -> None:
    for one in environments:
        path = root / "env" / f"{one['repo_name']}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(one), encoding="utf-8")


@pytest.fixture(scope="session")
def heron_image():
    PROJECT.make()
