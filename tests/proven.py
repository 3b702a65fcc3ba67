"""Write bugs and verdicts as bug_inject.py leaves them, without running any test.

    write_bug(root, "heron.agent-1.0123abcd")                    # proven, with an instruction
    write_bug(root, "crane.agent-1.0123abcd", instruction=None)
"""
from __future__ import annotations

import json
from pathlib import Path

from conftest import write_json

from codedata.bugs.instances import PROVEN_FIELDS, as_texts, is_of_agent
from codedata.code.patches import diff_of
from codedata.records import BUG, Candidates, Task, Verdicts
from codedata.store import Store
from codedata.tasks.folder import Container, config_of, from_image, proven

BUG_PATCH = ("diff --git a/heron.py b/heron.py\n--- a/heron.py\n+++ b/heron.py\n"
             "@@ -1,2 +1,2 @@\n def wade(depth):\n-    return 2 * depth\n+    return depth\n")
GOLD = (BUG_PATCH.replace("-    return 2", "!").replace("+    return depth", "-    return depth")
        .replace("!", "+    return 2"))
FAILS, PASSES = "tests/test_heron.py::test_wade[1]", "tests/test_heron.py::test_fly"


def a_bug(instance_id: str = "heron.agent-1.0123abcd", *, patch: str = GOLD,
          bug_patch: str = BUG_PATCH, FAIL_TO_PASS=(FAILS,), PASS_TO_PASS=(PASSES,),
          hidden: dict[str, str] | None = None, image: str = "", proof=(),
          instruction: str | None = "Herons wade half as deep as they should.", **about) -> Task:
    """Return the task of a bug, whose proof is for it; `about` is more of what is known of it."""
    image, files = image or f"codedata-bug/{instance_id}:1", hidden or {}
    test_patch = diff_of({}, {path: text.encode() for path, text in files.items()})
    about = {"kind": BUG, "repo": f"birds/{instance_id.partition('.')[0]}", "method": "agent",
             "source_commit": "a" * 40, "task_commit": "b" * 40, "language": "python",
             "created_at": "2024-05-01T00:00:00+00:00", "symbol": "heron.py::wade",
             "grade": "subtle", **about}
    config = {"user": "root", "timeout_s": 60, "workdir": "/testbed", "reads": "junit",
              "FAIL_TO_PASS": [*FAIL_TO_PASS], "PASS_TO_PASS": [*PASS_TO_PASS], "canary": ""}
    texts = {"config.json": json.dumps(config), "tests.sh": "pytest -rA\n", "test.sh": "true\n",
             "test.patch": test_patch, **{f"hidden/{path}": text for path, text in files.items()}}
    return proven(Task(
        instance_id, BUG, config_of(instance_id, Container("/testbed", image), about,
                                    {"category": "debugging", "tags": ["python", "bug"]}),
        from_image(image), {"solve.sh": b"git apply /solution/gold.patch\n",
                            "gold.patch": patch.encode(), "reverse.patch": bug_patch.encode()},
        {path: text.encode() for path, text in texts.items()}, instruction),
        {"runs": [], "log": "", **dict(proof)})


def write_bug(root: Path, instance_id: str = "heron.agent-1.0123abcd", is_good: bool = True,
              **more) -> Task:
    """Write a bug as the step that proves it does, and the verdict that calls it good."""
    bug = write_task(root, a_bug(instance_id, **more))
    item = instance_id.rpartition(".")[0]
    if is_good:
        write_json(root / f"{Verdicts.directory}/{item}.json", {
            "repo": bug.about["repo"], "repo_name": item.partition(".")[0], "seconds": 1.0,
            "base_commit": bug.about["source_commit"], "verdicts": [{
                "diff": "0" * 16, "instance_id": instance_id, "good": True, "reason": "",
                "instance": as_texts(bug), "evidence": bug.proof}]})
    return bug


def write_task(root: Path, bug: Task) -> Task:
    """Write the folder of a bug, with the ledger line of the step that proves it."""
    name, store = bug.instance_id, Store(root, Task, kind=BUG).open()
    known, _ = store.put(name, bug, ())
    step = "instances" if is_of_agent(name) else "report"
    store.note(name, stage=f"bug_inject.{step}", state="done", read="", settings="",
               **known.line(PROVEN_FIELDS))
    return bug


def write_candidate(root: Path, name: str, diff: str, **more) -> None:
    """Write a candidate of an agent as a person may: <repo_name>.agent-<n>."""
    repo_name = name.partition(".")[0]
    write_json(root / f"{Candidates.directory}/{name}.json", {
        "repo": f"birds/{repo_name}", "repo_name": repo_name, "base_commit": "0" * 40,
        "method": "agent", "trajectory": "", "usage": {}, "seconds": 0.0,
        "candidates": [{"diff": diff, **more}]})
