"""Run test_outputs.py, whose tests have weights, and count those that passed.

With a user in config.json, the tests run as that one. What pytest finds comes back in a file that
no program which a test starts can open; results.json has each phase of each test, tests.log what
they print. No program that a test starts can read the tests. Not promised: code that a test imports
runs in pytest's own process, reads the tests there and can forge what pytest finds. It needs pytest
and, for memfd_create, Python 3.8.
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
        "config.json")   # beside it
HELD = 777   # the descriptor that holds the tests while they run: above any that pytest opens
RESULTS = "results.json"   # [[test, phase, outcome, name of the exception], …]
LOG = "tests.log"
MAX_BYTES = 10_000_000   # of what pytest finds
BROKEN = 0.0   # the reward where something else than a test goes wrong


class Recorder:
    """Note how each phase of each test comes out: a plugin of pytest."""

    def __init__(self):
        self.phases: list[list[str]] = []
        self._raised: dict[tuple[str, str], str] = {}

    def pytest_runtest_makereport(self, item, call):
        """Note what a test has raised; the report is others' to make."""
        if call.excinfo:
            self._raised[item.nodeid, call.when] = call.excinfo.typename

    def pytest_collectreport(self, report):
        """Note what cannot be collected."""
        if report.failed:
            self.phases.append(["", "collect", "failed", str(report.longrepr)[-300:]])

    def pytest_runtest_logreport(self, report):
        """Note a phase. A test that may fail has not passed."""
        name = report.nodeid.rpartition("::")[2].partition("[")[0]
        outcome = "skipped" if hasattr(report, "wasxfail") else report.outcome
        self.phases.append([name, report.when, outcome,
                            self._raised.get((report.nodeid, report.when), "")])


def run_pytest(tests: str, file) -> None:
    """Run the tests, and write what they find into a file."""
    os.chdir(tests)
    import pytest
    recorder = Recorder()
    pytest.main(["-c", os.devnull, "--rootdir", tests, "--confcutdir", tests, "-p",
                 "no:cacheprovider", "--tb=line", "-q", os.path.join(tests, TEST_FILE)],
                plugins=[recorder])
    json.dump(recorder.phases, file)
    file.flush()


def hide_tests(tests: str) -> None:
    """Keep the tests in memory, where pytest's process alone reads them: no program that it starts
    has the descriptor. The file becomes a link to it; whatever else says how the tests are run is
    root's alone."""
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
    """Return what pytest finds, and leave it in RESULTS; nothing where it does not come to its
    end."""
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
    """Return the tests all of whose cases passed."""
    called = {name for name, phase, *_ in found if phase == "call"}
    return called - {name for name, _, outcome, _ in found if outcome != "passed"}


def share(found: list[list[str]], weights: dict[str, float]) -> float:
    """Return the sum of the weights of tests all of whose cases passed, from 0 to 1.

    A test that failed, was skipped, or is not there, counts 0.
    """
    good = passed(found)
    total = sum(weight for name, weight in weights.items() if name in good)
    return round(min(1.0, max(0.0, total)), 6)


def reward(config: dict, tests: str, out: str) -> float:
    """Return the reward of what lies in the work directory, which the user of the tests is given:
    whose an artifact's files are differs between versions of Harbor."""
    if config["user"]:
        subprocess.run(["chown", "-R", "-h", f"{config['user']}:", config["workdir"]], check=False)
    found = phases(config, tests, out)
    print(end_of(os.path.join(out, LOG)), file=sys.stderr)
    return share(found, config["weights"])


def print_summary(config: dict, tests: str, out: str) -> None:
    """Print the outcomes of the tests that have weights as pytest lists them."""
    good = passed(phases(config, tests, out))
    print("=== short test summary info ===")
    for name in config["weights"]:
        print("PASSED" if name in good else "FAILED", f"{TEST_FILE}::{name}")
