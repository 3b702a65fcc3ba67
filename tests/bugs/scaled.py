"""Write candidates and verdicts as `bug_inject.py scale` leaves them, without running any test.

    write_judged(root, "heron.1", [a_candidate("+ 1"), a_candidate("+ 2", operator="negated")])
"""
from root import Root

from codedata.code.patches import normalised
from codedata.disk.store import digest
from codedata.records import Verdicts


def a_candidate(new: str, operator: str = "off-by-one", symbol: str = "", **more) -> dict:
    """Return a candidate that changes one line of heron.py into another."""
    diff = ("diff --git a/heron.py b/heron.py\n--- a/heron.py\n+++ b/heron.py\n@@ -1,2 +1,2 @@\n"
            f" def wade(depth):\n-    return 2 * depth\n+    return {new}\n")
    return {"diff": diff, "operator": operator, "symbol": symbol or f"heron.py::f{digest(new)}",
            "summary": "", "family": "arithmetic", "path": "heron.py", "lines": [2, 2], **more}


def id_of(candidate: dict, repo_name: str = "heron") -> str:
    return f"{repo_name}.{candidate['operator']}.{normalised(candidate['diff'])[:8]}"


def a_verdict(candidate: dict, repo_name: str = "heron", **evidence) -> dict:
    """Return a verdict; it is good unless `verdict` says otherwise."""
    seen = {"verdict": "good", "failing": [f"tests/test_heron.py::{digest(candidate['diff'])}"],
            "how": "swap", "n_run": 3, "seconds": 0.5}
    seen |= evidence
    is_good = seen["verdict"] == "good"
    return {"diff": digest(candidate["diff"]), "instance_id": id_of(candidate, repo_name),
            "good": is_good, "reason": "" if is_good else seen["verdict"], "evidence": seen}


def write_judged(root: Root, item: str, candidates: list[dict], verdicts: list[dict] | None = None,
                 method: str = "procedural") -> None:
    """Write a file of candidates, and their verdicts: good ones, if none are given."""
    repo_name = item.rpartition(".")[0]
    root.with_candidates(item, *candidates, base_commit="", method=method).with_record(
        Verdicts, item, verdicts=verdicts or [a_verdict(one, repo_name) for one in candidates])
