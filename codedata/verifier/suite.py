"""Run a project's test script, tests.sh, and read the reports of its test runners.

The reward is of the image's source with the agent's files that count. Hidden tests replace whatever
is at their paths. The tests run as the user of config.json, which can write neither the reward nor
its sources, and cannot change a test. The reports are read after all processes of the tests have
ended. Not promised: the tested code runs in the process that reports the outcomes, so it can forge
outcomes. Code that forges all of them is caught by canaries: tests that must fail, and look like
the others.
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
REPORT_BYTES = 100_000_000    # limit for all reports together
CASES_S, CASES_BYTES = 330, 10_000_000   # limits for all scripts of tests/cases/: time, answers
MAX_LITERAL = 4000            # an outcome is compared up to this many characters
BOOLEAN = re.compile(r"\b(True|False)\b")
FRACTION = re.compile(r"\d+\.\d{9,}(?:e[-+]?\d+)?")
BROKEN = None                 # no reward if grading itself fails
MARKS = (">>>>> Start Test Output", ">>>>> End Test Output")   # SWE-bench's
NO_RESULTS = 124              # exit code if there are no results
MARK = re.compile(b">>>>>+ ")   # matches the start of any mark of SWE-bench's harness
WORDS = re.compile("(?<=_)[a-z]{2,}")
N_NAMES = 5   # a file, a text and three canaries


# the source --------------------------------------------------------------------------------------

def remove(*paths: str) -> None:
    """Remove files and folders."""
    subprocess.run(["rm", "-rf", "--", *paths], check=True)


def place_hidden(hidden: str, source: str, programs: list[str]) -> None:
    """Copy the hidden tests into the source. Replace whatever is at their paths, and links or files
    in place of their folders. Make the paths in `programs` executable."""
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
            # remove a package of the same name, which Python would import instead
            remove(os.path.join(above, stem, "__init__.py"),
                   *glob.glob(f"{glob.escape(compiled)}.*"))


def open_to_all(folder: str) -> None:
    """Let every user read the files in a folder and add new ones, but not change or remove files
    of other users."""
    for at, _, files in os.walk(folder):
        os.chmod(at, 0o1777)
        for name in files:
            place = os.path.join(at, name)
            mode = os.lstat(place).st_mode
            if stat.S_ISREG(mode):
                os.chmod(place, stat.S_IMODE(mode) | (0o555 if mode & 0o100 else 0o444))


def drawn_names(config: dict) -> list[str]:
    """Return random names for canaries: a file, its text, and tests that must fail. They consist
    of words from the names of known tests, and no code can know them before the run. Return []
    without `canary`."""
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
    """Write tests that always fail into a file of a folder. Their output contains `text`."""
    with open(os.path.join(folder, f"{file}.py"), "x") as out:
        out.writelines(f"def {name}():\n    assert not '{text}'\n\n\n" for name in names)


# the run -----------------------------------------------------------------------------------------

def run_tests(config: dict, tests: str, log: str) -> int:
    """Run tests.sh in the source, and return its exit code. Raise TimeoutError after the task's
    timeout_s."""
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
        if os.path.isabs(config["workdir"]):   # as `cd` does: PWD may go through a link
            os.environ["PWD"] = config["workdir"]
        return run_as(user, log, lambda: os.execvp(command[0], command), config["timeout_s"])


def variables(user: pwd.struct_passwd, home: str) -> list[str]:
    """Return the variables for tests of another user, and create the home folder."""
    os.mkdir(home)
    os.chown(home, user.pw_uid, user.pw_gid)
    git = ["GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"]
    return [f"HOME={home}", f"USER={user.pw_name}", f"LOGNAME={user.pw_name}", *git]


def reports() -> list[tuple[str, bytes]]:
    """Return (path, content) of each report, sorted. Skip links. Return [] if an entry is not a
    regular file, or if all together are too large."""
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
    """Return {escaped name: status} of all reported cases; the worst status of each name."""
    if config["reads"] == "junit":
        texts = [(path, decoded(data)) for path, data in reports()]
        cases = [case for path, text in texts if text.lstrip().startswith("<")
                 for case in read_junit(path, text, over)]
    else:
        cases = cases_of_all(tests, log if config["reads"] == "output" else os.devnull)
    found = worst(cases)
    return {escaped_name(name): status for name, (status, *_) in sorted(found.items())}


def cases_of_all(tests: str, log: str) -> list[tuple]:
    """Return the cases of all kinds of reports; if they have none, the cases in a log."""
    from codedata.verifier.runner_output import compiled, read_results
    with open(os.path.join(tests, "patterns.json"), encoding="utf-8") as file:
        patterns = compiled(json.load(file))
    with open(log, "rb") as file:
        printed = file.read().decode("utf-8", "replace")
    return read_results(reports(), printed, patterns, over)


def over(kind: str, what: str) -> tuple[str, str]:
    """Return the error case for an exceeded limit."""
    return f"(results_{kind}: {what})", "error"


# the outcome --------------------------------------------------------------------------------

def reward(config: dict, tests: str, out: str) -> float:
    """Return the reward of an agent's work, from 0 to 1. Raise RuntimeError if no test was
    collected."""
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
            print(*(line for line in end_of(log.name).split("\n")   # leave out lines about canaries
                    if not any(name in line for name in canaries)), sep="\n")
    if not found:
        raise RuntimeError("no test was collected")
    passed = report_cases(config, os.path.join(tests, "cases"), out)   # prints after the log
    return share(found, config) if passed else 0.0


def is_delivered(config: dict) -> bool:
    """Return whether the task's script has written the archive: it begins with a label that an
    agent does not know."""
    if not os.path.isfile(config["archive"]):
        return False
    with open(config["archive"], "rb") as file:
        return file.read(100).startswith(config.get("label", "").encode())


def report_cases(config: dict, cases: str, out: str) -> bool:
    """Run the scripts of tests/cases/, if there are any, and write the number that pass to
    cases.json. Return whether all pass."""
    report = os.path.join(out, "cases.json")
    remove(report)   # an earlier run or a test may have left it
    if not os.path.isdir(cases):
        return True
    with open(os.path.join(cases, "expected.json"), encoding="utf-8") as file:
        expected = json.load(file)
    try:
        answers = answers_of(config, cases)
    except (OSError, ValueError, RecursionError):   # TimeoutError is an OSError
        answers = []
    passed = sum(map(is_expected, answers, expected))
    print(f"held-out cases: {passed} of {len(expected)} passed")
    with open(report, "w", encoding="utf-8") as file:
        json.dump({"passed": passed, "of": len(expected)}, file)
    return passed == len(expected)


def answers_of(config: dict, cases: str) -> list:
    """Run the scripts of tests/cases/ as the tests' user, and return their outcomes; [] if the file
    of outcomes holds no list. Raise TimeoutError after CASES_S, OSError or ValueError if the file
    is missing, too large or no JSON."""
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
    """Return the literal value of a text, with long fractions rounded; the text if it is no
    literal. Each boolean is put in a tuple, since True == 1."""
    text = FRACTION.sub(lambda found: f"{float(found[0]):.9g}", text[:MAX_LITERAL])
    text = BOOLEAN.sub(r"(\1,0j)", text)
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text


class Forged(Exception):
    """Report that the tested code has forged the reports."""


def outcomes(config: dict, tests: str, work: Files, log: str, canaries: list[str]
             ) -> tuple[int, dict[str, str]]:
    """Return (exit code of the test script, {escaped name: status}) of the source with an agent's
    work, the hidden tests and the canaries of drawn_names(). Raise TimeoutError or Forged."""
    source = os.path.realpath(config["workdir"])
    hidden = os.path.join(tests, "hidden"), source, config["programs"]
    place_hidden(*hidden)
    if canaries:
        place_canaries(os.path.join(source, config["canary"]), *canaries)
    if config["user"]:
        hand_over(config, work, source)
        place_hidden(*hidden)   # the agent's work may have replaced one
    exit_code = run_tests(config, tests, log)
    found = statuses(config, tests, log)
    of_canaries = [status for name, status in found.items()
                   if name.rpartition("::")[2] in canaries]
    if found and of_canaries != ["failed"] * len(canaries[2:]):
        raise Forged(f"the reports are forged: tests that must fail are reported as {of_canaries}")
    return exit_code, found


def hand_over(config: dict, work: Files, source: str) -> None:
    """Put an agent's work into the source, and let the tests' user read the source."""
    user = pwd.getpwnam(config["user"])
    home = os.path.expanduser("~root")
    os.chmod(home, stat.S_IMODE(os.stat(home).st_mode) | 0o055)   # Python may be installed in it
    open_to_all(source)
    put(work, source, user.pw_uid)
    for path in config["counts"] or ():   # also files that the agent left unchanged
        if os.path.exists(os.path.join(source, path)):
            os.chown(os.path.join(source, path), user.pw_uid, -1)


def share(found: dict[str, str], config: dict) -> float:
    """Return the share of FAIL_TO_PASS that passed; 0.0 if a test of PASS_TO_PASS did not."""
    if any(found.get(name) != "passed" for name in config["PASS_TO_PASS"]):
        return 0.0
    passed = [found.get(name) == "passed" for name in config["FAIL_TO_PASS"]]
    return round(sum(passed) / len(passed), 6)


def print_marks(config: dict, tests: str) -> int:
    """Run the tests on the present source, and print the cases between the marks, then the tests'
    output, with any mark in it broken. Return the exit code of the test script."""
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
