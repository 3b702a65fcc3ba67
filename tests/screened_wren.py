"""Provide wren as an environment whose bugs are screened: a project and a suite with what makes
that hard, and what each of its tests runs."""
from __future__ import annotations

import difflib
import os

import pytest
from heron_environment import an_environment
from proof_heron import factory_of

from codedata.checks.proof import time_limit
from codedata.code.contexts import ranges_of
from codedata.code.entities import SourceFile, entities_of, tree_of
from codedata.records import BugConfig, Coverage, Environment
from codedata.sandbox import docker_engine, open_sandbox

RUN = f"tests-wren-{os.getpid()}"
IMAGE = f"codedata-tests/wren:{os.getpid()}"
WREN = '''"""Wrens."""
import os

LIMIT = 3


def doubled(n):
    return 2 * n


def following(n):
    return n + 1


SECOND = following(1)


class Bird:
    def name(self):
        return "bird"


class Wren(Bird):
    def name(self):
        return "wren, a " + super().name()


def counted(n, step=1):
    return [i + step for i in range(n)]


def each(n):
    for i in range(n):
        yield i


def said():
    return "tweet"


def unused():
    return 1


if __name__ == "__main__":
    print(said())
'''
TESTS = '''import inspect
import os
import socket
import subprocess
import sys

import pytest

import wren

expected = getattr(pytest.mark, "xfail")


def test_doubled():
    limit, wren.LIMIT = wren.LIMIT, 0 if "LEAVES" in os.environ else wren.LIMIT
    assert wren.doubled(2) == 4
    wren.LIMIT = limit


def test_port():
    with socket.create_server(("127.0.0.1", 4711)):
        assert wren.doubled(0) == 0 and not os.path.exists("/var/tmp/left")


def test_second():
    assert wren.SECOND == 2


def test_limit():
    if "WRITES" in os.environ:
        with open("wren.py", "a") as file:
            file.write("# seen")
    assert wren.LIMIT == 3


def test_name():
    assert wren.Wren().name() == "wren, a bird"


@pytest.mark.parametrize("n", [0, 1], ids=["none", "one: caf\\u00e9 [x::y]"])
def test_counted(n):
    assert wren.counted(n) == [1][:n]


def test_each():
    assert [*wren.each(0)] == []


def test_source():
    assert inspect.getsource(wren.said) == \'def said():\\n    return "tweet"\\n\'


@expected(strict=True, reason="wrens do not count")
def test_strict():
    assert wren.unused() == 2


def test_process():
    assert subprocess.check_output([sys.executable, "wren.py"]) == b"tweet\\n"
'''
OTHERS = {"tests/sub/test_wren.py": "def test_same_name():\n    pass\n", "tests/__init__.py": "",
          "tests/sub/__init__.py": "", "pytest.ini": "[pytest]\nfilterwarnings = error\n"}
SCRIPT = ("mkdir -p /tmp/results\npython3 -m pytest --version\n"
          "python3 -m pytest -q --junitxml=/tmp/results/r.xml "
          "-o junit_family=xunit1 -p no:cacheprovider\n")
PLACE = "tests/test_wren.py"
COUNTED = f"{PLACE}::test_counted[one: caf\\xe9 [x::y]]"
RUNS = {"doubled": ["doubled"], "port": ["doubled"], "second": [], "limit": [],
        "name": ["Bird.name", "Wren.name"], "each": ["each"], "source": [], "process": [],
        "counted[none]": ["counted"], "counted[one: caf\\xe9 [x::y]]": ["counted"]}


def wren_diff(old: str, new: str) -> str:
    """Return the patch that replaces a part of wren.py."""
    assert old in WREN
    sides = (text.splitlines(keepends=True) for text in (WREN, WREN.replace(old, new, 1)))
    return "".join(difflib.unified_diff(*sides, "a/wren.py", "b/wren.py"))


def wren_environment(**fields) -> Environment:
    names = [*(f"{PLACE}::test_{name}" for name in RUNS), "tests/sub/test_wren.py::test_same_name"]
    cases = [{"name": name, "status": "passed"} for name in names]
    cases.append({"name": f"{PLACE}::test_strict", "status": "skipped"})
    return Environment(**an_environment("wren", **{
        "image_name": IMAGE, "base_commit": "", "install_script": "true\n", "test_script": SCRIPT,
        "test_case_result": cases, "verified": {"healthy": True, "test_s": [1.0]}, **fields}))


def wren_coverage(**runs: list[str]) -> Coverage:
    """Return what each test of wren runs; `runs` says otherwise of some."""
    file = SourceFile("wren.py", "python", WREN.encode(), is_test=False)
    bodies = {one.name: one.body_lines for one in entities_of(file, tree_of(file))}
    functions = [f"wren.py::{name}" for name in bodies]
    tests, line_sets, function_sets = [], [[1, 999]], []
    for name, ran in (RUNS | runs).items():
        line_sets.append([line for one in ran for line in bodies[one]])
        function_sets.append([functions.index(f"wren.py::{one}") for one in ran])
        tests.append({"name": f"{PLACE}::test_{name}", "status": ["passed"], "flaky": False,
                      "lines": {"1": 0, **({"0": len(line_sets) - 1} if ran else {})},
                      "functions": len(function_sets) - 1,
                      "starts": ["subprocess.Popen"] if name == "process" else []})
    at_import = [WREN[:WREN.index(line)].count("\n") + 1 for line in (
        "LIMIT", "def doubled", "def following", "    return n + 1", "SECOND", "class Bird")]
    measured = {"runs": 1, "seconds": [1.0], "versions": []}
    return Coverage("birds/wren", "wren", "", "pytest", "", measured, ["wren.py", PLACE], functions,
                    line_sets, function_sets, tests,
                    [0.01] * len(tests),
                    {"wren.py": ranges_of(sum(1 << line for line in at_import))}, {}, [], 1.0)


def wren_config(environment: Environment, **fields) -> BugConfig:
    limit_s = time_limit(environment, 30.0)
    return BugConfig(**{
        "repo": "birds/wren", "repo_name": "wren", "base_commit": "", "environment": "",
        "roots": ["."], "exclude": [], "selection": "plugin", "reason": "", "timeout_s": limit_s,
        "max_candidates": 100, "seed": 0, **fields})


@pytest.fixture(scope="session")
def wren():
    """Make the image of wren, and return the factory of sandboxes for it."""
    with open_sandbox("docker", scripts=[], run_label=RUN) as box:
        texts = {"wren.py": WREN, PLACE: TESTS, **OTHERS}
        box.put({path: text.encode() for path, text in texts.items()}, "/testbed")
        done = box.run("git init -q; git add -A; "
                       "git -c user.name=a -c user.email=a@b.c commit -qm one")
        assert done.ok, done.output
        box.commit(IMAGE, keep=False)
    yield factory_of(memory_request="512Mi", pids_limit=100, disk_limit="300MB")
    docker_engine.remove_images(RUN)
