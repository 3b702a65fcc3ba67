"""How well the leak detector agrees with labels that were made without it: precision, recall, and what it takes.

Reads answers.jsonl of a labelled set: lines {id, instance_id, language, kind, leak, why, split, messages_from:
{trajectory, turn}, answer}. The history is what stands before that assistant turn of that row of trajectories.parquet;
the pull request comes from prs.parquet. Both lie in the set's folder or beside it.

  python benchmarks/leak.py                        # samples/leak, the held-out half
  python benchmarks/leak.py --split tune           # the other half, and which answers it got wrong
  python benchmarks/leak.py --set DIR

One JSON line on stdout, a table on stderr. What is counted stands in benchmarks/README.md.
"""
import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import duckdb

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))   # codedata is not installed

from codedata.checks.leak import find_leaks, is_leaky  # noqa: E402
from codedata.duel.prs import fetch_prs  # noqa: E402

PRECISION_TARGET, RECALL_TARGET, PARAPHRASE_TARGET = 0.95, 0.90, 0.60
Z = 1.959964   # of the normal distribution, for intervals of 95 %


def main() -> None:
    args = parser().parse_args()
    labelled = [row for row in read_set(args.set) if row["split"] == args.split]
    if not labelled:
        sys.exit(f"{args.set / 'answers.jsonl'}: no line has the split {args.split!r}")
    report = {"benchmark": "leak", "set": args.set.name, "split": args.split, "n": len(labelled),
              **measure(labelled, args.set)}
    if args.split == "tune":
        report["wrong"] = sorted(row["id"] for row in labelled if row["said"] != row["leak"])
    table(report, labelled)
    print(json.dumps(report))


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--set", type=Path, default=REPO / "samples" / "leak", metavar="DIR", help="default: samples/leak")
    p.add_argument("--split", choices=("held_out", "tune"), default="held_out", help="default: %(default)s")
    return p


def read_set(folder: Path) -> list[dict]:
    with open(folder / "answers.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def measure(labelled: list[dict], folder: Path) -> dict:
    """The figures; each row gets `said` and `findings`."""
    rows = "select messages from read_parquet(?, file_row_number = true) order by file_row_number"
    trajectories = duckdb.execute(rows, [str(beside(folder, "trajectories.parquet"))]).fetchall()
    prs, problems = fetch_prs(str(beside(folder, "prs.parquet")), {row["instance_id"] for row in labelled}, None)
    if problems:
        sys.exit(f"prs.parquet: {problems}")
    took = []
    for row in labelled:
        history = before_turn(trajectories[row["messages_from"]["trajectory"]][0], row["messages_from"]["turn"])
        started = time.process_time()
        row["findings"] = find_leaks(history, row["answer"], SimpleNamespace(**prs[row["instance_id"]]))
        row["said"] = is_leaky(row["findings"])
        took.append(1000 * (time.process_time() - started))
    return {**agreement(labelled),
            "kinds": {kind: flagged([row for row in labelled if row["kind"] == kind])
                      for kind in sorted({row["kind"] for row in labelled})},
            "languages": {language: agreement([row for row in labelled if row["language"] == language])
                          for language in sorted({row["language"] for row in labelled})},
            "cpu_ms": {"median": round(statistics.median(took), 1), "max": round(max(took), 1)}}


def beside(folder: Path, name: str) -> Path:
    return next((path for path in (folder / name, folder.resolve().parent / name) if path.is_file()), folder / name)


def before_turn(messages: list[dict], turn: int) -> list[dict]:
    """What stands before the turn-th message of the assistant, counted from 0."""
    places = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    return messages[:places[turn]]


def agreement(rows: list[dict]) -> dict:
    """Precision and recall of what was said to be a leak."""
    hits = sum(row["said"] and row["leak"] for row in rows)
    return {"precision": share(hits, sum(row["said"] for row in rows)),
            "recall": share(hits, sum(row["leak"] for row in rows))}


def flagged(rows: list[dict]) -> dict:
    """How many of a kind were said to be a leak: recall where they are leaks, false alarms where they are not."""
    return {"leak": rows[0]["leak"], **share(sum(row["said"] for row in rows), len(rows))}


def share(k: int, n: int) -> dict:
    """k of n with the 95 % interval of Wilson; no share of nothing."""
    if not n:
        return {"k": 0, "n": 0, "share": None, "low": None, "high": None}
    p, spread = k / n, Z * Z / n
    middle = (p + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * (p * (1 - p) / n + spread / (4 * n)) ** 0.5
    return {"k": k, "n": n, "share": round(p, 4), "low": round(max(0.0, middle - half), 4),
            "high": round(min(1.0, middle + half), 4)}


def table(report: dict, labelled: list[dict]) -> None:
    def line(name: str, figure: dict, target: float | None = None) -> None:
        interval = f"{figure['share']:8.3f}   {figure['low']:.3f}–{figure['high']:.3f}" if figure["n"] else ""
        goal = f"   target {target}" if target else ""
        print(f"  {name:<32}{figure['k']:>4} of {figure['n']:<4}{interval}{goal}", file=sys.stderr)

    print(f"\n{report['set']}, {report['split']}: {report['n']} answers, {report['cpu_ms']['median']} ms each "
          f"(at most {report['cpu_ms']['max']})", file=sys.stderr)
    line("precision", report["precision"], PRECISION_TARGET)
    line("recall", report["recall"], RECALL_TARGET)
    for kind, figure in report["kinds"].items():
        line(f"{kind}: {'found' if figure['leak'] else 'false alarms'}", figure,
             PARAPHRASE_TARGET if kind == "paraphrase" else None)
    for language, figures in report["languages"].items():
        for name, figure in figures.items():
            line(f"{language}: {name}", figure)
    for row in labelled if report["split"] == "tune" else ():
        if row["said"] != row["leak"]:
            verdict = "false alarm" if row["said"] else "missed"
            found = "; ".join(f"{f.severity} {f.kind} {f.text[:40]!r}" for f in row["findings"]) or "nothing found"
            print(f"  {row['id']} ({row['kind']}) {verdict}: {found}", file=sys.stderr)


if __name__ == "__main__":
    main()
