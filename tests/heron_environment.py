"""Provide an environment of a small project, heron, with a suite of pytest, as env/ holds it."""
from __future__ import annotations

import json
import os

import pytest

from codedata.sandbox import docker_engine, open_sandbox

# each worker has an image of its own
RUN = f"tests-heron-{os.getpid()}"
IMAGE = f"codedata-tests/heron:{os.getpid()}"
HERON = "def wade(depth):\n    return 2 * depth\n\ndef fly():\n    return 'away'\n"
TESTS = """import os
import pytest
from heron import fly, wade

@pytest.mark.parametrize("depth", range(20))
def test_wade(depth):
    assert wade(depth) == 2 * depth

def test_fly():
    with open("written.txt", "w") as file:
        file.write(fly())
    assert not os.path.exists("tests/gone.py") or fly() == "back"
"""
TEST_SCRIPT = ("mkdir -p /tmp/results\n"
               "pytest -q --junitxml=/tmp/results/r.xml -o junit_family=xunit1")
CASES = [{"name": f"tests/test_heron.py::test_wade[{i}]", "status": "passed"} for i in range(20)]
FLY = "tests/test_heron.py::test_fly"


def an_environment(name: str = "heron", **fields) -> dict:
    return {"repo": f"birds/{name}", "repo_name": name, "row": {}, "base_commit": "0" * 40,
            "base_image": "codedata-base:bookworm", "image_name": IMAGE, "status": "success",
            "install_script": "", "test_script": TEST_SCRIPT, "summary": "", "planner": "recipe",
            "messages": [], "error": "", "flaky": [], "verified": {"healthy": True}, "usage": {},
            "seconds": 1.0, "test_case_result": [*CASES, {"name": FLY, "status": "passed"}],
            **fields}


def write_env(root, *environments: dict) -> None:
    for one in environments:
        path = root / "env" / f"{one['repo_name']}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(one), encoding="utf-8")


@pytest.fixture(scope="module")
def heron_image():
    with open_sandbox("docker", scripts=[], run_label=RUN) as box:
        box.put({"heron.py": HERON.encode(), "tests/test_heron.py": TESTS.encode(),
                 "tests/__init__.py": b""}, "/testbed")
        assert box.run("git init -q; git add -A; "
                       "git -c user.name=a -c user.email=a@b.c commit -qm one").ok
        box.commit(IMAGE, keep=False)
    yield
    docker_engine.remove_images(RUN)
