"""Check the step `coverage` of analyze.py: its records, added runs, edits, kills and bad input."""
import json
import re

import pytest
from conftest import REPO, edit, ledger_lines, run_script
from heron_environment import CASES, FLY, TEST_SCRIPT, an_environment
from line_tables import rows
from root import read_json
from setups import CA_FLAGS, made_here

from codedata.analysis.measure import Tally
from codedata.errors import BrokenRecord, ItemFailed
from codedata.records import Coverage, Environment, parse
from codedata.sandbox import Result
from codedata.suites.contexts import ObservedRun, Trace
from codedata.suites.project_suite import Run
from codedata.suites.test_results import Case

STEP = ["--steps", "coverage", *CA_FLAGS]


def coverage_of(root, name: str = "heron") -> dict:
    return read_json(root / f"coverage/{name}.json")


def analyze(root, *flags):
    return run_script("analyze.py", root, *STEP, *flags, timeout_s=300)


@pytest.mark.docker
def test_a_record_grows_by_runs_and_keeps_what_a_person_marks(heron_image, tmp_path):
    tmp_path.with_env(an_environment())
    assert analyze(tmp_path).returncode == 0
    record = coverage_of(tmp_path)
    assert record["contexts"] == "pytest" and record["otherwise"] == []
    by_name = {test["name"]: test for test in record["tests"]}
    ran = record["function_sets"][by_name[FLY]["functions"]]
    assert {record["functions"][i] for i in ran} == {"heron.py::fly", f"{FLY}"}
    lines = by_name[CASES[0]["name"]]["lines"]
    assert {record["files"][int(i)]: record["line_sets"][k] for i, k in lines.items()} == {
        "heron.py": [2, 2], "tests/test_heron.py": [7, 7]}
    assert len(record["line_sets"]) == 4 and len(record["function_sets"]) == 2
    assert record["import_lines"]["heron.py"] == [1, 1, 4, 4]
    assert len([*(tmp_path / "coverage/_raw/heron/1").rglob("*.*")]) == 3
    assert "incomplete 1" in analyze(tmp_path, "--num-runs", 2).stderr
    record = coverage_of(tmp_path)
    assert record["tests"][0]["status"] == ["passed"] * 2 and record["measured"]["runs"] == 2
    assert [*map(len, (record["tests"], record["line_sets"]))] == [21, 4]
    edit(tmp_path / "coverage/heron.json", lambda record: record["tests"][0].update(flaky=True))
    assert "edited: heron" in analyze(tmp_path, "--num-runs", 3).stderr
    assert analyze(tmp_path, "--num-runs", 3, "--force").returncode == 0
    assert [test["flaky"] for test in coverage_of(tmp_path)["tests"][:2]] == [True, False]
    assert analyze(tmp_path, "--force").returncode == 0
    assert [run.name for run in (tmp_path / "coverage/_raw/heron").iterdir()] == ["1"]
    assert not made_here("image", "--filter", "reference=codedata-tools/heron")


@pytest.mark.docker
def test_each_bad_environment_is_named_and_the_rest_goes_on(heron_image, tmp_path):
    lost = [{"name": f"tests/gone.py::test_{i}", "status": "passed"} for i in range(3)]
    tmp_path.with_env(an_environment("good", test_script=f"touch tests/gone.py\n{TEST_SCRIPT}"),
        an_environment("lost", test_case_result=[*CASES, *lost]),
        an_environment("hung", test_script=f"{TEST_SCRIPT}\nsleep 99"),
        an_environment("none", test_case_result=[{"name": FLY, "status": "failed"}]),
        an_environment("unit", test_script="echo ok 1 - wades; echo 1..1",
                               test_case_result=[{"name": "wades", "status": "passed"}]))
    done = analyze(tmp_path, "--run-timeout", 10)
    assert done.returncode == 1
    failed = {line["item"]: line["error"] for line in
              ledger_lines(tmp_path / "coverage", state="failed")}
    assert "4 of 23 tests have other outcomes than in env/: tests/gone.py::test_0 (passed, now " \
           "missing)" in failed["lost"]
    assert "ran longer than 10 s with coverage" in failed["hung"] and len(failed) == 2
    excluded, = ledger_lines(tmp_path / "coverage", state="excluded")
    assert (excluded["item"], excluded["error"]) == ("none", "has no test that passes.")
    good = coverage_of(tmp_path, "good")
    assert good["otherwise"] == [{"name": FLY, "expected": "passed", "status": "failed"}]
    assert len(good["tests"]) == 20
    unit = coverage_of(tmp_path, "unit")
    assert (unit["contexts"], unit["tests"][0]["functions"]) == ("none", None)
    assert unit["reason"] == "none of its tests runs under a pytest that loads plugins"


# a place in the record, what is put there as JSON (nothing: it falls out), and the fault
BROKEN = rows(r"""
tests 0 status    |                   | `tests`[0].status is missing
tests 0 functions | "x"               | `tests`[0].functions is a text
tests 0           |                   | `test_seconds` and `tests` differ in length
tests 0 lines 99  | 0                 | `files` lacks an entry
functions 0       |                   | `functions` lacks an entry
line_sets 0 0     |                   | `line_sets`[0] is not a list of ranges
line_sets 0       | [1, 100000000000] | ] is not a list of ranges
import_lines a.py | [4, 3]            | [a.py] is not a list of ranges
measured runs     | 3                 | `measured.runs` differs from the number of runs
otherwise         | [{}]              | `otherwise`[0].name is missing
""")


@pytest.mark.parametrize(("place", "value", "fault"), BROKEN)
def test_what_a_person_breaks_in_a_record_is_named(place, value, fault):
    part = record = read_json(REPO / "samples/coverage/spanset.json")
    *parents, key = [int(one) if one == "0" else one for one in place.split()]
    for parent in parents:
        part = part[parent]
    if value:
        part[key] = json.loads(value)
    else:
        del part[key]
    with pytest.raises(BrokenRecord, match=re.escape(fault)):
        parse(Coverage, record, "spanset.json")


def test_a_case_without_a_name_is_named():
    with pytest.raises(BrokenRecord, match=r"`test_case_result`\[0\]\.name is missing"):
        parse(Environment, an_environment(test_case_result=[{"status": "passed"}]), "heron.json")


# counting ----------------------------------------------------------------------------------------

MANY = dict.fromkeys((f"t{i}" for i in range(60)), "passed")


def observation(**statuses: str) -> ObservedRun:
    cases = [Case(name, status) for name, status in statuses.items()]
    traces = {name: Trace(0.1, {"a.py": 4}) for name in statuses}
    return ObservedRun(Run(Result(0, "", 1.0), cases), traces, {"a.py": 2}, [{"core": "C"}])


def a_tally() -> Tally:
    results = [{"name": name, "status": status} for name, status in
               {**MANY, "b": "failed"}.items()]
    return Tally(parse(Environment, an_environment(test_case_result=results, flaky=["f"]), "env"))


def test_tests_that_come_out_otherwise_are_flaky_or_not_counted():
    tally = a_tally()
    tally.add(observation(**MANY | {"t1": "failed", "t2": "failed"}, b="failed", f="passed"))
    first = tally.record([])
    assert [(test["name"], test["status"]) for test in first.otherwise] == [
        ("t1", "failed"), ("t2", "failed")]
    assert [test["name"] for test in first.tests if test["flaky"]] == ["f"]
    again = a_tally()
    again.take(first)
    again.mark_flaky(first)
    assert again.record([]) == first
    others = {name: status for name, status in MANY.items() if name != "t3"}
    again.add(observation(**others | {"t1": "failed", "new": "passed"}, b="failed", f="failed"))
    second = again.record([])
    assert {test["name"]: test["status"] for test in second.tests if test["flaky"]} == {
        "f": ["passed", "failed"], "new": ["missing", "passed"], "t2": ["failed", "passed"],
        "t3": ["passed", "missing"]}
    assert [test["name"] for test in second.otherwise] == ["t1"]
    with pytest.raises(ItemFailed, match=r"4 of 61 tests .*: b \(failed, now passed\), t5"):
        again.add(observation(**MANY | dict.fromkeys(("t5", "t6", "t7"), "error"), b="passed"))
