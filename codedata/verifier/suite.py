"""Run a project's test script, tests.sh, and read what its runners report.

For a reward the source is the image's, with what counts of an agent's work. Hidden tests are put in
place first, whatever lies there. The tests run as config.json's user, who can write neither the
reward nor what it is made of, nor change a test; the reports are read when none of their processes
is left. Not promised: code under test runs in the process that reports the outcomes, and can forge
those; who forges all of them is caught by tests that have to fail, and look like others.
"""
from __future__ import annotations

import ast
import glob
import json
import os
import pwd
import re
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile

from codedata.verifier.agent_work import Files, delivered, put
from codedata.verifier.junit import decoded, escaped_name, read_junit, worst
from codedata.verifier.processes import end_of, other_user, run_as

RESULTS = "/tmp/results"      # where test scripts write their reports
REPORT_BYTES = 100_000_000    # of all reports
CASES_S, CASES_BYTES = 330, 10_000_000   # for all scripts of tests/cases/; of their answers
MAX_LITERAL = 4000            # characters of an outcome that are compared
BOOLEAN = re.compile(r"\b(True|False)\b")
FRACTION = re.compile(r"\d+\.\d{9,}(?:e[-+]?\d+)?")
BROKEN = None                 # no reward where something is wrong that no body can be
MARKS = (">>>>> Start Test Output", ">>>>> End Test Output")   # of SWE-bench's harness
NO_RESULTS = 124              # exit code of a run without any
MARK = re.compile(b">>>>>+ ")   # begins others of its marks, too
WORDS = re.compile("(?<=_)[a-z]{2,}")
N_NAMES = 5   # of three canaries, their file and their text


# the source --------------------------------------------------------------------------------------

def remove(*paths: str) -> None:
    """Remove whatever lies at some paths."""
    subprocess.run(["rm", "-rf", "--", *paths], check=True)


def place_hidden(hidden: str, source: str, programs: list[str]) -> None:
    """Put the hidden tests in their places, whatever lies there or instead of a folder above; some
    may be run as programs."""
    for folder, _, names in os.walk(hidden):
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), hidden)
            *parents, file = path.split("/")
            above = source
            for part in parents:
                above = os.path.join(above, part)
                if os.path.islink(above) or not os.path.isdir(above):
                    remove(above)
                    os.mkdir(above)
            remove(os.path.join(source, path))
            place = shutil.copyfile(os.path.join(folder, name), os.path.join(source, path))
            os.chmod(place, 0o755 if path in programs else 0o644)
            stem = os.path.splitext(file)[0]
            compiled = os.path.join(above, "__pycache__", stem)
            # Python prefers a package to a module of its name
            remove(os.path.join(above, stem, "__init__.py"),
                   *glob.glob(f"{glob.escape(compiled)}.*"))


def open_to_all(folder: str) -> None:
    """Let every user read a folder's files, and add others, but neither change nor remove one of
    somebody else."""
    for at, _, files in os.walk(folder):
        os.chmod(at, 0o1777)
        for name in files:
            place = os.path.join(at, name)
            mode = os.lstat(place).st_mode
            if stat.S_ISREG(mode):
                os.chmod(place, stat.S_IMODE(mode) | (0o555 if mode & 0o100 else 0o444))


def drawn_names(config: dict) -> list[str]:
    """Return names for a file, for its text, and for its tests that fail, of words of the names of
    known tests: no code can know them before they run. None without `canary`."""
    known = "\n".join(config["FAIL_TO_PASS"] + config["PASS_TO_PASS"])
    names, draw = [], secrets.SystemRandom()
    words = [*WORDS.findall(known), "works", "value"]
    while len(names) < N_NAMES and config["canary"]:
        name = "_".join(["test", *draw.choices(words, k=draw.randrange(2, 5))])
        if name not in known:
            names.append(name)
            known += name
    return names


def place_canaries(folder: str, file: str, text: str, *names: str) -> None:
    """Place tests in a folder that fail whatever the bodies do. What they print names them."""
    with open(os.path.join(folder, f"{file}.py"), "x") as out:
        out.writelines(f"def {name}():\n    assert not '{text}'\n\n\n" for name in names)


# the run -----------------------------------------------------------------------------------------

def run_tests(config: dict, tests: str, log: str) -> int:
    """Run tests.sh in the source, and return its exit code. Raise TimeoutError where it does not
    end in time."""
    user = other_user(config["user"])
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        script = shutil.copyfile(os.path.join(tests, "tests.sh"), os.path.join(place, "tests.sh"))
        os.chmod(script, 0o644)
        command = ["bash", script]
        if user:
            command = ["env", *variables(user, os.path.join(place, "home")), *command]
        remove(RESULTS)
        os.chdir(config["workdir"])
        if os.path.isabs(config["workdir"]):   # as `cd` does, where a link leads there
            os.environ["PWD"] = config["workdir"]
        return run_as(user, log, lambda: os.execvp(command[0], command), config["timeout_s"])


def variables(user: pwd.struct_passwd, home: str) -> list[str]:
    """Return the variables of another user's tests, with a home that is made."""
    os.mkdir(home)
    os.chown(home, user.pw_uid, user.pw_gid)
    git = ["GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"]
    return [f"HOME={home}", f"USER={user.pw_name}", f"LOGNAME={user.pw_name}", *git]


def reports() -> list[tuple[str, bytes]]:
    """Return (path, content) of each report, sorted; none where there is a pipe among them, or too
    much. Links are passed over."""
    found, n_bytes = [], 0
    walk = [] if os.path.islink(RESULTS) else os.walk(RESULTS)
    for place in sorted(os.path.join(at, name) for at, _, names in walk for name in names):
        facts = os.lstat(place)
        n_bytes += facts.st_size
        if stat.S_ISLNK(facts.st_mode):
            continue
        if not stat.S_ISREG(facts.st_mode) or n_bytes > REPORT_BYTES:
            return []
        with open(place, "rb") as file:
            found.append((os.path.relpath(place, RESULTS), file.read()))
    return found


def statuses(config: dict, tests: str, log: str) -> dict[str, str]:
    """Return {escaped name: status} of what the runners report; of those with one name, the
    worst."""
    if config["reads"] == "junit":
        texts = [(path, decoded(data)) for path, data in reports()]
        cases = [case for path, text in texts if text.lstrip().startswith("<")
                 for case in read_junit(path, text, over)]
    else:
        cases = cases_of_all(tests, log if config["reads"] == "output" else os.devnull)
    found = worst(cases)
    return {escaped_name(name): status for name, (status, *_) in sorted(found.items())}


def cases_of_all(tests: str, log: str) -> list[tuple]:
    """Return the cases of all kinds of reports, or else of a log."""
    from codedata.verifier.runner_output import compiled, read_results
    with open(os.path.join(tests, "patterns.json"), encoding="utf-8") as file:
        patterns = compiled(json.load(file))
    with open(log, "rb") as file:
        printed = file.read().decode("utf-8", "replace")
    return read_results(reports(), printed, patterns, over)


def over(kind: str, what: str) -> tuple[str, str]:
    """Return the case of a limit that is reached."""
    return f"(results_{kind}: {what})", "error"


# what comes of it --------------------------------------------------------------------------------

def reward(config: dict, tests: str, out: str) -> float:
    """Return the reward of an agent's work. Raise RuntimeError where no test was collected."""
    if os.getuid():
        sys.exit("the verifier has to be root, or nothing keeps tests from writing the reward")
    os.chmod(tests, 0o700)
    if not is_delivered(config) and subprocess.run(   # in the agent's own container
            ["bash", "-c", config["collect"]]).returncode:
        print("there is no archive of the agent's work, and none can be made of its source")
        return 0.0
    work = delivered(config, os.path.realpath(config["workdir"]))
    canaries = drawn_names(config)
    with tempfile.NamedTemporaryFile() as log:
        try:
            _, found = outcomes(config, tests, work, log.name, canaries)
        except (TimeoutError, Forged) as e:
            print(e)
            return 0.0
        finally:
            print(*(line for line in end_of(log.name).split("\n")   # what looks like no canary
                    if not any(name in line for name in canaries)), sep="\n")
    if not found:
        raise RuntimeError("no test was collected")
    passed = report_cases(config, os.path.join(tests, "cases"), out)   # prints behind the log
    return share(found, config) if passed else 0.0


def is_delivered(config: dict) -> bool:
    """Return whether the task's own script has written the archive: an agent does not know its
    label."""
    if not os.path.isfile(config["archive"]):
        return False
    with open(config["archive"], "rb") as file:
        return file.read(100).startswith(config.get("label", "").encode())


def report_cases(config: dict, cases: str, out: str) -> bool:
    """Run the scripts of tests/cases/, if there are any, and write how many end as they have to.
    Return whether all do."""
    report = os.path.join(out, "cases.json")
    remove(report)   # of an earlier run, or what a test has put there
    if not os.path.isdir(cases):
        return True
    with open(os.path.join(cases, "expected.json"), encoding="utf-8") as file:
        expected = json.load(file)
    try:
        answers = answers_of(config, cases)
    except (OSError, ValueError, RecursionError):   # TimeoutError is an OSError
        answers = []
    passed = sum(map(is_expected, answers, expected))
    print(f"cases beside the tests: {passed} of {len(expected)} passed")
    with open(report, "w", encoding="utf-8") as file:
        json.dump({"passed": passed, "of": len(expected)}, file)
    return passed == len(expected)


def answers_of(config: dict, cases: str) -> list:
    """Return what the scripts of tests/cases/ give, run as the tests are."""
    user = other_user(config["user"])
    with tempfile.TemporaryDirectory() as place, tempfile.NamedTemporaryFile() as log:
        os.chmod(place, 0o777)
        for name in ("jobs.json", "replay_scripts.py"):
            os.chmod(shutil.copyfile(os.path.join(cases, name), os.path.join(place, name)), 0o644)
        line = f"{config['activation']}exec python3 {place}/replay_scripts.py {place}"
        command = ["bash", "-c", line]
        if user:
            command = ["env", *variables(user, os.path.join(place, "home")), *command]
        answers = os.path.join(place, "answers.json")
        run_as(user, log.name, lambda: os.execvp(command[0], command), CASES_S)
        about = os.lstat(answers)
        if not stat.S_ISREG(about.st_mode) or about.st_size > CASES_BYTES:
            raise ValueError("the answers are no file, or too large")
        with open(answers, encoding="utf-8") as file:
            found = json.load(file)
    return found if isinstance(found, list) else []


def is_expected(answer, expected) -> bool:
    """Return whether an answer has the outcome [kind, text]: the same value, or an exception of the
    same type or a derived one."""
    kind, text = expected
    if not isinstance(answer, dict) or answer.get("kind") != kind:
        return False
    if kind == "raises":
        mro = answer.get("mro")
        return isinstance(mro, list) and text.partition(":")[0] in mro
    return value_of(str(answer.get("text"))) == value_of(text)


def value_of(text: str):
    """Return the value that a text shows, with long fractions rounded and each boolean in a tuple,
    as True equals 1; or else the text."""
    text = FRACTION.sub(lambda found: f"{float(found[0]):.9g}", text[:MAX_LITERAL])
    text = BOOLEAN.sub(r"(\1,0j)", text)
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text


class Forged(Exception):
    """Say that the reports are not those of the tests."""


def outcomes(config: dict, tests: str, work: Files, log: str, canaries: list[str]
             ) -> tuple[int, dict[str, str]]:
    """Return (exit code of the test script, {escaped name: status}) of the source with an agent's
    work, the hidden tests and canaries of drawn_names(). Raise TimeoutError or Forged."""
    source = os.path.realpath(config["workdir"])
    hidden = os.path.join(tests, "hidden"), source, config["programs"]
    place_hidden(*hidden)
    if canaries:
        place_canaries(os.path.join(source, config["canary"]), *canaries)
    if config["user"]:
        hand_over(config, work, source)
        place_hidden(*hidden)   # an agent's work may have one of these paths
    exit_code = run_tests(config, tests, log)
    found = statuses(config, tests, log)
    of_canaries = [status for name, status in found.items()
                   if name.rpartition("::")[2] in canaries]
    if found and of_canaries != ["failed"] * len(canaries[2:]):
        raise Forged(f"the reports are forged: of tests that fail they say {of_canaries}")
    return exit_code, found


def hand_over(config: dict, work: Files, source: str) -> None:
    """Put an agent's work into the source, which the user of the tests can read from now on."""
    user = pwd.getpwnam(config["user"])
    home = os.path.expanduser("~root")
    os.chmod(home, stat.S_IMODE(os.stat(home).st_mode) | 0o055)   # Python may be installed there
    open_to_all(source)
    put(work, source, user.pw_uid)
    for path in config["counts"] or ():   # also where none of the agent's was taken
        if os.path.exists(os.path.join(source, path)):
            os.chown(os.path.join(source, path), user.pw_uid, -1)


def share(found: dict[str, str], config: dict) -> float:
    """Return the share of FAIL_TO_PASS that passed; 0.0 where one of PASS_TO_PASS did not."""
    if any(found.get(name) != "passed" for name in config["PASS_TO_PASS"]):
        return 0.0
    passed = [found.get(name) == "passed" for name in config["FAIL_TO_PASS"]]
    return round(sum(passed) / len(passed), 6)


def print_marks(config: dict, tests: str) -> int:
    """Run the tests on the source as it lies there, and print the cases between the marks; behind
    them what was printed, without any mark. Return the exit code of the test script."""
    with tempfile.NamedTemporaryFile() as log:
        try:
            exit_code, found = outcomes(config, tests, {}, log.name, drawn_names(config))
        except (TimeoutError, Forged) as e:
            print(e)
            exit_code, found = NO_RESULTS, {}
        lines = [f"{status.upper()} {name}" for name, status in found.items()]
        sys.stdout.flush()
        sys.stdout.buffer.write("\n".join([MARKS[0], *lines, MARKS[1], ""]).encode(
            "utf-8", "replace"))
        with open(log.name, "rb") as file:
            sys.stdout.buffer.writelines(MARK.sub(b">>>> ", line) for line in file)
    return exit_code
