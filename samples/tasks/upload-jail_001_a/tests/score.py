"""Run the tests of a task and print its reward: python3 -I score.py weights.json [user [summary]]

It lies with processes.py and test_outputs.py in /tests of the verifier, and runs as root; with a
user, the tests run as that one. What pytest finds comes back in a file that no program which a test
starts can open, and the reward is printed when none of their processes is left; RESULTS has each
phase of each test, LOG what they print. No program that a test starts can read the tests. With
`summary` the outcomes of the tests that have weights are printed instead, as pytest lists them, and
no byte of what is tested. Not promised: code that a test imports runs in pytest's own process,
reads the tests there and can forge what pytest finds. It needs pytest and the standard library
alone, from Python 3.8 on.
"""
from __future__ import annotations

import importlib
import json
import os
import pwd
import sys
import tempfile

TESTS = os.path.dirname(os.path.abspath(__file__))
TEST_FILE = os.path.join(TESTS, "test_outputs.py")
OURS = ("test.sh", "run-tests.sh", "score.py", "processes.py", "weights.json")   # beside it
HELD = 777   # the descriptor that holds the tests while they run: above any that pytest opens
RESULTS = "/logs/verifier/results.json"   # [[test, phase, outcome, name of the exception], …]
LOG = "/logs/verifier/tests.log"
PYTEST = ["-c", os.devnull, "--rootdir", TESTS, "--confcutdir", TESTS, "-p", "no:cacheprovider",
          "--tb=line", "-q"]
MAX_BYTES = 10_000_000   # of what pytest finds


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


def run_pytest(file) -> None:
    """Run the tests, and write what they find into a file."""
    os.chdir(TESTS)
    import pytest
    recorder = Recorder()
    pytest.main([*PYTEST, TEST_FILE], plugins=[recorder])
    json.dump(recorder.phases, file)
    file.flush()


def hide_tests() -> None:
    """Keep the tests in memory, where pytest's process alone reads them: no program that it starts
    has the descriptor. The file becomes a link to it; whatever else says how the tests are run is
    root's alone."""
    with open(TEST_FILE, "rb") as file, os.fdopen(os.memfd_create("tests"), "wb") as memory:
        memory.write(file.read())
        memory.flush()
        os.dup2(memory.fileno(), HELD, inheritable=False)
    os.unlink(TEST_FILE)
    os.symlink(f"/proc/self/fd/{HELD}", TEST_FILE)
    for path in (os.path.join(TESTS, name) for name in OURS):
        if os.path.exists(path):
            os.chmod(path, 0o600)


def phases(user: pwd.struct_passwd) -> list[list[str]]:
    """Return what pytest finds; nothing where it does not come to its end."""
    from processes import run_as
    if user.pw_uid and not os.getuid():
        hide_tests()
    with tempfile.TemporaryFile("w+") as file:
        run_as(user, LOG, lambda: run_pytest(file))
        file.seek(0)
        try:
            return json.loads(file.read(MAX_BYTES))
        except ValueError:
            return []


def passed(found: list[list[str]]) -> set[str]:
    """Return the tests all of whose cases passed."""
    called = {name for name, phase, *_ in found if phase == "call"}
    return called - {name for name, _, outcome, _ in found if outcome != "passed"}


def reward(found: list[list[str]], weights: dict[str, float]) -> float:
    """Return the sum of the weights of tests all of whose cases passed, from 0 to 1.

    A test that failed, was skipped, or is not there, counts 0.
    """
    good = passed(found)
    total = sum(weight for name, weight in weights.items() if name in good)
    return round(min(1.0, max(0.0, total)), 6)


def main() -> None:
    """Print the reward, or the summary."""
    sys.path.insert(0, TESTS)
    end_of = importlib.import_module("processes").end_of
    with open(sys.argv[1], encoding="utf-8") as file:
        weights = json.load(file)
    name = "".join(sys.argv[2:3])
    found = phases(pwd.getpwnam(name) if name else pwd.getpwuid(os.getuid()))
    with open(RESULTS, "w", encoding="utf-8") as file:
        json.dump(found, file)
    if sys.argv[3:]:
        print("=== short test summary info ===")
        for name in weights:
            print("PASSED" if name in passed(found) else "FAILED", f"test_outputs.py::{name}")
    else:
        print(end_of(LOG), file=sys.stderr)
        print(reward(found, weights))


if __name__ == "__main__":
    main()
