"""Write a small datapoint: a program that adds up numbers."""
from __future__ import annotations

import json
from pathlib import Path

from conftest import write_json

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
PARTS = {
    "prompt.md": "Let /app/total.py print the sum of the whole numbers that it reads, a line each, "
                 "passing over all else; for `1` and `2` it prints `3`.\n",
    "dockerfile": "FROM codedata-base:bookworm\nWORKDIR /app\nCOPY total.py .\n",
    "tests.py": TESTS, "solution.sh": SOLUTION, "files/total.py": "print('not yet')\n",
    "weights.json": json.dumps({"test_numbers_are_added_up": 0.7,
                                "test_words_are_passed_over": 0.3})}
META = {"status": "in_review", "category": "Data Processing", "tags": ["python"],
        "difficulty": "easy", "languages": ["python"], "lineage": {"seed": "sums"}}


def write_datapoint(folder: Path, meta: dict | None = None, **parts: str) -> Path:
    """Write a datapoint into a folder, with other texts of some parts, and return the folder."""
    named = {name: text for name, text in PARTS.items()
             if name.partition(".")[0] not in parts}
    named |= {name: parts[name.partition(".")[0]] for name in PARTS
              if name.partition(".")[0] in parts}
    for name, text in named.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    write_json(folder / "metadata.json", META | (meta or {}))
    return folder
