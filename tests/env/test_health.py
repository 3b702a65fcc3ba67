"""Check the causes why a run is not healthy, and which files report nothing."""
import pytest
from line_tables import rows

from codedata.env.health import part_of_suite, unreported_files, why_hollow, why_not_healthy
from codedata.sandbox import Result
from codedata.suites.outside import _copies
from codedata.suites.project_suite import Run
from codedata.suites.test_results import Case


@pytest.mark.parametrize("line", [
    "!!!!!!!!!!!!!!!!!!!!!!!!!! stopping after 1 failures !!!!!!!!!!!!!!!!!!!!!!!!!!!",
    "Bail out! no server", "panic: runtime error: index out of range",
    "Fatal Python error: Aborted", "INTERNALERROR> KeyError: 'x'"])
def test_a_suite_that_says_it_stops_is_not_whole(line):
    results = [Case(f"t{i}", "passed") for i in range(40)] + [Case("x", "failed")]
    stopped = Run(Result(1, f"t1 ok\n{line}\nthe end\n", 1.0), results)
    assert not stopped.healthy and why_not_healthy(stopped, 60).evidence == line
    assert Run(Result(1, f"t1 ok\nprinted: {line}\n", 1.0), results).healthy


def test_a_failure_that_no_case_explains_is_the_cause():
    stopped = Run(Result(3, "a: ok\nINTERNAL: out of ideas\n", 1.0), [Case("a", "passed")])
    cause = why_not_healthy(stopped, 60)
    assert cause.name == "exit_code"
    assert "exit code 3" in cause.evidence
    assert "out of ideas" in cause.evidence


def of(*names: str) -> list[Case]:
    return [Case(name, "passed") for name in names]


@pytest.mark.parametrize("name, path", rows("""
# pytest; the reports of unittest, a module that was skipped, the text of unittest
tests/test_wade.py::TestDepth::test_it            | tests/test_wade.py
tests.test_wade.TestDepth::test_it                | tests/test_wade.py
tests.test_wade                                   | tests/test_wade.py
tests/test_wade.py::test_reeds                    | tests/test_wade.py
test_it (heron.tests.wade_test.TestDepth)         | heron/tests/wade_test.py
# jest, vitest; Maven, Gradle
src/wade.test.ts::depth > is measured             | packages/heron/src/wade.test.ts
org.heron.WadeTest::isMeasured                    | src/test/java/org/heron/WadeTest.java
"""))
def test_a_test_file_that_no_case_name_refers_to_is_unreported(name, path):
    other = path.replace("wade", "reeds").replace("Wade", "Reeds")
    assert unreported_files([path, other, "README.md", "heron/wade.py"], of(name)) == ([other], 2)


def test_where_names_refer_to_no_file_nothing_is_unreported():
    paths = ["test/wade.test.js", "test/reeds.test.js", "wade_test.go", "tests/test_wade.py"]
    assert unreported_files(paths, of("wading > is slow", "wading > is deep",
                                      "example.com/heron::TestWade")) == ([], 0)


def test_most_of_a_suite_has_to_report_results():
    assert part_of_suite(["test_a.py"], 2).name == ""
    assert part_of_suite(["test_a.py", "test_b.py"], 3).name == "part_of_suite"
    assert part_of_suite([], 0).name == ""


@pytest.mark.parametrize("exit_code, outcomes, verdict", rows("""
1 | a failed, b passed |
1 |                    |
0 | a skipped          |
0 | a passed, b passed | hollow
0 | a failed           | hollow
0 |                    | hollow
"""))
def test_a_run_with_a_broken_source_has_to_lose_cases_and_say_so(exit_code, outcomes, verdict):
    cases = [Case(*outcome.split()) for outcome in outcomes.split(", ") if outcome]
    broken = Run(Result(int(exit_code), "", 1.0), cases)
    assert bool(why_hollow(["a", "b"], broken)) == bool(verdict)
    assert not why_hollow(["a"], Run(Result(2, "", 1.0), [Case("a", "passed")]), is_built=True)
    assert why_hollow(["a"], Run(Result(124, "", 1.0, timed_out=True), [])) == ""


@pytest.mark.parametrize("written, n_copies", [
    (b'{"dir_info": {"editable": true}}', 0), (b'{"dir_info":{"editable":true}}', 0),
    (b'{"dir_info":{}}', 1)])
def test_an_editable_install_of_pip_or_uv_is_no_copy(written, n_copies):
    info = "opt/venv/lib/python3.9/site-packages/heron-1.dist-info"
    found = _copies({info: b"", f"{info}/direct_url.json": written}, "testbed",
                    ". /opt/venv/bin/activate")
    assert len(found) == n_copies
