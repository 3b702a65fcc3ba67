"""Grade a task by the tests and the config.json next to this file: python3 -I verify.py [MODE]

Without a mode, write the reward, after all processes of the tests have ended. `summary` prints the
outcomes of weighted tests in pytest's form, for terminal-bench. `marks` runs a suite on the present
source, and prints its cases between the marks of SWE-bench's harness. Output of the tested code is
never printed within the summary or between the marks.
"""
from __future__ import annotations

import glob
import json
import os
import stat
import subprocess
import sys
import types
from contextlib import contextmanager
from importlib import import_module

TESTS = os.path.dirname(os.path.abspath(__file__))
if not __package__:   # in a container, this folder is the package, and is not on sys.path
    verifier = types.ModuleType("codedata.verifier")
    verifier.__path__ = [TESTS]
    sys.modules[verifier.__name__] = verifier

OUT = "/logs/verifier"
LEFT = ("reward.*", "results.json", "tests.log")   # files that an earlier run or a test may leave


def loaded(config: dict):
    """Return the module that runs this kind of tests. Load all that it imports now, before a test
    can change the files."""
    names = ["weighted_tests"]
    if "weights" not in config:
        names = ["suite"] if config["reads"] == "junit" else ["suite", "runner_output"]
    modules = [import_module(f"codedata.verifier.{name}") for name in names]
    return modules[0]


@contextmanager
def closed_folder():
    """Close the folder of the reward to other users during the grading: Harbor lets all users write
    there, and an agent's processes may still run."""
    os.makedirs(OUT, exist_ok=True)
    mode = stat.S_IMODE(os.stat(OUT).st_mode)
    os.chmod(OUT, 0o700)
    try:
        yield
    finally:
        os.chmod(OUT, mode & ~0o022)


def remove(*patterns: str) -> None:
    """Remove the files in the folder of the reward that match a pattern."""
    paths = [path for name in patterns for path in glob.glob(os.path.join(OUT, name))]
    subprocess.run(["rm", "-rf", *paths], check=True)


def write_reward(module, config: dict) -> None:
    """Write the reward. If grading itself fails, weighted tests get 0, and a suite gets no reward.
    """
    value = module.BROKEN
    remove(*LEFT)
    try:
        value = module.reward(config, TESTS, OUT)
    finally:
        remove("reward.*")   # Harbor prefers reward.json, which tests that run as root can leave
        if value is not None:
            with open(os.path.join(OUT, "reward.txt"), "w") as file:
                file.write(f"{value}\n")


def main() -> None:
    """Grade in the mode of the command line."""
    with open(os.path.join(TESTS, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    module = loaded(config)
    if sys.argv[1:] == ["marks"]:
        sys.exit(module.print_marks(config, TESTS))
    with closed_folder():
        if sys.argv[1:] == ["summary"]:
            remove(*LEFT)
            module.print_summary(config, TESTS, OUT)
        else:
            write_reward(module, config)


if __name__ == "__main__":
    main()
