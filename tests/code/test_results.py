"""Check that reports of each runner, recorded or as documented, come out as the same list."""
from __future__ import annotations

import json
import subprocess
import sys

import pytest
from conftest import REPO

from codedata.code.test_results import BROKEN_OFF, counts, not_collected, parse
from codedata.records import text_problem


def statuses(reports: dict[str, bytes], text: str = "") -> dict[str, str]:
    """Return {name: status} as read in reports and in a text."""
    return {case["name"]: case["status"] for case in parse(reports, text)}


def of_text(text: str) -> dict[str, str]:
    return statuses({}, text)


def of_xml(report: bytes) -> dict[str, str]:
    return statuses({"r.xml": report})


def cases(lines: str) -> dict[str, str]:
    """Return the {name: status} that is written as lines of `status name`."""
    return {name: status
            for status, name in (line.split(" ", 1) for line in lines.strip().split("\n"))}


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
'''
OUTCOMES = cases("""
passed tests/test_a.py::TestX::test_n[1]
failed tests/test_a.py::TestX::test_n[2]
skipped tests/test_a.py::test_skipped
skipped tests/test_a.py::test_expected
error tests/test_a.py::test_error
error tests/test_a.py::test_torn_down
""")


@pytest.fixture
def suite(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text(SUITE)
    (tmp_path / "tests" / "test_broken.py").write_text("import a_module_that_is_not_there\n")
    return tmp_path


def run_pytest(folder, *flags) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider",
               "--continue-on-collection-errors", *flags]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout


def test_names_from_pytests_report_are_its_node_ids(suite):
    run_pytest(suite, "--junitxml=out.xml", "-o", "junit_family=xunit1")
    found = {"out.xml": (suite / "out.xml").read_bytes()}
    assert statuses(found) == OUTCOMES | {"tests.test_broken": "error"}
    assert not_collected(parse(found)) == ["tests.test_broken"]


def test_the_same_names_stand_in_what_pytest_prints(suite):
    printed = run_pytest(suite, "-v")
    assert of_text(printed) == OUTCOMES | {"tests/test_broken.py": "error"}
    assert not_collected(parse({}, printed)) == ["tests/test_broken.py"]


def test_a_report_wins_over_the_text_and_an_empty_one_does_not():
    text = "tests/test_a.py::test_x PASSED [100%]\n=== 1 passed in 0.01s ===\n"
    report = b'<testsuite><testcase classname="a" name="b"/></testsuite>'
    assert statuses({"r.xml": report}, text) == {"a::b": "passed"}
    assert statuses({"r.xml": b"<testsuite/>"}, text) == {"tests/test_a.py::test_x": "passed"}


def test_of_a_report_that_was_cut_short_the_complete_cases_count():
    report = (b'<testsuites><testsuite><testcase classname="c" name="one"/>'
              b'<testcase classname="c" name="two"><fail')
    assert of_xml(report) == {"c::one": "passed", f"r.xml {BROKEN_OFF}": "error"}
    torn = b'<testsuite><testcase classname="c" name="one"/><<</testsuite>'
    assert of_xml(torn) == {"c::one": "passed", f"r.xml {BROKEN_OFF}": "error"}
    assert of_xml(b"") == {f"r.xml {BROKEN_OFF}": "error"}


def test_characters_that_xml_forbids_are_no_end_of_the_report():
    report = (b'<testsuite><testcase name="bell \x07">'
              b'<failure>\x1b[31mred</failure></testcase></testsuite>')
    assert of_xml(report) == {"bell ?": "failed"}


def test_cases_of_one_name_are_one_with_the_worst_outcome():
    report = (b'<testsuite><testcase classname="c" name="x"><failure/></testcase>'
              b'<testcase classname="c" name="x"/></testsuite>')
    assert of_xml(report) == {"c::x": "failed"}


def test_the_suites_of_node_are_in_its_names():
    report = b"""<?xml version="1.0" encoding="utf-8"?>
<testsuites>
	<testsuite name="parse" time="0.005" tests="2" failures="0" skipped="1">
		<testcase name="reads lists" time="0.0005" classname="test"/>
		<testcase name="later" time="0.004" classname="test">\
<skipped type="skipped" message="true"/></testcase>
	</testsuite>
	<testcase name="top" time="0.0003" classname="test" failure="1">\
<failure message="1"/></testcase>
</testsuites>"""
    assert statuses({"n.xml": report}) == cases("""
passed parse > reads lists
skipped parse > later
failed top
""")


def test_reports_of_mocha_vitest_and_surefire():
    mocha = (b'<testsuite name="Mocha Tests">'
             b'<testcase classname="sum adds" name="two" time="0"/></testsuite>')
    vitest = (
        b'<testsuites><testsuite name="a.test.ts"><testcase classname="a.test.ts" name="sum &gt; '
        b'adds"/>'
        b'</testsuite><testsuite name="b.test.ts"><testcase classname="b.test.ts" '
        b'name="b.test.ts"><error/>'
        b'</testcase></testsuite></testsuites>')
    surefire = (b'<testsuite><testcase name="adds" classname="org.x.SumTest">'
                b'<error>at</error></testcase></testsuite>')
    found = {"m.xml": mocha, "v.xml": vitest, "s.xml": surefire}
    assert statuses(found) == cases("""
passed sum adds::two
passed a.test.ts::sum > adds
error b.test.ts
error org.x.SumTest::adds
""")
    assert not_collected(parse(found)) == ["b.test.ts"]


def test_jests_own_json():
    report = {"testResults": [
        {"name": "/testbed/src/a.test.js", "status": "failed",
         "assertionResults": [{"ancestorTitles": ["sum"], "title": "adds", "status": "passed"},
                              {"ancestorTitles": ["sum"], "title": "later", "status": "pending"},
                              {"ancestorTitles": [], "title": "fails", "status": "failed"}]},
        {"name": "/testbed/src/b.test.js", "status": "failed", "assertionResults": []}]}
    assert statuses({"jest.json": json.dumps(report).encode()}) == cases("""
passed testbed/src/a.test.js::sum > adds
skipped testbed/src/a.test.js::sum > later
failed testbed/src/a.test.js::fails
error testbed/src/b.test.js
""")


def test_go_as_json_and_as_text_give_the_same_names():
    events = [{"Action": action, "Package": "x.org/a", "Test": test} for action, test in (
        ("run", "TestA"), ("pass", "TestA/two_words"), ("pass", "TestA"), ("skip", "TestB"))]
    events += [{"Action": "pass", "Package": "x.org/a"}, {"Action": "fail", "Package": "x.org/b"}]
    text = """=== RUN   TestA
--- PASS: TestA (0.00s)
    --- PASS: TestA/two_words (0.00s)
--- SKIP: TestB (0.00s)
PASS
ok  \tx.org/a\t0.010s
FAIL\tx.org/b [build failed]
FAIL
"""
    expected = cases("""
passed x.org/a::TestA
passed x.org/a::TestA/two_words
skipped x.org/a::TestB
error x.org/b
""")
    assert statuses({"go.json": "\n".join(map(json.dumps, events)).encode()}) == expected
    assert of_text(text) == expected
    assert not_collected(parse({}, text)) == ["x.org/b"]


def test_unittests_lines_old_and_new_with_a_docstring_and_with_output_between():
    assert of_text("""test_a (tests.test_x.TestA.test_a) ... ok
test_b (tests.test_x.TestA) ... FAIL
test_c (tests.test_x.TestA.test_c)
What it promises. ... skipped 'no fractions'
test_d (tests.test_x.TestA.test_d) ... printed by the test
ok
test_e (tests.test_x.TestA.test_e) ... expected failure
tests.test_y (unittest.loader._FailedTest.tests.test_y) ... ERROR

======================================================================
FAIL: test_b (tests.test_x.TestA)

Ran 6 tests in 0.001s
""") == cases("""
passed tests.test_x.TestA::test_a
failed tests.test_x.TestA::test_b
skipped tests.test_x.TestA::test_c
passed tests.test_x.TestA::test_d
skipped tests.test_x.TestA::test_e
error unittest.loader._FailedTest::tests.test_y
""")


def test_unittest_itself(tmp_path):
    (tmp_path / "test_u.py").write_text("""import unittest
class T(unittest.TestCase):
    def test_one(self):
        "Said in a line."
        print("noise")
    def test_two(self): self.fail()
    @unittest.skip("so")
    def test_three(self): pass
""")
    done = subprocess.run([sys.executable, "-m", "unittest", "-v"], cwd=tmp_path, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert of_text(done.stdout) == cases("""
passed test_u.T::test_one
failed test_u.T::test_two
skipped test_u.T::test_three
""")


def test_cargo_with_its_targets():
    assert of_text("""\
     Running unittests src/lib.rs (target/debug/deps/hexwarden-0d4e9c1b22aa7f10)

running 2 tests
test tests::large_input ... ignored
test tests::upper_case_is_read ... ok

test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

     Running tests/round_trip.rs (target/debug/deps/round_trip-7715e14a01f1b6c9)

running 1 test
test there_and_back - should panic ... FAILED

test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests hexwarden

running 1 test
test src/lib.rs - encode (line 22) ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.30s
""") == cases("""
skipped hexwarden/src/lib.rs::tests::large_input
passed hexwarden/src/lib.rs::tests::upper_case_is_read
failed tests/round_trip.rs::there_and_back
passed doc hexwarden::src/lib.rs - encode (line 22)
""")


def test_tap_of_tape_is_told_apart_by_its_comments():
    assert of_text("""TAP version 13
# parse()
ok 1 should be equal
not ok 2 should be equal
# stringify()
ok 3 should be equal
ok 4 later # SKIP

1..4
# tests 4
# pass  3
# fail  1
""") == cases("""
passed parse() > should be equal
failed parse() > should be equal (2)
passed stringify() > should be equal
skipped stringify() > later
""")


def test_tap_of_node_with_subtests():
    assert of_text("""TAP version 13
# Subtest: parse
    # Subtest: reads lists
    ok 1 - reads lists
      ---
      duration_ms: 0.2
      ...
    # Subtest: fails
    not ok 2 - fails
    1..2
not ok 1 - parse
# Subtest: top
ok 2 - top # time=3ms
1..2
# tests 3
""") == cases("""
passed parse > reads lists
failed parse > fails
failed parse
passed top
""")


def test_marks_of_mocha_and_of_jest():
    assert of_text("""
  sum
    ✔ adds two (12ms)
    - adds three
    when empty
      1) is zero

  1 passing (20ms)
  1 failing

  1) sum
       when empty
         is zero:
     Error
""") == cases("""
passed sum > adds two
skipped sum > adds three
failed sum > when empty > is zero
""")
    assert of_text("""PASS src/a.test.js
  sum
    ✓ adds (5 ms)
    ✕ fails
    ○ skipped later

Test Suites: 1 failed, 1 total
""") == cases("""
passed sum > adds
failed sum > fails
skipped sum > skipped later
""")


def test_ctest_and_automake():
    assert of_text("""      Start 1: add
1/3 Test #1: add ..............................   Passed    0.00 sec
2/3 Test #2: grow .............................***Failed    0.01 sec
3/3 Test #3: remove ...........................***Not Run   0.00 sec

33% tests passed, 2 tests failed out of 3
""") == cases("""
passed add
failed grow
error remove
""")
    assert of_text("PASS: t/one.sh\nFAIL: t/two.sh\nSKIP: t/three.sh\n") == cases("""
passed t/one.sh
failed t/two.sh
skipped t/three.sh
""")


def test_colours_do_not_hide_outcomes():
    text = ("tests/test_a.py::test_x \x1b[32mPASSED\x1b[0m\x1b[32m [100%]\x1b[0m\n"
            "1 passed in 0.01s\n")
    assert of_text(text) == {"tests/test_a.py::test_x": "passed"}


def test_where_nothing_says_how_tests_ended_there_are_none():
    assert parse({}, "make: Nothing to be done for 'test'.\n") == []
    assert parse({"x.json": b"{]", "y.xml": b"<html>", "z.bin": b"\xff\xfe"}, "") == []


def test_counts_name_every_status():
    assert counts(parse({}, "PASS: a\nFAIL: b\n")) == {"passed": 1, "skipped": 0, "failed": 1,
                                                       "error": 0}


def test_tap_of_prove_is_by_file_and_unnamed_or_repeated_tests_keep_their_number():
    assert of_text("""t/10_base.t ..
ok 1 - new
ok 2
ok 3 - new
1..3
ok
t/20_more.t ..
1..10
ok 1 - new
not ok 2 - parse
Dubious, test returned 1 (wstat 256, 0x100)
Failed 9/10 subtests

Result: FAIL
""") == cases("""
passed t/10_base.t > new
passed t/10_base.t > test 2
passed t/10_base.t > new (3)
passed t/20_more.t > new
failed t/20_more.t > parse
error t/20_more.t
""")


def test_unnamed_tests_that_prove_shows_as_skipped_are_skipped():
    assert of_text("""t/30_skip.t ..
1..6
ok 1 - new
ok 2 # skip why not
ok 3 # SKIP
ok 4 - # TODO later
ok 5 #sharp
ok 6 - # of lines
ok
""") == cases("""
passed t/30_skip.t > new
skipped t/30_skip.t > test 2
skipped t/30_skip.t > test 3
skipped t/30_skip.t > test 4
passed t/30_skip.t > #sharp
passed t/30_skip.t > # of lines
""")


def test_cases_without_a_class_are_by_their_suite_and_a_byte_that_is_no_text_cuts_nothing():
    report = (b'<testsuites><testsuite name="one"><testcase name="a"/>'
              b'<testcase name="b \xf6"><failure/></testcase>'
              b'</testsuite><testsuite name="two"><testcase name="a"/></testsuite></testsuites>')
    assert of_xml(report) == cases("""
passed one::a
failed one::b �
passed two::a
""")


@pytest.mark.parametrize("text", [
    "tests/test_a.py::test_x PASSED [ 50%]\nAborted\n",
    "test_a (test_x.A.test_a) ... ok\ntest_b (test_x.A.test_b) ... ok\nAborted (core dumped)\n",
    "=== RUN   TestA\n--- PASS: TestA (0.00s)\nexit status 2\n",
    "running 2 tests\ntest a ... ok\nerror: test failed\n",
    "TAP version 13\nok 1 - a\nok 2 - b\n",
    "      Start 1: add\n1/3 Test #1: add ....   Passed    0.00 sec\n",
], ids=["pytest", "unittest", "go", "cargo", "TAP", "ctest"])
def test_output_that_ends_before_its_end_is_no_whole_run(text):
    found = of_text(text)
    assert "passed" in found.values() and found[BROKEN_OFF] == "error"
    assert not_collected(parse({}, text)) == [BROKEN_OFF]


def test_marks_of_programs_that_test_nothing_are_no_cases():
    built = "vite v5.4.0 building for production...\n✓ 34 modules transformed.\n✓ built in 1.23s\n"
    assert of_text(built) == {}
    assert of_text("  ✔ one\n  ✔ two\n  ─\n\n  2 tests passed\n") == {"one": "passed",
                                                                      "two": "passed"}


def test_cases_that_a_report_says_did_not_run_are_skipped():
    report = (b'<testsuite><testcase classname="A" name="a" status="notrun" result="suppressed"/>'
              b'<testcase classname="A" name="b" status="run" result="completed"/></testsuite>')
    assert of_xml(report) == {"A::a": "skipped", "A::b": "passed"}


def test_packages_and_crates_with_files_of_one_name_are_told_apart():
    def file(path):
        return {"name": path, "assertionResults": [{"title": "works", "status": "passed"}]}
    report = {"testResults": [file(f"/x/packages/{name}/src/__tests__/index.js") for name in "ab"]}
    assert list(statuses({"j.json": json.dumps(report).encode()})) == [
        "a/src/__tests__/index.js::works", "b/src/__tests__/index.js::works"]
    crates = "".join(
        f"     Running unittests src/lib.rs (target/debug/deps/{name}-0d4e9c1b22aa7f10)\n\n"
        f"running 1 test\ntest tests::it_works ... {how}\n\ntest result: {how}\n"
        for name, how in (("a", "ok"), ("b", "FAILED")))
    assert of_text(crates) == {"a/src/lib.rs::tests::it_works": "passed",
                               "b/src/lib.rs::tests::it_works": "failed"}


@pytest.mark.parametrize("data", [
    b'{"testResults": null}', b'{"testResults": 5}', b'{"testResults": [1]}', b'{"Action": []}\n{}',
    b'{"Action": "pass", "Package": 1, "Test": "a"}\n{"Action": "fail", "Package": 1}',
    b'{"a":' * 200_000, b'<?xml version="1.0" encoding="idna"?><testsuite/>',
    b'<?xml version="1.0" encoding="undefined"?><testsuite/>', b"\xff\xfe<\x00",
    b'{"testResults": [{"assertionResults": [{"title": 5}]}]}'])
def test_what_is_no_report_raises_nothing(data):
    parse({"r.json": data})


def test_names_can_be_stored_whatever_a_runner_wrote():
    report = (b'{"testResults": [{"name": "a.js", "assertionResults": '
              b'[{"title": "half \\ud800, \\u0000", "status": "passed"}]}]}')
    [case] = parse({"j.json": report})
    assert case["status"] == "passed" and text_problem(case["name"]) is None
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
        "from codedata.code.test_results import parse\ndata = Path(sys.argv[1]).read_bytes()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nprint(*(case['name'] for "
        "case in parse({sys.argv[1]: data}) if 'results_' in case['name']))\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)")
    done = subprocess.run([sys.executable, "-c", code, path], cwd=tmp_path,
                          env={"PYTHONPATH": str(REPO)}, capture_output=True, text=True, timeout=60)
    named, grown_mb = done.stdout.split("\n")[:2]
    assert f"results_{limit}:" in named if limit else not named, done.stdout
    assert int(grown_mb) < 300, done.stdout
