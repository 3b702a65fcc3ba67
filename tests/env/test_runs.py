"""Check the judgement of single test runs: complete, healthy, and which files report nothing."""
from __future__ import annotations

import pytest

from codedata.env.runs import Run, compare, part_of_suite, unreported_files, why_not_healthy


def run(exit_code: int = 0, **outcomes: str) -> Run:
    return Run(exit_code, 1.0, False, "",
               [{"name": name, "status": status} for name, status in outcomes.items()])


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


@pytest.mark.parametrize("line", [
    "!!!!!!!!!!!!!!!!!!!!!!!!!! stopping after 1 failures !!!!!!!!!!!!!!!!!!!!!!!!!!!",
    "Bail out! no server", "panic: runtime error: index out of range",
    "Fatal Python error: Aborted", "INTERNALERROR> KeyError: 'x'"])
def test_a_suite_that_says_it_stops_is_not_whole(line):
    results = [{"name": f"t{i}", "status": "passed"} for i in range(40)] + [
        {"name": "x", "status": "failed"}]
    stopped = Run(1, 1.0, False, f"t1 ok\n{line}\nthe end\n", results)
    assert not stopped.healthy and why_not_healthy(stopped, 60).evidence == line
    assert Run(1, 1.0, False, f"t1 ok\nprinted: {line}\n", results).healthy


def test_a_failure_that_no_case_explains_is_the_cause():
    stopped = Run(3, 1.0, False, "a: ok\nINTERNAL: out of ideas\n",
                  [{"name": "a", "status": "passed"}])
    cause = why_not_healthy(stopped, 60)
    assert cause.name == "exit_code"
    assert "exit code 3" in cause.evidence
    assert "out of ideas" in cause.evidence


def test_cases_are_stable_that_come_out_the_same_in_all_runs():
    runs = [run(a="passed", b="failed", c="passed"), run(a="passed", b="passed"),
            run(a="passed", b="failed", d="passed")]
    assert compare(runs) == ({"a": "passed"}, ["b", "c", "d"])


def of(*names: str) -> list[dict[str, str]]:
    return [{"name": name, "status": "passed"} for name in names]


@pytest.mark.parametrize("name, path", [
    ("tests/test_wade.py::TestDepth::test_it", "tests/test_wade.py"),                # pytest
    # unittest's reports
    ("tests.test_wade.TestDepth::test_it", "tests/test_wade.py"),
    # a module that was skipped
    ("tests.test_wade", "tests/test_wade.py"),
    # unittest's text
    ("test_it (heron.tests.wade_test.TestDepth)", "heron/tests/wade_test.py"),
    ("src/wade.test.ts::depth > is measured", "packages/heron/src/wade.test.ts"),    # jest, vitest
    ("org.heron.WadeTest::isMeasured", "src/test/java/org/heron/WadeTest.java"),     # Maven, Gradle
])
def test_a_test_file_that_no_case_name_refers_to_is_unreported(name, path):
    other = path.replace("wade", "reeds").replace("Wade", "Reeds")
    assert unreported_files([path, other, "README.md", "heron/wade.py"], of(name)) == ([other], 2)


def test_where_names_refer_to_no_file_nothing_is_unreported():
    paths = ["test/wade.test.js", "test/reeds.test.js", "wade_test.go", "tests/test_wade.py"]
    assert unreported_files(paths, of("wading > is slow", "wading > is deep",
                                      "example.com/heron::TestWade")) == ([], 0)


def test_a_case_of_the_same_name_does_not_speak_for_a_file():
    paths = ["tests/test_wade.py", "tests/test_reeds.py"]
    assert unreported_files(paths, of("tests/test_wade.py::test_reeds")) == (
        ["tests/test_reeds.py"], 2)


def test_most_of_a_suite_has_to_report_results():
    assert part_of_suite(["test_a.py"], 2).name == ""
    assert part_of_suite(["test_a.py", "test_b.py"], 3).name == "part_of_suite"
    assert part_of_suite([], 0).name == ""
