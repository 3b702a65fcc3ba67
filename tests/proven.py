"""Write bugs and verdicts as bug_inject.py leaves them, without running any test.

    write_bug(root, "heron.agent-1.0123abcd")                    # proven, with a report
    write_bug(root, "crane.agent-1.0123abcd", problem_statement=None)
"""
from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from conftest import write_json

from codedata.checks.evidence import evidence_digest
from codedata.records import Bug, Candidates, Verdicts

BUG_PATCH = ("diff --git a/heron.py b/heron.py\n--- a/heron.py\n+++ b/heron.py\n"
             "@@ -1,2 +1,2 @@\n def wade(depth):\n-    return 2 * depth\n+    return depth\n")
GOLD = (BUG_PATCH.replace("-    return 2", "!").replace("+    return depth", "-    return depth")
        .replace("!", "+    return 2"))


def a_bug(instance_id: str = "heron.agent-1.0123abcd", **more) -> Bug:
    """Return a bug whose evidence is for it, with other fields given by name."""
    image = f"codedata-bug/{instance_id}:1"
    proven = {
        "instance_id": instance_id, "repo": f"birds/{instance_id.partition('.')[0]}",
        "patch": GOLD, "bug_patch": BUG_PATCH, "test_patch": "", "base_commit": "b" * 40,
        "source_commit": "a" * 40, "FAIL_TO_PASS": ["tests/test_heron.py::test_wade[1]"],
        "PASS_TO_PASS": ["tests/test_heron.py::test_fly"], "eval_script": "pytest -rA\n",
        "image": image, "image_name": image, "log_parser": "parse_log_pytest",
        "eval_type": "pass_and_fail", "created_at": "2024-05-01T00:00:00+00:00",
        "language": "python", "method": "agent", "symbol": "heron.py::wade", "grade": "subtle",
        "usage": {}, "problem_statement": "Herons wade half as deep as they should.",
        "reproduction": {}, **more}
    record = {field.name: "" for field in fields(Bug)} | proven
    return Bug(**record | {"evidence": more.get("evidence",
                                                {"digest": evidence_digest(record)})})


def write_bug(root: Path, instance_id: str = "heron.agent-1.0123abcd", **more) -> None:
    """Write a bug, and the verdict that calls it good."""
    bug = a_bug(instance_id, **more)
    item = instance_id.rpartition(".")[0]
    write_json(root / f"{Bug.directory}/{instance_id}.json", vars(bug))
    write_json(root / f"{Verdicts.directory}/{item}.json", {
        "repo": bug.repo, "repo_name": item.partition(".")[0], "base_commit": bug.source_commit,
        "verdicts": [{"diff": "0" * 16, "instance_id": instance_id, "good": True, "reason": "",
                      "instance": {}, "evidence": {}}], "seconds": 1.0})


def write_candidate(root: Path, name: str, diff: str, **more) -> None:
    """Write a candidate of an agent as a person may: <repo_name>.agent-<n>."""
    repo_name = name.partition(".")[0]
    write_json(root / f"{Candidates.directory}/{name}.json", {
        "repo": f"birds/{repo_name}", "repo_name": repo_name, "base_commit": "0" * 40,
        "method": "agent", "trajectory": "", "usage": {}, "seconds": 0.0,
        "candidates": [{"diff": diff, **more}]})
