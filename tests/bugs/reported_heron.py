"""Provide a bug of a small project, heron, with its image and its verdict."""
from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import write_json
from projects import Project

from codedata.bugs.instances import OF_ISSUE

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


def a_bug(n: int = 1, **fields) -> dict:
    return {"instance_id": f"heron.agent-{n}.0123abcd", "repo": "birds/heron",
            "base_commit": "0" * 40, "patch": GOLD, "test_patch": "", "hints_text": "",
            "created_at": "2024-01-02T03:04:05Z", "version": "1",
            "FAIL_TO_PASS": ["tests/test_wading.py::TestDeep::test_wades_up_to_the_knee[a%20b]"],
            "PASS_TO_PASS": ["tests/test_wading.py::test_name"],
            "environment_setup_commit": "0" * 40, "image": PROJECT.image, "eval_script": "",
            "log_parser": "", "eval_type": "pass_and_fail", "bug_patch": BUG_PATCH,
            "source_commit": "0" * 40, "image_name": PROJECT.image, "language": "python",
            "method": "agent", "symbol": "heron/wading.py::_pace_of", "evidence": {"log": LOG},
            "grade": "subtle", "trajectory": "", "usage": {}, **fields}


def write_bugs(root: Path, *bugs: dict) -> None:
    """Write the verdicts of which the step `instances` makes these bugs."""
    for bug in bugs or (a_bug(),):
        name = bug["instance_id"]
        instance = {key: value for key, value in bug.items() if key not in (*OF_ISSUE, "evidence")}
        verdict = {"diff": "0" * 16, "instance_id": name, "good": True, "reason": "",
                   "instance": instance, "evidence": bug["evidence"]}
        write_json(root / "bug" / "_verdicts" / f"{name.rpartition('.')[0]}.json", {
            "repo": bug["repo"], "repo_name": "heron", "base_commit": bug["source_commit"],
            "verdicts": [verdict], "seconds": 1.0})


def read_bug(root: Path, n: int = 1) -> dict:
    return json.loads((root / "bug" / f"heron.agent-{n}.0123abcd.json").read_text())


@pytest.fixture(scope="session")
def heron_bug():
    """Make the image of the bug."""
    PROJECT.make()
