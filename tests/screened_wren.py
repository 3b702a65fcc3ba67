"""Provide wren as an environment whose bugs are screened: a project and a suite with what makes
that hard, and what each of its tests runs."""
import pytest
from heron_environment import an_environment
from projects import Project
from proof_heron import factory_of
from root import ONE_RUN, filled

from codedata.code.entities import SourceFile, entities_of, tree_of
from codedata.records import BugConfig, Coverage, CoveredTest, Environment
from codedata.suites.contexts import ranges_of
from codedata.tasks.prove.outcomes import time_limit

RUN = "tests-wren"
PROJECT = Project("wren")
WREN = PROJECT.texts["wren.py"]
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
    return PROJECT.diff("wren.py", old, new)


def wren_environment(**fields) -> Environment:
    names = [*(f"{PLACE}::test_{name}" for name in RUNS), "tests/sub/test_wren.py::test_same_name"]
    cases = [{"name": name, "status": "passed"} for name in names]
    cases.append({"name": f"{PLACE}::test_strict", "status": "skipped"})
    return Environment(**an_environment("wren", **{
        "image_name": PROJECT.image, "base_commit": "", "install_script": "true\n",
        "test_script": SCRIPT,
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
        tests.append(filled(
            CoveredTest, name=f"{PLACE}::test_{name}", status=["passed"],
            lines={"1": 0, **({"0": len(line_sets) - 1} if ran else {})},
            functions=len(function_sets) - 1,
            starts=["subprocess.Popen"] if name == "process" else []))
    at_import = [WREN[:WREN.index(line)].count("\n") + 1 for line in (
        "LIMIT", "def doubled", "def following", "    return n + 1", "SECOND", "class Bird")]
    return Coverage(**filled(
        Coverage, repo="birds/wren", repo_name="wren", contexts="pytest",
        measured=ONE_RUN, files=["wren.py", PLACE], functions=functions,
        line_sets=line_sets, function_sets=function_sets, tests=tests,
        test_seconds=[0.01] * len(tests),
        import_lines={"wren.py": ranges_of(sum(1 << line for line in at_import))}))


def wren_config(environment: Environment, **fields) -> BugConfig:
    limit_s = time_limit(environment, 30.0)
    return BugConfig(**filled(BugConfig, **{
        "repo": "birds/wren", "repo_name": "wren", "roots": ["."], "selection": "plugin",
        "timeout_s": limit_s, "max_candidates": 100, **fields}))


@pytest.fixture(scope="session")
def wren():
    """Make the image of wren, and return the factory of sandboxes for it."""
    PROJECT.make()
    return factory_of(memory_request="512Mi", disk_limit="300MB")
