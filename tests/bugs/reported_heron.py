"""Provide a bug of a small project, heron, with its image."""
from pathlib import Path

import a_task
import pytest
from projects import Project
from root import read_json

from codedata.records import Task

CLEAN = Project("wading")
HERON = CLEAN.texts["heron/wading.py"]
BUGGED = HERON.replace("depth >= LEG_CM", "depth >= LEG_CM - 10")
PROJECT = Project("wading", files={"heron/wading.py": BUGGED})
BUG_PATCH = """diff --git a/heron/wading.py b/heron/wading.py
--- a/heron/wading.py
+++ b/heron/wading.py
@@ -8,6 +8,6 @@ def wade(depth):


 def _pace_of(depth):
-    if depth >= LEG_CM:
+    if depth >= LEG_CM - 10:
         raise ValueError(f"too deep: {depth}")
     return "slowly"
""".replace("\n\n\n ", "\n \n \n ")
GOLD = BUG_PATCH.replace("-    if depth >= LEG_CM:\n+    if depth >= LEG_CM - 10:",
                         "-    if depth >= LEG_CM - 10:\n+    if depth >= LEG_CM:")
LOG = ("    def test_wades_up_to_the_knee():\n>       wade(35)\n"
       "E       ValueError: too deep: 35\n\nheron/wading.py:12: ValueError\n"
       "FAILED tests/test_wading.py::test_wades_up_to_the_knee - ValueError: too deep: 35")


def a_bug(n: int = 1, log: str = LOG, **fields) -> Task:
    given = {"patch": GOLD, "bug_patch": BUG_PATCH, "image": PROJECT.image, "instruction": None,
             "symbol": "heron/wading.py::_pace_of",
             "FAIL_TO_PASS": [
                 "tests/test_wading.py::TestDeep::test_wades_up_to_the_knee[a%20b]"],
             "hidden": {}, "proof": {"log": log}, **fields}
    return a_task.a_bug(f"heron.agent-{n}.0123abcd", **given)


def bug_path(root: Path, n: int = 1) -> Path:
    return root / "bug" / f"heron.agent-{n}.0123abcd.json"


def read_bug(root: Path, n: int = 1) -> dict:
    """Return the report of a bug; its text is the task's instruction."""
    report = read_json(bug_path(root, n))
    task = root / "task" / f"heron.agent-{n}.0123abcd"
    assert (task / "instruction.md").read_text() == report["problem_statement"]
    return report


@pytest.fixture(scope="session")
def heron_bug():
    """Make the image of the bug."""
    PROJECT.make()
