"""Check that planning hostile repositories ends, within limits, and takes nothing from outside."""
import ast
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hostile
import pytest
from conftest import REPO
from root import write_files

from codedata.env.planner import plan, project_of
from codedata.env.recipes import python_recipe
from codedata.env.recipes.python_project import PythonProject
from codedata.env.repository_facts import Facts, read_facts, recipes
from codedata.env.verify_scripts import Verifier

PLANNING = [path for path in (REPO / "codedata" / "env").glob("recipes/*.py")
            if path.stem != "repository_files"] + [REPO / "codedata" / "env" / f"{name}.py"
                                                   for name in ("planner", "repository_facts")]
TOUCHES = re.compile(
    r"\b(open|read_text|read_bytes|exists|is_file|is_dir|r?glob|iterdir|listdir|scandir|l?stat"
    r"|readlink|read_bounded|open_regular)\Z")   # what only RepositoryFiles does


def scripts_of(facts: Facts) -> list[str]:
    return [text for recipe in recipes(facts)
            for text in (recipe.install_script(), recipe.test_script())]


# every reader, every kind of harm ----------------------------------------------------------------

@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """Return {name: facts} of all hostile repositories, with the secret in the environment, too."""
    os.environ["HOSTILE_PASSWORD"] = hostile.SECRET
    try:
        with ThreadPoolExecutor(3) as pool:
            repositories = hostile.make(tmp_path_factory.mktemp("hostile") / "all", seed=12)
            found = zip(repositories, pool.map(read_facts, repositories), strict=True)
            return {repository.name: facts for repository, facts in found}
    finally:
        del os.environ["HOSTILE_PASSWORD"]


def test_each_hostile_repository_ends_in_time_with_a_plan_or_a_named_cause(planned):
    for name, facts in planned.items():
        if not list(recipes(facts)):
            cause = plan(Verifier(None, project_of(facts)), facts).verified.cause
            assert cause.name == ("manifest_unreadable" if facts.unreadable else "no_recipe"), name
            assert not facts.unreadable or next(iter(facts.unreadable)) in cause.evidence


def test_what_lies_outside_is_in_no_script_and_no_fact(planned):
    for name, facts in planned.items():
        texts = [repr(facts), *scripts_of(facts)]
        assert not [text for text in texts if hostile.SECRET in text or "@ file:" in text], name


def test_every_proposed_script_is_bash_that_runs_nothing_of_a_manifest_by_its_name_or_version(
        planned):
    for name, facts in planned.items():
        for text in scripts_of(facts):
            assert not subprocess.run(["bash", "-n"], input=text.encode(),
                                      capture_output=True).stderr, name
            assert not [line for line in text.splitlines()
                        if line.startswith(("touch", "rm -rf /tmp/x"))], name
            assert "touch /tmp" not in "".join(line for line in text.splitlines()
                                               if line.startswith("export")
                                               and "'" not in line), name


@pytest.mark.parametrize("kind", ["fifo", *(f"link-{name}" for name in hostile.LINKS)])
def test_what_is_no_file_of_the_repository_is_named(planned, kind):
    beside = {"link-folder": hostile.READ[11:], "fifo": ()}.get(kind, ())
    nested = hostile.READ[12:13] if kind == "link-relative" else ()   # from there it leads nowhere
    missing = {*hostile.READ} - {*planned[kind].unreadable} - {"Makefile", *beside, *nested}
    assert not missing and not scripts_of(planned[kind])


# single ones -------------------------------------------------------------------------------------

def test_one_reader_without_end_costs_its_file_and_the_others_serve(planned):
    facts = planned["text-1"]
    assert facts.unreadable["PKG-INFO"] == "took more than 3 s"
    assert {"python", "Makefile"} == {recipe.planner for recipe in recipes(facts)}


def test_literals_that_double_are_stopped_by_the_memory_of_the_child_alone(planned):
    assert planned["text-0"].unreadable["setup.py"].startswith("MemoryError")


def test_links_within_a_repository_are_followed(tmp_path):
    write_files(tmp_path, {"pins/all.txt": "responses\n"})
    (tmp_path / "requirements-test.txt").symlink_to("pins/all.txt")
    assert read_facts(tmp_path).python.tests == ("responses",)


def test_a_name_a_version_and_a_variable_stay_in_their_line():
    project = PythonProject(name="a\ntouch /x", version="1\rtouch /y", n_test_files=1,
                            env={"A;touch /z #": "1", "B": "$(touch /w)"}, tests=("c\ntouch /v",))
    recipe = python_recipe.initial(project)
    lines = (recipe.install_script() + recipe.test_script()).splitlines()
    assert not [line for line in lines if line.startswith("touch") or ";touch" in line]
    assert "export B='$(touch /w)'" in lines


def test_a_repository_is_nowhere_on_the_path_of_the_child(tmp_path, monkeypatch):
    for name in ("yaml", "json", "sitecustomize", "tomllib", "codedata"):
        (tmp_path / f"{name}.py").write_text(
            "import pathlib\npathlib.Path(__file__ + '.run').touch()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert read_facts(Path()).python.modules and not [*tmp_path.glob("*.run")]


@pytest.mark.parametrize("path", PLANNING, ids=lambda path: path.stem)
def test_planning_opens_nothing_of_a_repository_beside_its_reader(path):
    tree = ast.parse(path.read_text())
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [call for call in calls if TOUCHES.search(call)]
