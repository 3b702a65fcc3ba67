"""Run the tests of a task and print its reward: python3 -I score.py weights.json [user [options]]

It lies with processes.py and test_outputs.py in /tests of the verifier, and runs as root; with a
user, the tests run as that one. What pytest finds comes back over a pipe that no program which a
test starts can reach, and the reward is printed when none of their processes is left; RESULTS has
each phase of each test. Not promised: code that a test imports runs in pytest's own process, and
can forge what it finds. It needs pytest and the standard library alone, from Python 3.8 on.
"""
from __future__ import annotations

import ctypes
import importlib
import json
import os
import pwd
import sys

TESTS = os.path.dirname(os.path.abspath(__file__))
RESULTS = "/logs/verifier/results.json"   # [[test, phase, outcome, name of the exception], …]
PYTEST = ["-c", os.devnull, "--rootdir", TESTS, "--confcutdir", TESTS, "-p", "no:cacheprovider",
          "--tb=line", "-q"]
MAX_BYTES = 10_000_000   # of what pytest finds
PR_SET_DUMPABLE = 4


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


def run_pytest(pipe: int, user: pwd.struct_passwd | None, options: list[str]) -> None:
    """Run the tests as a user, and write what they find into a pipe."""
    from processes import become
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)   # the reward is printed on stdout
    os.setsid()
    if user:
        become(user)
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)   # no process of the user looks into it
    os.chdir(TESTS)
    import pytest
    recorder = Recorder()
    pytest.main([*PYTEST, *options, os.path.join(TESTS, "test_outputs.py")], plugins=[recorder])
    with open(pipe, "w", encoding="utf-8") as file:
        json.dump(recorder.phases, file)


def phases(user: pwd.struct_passwd | None, options: list[str]) -> list[list[str]]:
    """Return what pytest finds; nothing where it does not come to its end."""
    from processes import end_all_but, processes
    read, write = os.pipe()
    before = processes(user)
    child = os.fork()
    if not child:
        code = 1
        try:
            os.close(read)
            run_pytest(write, user, options)
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    found = b""
    with open(read, "rb") as file:
        found = file.read(MAX_BYTES)
    end_all_but(before, user)
    os.waitpid(child, 0)
    try:
        return json.loads(found)
    except ValueError:
        return []


def reward(found: list[list[str]], weights: dict[str, float]) -> float:
    """Return the sum of the weights of tests all of whose cases passed, from 0 to 1.

    A test that failed, was skipped, or is not there, counts 0.
    """
    called = {name for name, phase, *_ in found if phase == "call"}
    odd = {name for name, _, outcome, _ in found if outcome != "passed"}
    total = sum(weight for name, weight in weights.items() if name in called - odd)
    return round(min(1.0, max(0.0, total)), 6)


def main() -> None:
    """Print the reward."""
    sys.path.insert(0, TESTS)
    importlib.import_module("processes")
    with open(sys.argv[1], encoding="utf-8") as file:
        weights = json.load(file)
    name = "".join(sys.argv[2:3])
    found = phases(pwd.getpwnam(name) if name else None, sys.argv[3:])
    with open(RESULTS, "w", encoding="utf-8") as file:
        json.dump(found, file)
    print(reward(found, weights))


if __name__ == "__main__":
    main()
