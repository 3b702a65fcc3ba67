"""Measure how well bug_inject.py finds leaks in issue reports, with labels that were made without
its checks.

It reads samples/issue_texts, or another folder of that form. One JSON line on stdout: precision and
recall with the 95 % interval of Wilson, and the texts that are judged wrongly.

  python benchmarks/issue_leaks.py
"""
import json
import sys
from pathlib import Path

from leak import read_set, share

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))   # codedata is not installed

from codedata.bugs.instances import ProvenBug  # noqa: E402
from codedata.bugs.issue_checks import Hidden  # noqa: E402
from codedata.bugs.issue_report import Reproduction, ReproductionRun  # noqa: E402


def main() -> None:
    folder = Path(sys.argv[1]) if sys.argv[1:] else REPO / "samples" / "issue_texts"
    words = json.loads((folder / "documented.json").read_text(encoding="utf-8"))
    bugs = {bug["id"]: bug for bug in read_set(folder / "bugs.jsonl")}
    rows = read_set(folder / "texts.jsonl")
    for row in rows:
        bug = bugs[row["bug"]]
        hidden = Hidden(record(bug), frozenset(words[bug["repo"]].split()))
        row["barred"] = bool(hidden.in_report(row["text"], reproduction(bug).shown))
    print(json.dumps({"benchmark": "issue_leaks", "n": len(rows),
                      "leaks": sum(row["leaks"] for row in rows), "bugs": len(bugs),
                      "barred": figures(rows)}))


def record(bug: dict) -> ProvenBug:
    """Return what the checks read of a bug."""
    known = {key: bug[key] for key in ProvenBug.__dataclass_fields__.keys() & bug.keys()}
    return ProvenBug(instance_id=bug["id"], symbol="", **known)


def reproduction(bug: dict) -> Reproduction:
    outputs = bug["outputs"]
    return Reproduction(**bug["reproduction"], bugged=ReproductionRun(**outputs["bugged"]),
                        fixed=ReproductionRun(**outputs["fixed"]))


def figures(rows: list[dict]) -> dict:
    hits = sum(row["barred"] and row["leaks"] for row in rows)
    return {"precision": share(hits, sum(row["barred"] for row in rows)),
            "recall": share(hits, sum(row["leaks"] for row in rows)),
            "wrongly_barred": [row["id"] for row in rows if row["barred"] and not row["leaks"]],
            "missed": [row["id"] for row in rows if row["leaks"] and not row["barred"]]}


if __name__ == "__main__":
    main()
