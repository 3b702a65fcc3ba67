"""Check runs of a test script: whether they are complete, and which cases are stable."""
from codedata.sandbox import Result, open_sandbox
from codedata.suites.project_suite import Run, compare, run_suite
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
    assert run(a="passed", b="skipped", c="skipped").healthy and not run(a="skipped").healthy
    assert not run(139, a="passed").healthy
    assert run(1, **passed(19), x="failed").healthy
    # it broke off: nobody knows what else there was
    assert not run(1, a="passed", b="passed").healthy
    assert not run(1, **passed(99), **{"tests.test_b": "error"}).healthy


def test_cases_are_stable_that_come_out_the_same_in_all_runs():
    runs = [run(a="passed", b="failed", c="passed"), run(a="passed", b="passed"),
            run(a="passed", b="failed", d="passed")]
    assert compare(runs) == ({"a": "passed"}, ["b", "c", "d"])


def test_a_sandbox_without_isolation_reads_what_is_printed():
    with open_sandbox("local") as box:
        run = run_suite(box, 'echo "$BIRD"; echo 1..1; echo ok 1 - wades', 60,
                        env={"BIRD": "heron"})
        assert run.results == [Case("wades", "passed")] and run.text.startswith("heron\n")
        assert box.run("ls -A").output == ""
