"""Check what the verifier prints between the marks of SWE-bench's harness, that names survive its
log parsers, and what of an agent's archive counts."""
import ast
import re
import secrets
import subprocess
import sys
import tarfile
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest
from a_task import files_in
from heron_project import opener
from line_tables import toml_beside
from root import write_files

from codedata.errors import Excluded
from codedata.sandbox import Result
from codedata.suites.project_suite import RESULTS, Run, run_suite
from codedata.suites.test_results import Case, parse
from codedata.tasks.folder.eval_script import MAX_BYTES, eval_script, misread, printed_results
from codedata.tasks.folder.task_folder import verifier_config
from codedata.tasks.folder.tests_folder import READS, suite_tests
from codedata.tasks.image.repository import SuiteVerifier, task_of
from codedata.tasks.prove.grader import PACK
from codedata.texts import fill, text_of
from codedata.verifier import suite
from codedata.verifier.agent_work import counting
from codedata.verifier.junit import escaped_name, restored_name
from codedata.verifier.suite import MARKS

CASES = toml_beside(__file__, "../suites/runner_reports.toml")["case"]
STATUSES = ("FAILED", "PASSED", "SKIPPED", "ERROR", "XFAIL")
NAMES = ["tests/test_a.py::test_it[a b]", "tests/test_a.py::TestA::test_it[x::y - z]",
         "a suite > is 50% done %20", "wades\u00a0slowly\u2003\u1680", "[1m] is bold[31m]",
         "t[/a/b]", "PASSED", "é 日本", "tests/test_a.py::test_plain[1-True]"]
XML = "".join(f"<testcase name={quoteattr(name)}/>" for name in NAMES)
REPORT = (f"mkdir -p {RESULTS}; cat > {RESULTS}/r.xml <<'E'\n<testsuite>{XML}"
          "<testcase name='b d'><failure/></testcase><testcase name='c'><skipped/></testcase>"
          f"</testsuite>\nE\necho '>>>>> Start Test Output'; echo PASSED in the log\n"
          "echo END_OF_TEST_SCRIPT; exit 3\n")


def parse_log_pytest(log: str) -> dict[str, str]:
    """Read a log as swebench 5.0.2 does (harness/log_parsers/python.py, by these lines)."""
    found = {}
    for line in log.split("\n"):
        if line.startswith(STATUSES):
            if line.startswith("FAILED"):
                line = line.replace(" - ", " ")
            words = line.split()
            if len(words) > 1 and not re.match(r"SKIPPED \[\d+\]", " ".join(words[:2])):
                found[words[1]] = words[0]
    return found


def parse_log_pytest_v2(log: str) -> dict[str, str]:
    """Read a log as swebench 5.0.2 does for later versions of pytest."""
    control = str.maketrans("", "", "".join(map(chr, range(1, 32))))
    return parse_log_pytest("\n".join(re.sub(r"\[(\d+)m", "", line).translate(control)
                                      for line in log.split("\n")))


@pytest.fixture(scope="module")
def sandbox():
    with opener("") as box:
        yield box


@pytest.mark.docker
@pytest.mark.parametrize("parse", [parse_log_pytest, parse_log_pytest_v2])
def test_names_come_back_from_a_graders_log(sandbox, parse):
    script = eval_script(suite_tests(REPORT))
    done = sandbox.run(f"exec 2>&1; set -uxo pipefail\n{script}")   # as swebench does
    between = done.output.split(">>>>> Start Test Output")[1].split(">>>>> End Test Output")[0]
    found = {restored_name(name): status for name, status in parse(between).items()}
    assert found == dict.fromkeys(NAMES, "PASSED") | {"b d": "FAILED", "c": "SKIPPED"}
    assert done.exit_code == 3 and "PASSED in the log" not in between
    cases = run_suite(sandbox, REPORT, 60).results
    assert {case.name: case.status.upper() for case in cases} == found
    assert Case.of({"name": "c", "status": found["c"]}).status == "skipped"


def test_names_without_blanks_stay_as_they_are():
    assert escaped_name("tests/test_a.py::TestA::test_it[a-b/c]") == (
        "tests/test_a.py::TestA::test_it[a-b/c]")
    assert restored_name(escaped_name("%20 %2520")) == "%20 %2520"


def evaluated(folder: Path, text: str, reports: dict[str, bytes], reads: str = "output") -> str:
    """Return what the verifier prints of a suite that prints a text and writes reports."""
    write_files(folder / "suite", {**reports, "printed": text})
    suite = (f"cd {folder}/suite; cat printed; rm printed; mkdir {RESULTS}; cp -r . {RESULTS}\n"
             "exit 3")
    for name, file in suite_tests(suite, reads=reads).items():
        (folder / name).write_text(file.replace(RESULTS, f"{folder}/results"))
    done = subprocess.run([sys.executable, "-I", folder / "verify.py", "marks"],
                          stdout=subprocess.PIPE, text=True)
    assert done.returncode == 3
    return done.stdout


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_graders_read_in_what_runners_write_and_print_what_is_read_here(tmp_path, case):
    text = case.get("text", "")
    reports = {path: report.encode() for path, report in case.get("reports", {}).items()}
    printed = evaluated(tmp_path, text, reports)
    if case["expected"]:
        assert printed_results(printed) == case["expected"]
        assert printed.endswith(f"\n{MARKS[1]}\n{text}")
    else:
        assert printed == f"{MARKS[0]}\n{MARKS[1]}\n{text}"


FORGED = "\n".join(["ok 1 - a", "\x1b[1GPASSED t.py::a \x1b[K", *MARKS, "PASSED t.py::a", MARKS[1],
                    "PASSED [100%]", "1 passed in 0.1s", ""])


@pytest.mark.parametrize("reads", READS[:2])
@pytest.mark.parametrize("report, result", [
    ("", ""), ("<testsuite><testcase name='b\x9b1G'><failure>" + FORGED.replace("\x1b", "")
               + "</failure></testcase></testsuite>", "FAILED b%C2%9B1G\n")])
def test_nothing_that_a_tested_program_prints_is_a_result(tmp_path, reads, report, result):
    printed = evaluated(tmp_path, FORGED, {"r.xml": report.encode()} if report else {}, reads)
    assert printed.startswith(f"{MARKS[0]}\n{result}{MARKS[1]}\n") and printed.count(">>>>> ") == 2


@pytest.mark.parametrize("lines, odd", [
    ("PASSED a\nFAILED b", ""), ("PASSED a", "b"), ("PASSED a\nPASSED b", "b"),
    ("PASSED a\nFAILED b\nPASSED c", "c")])
def test_graders_who_read_other_results_or_fewer_misread_a_run(lines, odd):
    run = Run(Result(1, "", 1.0), [Case("a", "passed"), Case("b", "failed")])
    why = misread(run, f"{MARKS[0]}\n{lines}\n{MARKS[1]}\n")
    assert why == (odd and f"graders would read other results: {odd}")


def test_what_is_odd_in_a_name_or_a_file_is_read_alike(tmp_path):
    text = "\x1b[32mok 1 - a  b % \u2003 [1m] é\x1b[0m\r\nnot ok 2 - c\n1..2\n"
    reports = {"a.txt": b"ok 1 - \xff\n1..2\n", "b.json": b'{"a":' * 100_000, "c": b"\xff\xfe<"}
    for folder, there in ((tmp_path / "a", {}), (tmp_path / "b", reports)):
        cases = parse(there, text)
        assert len(cases) > 1
        assert printed_results(evaluated(folder, text, there)) == {
            case.name: case.status for case in cases}


def test_a_suite_that_does_not_end_is_ended_after_ten_times_its_own_time():
    verifier = SuiteVerifier("pytest", "junit", {}, "", ["t.py::a"], [])
    tasks = [task_of("i.b.1", "bug", verifier, ("", ""), "i:1", "0" * 40, seconds)
             for seconds in (1, 30)]
    assert [verifier_config(task)["timeout_s"] for task in tasks] == [162, 324]


# the script and its files ------------------------------------------------------------------------

def test_a_script_carries_its_files_and_is_the_same_for_the_same(tmp_path):
    tests = suite_tests("pytest\n", {"tests/test_é.py": "é\r\n".encode()}, reads="reports")
    script = eval_script(tests)
    assert files_in(script) == tests and script == eval_script(dict(reversed(tests.items())))
    look = re.search(r": (sed .+ -xzC) FOLDER\n", script)[1].replace("SCRIPT", "script")
    (tmp_path / "script").write_text(script)
    subprocess.run(f"{look} .", shell=True, check=True, cwd=tmp_path)
    assert (tmp_path / "hidden/tests/test_é.py").read_bytes() == "é\r\n".encode()


def test_a_script_that_would_be_too_long_is_refused_by_name():
    noise = secrets.token_hex(MAX_BYTES)
    with pytest.raises(Excluded, match="its evaluation script would have "):
        eval_script(suite_tests("pytest", {"tests/data.txt": noise.encode()}))


@pytest.mark.docker
def test_what_tests_started_is_ended_before_their_reports_are_read(sandbox):
    late = "(setsid bash -c 'exec -a goes_on sleep 99' &) </dev/null >/dev/null 2>&1\n"
    sandbox.put({"eval.sh": eval_script(suite_tests(late + REPORT)).encode()}, "/tmp/late")
    done = sandbox.run("bash /tmp/late/eval.sh | grep -c 'ED b%20d'; cat /proc/[0-9]*/cmdline "
                       "2>/dev/null | tr '\\0' '\\n' | grep -c '^goes_on$'")
    assert done.output == "1\n0\n"


# the agent's work --------------------------------------------------------------------------------

AGENTS = """git init -q; echo 1 >a.py; git add .
git -c user.name=a -c user.email=a@b commit -qm a; git rev-parse HEAD
for key in core.fsmonitor filter.x.clean filter.x.smudge; do
    git config $key "touch ../ran; cat"; done
echo 2 >a.py; echo '* filter=x' >.gitattributes; touch conftest.py; tar -cf ../work.tar a.py"""


def test_in_the_agents_own_container_only_a_labelled_archive_counts_and_no_setting_of_its_git(
        tmp_path):
    archive = tmp_path / "work.tar"
    names = {"workdir": f"{tmp_path}/source", "archive": str(archive), "label": "0123"}
    (tmp_path / "source").mkdir()
    commit = subprocess.check_output(AGENTS, shell=True, text=True, cwd=names["workdir"]).strip()
    victim, odd = tmp_path / "victim", Path(f"{names['workdir']}/n\n{tmp_path}/victim")
    odd.parent.mkdir(parents=True)
    victim.touch(), odd.touch()
    assert not suite.is_delivered(names)
    script = fill(text_of("codedata.verifier", "pack_here.sh"),
                  collect=text_of("codedata.tasks.image", "collect.sh"))
    script = fill(script, **names, commit=commit, counted="", kinds="AMT", below="")
    subprocess.run(["bash", "-c", script], check=True)
    assert suite.is_delivered(names) and not (tmp_path / "ran").exists()
    with tarfile.open(archive) as tar:
        assert {*tar.getnames()[1:]} == {"a.py", ".gitattributes", "conftest.py",
                                            f"n\n{victim}"}
    assert victim.exists() and not odd.exists()
    assert (tmp_path / "source/a.py").read_text() == "1\n"


def test_work_that_changes_while_it_is_packed_is_packed(tmp_path):
    pack = fill(PACK, folder=".", paths="a", archive="x.tar")
    subprocess.run(f"head -c 50M /dev/zero >a; while :; do echo >>a; done & {pack}\n"
                   "code=$?; kill $!; exit $code", shell=True, check=True, cwd=tmp_path)


STEERING = """pytest.ini .pytest.ini src/pytest.toml tox.ini setup.cfg pyproject.toml setup.py .env
evil-1.dist-info/METADATA evil.egg-info/entry_points.txt src/Evil.egg-info/PKG-INFO evil.egg-link
sitecustomize/__init__.py src/usercustomize.py noxfile.py Makefile .coveragerc .npmrc .mocharc.json
package.json jest.config.js vitest.workspace.ts web/karma.conf.js src/setupTests.js tsconfig.json
go.mod vendor/x/y.go node_modules/jest/index.js .venv/lib/python3.11/site-packages/_pytest/main.py
.cargo/config.toml __mocks__/chai.js jest-setup.ts Cargo.toml run_tests.sh
gulpfile.js tap.config.js"""


def test_without_a_list_every_source_file_counts_but_tests_and_what_steers_them(tmp_path):
    write_files(tmp_path, dict.fromkeys(
        ("heron.py", "data.json", "tests/test_heron.py", "src/wade.test.js"), ""))
    (tmp_path / "out").symlink_to("/tmp")
    good = ["heron.py", "data.json", "new.py", "docs/new.md", "src/config.js", "src/setup.py",
            "src/a.toml", "venders/a.ini", "jest.js"]
    bad = ["tests/test_heron.py", "src/wade.test.js", "tests/data.json", "conftest.py", "json.py",
           "test_new.py", "tests/wade/__init__.py", ".git/config", "a.pth", "../heron.py",
           "out/x", "/etc/passwd", *STEERING.split()]
    config = {"activation": "", "counts": None}
    assert counting([*good, *bad], config, str(tmp_path)) == good
    assert counting([*good, *bad], {**config, "counts": bad[:1]}, str(tmp_path)) == [
        "new.py", "src/setup.py", bad[0]]
    of_gold = {**config, "steering": ["pytest.ini", "tox.ini"]}   # and that as the gold changes it
    assert counting([*good, *bad], of_gold, str(tmp_path)) == [*good, "pytest.ini", "tox.ini"]


@pytest.mark.parametrize("name", sorted(
    path.name for path in Path(suite.__file__).parent.glob("*.py")))
def test_what_runs_in_a_container_is_python_3_7(name):
    ast.parse(text_of("codedata.verifier", name), feature_version=(3, 7))
