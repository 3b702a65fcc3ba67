"""Check that reports of each runner (runner_reports.toml) come out as the same list."""
import json
import subprocess
import sys

import pytest
from conftest import REPO
from line_tables import toml_beside
from root import write_files

from codedata.suites.test_results import counts, not_collected, parse
from codedata.texts import text_problem

CASES = toml_beside(__file__, "runner_reports.toml")["case"]


def statuses(reports: dict[str, bytes], text: str = "") -> dict[str, str]:
    """Return {name: status} as read in reports and in a text."""
    return {case.name: case.status for case in parse(reports, text)}


def of_text(text: str) -> dict[str, str]:
    return statuses({}, text)


def of_xml(report: bytes) -> dict[str, str]:
    return statuses({"r.xml": report})


SUITE = '''
import pytest
class TestX:
    @pytest.mark.parametrize("n", [1, 2])
    def test_n(self, n):
        assert n == 1
def test_skipped():
    pytest.skip("not today")
def test_expected():
    pytest.xfail("one day")
@pytest.fixture
def broken():
    raise RuntimeError
def test_error(broken):
    pass
@pytest.fixture
def fails_at_the_end():
    yield
    raise RuntimeError
def test_torn_down(fails_at_the_end):
    pass
class TestLost:
    def __getattribute__(self, name):
        raise ValueError
    def test_lost(self):
        pass
'''
OUTCOMES = {
    "tests/test_a.py::TestX::test_n[1]": "passed",
    "tests/test_a.py::TestX::test_n[2]": "failed",
    "tests/test_a.py::test_skipped": "skipped",
    "tests/test_a.py::test_expected": "skipped",
    "tests/test_a.py::TestLost": "error",
    "tests/test_a.py::test_error": "error",
    "tests/test_a.py::test_torn_down": "error"}
LOST = ["tests/test_a.py::TestLost"]


@pytest.fixture
def suite(tmp_path):
    return write_files(tmp_path, {
        "tests/test_a.py": SUITE, "tests/test_broken.py": "import a_module_that_is_not_there\n"})


def run_pytest(folder, *flags) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider",
               "--continue-on-collection-errors", *flags]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout


def test_names_from_pytests_report_are_its_node_ids_and_stand_in_what_it_prints(suite):
    printed = run_pytest(suite, "-v", "--junitxml=out.xml", "-o", "junit_family=xunit1")
    found = {"out.xml": (suite / "out.xml").read_bytes()}
    assert statuses(found) == OUTCOMES | {"tests.test_broken": "error"}
    assert not_collected(parse(found)) == ["tests.test_broken", *LOST]
    assert of_text(printed) == OUTCOMES | {"tests/test_broken.py": "error"}
    assert not_collected(parse({}, printed)) == [*LOST, "tests/test_broken.py"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_what_a_runner_reports_is_read(case):
    reports = {path: text.encode() for path, text in case.get("reports", {}).items()}
    text = case.get("text", "")
    assert statuses(reports, text) == case["expected"]
    assert not_collected(parse(reports, text)) == case.get("not_collected", [])


def test_where_nothing_says_how_tests_ended_there_are_none():
    assert parse({}, "make: Nothing to be done for 'test'.\n") == []
    assert parse({"x.json": b"{]", "y.xml": b"<html>", "z.bin": b"\xff\xfe"}, "") == []


def test_counts_name_every_status():
    assert counts(parse({}, "PASS: a\nFAIL: b\n")) == {"passed": 1, "skipped": 0, "failed": 1,
                                                       "error": 0}


def test_cases_without_a_class_are_by_their_suite_and_a_byte_that_is_no_text_cuts_nothing():
    report = (b'<testsuites><testsuite name="one"><testcase name="a"/>'
              b'<testcase name="b \xf6"><failure/></testcase>'
              b'</testsuite><testsuite name="two"><testcase name="a"/></testsuite></testsuites>')
    assert of_xml(report) == {
        "one::a": "passed",
        "one::b �": "failed",
        "two::a": "passed"}


@pytest.mark.parametrize("data", [
    b'{"testResults": null}', b'{"testResults": [1]}', b'{"Action": []}\n{}',
    b'{"Action": "pass", "Package": 1, "Test": "a"}\n{"Action": "fail", "Package": 1}',
    b'{"a":' * 200_000, b'<?xml version="1.0" encoding="idna"?><testsuite/>', b"\xff\xfe<\x00",
    b'{"testResults": [{"assertionResults": [{"title": 5}]}]}'])
def test_what_is_no_report_raises_nothing(data):
    parse({"r.json": data})


def test_a_title_that_is_no_text_costs_no_report():
    report = {"testResults": [{"name": "a.js", "assertionResults": [
        {"ancestorTitles": ["dates", 5], "title": [2010, 1], "status": "passed"}]}]}
    assert [case.name for case in parse({"j.json": json.dumps(report).encode()})] == [
        "a.js::dates > 5 > [2010, 1]"]


def test_names_can_be_stored_whatever_a_runner_wrote():
    report = (b'{"testResults": [{"name": "a.js", "assertionResults": '
              b'[{"title": "half \\ud800, \\u0000", "status": "passed"}]}]}')
    [case] = parse({"j.json": report})
    assert case.status == "passed" and text_problem(case.name) is None
    utf_16 = '<testsuite><testcase classname="c" name="one"/></testsuite>'.encode("utf-16")
    assert of_xml(utf_16) == {"c::one": "passed"}


def test_long_lines_are_read_in_linear_time():
    # in quadratic time this takes hours
    parse({"a.txt": ("✓ x" + " " * 1_000_000 + "y\n1 passing\n").encode()})
    for path in ("a" * 2000, "/a" * 1000, "a-" * 1000, "-" + "a" * 2000, "-abcdef01" * 250):
        parse({}, f"     Running unittests src/lib.rs ({path}\n" * 10_000)


# reports that would fill the memory --------------------------------------------------------------

DECLARED = "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">'
                   for a, b in zip("abcdefgh", "bcdefghi", strict=True))
ENTITIES = (f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">{DECLARED}]><testsuite>'
            '<testcase name="t"><system-out>&i;</system-out></testcase></testsuite>')
LARGE = {   # what a report holds → the limit that is named
    "entities": ("r.xml", ENTITIES, "too_large"),
    "deep XML": ("r.xml", "<testsuite>" + "<a>" * 300_000, "too_deep"),
    "deep JSON": ("r.json", '{"a":' * 300_000, "too_deep"),
    "large JSON": ("r.json", '{"testResults": [' + "{}," * 8_000_000 + "{}]}", "too_large"),
    "cases": ("r.xml", "<testsuite>" + '<testcase name="t"/>' * 1_000_000 + "</testsuite>",
              "too_many"),
    "names": ("r.xml", f'<testsuite name="{"s" * 20_000}">' + '<testcase name="t"/>' * 50_000
              + "</testsuite>", "too_large"),
    "elements": ("r.xml", '<testsuite><testcase name="t"/>' + "<a/>" * 5_000_000 + "</testsuite>",
                 ""),
    "paths": ("r.json",
              json.dumps({"testResults": [{"name": top + "/x" * 100_000} for top in "ab"]}), "")}


@pytest.mark.parametrize("name", LARGE)
def test_a_report_made_to_fill_the_memory_is_refused_by_name(tmp_path, name):
    path, text, limit = LARGE[name]
    (tmp_path / path).write_text(text)
    code = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from codedata.suites.test_results import parse\ndata = Path(sys.argv[1]).read_bytes()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nprint(*(case.name for "
        "case in parse({sys.argv[1]: data}) if 'results_' in case.name))\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)")
    done = subprocess.run([sys.executable, "-c", code, path], cwd=tmp_path,
                          env={"PYTHONPATH": str(REPO)}, capture_output=True, text=True, timeout=60)
    named, grown_mb = done.stdout.split("\n")[:2]
    assert f"results_{limit}:" in named if limit else not named, done.stdout
    assert int(grown_mb) < 300, done.stdout
