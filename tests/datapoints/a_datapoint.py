"""Write a small datapoint: a program that adds up numbers."""
import json
from pathlib import Path

from conftest import with_odd
from root import read_json, write_files

from codedata.datapoints.datapoint_folder import (
    BOX,
    PARTS,
    content_digest,
    put,
    read_datapoint,
    with_texts,
)
from codedata.records import DATAPOINT, Task
from codedata.tasks.folder.task_folder import PROOF, config_of, proven

TESTS = '''import subprocess


def total(text):
    done = subprocess.run(["/usr/bin/python3", "/app/total.py"], input=text, text=True,
                          capture_output=True, timeout=20)
    return done.stdout.strip()


def test_numbers_are_added_up():
    assert total("7\\n12\\n") == "19"


def test_words_are_passed_over():
    assert total("7\\nx\\n5\\n") == "12"
'''
SOLUTION = """#!/bin/bash
cat > total.py <<'END'
import sys

total = 0
for line in sys.stdin:
    try:
        total += int(line)
    except ValueError:
        pass
print(total)
END
"""
TEXTS = {
    "prompt": "Let /app/total.py print the sum of the whole numbers that it reads, a line each, "
              "passing over all else; for `1` and `2` it prints `3`.\n",
    "dockerfile": "FROM codedata-base:bookworm\nWORKDIR /app\nCOPY total.py .\n",
    "tests": TESTS, "solution": SOLUTION,
    "weights": json.dumps({"test_numbers_are_added_up": 0.7, "test_words_are_passed_over": 0.3})}
CONTEXT = {"total.py": "print('not yet')\n"}
WRONG = """#!/bin/bash
# "passing over all else"
echo 'import sys; print(sum(map(int, sys.stdin)))' > total.py
"""
RIVALS = {"right-1.sh": SOLUTION, "right-2.sh": SOLUTION,
          **{f"wrong-{n}.sh": WRONG for n in range(1, 7)}}
OF_REVIEW = {"right-1.sh": SOLUTION, **{f"wrong-{n}.sh": WRONG for n in range(1, 4)},
             **{f"cheat-{n}.sh": WRONG for n in range(1, 4)}}
ALL_RIVALS = RIVALS | {name.replace("-", "-review-"): text for name, text in OF_REVIEW.items()}
LABELS = {"category": "Data Processing", "tags": ["python"], "difficulty": "easy"}
ABOUT = {"kind": DATAPOINT, "status": "in_review", "languages": ["python"],
         "lineage": {"seed": "sums"}}


def a_datapoint(name: str, about: dict | None = None, context: dict | None = None, **texts) -> Task:
    """Return a datapoint with other labels, files of its context or texts of some parts."""
    about = ABOUT | (about or {})
    labels = {key: about.pop(key, value) for key, value in LABELS.items()}
    made = Task(name, DATAPOINT, config_of(name, BOX, {"repo": name, **about}, labels),
                {path: text.encode() for path, text in (context or CONTEXT).items()}, {}, {})
    return with_texts(made, TEXTS | texts)


def write_datapoint(folder: Path, about: dict | None = None, weights: str = "",
                    rivals: dict[str, str] | None = None, **how) -> Path:
    """Write a datapoint into a folder, with a text instead of the weights if one is given, and
    return the folder."""
    put(folder, a_datapoint(folder.name, about, **how))
    if rivals:
        write_files(folder / "rivals", rivals)
    if weights:
        config = folder / PARTS["weights"]
        config.write_text(with_odd(read_json(config), "weights", weights))
    return folder


def write_approved(folder: Path, about: dict | None = None, **how) -> Path:
    """Write a datapoint as it lies in task/, approved and proven, and return its folder."""
    task = read_datapoint(write_datapoint(folder, {"status": None, **(about or {})}, **how))
    checks = [{"name": "solvable", "status": "passed", "why": "", "evidence": [], "seconds": 1.0}]
    put(folder, proven(task, {
        "content": content_digest(task), "base_image": "", "validator": PROOF,
        "checks": checks, "review": [], "seconds": 1.0, "engine_s": 1.0}))
    return folder
