"""Run test_outputs.py and add up the weights of the tests that passed.

The tests run as the user of config.json, if it names one. pytest's outcomes come back in a file
that programs started by a test cannot open. results.json lists each phase of each test, tests.log
has their output. Programs started by a test cannot read the tests. Not promised: code that a test
imports runs in pytest's process, so it can read the tests and forge outcomes. Needs pytest and
Python 3.8 (memfd_create).
"""
from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import tempfile

from codedata.verifier.processes import end_of, other_user, run_as

TEST_FILE = "test_outputs.py"
OURS = ("test.sh", "run-tests.sh", "verify.py", "weighted_tests.py", "processes.py",
        "config.json")   # files in its folder
HELD = 777   # descriptor of the tests in memory; larger than any that pytest opens
RESULTS = "results.json"   # [[test, phase, outcome, name of the exception], …]
LOG = "tests.log"
MAX_BYTES = 10_000_000   # limit for pytest's outcomes
BROKEN = 0.0   # the reward if grading itself fails


class Recorder:
    """Record the outcome of each phase of each test, as a plugin of pytest."""

    def __init__(self):
        self.phases: list[list[str]] = []
        self._raised: dict[tuple[str, str], str] = {}

    def pytest_runtest_makereport(self, item, call):
        """Record the type of a test's exception. pytest itself makes the report."""
        if call.excinfo:
            self._raised[item.nodeid, call.when] = call.excinfo.typename

    def pytest_collectreport(self, report):
        """Record an error of collection."""
        if report.failed:
            self.phases.append(["", "collect", "failed", str(report.longrepr)[-300:]])

    def pytest_runtest_logreport(self, report):
        """Record a phase. A test marked xfail counts as skipped, not as passed."""
        name = report.nodeid.rpartition("::")[2].partition("[")[0]
        outcome = "skipped" if hasattr(report, "wasxfail") else report.outcome
        self.phases.append([name, report.when, outcome,
                            self._raised.get((report.nodeid, report.when), "")])


def run_pytest(tests: str, file) -> None:
    """Run the tests, and write the recorded phases to a file as JSON."""
    os.chdir(tests)
    import pytest
    recorder = Recorder()
    pytest.main(["-c", os.devnull, "--rootdir", tests, "--confcutdir", tests, "-p",
                 "no:cacheprovider", "--tb=line", "-q", os.path.join(tests, TEST_FILE)],
                plugins=[recorder])
    json.dump(recorder.phases, file)
    file.flush()


def hide_tests(tests: str) -> None:
    """Move the tests into memory, where only pytest's process can read them: programs that it
    starts do not inherit the descriptor. The file becomes a link to the descriptor. Only root can
    read the other files in the folder."""
    path = os.path.join(tests, TEST_FILE)
    with open(path, "rb") as file, os.fdopen(os.memfd_create("tests"), "wb") as memory:
        memory.write(file.read())
        memory.flush()
        os.dup2(memory.fileno(), HELD, inheritable=False)
    os.unlink(path)
    os.symlink(f"/proc/self/fd/{HELD}", path)
    for path in (os.path.join(tests, name) for name in OURS):
        if os.path.exists(path):
            os.chmod(path, 0o600)


def phases(config: dict, tests: str, out: str) -> list[list[str]]:
    """Return the recorded phases, and write them to RESULTS; [] if pytest does not finish."""
    user = other_user(config["user"])
    os.environ.pop("PYTHONPATH", None)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    if config["user"]:
        os.environ.update(HOME=pwd.getpwnam(config["user"]).pw_dir, USER=config["user"],
                          LOGNAME=config["user"])
    if user:
        hide_tests(tests)
    with tempfile.TemporaryFile("w+") as file:
        try:
            run_as(user, os.path.join(out, LOG), lambda: run_pytest(tests, file),
                   config["timeout_s"])
            file.seek(0)
            found = json.loads(file.read(MAX_BYTES))
        except (TimeoutError, ValueError):
            found = []
    with open(os.path.join(out, RESULTS), "w", encoding="utf-8") as file:
        json.dump(found, file)
    return found


def passed(found: list[list[str]]) -> set[str]:
    """Return the names of the tests whose cases all passed."""
    called = {name for name, phase, *_ in found if phase == "call"}
    return called - {name for name, _, outcome, _ in found if outcome != "passed"}


def share(found: list[list[str]], weights: dict[str, float]) -> float:
    """Return the sum of the weights of the tests whose cases all passed, from 0 to 1. A failed,
    skipped or missing test counts 0."""
    good = passed(found)
    total = sum(weight for name, weight in weights.items() if name in good)
    return round(min(1.0, max(0.0, total)), 6)


def reward(config: dict, tests: str, out: str) -> float:
    """Return the reward for the files in the work directory. First make the tests' user their
    owner, since the owner of artifacts differs between versions of Harbor."""
    if config["user"]:
        subprocess.run(["chown", "-R", "-h", f"{config['user']}:", config["workdir"]], check=False)
    found = phases(config, tests, out)
    print(end_of(os.path.join(out, LOG)), file=sys.stderr)
    return share(found, config["weights"])


def print_summary(config: dict, tests: str, out: str) -> None:
    """Print the outcomes of the weighted tests in the form of pytest's summary."""
    good = passed(phases(config, tests, out))
    print("=== short test summary info ===")
    for name in config["weights"]:
        print("PASSED" if name in good else "FAILED", f"{TEST_FILE}::{name}")
