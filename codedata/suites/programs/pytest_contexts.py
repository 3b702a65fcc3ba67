"""Record for each test of a pytest run its executed lines, its starts of processes and its seconds.

place_plugin.sh copies this plugin next to pytest as codedata_contexts; install_coverage.sh makes a
folder with a coverage.py for each Python. The plugin runs with any pytest from 3.1 on, so it uses
only old Python. A run of pytest inside a test is not measured.

Each process writes two files. One is a data file of coverage.py: its contexts are the ids of tests,
or "" for lines that run outside of tests. The other has notes, a JSON list in each line. Lines of
other processes are not measured, nor are lines of a test after it sets its own trace function; the
notes name such tests.
"""
import json
import os
import resource
import sys
import sysconfig
import uuid
import warnings
from time import perf_counter

import pytest
from _pytest.junitxml import mangle_test_address

FOLDER = "/tmp/codedata-contexts"
OUTERMOST = "CODEDATA_CONTEXTS_PROCESS"   # id of the process of the outermost run
STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system"}
recorder = None   # set while the outermost run lasts


def is_outermost():
    """Return whether this process is the outermost run of pytest, or an xdist worker of it."""
    first = int(os.environ.setdefault(OUTERMOST, str(os.getpid())))
    is_worker = "PYTEST_XDIST_WORKER" in os.environ and first == os.getppid()
    return is_worker or first == os.getpid()


def import_coverage():
    """Import coverage.py from our folder and return it. The suite may go on using its own copy."""
    tag = sysconfig.get_config_var("SOABI") or sys.implementation.cache_tag
    place = os.path.join(FOLDER, "coverage", tag)
    others = taken_modules()
    sys.path.insert(0, place)
    try:
        import coverage
    finally:
        sys.path.remove(place)
        taken_modules()
        sys.modules.update(others)
    if not (hasattr(coverage, "Coverage") and coverage.__file__.startswith(place)):
        raise ImportError("no coverage.py for " + tag)
    return coverage


def taken_modules():
    """Remove the package `coverage` from sys.modules, so that it can be imported again, and return
    its modules."""
    names = [name for name in sys.modules if name.partition(".")[0] == "coverage"]
    return {name: sys.modules.pop(name) for name in names}


def silently(act):
    """Call a method of coverage.py. Ignore its warning that other code has set a trace function,
    since a suite may turn warnings into exceptions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        act()


class ContextRecorder:
    """Measure a process of a run."""

    def __init__(self, config):
        self.config = config
        self.starts = set()
        self.pid = os.getpid()
        self.place = os.path.join(FOLDER, "data", uuid.uuid4().hex)
        self.notes = open(self.place + ".jsonl", "a")   # tests may temporarily replace open()
        with open(os.path.join(FOLDER, "settings.json")) as file:
            source = json.load(file)["source"]
        try:
            coverage = import_coverage()
        except ImportError as error:
            self.note("fault", str(error))
            raise
        self.coverage = coverage.Coverage(self.place + ".coverage", config_file=False,
                                          source=[source])
        if hasattr(sys, "addaudithook"):   # from Python 3.8 on
            sys.addaudithook(self.look)
        self.start()
        self.note("run", {"coverage": coverage.__version__, "python": sys.version.split()[0],
                          "pytest": pytest.__version__, "core": type(self.trace).__name__})

    def start(self):
        """Start measuring with coverage.py's C tracer, which supports contexts."""
        before = os.environ.get("COVERAGE_CORE")
        os.environ["COVERAGE_CORE"] = "ctrace"
        self.coverage.start()
        del os.environ["COVERAGE_CORE"]
        if before is not None:
            os.environ["COVERAGE_CORE"] = before
        self.trace = sys.gettrace()

    def look(self, event, _):
        """Remember an audit event that starts a process."""
        if event in STARTS:
            self.starts.add(event)

    def note(self, *words):
        """Append a line to the notes."""
        self.notes.write(json.dumps(words) + "\n")
        self.notes.flush()

    def is_of(self, config):
        """Return whether this recorder measures this run in this process. It does not in a process
        that a test has forked."""
        return self.config is config and self.pid == os.getpid()

    def measure(self, item):
        """Measure a test: yield once for its run, from setup to teardown."""
        context = item.nodeid.encode("ascii", "backslashreplace").decode()
        parts = mangle_test_address(item.nodeid)
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
        self.starts = set()
        self.coverage.switch_context(context)
        started = perf_counter()
        yield
        if not self.is_of(item.config):
            return
        seconds = perf_counter() - started
        if resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt > children:
            self.starts.add("os.wait")   # a child process ended that no event has announced
        if sys.gettrace() is not self.trace:
            self.starts.add("sys.settrace")
            silently(self.coverage.stop)
            self.start()
        self.coverage.switch_context("")
        names = [item.nodeid, ".".join(parts[:-1]) + "::" + parts[-1]]
        self.note("test", context, names, round(seconds, 4), sorted(self.starts))

    def close(self):
        """Stop measuring, and write the data and the notes."""
        silently(self.coverage.stop)
        silently(self.coverage.save)
        self.notes.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_load_initial_conftests(early_config):
    """Start recording in the outermost run, before anything of the project is imported."""
    global recorder
    if recorder is None and is_outermost():
        recorder = ContextRecorder(early_config)
        early_config.known_args_namespace.cov_source = None   # pytest-cov would take over
    yield


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    """Measure a test of the outermost run."""
    if recorder is not None and recorder.is_of(item.config):
        yield from recorder.measure(item)
    else:
        yield


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """Stop recording when the outermost run ends."""
    global recorder
    if recorder is not None and recorder.is_of(config):
        recorder.close()
        recorder = None
