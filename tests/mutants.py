"""Plant faults in copies of a tree, one at a time, and see which of its tests catch them.

reads   tests/mutants.toml    faults, each with the tests that ought to catch it
writes  build/mutants.jsonl   {commit, fault, caught, by, seconds}: a line a fault, and one more,
                              with caught_by_all, of one that survives its own tests
A stopped run continues. A test that fails without the fault, too, has not caught it.
"""
import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import product
from pathlib import Path

from codedata.texts import tomllib

REPO = Path(__file__).resolve().parents[1]
OWN_S, ALL_S = 300, 3_000   # limits of pytest
BY_TIME = "(by time)"
ALL = ["-n", "2", "-m",   # as `make test` does
       "not (docker or pods or chromium or demo or litellm or long)"]
# pytest's exit code is 1 where tests fail; one that imports another package than the copy's has 4
CHILD = """import codedata, os, pytest, sys
is_copy = codedata.__file__.startswith(os.getcwd() + os.sep)
sys.exit(pytest.main(sys.argv[1:]) if is_copy else 4)"""
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+\.py::.+?)(?: - .*)?$", re.MULTILINE)


def tests_of(fault: dict, copy: Path) -> list[str]:
    """Return the `tests` of a fault; raise ValueError if the tree lacks one."""
    for path, _, test in (name.partition("::") for name in fault["tests"]):
        if not (copy / path).is_file() or test not in (copy / path).read_text():
            raise ValueError("its tests are not in this tree")
    return fault["tests"]


def failure(copy: Path, arguments: list[str], limit_s: float) -> str:
    """Return the first test that fails in a copy, BY_TIME if they do not end, "" for none."""
    done = subprocess.run(
        ["timeout", "--signal=INT", "--kill-after=60", str(limit_s), sys.executable, "-c", CHILD,
         "-q", "-x", "-p", "no:cacheprovider", *arguments],
        cwd=copy, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    failed = FAILED.search(done.stdout)
    if done.returncode in (124, 137):   # of timeout
        return BY_TIME
    if failed and (done.returncode == 1 or "stopping after" in done.stdout):   # the latter of xdist
        return failed[1]
    if done.returncode:
        raise ValueError(f"pytest ended with {done.returncode}: {done.stdout[-1_000:]}")
    return ""


def look(fault: dict, tree: Path, key: str) -> dict:
    """Return whether the tests of a fault, or all tests, catch it in a copy of a tree."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder, "copy")
        subprocess.run(["git", "clone", "-qs", tree, copy], check=True, stderr=subprocess.PIPE)
        file = copy / fault["file"]
        text = file.read_text()
        if (n := text.count(fault["find"])) != 1:
            raise ValueError(f"`find` stands {n} times in {fault['file']}")
        file.write_text(text.replace(fault["find"], fault["replace"]))
        is_own = key == "caught"
        by = failure(copy, tests_of(fault, copy) if is_own else ALL, OWN_S if is_own else ALL_S)
        file.write_text(text)
        if by not in ("", BY_TIME) and failure(copy, [by], OWN_S):
            raise ValueError(f"{by} fails without the fault, too")
    return {key: bool(by), "by": by, "seconds": round(time.monotonic() - started, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tree", type=Path, default=REPO)
    parser.add_argument("--out", type=Path, default=REPO / "build/mutants.jsonl")
    parser.add_argument("--only", metavar="NAME")
    parser.add_argument("--own", action="store_true", help="run all tests on no survivor")
    args = parser.parse_args()
    faults = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())["fault"]
    faults = {one["name"]: one for one in faults if args.only in (None, one["name"])}
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=args.tree, text=True).strip()
    found, bad = {name: {} for name in faults}, {}
    args.out.parent.mkdir(exist_ok=True)
    with open(args.out, "a+") as out:
        out.seek(0)
        for one in map(json.loads, out):
            if one["commit"] == commit and one["fault"] in faults:
                found[one["fault"]] |= one
        for key, name in product(["caught"] if args.own else ["caught", "caught_by_all"], faults):
            if key in found[name] or name in bad or found[name].get("caught"):
                continue
            try:
                found[name] |= look(faults[name], args.tree.resolve(), key)
                line = {"commit": commit, "fault": name} | found[name]
                print(json.dumps(line), file=out, flush=True)
            except ValueError as e:   # it cannot be planted, or its tests cannot be run
                bad[name] = str(e)
    words = {name: "error" if name in bad else "caught" if one["caught"] else
             "caught by others" if one.get("caught_by_all") else "survived"
             for name, one in found.items()}
    for name, word in words.items():
        print(f"{word:17} {name}\n{'':17} {bad.get(name) or found[name]['by']}")
    print(*(f"{n} {word}" for word, n in Counter(words.values()).items()), sep=", ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
