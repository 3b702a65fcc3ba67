"""Measure how well leaks in issue reports are found: by the exact checks of bug_inject.py, and by
the facts of codedata/leak beside them, with labels that were made without either.

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
from codedata.bugs.issue_report import Reproduction, ReproductionRun, facts_in  # noqa: E402


def main() -> None:
    folder = Path(sys.argv[1]) if sys.argv[1:] else REPO / "samples" / "issue_texts"
    words = json.loads((folder / "documented.json").read_text(encoding="utf-8"))
    bugs = {bug["id"]: bug for bug in read_set(folder / "bugs.jsonl")}
    rows = read_set(folder / "texts.jsonl")
    for row in rows:
        bug = bugs[row["bug"]]
        hidden = Hidden(record(bug), frozenset(words[bug["repo"]].split()))
        found = reproduction(bug)
        row["exact"] = bool(hidden.in_report(row["text"], found.shown))
        facts = facts_in(row["text"], found, hidden)
        row["facts"] = any(fact.certain for fact in facts)
        row["all_facts"] = bool(facts)
        row["exact_or_facts"] = row["exact"] or row["facts"]
        row["facts_alone"] = row["facts"] and not row["exact"]
    kinds = ("exact", "facts", "all_facts", "exact_or_facts", "facts_alone")
    print(json.dumps({"benchmark": "issue_leaks", "n": len(rows),
                      "leaks": sum(row["leaks"] for row in rows), "bugs": len(bugs),
                      **{kind: figures(rows, kind) for kind in kinds}}))


def record(bug: dict) -> ProvenBug:
    """Return what the checks read of a bug."""
    known = {key: bug[key] for key in ProvenBug.__dataclass_fields__.keys() & bug.keys()}
    return ProvenBug(instance_id=bug["id"], symbol="", **known)


def reproduction(bug: dict) -> Reproduction:
    outputs = bug["outputs"]
    return Reproduction(**bug["reproduction"], bugged=ReproductionRun(**outputs["bugged"]),
                        fixed=ReproductionRun(**outputs["fixed"]))


def figures(rows: list[dict], kind: str) -> dict:
    hits = sum(row[kind] and row["leaks"] for row in rows)
    return {"precision": share(hits, sum(row[kind] for row in rows)),
            "recall": share(hits, sum(row["leaks"] for row in rows)),
            "wrongly_barred": [row["id"] for row in rows if row[kind] and not row["leaks"]],
            "missed": [row["id"] for row in rows if row["leaks"] and not row[kind]]}


if __name__ == "__main__":
    main()
