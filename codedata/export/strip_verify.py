"""Grade the bodies that an agent wrote into a stripped source: python3 -I verify.py

It lies with junit.py, processes.py, place.sh, tests.sh and task.json in /tests of a fresh container
of the task's image, and runs as root. The source there is the image's: the agent's comes as an
archive, of which the files that the patch touches and new modules are taken, nothing else. The
tests run as another user, who can write neither the reward nor the files that it is made of, nor
change a test; the reward is written when none of their processes is left. Not promised: code under
test runs in the process that reports the outcomes, and can forge those; who forges all of them is
caught by a test that has to fail. It needs the standard library alone, from Python 3.7 on.
"""
from __future__ import annotations

import importlib
import json
import os
import posixpath
import pwd
import secrets
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile

TESTS = os.path.dirname(os.path.abspath(__file__))
OUT = "/logs/verifier"
SOURCE = os.path.realpath("/testbed")
RESULTS = "/tmp/results"      # where test scripts write their reports
REPORT_BYTES = 100_000_000    # of all reports
ARCHIVE_BYTES = 32_000_000
FILE_BYTES = 4_000_000        # of a file that is taken
# Python or pytest run these by themselves
BARRED = ("conftest.py", "sitecustomize.py", "usercustomize.py")
FIND = """import json, sys
from importlib.util import find_spec
print(json.dumps([name for name in json.load(sys.stdin) if name and find_spec(name)]))
"""


def delivered(archive: str, touched: list[str], activation: str) -> dict[str, bytes]:
    """Return {path: content} of what is taken of an agent's archive: regular files that the patch
    touches, and new modules that hide none of the suite's environment. Of an archive that is too
    large, or none at all, nothing is."""
    if os.path.getsize(archive) > ARCHIVE_BYTES:
        return {}
    try:
        with tarfile.open(archive, "r:") as tar:
            found = {posixpath.normpath(member.name): member for member in tar
                     if member.isreg() and member.size <= FILE_BYTES}
            new = {path: imported_name(path) for path in found if is_new_module(path)}
            hidden = installed({*new.values()}, activation)
            taken = {path: member for path, member in found.items()
                     if path in touched or (path in new and new[path] not in hidden)}
            if sum(member.size for member in taken.values()) > ARCHIVE_BYTES:
                return {}   # of a sparse file the archive has less
            return {path: tar.extractfile(member).read() for path, member in taken.items()}
    except (tarfile.TarError, OSError, ValueError, EOFError):
        return {}


def is_new_module(path: str) -> bool:
    """Return whether a path is that of a module which the image's source does not have, that is no
    test, and is imported by name alone."""
    *folders, file = path.split("/")
    stem, suffix = os.path.splitext(file)
    is_test = stem.startswith("test_") or stem.endswith("_test")
    if suffix != ".py" or is_test or file in BARRED or "\0" in path:
        return False
    if any(part in ("", "..") or part.startswith(".") for part in folders):
        return False
    place = os.path.join(SOURCE, path)
    return not os.path.lexists(place) and os.path.realpath(place) == place


def imported_name(path: str) -> str:
    """Return the name that a new module adds to those that can be imported, and could hide: its
    outermost package, or itself where it is in none; "" for one that adds none."""
    *folders, stem = os.path.splitext(path)[0].split("/")
    outer = len(folders)
    while outer:
        folder = os.path.join(SOURCE, *folders[:outer])
        if os.path.isdir(folder) and not os.path.exists(os.path.join(folder, "__init__.py")):
            break   # a folder of the source that is no package
        outer -= 1
    name = [*folders, stem][outer]
    is_known = os.path.isdir(os.path.join(SOURCE, *folders[:outer], name))
    return "" if is_known or name == "__main__" or not name.isidentifier() else name


def installed(names: set[str], activation: str) -> set[str]:
    """Return those of some names under which the suite's own Python finds a module, without the
    source. Raise CalledProcessError where it cannot be asked."""
    command = f'{activation}exec "$(command -v python3 || command -v python)" -I -c "$0"'
    done = subprocess.run(["bash", "-c", command, FIND], input=json.dumps([*names]).encode(),
                          stdout=subprocess.PIPE, cwd=SOURCE, check=True)
    return {*json.loads(done.stdout)}


def put(files: dict[str, bytes], owner: int) -> None:
    """Write files into the source, as a user's."""
    for path, content in files.items():
        place = os.path.join(SOURCE, path)
        try:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "wb") as file:
                file.write(content)
            os.chown(place, owner, -1)
        except OSError:   # a part of the path is a file, or its name too long
            continue


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


def run_tests(user: pwd.struct_passwd, timeout_s: float) -> bool:
    """Run tests.sh as a user till none of its processes is left. Return whether it ended in
    time."""
    from processes import end_of, run_as
    place = tempfile.mkdtemp()
    os.chmod(place, 0o755)
    script = shutil.copy(os.path.join(TESTS, "tests.sh"), place)
    os.chmod(script, 0o644)
    home, log = os.path.join(place, "home"), os.path.join(place, "log")
    os.mkdir(home)
    os.chown(home, user.pw_uid, user.pw_gid)
    git = ["GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"]
    command = ["env", f"HOME={home}", f"USER={user.pw_name}", f"LOGNAME={user.pw_name}", *git,
               "bash", script]
    os.chdir(SOURCE)
    has_ended = run_as(user, log, lambda: os.execvp("env", command), timeout_s)
    print(end_of(log))
    return has_ended


def statuses() -> dict[str, str]:
    """Return {escaped name: status} of the reports; of those with one name, the worst."""
    from junit import RANKS, decoded, escaped_name, read_junit
    worst: dict[str, str] = {}
    n_bytes = 0
    if os.path.islink(RESULTS):
        return worst
    for folder, _, names in os.walk(RESULTS):
        for name in names:
            place = os.path.join(folder, name)
            facts = os.lstat(place)
            n_bytes += facts.st_size
            if not stat.S_ISREG(facts.st_mode) or n_bytes > REPORT_BYTES:
                return {}   # no runner writes a link or a pipe there
            with open(place, "rb") as file:
                text = decoded(file.read())
            if not text.lstrip().startswith("<"):
                continue
            for case, status, *_ in read_junit(name, text, lambda kind, what: (kind, "error")):
                case = escaped_name(case)
                worst[case] = max(status, worst.get(case, status), key=RANKS.index)
    return worst


def reward(found: dict[str, str], task: dict) -> float:
    """Return the share of FAIL_TO_PASS that passed; 0.0 where one of PASS_TO_PASS did not."""
    if any(found.get(name) != "passed" for name in task["PASS_TO_PASS"]):
        return 0.0
    passed = [found.get(name) == "passed" for name in task["FAIL_TO_PASS"]]
    return round(sum(passed) / len(passed), 6)


def placed_canary(folder: str) -> str:
    """Place a test in a folder of the source that fails whatever the bodies do, and return its
    name, which no code can know before it runs."""
    name = f"test_{secrets.token_hex(8)}"
    with open(os.path.join(SOURCE, folder, f"{name}.py"), "w") as file:
        file.write(f"def {name}():\n    assert not '{name}'\n")
    return name


def graded(task: dict) -> float:
    """Run the tests on what the agent wrote, and return the reward. Raise RuntimeError where no
    test was collected."""
    user = pwd.getpwnam(task["user"])
    files = delivered(task["archive"], task["touched"], task["activation"])
    subprocess.run(["bash", os.path.join(TESTS, "place.sh")], check=True)
    canary = placed_canary(task["canary"]) if task["canary"] else ""
    open_to_all(SOURCE)
    put(files, user.pw_uid)
    for path in task["touched"]:   # also where none of the agent's was taken
        os.chown(os.path.join(SOURCE, path), user.pw_uid, -1)
    if not run_tests(user, task["timeout_s"]):
        return 0.0
    found = statuses()
    if not found:
        raise RuntimeError("no test was collected")
    outcomes = [status for name, status in found.items() if name.endswith(f"::{canary}")]
    if canary and outcomes != ["failed"]:
        print(f"the reports are forged: of a test that fails they say {outcomes}")
        return 0.0
    return reward(found, task)


def remove_rewards() -> None:
    """Remove every reward that lies there."""
    places = [os.path.join(OUT, name) for name in ("reward.txt", "reward.json")]
    subprocess.run(["rm", "-rf", *places], check=True)


def main() -> None:
    """Write the reward; none where something is wrong that no body of a function can be."""
    if os.getuid():
        sys.exit("the verifier has to be root, or nothing keeps tests from writing the reward")
    sys.path.insert(0, TESTS)
    for name in ("junit", "processes"):
        importlib.import_module(name)   # now: what they import cannot have been changed yet
    home, mode = os.path.expanduser("~root"), stat.S_IMODE(os.stat(OUT).st_mode)
    os.chmod(home, stat.S_IMODE(os.stat(home).st_mode) | 0o055)   # Python may be installed there
    os.chmod(OUT, 0o700)   # Harbor lets everybody write there
    os.chmod(TESTS, 0o700)
    try:
        remove_rewards()
        with open(os.path.join(TESTS, "task.json"), encoding="utf-8") as file:
            value = graded(json.load(file))
        remove_rewards()   # Harbor prefers reward.json, which tests that run as root can leave
        with open(os.path.join(OUT, "reward.txt"), "w") as file:
            file.write(f"{value}\n")
    finally:
        os.chmod(OUT, mode)


if __name__ == "__main__":
    main()
