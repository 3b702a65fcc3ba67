"""Grade the task whose tests are next to this file, by config.json: python3 -I verify.py [way]

Without an argument, write the reward at the very end, when all processes of the tests have ended.
`summary` prints the outcomes of weighted tests in pytest's format, for terminal-bench. `marks` runs
a suite on the present source, and prints its cases between the marks of SWE-bench's harness.
Neither prints output of the tested code between its marks.
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
if not __package__:   # in a container this package is the folder, which stays off sys.path
    verifier = types.ModuleType("codedata.tasks.verifier")
    verifier.__path__ = [TESTS]
    sys.modules[verifier.__name__] = verifier

OUT = "/logs/verifier"
LEFT = ("reward.*", "results.json", "tests.log")   # files that an earlier run, or a test, may leave
                                                   # there


def loaded(config: dict):
    """Return the module that runs such tests. All its imports are loaded before a test can change
    them."""
    names = ["weighted_tests"]
    if "weights" not in config:
        names = ["suite"] if config["reads"] == "junit" else ["suite", "runner_output"]
    modules = [import_module(f"codedata.tasks.verifier.{name}") for name in names]
    return modules[0]


@contextmanager
def closed_folder():
    """Close the folder of the reward, which Harbor makes writable for everyone: processes left by
    an agent can no longer write there."""
    os.makedirs(OUT, exist_ok=True)
    mode = stat.S_IMODE(os.stat(OUT).st_mode)
    os.chmod(OUT, 0o700)
    try:
        yield
    finally:
        os.chmod(OUT, mode & ~0o022)


def remove(*patterns: str) -> None:
    """Remove the matches of patterns in the folder of the reward."""
    paths = [path for name in patterns for path in glob.glob(os.path.join(OUT, name))]
    subprocess.run(["rm", "-rf", *paths], check=True)


def write_reward(module, config: dict) -> None:
    """Write the reward. If something other than a test fails, weighted tests get 0, and a suite
    gets no reward."""
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
    """Grade by the command line's argument."""
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
