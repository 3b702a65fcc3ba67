"""Check what each test of a run is said to execute, and what data files may hold."""
import json
import sqlite3
from pathlib import Path

import pytest
from setups import CA_BUNDLE

from codedata.code.entities import SourceFile, Sources, all_entities
from codedata.errors import ItemFailed
from codedata.sandbox import open_sandbox
from codedata.suites.contexts import (
    FOLDER,
    functions_by_lines,
    install_coverage,
    mask_of,
    observe,
    ranges_of,
    read_lines,
    sources_in,
)
from codedata.suites.contexts import _read_notes as read_notes

HERON = """import threading, subprocess, sys

def wade(depth):
    def steps():
        return depth * 2
    if depth > 40:
        raise ValueError(steps())
    return "slowly"

def fly(): return wade(1)

class Nest:
    size = len("eggs")
    def guard(self):
        '''Watch it.'''
        thread = threading.Thread(target=fly)
        thread.start()
        thread.join()
    def flee(self):
        return subprocess.run([sys.executable, "-c", "import heron; heron.fly()"]).returncode
    def trace(self):
        sys.settrace(None)
"""
TESTS = """import unittest
import pytest
import heron

@pytest.fixture
def nest():
    yield heron.Nest()
    heron.fly()

def test_name():
    assert heron.__name__ == "heron"

@pytest.mark.parametrize("depth", [1, 50])
def test_wade(depth):
    assert heron.wade(depth)

def test_guard():
    heron.Nest().guard()

def test_flee():
    assert heron.Nest().flee() == 0

def test_trace():
    heron.Nest().trace()
    heron.fly()

def test_nest(nest):
    pass

class TestNest(unittest.TestCase):
    def test_inner(self):
        heron.fly()

def test_a_run_of_its_own(pytester):
    pytester.makepyfile("import heron\\ndef test_deep(): heron.wade(50)")
    pytester.inline_run()
"""
FLY = {"fly", "wade"}
RUN_BY = {"test_name": set(), "test_wade[1]": {"wade"}, "test_wade[50]": {"wade", "wade.steps"},
          "test_guard": {"Nest.guard", *FLY}, "test_flee": {"Nest.flee"},
          "test_trace": {"Nest.trace"}, "test_nest": FLY, "TestNest::test_inner": FLY,
          "test_a_run_of_its_own": {"wade", "wade.steps"}}
SCRIPT = "mkdir -p /tmp/results; {} --junitxml=/tmp/results/r.xml -o junit_family=xunit1"
PIP = "pip install -q --disable-pip-version-check"


@pytest.fixture(scope="module")
def box():
    with open_sandbox("docker", scripts=[], run_label="tests-contexts",
                      ca_bundle=CA_BUNDLE) as sandbox:
        sandbox.put({"heron.py": HERON.encode(), "tests/test_heron.py": TESTS.encode(),
                     "conftest.py": b"pytest_plugins = 'pytester'", "coverage/a.txt": b"",
                     "bad.py": b"def (:\n", "pip.py": b"raise SystemExit(3)"}, "/testbed")
        sandbox.run("mkdir in; ln -s in/x in/y; ln -s y in/x; ln -s /etc/passwd out.py; "
                    "ln -s ../../nowhere in/away; ln -s ../heron.py in/heron.py; "
                    "ln -s /testbed/heron.py ./-l.py; ln -s ../testbed/heron.py up.py")
        sandbox.network(True)
        assert sandbox.run(f"{PIP} pytest-xdist pytest-cov", timeout_s=300).ok
        install_coverage(sandbox)
        sandbox.run(f"cp -a {FOLDER} /opt/kept; useradd -m tester; chown -R tester .")
        yield sandbox


def observed(box, script: str, to: Path, timeout_s: float = 100):
    box.run(f"rm -rf {FOLDER} /tmp/results; cp -a /opt/kept {FOLDER}; chmod 777 /tmp")
    sources = sources_in(box)
    return observe(box, script, timeout_s, sources.files, to), sources


@pytest.mark.docker
@pytest.mark.parametrize("script", [
    SCRIPT.format("python3 -m pytest"), "pytest -v -n 2 --cov --cov-fail-under=99",
    SCRIPT.format("python3 -m coverage run -m pytest -W error"),
    "runuser -u tester -- pytest -v -p no:cacheprovider",
    "export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 PYTHONPATH=.\npytest -v tests",
    "python3 -m venv --without-pip --system-site-packages /opt/venv; . /opt/venv/bin/activate\n"
    "python -m pytest -v; chmod -R a-w /testbed; echo written >/testbed/heron.pyc"])
def test_each_test_has_what_it_ran_whatever_the_script_does(box, tmp_path, script):
    found, sources = observed(box, script, tmp_path)
    traces = {name.partition("::")[2]: trace for name, trace in found.traces.items()}
    reached = functions_by_lines(all_entities(sources)[0])
    assert traces, found.run.text
    assert {name: {id.partition("::")[2] for id in reached(trace.lines)
                                      if id.startswith("heron.py")}
                               for name, trace in traces.items()} == RUN_BY
    assert "subprocess.Popen" in traces["test_flee"].starts
    assert traces["test_trace"].starts == {"sys.settrace"} and not traces["test_guard"].starts
    assert found.import_lines["heron.py"] == mask_of(
        [1, 1, 3, 3, 10, 10, 12, 14, 19, 19, 21, 21])
    assert found.about[0]["core"] == "CTracer"
    assert {path.suffix for path in (tmp_path / "data").iterdir()} == {".coverage", ".jsonl"}


LASTING = """import builtins, os
import heron
real_open = open

def setup_module():
    builtins.open = None

def teardown_module():
    builtins.open = real_open

def test_before():
    heron.wade(1)

def test_a_fork_that_goes_on():
    if os.fork() == 0:
        heron.fly()
        raise SystemExit
    os.wait()
"""


@pytest.mark.docker
def test_a_fork_that_goes_on_and_files_that_cannot_be_opened_cost_nothing(box, tmp_path):
    box.put({"lasting.py": LASTING.encode()}, "/testbed")
    found, _ = observed(box, "python3 -m pytest -v lasting.py", tmp_path)
    assert {name: {path: ranges_of(mask) for path, mask in trace.lines.items()}
            for name, trace in found.traces.items()} == {
        "lasting.py::test_before": {"lasting.py": [6, 6, 12, 12], "heron.py": [4, 4, 6, 6, 8, 8]},
        "lasting.py::test_a_fork_that_goes_on": {"lasting.py": [9, 9, 15, 15, 18, 18]}}
    assert ranges_of(found.import_lines["lasting.py"])[:2] == [1, 3]


@pytest.mark.docker
def test_runs_that_hang_or_cannot_be_measured_fail(box, tmp_path):
    with pytest.raises(ItemFailed, match="ran longer than 1 s"):
        observed(box, "pytest -q; sleep 30", tmp_path / "1", timeout_s=1)
    found, _ = observed(box, "python3 -m unittest -v tests/test_heron.py 2>&1", tmp_path / "2")
    assert not found.traces and not found.about
    with pytest.raises(ItemFailed, match=r"no coverage.py for cpython"):
        box.run("rm -r /opt/kept/coverage/*; mkdir -p coverage; touch coverage/__init__.py")
        observed(box, "pytest -q", tmp_path / "3")
    box.run("cd /; echo exit 3 >/usr/bin/pip; "
            "python3 -m pip config set global.index-url file:///nowhere")
    with pytest.raises(ItemFailed, match=r"coverage\.py cannot be installed"):
        install_coverage(box)


# what comes out ----------------------------------------------------------------------------------

def test_lines_are_ranges_and_a_function_is_reached_by_its_own_body():
    assert ranges_of(mask_of([1, 3, 7, 7])) == [1, 3, 7, 7] and ranges_of(0) == []
    files = [SourceFile("heron.py", "python", HERON.encode(), False)]
    functions = functions_by_lines(all_entities(Sources(files))[0])
    assert functions({"heron.py": mask_of([3, 4, 6, 6, 15, 15]), "x.py": 2}) == [
        "heron.py::wade"]
    assert functions({"heron.py": mask_of([5, 5, 10, 10, 12, 14])}) == [
        "heron.py::fly", "heron.py::wade.steps"]


GOOD = """CREATE TABLE file (id INTEGER, path TEXT);
    CREATE TABLE context (id INTEGER, context TEXT);
    INSERT INTO file VALUES (1, '/testbed/a.py'); INSERT INTO context VALUES (1, 't');"""
FOREVER = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n FROM r) SELECT n FROM r"
BITS = "CREATE TABLE line_bits (file_id INTEGER, context_id INTEGER, numbits BLOB{});"
ROW = "INSERT INTO line_bits VALUES (1, 1, {});"


def data_file(folder: Path, sql: str) -> Path:
    file = folder / "x.coverage"
    with sqlite3.connect(file) as db:
        db.executescript(sql)
    db.close()
    return file


def test_a_data_file_is_read_and_a_hostile_one_is_refused(tmp_path):
    good = data_file(tmp_path, GOOD + BITS.format("") + ROW.format("x'0601'"))
    assert [*read_lines(good, iter([1]))] == [("t", "/testbed/a.py", mask_of([1, 2, 8, 8]))]
    for i, sql in enumerate((
            GOOD, GOOD + BITS.format("") + ROW.format("'text'"),
            GOOD + BITS.format("") + ROW.format("zeroblob(1000001)"),
            GOOD + f"CREATE VIEW line_bits AS {FOREVER};",
            GOOD + BITS.format(", more AS (zeroblob(900000000))"),
            GOOD + BITS.format("") + ROW.format("zeroblob(9999)")
            + "INSERT INTO context VALUES (1, 'u'), (1, 'v'), (1, 'w');")):
        folder = tmp_path / str(i)
        folder.mkdir()
        with pytest.raises(ItemFailed, match=r"x\.coverage"):
            [*read_lines(data_file(folder, sql), iter([1]))]
    good.write_bytes(b"no database" * 1000)
    with pytest.raises(ItemFailed, match="file is not a database"):
        [*read_lines(good, iter([1]))]


def test_notes_that_are_no_notes_are_refused(tmp_path):
    for text in ("[" * 100_000, '["test", 1]', '{"a": 1}', '["test", [], [], 0, []]', "[]", "1",
                 '["run"]', '["run", 3]', '["test", "t", ["t"], "x", []]'):
        (tmp_path / "x.jsonl").write_text(text)
        with pytest.raises(ItemFailed, match="notes cannot be read"):
            read_notes(tmp_path)
    for kinds in (lambda i: ["run", {"python": i}], lambda i: ["test", str(i), [], 0, []]):
        notes = "\n".join(json.dumps(kinds(i)) for i in range(200_001))
        (tmp_path / "x.jsonl").write_text(notes)
        with pytest.raises(ItemFailed, match="there are too many"):
            read_notes(tmp_path)
    line = json.dumps(["test", "t", ["t\0\ud800"], float("nan"), [1]])
    (tmp_path / "x.jsonl").write_text(line)
    trace = read_notes(tmp_path)[0]["t"]
    assert (trace.names, trace.seconds, trace.starts) == (("t\ufffd?",), 0.0, {"1"})
