"""Make a task's tests/: the verifier's programs, config.json and the tests."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from codedata.disk.layouts import Program
from codedata.sandbox.factory import WORKDIR
from codedata.suites.leftovers import activation
from codedata.suites.replayed_scripts import NOW, ReplayJob, given_to_run
from codedata.suites.source import Files
from codedata.suites.test_results import RUNNERS
from codedata.tasks.folder.task_folder import ARCHIVE, CONFIG, HIDDEN, TEST_SCRIPT
from codedata.texts import text_of

PROGRAMS = ("test.sh", "verify.py", "processes.py")
OF_WEIGHTED = (*PROGRAMS, "weighted_tests.py")
OF_SUITE = (*PROGRAMS, "suite.py", "agent_work.py", "junit.py")
OF_OTHER_REPORTS = ("runner_output.py",)
PATTERNS = "patterns.json"   # regular expressions for the lines that test runners print
# sources of test results: JUnit files, reports of all formats, printed lines; each value includes
# the sources of the values before it
READS = ("junit", "reports", "output")
ROOM = "codedata.verifier"
# the name that programs in tests/ use for ROOM: a change would edit the files that proofs cover
SHIPPED_AS = "codedata.tasks.verifier"
# the tests' share of the verifier's time limit; if they use it up, the rest is for writing reward 0
TEST_SHARE = 0.9
TestFiles = dict[str, str]   # text by path below tests/
# (lines of a script, the last one an expression; the kind of its outcome; the outcome)
Case = tuple[list[str], str, str]
CASES = "cases"           # the folder of scripts next to the tests
# time limits in seconds for one of these scripts, and for all together; long enough if 30 other
# processes are busy
CASE_S, CASES_S = 60, 300
KEPT = "test_still_"      # prefix of a test that may pass in the untouched image
MAX_KEPT = 0.25           # largest share of the reward for all KEPT tests together


def weighted_tests(weights: Mapping[str, float], user: str, workdir: str,
                   verifier_timeout_s: float) -> TestFiles:
    """Return the files of tests/ except test_outputs.py. The tests run as `user`, the new owner of
    the work directory; "" is the user of the verifier."""
    config = {"user": user, "timeout_s": seconds_for_tests(verifier_timeout_s),
              "workdir": workdir, "weights": dict(sorted(weights.items()))}
    return {**_programs(OF_WEIGHTED), CONFIG: _json(config)}


def suite_tests(test_script: str, hidden: Files | None = None, *, workdir: str = ".",
                reads: str = READS[0], **config) -> TestFiles:
    """Return all files of tests/ for a project's test script. The verifier puts the hidden tests,
    {path: text in UTF-8}, into the work directory, Programs as executable. `config` may set: `user`
    ("": the user of the verifier), `timeout_s` (0: no limit), FAIL_TO_PASS and PASS_TO_PASS
    (escaped names), `canary` (the folder for tests that have to fail; "": none), `counts` (the
    files of an agent's archive to take, in addition to new modules; None: all sources, without
    tests and settings of test runners), `collect` (the script that makes a missing archive),
    `label` (the first bytes of an archive made by that script; an archive that begins with other
    bytes was made by the agent).

    `reads` is one of READS: "reports" for reports of all formats, "output" for reports or, without
    them, printed lines, as test_results.parse() reads them. Only with "output" can a tested program
    forge a result by printing it."""
    whole = {"user": "", "timeout_s": 0, "workdir": workdir, "reads": reads, "FAIL_TO_PASS": [],
             "PASS_TO_PASS": [], "canary": "", "activation": activation(test_script),
             "archive": ARCHIVE, "collect": "", "label": "", "counts": None, "programs": [
                 path for path, data in (hidden or {}).items() if isinstance(data, Program)],
             **config}
    files = {**_programs(OF_SUITE), CONFIG: _json(whole), TEST_SCRIPT: f"{test_script.rstrip()}\n"}
    if reads != READS[0]:
        files |= {**_programs(OF_OTHER_REPORTS), PATTERNS: json.dumps(RUNNERS)}
    return files | {f"{HIDDEN}/{path}": data.decode() for path, data in (hidden or {}).items()}


def case_files(cases: Sequence[Case]) -> TestFiles:
    """Return the files of tests/cases/: scripts that the verifier runs in addition to the tests,
    and their expected outcomes, in a file that they cannot read. Each script runs once:
    when it was found, its outcome was shown not to depend on the hash seed."""
    jobs = [ReplayJob(code[:-1], code[-1]) for code, *_ in cases]
    given = given_to_run(WORKDIR, jobs, CASE_S, CASES_S, now=NOW, runs=1)
    name = "replay_scripts.py"
    return {f"{CASES}/jobs.json": _json(given), f"{CASES}/{name}": text_of(
        "codedata.suites.programs", name), f"{CASES}/expected.json": _json([
            outcome for _, *outcome in cases])}


def seconds_for_tests(verifier_timeout_s: float) -> int:
    """Return the seconds of the verifier's time limit reserved for the tests."""
    return max(1, int(TEST_SHARE * verifier_timeout_s))


def _programs(names: tuple[str, ...]) -> TestFiles:
    return {name: as_shipped(text_of(ROOM, name)) for name in names}


def as_shipped(text: str) -> str:
    """Return a program of the verifier with the imports that it has in tests/."""
    return text.replace(ROOM, SHIPPED_AS)


def _json(value: dict | list) -> str:
    return json.dumps(value, indent=2) + "\n"
