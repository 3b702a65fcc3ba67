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
import importlib.util
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
LOG_BYTES = 20_000            # of what they print that is shown: its end
# Python or pytest run these by themselves
BARRED = ("conftest.py", "sitecustomize.py", "usercustomize.py")


def delivered(archive: str, touched: list[str]) -> dict[str, bytes]:
    """Return {path: content} of what is taken of an agent's archive: regular files that the patch
    touches, and new modules. Of an archive that is too large, or none at all, nothing is."""
    if os.path.getsize(archive) > ARCHIVE_BYTES:
        return {}
    try:
        with tarfile.open(archive, "r:") as tar:
            found = {posixpath.normpath(member.name): member for member in tar
                     if member.isreg() and member.size <= FILE_BYTES}
            taken = {path: member for path, member in found.items()
                     if path in touched or is_new_module(path)}
            if sum(member.size for member in taken.values()) > ARCHIVE_BYTES:
                return {}   # of a sparse file the archive has less
            return {path: tar.extractfile(member).read() for path, member in taken.items()}
    except (tarfile.TarError, OSError, ValueError, EOFError):
        return {}


def is_new_module(path: str) -> bool:
    """Return whether a path is that of a module which the image's source does not have, that is no
    test, hides no installed one, and is imported by name alone."""
    *folders, file = path.split("/")
    stem, suffix = os.path.splitext(file)
    is_test = stem.startswith("test_") or stem.endswith("_test")
    if suffix != ".py" or is_test or file in BARRED or "\0" in path:
        return False
    if any(part in ("", "..") or part.startswith(".") for part in folders):
        return False
    place = os.path.join(SOURCE, path)
    if os.path.lexists(place) or os.path.realpath(place) != place:
        return False
    return not hides_installed(folders, stem)


def hides_installed(folders: list[str], stem: str) -> bool:
    """Return whether a new module would be imported in place of one that is installed, or one of
    Python's: what counts is its outermost package, or itself where it is in none."""
    outer = len(folders)
    while outer:
        folder = os.path.join(SOURCE, *folders[:outer])
        if os.path.isdir(folder) and not os.path.exists(os.path.join(folder, "__init__.py")):
            break   # a folder of the source that is no package
        outer -= 1
    name = [*folders, stem][outer]
    if os.path.isdir(os.path.join(SOURCE, *folders[:outer], name)) or name == "__main__":
        return False
    return name.isidentifier() and importlib.util.find_spec(name) is not None


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
    """Run tests.sh as a user till none of its processes is left. Return whether its time was too
    short."""
    from processes import become, end_all_but, processes
    place = tempfile.mkdtemp()
    os.chmod(place, 0o755)
    script = shutil.copy(os.path.join(TESTS, "tests.sh"), place)
    os.chmod(script, 0o644)
    home = os.path.join(place, "home")
    os.mkdir(home)
    os.chown(home, user.pw_uid, user.pw_gid)
    git = ["GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"]
    command = ["env", f"HOME={home}", f"USER={user.pw_name}", f"LOGNAME={user.pw_name}", *git,
               "bash", script]
    before = processes(user)
    with open(os.path.join(place, "log"), "w+b") as log:
        child = subprocess.Popen(command, cwd=SOURCE, stdin=subprocess.DEVNULL, stdout=log,
                                 stderr=log, start_new_session=True,
                                 preexec_fn=lambda: become(user))
        try:
            child.wait(timeout_s)
            is_over = False
        except subprocess.TimeoutExpired:
            is_over = True
        end_all_but(before, user)
        child.wait()
        log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_BYTES))
        print(log.read().decode("ascii", "replace"))
    return is_over


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
    files = delivered(task["archive"], task["touched"])
    subprocess.run(["bash", os.path.join(TESTS, "place.sh")], check=True)
    canary = placed_canary(task["canary"]) if task["canary"] else ""
    open_to_all(SOURCE)
    put(files, user.pw_uid)
    for path in task["touched"]:   # also where none of the agent's was taken
        os.chown(os.path.join(SOURCE, path), user.pw_uid, -1)
    if run_tests(user, task["timeout_s"]):
        return 0.0
    found = statuses()
    if not found:
        raise RuntimeError("no test was collected")
    outcomes = [status for name, status in found.items() if name.endswith(f"::{canary}")]
    if canary and outcomes != ["failed"]:
        print(f"the reports are forged: of a test that fails they say {outcomes}")
        return 0.0
    return reward(found, task)


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
        for name in ("reward.txt", "reward.json"):
            if os.path.lexists(os.path.join(OUT, name)):
                os.remove(os.path.join(OUT, name))
        with open(os.path.join(TESTS, "task.json"), encoding="utf-8") as file:
            value = graded(json.load(file))
        with open(os.path.join(OUT, "reward.txt"), "w") as file:
            file.write(f"{value}\n")
    finally:
        os.chmod(OUT, mode)


if __name__ == "__main__":
    main()
