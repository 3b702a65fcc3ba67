"""Check runs of a test script: whether they are complete, what repeats, what a selection runs."""
from __future__ import annotations

import pytest
from heron_project import opener

from codedata.sandbox import Result, open_sandbox
from codedata.suites.suite import RESULTS, Run, compare, run_suite
from codedata.suites.test_results import Case


def run(exit_code: int = 0, **outcomes: str) -> Run:
    return Run(Result(exit_code, "", 1.0), [Case(*outcome) for outcome in outcomes.items()])


def passed(n: int) -> dict[str, str]:
    """Return the outcomes of n cases that passed."""
    return {f"t{i}": "passed" for i in range(n)}


def test_healthy_means_that_the_whole_suite_ran_and_passed():
    assert run(a="passed", b="passed").healthy
    assert not run(a="passed", b="failed").healthy
    # a code that says nothing of the end
    assert not run(**passed(19), x="failed").healthy
    assert not run(a="passed", b="skipped").healthy
    assert run(**passed(4), x="skipped").healthy
    assert not run(139, a="passed").healthy
    assert run(1, **passed(19), x="failed").healthy
    # it broke off: nobody knows what else there was
    assert not run(1, a="passed", b="passed").healthy
    assert not run(1, **passed(99), **{"tests.test_b": "error"}).healthy


def test_cases_are_stable_that_come_out_the_same_in_all_runs():
    runs = [run(a="passed", b="failed", c="passed"), run(a="passed", b="passed"),
            run(a="passed", b="failed", d="passed")]
    assert compare(runs) == ({"a": "passed"}, ["b", "c", "d"])

# in a sandbox ------------------------------------------------------------------------------------

ODD = r"""import pytest
class TestDepth:
    @pytest.mark.parametrize("of", ["a b", "a::b", "a", "[x] - y", "é\n", "a/b.py"])
    def test_it(self, of):
        assert of != "a"
    def test_it_again(self):
        pass
"""
NAMES = [f"tests/test_odd.py::TestDepth::test_it[{of}]"
         for of in ("a b", "a::b", "[x] - y", "a/b.py", r"\xe9\n")]
REPORTED = f"mkdir -p {RESULTS}; python3 -m pytest -p no:cacheprovider --junitxml={RESULTS}/r.xml"
INNER = b"""import subprocess, sys
def test_starts_a_run_of_its_own(tmp_path):
    (tmp_path / "test_inner.py").write_text("def test_inner(): pass")
    assert subprocess.run([sys.executable, "-m", "pytest", tmp_path]).returncode == 0
"""
UNIT = b"""import unittest
class TestUnit(unittest.TestCase):
    def test_a(self): pass
    def test_b(self): pass
"""


@pytest.fixture(scope="module")
def sandbox():
    with opener("") as box:
        box.put({"test_odd.py": ODD.encode(), "test_inner.py": INNER, "test_unit.py": UNIT},
                "tests")
        yield box


@pytest.mark.docker
@pytest.mark.parametrize("script", [
    f"{REPORTED} -o junit_family=xunit1", "cd tests/..; pytest -v --color=yes",
    f"export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 PYTHONPATH=.\n{REPORTED} -o junit_family=xunit1",
    "id tester || useradd -m tester; chown -R tester .\nrunuser -u tester -- pytest -v tests",
    "python3 -m venv --without-pip --system-site-packages /opt/venv; . /opt/venv/bin/activate\n"
    "env -u PYTEST_PLUGINS python -m pytest -v"])
def test_a_selection_runs_exactly_its_cases_with_an_unchanged_script(sandbox, script):
    whole = run_suite(sandbox, script, 60)
    assert whole.selection == "" and len(whole.results) == 10
    for wanted in (NAMES[:1], NAMES[1:], ["tests/test_odd.py::TestDepth::test_it[a]"]):
        run = run_suite(sandbox, script, 60, selection=wanted)
        assert run.selection == "pytest"
        assert [case.name for case in run.results] == sorted(wanted)
    assert run.exit_code == 1 and run.results[0].status == "failed"
    assert sandbox.run("find / -xdev -name 'codedata[-_]selection*'").output == ""


@pytest.mark.docker
def test_names_of_any_form_of_junit_xml_select_and_have_seconds(sandbox):
    whole = run_suite(sandbox, REPORTED, 60)
    names = [case.name for case in whole.results if "test_it[a" in case.name]
    run = run_suite(sandbox, REPORTED, 60, selection=names)
    assert names[0].startswith("tests.test_odd.TestDepth::")
    assert [case.name for case in run.results] == names
    assert all(case.seconds is not None for case in run.results)


@pytest.mark.docker
def test_a_pytest_that_a_test_starts_itself_is_not_narrowed(sandbox):
    name = "tests/test_inner.py::test_starts_a_run_of_its_own"
    run = run_suite(sandbox, "pytest -rA", 60, selection=[name])
    assert [(case.name, case.status) for case in run.results] == [(name, "passed")]


@pytest.mark.docker
def test_what_is_no_pytest_runs_whole_and_says_so(sandbox):
    run = run_suite(sandbox, "echo $WADES; python3 -m unittest -v tests/test_unit.py 2>&1", 60,
                    env={"WADES": "slowly"}, selection=["tests.test_unit.TestUnit::test_a"])
    assert run.selection == "none" and len(run.results) == 2 and run.text.startswith("slowly\n")


def test_a_sandbox_without_isolation_reads_what_is_printed():
    with open_sandbox("local") as box:
        run = run_suite(box, "echo 1..1; echo ok 1 - wades", 60, selection=["wades"])
        assert (run.results, run.selection) == ([Case("wades", "passed")], "none")
        assert box.run("ls -A").output == ""
