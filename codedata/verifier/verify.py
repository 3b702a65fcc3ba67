"""Grade the task whose tests lie beside this file, by config.json: python3 -I verify.py [way]

Without a word the reward is written, last of all, when no process of the tests is left. As
`summary`, the outcomes of weighted tests are printed as pytest lists them, for terminal-bench. As
`marks`, a suite runs on the source as it lies there, and its cases are printed between the marks of
SWE-bench's harness. Neither prints a byte of what is tested between its marks.
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
    verifier = types.ModuleType("codedata.verifier")
    verifier.__path__ = [TESTS]
    sys.modules[verifier.__name__] = verifier

OUT = "/logs/verifier"
LEFT = ("reward.*", "results.json", "tests.log")   # what an earlier run, or a test, leaves there


def loaded(config: dict):
    """Return the module that runs such tests. All that it needs is loaded before a test can have
    changed it."""
    names = ["weighted_tests"]
    if "weights" not in config:
        names = ["suite"] if config["reads"] == "junit" else ["suite", "runner_output"]
    modules = [import_module(f"codedata.verifier.{name}") for name in names]
    return modules[0]


@contextmanager
def closed_folder():
    """Keep others out of the folder of the reward, where Harbor lets everybody write: what an agent
    has left running writes there no more."""
    os.makedirs(OUT, exist_ok=True)
    mode = stat.S_IMODE(os.stat(OUT).st_mode)
    os.chmod(OUT, 0o700)
    try:
        yield
    finally:
        os.chmod(OUT, mode & ~0o022)


def remove(*patterns: str) -> None:
    """Remove what patterns match in the folder of the reward."""
    paths = [path for name in patterns for path in glob.glob(os.path.join(OUT, name))]
    subprocess.run(["rm", "-rf", *paths], check=True)


def write_reward(module, config: dict) -> None:
    """Write the reward. Where something breaks that is no test's outcome, weighted tests get 0, and
    a suite none at all."""
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
    """Grade as the command line says."""
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
